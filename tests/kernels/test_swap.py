"""Networks that compute by the kernels: the same numbers up to rounding, the same parameters, and a way back."""
import contextlib

import mindspore as ms
import numpy as np
import pytest
from mindspore import nn, ops

from ghost_ms import create_model, kernels
from ghost_ms.config import load
from ghost_ms.kernels import build, cells, swap
from ghost_ms.layers import GhostModule, gelu
from ghost_ms.surgery.fold_norms import to_deploy_form
from tests.tiny import randomize


@pytest.fixture(autouse=True)
def available():
    try:
        build.library()
    except build.Unavailable as reason:
        pytest.skip(f"no CPU kernels here: {reason}")
