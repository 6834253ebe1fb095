"""What watches a run for tools beside it: a profiler's trace of a few steps, and a summary for MindInsight."""
import contextlib
import os
from typing import Callable, Dict, Iterator

from ghost_ms.config import RunConfig

#: Steps of a trace.
TRACED = 3


@contextlib.contextmanager
def trace(run: RunConfig, steps: int, fresh: bool) -> Iterator[Callable[[], None]]:
    """Profile steps `run.profile` and those behind it in the first epoch, into profile/ of the run's folder.

    Args:
        steps: of an epoch.
        fresh: whether this is the first epoch, from its first step on; otherwise nothing is traced.

    Yields:
        A function to call after every step.

    Raises:
        ValueError: the epoch has not so many steps.
    """
    if run.profile is None or not fresh:
        yield lambda: None
        return
    if run.profile + TRACED - 1 > steps:
        raise ValueError(f"run.profile is {run.profile}: {TRACED} steps are traced from there on, but the epoch has "
                         f"{steps}; " + (f"take {steps - TRACED + 1} at most" if steps >= TRACED else "leave it out"))
    import mindspore as ms
    from mindspore.profiler import ProfilerActivity, profile, schedule, tensorboard_trace_handler

    activities = [ProfilerActivity.CPU]
    beside = {"Ascend": ProfilerActivity.NPU, "GPU": ProfilerActivity.GPU}.get(ms.get_context("device_target"))
    if beside is not None:
        activities.append(beside)
    with profile(activities=activities, schedule=schedule(wait=run.profile - 1, warmup=0, active=TRACED, repeat=1),
                 on_trace_ready=tensorboard_trace_handler(os.path.join(run.dir, "profile"))) as profiler:
        yield profiler.step


@contextlib.contextmanager
def summary(run: RunConfig, writes: bool) -> Iterator[Callable[[Dict[str, float]], None]]:
    """Record every epoch's figures as scalars, into summary/ of the run's folder.

    Args:
        writes: whether this process does; one of all ranks.

    Yields:
        A function that takes an epoch's row of metrics.
    """
    if not (run.summary and writes):
        yield lambda row: None
        return
    from mindspore import SummaryRecord, Tensor

    with SummaryRecord(os.path.join(run.dir, "summary")) as record:
        def add(row: Dict[str, float]) -> None:
            for name, value in row.items():
                if name != "epoch":
                    record.add_value("scalar", name, Tensor(float(value)))
            record.record(int(row["epoch"]))

        yield add
