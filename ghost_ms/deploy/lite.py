"""MindSpore Lite: conversion for devices, and running what was converted, in an interpreter of its own.

MindSpore Lite 2.0.0, the one on PyPI, is for Python 3.7, which this package is not. What has to run there is
`lite_runner.py`; here it is found, started and watched.
"""
import importlib.util
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from typing import Dict, List, Optional, Sequence

from ghost_ms.core.files import whole_file
from ghost_ms.deploy.served import Served, reason_in
from ghost_ms.deploy.sidecar import add_to_sidecar, check_file, copy_sidecar, seal, sidecar_path

RUNNER = pathlib.Path(__file__).with_name("lite_runner.py")
ROOT = RUNNER.parent.parent.parent
#: Names an interpreter that has mindspore_lite.
VARIABLE = "GHOST_MS_LITE_PYTHON"
OPTIMIZE = re.compile(r"none|general|ascend_oriented(:\w+)?$")
REMEDY = (f"`bash scripts/setup_lite.sh` installs it where a Python 3.7 is, or {VARIABLE} names an interpreter that "
          "has mindspore_lite")
#: Seconds that a conversion may take.
LIMIT = 900


def lite_python() -> Optional[str]:
    """The interpreter that has MindSpore Lite, or None: $GHOST_MS_LITE_PYTHON, .venv-lite, or this one."""
    if os.environ.get(VARIABLE):
        return os.environ[VARIABLE]
    for folder in (pathlib.Path.cwd(), ROOT):
        python = folder / ".venv-lite" / "bin" / "python"
        if python.is_file():
            return str(python)
    return sys.executable if importlib.util.find_spec("mindspore_lite") else None


def convert(source: str, target: str, optimize: str = "general", batch_size: int = 1, weight_bits: int = 0,
            skip: Sequence[str] = ()) -> List[str]:
    """Convert an exported file for MindSpore Lite, by its Python package or else by `converter_lite` on the PATH.

    Args:
        source: `.onnx`, or `.mindir` for a Lite of this MindSpore's generation.
        target: `.ms` for devices or `.mindir` for servers; the sidecar of `source` is copied beside it.
        optimize: general (CPU and GPU), none, or ascend_oriented:SOC such as ascend_oriented:Ascend310P3.
        batch_size: what the open batch of an ONNX file is fixed to; 0 leaves it open, which Lite 2.0.0 does not survive
            with every network.
        weight_bits: 8 stores the weights of an ONNX file in int8 (.ms only); 0 leaves them in float. They become floats
            again when the file is loaded. (FULL_QUANT, which would compute in int8, ends in "LoadMindIR:
            ParseFromArray failed" in 2.0.0 even for a single 1x1 convolution: it cannot read what it calibrates.)
        skip: names of nodes whose weights stay in float all the same.

    Returns:
        The names of the nodes whose weights stay in float where others become int8: `skip` and those that MindSpore
        Lite 2.0.0 could not load.

    Raises:
        ValueError, OSError: no Lite, a source that is no network, an unknown target, no room; nothing is left behind.
    """
    if not os.path.isfile(source):
        raise FileNotFoundError(f"there is no file '{source}'")
    ends = ("convert from", source, (".onnx", ".mindir")), ("convert to", target, (".ms", ".mindir"))
    for name, path, kinds in ends:
        if os.path.splitext(path)[1] not in kinds:
            raise ValueError(f"cannot {name} '{path}': it has to end in {' or '.join(kinds)}")
    if os.path.abspath(source) == os.path.abspath(target):
        raise ValueError(f"'{target}' is the file that is read; name another one")
    if not OPTIMIZE.match(optimize):
        raise ValueError(f"--optimize is '{optimize}'; known are general, none and ascend_oriented:SOC, such as "
                         "ascend_oriented:Ascend310P3")
    check_file(source)
    os.makedirs(os.path.dirname(os.path.abspath(target)), exist_ok=True)
    skipped: List[str] = []
    with tempfile.TemporaryDirectory(dir=os.path.dirname(os.path.abspath(target))) as folder:
        temporary = os.path.join(folder, "model" + os.path.splitext(target)[1])
        readable = os.path.abspath(source)
        if source.endswith(".onnx"):
            from ghost_ms.deploy.onnx_lite import lower_file, unloadable_in_int8

            readable = os.path.join(folder, "lowered.onnx")
            lowered = lower_file(source, readable, batch_size, bool(weight_bits))
            skipped = sorted({*skip, *unloadable_in_int8(lowered)}) if weight_bits else []
        log = _run_converter(readable, temporary, optimize, weight_options(weight_bits, skipped))
        if not os.path.isfile(temporary):
            raise ValueError(f"MindSpore Lite cannot convert '{source}' ({optimize}): {reason_in(log)}")
        seal(target)
        with whole_file(target) as whole:
            os.replace(temporary, whole)
    if os.path.isfile(sidecar_path(source)) and sidecar_path(source) != sidecar_path(target):
        copy_sidecar(source, target, batch_size)
    elif os.path.isfile(sidecar_path(source)):
        add_to_sidecar(target)
    return skipped


def weight_options(bits: int, skip: Sequence[str] = ()) -> Dict[str, str]:
    """The converter's section common_quant_param for int8 weights; empty for none (0 bits)."""
    if not bits:
        return {}
    return {"quant_type": "WEIGHT_QUANT", "bit_num": str(bits), **({"skip_quant_node": ",".join(skip)} if skip else {})}


def _run_converter(source: str, target: str, optimize: str, weights: Dict[str, str]) -> str:
    """Run the installed converter in a process of its own; returns what it said."""
    python, program = lite_python(), shutil.which("converter_lite")
    if python:
        command = [python, str(RUNNER), "convert", source, target, optimize, json.dumps(weights)]
    elif program:
        save = "MINDIR_LITE" if target.endswith(".ms") else "MINDIR"
        command = [program, f"--fmk={'ONNX' if source.endswith('.onnx') else 'MINDIR'}", f"--modelFile={source}",
                   f"--outputFile={os.path.splitext(target)[0]}", f"--saveType={save}", f"--optimize={optimize}",
                   "--inputDataFormat=NCHW"]
        if weights:
            settings = os.path.splitext(target)[0] + ".cfg"
            pathlib.Path(settings).write_text("[common_quant_param]\n" + "".join(
                f"{key}={value}\n" for key, value in weights.items()))
            command.append(f"--configFile={settings}")
    else:
        raise ValueError(f"MindSpore Lite is not installed: {REMEDY}, or put converter_lite on the PATH")
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT)
    except subprocess.TimeoutExpired:
        return f"it took longer than {LIMIT} s"
    except OSError as error:
        raise ValueError(f"cannot start {command[0]} ({error.strerror}): {REMEDY}") from None
    if done.returncode < 0:
        return f"its process died by {signal.Signals(-done.returncode).name}"
    return done.stdout + done.stderr


def _check_head(path: str) -> None:
    """ValueError where a file cannot be one of MindSpore Lite, which believes what a file says: a FlatBuffer begins
    with the place of its table, and this kind goes on with MSL and a version."""
    size = os.path.getsize(path)
    with open(path, "rb") as file:
        head = file.read(8)
    place = int.from_bytes(head[:4], "little")
    if len(head) < 8 or head[4:7] != b"MSL" or not 8 <= place <= size - 4:
        raise ValueError(f"MindSpore Lite cannot run '{path}': it is no .ms file, or cut ({size} bytes)")


class LiteModel(Served):
    """A converted model, loaded in a process of its own; to be closed, or used in a `with`.

    Args:
        path: `.ms` or `.mindir` that `convert` wrote.
        threads: of the CPU.
        target: cpu, or ascend where the Lite that is installed has it.

    Raises:
        ValueError, FileNotFoundError: no such file, no MindSpore Lite, or a file that it cannot load.
    """

    def __init__(self, path: str, threads: int = 2, target: str = "cpu"):
        if not os.path.isfile(path):
            raise FileNotFoundError(f"there is no file '{path}'")
        python = lite_python()
        if python is None:
            raise ValueError(f"MindSpore Lite is not installed: {REMEDY}")
        if path.endswith(".ms"):
            _check_head(path)
        super().__init__([python, str(RUNNER), "serve", path, str(threads), target], path, "MindSpore Lite", REMEDY)

    def time(self, calls: int) -> List[float]:
        """Milliseconds of each of some calls on the images of the last call."""
        return self.ask(calls=calls)["ms"]
