"""The C++ classifier: built by CMake against MindSpore Lite, it gives what `ghost-ms lite run` gives."""
import json
import os
import pathlib
import re
import shutil
import struct
import subprocess
import zlib

import numpy as np
import pytest
from PIL import Image

from ghost_ms.analysis.measure.verify_worker import randomize_statistics
from ghost_ms.checkpoints.spec import ModelSpec
from ghost_ms.cli import main
from ghost_ms.data.transforms import Preprocessing
from ghost_ms.deploy.export import export_onnx
from ghost_ms.deploy.lite import convert
from ghost_ms.runtime.signature import ExportSignature
from tests import tiny
from tests.data.test_decode import LARGE
from tests.deploy.conftest import configure
from tests.deploy.test_export import _description

onnx = pytest.importorskip("onnx", reason="needs onnx and onnxruntime")
pytest.importorskip("onnxruntime", reason="needs onnx and onnxruntime")

ROOT = pathlib.Path(__file__).parents[2]
BOOT = str(ROOT / "ghost_ms" / "data" / "embedded" / "ankle_boot.png")
#: Of the program: of what the tests' own MindSpore reads, only a log level, which spares it a second start.
ENVIRONMENT = {**{key: value for key, value in os.environ.items() if not key.startswith(("GLOG", "MS_"))},
               "GLOG_v": "4"}


def _run(*words):
    return subprocess.run([str(word) for word in words], capture_output=True, text=True, env=ENVIRONMENT, timeout=300)


def _classify(*words):
    done = _run(*words, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


def _fails(*words):
    """What the program says when it ends in one sentence and exit code 1."""
    done = _run(*words)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("ghost_ms_classify: error: ") and done.stderr.count("\n") == 1, done.stderr
    return done.stderr


def _deep_png(pixels):
    """A PNG of 16 bits a colour, which Pillow does not write."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], 16, 2, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Files of every kind that is decoded: name to path."""
    folder = tmp_path_factory.mktemp("images")
    y, x = np.mgrid[0:333, 0:500]
    waves = np.stack([127 + 120 * np.sin(x / 9 + y / 31), 127 + 120 * np.cos(y / 7), x * y % 256], -1)
    picture = Image.fromarray((waves + np.random.default_rng(0).normal(0, 8, waves.shape)).clip(0, 255).astype("uint8"))
    grey = picture.convert("L")
    forms = {"colour.jpg": picture, "colour.png": picture, "grey.jpg": grey, "grey.png": grey,
             "alpha.png": picture.convert("RGBA"), "palette.png": picture.quantize(50), "two.png": picture.convert("1"),
             "small.png": picture.resize((11, 30)), "exact.png": picture.resize((28, 20))}
    for name, form in forms.items():
        form.save(folder / name)
    forms["palette.png"].save(folder / "clear.png", transparency=0)
    picture.save(folder / "progressive.jpg", progressive=True, subsampling=2)
    deep = (waves.clip(0, 255) * 257).astype(np.uint16)
    Image.fromarray(deep[..., 0]).save(folder / "deep.png")
    (folder / "deep_colour.png").write_bytes(_deep_png(deep))
    exif = Image.Exif()
    for orientation in range(10):  # 0 and 9 mean nothing
        exif[0x10F], exif[0x112] = "maker", orientation
        picture.save(folder / f"turned{orientation}.jpg", exif=exif, progressive=orientation == 6)
        form = (picture, grey, forms["palette.png"])[orientation % 3]
        form.save(folder / f"turned{orientation}.png", exif=exif)
    picture.save(folder / "turned_big.jpg", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\1\x01\x12\0\3\0\0\0\1\0\5\0\0\0\0\0\0")
    return {path.name: str(path) for path in sorted(folder.iterdir())}


@pytest.fixture(scope="module")
def networks(program, tmp_path_factory):
    """Converted files of a network of a few hundred weights: form to path."""
    folder = tmp_path_factory.mktemp("networks")
    paths = {}
    with tiny.registered():
        description = _description("tiny")
        net = randomize_statistics(description.build()).set_train(False)
        for name, form in (("outside", ExportSignature()), ("in-graph", ExportSignature(True, True))):
            path = str(folder / f"{name}.onnx")
            export_onnx(net, description, path, 1, form)
            paths[name] = str(folder / f"{name}.ms")
            convert.convert(path, paths[name])
    return paths


@pytest.mark.parametrize("form", ["outside", "in-graph"])
def test_the_output_is_that_of_lite_run(form, program, networks, images, capsys):
    paths = [BOOT, *images.values()]
    answers = _classify(program, networks[form], *paths, "--top", "7")
    capsys.readouterr()
    assert main(["lite", "run", networks[form], "--image", *paths, "--top", "7", "--json"]) == 0
    expected = json.loads(capsys.readouterr().out)
    assert len({entry["predictions"][0]["probability"] for entry in expected}) > 5, "images are told apart"
    for answer, wanted in zip(answers, expected):
        assert answer["image"] == wanted["image"] and len(answer["predictions"]) == 7
        for ours, theirs in zip(answer["predictions"], wanted["predictions"]):
            assert (ours["class"], ours["index"]) == (theirs["class"], theirs["index"])
            assert ours["probability"] == pytest.approx(theirs["probability"], abs=1e-6)


def test_several_labels_are_those_that_reach_their_thresholds(program, networks, images, tmp_path, capsys):
    """By the sidecar's thresholds, here and in Python; none of them, and a sidecar with a softmax."""
    target, sidecar, paths = str(tmp_path / "net.ms"), tmp_path / "net.json", [BOOT, *images.values()]
    shutil.copy(networks["outside"], target)
    content = json.loads(pathlib.Path(networks["outside"].replace(".ms", ".json")).read_text())
    for thresholds in ([0.5] * 10, [0.3 + 0.05 * place for place in range(10)], [1.0] * 10):
        sidecar.write_text(json.dumps({**content, "thresholds": thresholds}))
        answers = _classify(program, target, *paths, "--top", "1")
        capsys.readouterr()
        assert main(["lite", "run", target, "--image", *paths, "--top", "1", "--json"]) == 0
        expected = json.loads(capsys.readouterr().out)
        counts = {len(entry["predictions"]) for entry in expected}
        assert counts == {0} if thresholds[0] == 1 else max(counts) > 1
        for answer, wanted in zip(answers, expected):
            assert [one["index"] for one in answer["predictions"]] == [one["index"] for one in wanted["predictions"]]
            for ours, theirs in zip(answer["predictions"], wanted["predictions"]):
                assert ours["probability"] == pytest.approx(theirs["probability"], abs=1e-6)
    assert "  no class reaches its threshold\n" in _run(program, target, BOOT).stdout
    for change, words in (({"thresholds": [0.5]}, "thresholds need a value per class"),
                          ({"thresholds": [2.0] * 10}, "thresholds are no probabilities"),
                          ({"thresholds": [0.5] * 10, "outputs": [{**content["outputs"][0], "name": "probabilities"}]},
                           "do not go with a softmax")):
        sidecar.write_text(json.dumps({**content, **change}))
        assert words in _fails(program, target, BOOT)


def _pixels_network(folder, spec, *kinds):
    """A file whose "probabilities" are the pixels that it is given (after further operators), divided by their sum."""
    from onnx import TensorProto, helper, numpy_helper

    size = spec.channels * spec.input_size[0] * spec.input_size[1]
    shape = [1, *spec.input_size, spec.channels]
    names = ["floats", *kinds]
    nodes = [helper.make_node("Cast", ["image"], ["floats"], to=TensorProto.FLOAT),
             *(helper.make_node(kind, [source], [kind]) for kind, source in zip(kinds, names)),
             helper.make_node("Reshape", [names[-1], "shape"], ["probabilities"])]
    graph = helper.make_graph(
        nodes, "pixels", [helper.make_tensor_value_info("image", TensorProto.UINT8, shape)],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [1, size])],
        [numpy_helper.from_array(np.array([1, size]), "shape")])
    path = str(folder / "pixels.onnx")
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    description = ModelSpec("pixels", {"num_classes": size, "in_channels": spec.channels}, [], spec)
    tiny.write_sidecar(path, description, 1, ExportSignature(True, True))
    target = str(folder / "pixels.ms")
    convert.convert(path, target)
    return target


@pytest.mark.parametrize("channels, interpolation, crop_ratio, orient", [
    (3, "bilinear", 0.875, True), (3, "bicubic", 1.0, False), (1, "bicubic", 0.95, True)])
def test_pixels_are_those_of_pillow(channels, interpolation, crop_ratio, orient, program, images, tmp_path):
    spec = Preprocessing((20, 28), channels, (0.5,) * channels, (0.5,) * channels, crop_ratio, interpolation, orient)
    kinds = {}
    answers = _classify(program, _pixels_network(tmp_path, spec), *images.values(), "--top", 20 * 28 * channels)
    for answer, path in zip(answers, images.values()):
        pixels = np.zeros(20 * 28 * channels)
        for entry in answer["predictions"]:
            pixels[entry["index"]] = entry["probability"]
        with open(path, "rb") as file:
            wanted = np.asarray(spec.picture(file.read())).ravel()
        if "turned" in path:
            kinds[os.path.basename(path)] = wanted.tobytes()
        np.testing.assert_array_equal(np.round(pixels * wanted.sum(), 3), wanted, err_msg=path)
    jpegs = {name: pixels for name, pixels in kinds.items() if re.fullmatch("turned[1-5].jpg", name)}
    assert len(set(jpegs.values())) == (5 if orient else 1)


def test_a_sidecar_without_orientation_keeps_the_old_way(program, images, tmp_path):
    spec = Preprocessing((20, 28), 3, (0.5,) * 3, (0.5,) * 3, 1.0, "bilinear", True)
    model = _pixels_network(tmp_path, spec)
    names = [images["turned6.jpg"], images["turned1.jpg"]]
    turned, plain = _classify(program, model, *names)
    assert turned["predictions"] != plain["predictions"]
    sidecar = pathlib.Path(model).with_suffix(".json")
    content = json.loads(sidecar.read_text())
    assert content["preprocessing"].pop("orient") is True
    sidecar.write_text(json.dumps(content))
    turned, plain = _classify(program, model, images["turned3.jpg"], images["turned1.jpg"])
    assert turned["predictions"] == plain["predictions"]


def test_outputs_that_say_nothing_are_an_error(program, tmp_path, capsys):
    """Negative pixels have no root, and black ones no sum: no class, neither here nor in Python."""
    spec = Preprocessing((20, 28), 3, (0.5,) * 3, (0.5,) * 3, 1.0, "bilinear")
    for kinds, colour, words in ((("Neg", "Sqrt"), "white", "the network gives outputs that are no finite numbers"),
                                 ((), "black", "the network gives numbers that are no probabilities")):
        picture = str(tmp_path / f"{colour}.png")
        Image.new("RGB", (28, 20), colour).save(picture)
        target = _pixels_network(tmp_path, spec, *kinds)
        assert words in _fails(program, target, picture)
        for command in (["lite", "run", target], ["infer", "--file", target],
                        ["infer", "--file", target.replace(".ms", ".onnx")]):
            assert main([*command, "--image", picture]) == 1
            said = capsys.readouterr()
            assert words.split("the network")[1] in said.err and "nan" not in said.out


def test_the_log_of_the_runtime_is_silenced(program, networks):
    """MindSpore Lite 2.0.0 reads its log level before `main`."""
    quiet = {key: value for key, value in ENVIRONMENT.items() if key != "GLOG_v"}
    done = subprocess.run([program, networks["outside"], BOOT], capture_output=True, text=True, env=quiet, timeout=300)
    assert (done.returncode, done.stderr) == (0, "") and "name" in done.stdout


def test_table_and_latency(program, networks, images):
    done = _run(program, networks["outside"], images["colour.jpg"], "--top", "2", "--bench", "9", "--threads", "1")
    lines = done.stdout.splitlines()
    assert lines[0] == images["colour.jpg"] and len(lines) == 4
    shares = [float(re.fullmatch(r" +(\d+\.\d\d) %  name \d", line).group(1)) for line in lines[1:3]]
    assert 100 > shares[0] >= shares[1] > 0
    assert re.fullmatch(r"  median \d+\.\d\d ms, quartiles \d+\.\d\d - \d+\.\d\d ms, of 9 calls", lines[3])
    (entry,) = _classify(program, networks["outside"], BOOT, "--bench", "4")
    latency = entry["latency_ms"]
    assert 0 < latency["low"] <= latency["median"] <= latency["high"] and latency["calls"] == 4
    assert "--bench N" in _run(program, "--help").stdout


def test_damaged_files_get_a_sentence(program, networks, images, tmp_path):
    model = networks["outside"]
    for name in ("colour.jpg", "colour.png"):
        content = pathlib.Path(images[name]).read_bytes()
        for keep in (6, len(content) // 2):
            (tmp_path / name).write_bytes(content[:keep])
            assert f"{name}' is not a readable image" in _fails(program, model, tmp_path / name)
    Image.new("CMYK", (8, 8)).save(tmp_path / "cmyk.jpg")
    assert "save it as RGB" in _fails(program, model, tmp_path / "cmyk.jpg")
    for name in ("jpeg", "progressive jpeg", "png", "wide png"):
        (tmp_path / "large").write_bytes(LARGE[name]())
        assert re.search(r"its size is \d+x\d+, and 178956970 pixels are the limit|Invalid IHDR data",
                         _fails(program, model, tmp_path / "large")), name
    content = pathlib.Path(images["progressive.jpg"]).read_bytes()
    last = content.rindex(b"\xff\xda")
    (tmp_path / "scans.jpg").write_bytes(content[:-2] + content[last:-2] * 101 + content[-2:])
    assert "the JPEG has more than 100 scans" in _fails(program, model, tmp_path / "scans.jpg")
    with open(tmp_path / "huge.jpg", "wb") as file:
        file.truncate((1 << 30) + 1)
    assert "is larger than 1 GiB" in _fails(program, model, tmp_path / "huge.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    assert "there is no file" in _fails(program, model, tmp_path / "pipe.jpg")
    assert "neither JPEG nor PNG" in _fails(program, model, __file__)
    assert "there is no file '/nowhere.jpg'" in _fails(program, model, "/nowhere.jpg")
    # As an earlier version wrote it: with a checksum a cut file would not come as far as MindSpore Lite.
    _without_checksum(model.replace(".ms", ".json"), tmp_path / "cut.json")
    assert "there is no file" in _fails(program, tmp_path / "cut.ms", BOOT)
    content = pathlib.Path(model).read_bytes()
    for keep in (0, 1000, len(content) // 2):
        (tmp_path / "cut.ms").write_bytes(content[:keep])
        assert "MindSpore Lite cannot run" in _fails(program, tmp_path / "cut.ms", BOOT)


def test_names_do_not_steer_the_terminal(program, networks, tmp_path):
    content = json.load(open(networks["outside"].replace(".ms", ".json")))
    content["classes"] = ["\x1b[2J\x7f", "\x9b31m", "Kätzchen 猫", *content["classes"][3:]]
    shutil.copy(networks["outside"], tmp_path / "net.ms")
    (tmp_path / "net.json").write_text(json.dumps(content))
    path = tmp_path / "\x1b[31m.png"
    shutil.copy(BOOT, path)
    done = _run(program, tmp_path / "net.ms", path, "--top", "10")
    assert done.returncode == 0 and not set(done.stdout) & set("\x1b\x7f\x9b")
    for words in ("\\x1b[31m.png\n", "\\x1b[2J\\x7f\n", "\\x9b31m\n", "Kätzchen 猫\n"):
        assert words in done.stdout
    path.write_bytes(b"")
    assert "\\x1b[31m.png' is not a readable image" in _fails(program, networks["outside"], path)


def _without_checksum(source, target):
    content = json.load(open(source))
    assert os.path.basename(source).replace(".json", ".ms") in content.pop("sha256")
    target.write_text(json.dumps(content))


def test_a_changed_file_is_noticed(program, networks, tmp_path):
    """By the checksum in the sidecar, under whatever name; a sidecar of an earlier version has none."""
    content = pathlib.Path(networks["outside"]).read_bytes()
    answer = _classify(program, networks["outside"], BOOT)
    shutil.copy(networks["outside"].replace(".ms", ".json"), tmp_path / "moved.json")
    (tmp_path / "moved.ms").write_bytes(content)
    assert _classify(program, tmp_path / "moved.ms", BOOT) == answer
    # The last bit of a bias: MindSpore Lite would run it.
    weights = {array.name: array.raw_data for array in
               onnx.load(networks["outside"].replace(".ms", ".onnx")).graph.initializer}
    place = content.index(weights["head.bias"])
    (tmp_path / "moved.ms").write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1:])
    assert "moved.ms' is not the file that" in _fails(program, tmp_path / "moved.ms", BOOT)
    _without_checksum(networks["outside"].replace(".ms", ".json"), tmp_path / "moved.json")
    _classify(program, tmp_path / "moved.ms", BOOT)


@pytest.mark.parametrize("change, words", [
    ({"sha256": {"net.ms": 3}}, "is no sidecar of an export"),
    ({"sha256": []}, "is no sidecar of an export"),
    ({"sha256": {}}, "is not the file that"),
    ({"preprocessing": {"std": [0.5, -0.5, 0.5]}}, "std is not above 0"),
    ({"task": "detection"}, "its task is another one, and this program classifies"),
    ({"task": 3}, "is no sidecar of an export"),
    ({"preprocessing": {"input_size": [100000, 100000]}}, "input_size is too large"),
    ({"preprocessing": {"crop_ratio": 1e-9}}, "input_size is too large"),
    ({"inputs": [{"shape": [2000000, 3, 32, 32]}]}, "a call takes too many images"),
    ({"classes": ["one"] * 11}, "do not belong together"),
    ({"classes": 3}, "is no sidecar of an export"),
    ({"normalisation": "in-graph"}, "its sidecar says 12288 of"),
    ({"preprocessing": {}}, "is no sidecar of an export"),
    ({"preprocessing": {"input_size": [32, 32]}}, "its sidecar says"),
    ({"preprocessing": {"crop_ratio": 0}}, "crop_ratio does not lie"),
    ({"preprocessing": {"std": [0.5, 0.5]}}, "mean and std need a value per channel"),
    ({"preprocessing": {"interpolation": "nearest"}}, "neither bilinear nor bicubic"),
])
def test_a_sidecar_of_something_else_gets_a_sentence(change, words, program, networks, tmp_path):
    content = json.load(open(networks["outside"].replace(".ms", ".json")))
    kept = content["preprocessing"] if change.get("preprocessing") else {}
    content.update(change)
    content["preprocessing"] = {**kept, **change["preprocessing"]} if "preprocessing" in change else \
        content["preprocessing"]
    shutil.copy(networks["outside"], tmp_path / "net.ms")
    (tmp_path / "net.json").write_text(json.dumps(content))
    assert words in _fails(program, tmp_path / "net.ms", BOOT)
    (tmp_path / "net.json").unlink()
    assert "has no sidecar" in _fails(program, tmp_path / "net.ms", BOOT)


@pytest.mark.parametrize("words, said", [
    (["--top", "0"], "--top is '0'"), (["--bench", "many"], "--bench is 'many'"), (["--fast"], "'--fast' is no option"),
    (["--target", "gpu"], "--target is 'gpu'"), (["--target", "ascend"], "MindSpore Lite cannot run")])
def test_bad_options_get_a_sentence(words, said, program, networks):
    assert said in _fails(program, networks["outside"], BOOT, *words)


def test_without_lite_cmake_names_the_remedy(program, tmp_path):
    configured = configure(tmp_path / "build", tmp_path)
    assert configured.returncode != 0 and "set MSLITE_ROOT" in configured.stderr


@pytest.mark.slow
def test_a_network_of_full_size(program, images, tmp_path, capsys):
    description, path = _description("ghostnet_050", (224, 224), num_classes=1000), str(tmp_path / "net.onnx")
    export_onnx(randomize_statistics(description.build()).set_train(False), description, path)
    convert.convert(path, str(tmp_path / "net.ms"))
    (answer,) = _classify(program, tmp_path / "net.ms", images["colour.jpg"])
    capsys.readouterr()
    assert main(["lite", "run", str(tmp_path / "net.ms"), "--image", images["colour.jpg"], "--json"]) == 0
    expected = json.loads(capsys.readouterr().out)[0]["predictions"]
    assert [entry["class"] for entry in answer["predictions"]] == [entry["class"] for entry in expected]
    np.testing.assert_allclose([entry["probability"] for entry in answer["predictions"]],
                               [entry["probability"] for entry in expected], atol=1e-4)
