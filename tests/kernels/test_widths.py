"""The same sources for processors with narrower vectors: 8 floats (AVX2) and 4 (SSE), as NEON has them."""
import platform

import pytest

from ghost_ms.kernels import build
from tests.kernels import test_convolutions as convolutions
from tests.kernels import test_operators as operators

pytestmark = pytest.mark.usefixtures("cpu_kernels")


@pytest.mark.skipif(platform.machine() != "x86_64", reason="these are options for x86")
@pytest.mark.parametrize("option", ["-mno-avx512f", "-mno-avx"])
def test_narrower_vectors(option, monkeypatch, tmp_path):
    monkeypatch.setenv("GHOST_MS_HOME", str(tmp_path))
    monkeypatch.setattr(build, "FLAGS", (*build.FLAGS, option))
    build.library.cache_clear()
    try:
        for kernel in ((3, 3), (5, 1)):
            for stride, dilation in convolutions.GEOMETRIES:
                convolutions.test_depthwise(kernel, stride, dilation)
        for case in convolutions.POINTWISE:
            convolutions.test_pointwise(*case)
        for case in convolutions.CONVOLUTIONS:
            convolutions.test_convolution(*case)
        for case in operators.NORMS:
            operators.test_norm(*case, "gelu")
        for case in operators.ATTENTION:
            operators.test_attention(*case, True)
        for case in operators.MODULES:
            operators.test_ghost_module_is_its_parts(*case, "relu", 3)
        operators.test_rows(65, 33)
        operators.test_dense((3, 7), 24, 96)
        operators.test_elementwise("gelu")
        operators.test_top_k(5, 9, 9)
    finally:
        build.library.cache_clear()
