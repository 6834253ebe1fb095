"""What another library's simplifier, onnxslim, finds left to do in the files that are exported here."""
import collections

import numpy as np
import pytest

from ghost_ms import create_model
from ghost_ms.deploy.export import export_onnx
from tests.deploy.test_export import _description

onnx = pytest.importorskip("onnx", reason="needs onnx and onnxruntime")
onnxslim = pytest.importorskip("onnxslim", reason="needs onnxslim: pip install -e '.[dev]'")


@pytest.mark.parametrize("name", ["ghostnet_050", "mobilenetv3_small_100", "wavemlp_t"])
def test_nothing_is_left_to_simplify(name, tmp_path):
    from ghost_ms.runtime.onnx import run_model

    path = str(tmp_path / "net.onnx")
    export_onnx(create_model(name, num_classes=10), _description(name), path)
    ours = onnx.load(path)
    theirs = onnxslim.slim(onnx.load(path))
    counts = [collections.Counter(node.op_type for node in model.graph.node) for model in (ours, theirs)]
    assert sum(counts[0].values()) <= 1.02 * sum(counts[1].values()), counts[0] - counts[1]
    images = np.random.default_rng(0).standard_normal((1, 3, 64, 64)).astype(np.float32)
    np.testing.assert_allclose(run_model(ours)(images), run_model(theirs)(images), atol=1e-4)
