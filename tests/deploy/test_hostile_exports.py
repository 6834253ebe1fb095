"""MINDIR and ONNX files of strangers are looked through before a runtime gets them."""
import os
import subprocess
import sys

import mindspore as ms
import numpy as np
import pytest

from ghost_ms.analysis.measure.verify_worker import randomize_statistics
from ghost_ms.cli import main
from ghost_ms.deploy import export
from ghost_ms.deploy.quantize import int8
from ghost_ms.graph.mindir_check import check_mindir
from ghost_ms.graph.mindir_graph import read_graph
from ghost_ms.runtime import files
from ghost_ms.runtime import onnx as onnx_runtime
from ghost_ms.runtime import mindir
from tests import tiny
from tests.deploy.test_export import _description, _images

onnx = pytest.importorskip("onnx", reason="needs onnx and onnxruntime")
pytest.importorskip("onnxruntime", reason="needs onnx and onnxruntime")

from mindspore.train.mind_ir_pb2 import ModelProto  # noqa: E402
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

BOOT = os.path.join(os.path.dirname(export.__file__), "..", "data", "embedded", "ankle_boot.png")


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported")
    with tiny.registered():
        description = _description("tiny", (32, 32))
        net = randomize_statistics(description.build()).set_train(False)
        for write, name in ((export.export_mindir, "net.mindir"), (export.export_onnx, "net.onnx")):
            write(net, description, str(folder / name))
    return folder


def _change(proto, source, target, change):
    proto.ParseFromString(source.read_bytes())
    change(proto)
    target.write_bytes(proto.SerializeToString())
    return str(target)


def _weight(model):
    return model.graph.parameter[0]


@pytest.mark.parametrize("change, reason", [
    (lambda m: setattr(_weight(m), "raw_data", _weight(m).raw_data + b"1234"), "with 1540 bytes, .* take 1536"),
    (lambda m: setattr(_weight(m), "raw_data", _weight(m).raw_data[:-4]), "with 1532 bytes"),
    (lambda m: _weight(m).ClearField("raw_data"), "with 0 bytes"),
    (lambda m: _weight(m).dims.append(2), "with 1536 bytes"),
    (lambda m: _weight(m).dims.__setitem__(0, -8), "impossible extents"),
    (lambda m: _weight(m).dims.extend([2 ** 40] * 3), "impossible extents"),
    (lambda m: setattr(_weight(m), "data_type", 11), "with 1536 bytes"),
    (lambda m: setattr(_weight(m), "data_type", 99), "of the type 99"),
    (lambda m: setattr(_weight(m), "compression_type", 2), "in a form that no export"),
    (lambda m: _weight(m).float_data.extend([1.0]), "in a form that no export"),
    (lambda m: setattr(_weight(m).external_data, "location", "/etc/passwd"), "in another file, which is not followed"),
    (lambda m: setattr(_weight(m), "name", m.graph.parameter[1].name), "twice"),
    (lambda m: m.graph.node[2].input.__setitem__(0, "nothing"), "takes what nothing gives"),
    (lambda m: m.graph.node[2].output.append("more"), "without one output"),
    (lambda m: setattr(m.graph.node[2], "op_type", "REF::Nothing:1"), "which it does not describe"),
    (lambda m: setattr(m.graph.node[2], "op_type", ""), "without a kind"),
    (lambda m: m.graph.node[2].attribute[0].tensors[0].dims.__setitem__(0, 2 ** 50), "impossible extents"),
    (lambda m: setattr(m.graph.output[0], "name", "x"), "an output that nothing gives"),
    (lambda m: m.graph.ClearField("output"), "without outputs"), (lambda m: m.ClearField("graph"), "no network"),
    (lambda m: m.graph.map_parameter.add(name="m").key_tensor.SetInParent(), "a map of parameters"),
    (lambda m: setattr(m.preprocessor.op.add(), "operations", "{}"), "data operations"),
    (lambda m: setattr(m.primitives[1], "name", m.primitives[0].name), "without a name of their own")])
def test_a_mindir_file_that_cannot_be_is_refused(change, reason, exported, tmp_path):
    model = ModelProto()
    model.ParseFromString((exported / "net.mindir").read_bytes())
    change(model)
    path = tmp_path / "net.mindir"
    path.write_bytes(model.SerializePartialToString())
    for use in (check_mindir, mindir.load_mindir, read_graph, files.run_file):
        with pytest.raises(ValueError, match=f"^'.*net.mindir' is not a valid MINDIR file: it .*{reason}") as caught:
            use(str(path))
        assert "\n" not in str(caught.value)


def test_a_field_given_twice_is_refused(exported, tmp_path):
    """Of which protobuf takes the last, or joins both: the check would look at another file than MindSpore."""
    (tmp_path / "net.mindir").write_bytes((exported / "net.mindir").read_bytes() * 2)
    with pytest.raises(ValueError, match="holds producer_name twice|holds graph twice"):
        check_mindir(str(tmp_path / "net.mindir"))


@pytest.mark.parametrize("content", [b"", b"hello", b"\x0a\x03", bytes(100), b"\x0a" * 1000])
def test_what_is_no_mindir_file(content, tmp_path):
    (tmp_path / "net.mindir").write_bytes(content)
    with pytest.raises(ValueError, match="'.*net.mindir' is not a valid MINDIR file: it "):
        mindir.load_mindir(str(tmp_path / "net.mindir"))


def _lacking_input(exported, path):
    """A bias is added to nothing: MindSpore looks at its second input, which is not there."""
    def change(model):
        node = next(node for node in model.graph.node if "BiasAdd" in node.op_type)
        del node.input[2]

    return _change(ModelProto(), exported / "net.mindir", path, change)


def test_a_file_that_crashes_mindspore_is_one_sentence(exported, tmp_path, capsys):
    path = _lacking_input(exported, tmp_path / "net.mindir")
    check_mindir(path)
    alone = subprocess.run([sys.executable, "-m", "ghost_ms.runtime.mindir", path], input='{"input": "x"}',
                           capture_output=True, text=True)
    with pytest.raises(ValueError, match="^MindSpore cannot run '.*net.mindir': its process died by SIGSEGV$"):
        files.run_file(path)(_images((32, 32), 1).asnumpy())
    assert alone.returncode != 0, "otherwise MindSpore has learned to look, and this test needs another file"


def test_a_mindir_file_in_a_process_of_its_own_gives_the_same(exported):
    images = _images((32, 32), 1).asnumpy()
    expected = mindir.run_mindir(str(exported / "net.mindir"), images)
    with mindir.MindirModel(str(exported / "net.mindir")) as model:
        np.testing.assert_array_equal(model(images), expected)
        with pytest.raises(ValueError, match="MindSpore cannot run '.*net.mindir': [^\n]*$"):
            model(images[:, :2])
        np.testing.assert_array_equal(model(images), expected)
    assert main(["infer", "--file", str(exported / "net.mindir"), "--image", BOOT]) == 0


def _external(model):
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../../../../../../etc/passwd")


def _subgraph(model):
    body = helper.make_graph([], "body", [], [])
    model.graph.node.append(helper.make_node("Loop", ["", ""], ["looped"], body=body))


def _pads(model):
    conv = next(node for node in model.graph.node if node.op_type == "Conv")
    next(a for a in conv.attribute if a.name == "pads").ints[:] = [0, 0, 2 ** 40, 2 ** 40]


def _bomb(model):
    """A tensor of 4 TB, computed while the file is loaded."""
    model.graph.initializer.append(numpy_helper.from_array(np.array([2 ** 20, 2 ** 20]), "extents"))
    model.graph.node.append(helper.make_node("ConstantOfShape", ["extents"], ["bomb"]))


def _shape(model):
    return model.graph.input[0].type.tensor_type.shape


def _first(model):
    return model.graph.initializer[0]


@pytest.mark.parametrize("change, reason", [
    (_external, "in another file, which is not followed"), (_subgraph, "with a graph or a sparse tensor of its own"),
    (lambda m: setattr(m.graph.node[0], "domain", "com.evil"), "of the domain 'com.evil'"),
    (lambda m: m.opset_import.add(domain="\x1b[2J", version=1), "with control characters"),
    (lambda m: setattr(m.graph.node[0], "name", "\n"), "with control characters"),
    (lambda m: setattr(_shape(m).dim[1], "dim_param", "\n"), "with control characters"),
    (lambda m: m.functions.add(name="f"), "holds functions"),
    (lambda m: setattr(_first(m), "raw_data", _first(m).raw_data + b"1234"), "bytes, and its extents"),
    (lambda m: setattr(_first(m), "raw_data", b""), "with 0 bytes"),
    (lambda m: _first(m).dims.append(3), "bytes, and its extents"),
    (lambda m: _first(m).dims.__setitem__(0, -1), "impossible extents"),
    (lambda m: setattr(_first(m), "data_type", TensorProto.STRING), "of the type 8"),
    (lambda m: (_first(m).ClearField("raw_data"), _first(m).float_data.extend([1.0] * 5)), "with other values than"),
    (lambda m: m.graph.ClearField("input"), "no network with inputs"), (_pads, "impossible extents|shapes that cannot"),
    (_bomb, "impossible extents|shapes that cannot"),
    (lambda m: m.graph.node[0].input.__setitem__(0, "nothing"), "not a valid ONNX")])
def test_an_onnx_file_that_cannot_be_is_refused(change, reason, exported, tmp_path):
    path = _change(onnx.ModelProto(), exported / "net.onnx", tmp_path / "net.onnx", change)
    for use in (onnx_runtime.load_onnx, int8.read_float, files.run_file):
        whole = f"^'.*net.onnx' is not a valid ONNX file: .*({reason})|{reason}"
        with pytest.raises(ValueError, match=whole) as caught:
            use(path)
        assert "\n" not in str(caught.value) and "\x1b" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"hello", b"\x08\x09", bytes(100), b"\x3a\x00\x08\x09"])
def test_what_is_no_onnx_file(content, tmp_path):
    (tmp_path / "net.onnx").write_bytes(content)
    with pytest.raises(ValueError, match="'.*net.onnx' is not a valid ONNX file: it "):
        onnx_runtime.load_onnx(str(tmp_path / "net.onnx"))


def test_outputs_of_an_exported_file_that_are_no_numbers(exported, tmp_path, capsys):
    """The kind of a damaged weight that no checksum tells of: the sidecar is of an earlier version."""
    import json
    import shutil

    def spoil(model):
        for array in model.graph.initializer:
            if array.dims == [10]:
                array.CopyFrom(numpy_helper.from_array(np.full(10, np.nan, np.float32), array.name))

    path = _change(onnx.ModelProto(), exported / "net.onnx", tmp_path / "net.onnx", spoil)
    shutil.copy(exported / "net.json", tmp_path / "net.json")
    assert main(["infer", "--file", path, "--image", BOOT]) == 1
    assert "is not the file that" in capsys.readouterr().err
    content = json.loads((tmp_path / "net.json").read_text())
    del content["sha256"]
    (tmp_path / "net.json").write_text(json.dumps(content))
    assert main(["infer", "--file", path, "--image", BOOT]) == 1
    said = capsys.readouterr()
    assert "outputs that are no finite numbers (10 of 10)" in said.err and "nan" not in said.out


def test_images_of_another_size_are_one_sentence(exported):
    with pytest.raises(ValueError, match="'.*net.onnx' takes other images: [^\n]*$"):
        onnx_runtime.load_onnx(str(exported / "net.onnx"))(np.zeros((1, 3, 9, 9), np.float32))
    with pytest.raises(ValueError, match=r"takes 1 arrays \(image\), not 2"):
        onnx_runtime.load_onnx(str(exported / "net.onnx"))(np.zeros(1), np.zeros(1))
    assert ms.get_context("device_target") == "CPU"
