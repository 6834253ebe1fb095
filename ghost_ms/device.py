"""The device, the execution mode and the seed of a process."""
import contextlib
import functools
import os
import sys

TARGETS = {"ascend": "Ascend", "gpu": "GPU", "cpu": "CPU"}
REMEDY = {
    "Ascend": "it needs an NPU, its driver and CANN (source CANN's set_env.sh first)",
    "GPU": "it needs an NVIDIA GPU and the CUDA libraries that this MindSpore was built for",
}


@contextlib.contextmanager
def _quiet():
    """Silence what native code writes to standard error, such as MindSpore's probe of a device that is not there."""
    sys.stderr.flush()
    kept, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(null)


def _try(target: str, device_id: int) -> bool:
    import mindspore as ms

    try:
        with _quiet():
            ms.set_device(target, device_id)
    except (RuntimeError, ValueError):
        return False
    return True


@functools.lru_cache(maxsize=None)
def _one_thread_a_kernel() -> None:
    """With more, the split of a kernel varies from call to call, and so do its last bits. Settable once a process."""
    import mindspore as ms

    ms.device_context.cpu.op_tuning.threads_num(1)


def setup(device: str = "auto", device_id: int = 0, mode: str = "graph", seed: int = 1) -> str:
    """Choose the device and mode of this process, and seed it; returns the device's name.

    Args:
        device: auto (Ascend, else GPU, else CPU), Ascend, GPU or CPU.
        mode: graph or pynative.

    Raises:
        ValueError: the device is not there; the sentence says what is installed and what is needed.
    """
    import mindspore as ms

    wanted = [TARGETS[device.lower()]] if device.lower() != "auto" else list(TARGETS.values())
    target = next((name for name in wanted if _try(name, 0 if name == "CPU" else device_id)), None)
    if target is None:
        raise ValueError(f"MindSpore {ms.__version__} here finds no device '{wanted[0]}' {device_id}: "
                         f"{REMEDY.get(wanted[0], 'reinstall MindSpore')}; --run.device CPU works everywhere")
    ms.set_context(mode=ms.GRAPH_MODE if mode == "graph" else ms.PYNATIVE_MODE)
    ms.set_recursion_limit(10000)
    if target == "CPU":
        _one_thread_a_kernel()
    ms.set_seed(seed)
    return target
