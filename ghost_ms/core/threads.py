"""How many threads work at what: the one place that says so, and what it was measured by.

MindSpore's kernels get one (`core.device`): with more, the split of a kernel varies from call to call, and so do its
last bits. The CPU kernels of this package get every core: their results do not depend on it. OpenMP, which MindSpore's
products use, is left as the user has it: passive waiting did not make a step with the CPU kernels faster.
"""
import os

#: Bounds the threads of OpenMP, and those of the CPU kernels.
VARIABLE = "OMP_NUM_THREADS"


def cores() -> int:
    """Number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def kernel_threads(processes: int = 1) -> int:
    """Threads of the CPU kernels in each of so many processes that share this machine; `OMP_NUM_THREADS` where set."""
    asked = os.environ.get(VARIABLE, "")
    return int(asked) if asked.isdecimal() and int(asked) else max(1, cores() // processes)
