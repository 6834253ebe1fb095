"""MindSpore Lite: conversion for devices, in an interpreter of its own (see `runtime.lite`)."""
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
from typing import Dict, List, Sequence

from ghost_ms.core.files import whole_file
from ghost_ms.core.talk import reason_in
from ghost_ms.runtime import lite
from ghost_ms.runtime.sidecar import add_to_sidecar, check_file, copy_sidecar, seal, sidecar_path

OPTIMIZE = re.compile(r"none|general|ascend_oriented(:\w+)?$")
#: Seconds that a conversion may take.
LIMIT = 900


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
            from ghost_ms.deploy.lite.lower import lower_file, unloadable_in_int8

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
    python, program = lite.lite_python(), shutil.which("converter_lite")
    if python:
        command = [python, str(lite.RUNNER), "convert", source, target, optimize, json.dumps(weights)]
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
        raise ValueError(f"MindSpore Lite is not installed: {lite.REMEDY}, or put converter_lite on the PATH")
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT)
    except subprocess.TimeoutExpired:
        return f"it took longer than {LIMIT} s"
    except OSError as error:
        raise ValueError(f"cannot start {command[0]} ({error.strerror}): {lite.REMEDY}") from None
    if done.returncode < 0:
        return f"its process died by {signal.Signals(-done.returncode).name}"
    return done.stdout + done.stderr
