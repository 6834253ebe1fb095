"""Layout of Wave-MLP's token mixing, which the released weights depend on."""
import mindspore as ms
import numpy as np
import pytest
from mindspore import nn

from ghost_ms import create_model
from ghost_ms.layers import SingleGroupNorm
from ghost_ms.models.backbones.wavemlp import PhaseAwareTokenMixing, phase_by_channel, phase_by_depthwise

CHANNELS, ROWS, COLUMNS = 4, 5, 6


def _mixing(phase):
    rng = np.random.default_rng(0)
    cell = PhaseAwareTokenMixing(CHANNELS, phase).set_train(False)
    for parameter in cell.get_parameters():
        draws = rng.standard_normal(parameter.shape).astype(np.float32)
        parameter.set_data(ms.Tensor(np.abs(draws) if "moving_variance" in parameter.name else draws))
    return cell


def _point(x, weight, bias=None):
    out = np.einsum("chw,oc->ohw", x, weight[:, :, 0, 0])
    return out if bias is None else out + bias[:, None, None]


def _expected(cell, x, interleaved=False, transposed_weights=False):
    """The token mixing of one image in float64, straight from its definition."""
    state = {name: p.asnumpy().astype(np.float64) for name, p in cell.parameters_and_names()}

    def phase(name):
        y = _point(x, state[f"{name}.0.weight"], state[f"{name}.0.bias"])
        gamma, beta, mean, variance = (state[f"{name}.1.{leaf}"][:, None, None]
                                       for leaf in ("gamma", "beta", "moving_mean", "moving_variance"))
        return np.maximum((y - mean) / np.sqrt(variance + 1e-5) * gamma + beta, 0)

    def aggregate(axis):
        amplitude, angle = _point(x, state[f"fc_{axis}.weight"]), phase(f"theta_{axis}_conv")
        parts = np.stack((amplitude * np.cos(angle), amplitude * np.sin(angle)), 1 if interleaved else 0)
        wave = np.pad(parts.reshape(-1, ROWS, COLUMNS), ((0, 0), (3, 3), (3, 3)))
        kernel = state[f"tfc_{axis}.weight"].reshape(CHANNELS, 2, 7)
        out = np.zeros((CHANNELS, ROWS, COLUMNS))
        for g, r, c in np.ndindex(out.shape):
            for i in (0, 1):
                window = wave[2 * g + i, r + 3, c:c + 7] if axis == "h" else wave[2 * g + i, r:r + 7, c + 3]
                out[g, r, c] += (window * kernel[g, i]).sum()
        return out

    maps = aggregate("h"), aggregate("w"), _point(x, state["fc_c.weight"])
    mean = sum(maps).mean((1, 2))
    hidden = state["reweight.fc1.weight"][:, :, 0, 0] @ mean + state["reweight.fc1.bias"]
    hidden = ms.ops.gelu(ms.Tensor(hidden.astype(np.float32))).asnumpy()
    scores = state["reweight.fc2.weight"][:, :, 0, 0] @ hidden + state["reweight.fc2.bias"]
    scores = scores.reshape(3, CHANNELS).T if transposed_weights else scores.reshape(CHANNELS, 3)
    shares = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    mixed = sum(map_ * shares[:, i, None, None] for i, map_ in enumerate(maps))
    return _point(mixed, state["proj.weight"], state["proj.bias"])


def test_real_parts_precede_imaginary_parts_and_branch_weights_lie_together():
    cell = _mixing(phase_by_channel)
    x = np.random.default_rng(1).standard_normal((2, CHANNELS, ROWS, COLUMNS)).astype(np.float32)
    found = cell(ms.Tensor(x)).asnumpy()
    for image, ours in zip(x, found):
        scale = np.abs(ours).max()
        np.testing.assert_allclose(ours, _expected(cell, image), atol=1e-5 * scale)
        assert np.abs(ours - _expected(cell, image, interleaved=True)).max() > 1e-2 * scale
        assert np.abs(ours - _expected(cell, image, transposed_weights=True)).max() > 1e-2 * scale


def test_depthwise_phases_have_no_bias():
    names = [p.name for p in _mixing(phase_by_depthwise).get_parameters()]
    assert "theta_h_conv.0.weight" in names and "theta_h_conv.0.bias" not in names


@pytest.mark.parametrize("name, block_norm, embed_norm", [
    ("wavemlp_t", nn.BatchNorm2d, nn.BatchNorm2d), ("wavemlp_s", SingleGroupNorm, SingleGroupNorm),
    ("wavemlp_m", SingleGroupNorm, nn.Identity)])
def test_norms(name, block_norm, embed_norm):
    cells = dict(create_model(name).cells_and_names())
    assert isinstance(cells["network.2.1.norm2"], block_norm) and isinstance(cells["norm"], block_norm)
    assert isinstance(cells["patch_embed.norm"], embed_norm) and isinstance(cells["network.3.norm"], embed_norm)
    assert type(cells["network.0.0.attn.theta_w_conv.1"]) is nn.BatchNorm2d
