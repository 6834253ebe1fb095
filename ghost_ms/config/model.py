"""The section `model`: the network, its weights, and what is frozen."""
import dataclasses
from typing import List, Optional, Union

from ghost_ms.config.checks import at_least_one
from ghost_ms.core.plain import require_plain


@dataclasses.dataclass
class ModelConfig:
    """The network.

    Args:
        name: a name from `ghost-ms models`.
        num_classes: length of the logits; by default the classes of the data.
        in_channels: channels of the images; by default those of the data.
        pretrained: true for the released weights, or a path of a PyTorch, safetensors or MindSpore file; the
            classifier of another class count starts fresh.
        freeze: what is not trained: a number of stages (resolutions of the network) from the input on, or names of
            cells such as [conv_stem, blocks.0]. Their BatchNorms keep their statistics too; dropout and drop path in
            there go on.
        freeze_norms: whether BatchNorms keep statistics, scale and shift though the rest is trained, as torchvision's
            detectors on pretrained backbones do with their small batches; of a network with a head of
            `task.head`, those of the backbone alone.
        args: further arguments of the family, such as {drop_rate: 0.1, stem_stride: 1}.
        training: what the family's training needs beside the loss: of VanillaNet {activation_epochs: 100,
            activation_schedule: linear or cosine}, of LegoNet {balance_weight: 1.0e-4}.
        edits: what is done to the built network, in that order, such as [{ghostify: {ratio: 2}}]; a checkpoint keeps
            them. Weights of model.pretrained go in before.
    """

    name: str = "ghostnet_100"
    num_classes: Optional[int] = None
    in_channels: Optional[int] = None
    pretrained: Union[bool, str] = False
    freeze: Union[int, List[str]] = 0
    freeze_norms: bool = False
    args: dict = dataclasses.field(default_factory=dict)
    training: dict = dataclasses.field(default_factory=dict)
    edits: list = dataclasses.field(default_factory=list)

    def validate(self) -> None:
        """ValueError for a value whose type is right and whose meaning is not."""
        for key in ("num_classes", "in_channels"):
            value = getattr(self, key)
            if value is not None:
                at_least_one(**{f"model.{key}": value})
        self.args = require_plain(self.args, "model.args")
        self.training = require_plain(self.training, "model.training")
        self.edits = require_plain(self.edits, "model.edits")
