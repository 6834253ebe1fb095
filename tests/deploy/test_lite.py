"""MindSpore Lite: lowering, conversion, the runtime in its own interpreter, and every way in which that can fail."""
import json
import os
import pathlib
import shutil
import stat
import sys

import mindspore as ms
import numpy as np
import pytest

from ghost_ms.analysis.measure.verify_worker import randomize_statistics
from ghost_ms.cli import main
from ghost_ms.deploy.export import export_onnx
from ghost_ms.deploy.lite import convert
from ghost_ms.layers import graph as graph_layers
from ghost_ms.runtime import files
from ghost_ms.runtime import lite
from tests.deploy.test_export import _description

onnx = pytest.importorskip("onnx", reason="needs onnx and onnxruntime")
pytest.importorskip("onnxruntime", reason="needs onnx and onnxruntime")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from ghost_ms.deploy.lite.lower import lower_for_lite  # noqa: E402

installed = pytest.mark.skipif(lite.lite_python() is None, reason="no MindSpore Lite: bash scripts/setup_lite.sh")
ROOT = pathlib.Path(__file__).parents[2]
BOOT = str(ROOT / "ghost_ms" / "data" / "embedded" / "ankle_boot.png")


def _model(nodes, output=(2, 3, 8), taken=(2, 3, 8), **constants):
    ends = [[helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)]
            for name, shape in (("image", taken), ("logits", output))]
    weights = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "test", *ends, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


def _run(model, images):
    import onnxruntime

    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"image": images})[0]


SCALE = np.linspace(0.5, 2, 8, dtype=np.float32)
CASES = {
    "HardSwish": _model([helper.make_node("HardSwish", ["image"], ["logits"], "n")]),
    "Gelu": _model([helper.make_node("Gelu", ["image"], ["logits"], "n")]),
    "LayerNormalization": _model([helper.make_node("LayerNormalization", ["image", "scale", "shift"], ["logits"], "n",
                                                   epsilon=1e-3)], scale=SCALE, shift=SCALE - 1),
    "InstanceNormalization": _model([helper.make_node("InstanceNormalization", ["image", "ones", "zeros"], ["logits"],
                                                      "n", epsilon=1e-3)],
                                    ones=np.ones(3, np.float32), zeros=np.zeros(3, np.float32)),
    "ReduceMean": _model([helper.make_node("ReduceMean", ["image", "axes"], ["logits"], "n", keepdims=0)],
                         output=(2, 3), axes=np.array([2], np.int64)),
}


@pytest.mark.parametrize("kind", CASES)
def test_what_lite_lacks_is_written_out_with_the_same_numbers(kind):
    model, images = CASES[kind], 3 * np.random.default_rng(0).standard_normal((2, 3, 8)).astype(np.float32)
    lowered = lower_for_lite(model)
    kinds = [node.op_type for node in lowered.graph.node]
    assert lowered.opset_import[0].version == 17 and (kind not in kinds or kind == "ReduceMean")
    assert all(len(node.input) == 1 for node in lowered.graph.node if node.op_type == "ReduceMean")
    np.testing.assert_allclose(_run(lowered, images), _run(model, images), atol=1e-6)
    assert model.opset_import[0].version == 20, "the model itself is left as it is"


def test_height_and_width_swap_where_the_converter_sees_no_image():
    weight, shapes = np.arange(9, dtype=np.float32).reshape(3, 3, 1, 1), ([-1, 3, 4, 2], [-1, 3, 8])
    model = _model([helper.make_node("Reshape", ["image", "four"], ["map"]),
                    helper.make_node("Transpose", ["map"], ["swapped"], "swap", perm=[0, 1, 3, 2]),
                    helper.make_node("Conv", ["swapped", "weight"], ["mixed"]),
                    helper.make_node("Reshape", ["mixed", "three"], ["logits"])], weight=weight,
                   **{name: np.array(shape, np.int64) for name, shape in zip(("four", "three"), shapes)})
    lowered = lower_for_lite(model)
    orders = [helper.get_node_attr_value(node, "perm") for node in lowered.graph.node if node.op_type == "Transpose"]
    values = {array.name: numpy_helper.to_array(array).tolist() for array in lowered.graph.initializer}
    assert orders == [[0, 2, 1]] and [2, 3, 4, 2] in values.values() and shapes[0] not in values.values()
    images = np.random.default_rng(0).standard_normal((2, 3, 8)).astype(np.float32)
    np.testing.assert_array_equal(_run(lowered, images), _run(model, images))
    for end in (*model.graph.input, *model.graph.output):
        end.type.tensor_type.shape.dim[0].dim_param = "batch"
    with pytest.raises(ValueError, match="cannot swap height and width in an open batch; .* --batch_size 1"):
        lower_for_lite(model)


@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize("outputs, inputs, written_out",
                         [(1, 2, True), (2, 1, True), (3, 1, True), (1, 1, False), (2, 2, False)])
def test_groups_with_a_few_channels_on_one_side_become_depthwise(outputs, inputs, written_out, biased):
    groups, draw = 6 // inputs, np.random.default_rng(0)
    constants = {"four": np.array([2, 6, 4, 1], np.int64),
                 "weight": draw.standard_normal((outputs * groups, inputs, 3, 1)).astype(np.float32)}
    if biased:
        constants["bias"] = draw.standard_normal(outputs * groups).astype(np.float32)
    conv = helper.make_node("Conv", ["image 2", "weight", "bias"][:2 + biased], ["logits"], "n", group=groups,
                            strides=[2, 1], pads=[1, 0, 1, 0], dilations=[1, 1], kernel_shape=[3, 1])
    model = _model([helper.make_node("Reshape", ["image", "four"], ["image 2"]), conv],
                   output=(2, outputs * groups, 2, 1), **constants)
    lowered = lower_for_lite(model)
    kinds = [node.op_type for node in lowered.graph.node]
    assert kinds.count("Conv") == (outputs * inputs if written_out else 1) and ("Gather" in kinds) == written_out
    images = draw.standard_normal((2, 3, 8)).astype(np.float32)
    np.testing.assert_allclose(_run(lowered, images), _run(model, images), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kernel, dilation, size, kept", [
    ((1, 5), 2, (3, 3), (1, 3)), ((5, 1), 2, (3, 3), (3, 1)), ((5, 5), 2, (2, 6), (1, 5)), ((1, 5), 3, (4, 4), (1, 3)),
    ((3, 3), 2, (1, 1), (1, 1)), ((1, 5), 2, (6, 6), None), ((3, 3), 1, (3, 3), None)])
def test_taps_that_meet_nothing_but_padding_are_left_out(kernel, dilation, size, kept):
    """Lite computes a depthwise 1x5 of dilation 2 on a map 3 wide wrongly."""
    draw, channels = np.random.default_rng(0), 4
    pads = [dilation * (extent // 2) for extent in kernel] * 2
    weight = draw.standard_normal((channels, 1, *kernel)).astype(np.float32)
    shape = (2, channels, *size)
    conv = helper.make_node("Conv", ["image", "weight", "bias"], ["logits"], "n", group=channels, strides=[1, 1],
                            pads=pads, dilations=[dilation] * 2, kernel_shape=list(kernel))
    model = _model([conv], shape, shape, weight=weight, bias=draw.standard_normal(channels).astype(np.float32))
    lowered = lower_for_lite(model)
    found, = lowered.graph.node
    assert tuple(helper.get_node_attr_value(found, "kernel_shape")) == (kept or kernel)
    images = draw.standard_normal(shape).astype(np.float32)
    np.testing.assert_allclose(_run(lowered, images), _run(model, images), rtol=1e-6, atol=1e-6)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """(checkpoint, ONNX file with its sidecar) of a small network."""
    from ghost_ms.checkpoints.checkpoint import save_checkpoint

    folder = tmp_path_factory.mktemp("lite")
    description = _description("mobilenetv3_small_100")
    net = randomize_statistics(description.build()).set_train(False)
    ckpt, path = str(folder / "net.ckpt"), str(folder / "net.onnx")
    save_checkpoint(net, ckpt, description)
    export_onnx(net, description, path)
    return ckpt, path


@installed
def test_convert_check_and_run(exported, tmp_path, capsys, monkeypatch):
    ckpt, path = exported
    target = str(tmp_path / "out" / "net.ms")
    assert main(["lite", "convert", path, "-o", target]) == 0
    assert sorted(os.listdir(tmp_path / "out")) == ["net.json", "net.ms"]
    assert os.stat(target).st_mode & stat.S_IWUSR
    assert main(["lite", "check", target, "--against", ckpt]) == 0
    assert main(["lite", "check", target, "--against", path, "--threads", "1"]) == 0
    answers = []
    for argv in (["lite", "run", target], ["infer", "--file", target], ["infer", "--file", path]):
        capsys.readouterr()
        assert main([*argv, "--image", BOOT, "--json"]) == 0
        answers.append(json.loads(capsys.readouterr().out)[0]["predictions"])
    for other in answers[1:]:
        assert [entry["class"] for entry in other] == [entry["class"] for entry in answers[0]]
        np.testing.assert_allclose([entry["probability"] for entry in other],
                                   [entry["probability"] for entry in answers[0]], atol=1e-5)


@installed
def test_a_file_for_servers_and_other_batches(exported, tmp_path):
    description, source, target = _description("mobilenetv3_small_100"), *(
        str(tmp_path / name) for name in ("net.onnx", "lite.mindir"))
    export_onnx(randomize_statistics(description.build()).set_train(False), description, source, 0)
    convert.convert(source, str(tmp_path / "four.ms"), batch_size=4)
    assert json.load(open(tmp_path / "four.json"))["inputs"][0]["shape"] == [4, 3, 64, 64]
    assert json.load(open(tmp_path / "net.json"))["inputs"][0]["shape"] == [-1, 3, 64, 64]
    convert.convert(source, target, "none", 0)
    images = np.random.default_rng(0).standard_normal((3, 3, 64, 64)).astype(np.float32)
    expected = files.run_file(source)(images)
    with lite.LiteModel(target) as model:
        np.testing.assert_allclose(model(images), expected, atol=1e-4 * np.abs(expected).max())
        np.testing.assert_allclose(model(images[:1]), expected[:1], atol=1e-4 * np.abs(expected).max())
        times = model.time(4)
        assert len(times) == 4 and min(times) > 0
        assert model.facts["size_mb"] == os.path.getsize(target) / 1e6
        assert model.close() > 50, "MB; the runtime alone takes 200"


def _fails(capsys, argv, *words):
    assert main([str(word) for word in argv]) == 1
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith("ghost-ms: error: ")
    for word in words:
        assert word in said
    return said


@installed
def test_another_network_is_told_apart(exported, tmp_path, capsys):
    from ghost_ms.checkpoints.checkpoint import save_checkpoint

    target, other = str(tmp_path / "net.ms"), str(tmp_path / "other.ckpt")
    convert.convert(exported[1], target)
    description = _description("mobilenetv3_small_100")
    save_checkpoint(description.build(), other, description)
    _fails(capsys, ["lite", "check", target, "--against", other], "differs from", "of the largest output")


@installed
def test_damaged_models_are_refused(exported, tmp_path, capsys):
    whole = tmp_path / "net.ms"
    convert.convert(exported[1], str(whole))
    for keep in (0, 1000, 500_000):
        (tmp_path / "cut.ms").write_bytes(whole.read_bytes()[:keep])
        shutil.copy(tmp_path / "net.json", tmp_path / "cut.json")
        for name, *rest in (("run", "--image", BOOT), ("check", "--against", "x")):
            _fails(capsys, ["lite", name, tmp_path / "cut.ms", *rest], "cut.ms' is not the file that",
                   "cut.json' was written for")
        # As an earlier version wrote it.
        content = json.loads((tmp_path / "net.json").read_text())
        assert list(content.pop("sha256")) == ["net.ms"]
        (tmp_path / "cut.json").write_text(json.dumps(content))
        _fails(capsys, ["lite", "run", tmp_path / "cut.ms", "--image", BOOT], "MindSpore Lite cannot run", "cut.ms")
    with pytest.raises(ValueError, match="cannot run"):
        lite.LiteModel(str(whole))(np.zeros((1, 5, 64, 64), np.float32))


@installed
def test_a_target_that_needs_cann_says_so(exported, tmp_path, capsys):
    _fails(capsys, ["lite", "convert", exported[1], "-o", tmp_path / "a.mindir", "--optimize",
                    "ascend_oriented:Ascend310P3"], "cannot convert", "ascend_oriented:Ascend310P3")
    assert os.listdir(tmp_path) == []


@installed
def test_a_runtime_without_atlas_says_so(exported, tmp_path, capsys):
    convert.convert(exported[1], str(tmp_path / "net.ms"))
    _fails(capsys, ["lite", "run", tmp_path / "net.ms", "--target", "ascend", "--image", BOOT],
           "MindSpore Lite cannot run", "net.ms")


def test_damaged_onnx_files_are_refused_before_conversion(exported, tmp_path, capsys):
    content = pathlib.Path(exported[1]).read_bytes()
    for keep in (10, len(content) // 2):
        (tmp_path / "cut.onnx").write_bytes(content[:keep])
        _fails(capsys, ["lite", "convert", tmp_path / "cut.onnx"], "is not a valid ONNX file")
    assert os.listdir(tmp_path) == ["cut.onnx"]


@pytest.mark.parametrize("argv, words", [
    (["convert", "/nowhere.onnx"], ("no file '/nowhere.onnx'",)),
    (["convert", "NET", "-o", "net.tflite"], ("cannot convert to", ".ms")),
    (["convert", BOOT], ("cannot convert from", ".onnx")),
    (["convert", "NET", "--optimize", "fast"], ("--optimize is 'fast'", "ascend_oriented")),
    (["convert", "NET", "--batch_size", "-1"], ("--batch_size is -1",)),
    (["run", "/nowhere.ms", "--image", BOOT], ("no sidecar",)),
    (["run", "NET", "--image", BOOT, "--top", "0"], ("--top is 0",)),
])
def test_bad_input_gets_a_sentence(argv, words, exported, capsys):
    _fails(capsys, ["lite", *(exported[1] if word == "NET" else word for word in argv)], *words)


def test_without_lite_the_remedy_is_named(exported, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(lite, "lite_python", lambda: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    for argv in (["convert", exported[1], "-o", tmp_path / "a.ms"], ["run", exported[1], "--image", BOOT]):
        _fails(capsys, ["lite", *argv], "MindSpore Lite is not installed", "scripts/setup_lite.sh")


def _program(path, text):
    path.write_text(text)
    path.chmod(0o755)
    return str(path)


def test_an_interpreter_that_dies_is_reported(exported, tmp_path, capsys, monkeypatch):
    crash = _program(tmp_path / "python", f"#!{sys.executable}\nimport os\nos.kill(os.getpid(), 11)\n")
    monkeypatch.setenv(lite.VARIABLE, crash)
    for argv in (["convert", exported[1], "-o", tmp_path / "a.ms"], ["run", exported[1], "--image", BOOT]):
        _fails(capsys, ["lite", *argv], "SIGSEGV")
    monkeypatch.setenv(lite.VARIABLE, str(tmp_path / "none"))
    _fails(capsys, ["lite", "run", exported[1], "--image", BOOT], "cannot start", lite.VARIABLE)
    _fails(capsys, ["lite", "convert", exported[1], "-o", tmp_path / "a.ms"], "cannot start", lite.VARIABLE)


def test_the_vendor_program_is_driven_where_it_is_installed(exported, tmp_path, monkeypatch):
    """`converter_lite` gets the flags that it documents, and its file is taken."""
    _program(tmp_path / "converter_lite", f"#!{sys.executable}\nimport sys\n"
             "flags = dict(word[2:].split('=', 1) for word in sys.argv[1:])\n"
             "open(flags['outputFile'] + '.mindir', 'w').write(repr(sorted(flags.items())))\n")
    monkeypatch.setattr(lite, "lite_python", lambda: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    target = tmp_path / "net.mindir"
    convert.convert(exported[1], str(target), "ascend_oriented:Ascend310P3")
    flags = dict(eval(target.read_text()))
    assert flags.pop("modelFile").endswith(".onnx") and flags.pop("outputFile")
    assert flags == {"fmk": "ONNX", "saveType": "MINDIR", "optimize": "ascend_oriented:Ascend310P3",
                     "inputDataFormat": "NCHW"}


@installed
def test_a_graph_network_for_one_image(tmp_path):
    """What a graph network with an open batch is refused for holds with a fixed one."""
    from ghost_ms.models.backbones.vig import ViG

    description, path = _description("vig_ti"), str(tmp_path / "net.onnx")
    export_onnx(randomize_statistics(ViG(32, 4, num_classes=10, input_size=(64, 64))).set_train(False), description,
                path)
    convert.convert(path, str(tmp_path / "net.ms"))
    images = np.random.default_rng(0).standard_normal((1, 3, 64, 64)).astype(np.float32)
    expected = files.run_file(path)(images)
    with lite.LiteModel(str(tmp_path / "net.ms")) as model:
        np.testing.assert_allclose(model(images), expected, atol=1e-4 * np.abs(expected).max())


def _given_neighbours(x, y, k, *_):
    draw = np.random.default_rng(0)
    return ms.Tensor(draw.integers(0, y.shape[2], (x.shape[0], x.shape[2], k)), ms.int32)


@installed
@pytest.mark.slow
@pytest.mark.parametrize("name", ["ghostnet_100", "tnt_s_patch16_224", "wavemlp_t", "pvig_ti"])
def test_full_size(name, tmp_path, monkeypatch):
    """Neighbours are given, since which of two equals is nearest is decided by the last bit; the search itself is that
    of test_a_graph_network_for_one_image."""
    monkeypatch.setattr(graph_layers, "nearest_neighbours", _given_neighbours)
    description = _description(name, size=(224, 224), num_classes=1000)
    path, images = str(tmp_path / "net.onnx"), np.random.default_rng(0).standard_normal((1, 3, 224, 224), np.float32)
    export_onnx(randomize_statistics(description.build()).set_train(False), description, path)
    convert.convert(path, str(tmp_path / "net.ms"))
    expected = files.run_file(path)(images)
    with lite.LiteModel(str(tmp_path / "net.ms")) as model:
        np.testing.assert_allclose(model(images), expected, atol=1e-4 * np.abs(expected).max())
