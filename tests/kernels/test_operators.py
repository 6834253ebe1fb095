"""Every operator of the library beside float64 NumPy: results and gradients, on odd sizes, small and large."""
import ctypes

import numpy as np
import pytest

from ghost_ms.core.threads import kernel_threads
from ghost_ms.kernels import build
from ghost_ms.kernels.ops import ACTIVATIONS
from tests.kernels import native
from tests.kernels.native import act_code, call, draw, near


pytestmark = pytest.mark.usefixtures("cpu_kernels")


@pytest.mark.parametrize("lead, inputs, outputs", [((1,), 1, 1), ((3, 7), 24, 96), ((2, 5, 4), 33, 17),
                                                   ((196,), 384, 50), ((16,), 1280, 10), ((1,), 600, 1000)])
def test_dense(lead, inputs, outputs):
    rng = draw(lead, inputs, outputs)
    x, w = (rng.standard_normal(shape).astype(np.float32) for shape in ((*lead, inputs), (outputs, inputs)))
    bias = rng.standard_normal(outputs).astype(np.float32)
    expected = x.astype(np.float64) @ w.T
    near(call("dense", [x, w], expected.shape)[0], expected, 5e-6)
    near(call("dense_bias", [x, w, bias], expected.shape)[0], expected + bias, 5e-6)
    dy = rng.standard_normal(expected.shape).astype(np.float32)
    dx, dw, dbias = call("dense_backward", [x, w, dy], x.shape, w.shape, bias.shape)
    rows = dy.reshape(-1, outputs).astype(np.float64)
    near(dx, dy.astype(np.float64) @ w, 5e-6)
    near(dw, rows.T @ x.reshape(-1, inputs), 5e-6)
    near(dbias, rows.sum(0), 5e-6)


@pytest.mark.parametrize("act", ACTIVATIONS)
def test_elementwise(act):
    rng = draw(act)
    x = np.concatenate([rng.standard_normal(1001) * scale for scale in (1e-4, 1, 10, 40)] + [np.linspace(-9, 9, 4001)])
    x = x.astype(np.float32)
    dy = rng.standard_normal(x.shape).astype(np.float32)
    function, derivative = native.FUNCTIONS[act]
    with np.errstate(over="ignore"):
        expected, slope = function(x.astype(np.float64)), derivative(x.astype(np.float64))
    y, = call("act", [x, act_code(act)], x.shape)
    # A few units of the last place of each number, not of the largest alone.
    assert (np.abs(y - expected) <= 6e-7 * np.abs(expected) + 1e-7 * np.minimum(1, np.abs(x))).all()
    dx, = call("act_backward", [x, dy, act_code(act)], x.shape)
    kinks = np.isin(np.abs(x), (0, 3)) | (x == 6)
    assert (np.abs(dx - slope * dy)[~kinks] <= 3e-6 * (1 + np.abs(slope * dy)[~kinks])).all()
    nan, = call("act", [np.full(33, np.nan, np.float32), act_code(act)], (33,))
    assert np.isnan(nan).all()


def test_exact_gelu_keeps_its_precision_far_below_zero():
    x = np.array([-5, -6, -8, -10, -12], np.float32)
    # Phi(x) for x far below 0, to be read in any table of the normal distribution.
    expected = x * np.array([2.866515719e-7, 9.865876450e-10, 6.220960574e-16, 7.619853024e-24, 1.776482112e-33])
    y, = call("act", [x, act_code("gelu")], x.shape)
    assert np.abs(y / expected - 1).max() < 5e-6


NORMS = [(1, 1, 1), (2, 3, 1), (1, 5, 49), (4, 17, 33), (2, 8, 1024), (3, 2, 3136), (16, 4, 7)]


@pytest.mark.parametrize("batch, channels, pixels", NORMS)
@pytest.mark.parametrize("act", ["none", "relu", "hswish", "gelu"])
def test_norm(batch, channels, pixels, act):
    rng = draw(batch, channels, pixels, act)
    x = (rng.standard_normal((batch, channels, 1, pixels)) * 3 + 100 * rng.standard_normal((1, channels, 1, 1)))
    x = x.astype(np.float32)
    gamma, beta, mean, variance = rng.random((4, channels)).astype(np.float32) + 0.5
    dy = rng.standard_normal(x.shape).astype(np.float32)
    numbers, code = np.array([1e-3, 0.9], np.float32), act_code(act)
    kept_mean, kept_variance = mean.copy(), variance.copy()
    wide = x.astype(np.float64)
    true_mean, true_variance = wide.mean((0, 2, 3)), wide.var((0, 2, 3))
    y, found_mean, inverse = call("norm_train", [x, gamma, beta, mean, variance, numbers, code], x.shape, (channels,),
                                  (channels,))
    near(found_mean, true_mean)
    count = batch * pixels
    near(mean, 0.9 * kept_mean + 0.1 * true_mean)
    near(variance, 0.9 * kept_variance + 0.1 * true_variance * count / max(count - 1, 1), 1e-5)
    _check_norm(wide, gamma, beta, true_mean, true_variance, act, y, dy, True, call(
        "norm_backward", [x, gamma, beta, found_mean, inverse, dy, code], x.shape, (channels,), (channels,)))
    kept_mean = true_mean.astype(np.float32)
    fixed = [x, gamma, beta, kept_mean, kept_variance]
    y, = call("norm_fixed", [*fixed, numbers, code], x.shape)
    _check_norm(wide, gamma, beta, kept_mean.astype(np.float64), kept_variance, act, y, dy, False, call(
        "norm_fixed_backward", [*fixed, dy, numbers, code], x.shape, (channels,), (channels,)))


def _check_norm(x, gamma, beta, mean, variance, act, y, dy, through, gradients):
    function, derivative = native.FUNCTIONS[act]

    def column(values):
        return np.asarray(values, np.float64)[None, :, None, None]

    inverse = 1 / np.sqrt(column(variance) + 1e-3)
    hat = (x - column(mean)) * inverse
    before = hat * column(gamma) + column(beta)
    near(y, function(before), 3e-5)
    d = derivative(before) * dy
    expected = column(gamma) * inverse * d
    if through:
        expected = column(gamma) * inverse * (d - d.mean((0, 2, 3), keepdims=True)
                                              - hat * (d * hat).mean((0, 2, 3), keepdims=True))
    dx, dgamma, dbeta = gradients
    near(dx, expected, 3e-5)
    near(dgamma, (d * hat).sum((0, 2, 3)), 1e-4)
    near(dbeta, d.sum((0, 2, 3)), 1e-4)


def test_a_channel_that_is_no_number_stays_none():
    """So that a training notices."""
    x = np.ones((2, 3, 4, 4), np.float32)
    x[1, 1, 2, 2] = np.nan
    one, zero = np.ones(3, np.float32), np.zeros(3, np.float32)
    y, *_ = call("norm_train", [x, one, zero, zero.copy(), one.copy(), np.array([1e-5, 0.9], np.float32),
                                act_code("relu")], x.shape, (3,), (3,))
    assert np.isnan(y[:, 1]).all() and np.isfinite(y[:, [0, 2]]).all()


@pytest.mark.parametrize("batch, channels, height, width", [(1, 1, 1, 1), (2, 9, 7, 7), (3, 5, 56, 56), (1, 40, 3, 2)])
def test_squeeze_excite(batch, channels, height, width):
    rng = draw(batch, channels, height, width)
    x, dy = rng.standard_normal((2, batch, channels, height, width)).astype(np.float32)
    gate, dmean = rng.standard_normal((2, batch, channels, 1, 1)).astype(np.float32)
    near(call("mean", [x], gate.shape)[0], x.mean((2, 3), keepdims=True, dtype=np.float64))
    near(call("mean_backward", [x, dmean], x.shape)[0], np.broadcast_to(dmean / (height * width), x.shape))
    near(call("gate", [x, gate], x.shape)[0], x * gate)
    dx, dgate = call("gate_backward", [x, gate, dy], x.shape, gate.shape)
    near(dx, dy * gate)
    near(dgate, (x.astype(np.float64) * dy).sum((2, 3), keepdims=True))


@pytest.mark.parametrize("rows, length", [(1, 1), (3, 5), (7, 24), (196, 384), (65, 33), (130, 1000), (2, 5000)])
def test_rows(rows, length):
    rng = draw(rows, length)
    x, dy = (rng.standard_normal((2, rows, length)) * 4).astype(np.float32)
    gamma, beta = rng.standard_normal((2, length)).astype(np.float32)
    wide = x.astype(np.float64)
    hat = (wide - wide.mean(-1, keepdims=True)) / np.sqrt(wide.var(-1, keepdims=True) + 1e-6)
    y, mean, inverse = call("layer_norm", [x, gamma, beta, np.array([1e-6], np.float32)], x.shape, (rows,), (rows,))
    near(y, hat * gamma + beta, 1e-5)
    dx, dgamma, dbeta = call("layer_norm_backward", [x, gamma, mean, inverse, dy], x.shape, (length,), (length,))
    d = dy.astype(np.float64) * gamma
    near(dx, inverse[:, None] * (d - d.mean(-1, keepdims=True) - hat * (d * hat).mean(-1, keepdims=True)), 1e-4)
    near(dgamma, (dy * hat).sum(0), 1e-5)
    near(dbeta, dy.sum(0, dtype=np.float64), 1e-5)
    p = np.exp(wide - wide.max(-1, keepdims=True))
    p /= p.sum(-1, keepdims=True)
    found, = call("softmax", [x], x.shape)
    near(found, p, 1e-6)
    near(call("softmax_backward", [found, dy], x.shape)[0], p * (dy - (p * dy).sum(-1, keepdims=True)))


ATTENTION = [(1, 1, 1, 1, 1), (2, 3, 5, 7, 4), (3, 4, 16, 16, 6), (1, 6, 197, 197, 64), (2, 2, 49, 13, 32),
             (1, 5, 9, 100, 17)]


@pytest.mark.parametrize("batch, heads, queries, keys, depth", ATTENTION)
@pytest.mark.parametrize("biased", [False, True])
def test_attention(batch, heads, queries, keys, depth, biased):
    rng = draw(batch, heads, queries, keys, depth, biased)
    q = rng.standard_normal((batch, heads, queries, depth)).astype(np.float32)
    k, v = rng.standard_normal((2, batch, heads, keys, depth)).astype(np.float32)
    bias = rng.standard_normal((1, heads, queries, keys)).astype(np.float32)
    scale = np.array([depth ** -0.5], np.float32)
    logits = float(scale[0]) * q.astype(np.float64) @ k.swapaxes(2, 3) + biased * bias
    p = np.exp(logits - logits.max(-1, keepdims=True))
    p /= p.sum(-1, keepdims=True)
    expected = (p @ v).transpose(0, 2, 1, 3).reshape(batch, queries, heads * depth)
    y, weights = call("attention_bias" if biased else "attention", [q, k, v, *[bias] * biased, scale], expected.shape,
                      p.shape)
    near(y, expected, 5e-6)
    near(weights, p)
    dy = rng.standard_normal(y.shape).astype(np.float32)
    each = dy.reshape(batch, queries, heads, depth).transpose(0, 2, 1, 3).astype(np.float64)
    dp = each @ v.swapaxes(2, 3)
    ds = p * (dp - (dp * p).sum(-1, keepdims=True))
    dq, dk, dv, dlogits = call("attention_backward", [q, k, v, weights, dy, scale], q.shape, k.shape, v.shape, p.shape)
    near(dv, p.swapaxes(2, 3) @ each, 5e-6)
    near(dlogits, ds, 5e-6)
    near(dq, scale * (ds @ k), 5e-6)
    near(dk, scale * (ds.swapaxes(2, 3) @ q), 5e-6)


@pytest.mark.parametrize("rows, length, k", [(1, 1, 1), (5, 9, 9), (196, 196, 9), (49, 196, 18), (3, 784, 36)])
def test_top_k(rows, length, k):
    rng = draw(rows, length, k)
    # Many are equal: of these the first come first.
    x = rng.integers(-20, 20, (rows, length)).astype(np.float32)
    found, = call("top_k", [x, np.zeros(k, np.float32)], np.zeros((rows, k), np.int32))
    assert np.array_equal(found, np.argsort(-x, 1, kind="stable")[:, :k])


MODULES = [(2, 3, 8, 14, 14), (4, 16, 5, 7, 7), (1, 24, 40, 7, 9), (2, 12, 17, 10, 10), (3, 7, 1, 5, 20),
           (2, 8, 4, 1, 1)]


@pytest.mark.parametrize("batch, inputs, primary, height, width", MODULES)
@pytest.mark.parametrize("act, kernel", [("relu", 3), ("none", 5)])
def test_ghost_module_is_its_parts(batch, inputs, primary, height, width, act, kernel):
    """To the bit what the operators of its halves give, one after the other."""
    rng = draw(batch, inputs, primary, height, width, act, kernel)

    def numbers(*shape):
        return rng.standard_normal(shape).astype(np.float32)

    x, w1 = numbers(batch, inputs, height, width), numbers(primary, inputs, 1, 1)
    w2 = numbers(primary, 1, kernel, kernel)
    half = (batch, primary, height, width)
    affine1, affine2 = numbers(2, primary), numbers(2, primary)
    moving = [np.zeros(primary, np.float32), np.ones(primary, np.float32)]
    constants = np.array([1, 1, kernel // 2, kernel // 2, 1, 1], np.int32)
    code, floats = act_code(act), np.array([1e-5, 0.9], np.float32)
    first, = call("pointwise", [x, w1], half)
    y1, mean1, inverse1 = call("norm_train", [first, *affine1, *(m.copy() for m in moving), floats, code], half,
                               primary, primary)
    second, = call("depthwise", [y1, w2, constants], half)
    y2, mean2, inverse2 = call("norm_train", [second, *affine2, *(m.copy() for m in moving), floats, code], half,
                               primary, primary)
    moved = [m.copy() for m in moving + moving]
    maps, z1, z2, statistics = call(
        "module_train", [x, w1, *affine1, *moved[:2], w2, *affine2, *moved[2:], np.tile(floats, 2),
                         np.append(constants, code)], (batch, 2 * primary, height, width), half, half, (4, primary))
    for found, expected in ((maps, np.concatenate([y1, y2], 1)), (z1, first), (z2, second),
                            (statistics, np.stack([mean1, inverse1, mean2, inverse2]))):
        assert np.array_equal(found, expected)
    assert not np.array_equal(moved[0], moving[0]) and not np.array_equal(moved[2], moving[0])
    dmaps = numbers(*maps.shape)
    dsecond, dgamma2, dbeta2 = call("norm_backward", [second, *affine2, mean2, inverse2, dmaps[:, primary:], code],
                                    half, primary, primary)
    dy1, dw2 = call("depthwise_backward", [y1, w2, dsecond, constants], half, w2.shape)
    dfirst, dgamma1, dbeta1 = call("norm_backward", [first, *affine1, mean1, inverse1, dy1 + dmaps[:, :primary], code],
                                   half, primary, primary)
    dx, dw1 = call("pointwise_backward", [x, w1, dfirst], x.shape, w1.shape)
    found = call("module_backward", [x, w1, *affine1, w2, *affine2, z1, z2, statistics, maps, dmaps,
                                     np.append(constants, code)],
                 x.shape, w1.shape, primary, primary, w2.shape, primary, primary)
    for one, expected in zip(found, (dx, dw1, dgamma1, dbeta1, dw2, dgamma2, dbeta2)):
        near(one, expected, 1e-6)
    bias1, bias2 = numbers(primary), numbers(primary)
    y1, = call("pointwise_act", [x, w1, bias1, code], half)
    y2, = call("depthwise_act", [y1, w2, bias2, constants, code], half)
    maps, = call("module_fixed", [x, w1, bias1, w2, bias2, np.append(constants, code)], maps.shape)
    assert np.array_equal(maps, np.concatenate([y1, y2], 1))


def test_bits_do_not_depend_on_threads_or_repetition():
    rng = draw("threads")
    x = rng.standard_normal((5, 40, 14, 14)).astype(np.float32)
    w1 = rng.standard_normal((48, 40, 1, 1)).astype(np.float32)
    w2 = rng.standard_normal((40, 1, 3, 3)).astype(np.float32)
    dy1, dy2 = (rng.standard_normal((5, channels, 14, 14)).astype(np.float32) for channels in (48, 40))
    constants, floats = np.array([1, 1, 1, 1, 1, 1], np.int32), np.array([1e-5, 0.9], np.float32)
    ones, rows = np.ones(40, np.float32), rng.standard_normal((400, 64)).astype(np.float32)
    square, column = rng.standard_normal((64, 64)).astype(np.float32), np.ones(64, np.float32)

    def everything():
        yield from call("pointwise", [x, w1], dy1.shape)
        yield from call("pointwise_backward", [x, w1, dy1], x.shape, w1.shape)
        yield from call("depthwise", [x, w2, constants], x.shape)
        yield from call("depthwise_backward", [x, w2, dy2, constants], x.shape, w2.shape)
        yield from call("norm_train", [x, ones, ones, ones.copy(), ones.copy(), floats, act_code("relu")], x.shape, 40,
                        40)
        yield from call("norm_backward", [x, ones, ones, ones, ones, dy2, act_code("relu")], x.shape, 40, 40)
        yield from call("dense_backward", [rows, square, rows], rows.shape, square.shape, 64)
        yield from call("layer_norm_backward",
                        [rows, column, np.zeros(400, np.float32), np.ones(400, np.float32), rows], rows.shape, 64, 64)
        yield from call("gate_backward", [x, np.ones((5, 40, 1, 1), np.float32), dy2], x.shape, (5, 40, 1, 1))

    library = ctypes.CDLL(build.library())
    try:
        runs = []
        for threads in (1, 2, 3, 7, 2, 1):
            library.ghost_threads(threads)
            runs.append([value.tobytes() for value in everything()])
    finally:
        library.ghost_threads(kernel_threads())
    assert all(run == runs[0] for run in runs)


def test_two_kernels_at_once():
    """MindSpore's own threads call the library too: the second of two does without its threads."""
    import concurrent.futures

    library = ctypes.CDLL(build.library())
    library.ghost_threads(3)
    x = draw("at once").standard_normal((4, 32, 28, 28)).astype(np.float32)
    w, constants = np.ones((32, 1, 3, 3), np.float32), np.array([1, 1, 1, 1, 1, 1], np.int32)
    try:
        expected, = call("depthwise", [x, w, constants], x.shape)
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda _: call("depthwise", [x, w, constants], x.shape)[0], range(200)))
    finally:
        library.ghost_threads(kernel_threads())
    assert all(np.array_equal(one, expected) for one in found)


def test_an_unknown_activation_is_an_error():
    x = np.ones(4, np.float32)
    for name, inputs in (("act", [x, np.array([99], np.int32)]), ("act_backward", [x, x, np.array([-1], np.int32)])):
        with pytest.raises(AssertionError, match="returned 1"):
            call(name, inputs, x.shape)


def test_numbers_of_activations_are_those_of_the_sources():
    source = (build.SOURCES / "activation.hpp").read_text()
    names = source.split("enum class Act : int {")[1].split("}")[0].replace(" ", "").split(",")
    assert [name[1:].lower() for name in names] == list(ACTIVATIONS)


