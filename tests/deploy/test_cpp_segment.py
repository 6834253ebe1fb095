"""The C++ segmenter gives the pixels that `ghost-ms infer --file` gives."""
import json
import pathlib
import subprocess

import numpy as np
import pytest
from mindspore import Tensor
from PIL import Image

from ghost_ms.checkpoints.spec import ModelSpec
from ghost_ms.cli import main
from ghost_ms.data.transforms import Preprocessing
from ghost_ms.deploy.export import export_onnx
from ghost_ms.deploy.lite import convert
from ghost_ms.runtime.signature import ExportSignature
from tests.deploy.test_cpp import ENVIRONMENT
from tests.tasks.segmentation import dense

pytest.importorskip("onnx", reason="needs onnx and onnxruntime")
pytest.importorskip("onnxruntime", reason="needs onnx and onnxruntime")

CLASSES = ["ground", "square", "dot"]


@pytest.fixture(scope="module")
def segment(program):
    path = str(pathlib.Path(program).with_name("ghost_ms_segment"))
    return lambda *words: subprocess.run([path, *map(str, words)], capture_output=True, text=True, env=ENVIRONMENT,
                                         timeout=300)


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    """Form of the output -> a converted network."""
    folder, files, draw = tmp_path_factory.mktemp("segmenters"), {}, np.random.default_rng(0)
    preprocessing = Preprocessing((64, 96), 3, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), 1.0, "bilinear", True,
                                  "letterbox")
    with dense.registered():
        spec = ModelSpec("tiny_dense", {"num_classes": 3, "in_channels": 3}, CLASSES, preprocessing,
                         task="segmentation", head="lraspp")
        for name, form in {"logits": ExportSignature(), "labels": ExportSignature(True, False, True)}.items():
            net = spec.build().set_train(False)
            for parameter in net.get_parameters():
                # Large enough that every class is somewhere.
                scale = 1.0 if "classifier.low" in parameter.name or "classifier.high" in parameter.name else 0.3
                value = np.abs(draw.normal(0, 1, parameter.shape)) + 0.5 if "variance" in parameter.name else \
                    draw.normal(0, scale, parameter.shape)
                parameter.set_data(Tensor(value.astype(np.float32)))
            export_onnx(net, spec, str(folder / f"{name}.onnx"), 1, form)
            convert.convert(str(folder / f"{name}.onnx"), str(folder / f"{name}.ms"))
            files[name] = str(folder / f"{name}.ms")
        yield files


@pytest.mark.parametrize("name", ["logits", "labels"])
def test_pixels_and_shares_are_pythons(name, segment, networks, waves, tmp_path, capsys):
    done = segment(networks[name], *waves, waves[0], "--json", "--pictures", tmp_path / "cpp")
    assert (done.returncode, done.stderr) == (0, "")
    assert main(["infer", "--file", networks[name], *map(str, waves), "--json", "--pictures",
                 str(tmp_path / "python")]) == 0
    ours, theirs = json.loads(done.stdout), json.loads(capsys.readouterr().out)
    assert ours[:2] == theirs and ours[2]["classes"] == ours[0]["classes"]
    assert len(theirs[0]["classes"]) == 3
    for stem in ("wide", "tall"):
        mine, other = (Image.open(tmp_path / side / f"{stem}_labels.png") for side in ("cpp", "python"))
        assert mine.mode == "P" and np.array_equal(np.asarray(mine), np.asarray(other))
        assert mine.getpalette()[:60] == other.getpalette()[:60]
    # An image of the same name again.
    assert np.array_equal(np.asarray(Image.open(tmp_path / "cpp" / "wide-2_labels.png")),
                          np.asarray(Image.open(tmp_path / "cpp" / "wide_labels.png")))


def test_table_and_latency(segment, networks, waves):
    done = segment(networks["logits"], waves[0], "--bench", "3")
    assert done.returncode == 0 and done.stdout.startswith(f"{waves[0]}\n")
    assert "of 3 calls" in done.stdout and "%  square" in done.stdout
    assert "usage: ghost_ms_segment" in segment("--help").stdout


@pytest.mark.parametrize("words, said", [
    (["MODEL"], "name a model and at least one image"), (["MODEL", "IMAGE", "--top", "2"], "is no option"),
    (["MODEL", "missing.png"], "there is no file 'missing.png'"),
    (["MODEL", "IMAGE", "--pictures", "/proc/no"], "/proc/no")])
def test_bad_input_gets_a_sentence(words, said, segment, networks, waves):
    done = segment(*({"MODEL": networks["logits"], "IMAGE": waves[0]}.get(word, word) for word in words))
    assert done.returncode == 1 and done.stderr.startswith("ghost_ms_segment: error: ") and said in done.stderr
    assert done.stderr.count("\n") == 1


def test_programs_refuse_each_others_networks(segment, program, networks, waves, tmp_path):
    classify = subprocess.run([program, networks["logits"], str(waves[0])], capture_output=True, text=True,
                              env=ENVIRONMENT)
    assert classify.returncode == 1 and "its task is another one, and this program classifies" in classify.stderr
    content = json.loads(pathlib.Path(networks["logits"]).with_suffix(".json").read_text())
    model = tmp_path / "net.ms"
    model.write_bytes(pathlib.Path(networks["logits"]).read_bytes())
    for change, said in (({"task": "classification"}, "this program segments"),
                         ({"preprocessing": {**content["preprocessing"], "fit": "crop"}}, "fit is not the one"),
                         ({"classes": CLASSES * 90}, "they do not belong together")):
        (tmp_path / "net.json").write_text(json.dumps({**content, **change}))
        done = segment(model, waves[0])
        assert done.returncode == 1 and said in done.stderr
