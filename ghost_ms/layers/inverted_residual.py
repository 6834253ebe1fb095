"""Inverted residual blocks of the MobileNet and EfficientNet families, named as timm names them."""
from typing import Callable, Type

from mindspore import Tensor, nn

from ghost_ms.layers.conv import conv2d
from ghost_ms.layers.drop import DropPath


def same_conv2d(in_channels: int, out_channels: int, kernel_size: int = 1, stride: int = 1,
                groups: int = 1) -> nn.Conv2d:
    """Bias-free convolution with TensorFlow's SAME padding: output ceil(size / stride), the odd pixel at the far end.

    Strided and on an even size it pads the bottom and the right only, unlike `conv2d`.
    """
    return nn.Conv2d(in_channels, out_channels, kernel_size, stride, pad_mode="same", group=groups, has_bias=False)


class ConvBnAct(nn.Cell):
    """1x1 convolution, BatchNorm, activation: (B, in_channels, H, W) -> (B, out_channels, H, W)."""

    folds = (("conv", "bn1"),)
    acts = (("bn1", "act1"),)

    def __init__(self, in_channels: int, out_channels: int, act: Type[nn.Cell] = nn.ReLU, conv: Callable = conv2d):
        super().__init__()
        self.conv = conv(in_channels, out_channels)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.act1 = act()

    def construct(self, x: Tensor) -> Tensor:
        return self.act1(self.bn1(self.conv(x)))


class DepthwiseSeparable(nn.Cell):
    """Inverted residual without expansion (MobileNetV2, arXiv 1801.04381, section 3.3; t = 1 of table 2).

    (B, in_channels, H, W) -> (B, out_channels, ceil(H / stride), ceil(W / stride)). The input is added where the
    shape allows it; nothing follows the projection.

    Args:
        se: cell between depthwise convolution and projection, on `in_channels`; None for none.
        act: class of the activation.
        conv: `conv2d` for PyTorch's padding, `same_conv2d` for TensorFlow's.
        epsilon: of the BatchNorms.
        drop_path: rate of stochastic depth on the branch that the input is added to.
    """

    folds = (("conv_dw", "bn1"), ("conv_pw", "bn2"))
    acts = (("bn1", "act1"),)

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, stride: int = 1, se: nn.Cell = None,
                 act: Type[nn.Cell] = nn.ReLU, conv: Callable = conv2d, epsilon: float = 1e-5, drop_path: float = 0.0):
        super().__init__()
        self.residual = stride == 1 and in_channels == out_channels
        self.conv_dw = conv(in_channels, in_channels, kernel_size, stride, groups=in_channels)
        self.bn1 = nn.BatchNorm2d(in_channels, eps=epsilon)
        self.act1 = act()
        self.se = nn.Identity() if se is None else se
        self.conv_pw = conv(in_channels, out_channels)
        self.bn2 = nn.BatchNorm2d(out_channels, eps=epsilon)
        self.drop_path = DropPath(drop_path)

    def construct(self, x: Tensor) -> Tensor:
        y = self.se(self.act1(self.bn1(self.conv_dw(x))))
        y = self.bn2(self.conv_pw(y))
        return self.drop_path(y) + x if self.residual else y


class InvertedResidual(nn.Cell):
    """Inverted residual: expand, filter, gate, project (MobileNetV2, arXiv 1801.04381; gate: 1905.02244).

    Shapes and arguments are those of `DepthwiseSeparable`; `hidden` is the number of expanded channels, and `se` acts
    on these.
    """

    folds = (("conv_pw", "bn1"), ("conv_dw", "bn2"), ("conv_pwl", "bn3"))
    acts = (("bn1", "act1"), ("bn2", "act2"))

    def __init__(self, in_channels: int, hidden: int, out_channels: int, kernel_size: int, stride: int = 1,
                 se: nn.Cell = None, act: Type[nn.Cell] = nn.ReLU, conv: Callable = conv2d, epsilon: float = 1e-5,
                 drop_path: float = 0.0):
        super().__init__()
        self.residual = stride == 1 and in_channels == out_channels
        self.conv_pw = conv(in_channels, hidden)
        self.bn1 = nn.BatchNorm2d(hidden, eps=epsilon)
        self.act1 = act()
        self.conv_dw = conv(hidden, hidden, kernel_size, stride, groups=hidden)
        self.bn2 = nn.BatchNorm2d(hidden, eps=epsilon)
        self.act2 = act()
        self.se = nn.Identity() if se is None else se
        self.conv_pwl = conv(hidden, out_channels)
        self.bn3 = nn.BatchNorm2d(out_channels, eps=epsilon)
        self.drop_path = DropPath(drop_path)

    def expand(self, x: Tensor) -> Tensor:
        """The first part: (B, in_channels, H, W) -> (B, hidden, H, W)."""
        return self.act1(self.bn1(self.conv_pw(x)))

    def project(self, x: Tensor) -> Tensor:
        """The rest, without what is added: (B, hidden, H, W) -> (B, out_channels, H / stride, W / stride)."""
        return self.bn3(self.conv_pwl(self.se(self.act2(self.bn2(self.conv_dw(x))))))

    def construct(self, x: Tensor) -> Tensor:
        y = self.project(self.expand(x))
        return self.drop_path(y) + x if self.residual else y
