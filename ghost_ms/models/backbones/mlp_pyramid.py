"""What Wave-MLP, Hire-MLP and SNN-MLP share: the block, the head, and the pyramid of four stages."""
from typing import Callable, Optional, Sequence, Tuple

from mindspore import Tensor, nn
from mindspore.common.initializer import Normal

from ghost_ms.layers import ConvMlp, DropPath, OverlapPatchEmbed, drop_path_rates
from ghost_ms.models.backbone import Backbone, FeatureInfo, Layers, layers_of, led_into


class MlpBlock(nn.Cell):
    """x + drop_path(attn(norm1(x))), then x + drop_path(mlp(norm2(x))), on (B, channels, H, W).

    Args:
        attn: the token mixer, a cell that keeps the shape; `takes_input` names the convolutions, if they are all,
            that take its input, so that the norm before it can be folded into them.
        norm: makes a norm for a number of channels.
        mlp_ratio: hidden channels of the channel MLP, in multiples of `channels`.
    """

    def __init__(self, channels: int, attn: nn.Cell, norm: Callable[[int], nn.Cell], mlp_ratio: int,
                 drop_path: float = 0.0):
        super().__init__()
        takers = tuple(f"attn.{name}" for name in getattr(attn, "takes_input", ()))
        self.folds_ahead = (("norm1", takers), ("norm2", ("mlp.fc1",)))
        self.norm1 = norm(channels)
        self.attn = attn
        self.norm2 = norm(channels)
        self.mlp = ConvMlp(channels, mlp_ratio * channels)
        self.drop_path = DropPath(drop_path)

    def construct(self, x: Tensor) -> Tensor:
        x = x + self.drop_path(self.attn(self.norm1(x)))
        return x + self.drop_path(self.mlp(self.norm2(x)))


class MlpBackbone(Backbone):
    """A backbone whose last map is normed, averaged and classified by one linear layer."""

    final_norm = ("norm", "head")
    classifier_cells = ("head",)

    def _finish(self, channels: int, norm: Callable[[int], nn.Cell], num_classes: int, drop_rate: float) -> None:
        self.num_features = channels
        self.norm = norm(channels)
        self.dropout = nn.Dropout(p=drop_rate)
        self.new_classifier(num_classes)

    def forward_features(self, x: Tensor) -> Tensor:
        return self.norm(self.forward_stages(x)[-1])

    def forward_head(self, x: Tensor) -> Tensor:
        return self.head(self.dropout(x.mean((2, 3))))

    def new_classifier(self, num_classes: int) -> None:
        self.head = nn.Dense(self.num_features, num_classes, weight_init=Normal(0.02), bias_init="zeros")


class MlpPyramid(MlpBackbone):
    """Overlapping patches of stride 4, then four stages with a downsampling convolution between them.

    Args:
        depths, widths, mlp_ratios: blocks, channels and MLP ratio of each stage.
        mixer: makes the token mixer of (stage, block within the stage, channels).
        norm: makes a norm for a number of channels.
        embed_norm, embed_act: the same behind the patch embedding and each downsampling; nothing where None.
        num_classes: length of the logits.
        in_channels: channels of the images.
        drop_rate: dropout before the classifier.
        drop_path_rate: of the last block, rising linearly from 0 at the first.
    """

    def __init__(self, depths: Sequence[int], widths: Sequence[int], mlp_ratios: Sequence[int],
                 mixer: Callable[[int, int, int], nn.Cell], norm: Callable[[int], nn.Cell],
                 embed_norm: Optional[Callable[[int], nn.Cell]] = None,
                 embed_act: Optional[Callable[[], nn.Cell]] = None, num_classes: int = 1000, in_channels: int = 3,
                 drop_rate: float = 0.0, drop_path_rate: float = 0.0):
        super().__init__()
        if not len(depths) == len(widths) == len(mlp_ratios):
            raise ValueError(f"depths {tuple(depths)}, widths {tuple(widths)} and MLP ratios {tuple(mlp_ratios)} must "
                             "be those of the same stages")

        def embed(channels, width, kernel_size, stride, padding):
            return OverlapPatchEmbed(channels, width, kernel_size, stride, padding, embed_norm and embed_norm(width),
                                     embed_act and embed_act())

        self.patch_embed = embed(in_channels, widths[0], 7, 4, 2)
        rates = iter(drop_path_rates(drop_path_rate, sum(depths)))
        network = []
        for stage, (depth, width, ratio) in enumerate(zip(depths, widths, mlp_ratios)):
            if stage > 0:
                network.append(embed(widths[stage - 1], width, 3, 2, 1))
            network.append(nn.SequentialCell(*[
                MlpBlock(width, mixer(stage, block, width), norm, ratio, next(rates)) for block in range(depth)]))
        self.network = nn.SequentialCell(*network)
        self.feature_info = tuple(FeatureInfo(width, 4 << stage, f"network.{2 * stage}")
                                  for stage, width in enumerate(widths))
        self._finish(widths[-1], norm, num_classes, drop_rate)

    def layer_parts(self) -> Layers:
        layers = [("patch_embed",), *layers_of("network.0", self.network[0])]
        for index in range(2, len(self.network), 2):
            layers += led_into(layers_of(f"network.{index}", self.network[index]), f"network.{index - 1}")
        return (*layers, ("norm", "head"))

    def forward_stages(self, x: Tensor) -> Tuple[Tensor, ...]:
        x = self.patch_embed(x)
        maps = []
        for index in range(len(self.network)):
            x = self.network[index](x)
            if index % 2 == 0:
                maps.append(x)
        return tuple(maps)
