"""LegoNet: Efficient Convolutional Neural Networks with Lego Filters (ICML 2019, PMLR v97, yang19c).

Source: huawei-noah/Efficient-AI-Backbones, legonet_pytorch/ (MIT), which released no weights.
Differences: the one-hot choice is part of the graph instead of a tensor stored on the module in every forward pass,
so gradients need no copying; the balance rule is a loss whose gradient it is; the pool before the classifier is a
global mean, which is the same at 32 pixels, so that other sizes work; `reparameterize()` gives the sparse form.
"""
import itertools
from typing import Any, Dict, List, Optional

import mindspore as ms
from mindspore import Parameter, Tensor, nn

from ghost_ms.layers import LegoConv2d, conv2d
from ghost_ms.models.backbones.vgg import VggBackbone
from ghost_ms.models.registry import ModelCard, register

#: Channels of the convolutions between the pools; the very first is a plain one.
ROWS = ((64, 64, 64), (128, 128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
#: A compiled graph wants a name of its own for every parameter; switches of two networks may meet in one.
_SERIAL = itertools.count()
CIFAR10_MEAN, CIFAR10_STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)


class LegoVgg(VggBackbone):
    """VGG-16 of Lego convolutions for small images; 15 convolutions, as in the released code.

    Args:
        num_classes: length of the logits.
        in_channels: channels of the images.
        drop_rate: dropout before the classifier (none as published).
        drop_path_rate: taken as every network takes it; without residual branches there is nothing to drop.
        splits, lego_ratio: of every `LegoConv2d`.
        choice_epochs: epochs after which the choice of filters stays as it is (the released recipe: 10 of 400); None to
            train it to the end. It says nothing outside a training.
    """

    classifier_cells = ("classifier",)
    #: Of `balance_loss` in the loss of a training.
    balance_weight = 0.0

    def __init__(self, num_classes: int = 10, in_channels: int = 3, drop_rate: float = 0.0,
                 drop_path_rate: float = 0.0, splits: int = 2, lego_ratio: float = 0.5,
                 choice_epochs: Optional[int] = None):
        if choice_epochs is not None and not (isinstance(choice_epochs, (int, float)) and choice_epochs >= 0):
            raise ValueError(f"choice_epochs is {choice_epochs!r}, but it must be a number of epochs, from 0 on")

        def unit(channels: int, out: int, position: int) -> List[nn.Cell]:
            conv = LegoConv2d(channels, out, 3, splits, lego_ratio) if position else conv2d(channels, out, 3, bias=True)
            return [conv, nn.BatchNorm2d(out), nn.ReLU()]

        super().__init__(ROWS, in_channels, unit)
        self.dropout = nn.Dropout(p=drop_rate)
        self.classifier = nn.Dense(self.num_features, num_classes)
        self.choice_epochs = choice_epochs
        if choice_epochs is not None:
            switch = Parameter(Tensor(1.0, ms.float32), name=f"choice_switch_{next(_SERIAL)}", requires_grad=False)
            for cell in (self, *self._lego_layers()):
                # Past the registration of Cell, which would make it a weight of the network.
                object.__setattr__(cell, "choice_switch", switch)

    def forward_head(self, x: Tensor) -> Tensor:
        return self.classifier(self.dropout(x.mean((2, 3))))

    def new_classifier(self, num_classes: int) -> None:
        self.classifier = nn.Dense(self.num_features, num_classes)

    def begin_training(self, epochs: int, balance_weight: float = 0.0, **options: Any) -> None:
        """Add `balance_loss` to the loss.

        Args:
            epochs: of the whole training.
            balance_weight: its weight (1e-4 in the released recipe).

        Raises:
            ValueError: the weight is no number from 0 on.
        """
        super().begin_training(epochs, **options)
        if not isinstance(balance_weight, (int, float)) or isinstance(balance_weight, bool) or balance_weight < 0:
            raise ValueError(f"model.training.balance_weight is {balance_weight!r}; it is a number from 0 on")
        self.balance_weight = float(balance_weight)

    def auxiliary_loss(self) -> Optional[Tensor]:
        return self.balance_weight * self.balance_loss() if self.balance_weight else None

    def balance_loss(self) -> Tensor:
        """A scalar that is least where all filters are used alike."""
        total = 0.0
        for layer in self.features:
            if isinstance(layer, LegoConv2d):
                total = total + layer.balance_loss()
        return total

    def _lego_layers(self) -> List[LegoConv2d]:
        return [layer for layer in self.features if isinstance(layer, LegoConv2d)]

    def on_epoch(self, epoch: int, epochs: int) -> None:
        """Stop training the choice of filters once `choice_epochs` have gone by."""
        if self.choice_epochs is not None:
            self.choice_switch.set_data(Tensor(float(epoch < self.choice_epochs), ms.float32))

    def update_switches(self) -> Dict[str, Parameter]:
        return {} if self.choice_epochs is None else {r"\.aux_combination$": self.choice_switch}

    def freeze_combination(self) -> None:
        """Leave the choice of filters out of a training that is yet to be built; see `choice_epochs`."""
        for layer in self._lego_layers():
            layer.aux_combination.requires_grad = False

    def reparameterize(self) -> "LegoVgg":
        """Keep one index and one coefficient of each table; outputs are unchanged."""
        for index, layer in enumerate(self.features):
            if isinstance(layer, LegoConv2d):
                self.features[index] = layer.sparse()
        self.rename_parameters()
        return self


@register(ModelCard(params=7_392_650, macs=244.52e6, top1=93.88, source="authors' repository, CIFAR-10",
                    input_size=(32, 32), mean=CIFAR10_MEAN, std=CIFAR10_STD, crop_ratio=1.0, num_classes=10,
                    deploy_params=3_756_426, deploy_macs=195.24e6, paper="LegoNet, ICML 2019 (PMLR v97, yang19c)",
                    notes="For CIFAR-10; no weights were released. The tables that choose the filters are dense while "
                          "training; the deploy form, and the paper's 3.8M, hold one index and coefficient for each."))
def lego_vgg16(**kwargs):
    """LegoNet VGG-16: two splits, half as many Lego filters as output channels."""
    return LegoVgg(**kwargs)
