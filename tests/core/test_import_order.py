"""A program that imported protobuf too early gets one sentence, where MindSpore's import would abort Python."""
import os
import subprocess
import sys

import pytest

from ghost_ms.core import import_order

onnx = pytest.importorskip("onnx", reason="needs onnx")


def _run(code, **environment):
    """(exit code, last line of stderr) of a Python of its own."""
    kept = {key: value for key, value in os.environ.items() if key != import_order.VARIABLE}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120,
                          env={**kept, **environment})
    return done.returncode, (done.stderr.strip().splitlines() or [""])[-1]


@pytest.mark.parametrize("code, culprit", [
    ("import onnx, ghost_ms; ghost_ms.create_model", "onnx"),
    ("import onnx; from ghost_ms import create_model", "onnx"),
    ("import google.protobuf.message, google.protobuf.descriptor_pb2, ghost_ms.layers", "a module with protobuf")])
def test_protobuf_first_is_an_import_error(code, culprit):
    returned, said = _run(code)
    assert returned == 1
    assert said.startswith(f"ImportError: {culprit} was imported before MindSpore") and "import ghost_ms" in said


def test_an_environment_that_cannot_work_is_an_import_error():
    returned, said = _run("import ghost_ms.layers", PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION="upb")
    assert returned == 1 and said.startswith("ImportError: PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION is 'upb'")


def test_what_needs_no_mindspore_works_in_any_order():
    assert _run("import onnx, ghost_ms.weights.torch_file, ghost_ms.core.files")[0] == 0


def test_onnx_between_this_package_and_mindspore_does_no_harm():
    assert _run("import ghost_ms, onnx, onnxruntime.quantization; ghost_ms.list_models()") == (0, "")
