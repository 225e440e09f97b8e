"""One fit in several processes, which torchrun or whoever sets its variables has started: `torchrun -m pipelines …`.

The first process runs the command. The others wait for its fits and join each: the same rows and the same effective
batch, every process a share of each batch. Gradients are averaged by torch's DistributedDataParallel through
accelerate: gloo on a CPU, NCCL on GPUs. What is said between the processes beside that goes over gloo.
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
    """Another process of the fit was told to end it."""


def connect() -> None:
    """Meets the other processes; does nothing where this one is alone or has met them.

    Raises:
        ValueError: two processes of this machine would have one GPU, which NCCL cannot have.
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
    """Number of this process and how many there are."""
    if not distributed.is_available() or not distributed.is_initialized():
        return 0, 1
    return distributed.get_rank(), distributed.get_world_size()


def share_of_batch(rows: list[int]) -> list[int]:
    """This process's rows of a batch; all of them where there is one process."""
    rank, world = rank_and_world()
    return rows[rank::world]


def sum_over_processes(values: np.ndarray, device: torch.device) -> np.ndarray:
    """The sum of every process's array, in each of them; all call it together.

    Args:
        values: of one shape and type everywhere.
        device: where this process computes.
    """
    if rank_and_world()[1] == 1:
        return values
    total = torch.from_numpy(values).to(device)
    distributed.all_reduce(total)
    return total.cpu().numpy()


def agreed(value: Value) -> Value:
    """The first process's value, in every process; all call it together."""
    if rank_and_world()[1] == 1:
        return value
    sent = [value]
    distributed.broadcast_object_list(sent, src=0, group=_control[0])
    return sent[0]


@contextmanager
def leading() -> Iterator[None]:
    """The first process's command; at its end, whichever it is, the others are let go."""
    connect()
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        raise  # they may be in the middle of a fit: torchrun ends them when this process has gone
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
    """Has the other processes call `work(*arguments)`, which both can be pickled; does nothing in one process."""
    if rank_and_world() != (0, 1):
        agreed((work, arguments))


def follow(faults: tuple[type[Exception], ...]) -> NoReturn:
    """What a process does that is not the first: what it is told to, until it is let go. It does not return.

    Args:
        faults: errors that end a fit in every process, which the first one tells of.
    """
    logging.getLogger("evenodd").setLevel(logging.ERROR)
    connect()
    while (told := agreed(None)) is not None:
        work, arguments = told
        try:
            work(*arguments)
        except faults as error:
            log.debug("%s", error)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(0)  # gloo's threads abort now and then when the interpreter goes first


def together(work: Callable[[], Value]) -> Value:
    """Calls `work` in every process, and waits until all have ended it, by an error or not.

    Raises:
        SystemExit: another process did not end it: it waits for this one, and nothing could go on.
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
    """Errors of the first process's reports and checks end the fit in all processes at the same step.

    A trial that is pruned, or a lease that is lost, is known to the first process alone; the others would wait for its
    gradients for ever.
    """

    def __init__(self) -> None:
        self.fault: Exception | None = None

    def noting(self, function: Callable[..., object]) -> Callable[..., None]:
        """The same function; what it raises is noted and raised at the end of the step."""

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
