"""Several processes on one machine: the same rows and the same effective batch, each process a share of every batch.

Gradients are averaged by torch's DistributedDataParallel through accelerate: gloo on a CPU, NCCL on GPUs. Every process
has its own copy of the model. Metrics come back from the first process alone; whoever called goes on with the fitted
weights as if one process had run.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from queue import Empty
from typing import Any

import numpy as np
import torch
from torch import multiprocessing
from torch.multiprocessing.spawn import ProcessException
from transformers.utils import logging as transformers_logging

from evenodd.training.precision import best_device
from evenodd.training.transfer import load_copy, save_copy

log = logging.getLogger(__name__)

JOB = "job.pickle"
RESULT = "fitted.pt"
POLL_SECONDS = 0.5


@dataclass(frozen=True)
class Job:
    """What every process gets: `work`, called with the arguments and the context, fits the model."""

    work: Callable[..., Any]
    arguments: tuple[Any, ...]
    context: Any


@dataclass(frozen=True)
class Place:
    """Where the processes meet: how many there are, threads of each, and the port and the folder that they share."""

    processes: int
    threads: int
    port: int
    folder: Path


def share_of_batch(rows: list[int]) -> list[int]:
    """This process's rows of a batch; all of them where there is one process."""
    rank, world = rank_and_world()
    return rows[rank::world]


def rank_and_world() -> tuple[int, int]:
    """Number of this process and how many there are."""
    if not torch.distributed.is_available() or not torch.distributed.is_initialized():
        return 0, 1
    return torch.distributed.get_rank(), torch.distributed.get_world_size()


def sum_over_processes(values: np.ndarray, device: torch.device) -> np.ndarray:
    """The sum of every process's array, in each of them; all call it together.

    Args:
        values: of one shape and type everywhere.
        device: where this process computes.
    """
    if rank_and_world()[1] == 1:
        return values
    total = torch.from_numpy(values).to(device)
    torch.distributed.all_reduce(total)
    return total.cpu().numpy()


def run_in_processes(work: Callable[..., Any], arguments: tuple[Any, ...], context: Any, processes: int) -> Any:
    """Calls `work(*arguments, context)` in several processes; the first one's result, its model's weights loaded.

    Args:
        work: a function of a module; its result and all its arguments can be pickled.
        arguments: the model first; the fitted weights are loaded into it.
        context: its `report` is called here, with what the first process reports.
        processes: how many.

    Raises:
        RuntimeError: one of them failed.
    """
    model, place = arguments[0], Place(processes, threads_of(processes), _free_port(), Path(context.folder))
    place.folder.mkdir(parents=True, exist_ok=True)
    save_copy(Job(work, arguments, replace(context, report=None)), place.folder / JOB)
    queue = multiprocessing.get_context("spawn").Queue()
    log.info("%d processes | %d thread(s) each", processes, place.threads)
    started = multiprocessing.start_processes(_work, (place, queue), nprocs=processes, join=False, start_method="spawn")
    try:
        while not started.join(POLL_SECONDS):
            _drain(queue, context.report)
    except ProcessException as error:
        raise RuntimeError(f"processes={processes}: a process failed: {str(error).strip().splitlines()[-1]}") from error
    finally:
        for process in started.processes:
            process.kill()
        (place.folder / JOB).unlink(missing_ok=True)
    _drain(queue, context.report)
    found = torch.load(place.folder / RESULT, weights_only=False)
    model.load_state_dict(found["state"])
    for callback, seen in zip(context.callbacks, found["callbacks"], strict=True):
        callback.__dict__.update(seen)
    (place.folder / RESULT).unlink()
    return found["result"]


def check_gpus(processes: int) -> None:
    """Refuses two processes on one GPU, which NCCL cannot have.

    Raises:
        ValueError: this machine computes on GPUs and has fewer.
    """
    gpus = torch.cuda.device_count() if best_device() == "cuda" else processes
    if processes > gpus:
        raise ValueError(f"processes={processes}: this machine has {gpus} GPU(s), and each process needs one.")


def threads_of(processes: int) -> int:
    """Threads of each process, so that together they use as many as this one may."""
    return max(1, torch.get_num_threads() // processes)


def _work(rank: int, place: Place, queue: Any) -> None:
    torch.set_num_threads(place.threads)
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(place.processes),
        "LOCAL_WORLD_SIZE": str(place.processes),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(place.port),
    }
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s  %(message)s", datefmt="%H:%M:%S")
    logging.getLogger("evenodd").setLevel(logging.INFO if rank == 0 else logging.ERROR)
    transformers_logging.disable_progress_bar()

    def report(metrics: dict[str, float], step: int) -> None:
        if rank == 0:
            queue.put((metrics, step))

    job = load_copy(place.folder / JOB)
    result = job.work(*job.arguments, replace(job.context, report=report))
    if rank == 0:
        found = {"state": job.arguments[0].state_dict(), "result": result}
        found["callbacks"] = [callback.__dict__ for callback in job.context.callbacks]
        partial = place.folder / f"{RESULT}.partial"
        torch.save(found, partial)
        partial.rename(partial.with_suffix(""))
    if torch.distributed.is_initialized():
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()
    _leave(queue)


def _leave(queue: Any) -> None:
    """Ends this process without taking the interpreter down: gloo's threads abort now and then when it goes first."""
    queue.close()
    queue.join_thread()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(0)


def _drain(queue: Any, report: Callable[[dict[str, float], int], None]) -> None:
    while True:
        try:
            metrics, step = queue.get(timeout=0.01)
        except Empty:
            return
        report(metrics, step)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
