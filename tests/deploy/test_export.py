"""Folding and MINDIR: the deploy form and the written file give the network's numbers."""
import json
import os

import mindspore as ms
import numpy as np
import pytest
from mindspore import nn

from ghost_ms import create_model
from ghost_ms.analysis.measure.verify_worker import randomize_statistics
from ghost_ms.checkpoints.spec import ModelSpec
from ghost_ms.data.transforms import Preprocessing
from ghost_ms.deploy import export
from ghost_ms.runtime import mindir
from ghost_ms.runtime.sidecar import Sidecar, read_sidecar
from ghost_ms.surgery.fold_norms import count_cells, fold_batchnorm, to_deploy_form


def _description(name, size=(64, 64), **args):
    spec = Preprocessing(size, 3, (0.5,) * 3, (0.25,) * 3, 0.875, "bicubic")
    return ModelSpec(name, {"num_classes": 10, "in_channels": 3, **args}, [f"name {i}" for i in range(10)], spec)


def _images(size=(64, 64), batch=2):
    return ms.Tensor(np.random.default_rng(1).standard_normal((batch, 3) + size).astype(np.float32))


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("groups", [1, 2, 6])
def test_fold_batchnorm(groups, bias):
    conv = nn.Conv2d(6, 12, 3, 2, pad_mode="pad", padding=(1, 2, 0, 1), group=groups, has_bias=bias)
    norm = nn.BatchNorm2d(12, eps=1e-2)
    randomize_statistics(nn.SequentialCell(norm))
    norm.set_train(False)
    x = ms.Tensor(np.random.default_rng(0).standard_normal((2, 6, 9, 7)).astype(np.float32))
    expected = norm(conv(x)).asnumpy()
    np.testing.assert_allclose(fold_batchnorm(conv, norm)(x).asnumpy(), expected, atol=1e-5)


def test_ghostnet_keeps_no_batchnorm_and_its_names_stay_structural():
    net = to_deploy_form(randomize_statistics(create_model("ghostnet_050")))
    assert count_cells(net, nn.BatchNorm2d) == 0
    assert [p.name for p in net.get_parameters()] == [name for name, _ in net.parameters_and_names()]
    # 80 BatchNorms of GhostNet became 80 biases.
    assert sum(name.endswith("bias") for name, _ in net.parameters_and_names()) == 80 + 2 * 7 + 2


@pytest.mark.parametrize("batch_size", [1, 0])
def test_mindir_is_written_checked_and_described(batch_size, tmp_path):
    description = _description("ghostnet_050")
    net = randomize_statistics(description.build())
    expected = net.set_train(False)(_images()).asnumpy()
    path = str(tmp_path / "new folder" / "net.mindir")
    report = export.export_mindir(net, description, path, batch_size)
    assert report["comparison"].relative < 1e-5 and report["batchnorms"] == 0
    assert sorted(os.listdir(tmp_path / "new folder")) == ["net.json", "net.mindir"]
    assert os.stat(path).st_mode & 0o644 == 0o644
    np.testing.assert_allclose(mindir.run_mindir(path, _images().asnumpy()), expected, atol=1e-4)
    sidecar = json.load(open(tmp_path / "new folder" / "net.json"))
    assert sidecar["inputs"] == [{"name": "image", "shape": [batch_size or -1, 3, 64, 64], "dtype": "float32",
                                  "layout": "NCHW"}]
    assert sidecar["outputs"][0] == {"name": "logits", "shape": [batch_size or -1, 10], "dtype": "float32"}
    assert read_sidecar(path) == Sidecar.of(description)._replace(
        batch_size=batch_size, args={"num_classes": 10})


def test_names_in_the_file_are_those_of_the_sidecar(tmp_path):
    from mindspore.train.mind_ir_pb2 import ModelProto

    path = str(tmp_path / "net.mindir")
    export.export_mindir(_description("ghostnet_050").build(), _description("ghostnet_050"), path)
    proto = ModelProto()
    proto.ParseFromString(open(path, "rb").read())
    assert [v.name for v in proto.graph.input] == ["image"] and [v.name for v in proto.graph.output] == ["logits"]


def test_a_file_that_differs_is_not_left_behind(tmp_path, monkeypatch):
    real = mindir.run_mindir
    monkeypatch.setattr(mindir, "run_mindir", lambda path, images: real(path, images) * 1.01)
    description = _description("ghostnet_050")
    with pytest.raises(ValueError, match="differs from the network"):
        export.export_mindir(description.build(), description, str(tmp_path / "net.mindir"))
    assert os.listdir(tmp_path) == []


def test_damaged_files_are_refused(tmp_path):
    path = tmp_path / "net.mindir"
    export.export_mindir(_description("ghostnet_050").build(), _description("ghostnet_050"), str(path))
    path.write_bytes(path.read_bytes()[:10000])
    with pytest.raises(ValueError, match="not a valid MINDIR"):
        mindir.load_mindir(str(path))
    (tmp_path / "net.json").write_text("{}")
    with pytest.raises(ValueError, match="no sidecar of an export"):
        read_sidecar(str(path))
    os.remove(tmp_path / "net.json")
    with pytest.raises(FileNotFoundError, match="has no sidecar"):
        read_sidecar(str(path))
