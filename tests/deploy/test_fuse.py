"""BatchNorm folded into what follows it, into shared filters, and into the classifier; and where it has to stay."""
import mindspore as ms
import numpy as np
import pytest
from mindspore import nn

from ghost_ms.analysis.measure.verify_worker import randomize_statistics
from ghost_ms.layers import LegoConv2d
from ghost_ms.layers.reparam import affine_of, biased_conv, fold_affine_ahead, takes_no_padding
from ghost_ms.models.backbones.cmt import CMT
from ghost_ms.models.backbones.hire_mlp import HireMlp
from ghost_ms.models.backbones.wavemlp import WaveMlp, phase_by_channel, phase_by_depthwise
from ghost_ms.surgery.fold_norms import count_cells, fold_final_norm, to_deploy_form
from tests.deploy.test_onnx import ShortParameterNet

WIDTHS = (16, 24, 32, 48)


def _images(*shape):
    return ms.Tensor(np.random.default_rng(0).standard_normal(shape).astype(np.float32))


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("groups, repeat", [(1, 1), (1, 3), (2, 1), (6, 2)])
def test_fold_into_the_convolution_behind(groups, repeat, bias):
    conv = nn.Conv2d(6 * repeat, 12, 2, 2, pad_mode="valid", group=groups, has_bias=bias)
    norm = randomize_statistics(nn.SequentialCell(nn.BatchNorm2d(6))).set_train(False)
    x = _images(2, 6, 8, 6)

    def repeated(maps):
        """Channel c stands `repeat` times in a row."""
        return ms.Tensor(maps.asnumpy().repeat(repeat, 1))

    expected = conv(repeated(norm(x))).asnumpy()
    folded = biased_conv(*fold_affine_ahead(conv, *affine_of(norm[0])), conv)
    np.testing.assert_allclose(folded(repeated(x)).asnumpy(), expected, atol=1e-5)


def test_padding_forbids_folding_ahead():
    assert takes_no_padding(nn.Conv2d(2, 2, 1, pad_mode="same"))
    assert not takes_no_padding(nn.Conv2d(2, 2, 3, pad_mode="same"))
    assert not takes_no_padding(nn.Conv2d(2, 2, 1, pad_mode="pad", padding=(0, 1, 0, 0)))


def test_lego_maps_take_a_batchnorm():
    norm = randomize_statistics(nn.SequentialCell(nn.BatchNorm2d(8))).set_train(False)[0]
    lego, x = LegoConv2d(8, 8).sparse(), _images(2, 8, 5, 5)
    expected = norm(norm(lego(x))).asnumpy()
    lego.absorb_affine(*affine_of(norm)).absorb_affine(*affine_of(norm))
    np.testing.assert_allclose(lego(x).asnumpy(), expected, atol=1e-5)


#: Network and the BatchNorms that no exact folding removes: CMT's before padded convolutions (two of the stem, one a
#: block), and Wave-MLP's before padded depthwise phases.
LEFT = [
    (lambda: CMT(WIDTHS, (2, 1, 1, 1), 8, num_classes=10, input_size=(64, 64)), 2 + 5),
    (lambda: HireMlp((2, 1, 1, 1), WIDTHS, num_classes=10), 0),
    (lambda: WaveMlp((1, 1, 1, 1), WIDTHS, norm=nn.BatchNorm2d, embed_norm=nn.BatchNorm2d, phase=phase_by_channel), 0),
    (lambda: WaveMlp((1, 1, 1, 1), WIDTHS, norm=nn.BatchNorm2d, phase=phase_by_depthwise), 4),
    (lambda: ShortParameterNet(0.5, num_classes=10), 0),
]


@pytest.mark.parametrize("make, left", LEFT)
def test_what_is_left(make, left):
    net, x = randomize_statistics(make()).set_train(False), _images(2, 3, 64, 64)
    expected = net(x).asnumpy()
    to_deploy_form(net)
    final = count_cells(net, nn.BatchNorm2d)
    features = net.forward_features(x).asnumpy()
    np.testing.assert_allclose(net.forward_head(ms.Tensor(features)).asnumpy(), expected,
                               atol=1e-4 * np.abs(expected).max())
    fold_final_norm(net)
    assert count_cells(net, nn.BatchNorm2d) == left
    assert final == left + hasattr(net, "final_norm")
    np.testing.assert_allclose(net(x).asnumpy(), expected, atol=1e-4 * np.abs(expected).max())
    assert [p.name for p in net.get_parameters()] == [name for name, _ in net.parameters_and_names()]
