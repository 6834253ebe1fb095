"""The device, the execution mode, the seed of a process, and its place among the processes of a run."""
import contextlib
import dataclasses
import functools
import glob
import os
import re
import sys
from typing import Dict, List

from ghost_ms.core import onednn

TARGETS = {"ascend": "Ascend", "gpu": "GPU", "cpu": "CPU"}
#: What the files of a device in this machine are called, before their number.
FILES = {"Ascend": "/dev/davinci", "GPU": "/dev/nvidia"}
REMEDY = {
    "Ascend": "it needs an NPU, its driver and CANN (source CANN's set_env.sh first)",
    "GPU": "it needs an NVIDIA GPU and the CUDA libraries that this MindSpore was built for",
}


@dataclasses.dataclass(frozen=True)
class World:
    """The processes that train together.

    Args:
        rank: number of this one, from 0.
        size: how many there are; 1 without a launcher.
    """

    rank: int = 0
    size: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this process is the one that writes files."""
        return self.rank == 0


_world = World()
_passed_over: Dict[str, str] = {}


def world() -> World:
    """This process among those of the run; `World(0, 1)` before `setup` and without a launcher."""
    return _world


def launched() -> bool:
    """Whether a launcher started this process as one of several: msrun, mpirun, or a rank table."""
    by_table = "RANK_TABLE_FILE" in os.environ and "RANK_ID" in os.environ and os.environ.get("RANK_SIZE", "1") != "1"
    return "MS_ROLE" in os.environ or by_table or os.environ.get("OMPI_COMM_WORLD_SIZE", "1") != "1"


def _join(target: str) -> World:
    """Meet the other processes. The scheduler of msrun stays in here until the run is over."""
    import mindspore as ms
    from mindspore.communication import get_group_size, get_rank, init

    try:
        init()
    except RuntimeError as error:
        # The scheduler, which is in here all the time, hears of a lost process in the middle of the run.
        what = "lost" if "timed out node" in str(error) else "did not find"
        raise ValueError(f"the processes of this {target} run {what} each other: {_first_line(str(error))}") from None
    ms.set_auto_parallel_context(parallel_mode=ms.ParallelMode.DATA_PARALLEL, gradients_mean=True)
    return World(get_rank(), get_group_size())


def _first_line(message: str) -> str:
    return next((line.strip() for line in message.splitlines() if line.strip(" -")), "no reason was given")


@contextlib.contextmanager
def _quiet():
    """Silence what native code writes to standard error, such as MindSpore's probe of a device that is not there."""
    sys.stderr.flush()
    try:
        kept, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    except OSError:
        # Standard error is closed, which is quiet enough.
        yield
        return
    os.dup2(null, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(null)


def _fault(target: str, device_id: int) -> str:
    """Take a device; '' where that went well, else why not."""
    import mindspore as ms

    try:
        with _quiet():
            ms.set_device(target, device_id)
    except (RuntimeError, ValueError) as error:
        return _reason(target, str(error))
    return ""


def _reason(target: str, message: str) -> str:
    """The cause in MindSpore's page about a device that it cannot take."""
    import mindspore as ms

    # The loader names, one a line, the libraries of every device that this MindSpore was built for.
    faults = re.findall(rf"libmindspore_{target.lower()}\S* failed\. (.+)", message)
    if faults:
        return faults[0].strip()
    if "Unsupported device target" in message:
        return f"MindSpore {ms.__version__} as installed is not built for it"
    return _first_line(message)


def passed_over() -> Dict[str, str]:
    """The devices that `setup` would have preferred, and why each could not be taken."""
    return dict(_passed_over)


def cards() -> Dict[str, List[str]]:
    """Files of the accelerators that this machine has, whether or not MindSpore can use them."""
    return {target: sorted(glob.glob(f"{files}[0-9]*")) for target, files in FILES.items()}


@functools.lru_cache(maxsize=None)
def _one_thread_a_kernel() -> None:
    """Hold kernels to one thread: with more their split, and so their last bits, vary. Can be set once per process."""
    import mindspore as ms

    ms.device_context.cpu.op_tuning.threads_num(1)


def _check_numpy() -> None:
    """Refuse NumPy 2, with which MindSpore's data pipeline fails in mid-run and names another cause."""
    import numpy as np

    if int(np.__version__.split(".")[0]) > 1:
        raise ValueError(f"NumPy {np.__version__} is installed and MindSpore needs one below 2: pip install 'numpy<2'")


@functools.lru_cache(maxsize=None)
def _say_once(line: str) -> None:
    print(line, file=sys.stderr)


def setup(device: str = "auto", device_id: int = 0, mode: str = "graph", seed: int = 1,
          join: bool = False) -> str:
    """Choose the device and mode of this process, and seed it; returns the device's name.

    Args:
        device: auto (Ascend, else GPU, else CPU), Ascend, GPU or CPU.
        device_id: which of several; under a launcher its DEVICE_ID counts.
        mode: graph or pynative.
        seed: the same on all ranks, so that their weights start equal.
        join: meet the other processes if a launcher started this one among several; `world` then tells its rank.

    Raises:
        ValueError: the device is not there, or NumPy is too new; the sentence says what is installed and needed.
    """
    global _world
    _check_numpy()
    import mindspore as ms

    if join and launched():
        device_id = int(os.environ.get("DEVICE_ID", device_id))
    wanted = [TARGETS[device.lower()]] if device.lower() != "auto" else list(TARGETS.values())
    _passed_over.clear()
    for target in wanted:
        fault = _fault(target, 0 if target == "CPU" else device_id)
        if not fault:
            break
        _passed_over[target] = fault
    else:
        raise ValueError(f"MindSpore {ms.__version__} here finds no device '{wanted[0]}' {device_id} ({fault}): "
                         f"{REMEDY.get(wanted[0], 'reinstall MindSpore')}; --run.device CPU works everywhere")
    ms.set_context(mode=ms.GRAPH_MODE if mode == "graph" else ms.PYNATIVE_MODE)
    ms.set_recursion_limit(10000)
    if target == "CPU":
        _one_thread_a_kernel()
        remark = onednn.remark(ms.__version__)
        if remark:
            _say_once(f"note: {remark}")
    if join and launched() and _world.size == 1:
        _world = _join(target)
    ms.set_seed(seed)
    return target
