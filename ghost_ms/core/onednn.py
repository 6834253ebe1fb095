"""oneDNN of MindSpore 2.9 and newer, whose convolutions fall to a reference kernel on processors with AVX-512.

Held to AVX2 it has kernels for them again: 3x3 of 32 channels at 112x112, batch 8, takes 2,350 ms by itself, 42 ms so,
and 28 ms with MindSpore 2.8 (Intel Xeon with AVX-512, two cores).
"""
import contextlib
import os
import re
from importlib import metadata
from typing import FrozenSet, Optional

#: oneDNN reads it when it is loaded.
VARIABLE = "ONEDNN_MAX_CPU_ISA"


def processor_flags() -> FrozenSet[str]:
    """What this processor can do, as Linux names it ('avx2', 'avx512f'); empty where that is not known."""
    with contextlib.suppress(OSError), open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
        for line in file:
            if line.startswith(("flags", "Features")):
                return frozenset(line.partition(":")[2].split())
    return frozenset()


def afflicted(version: str, flags: FrozenSet[str]) -> bool:
    """Whether a MindSpore of this version has no kernels for convolutions on a processor with these flags."""
    return tuple(map(int, re.findall(r"\d+", version)[:2])) >= (2, 9) and "avx512f" in flags


#: Whether this package has set the variable in this process.
held = False


def hold_back() -> None:
    """Call before MindSpore is imported. Hold oneDNN to AVX2 where that helps, and the user has not chosen."""
    global held
    with contextlib.suppress(metadata.PackageNotFoundError):
        if VARIABLE not in os.environ and afflicted(metadata.version("mindspore"), processor_flags()):
            os.environ[VARIABLE], held = "AVX2", True


def remark(version: str) -> str:
    """What is to be said of MindSpore's convolutions in this process, held back or slow; '' where they are neither."""
    if held:
        return (f"oneDNN is held to AVX2 ({VARIABLE}), since MindSpore {version} has no quick convolutions "
                "for AVX-512: set the variable yourself for another choice")
    return slow_convolutions(version, processor_flags(), os.environ.get(VARIABLE))


def slow_convolutions(version: str, flags: FrozenSet[str], held_to: Optional[str] = None) -> str:
    """A sentence where MindSpore's convolutions on this processor are many times slower than 2.8's; '' elsewhere.

    Args:
        version: of MindSpore.
        flags: of the processor.
        held_to: what `ONEDNN_MAX_CPU_ISA` says.
    """
    if not afflicted(version, flags) or (held_to or "").upper().startswith(("SSE", "AVX2")) or held_to == "AVX":
        return ""
    return (f"MindSpore {version} runs 3x3 and depthwise convolutions on a reference kernel on processors with AVX-512 "
            f"such as this one, tens of times slower than 2.8 does: set {VARIABLE}=AVX2 before Python starts, or "
            "install mindspore==2.8.0 (pip install -c constraints.txt)")
