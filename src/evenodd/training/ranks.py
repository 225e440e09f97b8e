"""One fit in several processes, started by torchrun or a launcher that sets its variables: `torchrun -m pipelines …`.

The first process runs the command. The others wait for its fits and join each of them: with the same rows and the same
effective batch, each process computes a share of every batch. torch's DistributedDataParallel, through accelerate,
averages the gradients: with gloo on a CPU, NCCL on GPUs. All other communication between the processes uses gloo.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, NoReturn, TypeVar

import numpy as np
import torch
from torch import distributed
from transformers import TrainerCallback

from evenodd.training.precision import best_device

log = logging.getLogger(__name__)

MEETING_SECONDS = 120
FOREVER = timedelta(days=365)
Value = TypeVar("Value")
Work = Callable[..., object]
_control: list[Any] = []


class OthersEndedError(RuntimeError):
    """Another process ended the fit."""


def connect() -> None:
    """Connects to the other processes; does nothing if there are none or they are connected.

    Raises:
        ValueError: two processes of this machine would share a GPU, which NCCL does not support.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) <= 1 or distributed.is_initialized():
        return
    on_gpus = best_device() == "cuda"
    local = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if on_gpus and local > torch.cuda.device_count():
        raise ValueError(
            f"nproc-per-node={local}: this machine has {torch.cuda.device_count()} GPU(s), and each process needs one."
        )
    distributed.init_process_group("cpu:gloo,cuda:nccl" if on_gpus else "gloo", timeout=FOREVER)
    _control[:] = [distributed.new_group(backend="gloo", timeout=FOREVER)]


def rank_and_world() -> tuple[int, int]:
    """Number of this process, from 0, and number of processes."""
    if not distributed.is_available() or not distributed.is_initialized():
        return 0, 1
    return distributed.get_rank(), distributed.get_world_size()


def share_of_batch(rows: list[int]) -> list[int]:
    """This process's rows of a batch; all rows if there is only one process."""
    rank, world = rank_and_world()
    return rows[rank::world]


def sum_over_processes(values: np.ndarray, device: torch.device) -> np.ndarray:
    """The sum of the arrays of all processes; all processes must call it.

    Args:
        values: array, of the same shape and type in all processes.
        device: device of this process.
    """
    if rank_and_world()[1] == 1:
        return values
    total = torch.from_numpy(values).to(device)
    distributed.all_reduce(total)
    return total.cpu().numpy()


def agreed(value: Value) -> Value:
    """The first process's value, in every process; all processes must call it."""
    if rank_and_world()[1] == 1:
        return value
    sent = [value]
    distributed.broadcast_object_list(sent, src=0, group=_control[0])
    return sent[0]


@contextmanager
def leading() -> Iterator[None]:
    """Runs the first process's command, and releases the other processes when it ends, with or without an error."""
    connect()
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        raise  # the others may be in the middle of a fit: torchrun ends them when this process has ended
    except BaseException:
        _let_go()
        raise
    else:
        _let_go()


def _let_go() -> None:
    if rank_and_world()[1] > 1:
        agreed(None)
        distributed.destroy_process_group()


def join_in(work: Work, *arguments: Any) -> None:
    """Makes the other processes call `work(*arguments)`, both picklable; does nothing if there are none."""
    if rank_and_world() != (0, 1):
        agreed((work, arguments))


def follow(faults: tuple[type[Exception], ...]) -> NoReturn:
    """Makes this process do the first one's work until it is released. Does not return.

    Args:
        faults: errors that end a fit in every process; the first process reports them.
    """
    logging.getLogger("evenodd").setLevel(logging.ERROR)
    connect()
    while (job := agreed(None)) is not None:
        work, arguments = job
        try:
            work(*arguments)
        except faults as error:
            log.debug("%s", error)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(0)  # gloo's threads sometimes abort if the interpreter ends before them


def together(work: Callable[[], Value]) -> Value:
    """Calls `work` in every process, and waits until it has ended in all of them, with or without an error.

    Raises:
        SystemExit: another process did not finish: it waits for this one, so neither could continue.
    """
    if rank_and_world()[1] == 1:
        return work()
    try:
        return work()
    finally:
        if not isinstance(sys.exc_info()[1], KeyboardInterrupt):
            _meet()


def _meet() -> None:
    fault = sys.exc_info()[1]
    try:
        distributed.monitored_barrier(_control[0], timeout=timedelta(seconds=MEETING_SECONDS))
    except RuntimeError as error:
        log.error("another process did not finish the fit: %s", fault or error)
        sys.exit(1)


class SharedFault(TrainerCallback):
    """Errors in the first process's reports and checks end the fit in all processes at the same step.

    A trial that is pruned, or a lease that is lost, is known to the first process alone; the others would wait for its
    gradients for ever.
    """

    def __init__(self) -> None:
        self.fault: Exception | None = None

    def noting(self, function: Callable[..., object]) -> Callable[..., None]:
        """The same function; its error is stored, and raised at the end of the step."""

        def call(*arguments: Any) -> None:
            if self.fault is None:
                try:
                    function(*arguments)
                except Exception as error:  # noqa: BLE001 (raised again by `_agree`)
                    self.fault = error

        return call

    def on_step_end(self, args, state, control, **kwargs):
        self._agree()

    def on_evaluate(self, args, state, control, **kwargs):
        self._agree()

    def _agree(self) -> None:
        noted = torch.tensor([float(self.fault is not None)])
        distributed.all_reduce(noted, op=distributed.ReduceOp.MAX, group=_control[0])
        if noted.item():
            raise self.fault or OthersEndedError("another process ended the fit")
