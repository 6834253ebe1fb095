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

import numpy as np

from ghost_ms.deploy.sidecar import copy_sidecar, sidecar_path

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
            raise ValueError(f"MindSpore Lite cannot convert '{source}' ({optimize}): {_reason(log)}")
        os.replace(temporary, target)
    if os.path.isfile(sidecar_path(source)) and sidecar_path(source) != sidecar_path(target):
        copy_sidecar(source, target, batch_size)
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


def _reason(log: str) -> str:
    """The last line that says what went wrong."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    errors = [line for line in lines if "Error" in line or "ERROR" in line or "error" in line]
    return (errors or lines or ["it gave no reason"])[-1]


class LiteModel:
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
        self.path = path
        self.folder = tempfile.TemporaryDirectory()
        self.log = open(os.path.join(self.folder.name, "log"), "w+")
        try:
            self.process = subprocess.Popen([python, str(RUNNER), "serve", path, str(threads), target], text=True,
                                            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log)
        except OSError as error:
            raise ValueError(f"cannot start {python} ({error.strerror}): {REMEDY}") from None
        self.facts = self._answer()

    def __del__(self):
        if getattr(self, "process", None) is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def __enter__(self) -> "LiteModel":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def _answer(self) -> dict:
        line = self.process.stdout.readline()
        if not line:
            code = self.process.wait()
            self.log.seek(0)
            reason = f"its process died by {signal.Signals(-code).name}" if code < 0 else _reason(self.log.read())
            raise ValueError(f"MindSpore Lite cannot run '{self.path}': {reason}")
        answer = json.loads(line)
        if "error" in answer:
            raise ValueError(f"MindSpore Lite cannot run '{self.path}': {answer['error']}")
        return answer

    def _ask(self, **request) -> dict:
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # The answer, or its absence, tells why.
        return self._answer()

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """The output for a batch of images."""
        source, target = (os.path.join(self.folder.name, name) for name in ("in.npy", "out.npy"))
        np.save(source, images)
        self._ask(input=source, output=target)
        return np.load(target)

    def time(self, calls: int) -> List[float]:
        """Milliseconds of each of some calls on the images of the last call."""
        return self._ask(calls=calls)["ms"]

    def close(self) -> Optional[float]:
        """End the process; its peak memory in MB, None where it has died before."""
        out, _ = self.process.communicate()
        self.log.close()
        self.folder.cleanup()
        return json.loads(out)["peak_mb"] if out.strip() else None
