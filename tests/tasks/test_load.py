"""`ghost_ms.load`: a trained network of any kind, used from Python."""
import numpy as np
import pytest
from PIL import Image

import ghost_ms
from ghost_ms.checkpoints.checkpoint import save_checkpoint
from ghost_ms.checkpoints.spec import ModelSpec
from ghost_ms.data.transforms import Preprocessing
from ghost_ms.deploy.export import export_mindir, export_onnx
from tests.tiny import registered


@pytest.fixture(scope="module", autouse=True)
def tiny():
    with registered():
        yield


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("load")
    spec = ModelSpec("tiny", {"num_classes": 4, "in_channels": 3}, list("abcd"),
                     Preprocessing((16, 16), 3, (0.5,) * 3, (0.25,) * 3, 1.0, "bilinear"))
    net = spec.build()
    (folder / "run" / "checkpoints").mkdir(parents=True)
    save_checkpoint(net, str(folder / "run" / "checkpoints" / "best.ckpt"), spec)
    for kind, export in (("mindir", export_mindir), ("onnx", export_onnx)):
        if kind == "onnx":
            pytest.importorskip("onnxruntime", reason="needs onnx and onnxruntime")
        (folder / kind).mkdir()
        export(spec.build(str(folder / "run" / "checkpoints" / "best.ckpt")).set_train(False), spec,
               str(folder / kind / f"net.{kind}"))
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 24, 3), np.uint8)).save(folder / "a.png")
    return folder


def test_every_kind_gives_the_same(files):
    path, found = files / "a.png", []
    for name in ("run/checkpoints/best.ckpt", "run", "mindir/net.mindir", "mindir", "onnx/net.onnx"):
        (result,) = ghost_ms.load(files / name).predict(path, top=2)
        assert result.image == str(path) and len(result.predictions) == 2
        found.append([(one.name, one.index) for one in result.predictions])
        assert result.best is result.predictions[0] and result.best.probability == pytest.approx(
            ghost_ms.load(files / "run").predict(path)[0].best.probability, abs=1e-5)
    assert all(one == found[0] for one in found)


def test_images_may_be_arrays_and_lists(files):
    network, pixels = ghost_ms.load(files / "run"), np.asarray(Image.open(files / "a.png"))
    by_array, by_path = network.predict([pixels, str(files / "a.png")])
    assert by_array.predictions == by_path.predictions and by_array.image == "an array"
    with pytest.raises(FileNotFoundError):
        network.predict(files / "none.png")


def test_what_is_none_is_refused(files, tmp_path):
    with pytest.raises(ValueError, match="holds no checkpoint or exported file"):
        ghost_ms.load(tmp_path)
    with pytest.raises(FileNotFoundError, match="there is no checkpoint"):
        ghost_ms.load(tmp_path / "a.ckpt")
    with pytest.raises(ValueError, match="is neither .mindir, .onnx nor .ms"):
        ghost_ms.load(files / "a.png")
