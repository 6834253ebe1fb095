"""int8: what is rounded and what is not, the ranking of layers, what is said of the result, and every refusal."""
import csv
import json
import os
import resource
import sys

import numpy as np
import pytest
from PIL import Image

from ghost_ms.cli import main
from ghost_ms.deploy.lite import convert
from ghost_ms.deploy.quantize import calibration, int8
from ghost_ms.runtime import files
from ghost_ms.runtime import lite
from ghost_ms.runtime.sidecar import read_sidecar, sidecar_path
from ghost_ms.runtime.signature import ExportSignature
from ghost_ms.tasks.registry import create_task
from tests import tiny
from tests.deploy.test_export import _description

onnx = pytest.importorskip("onnx", reason="needs onnx and onnxruntime")
onnxruntime = pytest.importorskip("onnxruntime", reason="needs onnx and onnxruntime")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

installed = pytest.mark.skipif(lite.lite_python() is None, reason="no MindSpore Lite: bash scripts/setup_lite.sh")
SIZE, CLASSES = (24, 24), 10
TASK = create_task("classification")


def _weights():
    draw, shapes = np.random.default_rng(0), {"stem": (32, 3, 3, 3), "deep": (64, 32, 3, 3), "wide": (128, 64, 1, 1),
                                              "head": (CLASSES, 128)}
    arrays = {}
    for name, shape in shapes.items():
        arrays[f"{name}.weight"] = draw.normal(0, (2 / np.prod(shape[1:])) ** 0.5, shape).astype(np.float32)
        arrays[f"{name}.bias"] = draw.normal(0, 0.1, shape[0]).astype(np.float32)
    return arrays


def network(folder, arrays=None, batch=1, name="net.onnx"):
    """Write three convolutions, a sum of two maps and a classifier, with a sidecar; its path."""
    def conv(layer, source, size, pad=0, stride=1):
        # MindSpore Lite wants to be told even the defaults.
        attributes = {"kernel_shape": [size] * 2, "pads": [pad] * 4, "strides": [stride] * 2, "dilations": [1, 1],
                      "group": 1}
        return [helper.make_node("Conv", [source, f"{layer}.weight", f"{layer}.bias"], [f"{layer}.out"], layer,
                                 **attributes), helper.make_node("Relu", [f"{layer}.out"], [f"{layer}.relu"])]

    nodes = [*conv("stem", "image", 3, pad=1), *conv("deep", "stem.relu", 3, stride=2), *conv("wide", "deep.relu", 1),
             helper.make_node("Add", ["wide.out", "wide.relu"], ["sum"], "join"),
             helper.make_node("GlobalAveragePool", ["sum"], ["pooled"], "pool"),
             helper.make_node("Flatten", ["pooled"], ["flat"], "flatten"),
             helper.make_node("Gemm", ["flat", "head.weight", "head.bias"], ["logits"], "head", transB=1)]
    first = batch or "batch"
    ends = [[helper.make_tensor_value_info("image", TensorProto.FLOAT, [first, 3, *SIZE])],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [first, CLASSES])]]
    weights = [numpy_helper.from_array(array, key) for key, array in (arrays or _weights()).items()]
    path = str(folder / name)
    onnx.save(helper.make_model(helper.make_graph(nodes, "test", *ends, weights), ir_version=9,
                                opset_imports=[helper.make_opsetid("", 20)]), path)
    tiny.write_sidecar(path, _description("ghostnet_050", SIZE), batch)
    return path


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A folder of 24 smooth pictures, some of them in folders of classes."""
    folder, draw = tmp_path_factory.mktemp("pictures"), np.random.default_rng(1)
    for index in range(24):
        below = folder / (f"class{index % 2}" if index % 3 else "")
        below.mkdir(exist_ok=True)
        coarse = draw.integers(0, 256, (4, 4, 3), np.uint8)
        Image.fromarray(coarse).resize((30, 40), Image.Resampling.BILINEAR).save(below / f"{index}.png")
    (folder / "note.txt").write_text("no image")
    return str(folder)


def _parts(path):
    """(nodes by name, initialisers by name, the node that makes each tensor)."""
    graph = onnx.load(path).graph
    return ({node.name: node for node in graph.node},
            {array.name: numpy_helper.to_array(array) for array in graph.initializer},
            {output: node for node in graph.node for output in node.output})


def _weight(path, layer):
    """(integers, scales, zero points, axis) of a layer's weights."""
    nodes, arrays, makers = _parts(path)
    node = makers[nodes[layer].input[1]]
    assert node.op_type == "DequantizeLinear"
    return (*(arrays[name] for name in node.input), next(a.i for a in node.attribute if a.name == "axis"))


def _exact(model, images):
    """Its outputs, computed from the rounded numbers in float: x86 without VNNI saturates their integer products."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model if isinstance(model, str) else model.SerializeToString(), options)
    return np.concatenate([session.run(None, {"image": image[None]})[0] for image in images])


def _fails(capsys, argv, *words):
    assert main([str(word) for word in argv]) == 1
    said = capsys.readouterr().err.strip().splitlines()
    assert said[-1].startswith("ghost-ms: error: ")
    for word in words:
        assert word in said[-1]


def test_weights_are_int8_per_channel_and_the_outputs_stay(tmp_path, pictures, capsys):
    path, target = network(tmp_path), str(tmp_path / "out" / "net_int8.onnx")
    assert main(["quantize", path, "--calibrate", pictures, "-o", target]) == 0
    said = capsys.readouterr().out
    assert "0 layers left in float" in said and "on 24 images" in said
    assert os.path.getsize(target) < 0.4 * os.path.getsize(path)
    for layer, channels in (("stem", 32), ("deep", 64), ("wide", 128), ("head", CLASSES)):
        integers, scales, zeros, axis = _weight(target, layer)
        real = _weights()[f"{layer}.weight"]
        assert integers.dtype == np.int8 and scales.shape == (channels,) and axis == 0 and not zeros.any()
        scales = scales.reshape(-1, *[1] * (real.ndim - 1))
        assert np.abs(integers * scales - real).max() <= 0.51 * scales.max() and np.abs(integers).max() == 127
    sidecar = json.load(open(tmp_path / "out" / "net_int8.json"))
    assert sidecar["file"] == "net_int8.onnx" and sidecar["inputs"][0]["shape"] == [1, 3, *SIZE]
    assert sidecar["quantised"]["images"] == 24 and sidecar["quantised"]["left in float"] == []
    images = calibration.draw(calibration.open_images(pictures), 24, read_sidecar(path))
    found, expected = (files.run_all(files.run_file(name), images, 1) for name in (target, path))
    assert sidecar["quantised"]["same class"] == int8.agreement(found, expected, TASK).same
    exact = int8.agreement([_exact(target, images)], expected, TASK)
    assert 0 < exact.error < 0.05 and exact.same >= 23
    assert main(["infer", "--file", target, "--image", os.path.join(pictures, "0.png"), "--json"]) == 0
    assert sorted(os.listdir(tmp_path / "out")) == ["net_int8.json", "net_int8.onnx"]


def test_ranges_come_from_the_calibration_images(tmp_path, pictures):
    """The scale of the first convolution's input spans what the images hold, and only those that were drawn."""
    path = network(tmp_path, batch=4)
    images = calibration.draw(calibration.open_images(pictures), 6, read_sidecar(path))
    assert images.shape == (6, 3, *SIZE)
    quantizer = int8.Quantizer(path, images)
    int8.save(quantizer.quantize(["stem"]), str(tmp_path / "int8.onnx"))
    nodes, arrays, makers = _parts(tmp_path / "int8.onnx")
    scale, zero = (arrays[name] for name in makers[nodes["stem"].input[0]].input[1:])
    assert zero.dtype == np.uint8 and scale == pytest.approx((images.max() - images.min()) / 255, rel=1e-5)
    assert not any(node.op_type == "QuantizeLinear" and node.input[0] == "logits" for node in nodes.values())


def test_excluded_layers_stay_float(tmp_path, pictures, capsys):
    path, target = network(tmp_path), str(tmp_path / "part.onnx")
    assert main(["quantize", path, "--calibrate", pictures, "-o", target, "--exclude", "deep", "he*"]) == 0
    assert "2 layers left in float" in capsys.readouterr().out
    nodes, arrays, makers = _parts(target)
    for layer in ("deep", "head"):
        np.testing.assert_array_equal(arrays[nodes[layer].input[1]], _weights()[f"{layer}.weight"])
        assert makers[nodes[layer].input[0]].op_type != "DequantizeLinear"
    assert _weight(target, "wide")[0].dtype == np.int8
    assert json.load(open(tmp_path / "part.json"))["quantised"]["left in float"] == ["deep", "head"]
    _fails(capsys, ["quantize", path, "--calibrate", pictures, "-o", target, "--exclude", "dep"], "dep", "deep")
    _fails(capsys, ["quantize", path, "--calibrate", pictures, "-o", target, "--exclude", "*"], "nothing is left")


@pytest.fixture
def spoiled(tmp_path):
    """A network with the same outputs, where a channel between two layers is tiny before `wide` and huge in it."""
    arrays = _weights()
    arrays["deep.weight"][5] /= 3000
    arrays["deep.bias"][5] /= 3000
    arrays["wide.weight"][:, 5] *= 3000
    return network(tmp_path, arrays, batch=0)


def test_the_analysis_finds_a_spoiled_layer(spoiled, pictures, tmp_path, capsys):
    table, target = str(tmp_path / "table.csv"), str(tmp_path / "net_int8.onnx")
    images = np.random.default_rng(0).standard_normal((3, 3, *SIZE)).astype(np.float32)
    np.testing.assert_allclose(files.run_file(spoiled)(images),
                               files.run_file(network(tmp_path, name="whole.onnx", batch=0))(images), atol=1e-3)
    before = sorted(os.listdir(tmp_path))
    command = ["quantize", spoiled, "--calibrate", pictures, "--csv", table]
    assert main([*command, "--analyse"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[1].split()[:4] == ["1", "wide", "Conv", "128x64x1x1"] and len(printed) == 7
    assert sorted(os.listdir(tmp_path)) == sorted([*before, "table.csv"]), "no network is written"
    rows = list(csv.DictReader(open(table)))
    errors = [float(row["relative error"]) for row in rows]
    assert rows[0]["layer"] == "wide" and errors == sorted(errors, reverse=True) and errors[0] > 5 * errors[1]
    for row in rows:
        assert float(row["SQNR (dB)"]) == pytest.approx(-20 * np.log10(float(row["relative error"])), abs=0.1)
    assert main([*command, "--exclude-worst", "1", "--exclude", "wide", "-o", target]) == 0
    assert json.load(open(tmp_path / "net_int8.json"))["quantised"]["left in float"] == sorted([
        "wide", rows[1]["layer"]])
    assert main([*command, "--exclude-worst", "1", "-o", target]) == 0
    assert json.load(open(tmp_path / "net_int8.json"))["quantised"]["left in float"] == ["wide"]
    source = calibration.open_images(pictures)
    quantizer = int8.Quantizer(spoiled, calibration.draw(source, 24, read_sidecar(spoiled)))
    whole = quantizer.quantize([node.name for node in quantizer.layers])
    found, everything = (int8.agreement([_exact(model, quantizer.images)], quantizer.expected, TASK).error
                         for model in (target, whole))
    assert found < 0.05 < everything


def test_what_disagrees_is_not_written(spoiled, pictures, tmp_path, capsys):
    """The same classes are demanded, and nothing is left behind; 7 bits and a lower demand are options."""
    before = sorted(os.listdir(tmp_path))
    command = ["quantize", spoiled, "--calibrate", pictures, "-o", tmp_path / "bad.onnx"]
    _fails(capsys, [*command, "--agreement", "1"], "of 24 images", "--exclude-worst")
    assert sorted(os.listdir(tmp_path)) == before
    assert main([str(word) for word in [*command, "--agreement", "0", "--reduce-range"]]) == 0
    assert 60 <= np.abs(_weight(tmp_path / "bad.onnx", "stem")[0].astype(int)).max() <= 64


def test_accuracy_on_the_recipes_test_split(tmp_path, capsys):
    path, recipe = network(tmp_path, batch=3), tmp_path / "recipe.yaml"
    recipe.write_text("data: {dataset: synthetic, synthetic_size: 40, input_size: [24, 24]}\n")
    content = json.load(open(sidecar_path(path)))
    json.dump({**content, "classes": [f"class {index}" for index in range(CLASSES)]}, open(sidecar_path(path), "w"))
    assert main(["quantize", path, "--calibrate", str(recipe), "--samples", "10", "--evaluate", "--agreement", "0.5",
                 "-o", str(tmp_path / "int8.onnx")]) == 0
    assert "on 10 images" in capsys.readouterr().out
    source, run = calibration.open_images(str(recipe), "val"), files.run_file(path)
    images = files.read_images(source, range(40), read_sidecar(path))
    hits = [int(run(np.repeat(image[None], 3, 0))[0].argmax()) == label for image, label in zip(images, source.labels)]
    facts = json.load(open(tmp_path / "int8.json"))["quantised"]
    assert facts["measured in float"]["top1"] == pytest.approx(100 * np.mean(hits))
    # Nothing that grows with the classes.
    assert all(isinstance(value, (int, float)) for value in facts["measured"].values())


def test_a_checkpoint_is_exported_first_and_raw_pixels_work(tmp_path, monkeypatch, pictures, capsys):
    from ghost_ms.checkpoints.checkpoint import save_checkpoint
    from ghost_ms.deploy.export import export_onnx

    monkeypatch.chdir(tmp_path)
    with tiny.registered():
        description = _description("tiny", (32, 32))
        net = description.build().set_train(False)
        save_checkpoint(net, "net.ckpt", description)
        assert main(["quantize", "--ckpt", "net.ckpt", "--calibrate", pictures, "--agreement", "0.5"]) == 0
        assert sorted(os.listdir()) == ["net.ckpt", "tiny_int8.json", "tiny_int8.onnx"]
        export_onnx(net, description, "raw.onnx", 2, ExportSignature(in_graph=True, softmax=True))
    assert main(["quantize", "raw.onnx", "--calibrate", pictures, "--agreement", "0.5", "-o", "raw_int8.onnx"]) == 0
    image = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)
    output = files.run_file("raw_int8.onnx")(image)
    np.testing.assert_allclose(output.sum(1), 1, atol=1e-5)
    np.testing.assert_allclose(output, files.run_file("raw.onnx")(image), atol=0.05)


@installed
def test_lite_takes_int8_weights(tmp_path, pictures, capsys):
    path, target = network(tmp_path, batch=0), str(tmp_path / "small.ms")
    assert main(["quantize", path, "--calibrate", pictures, "-o", target]) == 0
    assert "on 24 images" in capsys.readouterr().out
    sidecar = json.load(open(sidecar_path(target)))
    # The weights of a 3x3 convolution without groups could not be loaded.
    assert sidecar["quantised"]["left in float"] == ["deep", "stem"] and sidecar["inputs"][0]["shape"][0] == 1
    size = os.path.getsize(target)
    assert main(["quantize", path, "--calibrate", pictures, "-o", target, "--exclude", "wide"]) == 0
    assert json.load(open(sidecar_path(target)))["quantised"]["left in float"] == ["deep", "stem", "wide"]
    # wide has 8192 weights, each of which takes three bytes more, less what describes its 128 channels.
    assert 20_000 < os.path.getsize(target) - size < 3 * 8192
    _fails(capsys, ["quantize", path, "--calibrate", pictures, "-o", target, "--analyse"], "for .onnx")
    assert main(["quantize", path, "--calibrate", pictures, "-o", str(tmp_path / "int8.onnx")]) == 0
    _fails(capsys, ["lite", "convert", tmp_path / "int8.onnx"], "no quantised ONNX file", "-o FILE.ms")


def test_bad_input_is_one_sentence(tmp_path, pictures, capsys, monkeypatch):
    path = network(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "cut.png").write_bytes(b"\x89PNG no more")
    assert main(["quantize", path, "--calibrate", pictures]) == 0, "the default name is beside the model"
    done, before = str(tmp_path / "net_int8.onnx"), sorted(os.listdir(tmp_path))
    given = ["--calibrate", pictures]
    for argv, words in (
            ([path, "--calibrate", tmp_path / "empty"], ["empty' holds no image"]),
            ([path, "--calibrate", tmp_path / "none"], ["there is no folder of images"]),
            ([path, "--calibrate", tmp_path / "broken"], ["cut.png' is not a readable image"]),
            ([path, "--calibrate", tmp_path / "none.yaml"], ["none.yaml"]),
            ([path, *given, "--root", "x"], ["--root belongs to a recipe"]),
            ([path, *given, "--evaluate"], ["needs labels"]),
            ([path, *given, "--csv", "x.csv"], ["--analyse"]),
            ([path, *given, "--samples", "0"], ["--samples is 0"]),
            ([path, *given, "--agreement", "2"], ["between 0 and 1"]),
            ([path, *given, "-o", path], ["is the file that is read"]),
            ([path, *given, "-o", "net.tflite"], ["ends in .onnx or .ms"]),
            ([path, "--ckpt", "x.ckpt", *given], ["either"]),
            ([tmp_path / "none.onnx", *given], ["none.json"]),
            ([done, *given], ["net_int8.onnx' is quantised already", "float file"])):
        _fails(capsys, ["quantize", *argv], *words)
    assert sorted(os.listdir(tmp_path)) == before
    model = onnx.load(path)
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_param = "height"
    onnx.save(model, path)
    _fails(capsys, ["quantize", path, *given], "net.onnx' is not the file that", "net.json' was written for")
    tiny.write_sidecar(path, _description("ghostnet_050", SIZE), 1)
    _fails(capsys, ["quantize", path, *given], "images of any size (1x3xheightx24)", "--input_size")
    os.truncate(path, 5000)
    tiny.write_sidecar(path, _description("ghostnet_050", SIZE), 1)
    _fails(capsys, ["quantize", path, *given], "not a valid ONNX file")
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    _fails(capsys, ["quantize", path, *given], "pip install onnx onnxruntime 'numpy<2'")


@pytest.mark.parametrize("room", [50_000, 1_000])
def test_no_room_leaves_nothing(tmp_path, pictures, capsys, room):
    """Neither for the calibration's copy of the float file nor for the int8 one, as a limit on the size of files."""
    path, soft = network(tmp_path), resource.getrlimit(resource.RLIMIT_FSIZE)
    target = tmp_path / "out" / "int8.onnx"
    quantizer = int8.Quantizer(path, calibration.draw(calibration.open_images(pictures), 4, read_sidecar(path)))
    with pytest.MonkeyPatch.context() as patch:
        if room == 1_000:  # The calibration is done.
            patch.setattr("ghost_ms.deploy.quantize.run.Quantizer", lambda *_: quantizer)
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, soft[1]))
        try:
            _fails(capsys, ["quantize", path, "--calibrate", pictures, "-o", target], "File too large")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, soft)
    assert not (tmp_path / "out").exists() or os.listdir(tmp_path / "out") == []


def test_the_vendor_program_is_told_which_weights(tmp_path, monkeypatch):
    """`converter_lite` gets the section of its settings that it documents."""
    program = tmp_path / "converter_lite"
    program.write_text(f"#!{sys.executable}\nimport sys\n"
                       "flags = dict(word[2:].split('=', 1) for word in sys.argv[1:])\n"
                       "open(flags['outputFile'] + '.ms', 'w').write(open(flags['configFile']).read())\n")
    program.chmod(0o755)
    monkeypatch.setattr(lite, "lite_python", lambda: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    target = tmp_path / "net.ms"
    assert convert.convert(network(tmp_path), str(target), weight_bits=8, skip=["wide"]) == ["deep", "stem", "wide"]
    assert target.read_text().splitlines() == ["[common_quant_param]", "quant_type=WEIGHT_QUANT", "bit_num=8",
                                               "skip_quant_node=deep,stem,wide"]
