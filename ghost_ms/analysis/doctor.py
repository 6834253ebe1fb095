"""What this machine and its packages allow: the checks of `ghost-ms doctor`."""
import importlib.util
import os
import platform
import shutil
import sys
from importlib import metadata
from typing import Callable, List, NamedTuple, Optional, Sequence, Tuple

from ghost_ms.core import device, onednn
from ghost_ms.core.files import home
from ghost_ms.core.threads import cores
from ghost_ms.kernels import build
from ghost_ms.runtime.lite import REMEDY, lite_python

#: How a check ends; what is absent only takes something away.
GOOD, ABSENT, BAD = "ok", "--", "!!"
#: Pythons that MindSpore has packages for.
PYTHONS = ((3, 9), (3, 12))


class Finding(NamedTuple):
    """Result of one check.

    Args:
        state: GOOD, ABSENT or BAD.
        what: was looked at.
        found: what was found, with the remedy where it is not good.
    """

    state: str
    what: str
    found: str


def version_of(package: str) -> Optional[str]:
    """The version of an installed package, or None; nothing is imported."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def check_python(version: Tuple[int, int]) -> Finding:
    found = f"{version[0]}.{version[1]} ({sys.executable})"
    if PYTHONS[0] <= version <= PYTHONS[1]:
        return Finding(GOOD, "Python", found)
    return Finding(BAD, "Python", f"{found}: MindSpore has packages for 3.9 to 3.12")


def check_packages(version: Callable[[str], Optional[str]]) -> List[Finding]:
    """MindSpore and NumPy, which have to fit each other.

    Args:
        version: name of a package -> its version, None where it is not installed.
    """
    mindspore, numpy = version("mindspore"), version("numpy")
    found = [Finding(GOOD, "MindSpore", mindspore) if mindspore else
             Finding(BAD, "MindSpore", "not installed: pip install -c constraints.txt .")]
    if mindspore and tuple(map(int, mindspore.split(".")[:2])) < (2, 7):
        found = [Finding(BAD, "MindSpore", f"{mindspore}: 2.7 or newer is needed")]
    too_new = numpy is not None and int(numpy.split(".")[0]) > 1
    found.append(Finding(BAD if too_new or numpy is None else GOOD, "NumPy", (numpy or "not installed") + (
        ": MindSpore fails with it in the middle of a run: pip install 'numpy<2'" if too_new else "")))
    return found


def check_processor(name: str, cores: int, flags: Sequence[str], mindspore: Optional[str]) -> List[Finding]:
    """The processor, and whether MindSpore's convolutions are slow on it."""
    special = ", ".join(flag for flag in ("avx2", "avx512f", "avx512_vnni", "asimd") if flag in flags)
    found = [Finding(GOOD, "processor", f"{name}, {cores} cores{f', {special}' if special else ''}")]
    slow = onednn.slow_convolutions(mindspore, frozenset(flags), os.environ.get(onednn.VARIABLE)) if mindspore else ""
    return found + ([Finding(ABSENT, "convolutions", slow)] if slow else [])


def check_tools(version: Callable[[str], Optional[str]], which: Callable[[str], Optional[str]],
                lite: Optional[str]) -> List[Finding]:
    """What export, Lite and the C++ program need besides."""
    onnx, runtime = version("onnx"), version("onnxruntime")
    found = [Finding(GOOD, "ONNX", f"onnx {onnx}, onnxruntime {runtime}") if onnx and runtime else
             Finding(ABSENT, "ONNX", "export to ONNX and int8 need onnx and onnxruntime: pip install onnx onnxruntime "
                                     "'numpy<2'")]
    found.append(Finding(GOOD, "MindSpore Lite", lite) if lite else
                 Finding(ABSENT, "MindSpore Lite", f"not installed: {REMEDY}"))
    compiler, cmake = which("g++") or which("clang++"), which("cmake")
    found.append(Finding(GOOD, "C++", f"{compiler}, {cmake}") if compiler and cmake else
                 Finding(ABSENT, "C++", f"no {'C++ compiler' if not compiler else 'cmake'}, which the program in "
                                        "ghost_ms/deploy/cpp is built with"))
    return found


def check_kernels() -> Finding:
    """The operators for the CPU, in whose place MindSpore's are slower."""
    try:
        return Finding(GOOD, "CPU kernels", build.outlook())
    except build.Unavailable as reason:
        return Finding(ABSENT, "CPU kernels", str(reason))


def check_device() -> List[Finding]:
    """The device that a training would take, and why not another."""
    try:
        target = device.setup("auto")
    except (ValueError, ImportError) as error:
        return [Finding(BAD, "device", str(error))]
    found = [Finding(GOOD, "device", target)]
    for name, reason in device.passed_over().items():
        cards = device.cards()[name]
        if cards:
            found.append(Finding(BAD, name, f"{', '.join(cards)} cannot be used: {reason}"))
        else:
            found.append(Finding(ABSENT, name, "this machine has none"))
    return found


def check_cache(folder: str) -> Finding:
    """Where released weights are kept."""
    above = folder
    while not os.path.exists(above) and os.path.dirname(above) != above:
        above = os.path.dirname(above)
    if os.access(above, os.W_OK):
        free = shutil.disk_usage(above).free / 1e9
        return Finding(GOOD, "cache", f"{folder}, {free:.0f} GB free")
    return Finding(BAD, "cache", f"{folder} cannot be written; name another folder in GHOST_MS_HOME")


def processor_name() -> str:
    """The processor's name, as the system has it."""
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def examine() -> List[Finding]:
    """All checks, in the order in which they are told."""
    found = [check_python(sys.version_info[:2]), *check_packages(version_of),
             *check_processor(processor_name(), cores(), sorted(onednn.processor_flags()), version_of("mindspore")),
             *check_tools(version_of, shutil.which, lite_python()), check_kernels(), check_cache(str(home()))]
    if importlib.util.find_spec("mindspore") is not None and not any(one.state == BAD for one in found[:3]):
        found += check_device()
    return found
