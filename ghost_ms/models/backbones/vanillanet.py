"""VanillaNet: the Power of Minimalism in Deep Learning (NeurIPS 2023, arXiv 2305.12972).

Source of the released networks: huawei-noah/VanillaNet, models/vanillanet.py (MIT).
While training, each layer is two convolutions with a leaky ReLU between them whose slope goes from 0 to 1
(`set_activation_slope`); at 1 it is linear, and `reparameterize()` merges the pair into one convolution.
Differences: the slope can change without a new graph, the adaptive pools halve maps of any size (at 224 pixels they
are the published 38, 19 and 10), and `drop_path_rate` is accepted but has nothing to act on: no layer has a shortcut.
"""
import itertools
import math
from typing import Any, Dict, Mapping, Optional, Tuple

import mindspore as ms
from mindspore import Parameter, Tensor, nn, ops
from mindspore.common.initializer import Normal, initializer

from ghost_ms.layers.conv import conv2d, depthwise_conv2d
from ghost_ms.layers.reparam import Branch, biased_conv, chain_pointwise, fold_batch_norm, fuse_branches
from ghost_ms.models.backbone import Backbone, FeatureInfo, Layers, layers_of
from ghost_ms.models.registry import ModelCard, register

EPSILON = 1e-6
#: A compiled graph wants a name of its own for every parameter; slopes of two networks may meet in one.
_SERIAL = itertools.count()


def norm(channels: int) -> nn.BatchNorm2d:
    """BatchNorm with the epsilon of this family."""
    return nn.BatchNorm2d(channels, eps=EPSILON)


class SeriesActivation(nn.Cell):
    """Series-informed activation (section 3.2, equation 6): ReLU, depthwise 7x7, BatchNorm, on (B, C, H, W).

    The kernel of 7 is 2 * 3 + 1, for the 3 terms of the series that the paper's networks have.
    """

    folds = (("conv", "bn"),)

    def __init__(self, channels: int, deploy: bool = False):
        super().__init__()
        self.relu = nn.ReLU()
        self.conv = depthwise_conv2d(channels, 7, bias=deploy)
        self.bn = nn.Identity() if deploy else norm(channels)

    def construct(self, x: Tensor) -> Tensor:
        return self.bn(self.conv(self.relu(x)))

    def fuse(self) -> "SeriesActivation":
        if isinstance(self.bn, nn.BatchNorm2d):
            self.conv, self.bn = fuse_branches([Branch(self.conv, self.bn)]), nn.Identity()
        return self


def slope_of(epoch: int, epochs: float, schedule: str) -> float:
    """Slope in an epoch, counted from 0, of activations that become linear (section 3.1, equation 1): it grows from 0
    to 1 over `epochs`, linear, or as half a cosine."""
    share = min(epoch / epochs, 1.0)
    return share if schedule == "linear" else (1 - math.cos(math.pi * share)) / 2


class DeepConv(nn.Cell):
    """Two convolutions that become one (section 3.1): (B, in, H, W) -> (B, out, H / stride, W / stride).

    conv1 (the geometry), BatchNorm, leaky ReLU of the slope that is being learned away, conv2 (1x1), BatchNorm. The
    slope is None, for linear, until `VanillaNet.set_activation_slope` gives one.
    """

    slope = None

    def __init__(self, first: nn.Conv2d, out_channels: int, last_norm: bool = True):
        super().__init__()
        self.conv1 = nn.SequentialCell(first, norm(first.out_channels))
        last = [norm(out_channels)] if last_norm else []
        self.conv2 = nn.SequentialCell(conv2d(first.out_channels, out_channels, bias=True), *last)

    def construct(self, x: Tensor) -> Tensor:
        x = self.conv1(x)
        if self.slope is not None:
            x = ops.maximum(x, x * self.slope.astype(x.dtype))
        return self.conv2(x)

    def fuse(self) -> nn.Conv2d:
        last_norm = self.conv2[1] if len(self.conv2) > 1 else None
        merged = chain_pointwise(fold_batch_norm(*self.conv1), fold_batch_norm(self.conv2[0], last_norm))
        return biased_conv(*merged, like=self.conv1[0])


class HalvingMaxPool(nn.Cell):
    """PyTorch's adaptive max-pool to half the size, rounded up: (B, C, H, W) -> (B, C, ceil(H / 2), ceil(W / 2)).

    Its windows are pairs on an even axis, and on an odd one triples at stride 2 that start one before the edge: what
    'same' padding gives for kernels 2 and 3.
    """

    def __init__(self):
        super().__init__()
        self.pools = nn.CellList([nn.MaxPool2d((2 + height, 2 + width), 2, "same")
                                  for height in range(2) for width in range(2)])

    def construct(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        return self.pools[height % 2 * 2 + width % 2](x)


class Block(nn.Cell):
    """Convolution, pool, activation: (B, in_channels, H, W) -> (B, out_channels, H / stride, W / stride)."""

    def __init__(self, conv: nn.Cell, pool: nn.Cell, act: nn.Cell):
        super().__init__()
        self.conv = conv
        self.pool = pool
        self.act = act

    def construct(self, x: Tensor) -> Tensor:
        return self.act(self.pool(self.conv(x)))


class VanillaNet(Backbone):
    """VanillaNet (table 1 of the paper's supplement).

    Args:
        dims: channels of the stem and of each stage.
        strides: of each stage.
        adaptive: stem of stride 3, and pools that round up.
        num_classes: length of the logits.
        in_channels: channels of the images.
        drop_rate: dropout before the classifier.
        drop_path_rate: accepted for uniformity; there is no residual branch to drop.
        deploy: build the fused form at once, for weights in the released deploy form.
    """

    torch_renames = ((r"^stem\.0\.conv([12])\.", r"stem\1."), (r"^stem\.1\.", "stem2.2."),
                     (r"^(stages\.\d+)\.conv\.conv", r"\1.conv"), (r"^cls\.2\.conv1\.0", "cls1.2"),
                     (r"^cls\.2\.conv1\.1", "cls1.3"), (r"^cls\.2\.conv2", "cls2"),
                     (r"^(stem2\.2|stages\.\d+\.act)\.conv\.", r"\1."))

    #: The pair of convolutions is one linear layer in the end.
    classifier_cells = ("cls.2",)

    def __init__(self, dims: Tuple[int, ...], strides: Tuple[int, ...], adaptive: bool = False,
                 num_classes: int = 1000, in_channels: int = 3, drop_rate: float = 0.0, drop_path_rate: float = 0.0,
                 deploy: bool = False):
        super().__init__()
        if len(dims) != len(strides) + 1:
            raise ValueError(f"dims {tuple(dims)} are those of the stem and of each stage, which do not go with "
                             f"strides {tuple(strides)}, those of the stages")
        del drop_path_rate
        self._fused, self._slope = deploy, None
        #: (epochs, schedule) over which a training makes the activations linear.
        self._ramp: Optional[Tuple[float, str]] = None
        stride, padding = (3, 1) if adaptive else (4, 0)
        self.stem = nn.SequentialCell(self._conv(in_channels, dims[0], dims[0], 4, stride, padding),
                                      SeriesActivation(dims[0], deploy))
        names, stages, info = ["stem"], [], []
        for index, (channels, out, step) in enumerate(zip(dims, dims[1:], strides)):
            pool = nn.Identity() if step == 1 else HalvingMaxPool() if adaptive else nn.MaxPool2d(step, step)
            stages.append(Block(self._conv(channels, channels, out), pool, SeriesActivation(out, deploy)))
            names.append(f"stages.{index}")
        self.stages = nn.SequentialCell(*stages)
        for index, (channels, name, step) in enumerate(zip(dims, names, strides + (2,))):
            # A tap is the last map of a resolution. The stem of stride 3 cuts borders, so its map has no such stride.
            if step > 1 and stride != 3:
                info.append(FeatureInfo(channels, stride, name))
            stride *= step if index < len(strides) else 1
        self.feature_info = tuple(info)
        self.num_features = dims[-1]
        self.cls = nn.SequentialCell(nn.Identity(), nn.Dropout(p=drop_rate),
                                     self._conv(dims[-1], num_classes, num_classes, last_norm=False))
        self._initialise(self)
        if deploy:
            self._rename_fused()

    def _conv(self, in_channels: int, hidden: int, out_channels: int, kernel_size: int = 1, stride: int = 1,
              padding: int = 0, last_norm: bool = True) -> nn.Cell:
        if self._fused:
            return conv2d(in_channels, out_channels, kernel_size, stride, bias=True, padding=padding)
        return DeepConv(conv2d(in_channels, hidden, kernel_size, stride, bias=True, padding=padding), out_channels,
                        last_norm)

    @staticmethod
    def _initialise(cell: nn.Cell) -> None:
        """Weights of standard deviation 0.02, biases of 0."""
        for _, conv in cell.cells_and_names():
            if isinstance(conv, nn.Conv2d):
                # The published truncation lies at 100 standard deviations: the plain normal is the same, and quicker.
                conv.weight.set_data(initializer(Normal(0.02), conv.weight.shape))
                if conv.has_bias:
                    conv.bias.set_data(initializer("zeros", conv.bias.shape))

    def layer_parts(self) -> Layers:
        return (("stem",), *layers_of("stages", self.stages), ("cls",))

    def forward_stages(self, x: Tensor) -> Tuple[Tensor, ...]:
        taps = [info.name for info in self.feature_info]
        x = self.stem(x)
        maps = [x] if "stem" in taps else []
        for index in range(len(self.stages)):
            x = self.stages[index](x)
            if f"stages.{index}" in taps:
                maps.append(x)
        return tuple(maps)

    def forward_features(self, x: Tensor) -> Tensor:
        return self.stages(self.stem(x))

    def forward_head(self, x: Tensor) -> Tensor:
        return self.cls(x.mean((2, 3), keep_dims=True)).flatten(start_dim=1)

    def new_classifier(self, num_classes: int) -> None:
        self.cls[2] = self._conv(self.num_features, num_classes, num_classes, last_norm=False)
        self._initialise(self.cls[2])
        self._share_slope()
        self.rename_parameters()

    def begin_training(self, epochs: int, activation_epochs: float = 0.0, activation_schedule: str = "linear",
                       **options: Any) -> None:
        """Let the activations between the convolution pairs become linear (section 3.1, equation 1).

        Args:
            epochs: of the whole training.
            activation_epochs: over which their slope grows from 0 to 1; 0 leaves them linear.
            activation_schedule: it grows linear, or as half a cosine.

        Raises:
            ValueError: a schedule that does not exist, or no epoch is left for linear activations.
        """
        super().begin_training(epochs, **options)
        if activation_schedule not in ("linear", "cosine"):
            raise ValueError(f"model.training.activation_schedule is {activation_schedule!r}; known are linear, cosine")
        if not isinstance(activation_epochs, (int, float)) or isinstance(activation_epochs, bool) or \
                activation_epochs < 0:
            raise ValueError(f"model.training.activation_epochs is {activation_epochs!r}; it is a number of epochs, "
                             "from 0 on")
        if activation_epochs > epochs - 1:
            raise ValueError(f"model.training.activation_epochs is {activation_epochs:g} and train.epochs {epochs}: at "
                             "least one epoch must follow with linear activations, which alone can be merged")
        if activation_epochs:
            self._ramp = activation_epochs, activation_schedule
            self.set_activation_slope(0.0)

    def on_epoch(self, epoch: int, epochs: int) -> None:
        if self._ramp is not None:
            self.set_activation_slope(slope_of(epoch, *self._ramp))

    def training_facts(self) -> Dict[str, float]:
        return {} if self._ramp is None else {"activation_slope": self.activation_slope}

    def restore_facts(self, facts: Mapping[str, Any]) -> None:
        slope = facts.get("activation_slope")
        if slope is not None and slope != 1:
            self.set_activation_slope(slope)

    @property
    def activation_slope(self) -> float:
        """Slope of the leaky ReLUs between the convolution pairs: 1, linear, unless set otherwise."""
        return 1.0 if self._slope is None else float(self._slope.asnumpy())

    def set_activation_slope(self, value: float) -> None:
        """Set the slope, which training raises from 0 to 1 (section 3.1: epoch / 100 over the first 100 epochs).

        The first call belongs before the training step is built; later ones change a number that the compiled
        graph reads, and compile nothing. The slope is no weight: neither checkpoints nor parameter counts hold it,
        a resumed run sets it from its epoch.

        Raises:
            ValueError: a slope outside 0 to 1.
            RuntimeError: the network is fused; nothing is left between the convolutions.
        """
        if not 0 <= value <= 1:
            raise ValueError(f"the activation slope lies between 0 and 1, not {value}")
        if self._fused:
            raise RuntimeError("the network is re-parameterised: its convolutions are merged and have no slope")
        if self._slope is None:
            slope = Parameter(Tensor(value, ms.float32), name=f"activation_slope_{next(_SERIAL)}", requires_grad=False)
            object.__setattr__(self, "_slope", slope)
            self._share_slope()
            self.compile_cache.clear()
        self._slope.set_data(Tensor(value, ms.float32))  # type: ignore[attr-defined]

    def _share_slope(self) -> None:
        if self._slope is not None:
            for _, cell in self.cells_and_names():
                if isinstance(cell, DeepConv):
                    # Past the registration of Cell, which would make it a weight of the network.
                    object.__setattr__(cell, "slope", self._slope)

    def reparameterize(self) -> "VanillaNet":
        """Merge each pair of convolutions in place; RuntimeError while the slope between them is below 1."""
        if self.activation_slope != 1:
            raise RuntimeError(f"the activation slope is {self.activation_slope:g}: the convolutions can be merged "
                               "only once it has reached 1 (set_activation_slope)")
        super().reparameterize()
        self._fused = True
        self._rename_fused()
        return self

    def _rename_fused(self) -> None:
        self.torch_renames = ((r"^(stem\.1|stages\.\d+\.act)\.conv\.", r"\1."),)


def _plan(depth: int) -> Tuple[Tuple[int, ...], Tuple[int, ...]]:
    """Multipliers of the stem and of each stage, and the strides of the stages."""
    if depth == 5:
        return (1, 2, 4, 8), (2, 2, 2)
    if depth == 6:
        return (1, 2, 4, 8, 8), (2, 2, 2, 1)
    return (1, 1, 2) + (4,) * (depth - 6) + (8, 8), (1, 2, 2) + (1,) * (depth - 7) + (2, 1)


def _vanillanet(depth: int, unit: int = 512, **kwargs) -> VanillaNet:
    multipliers, strides = _plan(depth)
    return VanillaNet(tuple(unit * m for m in multipliers), strides, **kwargs)


def _card(params: int, macs: float, deploy_params: int, deploy_macs: float, top1: float, name: str) -> ModelCard:
    return ModelCard(params=params, macs=macs, deploy_params=deploy_params, deploy_macs=deploy_macs, top1=top1,
                     source="VanillaNet authors' repository", paper="2305.12972", weights=name,
                     notes="Published cost is that of the deploy form; while training, set_activation_slope goes from "
                           "0 to 1.")


@register(_card(22_328_800, 8450.52e6, 15_523_304, 5161.19e6, 72.49, "vanillanet_5"))
def vanillanet_5(**kwargs):
    """VanillaNet-5."""
    return _vanillanet(5, **kwargs)


@register(_card(56_116_704, 10104.52e6, 32_509_416, 5993.10e6, 76.36, "vanillanet_6"))
def vanillanet_6(**kwargs):
    """VanillaNet-6."""
    return _vanillanet(6, **kwargs)


@register(_card(56_670_176, 11827.36e6, 32_797_672, 6893.86e6, 77.98, "vanillanet_7"))
def vanillanet_7(**kwargs):
    """VanillaNet-7."""
    return _vanillanet(7, **kwargs)


@register(_card(65_175_520, 13491.20e6, 37_096_424, 7735.62e6, 79.13, "vanillanet_8"))
def vanillanet_8(**kwargs):
    """VanillaNet-8."""
    return _vanillanet(8, **kwargs)


@register(_card(73_680_864, 15155.04e6, 41_395_176, 8577.37e6, 79.87, "vanillanet_9"))
def vanillanet_9(**kwargs):
    """VanillaNet-9."""
    return _vanillanet(9, **kwargs)


@register(_card(82_186_208, 16818.87e6, 45_693_928, 9419.12e6, 80.57, "vanillanet_10"))
def vanillanet_10(**kwargs):
    """VanillaNet-10."""
    return _vanillanet(10, **kwargs)


@register(_card(90_691_552, 18482.71e6, 49_992_680, 10260.87e6, 81.08, "vanillanet_11"))
def vanillanet_11(**kwargs):
    """VanillaNet-11."""
    return _vanillanet(11, **kwargs)


@register(_card(99_196_896, 20146.55e6, 54_291_432, 11102.63e6, 81.55, "vanillanet_12"))
def vanillanet_12(**kwargs):
    """VanillaNet-12."""
    return _vanillanet(12, **kwargs)


@register(_card(107_702_240, 21810.38e6, 58_590_184, 11944.38e6, 82.05, "vanillanet_13"))
def vanillanet_13(**kwargs):
    """VanillaNet-13."""
    return _vanillanet(13, **kwargs)


@register(_card(236_942_048, 48745.70e6, 127_796_200, 26548.45e6, 82.53, "vanillanet_13_x1_5"))
def vanillanet_13_x1_5(**kwargs):
    """VanillaNet-13, 1.5 times as wide."""
    return _vanillanet(13, unit=768, **kwargs)


@register(_card(236_942_048, 89966.27e6, 127_796_200, 48982.53e6, 83.11, "vanillanet_13_x1_5_ada_pool"))
def vanillanet_13_x1_5_ada_pool(**kwargs):
    """VanillaNet-13, 1.5 times as wide, on maps of a third of the input."""
    return _vanillanet(13, unit=768, adaptive=True, **kwargs)
