"""A group of parameters as one vector, so that an update is a few operators and not a few for every parameter.

MindSpore compiles an operator in milliseconds and a network has hundreds of parameters: an update rule of twenty
operators, written out for each, takes longer to compile than forward and backward together, and each of those
operators costs a launch in every step.
"""
from typing import Sequence, Tuple

import mindspore as ms
from mindspore import Parameter, ParameterTuple, Tensor, nn, ops
from mindspore.ops.auto_generate import SplitWithSize

#: Outputs of a split. In one split of everything each output's type lists all others: quadratic in their number.
CHUNK = 16

_reshape, _shape, _subtract = ops.Reshape(), ops.Shape(), ops.AssignSub()
_slice = ops.Slice()
_multiply, _sum = ops.Mul(), ops.ReduceSum(keep_dims=True)
# Maps, with primitives inside: a loop in `construct` and the operators of Python both cost more to compile.
as_vector, _apply, _row_sum = (ops.MultitypeFuncGraph(name) for name in ("as_vector", "apply", "row_sum"))


@as_vector.register("Tensor")
def _as_vector(tensor):
    return _reshape(tensor, (-1,))


@_apply.register("Tensor", "Tensor")
def _apply_move(parameter, move):
    return _subtract(parameter, _reshape(move, _shape(parameter)))


@_apply.register("Tensor", "Tensor", "Tensor")
def _apply_scaled_move(parameter, move, scale):
    return _subtract(parameter, _reshape(_multiply(move, scale), _shape(parameter)))


@_row_sum.register("Tensor")
def _sum_of_rows(matrix):
    return _sum(matrix, (1,))


def can_split() -> bool:
    """Whether this MindSpore cuts a vector by one operator on this device: 2.7 does not on CPU."""
    version = tuple(int(part) for part in ms.__version__.split(".")[:2])
    return version >= (2, 8) or ms.get_context("device_target") != "CPU"


class Group(nn.Cell):
    """Parameters that share learning rate and weight decay.

    Args:
        parameters: float32, of any shapes; together N numbers in K tensors.
    """

    def __init__(self, parameters: Sequence[Parameter]):
        super().__init__(auto_prefix=False)
        self.parameters, self.map = ParameterTuple(parameters), ops.HyperMap()
        self.concat, self.concat_columns, self.split = ops.Concat(0), ops.Concat(1), SplitWithSize()
        self.splits = can_split()
        sizes = [parameter.size for parameter in parameters]
        self.length, starts = sum(sizes), range(0, len(sizes), CHUNK)
        self.chunks = tuple(ParameterTuple(parameters[start:start + CHUNK]) for start in starts)
        self.sizes = tuple(tuple(sizes[start:start + CHUNK]) for start in starts)
        self.chunk_sizes = tuple(sum(chunk) for chunk in self.sizes)
        self.counts = tuple(len(chunk) for chunk in self.sizes)
        self.ones = tuple((1,) * count for count in self.counts)

    def parts(self, tensor: Tensor, sizes: Tuple[int, ...], axis: int) -> Tuple[Tensor, ...]:
        """Cut an axis into pieces; one piece is no cut, of which MindSpore would warn."""
        if len(sizes) == 1:
            return (tensor,)
        if self.splits:
            return self.split(tensor, sizes, axis)
        pieces, start = (), 0
        for size in sizes:
            at, extent = ((0, start), (tensor.shape[0], size)) if axis == 1 else ((start,), (size,))
            pieces += (_slice(tensor, at, extent),)
            start += size
        return pieces

    def flat(self, tensors) -> Tensor:
        """Tensors of the parameters' shapes, such as their gradients, as one vector (N,)."""
        return self.concat(self.map(as_vector, tensors))

    def weights(self) -> Tensor:
        """The parameters' values, (N,)."""
        return self.flat(self.parameters)

    def subtract(self, moves: Tensor):
        """Subtract a vector (N,) from the parameters."""
        done, pieces = (), self.parts(moves, self.chunk_sizes, 0)
        for index in range(len(self.chunks)):
            done += (self.map(_apply, self.chunks[index], self.parts(pieces[index], self.sizes[index], 0)),)
        return done

    def subtract_scaled(self, moves: Tensor, scales: Tensor):
        """Subtract a vector (N,) from the parameters, the part of each times its own of the scales (K,)."""
        done, pieces, factors = (), self.parts(moves, self.chunk_sizes, 0), self.parts(scales, self.counts, 0)
        for index in range(len(self.chunks)):
            done += (self.map(_apply, self.chunks[index], self.parts(pieces[index], self.sizes[index], 0),
                              self.parts(factors[index], self.ones[index], 0)),)
        return done

    def square_lengths(self, vectors: Tensor) -> Tensor:
        """Squared length of the part of each parameter, (R, N) -> (R, K)."""
        lengths, pieces = (), self.parts(vectors * vectors, self.chunk_sizes, 1)
        for index in range(len(self.chunks)):
            # `ops.L2Loss` is one operator for all of this, but wrong in the fourth digit for a million entries.
            lengths += self.map(_row_sum, self.parts(pieces[index], self.sizes[index], 1))
        return self.concat_columns(lengths)
