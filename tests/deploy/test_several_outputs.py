"""A network with several outputs, of another task than classification, in every runtime."""
import mindspore as ms
import numpy as np
import pytest

from ghost_ms.checkpoints.spec import ModelSpec
from ghost_ms.data.transforms import Preprocessing
from ghost_ms.deploy import export
from ghost_ms.models import registry as models
from ghost_ms.models.registry import ModelCard
from ghost_ms.runtime import files, lite
from ghost_ms.runtime.sidecar import read_sidecar
from ghost_ms.runtime.signature import Output
from ghost_ms.tasks import registry
from ghost_ms.tasks.base import Task
from tests.tiny import Tiny

installed = pytest.mark.skipif(lite.lite_python() is None, reason="needs MindSpore Lite: bash scripts/setup_lite.sh")


class TwoHeads(Tiny):
    """Logits, and the map that they come from."""

    def construct(self, x):
        maps = self.forward_features(x)
        return maps, self.forward_head(maps)


class MapsAndLogits(Task):
    name = "maps_and_logits"

    def outputs(self, spec, form):
        return Output("maps", (8, 4, 4)), Output("logits", (spec.args["num_classes"],))


@pytest.fixture
def network(monkeypatch):
    """(network, description, images, what it gives)"""
    monkeypatch.setitem(models._CARDS, "two_heads", ModelCard(params=0, macs=0, paper="", name="two_heads"))
    monkeypatch.setitem(models._CONSTRUCTORS, "two_heads", TwoHeads)
    registry.register(MapsAndLogits)
    description = ModelSpec("two_heads", {"num_classes": 8}, [], Preprocessing(
        (32, 32), 3, (0.5,) * 3, (0.5,) * 3, 1.0, "bilinear"), task=MapsAndLogits.name)
    images = np.random.default_rng(0).standard_normal((1, 3, 32, 32)).astype(np.float32)
    net = description.build().set_train(False)
    yield net, description, images, [one.asnumpy() for one in net(ms.Tensor(images))]
    registry.unregister(MapsAndLogits.name)


def _holds(path, network):
    *_, images, expected = network
    run = files.run_file(path)
    found = run(images)
    assert isinstance(found, tuple) and [one.shape for one in found] == [(1, 8, 4, 4), (1, 8)]
    for one, true in zip(found, expected):
        np.testing.assert_allclose(one, true, atol=1e-5)
    assert [one.shape for one in files.run_all(run, images.repeat(3, 0), 1)] == [(3, 8, 4, 4), (3, 8)]


def test_mindir(network, tmp_path):
    path = str(tmp_path / "net.mindir")
    assert export.export_mindir(network[0], network[1], path)["comparison"].relative < 1e-4
    assert read_sidecar(path).task == "maps_and_logits"
    _holds(path, network)


@installed
def test_onnx_and_lite(network, tmp_path):
    from ghost_ms.deploy.lite import check, convert

    path, converted = str(tmp_path / "net.onnx"), str(tmp_path / "net.ms")
    assert export.export_onnx(network[0], network[1], path)["comparison"].relative < 1e-4
    _holds(path, network)
    convert.convert(path, converted)
    _holds(converted, network)
    assert check.check(converted, path, 1, "cpu").relative < 1e-4
