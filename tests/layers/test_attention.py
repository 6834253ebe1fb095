"""Attention against plain NumPy, the choice of the fused kernel, and resampled tables of biases."""
import mindspore as ms
import numpy as np
import pytest
from mindspore import ops

from ghost_ms.layers import ScaledDotProductAttention, attention, resize_attention_bias, resize_table, split_heads

RANDOM = np.random.default_rng(0)


def _draw(*shape):
    return RANDOM.standard_normal(shape).astype(np.float32)


def _expected(query, key, value, bias):
    logits = query @ key.swapaxes(-1, -2) / np.sqrt(query.shape[-1]) + bias
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    joined = weights / weights.sum(-1, keepdims=True) @ value
    return joined.swapaxes(1, 2).reshape(query.shape[0], query.shape[2], -1)


@pytest.mark.parametrize("mode", (ms.PYNATIVE_MODE, ms.GRAPH_MODE))
@pytest.mark.parametrize("with_bias", (True, False))
def test_values(mode, with_bias):
    ms.set_context(mode=mode)
    query, key, value, bias = _draw(2, 3, 5, 8), _draw(2, 3, 7, 8), _draw(2, 3, 7, 8), _draw(1, 3, 5, 7)
    arguments = [ms.Tensor(a) for a in (query, key, value, bias)[:4 if with_bias else 3]]
    got = ScaledDotProductAttention(3, 8)(*arguments).asnumpy()
    np.testing.assert_allclose(got, _expected(query, key, value, bias if with_bias else 0.0), atol=1e-5)


def test_heads_of_the_first_part_come_first():
    x = np.arange(2 * 12, dtype=np.float32).reshape(1, 2, 12)
    got = split_heads(ms.Tensor(x), heads=3, parts=2).asnumpy()
    assert got.shape == (1, 6, 2, 2)
    np.testing.assert_array_equal(got[0, 4, 1], x[0, 1, 8:10])


@pytest.mark.parametrize("device, heads, head_dim, fits", (
    ("Ascend910B3", 6, 64, True), ("Ascend910B", 256, 512, True), ("Ascend910B3", 4, 24, False),
    ("Ascend910B3", 6, 528, False), ("Ascend910B3", 257, 64, False), ("Ascend910A", 6, 64, False),
    ("Ascend310P3", 6, 64, False), ("CPU", 6, 64, False), ("GPU", 6, 64, False)))
def test_choice_of_the_fused_kernel(monkeypatch, device, heads, head_dim, fits):
    monkeypatch.setattr(attention, "device_name", lambda: device)
    assert attention.fused_attention_fits(heads, head_dim) is fits


def test_cpu_is_asked_of_mindspore():
    assert attention.device_name() == "CPU"


@pytest.mark.parametrize("dtype, fused", ((ms.float16, True), (ms.float32, False)))
def test_fused_kernel_gets_the_same_attention(monkeypatch, dtype, fused):
    calls = []

    def kernel(query, key, value, head_num, real_shift=None, scalar_value=1.0, input_layout="BSH"):
        calls.append((head_num, input_layout, real_shift.dtype))
        logits = ops.matmul(query, key.swapaxes(-1, -2)) * scalar_value + real_shift
        return ops.matmul(ops.softmax(logits, -1), value)

    monkeypatch.setattr(attention, "device_name", lambda: "Ascend910B3")
    monkeypatch.setattr(attention.ops, "flash_attention_score", kernel, raising=False)
    query, key, value, bias = (_draw(*shape) for shape in ((1, 2, 4, 16), (1, 2, 6, 16), (1, 2, 6, 16), (1, 2, 4, 6)))
    tensors = [ms.Tensor(a, dtype) for a in (query, key, value)]
    # The bias is a parameter and stays float32 under mixed precision.
    got = ScaledDotProductAttention(2, 16)(*tensors, ms.Tensor(bias)).asnumpy()
    np.testing.assert_allclose(got, _expected(query, key, value, bias), atol=2e-2)
    assert calls == ([(2, "BNSD", ms.float16)] if fused else [])


def test_bias_of_the_same_maps_is_the_same_table():
    table = _draw(1, 2, 12, 4)
    assert resize_attention_bias(table, (3, 4), (2, 2)) is table


@pytest.mark.parametrize("queries, keys", (((6, 9), (3, 3)), ((2, 3), (1, 2)), ((4, 5), (2, 2))))
def test_queries_and_keys_are_resampled_as_maps(queries, keys):
    """The table of a product f(query) g(key) is the product of the resampled f and g."""
    rows, columns = _draw(2, 4, 4), _draw(2, 2, 2)
    table = rows.reshape(2, 16, 1) * columns.reshape(2, 1, 4)
    got = resize_attention_bias(table, queries, keys)
    expected = resize_table(rows, queries).reshape(2, -1, 1) * resize_table(columns, keys).reshape(2, 1, -1)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, expected, atol=1e-5)
