"""The C++ detector finds what `ghost-ms infer --file` finds."""
import json
import pathlib
import subprocess

import numpy as np
import pytest
from mindspore import Tensor

from ghost_ms.checkpoints.spec import ModelSpec
from ghost_ms.cli import main
from ghost_ms.data.transforms import Preprocessing
from ghost_ms.deploy.export import export_onnx
from ghost_ms.deploy.lite import convert
from ghost_ms.runtime.sidecar import set_thresholds
from ghost_ms.runtime.signature import ExportSignature
from tests.deploy.test_cpp import ENVIRONMENT
from tests.tasks.segmentation import dense

pytest.importorskip("onnx", reason="needs onnx and onnxruntime")
pytest.importorskip("onnxruntime", reason="needs onnx and onnxruntime")

CLASSES = ["square", "dot", "bar"]


@pytest.fixture(scope="module")
def detect(program):
    path = str(pathlib.Path(program).with_name("ghost_ms_detect"))
    return lambda *words: subprocess.run([path, *map(str, words)], capture_output=True, text=True, env=ENVIRONMENT,
                                         timeout=300)


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    """Head -> a converted network that finds a few dozen things: candidates by class, and by level."""
    folder, files, draw = tmp_path_factory.mktemp("detectors"), {}, np.random.default_rng(0)
    preprocessing = Preprocessing((64, 96), 3, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), 1.0, "bilinear", True,
                                  "letterbox")
    with dense.registered():
        for head in ("ssdlite", "retinanet"):
            args = {"show_threshold": 0.3, "candidates": 25, "max_detections": 30}
            spec = ModelSpec("tiny_dense", {"num_classes": 3, "in_channels": 3}, CLASSES, preprocessing,
                             task="detection", task_args=args, head=head)
            net = spec.build().set_train(False)
            for name, parameter in net.parameters_dict().items():
                if "variance" in name:
                    value = draw.uniform(0.5, 1.5, parameter.shape)
                elif parameter.ndim > 1:
                    value = draw.normal(0, 1, parameter.shape) / np.sqrt(np.prod(parameter.shape[1:]))
                    value = value * (1.5 if "cls_logits" in name or "classification" in name else 0.7)
                else:
                    value = draw.normal(0, 0.2, parameter.shape)
                parameter.set_data(Tensor(value.astype(np.float32)))
            path = str(folder / f"{head}.onnx")
            export_onnx(net, spec, path, 1, ExportSignature(head == "ssdlite"))
            convert.convert(path, str(folder / f"{head}.ms"))
            files[head] = str(folder / f"{head}.ms")
        yield files


def _same(ours, theirs):
    assert len(ours) == len(theirs) and [one["image"] for one in ours] == [one["image"] for one in theirs]
    for one, other in zip(ours, theirs):
        assert (one["width"], one["height"]) == (other["width"], other["height"])
        assert [found["class"] for found in one["objects"]] == [found["class"] for found in other["objects"]]
        for found, true in zip(one["objects"], other["objects"]):
            assert found["score"] == true["score"] and found["box"] == true["box"] and found["index"] == true["index"]


@pytest.mark.parametrize("head", ["ssdlite", "retinanet"])
def test_objects_are_pythons(head, detect, networks, waves, capsys):
    done = detect(networks[head], *waves, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert main(["infer", "--file", networks[head], *map(str, waves), "--json"]) == 0
    theirs = json.loads(capsys.readouterr().out)
    _same(json.loads(done.stdout), theirs)
    counts = [len(one["objects"]) for one in theirs]
    assert 5 < max(counts) <= 30
    assert len({one["class"] for each in theirs for one in each["objects"]}) > 1
    few = json.loads(detect(networks[head], waves[0], "--json", "--top", "2").stdout)
    assert few[0]["objects"] == theirs[0]["objects"][:2]


def test_chosen_thresholds_table_and_latency(detect, networks, waves, tmp_path, capsys):
    model = tmp_path / "net.ms"
    model.write_bytes(pathlib.Path(networks["ssdlite"]).read_bytes())
    content = json.loads(pathlib.Path(networks["ssdlite"]).with_suffix(".json").read_text())
    (tmp_path / "net.json").write_text(json.dumps(content))
    set_thresholds(str(model), [1.0, 0.45, 0.35])
    done = detect(model, *waves, "--json")
    assert main(["infer", "--file", str(model), *map(str, waves), "--json"]) == 0
    theirs = json.loads(capsys.readouterr().out)
    _same(json.loads(done.stdout), theirs)
    assert all(one["class"] != "square" for each in theirs for one in each["objects"])
    done = detect(networks["ssdlite"], waves[0], "--bench", "3")
    assert done.returncode == 0 and "of 3 calls" in done.stdout and " %  " in done.stdout and "  at " in done.stdout
    assert "usage: ghost_ms_detect" in detect("--help").stdout


@pytest.mark.parametrize("words, said", [
    (["MODEL"], "name a model and at least one image"), (["MODEL", "IMAGE", "--pictures", "x"], "is no option"),
    (["MODEL", "missing.png"], "there is no file 'missing.png'")])
def test_bad_input_gets_a_sentence(words, said, detect, networks, waves):
    done = detect(*({"MODEL": networks["ssdlite"], "IMAGE": waves[0]}.get(word, word) for word in words))
    assert done.returncode == 1 and done.stderr.startswith("ghost_ms_detect: error: ") and said in done.stderr
    assert done.stderr.count("\n") == 1


def test_sidecars_that_cannot_be(detect, networks, waves, tmp_path):
    content = json.loads(pathlib.Path(networks["ssdlite"]).with_suffix(".json").read_text())
    model = tmp_path / "net.ms"
    model.write_bytes(pathlib.Path(networks["ssdlite"]).read_bytes())
    args = content["task_args"]
    for change, said in (({"task": "segmentation"}, "this program detects"),
                         ({"preprocessing": {**content["preprocessing"], "fit": "crop"}}, "fit is not the one"),
                         ({"classes": CLASSES + ["more"]}, "they do not belong together"),
                         ({"task_args": {**args, "levels": [5]}}, "they do not belong together"),
                         ({"task_args": {**args, "levels": [-5]}}, "is no sidecar of an export"),
                         ({"task_args": {**args, "iou_threshold": 7}}, "no parts of 1"),
                         ({"task_args": {}}, "is no sidecar of an export")):
        (tmp_path / "net.json").write_text(json.dumps({**content, **change}))
        done = detect(model, waves[0])
        assert done.returncode == 1 and said in done.stderr, done.stderr
