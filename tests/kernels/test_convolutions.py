"""Every convolution of the library beside float64 NumPy: results and gradients, on odd sizes, small and large."""
import numpy as np
import pytest

from tests.kernels import native
from tests.kernels.native import act_code, call, draw, near

pytestmark = pytest.mark.usefixtures("cpu_kernels")

#: (batch, channels, height, width)
SHAPES = [(1, 1, 1, 1), (2, 1, 5, 3), (1, 3, 7, 7), (3, 17, 7, 7), (2, 40, 7, 9), (1, 16, 8, 10), (2, 33, 10, 6),
          (1, 5, 11, 11), (2, 4, 14, 14), (1, 3, 15, 17), (2, 2, 28, 31), (1, 8, 33, 16), (1, 2, 56, 57), (16, 8, 4, 4),
          (1, 32, 2, 13), (2, 9, 1, 20)]
KERNELS = [(3, 3), (5, 5), (7, 7), (1, 5), (5, 1), (1, 1), (9, 3)]
GEOMETRIES = [((1, 1), (1, 1)), ((2, 2), (1, 1)), ((1, 1), (2, 2)), ((2, 1), (1, 2))]


@pytest.mark.parametrize("kernel", KERNELS, ids=str)
@pytest.mark.parametrize("stride, dilation", GEOMETRIES, ids=str)
def test_depthwise(kernel, stride, dilation):
    for shape in SHAPES:
        rng = draw(kernel, stride, dilation, shape)
        x, w = rng.standard_normal(shape), rng.standard_normal((shape[1], 1, *kernel))
        half = [apart * (taps - 1) // 2 for taps, apart in zip(kernel, dilation)]
        # As networks have it, and lopsided, as TensorFlow does at stride 2.
        for padding in ((half[0],) * 2 + (half[1],) * 2, (half[0], half[0] + 1, max(half[1] - 1, 0), half[1] + 2)):
            reach = [extent + before + after - apart * (taps - 1) for extent, before, after, apart, taps in
                     zip(shape[2:], padding[::2], padding[1::2], dilation, kernel)]
            if min(reach) < 1:
                continue
            expected = native.convolution(x, w, stride, padding, dilation)[0]
            bias = rng.standard_normal(shape[1]).astype(np.float32)
            constants = np.array([*stride, padding[0], padding[2], *dilation], np.int32)
            x32, w32 = x.astype(np.float32), w.astype(np.float32)
            y, = call("depthwise", [x32, w32, constants], expected.shape)
            near(y, expected)
            y, = call("depthwise_bias", [x32, w32, bias, constants], expected.shape)
            near(y, expected + bias[:, None, None])
            y, = call("depthwise_act", [x32, w32, bias, constants, act_code("hswish")], expected.shape)
            near(y, native.FUNCTIONS["hswish"][0](expected + bias[:, None, None]))
            dy = rng.standard_normal(expected.shape).astype(np.float32)
            dx, dw = call("depthwise_backward", [x32, w32, dy, constants], shape, w.shape)
            expected_dx, expected_dw = native.convolution_gradients(x, w, dy, stride, padding, dilation)
            near(dx, expected_dx)
            near(dw, expected_dw, 1e-5)


#: (batch, in, out, height, width)
POINTWISE = [(1, 1, 1, 1, 1), (16, 960, 128, 1, 1), (2, 3, 5, 1, 1), (1, 16, 8, 33, 31), (3, 24, 72, 14, 14),
             (2, 7, 50, 7, 7), (1, 160, 49, 7, 7), (2, 600, 20, 5, 3), (1, 8, 13, 4, 4), (2, 31, 9, 12, 4),
             (1, 1030, 6, 2, 3), (4, 6, 40, 16, 16)]


@pytest.mark.parametrize("batch, inputs, outputs, height, width", POINTWISE)
def test_pointwise(batch, inputs, outputs, height, width):
    rng = draw(batch, inputs, outputs, height, width)
    x = rng.standard_normal((batch, inputs, height, width)).astype(np.float32)
    w = rng.standard_normal((outputs, inputs, 1, 1)).astype(np.float32)
    bias = rng.standard_normal(outputs).astype(np.float32)
    matrix = w[:, :, 0, 0].astype(np.float64)
    expected = np.einsum("oi,bihw->bohw", matrix, x)
    near(call("pointwise", [x, w], expected.shape)[0], expected, 5e-6)
    near(call("pointwise_bias", [x, w, bias], expected.shape)[0], expected + bias[:, None, None], 5e-6)
    near(call("pointwise_act", [x, w, bias, act_code("relu6")], expected.shape)[0],
         np.clip(expected + bias[:, None, None], 0, 6), 5e-5)
    dy = rng.standard_normal(expected.shape).astype(np.float32)
    dx, dw = call("pointwise_backward", [x, w, dy], x.shape, w.shape)
    near(dx, np.einsum("oi,bohw->bihw", matrix, dy), 5e-6)
    near(dw[:, :, 0, 0], np.einsum("bohw,bihw->oi", dy.astype(np.float64), x), 5e-6)


#: Batch, inputs, outputs, groups, (height, width), kernel, stride, padding, dilation.
CONVOLUTIONS = [
    (2, 10, 5, 5, (9, 14), (1, 7), (1, 1), (0, 0, 3, 3), (1, 1)),
    (3, 24, 8, 8, (7, 7), (3, 3), (1, 1), (1, 1, 1, 1), (1, 1)),
    (2, 6, 2, 2, (19, 18), (3, 3), (2, 2), (1, 1, 1, 1), (1, 1)),
    (1, 18, 9, 9, (12, 5), (7, 1), (2, 1), (3, 3, 0, 0), (2, 1)),
    (2, 3, 16, 1, (17, 19), (3, 3), (2, 2), (1, 1, 1, 1), (1, 1)),
    (1, 8, 12, 1, (9, 33), (3, 3), (1, 1), (1, 1, 1, 1), (1, 1)),
    (3, 5, 7, 1, (7, 7), (3, 3), (1, 1), (2, 2, 2, 2), (2, 2)),
    (2, 4, 6, 1, (16, 16), (4, 4), (4, 4), (0, 0, 0, 0), (1, 1)),
    (1, 3, 9, 1, (20, 21), (7, 7), (2, 2), (3, 3, 3, 3), (1, 1)),
    (2, 8, 16, 4, (6, 5), (1, 1), (1, 1), (0, 0, 0, 0), (1, 1)),
    (2, 12, 24, 3, (8, 8), (3, 3), (2, 1), (0, 1, 1, 2), (1, 1)),
    (1, 6, 5, 1, (5, 6), (1, 1), (2, 2), (0, 0, 0, 0), (1, 1)),
    (4, 1, 1, 1, (1, 1), (3, 3), (1, 1), (1, 1, 1, 1), (1, 1)),
    (2, 3, 8, 1, (64, 48), (3, 3), (1, 1), (1, 1, 1, 1), (1, 1)),
    (1, 40, 50, 1, (7, 7), (3, 3), (1, 1), (1, 1, 1, 1), (1, 1)),
    (2, 4, 4, 1, (3, 12), (1, 5), (1, 2), (0, 0, 2, 2), (1, 1))]


@pytest.mark.parametrize("batch, inputs, outputs, groups, size, kernel, stride, padding, dilation", CONVOLUTIONS)
def test_convolution(batch, inputs, outputs, groups, size, kernel, stride, padding, dilation):
    """As sums of depthwise ones, which are held to their own definition above."""
    rng = draw(batch, inputs, outputs, groups, size, kernel)
    x = rng.standard_normal((batch, inputs, *size)).astype(np.float32)
    w = rng.standard_normal((outputs, inputs // groups, *kernel)).astype(np.float32)
    bias = rng.standard_normal(outputs).astype(np.float32)

    def parts():
        """(output channel, its input channels, its filters) as a depthwise convolution over these."""
        for channel in range(outputs):
            first = channel // (outputs // groups) * (inputs // groups)
            yield channel, slice(first, first + inputs // groups), w[channel][:, None]

    expected = np.stack([native.convolution(x[:, taken], filters, stride, padding, dilation)[0].sum(1)
                         for _, taken, filters in parts()], 1)
    constants = np.array([*stride, padding[0], padding[2], *dilation, groups], np.int32)
    near(call("convolution", [x, w, constants], expected.shape)[0], expected, 5e-6)
    near(call("convolution_bias", [x, w, bias, constants], expected.shape)[0], expected + bias[:, None, None], 5e-6)
    near(call("convolution_act", [x, w, bias, constants, act_code("relu")], expected.shape)[0],
         np.maximum(expected + bias[:, None, None], 0), 5e-6)
    dy = rng.standard_normal(expected.shape).astype(np.float32)
    expected_dx, expected_dw = np.zeros(x.shape), np.zeros(w.shape)
    for channel, taken, filters in parts():
        each = np.repeat(dy[:, channel:channel + 1], inputs // groups, 1)
        by_x, by_w = native.convolution_gradients(x[:, taken], filters, each, stride, padding, dilation)
        expected_dx[:, taken] += by_x
        expected_dw[channel] = by_w[:, 0]
    near(call("convolution_input_gradient", [x, w, dy, constants], x.shape)[0], expected_dx, 5e-6)
    near(call("convolution_weight_gradient", [x, w, dy, constants], w.shape)[0], expected_dw, 1e-5)
    if groups == outputs:
        # The same by the operator for filters of one channel's result.
        constants = constants[:6]
        near(call("depthwise", [x, w, constants], expected.shape)[0], expected, 5e-6)
        near(call("depthwise_act", [x, w, bias, constants, act_code("relu")], expected.shape)[0],
             np.maximum(expected + bias[:, None, None], 0), 5e-6)
        dx, dw = call("depthwise_backward", [x, w, dy, constants], x.shape, w.shape)
        near(dx, expected_dx, 5e-6)
        near(dw, expected_dw, 1e-5)
