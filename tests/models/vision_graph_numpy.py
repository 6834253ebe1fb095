"""ViG-Ti and Pyramid ViG-Ti in plain float64 NumPy: each step as its definition says, nothing shared with the package.

Graphs are chosen by comparing distances, so that two candidates that are equally near to 1e-8 come out in either order
in float32, and the logits then differ visibly. This reference equals the stored logits to 1e-10, and tells the choices.
"""
import numpy as np
from scipy.special import erf

from tests.golden import image


def _gelu(x):
    return x * 0.5 * (1 + erf(x / np.sqrt(2)))


def _cubic(t):
    t = abs(t)
    if t <= 1:
        return 1.25 * t ** 3 - 2.25 * t ** 2 + 1
    return -0.75 * (t ** 3 - 5 * t ** 2 + 8 * t - 4) if t < 2 else 0.0


def bicubic(row, length):
    """Resample the last axis of `row`, sample by sample, without antialiasing or aligned corners."""
    source = row.shape[-1]
    out = np.zeros(row.shape[:-1] + (length,))
    for target in range(length):
        centre = (target + 0.5) * source / length - 0.5
        for tap in range(int(np.floor(centre)) - 1, int(np.floor(centre)) + 3):
            out[..., target] += _cubic(centre - tap) * row[..., min(max(tap, 0), source - 1)]
    return out


def relative_positions(channels, side, pool):
    """The published rule: -2 P P^T / C for P the 2-D sine-cosine table, columns resampled as one flat axis."""
    table = np.zeros((side * side, channels))
    half, quarter = channels // 2, channels // 4
    for row in range(side):
        for column in range(side):
            for start, coordinate in ((0, column), (half, row)):
                for i in range(quarter):
                    angle = coordinate / 10000 ** (i / quarter)
                    table[row * side + column, start + i] = np.sin(angle)
                    table[row * side + column, start + quarter + i] = np.cos(angle)
    product = 2 * table @ table.T / channels
    return -(product if pool == 1 else bicubic(product, (side // pool) ** 2))


class Reference:
    """Run `logits(shape)` once; `choices` then holds (distances, indices) of every graph, in order."""

    def __init__(self, state):
        self.state = {name: np.asarray(value, np.float64) for name, value in state.items()}
        self.choices = []

    def _conv(self, x, name, stride=1, groups=1):
        weight = self.state[f"{name}.weight"]
        kernel = weight.shape[2]
        x = np.pad(x, ((0, 0), (0, 0)) + ((kernel // 2,) * 2,) * 2)
        height, width = ((extent - kernel) // stride + 1 for extent in x.shape[2:])
        out = 0
        for i in range(kernel):
            for j in range(kernel):
                view = x[:, :, i:i + stride * (height - 1) + 1:stride, j:j + stride * (width - 1) + 1:stride]
                view = view.reshape(x.shape[0], groups, -1, height * width)
                out = out + weight[:, :, i, j].reshape(groups, weight.shape[0] // groups, -1) @ view
        return out.reshape(x.shape[0], -1, height, width) + self.state[f"{name}.bias"].reshape(-1, 1, 1)

    def _norm(self, x, name):
        mean, variance, scale, shift = (self.state[f"{name}.{leaf}"].reshape(-1, 1, 1)
                                        for leaf in ("running_mean", "running_var", "weight", "bias"))
        return (x - mean) / np.sqrt(variance + 1e-5) * scale + shift

    def _linear(self, x, name, **kwargs):
        return self._norm(self._conv(x, f"{name}.0", **kwargs), f"{name}.1")

    def _graph(self, x, name, k, dilation, pool, positions):
        batch, channels, height, width = x.shape
        y = x.reshape(batch, channels, height // pool, pool, width // pool, pool).mean((3, 5))
        nodes, others = x.reshape(batch, channels, -1), y.reshape(batch, channels, -1)
        a, b = (z / np.sqrt((z * z).sum(1, keepdims=True)) for z in (nodes, others))
        distances = 2 - 2 * a.transpose(0, 2, 1) @ b + positions
        index = np.argsort(distances, 2, kind="stable")[:, :, :k * dilation:dilation]
        self.choices.append((distances, index))
        relative = np.stack([z[:, i].max(2) for z, i in zip(others, index)]) - nodes
        both = np.zeros((batch, 2 * channels, height * width))
        both[:, 0::2], both[:, 1::2] = nodes, relative
        return _gelu(self._linear(both.reshape(batch, -1, height, width), f"{name}.graph_conv.gconv.nn", groups=4))

    def _block(self, x, index, k, dilation, pool, positions):
        first, second = f"backbone.{index}.0", f"backbone.{index}.1"
        graph = self._graph(self._linear(x, f"{first}.fc1"), first, k, dilation, pool, positions)
        x = x + self._linear(graph, f"{first}.fc2")
        return x + self._linear(_gelu(self._linear(x, f"{second}.fc1")), f"{second}.fc2")

    def _stem(self, shape, strides):
        x = image(shape).astype(np.float64)
        for index, stride in enumerate(strides):
            x = x if index == 0 else _gelu(x)
            x = self._norm(self._conv(x, f"stem.convs.{3 * index}", stride), f"stem.convs.{3 * index + 1}")
        return x + self.state["pos_embed"]

    def _head(self, x):
        x = x.mean((2, 3), keepdims=True)
        return self._conv(_gelu(self._linear(x, "prediction")), "prediction.4")[:, :, 0, 0]

    def vig_ti(self, shape):
        x = self._stem(shape, (2, 2, 2, 2, 1))
        for index, k in enumerate((9, 9, 10, 11, 12, 13, 13, 14, 15, 16, 17, 18)):
            x = self._block(x, index, k, index // 4 + 1, 1, 0.0)
        return self._head(x)

    def pvig_ti(self, shape):
        x, position = self._stem(shape, (2, 2, 1)), 0
        stages = ((56, 4, (1, 1)), (28, 2, (1, 1)), (14, 1, (2, 2, 2, 2, 3, 3)), (7, 1, (3, 3)))
        for side, pool, dilations in stages:
            if position > 0:
                x = self._linear(x, f"backbone.{position}.conv", stride=2)
                position += 1
            # Stored in float32, as every entry of the released state.
            table = relative_positions(x.shape[1], side, pool).astype(np.float32)
            for dilation in dilations:
                x = self._block(x, position, 9, dilation, pool, table)
                position += 1
        return self._head(x)
