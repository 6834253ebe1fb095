"""What a network for dense prediction shares with the backbone that it stands on: the hooks that a training calls."""
import re
from typing import Any, Dict, Mapping, Optional, Set, Tuple

import numpy as np
from mindspore import Parameter, Tensor, nn

from ghost_ms.layers.conv import conv2d
from ghost_ms.layers.reparam import fuse_cells, replace_cell
from ghost_ms.models.backbone import Backbone, FeatureInfo, Layers

#: What the names of a backbone's parameters begin with.
PREFIX = "backbone."


class DenseNetwork(nn.Cell):
    """A backbone without its head, and cells of its own that follow.

    Stages, layers, groups of parameters and hooks are the backbone's; all that is not in it is the last layer.

    Args:
        backbone: is stripped of its head, in place.
        dense: whether its `forward_dense` is used, and not its pyramid alone.
    """

    #: names of the cells that the number of classes decides the shapes of.
    classifier_cells: Tuple[str, ...] = ()

    def __init__(self, backbone: Backbone, dense: bool = True):
        super().__init__()
        self.backbone = backbone.without_head(dense)
        self.torch_renames = tuple((f"^backbone[.]{re.escape(ours)}[.]", f"backbone.{theirs}.")
                                   for ours, theirs in backbone.torchvision_names())
        self.no_weight_decay = tuple(map(_within, backbone.no_weight_decay))
        self.parameter_groups = tuple((name, _within(pattern)) for name, pattern in backbone.parameter_groups)

    @property
    def feature_info(self) -> Tuple[FeatureInfo, ...]:
        """The backbone's taps, by the names that their cells have in here."""
        return tuple(info._replace(name=PREFIX + info.name) for info in self.backbone.feature_info)

    def layer_parts(self) -> Layers:
        *layers, _ = self.backbone.layer_parts()
        declared = {part for layer in layers for part in layer}
        names = [name for name, _ in self.backbone.parameters_and_names()]
        rest = dict.fromkeys(_apart(name, declared) for name in names
                             if not any(name == part or name.startswith(f"{part}.") for part in declared))
        own = [name for name in self.name_cells() if name != PREFIX[:-1]]
        return (*(tuple(PREFIX + part for part in layer) for layer in layers),
                (*(PREFIX + name for name in rest), *own))

    def begin_training(self, epochs: int, **options: Any) -> None:
        self.backbone.begin_training(epochs, **options)

    def auxiliary_loss(self) -> Optional[Tensor]:
        return self.backbone.auxiliary_loss()

    def training_facts(self) -> Dict[str, float]:
        return self.backbone.training_facts()

    def restore_facts(self, facts: Mapping[str, Any]) -> None:
        self.backbone.restore_facts(facts)

    def on_epoch(self, epoch: int, epochs: int) -> None:
        self.backbone.on_epoch(epoch, epochs)

    def update_switches(self) -> Dict[str, Parameter]:
        return {_within(pattern): switch for pattern, switch in self.backbone.update_switches().items()}

    def adapt_torch_weight(self, name: str, value: np.ndarray) -> np.ndarray:
        if not name.startswith(PREFIX):
            return value
        return self.backbone.adapt_torch_weight(name[len(PREFIX):], value)

    def reset_classifier(self, num_classes: int) -> None:
        """Replace the convolutions that decide the classes by fresh ones; ValueError for no class."""
        if num_classes < 1:
            raise ValueError(f"a {type(self).__name__} has one class or more, not {num_classes}")
        for path in self.classifier_cells:
            *owners, name = path.split(".")
            owner = self
            for part in owners:
                owner = owner.name_cells()[part]
            replace_cell(owner, name, self.new_classifier(owner.name_cells()[name], num_classes))
        self.rename_parameters()

    def new_classifier(self, old: nn.Conv2d, num_classes: int) -> nn.Conv2d:
        """A fresh convolution in the place of one that decides the classes."""
        return conv2d(old.in_channels, num_classes, bias=True)

    def reparameterize(self) -> "DenseNetwork":
        """Fuse training-time branches in place, as `Backbone.reparameterize`."""
        self.backbone.reparameterize()
        fuse_cells(self)
        self.rename_parameters()
        return self

    def rename_parameters(self) -> None:
        """Give every parameter its structural name again, after cells were replaced."""
        for name, parameter in self.parameters_and_names():
            parameter.name = name
        self.compile_cache.clear()


def _apart(name: str, declared: Set[str]) -> str:
    """The largest cell around a parameter that holds none of the declared ones."""
    parts = name.split(".")
    paths = [".".join(parts[:count]) for count in range(1, len(parts) + 1)]
    return next(path for path in paths if not any(other.startswith(f"{path}.") for other in declared))


def _within(pattern: str) -> str:
    """A pattern of the backbone's names as one of the whole network's."""
    return f"^{re.escape(PREFIX)}{pattern[1:]}" if pattern.startswith("^") else pattern
