"""Lengths of the released state dicts, for the variants without a reference output too."""
import pytest
from mindspore import nn
from mindspore.nn.utils import no_init_parameters

from ghost_ms import create_model
from ghost_ms.weights.convert import torch_names

KEYS = {
    "wavemlp_t_dw": 405, "wavemlp_t": 425, "wavemlp_s": 614, "wavemlp_m": 936, "wavemlp_b": 804,
    "hire_mlp_tiny": 415, "hire_mlp_small": 795, "hire_mlp_base": 1441, "hire_mlp_large": 1441,
    "snnmlp_t": 353, "snnmlp_s": 689, "snnmlp_b": 689,
}


@pytest.mark.parametrize("name, keys", KEYS.items())
def test_state_dict_length(name, keys):
    with no_init_parameters():
        net = create_model(name)
    counters = sum(isinstance(cell, nn.BatchNorm2d) for _, cell in net.cells_and_names())
    assert len(set(torch_names(net).values())) + counters == keys
