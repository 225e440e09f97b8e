"""Several processes on one machine: the same rows and the same effective batch, each process a share of every batch.

Gradients are averaged by torch's DistributedDataParallel through accelerate: gloo on a CPU, NCCL on GPUs. Metrics come
back from the first process alone; whoever called goes on with the fitted weights as if one process had run.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from queue import Empty
from typing import Any

import torch
from torch import multiprocessing
from torch.multiprocessing.spawn import ProcessException

log = logging.getLogger(__name__)

RESULT = "fitted.pt"
POLL_SECONDS = 0.5


@dataclass(frozen=True)
class Job:
    """What every process gets: `work`, called with the arguments and the context, fits the model."""

    work: Callable[..., Any]
    arguments: tuple[Any, ...]
    context: Any
    processes: int
    port: int


def share_of_batch(rows: list[int]) -> list[int]:
    """This process's rows of a batch; all of them where there is one process."""
    rank, world = rank_and_world()
    return rows[rank::world]


def rank_and_world() -> tuple[int, int]:
    """Number of this process and how many there are."""
    if not torch.distributed.is_available() or not torch.distributed.is_initialized():
        return 0, 1
    return torch.distributed.get_rank(), torch.distributed.get_world_size()


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
    model, folder = arguments[0], Path(context.folder)
    folder.mkdir(parents=True, exist_ok=True)
    queue = multiprocessing.get_context("spawn").Queue()
    job = Job(work, arguments, replace(context, report=None), processes, _free_port())
    log.info("%d processes | %d thread(s) each", processes, threads_of(processes))
    started = multiprocessing.start_processes(_work, (job, queue), nprocs=processes, join=False, start_method="spawn")
    try:
        while not started.join(POLL_SECONDS):
            _drain(queue, context.report)
    except ProcessException as error:
        raise RuntimeError(f"processes={processes}: a process failed: {str(error).strip().splitlines()[-1]}") from error
    finally:
        for process in started.processes:
            process.kill()
    _drain(queue, context.report)
    found = torch.load(folder / RESULT, weights_only=False)
    model.load_state_dict(found["state"])
    (folder / RESULT).unlink()
    return found["result"]


def threads_of(processes: int) -> int:
    """Threads of each process, so that together they use every core once."""
    return max(1, (os.cpu_count() or 1) // processes)


def _work(rank: int, job: Job, queue: Any) -> None:
    torch.set_num_threads(threads_of(job.processes))
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(job.processes),
        "LOCAL_WORLD_SIZE": str(job.processes),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(job.port),
    }
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s  %(message)s", datefmt="%H:%M:%S")
    logging.getLogger("evenodd").setLevel(logging.INFO if rank == 0 else logging.ERROR)

    def report(metrics: dict[str, float], step: int) -> None:
        if rank == 0:
            queue.put((metrics, step))

    result = job.work(*job.arguments, replace(job.context, report=report))
    if rank == 0:
        partial = Path(job.context.folder) / f"{RESULT}.partial"
        torch.save({"state": job.arguments[0].state_dict(), "result": result}, partial)
        partial.rename(partial.with_suffix(""))
    if torch.distributed.is_initialized():
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()


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
