"""GroupNorm with one group, in operations that are quick on CPU and that every exporter knows."""
from mindspore import Tensor, nn, ops


class SingleGroupNorm(nn.GroupNorm):
    """Normalise each sample over all of its channels and positions (arXiv 1803.08494, one group).

    (B, C, H, W) -> same shape. Parameters and results are those of `nn.GroupNorm(1, channels)`. With `as_primitive`,
    which export to ONNX sets, it is that primitive: one node there, but several times slower in MindSpore on CPU.
    """

    as_primitive = False

    def __init__(self, channels: int, epsilon: float = 1e-5):
        super().__init__(1, channels, eps=epsilon)
        self.channels = channels
        self.epsilon = epsilon

    def construct(self, x: Tensor) -> Tensor:
        if self.as_primitive:
            return super().construct(x)
        height, width = x.shape[2:]
        # Tables of two axes: broadcasting and reducing over more is several times slower on CPU. The mean goes by
        # channels, because one float32 sum over a whole sample loses two digits.
        samples = x.reshape(-1, self.channels * height * width)
        mean = self._mean(samples, height * width)
        centred = samples - mean
        variance = self._mean(centred * centred, height * width)
        scale = self.gamma.reshape(1, -1) / ops.sqrt(variance + self.epsilon)
        shift = self.beta.reshape(1, -1) - mean * scale
        rows = x.reshape(-1, height * width)
        return (rows * scale.reshape(-1, 1) + shift.reshape(-1, 1)).reshape(-1, self.channels, height, width)

    def _mean(self, samples: Tensor, positions: int) -> Tensor:
        return samples.reshape(-1, positions).mean(1).reshape(-1, self.channels).mean(1, keep_dims=True)
