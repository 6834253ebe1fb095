"""Output stride and norms: arguments that every network takes."""
import mindspore as ms
import numpy as np
import pytest
from mindspore import nn

from ghost_ms import create_model
from ghost_ms.models import list_models, model_card
from ghost_ms.models.norms import set_batch_norms
from ghost_ms.weights.nearest import shapes_only

#: One network of each family whose strides can be traded, and whether nothing in it looks at the whole map.
ATROUS = {"ghostnet_050": False, "ghostnetv2_050": False, "ghostnetv3_050": False, "repghostnet_050": False,
          "tinynet_e": False, "efficientnet_b0": False, "tf_efficientnet_lite0": True, "resnet50": True,
          "ghost_resnet50": True, "g_ghost_regnetx_002": False, "shufflenetv2_x0_5": True, "parameternet_300m": False,
          "mobilenetv3_small_100": False}


def _image(height=64, width=96):
    return ms.Tensor(np.random.default_rng(0).standard_normal((1, 3, height, width)).astype(np.float32))


def _pair(name, **args):
    """The network as published and as asked for, of the same weights."""
    plain, other = create_model(name).set_train(False), create_model(name, **args).set_train(False)
    parameters = dict(plain.parameters_and_names())
    assert list(parameters) == [key for key, _ in other.parameters_and_names()]
    for key, parameter in other.parameters_and_names():
        parameter.set_data(parameters[key].data)
    return plain, other


def test_every_family_allows_it_or_says_why_not():
    families = {model_card(name).family: name for name in list_models()}
    allowed = {model_card(name).family for name in ATROUS}
    for family in sorted(set(families) - allowed):
        with shapes_only(), pytest.raises(ValueError, match="cannot have output_stride 8: its maps are not halved by"):
            create_model(families[family], output_stride=8)


@pytest.mark.parametrize("stride", [8, pytest.param(16, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", ATROUS)
def test_the_last_maps_are_finer(name, stride):
    plain, net = _pair(name, output_stride=stride)
    maps = net.forward_pyramid(_image())
    assert [info.stride for info in net.feature_info] == [min(i.stride, stride) for i in plain.feature_info]
    for info, map_ in zip(net.feature_info, maps):
        assert map_.shape == (1, info.channels, 64 // info.stride, 96 // info.stride)
    assert net.arguments == {"output_stride": stride} and np.isfinite(net(_image()).asnumpy()).all()
    if ATROUS[name] and name != "tf_efficientnet_lite0":
        # What the coarse map had stands at its places in the fine one. (TensorFlow's padding shifts its places.)
        for coarse, fine in zip(plain.forward_pyramid(_image()), maps):
            step = fine.shape[2] // coarse.shape[2]
            expected = coarse.asnumpy()
            # Convolutions of other geometry sum in another order, on some processors more than on others.
            np.testing.assert_allclose(fine.asnumpy()[..., ::step, ::step], expected, rtol=0,
                                       atol=1e-5 * max(1, np.abs(expected).max()))


def _convolutions(net, kernel):
    return {name: (cell.stride[0], cell.dilation[0]) for name, cell in net.cells_and_names()
            if isinstance(cell, nn.Conv2d) and cell.kernel_size[0] == kernel}


def test_rates_are_those_of_torchvision():
    """Those of resnet50(replace_stride_with_dilation=(False, True, True)) and mobilenet_v3_large(dilated=True)."""
    rates = _convolutions(create_model("resnet50", output_stride=8), 3)
    assert [rates[f"layer3.{block}.conv2"] for block in range(3)] == [(1, 1), (1, 2), (1, 2)]
    assert [rates[f"layer4.{block}.conv2"] for block in range(3)] == [(1, 2), (1, 4), (1, 4)]
    rates = _convolutions(create_model("mobilenetv3_large_100", output_stride=16), 5)
    assert [rates[f"blocks.5.{block}.conv_dw"] for block in range(3)] == [(1, 2)] * 3
    # A block's convolutions before the stride stay at the rate of its input.
    rates = _convolutions(create_model("ghostnet_050", output_stride=16), 3)
    kept = [name for name, rate in rates.items() if name.startswith("blocks.7") and rate == (1, 1)]
    assert kept == ["blocks.7.0.ghost1.cheap_operation.0"]


def test_an_identity_of_32_changes_nothing_and_others_are_refused():
    plain, net = _pair("ghostnet_050", output_stride=32)
    np.testing.assert_array_equal(plain(_image()).asnumpy(), net(_image()).asnumpy())
    for stride in (4, 64, True, "16", None):
        with pytest.raises(ValueError, match="it must be 8, 16 or 32"):
            create_model("ghostnet_050", output_stride=stride)


def test_a_small_map_trains_as_a_matrix_product_of_the_same_values():
    net = create_model("mobilenetv3_small_100", output_stride=16)
    conv = next(cell for _, cell in net.cells_and_names() if isinstance(cell, nn.Conv2d) and cell.dilation[0] == 2)
    x = ms.Tensor(np.random.default_rng(1).standard_normal((2, conv.in_channels, 5, 7)).astype(np.float32))
    np.testing.assert_allclose(conv.set_train(True)(x).asnumpy(), conv.set_train(False)(x).asnumpy(), atol=1e-5)


def test_branches_fuse_and_pieces_stay_dilated():
    net = create_model("ghostnetv3_050", output_stride=16).set_train(False)
    before = net(_image()).asnumpy()
    np.testing.assert_allclose(net.reparameterize()(_image()).asnumpy(), before, atol=1e-4)


def test_norms_have_the_epsilon_and_momentum_asked_for():
    plain, net = _pair("ghostnet_050", norm_eps=1e-3, norm_momentum=0.99)
    before, after = plain(_image()).asnumpy(), net(_image()).asnumpy()
    assert not np.allclose(before, after, rtol=1e-4, atol=0)
    norm = next(cell for _, cell in net.cells_and_names() if isinstance(cell, nn.BatchNorm2d))
    x = ms.Tensor(np.random.default_rng(1).standard_normal((4, norm.num_features, 3, 3)).astype(np.float32))
    y, values = norm.set_train(True)(x), x.asnumpy()
    mean, variance = values.mean((0, 2, 3)), values.var((0, 2, 3))
    expected = (values - mean[:, None, None]) / np.sqrt(variance + 1e-3)[:, None, None]
    np.testing.assert_allclose(y.asnumpy(), expected, atol=1e-4)
    np.testing.assert_allclose(norm.moving_mean.asnumpy(), 0.01 * mean, atol=1e-6)
    assert net.arguments == {"norm_eps": 1e-3, "norm_momentum": 0.99}


@pytest.mark.parametrize("args, words", [
    ({"norm_eps": 0}, "norm_eps is 0"), ({"norm_eps": "1e-3"}, "norm_eps is 1e-3"), ({"norm_eps": True}, "norm_eps"),
    ({"norm_momentum": 1.5}, "norm_momentum is 1.5"), ({"norm_momentum": float("nan")}, "norm_momentum is nan")])
def test_norms_that_cannot_be_are_refused(args, words):
    with pytest.raises(ValueError, match=words):
        create_model("ghostnet_050", **args)


def test_a_network_without_batchnorm_refuses():
    with pytest.raises(ValueError, match="has no BatchNorm"):
        set_batch_norms(nn.SequentialCell(nn.Dense(2, 2)), eps=1e-3)
