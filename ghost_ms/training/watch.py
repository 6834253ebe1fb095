"""A profiler's trace of a few steps of a run."""
import contextlib
import os
from typing import Any, Callable, Iterator

from ghost_ms.config import RunConfig
from ghost_ms.core.files import whole_folder

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
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(whole_folder(os.path.join(run.dir, "profile")))
        write = tensorboard_trace_handler(folder)

        def finish(*profiler: Any) -> None:
            write(*profiler)
            # Now, and not at the end of the epoch: a run that is broken off before that keeps its trace.
            stack.close()

        with profile(activities=activities, schedule=schedule(wait=run.profile - 1, warmup=0, active=TRACED, repeat=1),
                     on_trace_ready=finish) as profiler:
            yield profiler.step
