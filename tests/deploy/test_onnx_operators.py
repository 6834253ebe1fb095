"""Every entry of the table of operators: a tiny cell, exported, run in ONNX Runtime, compared with MindSpore."""
import collections

import mindspore as ms
import numpy as np
import pytest
from mindspore import Parameter, Tensor, mint, nn, ops

from ghost_ms.deploy.onnx.operators import OPERATORS
from ghost_ms.deploy.onnx.translate import to_onnx
from ghost_ms.graph.mindir_graph import count_operations
from ghost_ms.layers import DynamicConv2d, SingleGroupNorm, upsample_nearest
from ghost_ms.layers.graph import DynamicGraphConv
from ghost_ms.layers.resize import resize_bilinear

onnxruntime = pytest.importorskip("onnxruntime", reason="needs onnx and onnxruntime")


class Case(nn.Cell):
    """A cell whose parameters, in evaluation mode, are not the zeros and ones they start as."""


class Elementwise(Case):
    def construct(self, x):
        y = ops.exp(-ops.abs(x)) + ops.sin(x) * ops.cos(x) - ops.floor(x) + ops.log(ops.sqrt(x * x + 1.0))
        return ops.tanh(y) / (ops.pow(x, 2) + 2.0) + ops.erf(x) + ops.neg(x)


class Comparisons(Case):
    def construct(self, x):
        y = ops.maximum(x, 0.1) + ops.minimum(x, 0.3)
        inside = ops.logical_and(ops.greater(x, 0.2), ops.less(x, 0.9))
        y = ops.select(ops.logical_or(inside, x > 1.5), y, x)
        quiet = ops.logical_not(ops.greater_equal(x, 0.5)).astype(ms.float32)
        return y * quiet + ops.less_equal(x, 0.0).astype(ms.float32) + ops.equal(x, x).astype(ms.float32)


class Activations(Case):
    def __init__(self):
        super().__init__()
        self.body = nn.SequentialCell(nn.ReLU6(), nn.SiLU(), nn.HSwish(), nn.HSigmoid(), nn.Sigmoid(), nn.GELU())

    def construct(self, x):
        return ops.relu(self.body(4 * x) - 0.6)


class Gelu(Case):
    """Also of a sum, whose Add is not the one behind Erf."""

    def __init__(self):
        super().__init__()
        self.act = nn.GELU(approximate=False)

    def construct(self, x):
        return self.act(self.act(x) + x)


class Convolutions(Case):
    """All padding modes, unequal padding, groups, strides, dilation; with and without bias."""

    def __init__(self):
        super().__init__()
        self.body = nn.SequentialCell(
            nn.Conv2d(4, 6, (3, 2), (1, 2), pad_mode="pad", padding=(0, 2, 1, 3), has_bias=True),
            nn.Conv2d(6, 6, 3, 2, pad_mode="same", group=6), nn.Conv2d(6, 4, 2, pad_mode="valid", group=2),
            nn.Conv2d(4, 5, 3, pad_mode="pad", padding=2, dilation=2))

    def construct(self, x):
        return self.body(x)


class Pools(Case):
    def __init__(self):
        super().__init__()
        self.same, self.valid = nn.MaxPool2d(3, 2, pad_mode="same"), nn.MaxPool2d(2, 2)
        self.mean_same, self.mean = nn.AvgPool2d(3, 2, pad_mode="same"), nn.AvgPool2d(2, 2)

    def construct(self, x):
        return self.same(x) + self.mean_same(x) + self.valid(x) * self.mean(x)


class PaddedPool(Case):
    """Zeros may become the pool's own padding only where no value is negative."""

    def __init__(self, rectified: bool):
        super().__init__()
        self.pad = ops.Pad(((0, 0), (0, 0), (1, 1), (1, 1)))
        self.act = nn.ReLU() if rectified else nn.Identity()
        self.pool = nn.MaxPool2d(3, 2)

    def construct(self, x):
        return self.pool(self.pad(self.act(x - 3.0)))


class Norms(Case):
    def __init__(self):
        super().__init__()
        self.batch, self.layer = nn.BatchNorm2d(4), nn.LayerNorm((6,), epsilon=1e-5)
        self.group, self.single = nn.GroupNorm(2, 4), SingleGroupNorm(4)
        self.single.as_primitive = True

    def construct(self, x):
        return self.layer(self.batch(x)) + self.group(x) * self.single(x)


class BatchNorms(Case):
    """After a convolution and after a concatenation of convolutions they vanish; before one they stay."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.third = (nn.Conv2d(4, 3, 3, has_bias=bias) for bias in (True, False, True))
        self.alone, self.joint, self.kept = nn.BatchNorm2d(3), nn.BatchNorm2d(6), nn.BatchNorm2d(4)

    def construct(self, x):
        x = self.kept(ops.relu(x))
        alone = self.alone(self.third(x))
        return self.joint(ops.cat((self.first(x), self.second(x)), 1)) + ops.tile(alone, (1, 2, 1, 1))


class Products(Case):
    """Dense on the last axis of four, batched products with a transposed side, a product with a constant."""

    def __init__(self):
        super().__init__()
        self.dense, self.head = nn.Dense(6, 5), nn.Dense(5, 3, has_bias=False)
        self.turned, self.plain = ops.BatchMatMul(transpose_b=True), ops.BatchMatMul()
        self.table = Parameter(Tensor(np.random.default_rng(3).standard_normal((3, 2)), ms.float32))

    def construct(self, x):
        y = ops.softmax(self.turned(x, x), -1)
        return ops.matmul(self.head(ops.relu(self.dense(self.plain(y, x)))), self.table)


class Classifier(Case):
    def __init__(self):
        super().__init__()
        self.dense = nn.Dense(4, 3)

    def construct(self, x):
        return self.dense(x.mean((2, 3)))


class Reductions(Case):
    def construct(self, x):
        y = x.sum(1, keepdims=True) + ops.ReduceMax(True)(x, 3) - ops.ReduceMin(True)(x, 2)
        return y * x.mean((2, 3), keep_dims=True) + ops.ReduceSum(True)(x, (1, 2)) + mint.mean(x, 3, True)


class Shapes(Case):
    """Flatten, insert and drop axes, turn, cut with steps and from the end, split, join, repeat."""

    def construct(self, x):
        parts = ops.split(x.transpose(0, 2, 3, 1), 3, 2)
        y = ops.cat((parts[0], ops.tile(parts[1][:, ::2], (1, 2, 1, 1))), -1).expand_dims(1).squeeze(1)
        y = ops.tile(y, (1, 1, 2, 1))[:, 1:, -3:, 2]
        return y.flatten(start_dim=1) + ops.narrow(x, 2, 1, 5).reshape(-1, 120)[:, :15]


class Selections(Case):
    """The three largest, values found by index, a running sum, zeros."""

    def construct(self, x):
        values, index = ops.topk(x.reshape(-1, 24, 6), 3, 2, True, True)
        columns = ops.gather(values, Tensor([2, 0], ms.int32), 2)
        start = ops.CumSum(exclusive=True)(ops.zeros_like(index[:, :1, :1]) + 24, 0)
        rows = ops.gather(values.reshape(-1, 3), (index[:, :, 0] * 2 + start[:, :, 0]).reshape(-1), 0)
        return columns.sum(2) + rows.reshape(-1, 24, 3).sum(2)


class ClassToken(Case):
    def __init__(self):
        super().__init__()
        self.token = Parameter(Tensor(np.random.default_rng(4).standard_normal((1, 1, 6)), ms.float32))

    def construct(self, x):
        x = x.reshape(-1, 24, 6)
        return ops.cat((ops.broadcast_to(self.token, (x.shape[0], 1, 6)), x), 1)


class Upsample(Case):
    def construct(self, x):
        return upsample_nearest(x, (12, 18))


class Enlarged(Case):
    """Maps of other sizes, up, down and to what is no multiple; then the class of each pixel."""

    def construct(self, x):
        x = resize_bilinear(resize_bilinear(resize_bilinear(x, (13, 17)), (5, 9)), (12, 18))
        return ops.cat((x, x.argmax(1).expand_dims(1).astype(ms.float32)), 1)


class DynamicKernels(Case):
    def __init__(self):
        super().__init__()
        self.body = nn.SequentialCell(DynamicConv2d(4, 8), DynamicConv2d(8, 8, 3, 2, groups=8), DynamicConv2d(8, 4, 3))

    def construct(self, x):
        return self.body(x)


class Neighbours(Case):
    def __init__(self):
        super().__init__()
        self.conv = DynamicGraphConv(4, 3, 2)

    def construct(self, x):
        return self.conv(x)


#: Cell, whether it also runs with an open batch, primitives that it must hold, node counts that the file must have.
CASES = [
    (Elementwise, True, "Abs Add Cos Div Erf Exp Floor Log Mul Neg Pow Sin Sqrt Sub Tanh", {"Erf": 1}),
    (Comparisons, False, "Cast Equal Greater GreaterEqual Less LessEqual LogicalAnd LogicalNot LogicalOr "
     "Maximum Minimum Select", {}),
    (Activations, False, "ReLU ReLU6 SiLU HSwish HSigmoid Sigmoid GeLU", {"HardSwish": 1, "HardSigmoid": 1, "Gelu": 1}),
    (Gelu, True, "Erf", {"Gelu": 2, "Add": 1, "Erf": 0}),
    (Convolutions, True, "Conv2D BiasAdd", {"Conv": 4, "Add": 0, "Pad": 0}),
    (Pools, False, "MaxPool AvgPool", {}),
    (lambda: PaddedPool(True), True, "Pad MaxPool", {"Pad": 0, "MaxPool": 1}),
    (lambda: PaddedPool(False), False, "Pad MaxPool", {"Pad": 1, "MaxPool": 1}),
    (Norms, True, "BatchNorm LayerNorm GroupNorm", {"LayerNormalization": 1, "InstanceNormalization": 2}),
    (BatchNorms, False, "BatchNorm Concat Tile", {"BatchNormalization": 1, "Conv": 3}),
    (Products, True, "MatMul BatchMatMul MatMulExt BiasAdd Softmax", {"Transpose": 1, "Reshape": 0}),
    (Classifier, True, "ReduceMean MatMul", {"Gemm": 1, "ReduceMean": 1}),
    (Reductions, True, "SumExt ReduceMax ReduceMin ReduceMean ReduceSum MeanExt", {"GlobalAveragePool": 1}),
    (Shapes, True, "Reshape Transpose ExpandDims Squeeze Split StridedSlice Concat Tile Flatten Slice", {}),
    (Selections, True, "TopK Gather CumSum ZerosLike", {"TopK": 1}),
    (ClassToken, True, "BroadcastTo", {}),
    (Upsample, True, "Gather MatMulExt", {"Resize": 1, "MatMul": 0}),
    (Enlarged, True, "ResizeBilinearV2 Argmax", {"Resize": 3, "ArgMax": 1}),
    (DynamicKernels, True, "Conv2D", {}),
    (Neighbours, True, "TopK", {"TopK": 1}),
]


def export(net, folder, batch):
    """(MINDIR, ONNX model) of a cell that takes (batch, 4, 6, 6); batch None leaves it open."""
    ms.set_context(mode=ms.GRAPH_MODE)
    path = str(folder / "net.mindir")
    ms.export(net, Tensor(shape=[batch, 4, 6, 6], dtype=ms.float32), file_name=path, file_format="MINDIR")
    ms.set_context(mode=ms.PYNATIVE_MODE)
    return path, to_onnx(path, ["image"], ["logits"])


def run(model, x):
    options = onnxruntime.SessionOptions()
    # Its optimiser merges zeros around a map into maximum pooling, also where all values are negative.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(model.SerializeToString(), options).run(None, {"image": x})[0]


def images(batch):
    return np.random.default_rng(2).standard_normal((batch, 4, 6, 6)).astype(np.float32)


def perturb(net):
    draw = np.random.default_rng(5)
    for parameter in net.get_parameters():
        if parameter.dtype == ms.float32 and parameter.ndim == 1:
            parameter.set_data(Tensor(draw.uniform(0.5, 1.5, parameter.shape), ms.float32))
    return net.set_train(False)


@pytest.mark.parametrize("make, opens, primitives, nodes", CASES, ids=lambda value: getattr(value, "__name__", ""))
def test_operators(make, opens, primitives, nodes, tmp_path):
    found = set()
    for batch in (2, None)[:1 + opens]:
        net = perturb(make())
        for _, cell in net.cells_and_names():
            if hasattr(cell, "open_batch"):
                cell.open_batch = batch is None
        path, model = export(net, tmp_path, batch)
        found |= set(count_operations(path))
        counts = collections.Counter(node.op_type for node in model.graph.node)
        assert {kind: counts[kind] for kind in nodes} == nodes
        for size in (2,) if batch else (1, 3):
            expected = net(Tensor(images(size))).asnumpy()
            np.testing.assert_allclose(run(model, images(size)), expected, atol=2e-5 * np.abs(expected).max())
    assert set(primitives.split()) <= found


def test_every_operator_of_the_table_has_a_case():
    assert set(OPERATORS) == {name for case in CASES for name in case[2].split()} | {"Muls", "RealDiv"}


def test_initialisers_carry_the_names_of_the_parameters(tmp_path):
    _, model = export(Classifier(), tmp_path, 1)
    assert {"dense.weight", "dense.bias"} <= {tensor.name for tensor in model.graph.initializer}
    weight = next(tensor for tensor in model.graph.initializer if tensor.name == "dense.weight")
    assert list(weight.dims) == [3, 4]
    assert [value.name for value in model.graph.input] == ["image"]
    assert [value.name for value in model.graph.output] == ["logits"]


class Unknown(nn.Cell):
    def construct(self, x):
        return ops.atan2(x, x + 2.0)


def test_an_unknown_primitive_is_named_with_its_place(tmp_path):
    with pytest.raises(ValueError, match="'Atan2' at .*Atan2.* has no translation to ONNX"):
        export(nn.SequentialCell(Unknown()), tmp_path, 1)


class Fork(nn.Cell):
    def construct(self, x):
        if x.sum() > 0:
            return x + 1.0
        return x * 2.0


def test_control_flow_is_refused(tmp_path):
    with pytest.raises(ValueError, match="branches on values"):
        export(Fork(), tmp_path, 1)
