"""What only GhostNet shows of the contract."""
import mindspore as ms
import numpy as np
import pytest

from ghost_ms import create_model
from ghost_ms.weights.convert import load_torch_state
from tests import golden


def test_a_reset_classifier_is_seen_by_graph_mode(graph):
    net = create_model("ghostnet_050", num_classes=7).set_train(False)
    image = ms.Tensor(np.ones((1, 3, 32, 32), np.float32))
    assert net(image).shape == (1, 7)
    net.reset_classifier(5)
    assert net(image).shape == (1, 5)


def test_small_image_form_keeps_the_parameters_and_doubles_the_maps():
    small, published = (create_model("ghostnet_050", stem_stride=stride).set_train(False) for stride in (1, 2))
    assert [p.shape for p in small.get_parameters()] == [p.shape for p in published.get_parameters()]
    assert [info.stride for info in small.feature_info] == [1, 2, 4, 8, 16]
    assert small.forward_features(ms.Tensor(np.ones((1, 3, 32, 32), np.float32))).shape == (1, 480, 2, 2)


def test_drop_path_drops_whole_samples_in_training_alone():
    net = create_model("ghostnet_050", drop_path_rate=0.5, drop_rate=0.0)
    block = net.blocks[8][1]
    x = ms.Tensor(np.random.default_rng(0).standard_normal((64, 80, 2, 2)).astype(np.float32))
    block.set_train(True)
    branch = block(x).asnumpy() - x.asnumpy()
    dropped = (np.abs(branch).reshape(64, -1).max(1) == 0).mean()
    assert 0.25 < dropped < 0.75
    block.set_train(False)
    assert (np.abs(block(x).asnumpy() - x.asnumpy()).reshape(64, -1).max(1) > 0).all()


def test_a_state_that_does_not_fit_changes_nothing_and_names_both():
    _, _, state = golden.load("ghostnet_100")
    net = create_model("ghostnet_100")
    before = net.conv_stem.weight.asnumpy().copy()
    broken = {name: value for name, value in state.items() if name != "bn1.bias"}
    with pytest.raises(ValueError, match="missing bn1.bias; unexpected extra.weight"):
        load_torch_state(net, {**broken, "extra.weight": np.zeros(3)})
    with pytest.raises(ValueError, match=r"classifier.bias \(7,\) \(wanted \(1000,\)\)"):
        load_torch_state(net, {**state, "classifier.bias": np.zeros(7)})
    np.testing.assert_array_equal(net.conv_stem.weight.asnumpy(), before)
    bookkeeping = {"bn1.num_batches_tracked": np.array(3), "total_ops": np.zeros(1)}
    assert load_torch_state(net, {**state, **bookkeeping}) == ([], [])
