"""The contract that every network of this package keeps."""
from typing import Any, Dict, Mapping, NamedTuple, Optional, Sequence, Tuple

import numpy as np
from mindspore import Parameter, Tensor, nn, ops

from ghost_ms.layers import (SizeGuard, fuse_cells, init_dense, patch_grid, resize_tokens, token_table,
                             tokens_to_map)
from ghost_ms.layers.reparam import remove_cells


#: Layers in the order in which they compute, each as the names of its cells and parameters.
Layers = Tuple[Tuple[str, ...], ...]


class FeatureInfo(NamedTuple):
    """One tap of the feature pyramid: its channels, its stride to the input, and the module that yields it."""

    channels: int
    stride: int
    name: str


def layers_of(name: str, stage: nn.Cell) -> Layers:
    """The layers of the cell called `name`: those that it declares in its own `layers_within`, else one per child."""
    own = stage.layers_within() if hasattr(stage, "layers_within") else [(child,) for child in stage.name_cells()]
    return tuple(tuple(f"{name}.{part}" for part in layer) for layer in own)


def led_into(layers: Layers, *parts: str) -> Layers:
    """The same layers, the first of them with the `parts` that compute just before it, such as a downsampling."""
    return (parts + layers[0],) + layers[1:]


def check_taps(taps: Sequence[int], count: int, first: int = 0) -> Tuple[int, ...]:
    """The taps, numbers of cells that give a map each; only those that rise are reported and returned alike.

    Raises:
        ValueError: they are none, do not rise, or lie outside `first` to `count` - 1.
    """
    taps = tuple(taps)
    if not taps or list(taps) != sorted(set(taps)) or taps[0] < first or taps[-1] >= count:
        raise ValueError(f"the taps are {taps}, but they must be rising numbers from {first} to {count - 1}")
    return taps


class Backbone(nn.Cell):
    """Base of all networks: features, pyramid, head.

    A family sets `feature_info` and `num_features` (channels that `forward_features` returns) and implements
    `forward_stages`, `forward_features`, `forward_head` and `new_classifier`. It declares its layers (`layer_parts`)
    and its classifier (`classifier_cells`). Parameter names mirror the released PyTorch state dict; the few that cannot
    are stated in `torch_renames`.
    """

    #: (pattern, replacement) pairs of regular expressions that turn a name of ours into PyTorch's.
    torch_renames: Tuple[Tuple[str, str], ...] = ()
    #: patterns of entries that a released state dict carries and that no output depends on.
    torch_unused: Tuple[str, ...] = ()
    #: patterns of our parameter names that no weight decay acts on, besides biases and norms.
    no_weight_decay: Tuple[str, ...] = ()
    #: (group, pattern) pairs: trainable parameters whose name the regular expression finds are optimized apart.
    parameter_groups: Tuple[Tuple[str, str], ...] = ()
    #: names of the cells that `reset_classifier` replaces, since the number of classes decides their shapes.
    classifier_cells: Tuple[str, ...] = ()

    #: how stages lose their stride for dilation (`models/dilate.py`): 'keep' where the convolution that strides goes on
    #: with the dilation before it, 'advance' where it takes the new one; None where the structure does not allow it.
    atrous: Optional[str] = None

    feature_info: Tuple[FeatureInfo, ...] = ()
    num_features: int
    _head_features = 0

    def __setattr__(self, name, value):
        super().__setattr__(name, value)
        if isinstance(value, nn.Cell):
            # Graph mode does not notice a replaced cell: it would go on running the graph of the old one.
            self.compile_cache.clear()

    def forward_stages(self, x: Tensor) -> Tuple[Tensor, ...]:
        """All maps of `feature_info`, shallow to deep, each (B, channels, H / stride, W / stride)."""
        raise NotImplementedError

    def forward_features(self, x: Tensor) -> Tensor:
        """Images (B, in_channels, H, W) to the last feature map (B, num_features, h, w)."""
        raise NotImplementedError

    def forward_last(self, x: Tensor) -> Tensor:
        """Images to what `forward_head` takes: the map of `forward_features`.

        A network with a class token gives its tokens instead (see `ClassTokenBackbone`), since a map has no place for
        that one.
        """
        return self.forward_features(x)

    def forward_head(self, x: Tensor) -> Tensor:
        """What `forward_last` gives to logits (B, num_classes)."""
        raise NotImplementedError

    def construct(self, x: Tensor) -> Tensor:
        return self.forward_head(self.forward_last(x))

    def forward_pyramid(self, x: Tensor, out_indices: Optional[Sequence[int]] = None) -> Tuple[Tensor, ...]:
        """The maps that a detector or segmenter takes: those of `feature_info` at `out_indices` (all by default)."""
        maps = self.forward_stages(x)
        return maps if out_indices is None else tuple(maps[index] for index in out_indices)

    def forward_dense(self, x: Tensor) -> Tuple[Tuple[Tensor, ...], Tensor]:
        """The maps of `feature_info`, and the map of `dense_features` channels that a segmenter's head takes."""
        maps = self.forward_stages(x)
        return maps, maps[-1]

    @property
    def dense_features(self) -> int:
        """Channels of the last map of `forward_dense`."""
        return self.feature_info[-1].channels

    @property
    def head_cells(self) -> Tuple[str, ...]:
        """Names of the cells that neither `forward_stages` nor `forward_dense` needs."""
        return self.layer_parts()[-1]

    def without_head(self, dense: bool = True) -> "Backbone":
        """Remove in place what follows the maps: `forward_stages` remains and, with `dense`, `forward_dense`."""
        remove_cells(self, self.head_cells if dense else self.layer_parts()[-1])
        self.rename_parameters()
        return self

    def torchvision_names(self) -> Tuple[Tuple[str, str], ...]:
        """(ours, torchvision's) beginnings of names where its segmenters and detectors call them otherwise."""
        return ()

    def layer_parts(self) -> Layers:
        """The layers in the order in which they compute, each as the names of its cells and parameters.

        The first is the stem, with the tables and tokens that join its map. Then every block is a layer of its own,
        together with what leads into it: a downsampling before it, a table that its stage shares. The last layer is
        the head, all that follows the last tap. Each parameter belongs to exactly one layer, and a tap of
        `feature_info` ends with the last layer inside its cell: from this `models.stages` derives the layer and the
        stage of every parameter, by which `model.freeze` and `optimizer.layer_decay` go.
        """
        raise NotImplementedError

    def begin_training(self, epochs: int, **options: Any) -> None:
        """Hook: a training calls it once, before its step is built, with what the recipe says in `model.training`.

        Args:
            epochs: of the whole training.
            options: of the family; none here.

        Raises:
            ValueError: an option that the family does not have, or that cannot be.
        """
        if options:
            raise ValueError(f"model.training holds '{next(iter(options))}', but a {type(self).__name__} takes nothing "
                             "there; leave it out")

    def auxiliary_loss(self) -> Optional[Tensor]:
        """Hook: a scalar that the training step adds to its loss; None where there is nothing to add."""
        return None

    def training_facts(self) -> Dict[str, float]:
        """Hook: numbers that a training sets and no weight holds; they stand in metrics.csv and in checkpoints."""
        return {}

    def restore_facts(self, facts: Mapping[str, Any]) -> None:
        """Hook: set what a checkpoint's metrics say of `training_facts`."""

    def on_epoch(self, epoch: int, epochs: int) -> None:
        """Hook: the training calls it at the start of every epoch, and of the rest of one that it resumes in.

        What it sets must depend on the epoch alone, since no checkpoint holds it, and must be a number that the
        compiled step reads (a Parameter), since nothing is compiled again.

        Args:
            epoch: that begins, from 0.
            epochs: of the whole training.
        """

    def update_switches(self) -> Dict[str, Parameter]:
        """Hook: {pattern of parameter names: float32 scalar} that the updates of these parameters are multiplied by.

        `on_epoch` sets such a scalar to 1 or 0. At 0 the parameters stay as they are to the bit, whatever momentum or
        weight decay they have, as if they had left the optimizer.
        """
        return {}

    def reset_classifier(self, num_classes: int) -> None:
        """Replace the classifier by a fresh one for `num_classes` classes.

        0 leaves none: the network then gives what its classifier took, (B, head_features), and holds none of its
        weights. A later call brings one back.
        """
        if not self.headless:
            # Read off a cell that may be gone after this; a constructor may come here before there is one.
            self._head_features = self.head_features
        if num_classes:
            self.new_classifier(num_classes)
            return
        remove_cells(self, self.classifier_cells)
        self.compile_cache.clear()

    def new_classifier(self, num_classes: int) -> None:
        """Put a fresh classifier in the place of `classifier_cells`."""
        raise NotImplementedError

    @property
    def headless(self) -> bool:
        """Whether the network holds no classifier."""
        return not any(name.startswith(f"{path}.") for path in self.classifier_cells
                       for name, _ in self.parameters_and_names())

    @property
    def head_features(self) -> int:
        """Features that the classifier takes, and that a network without one gives."""
        if self._head_features:
            return self._head_features
        path = self.classifier_cells[0]
        return next(parameter.shape[1] for name, parameter in self.parameters_and_names()
                    if name.startswith(f"{path}.") and parameter.ndim > 1)

    def reparameterize(self) -> "Backbone":
        """Fuse training-time branches in place; networks without any are returned as they are.

        The outputs stay, the parameters become others: build optimizers and training steps after it.
        """
        if fuse_cells(self):
            self.rename_parameters()
        return self

    def adapt_torch_weight(self, name: str, value: np.ndarray) -> np.ndarray:
        """Hook: reshape or resample one released array (under PyTorch's name) for this network's input size."""
        return value

    def torch_extras(self) -> Dict[str, np.ndarray]:
        """Hook: entries that PyTorch's network expects in a state dict and that no parameter of this one holds."""
        return {}

    def rename_parameters(self) -> None:
        """Give every parameter its structural name again, after cells were replaced."""
        for name, parameter in self.parameters_and_names():
            parameter.name = name
        # Graph mode does not notice a replaced cell: it would go on running the graph of the old one.
        self.compile_cache.clear()


class MobileBackbone(Backbone):
    """Stages of blocks between a strided stem and MobileNetV3's last stage, which convolves after the pooling.

    (Section 5.1 of arXiv 1905.02244.) A family sets `conv_stem`, `bn1`, `act1`, `blocks` (stages, then
    a 1x1 convolution), `taps` (stages whose maps `forward_stages` gives, -1 for the stem), `feature_info` (of these
    taps), `conv_head`, `act2`, `dropout` and `classifier`.
    """

    folds = (("conv_stem", "bn1"),)
    acts = (("bn1", "act1"),)
    classifier_cells = ("classifier",)
    taps: Tuple[int, ...]
    #: whether `forward_dense` gives a stage's map after its first block, as torchvision's segmenters take it.
    early_taps = False

    def layer_parts(self) -> Layers:
        last = len(self.blocks) - 1
        blocks = [layer for index in range(last) for layer in layers_of(f"blocks.{index}", self.blocks[index])]
        return (("conv_stem", "bn1", "act1"), *blocks, (f"blocks.{last}", "conv_head", "classifier"))

    def forward_stages(self, x: Tensor) -> Tuple[Tensor, ...]:
        x = self.act1(self.bn1(self.conv_stem(x)))
        maps = [x] if -1 in self.taps else []
        for index in range(len(self.blocks) - 1):
            x = self.blocks[index](x)
            if index in self.taps:
                maps.append(x)
        return tuple(maps)

    def forward_features(self, x: Tensor) -> Tensor:
        return self.blocks(self.act1(self.bn1(self.conv_stem(x))))

    def forward_dense(self, x: Tensor) -> Tuple[Tuple[Tensor, ...], Tensor]:
        x = self.act1(self.bn1(self.conv_stem(x)))
        maps = (x,) if -1 in self.taps else ()
        for index in range(len(self.blocks) - 1):
            early = x = self.blocks[index][0](x)
            for place in range(1, len(self.blocks[index])):
                x = self.blocks[index][place](x)
            if index in self.taps:
                maps += (early if self.early_taps else x,)
        return maps, self.blocks[len(self.blocks) - 1](x)

    @property
    def dense_features(self) -> int:
        return self.num_features

    @property
    def head_cells(self) -> Tuple[str, ...]:
        return "conv_head", "classifier"

    def forward_head(self, x: Tensor) -> Tensor:
        x = self.act2(self.conv_head(x.mean((2, 3), keep_dims=True)))
        return self.classifier(self.dropout(x.flatten(start_dim=1)))

    def new_classifier(self, num_classes: int) -> None:
        self.classifier = nn.Dense(self.conv_head.out_channels, num_classes)


class ResidualBackbone(Backbone):
    """Four layers of residual blocks after a stem, the mean of the last map classified (arXiv 1512.03385).

    A family sets `conv1`, `bn1`, `relu`, `maxpool`, `layer1` to `layer4`, `num_features`, `dropout` and `fc`.
    """

    folds = (("conv1", "bn1"),)
    classifier_cells = ("fc",)

    def layer_parts(self) -> Layers:
        blocks = [layer for name in ("layer1", "layer2", "layer3", "layer4")
                  for layer in layers_of(name, getattr(self, name))]
        return (("conv1", "bn1", "relu", "maxpool"), *blocks, ("fc",))

    def forward_stages(self, x: Tensor) -> Tuple[Tensor, ...]:
        stem = self.relu(self.bn1(self.conv1(x)))
        first = self.layer1(self.maxpool(stem))
        second = self.layer2(first)
        third = self.layer3(second)
        return stem, first, second, third, self.layer4(third)

    def forward_features(self, x: Tensor) -> Tensor:
        return self.forward_stages(x)[-1]

    def forward_head(self, x: Tensor) -> Tensor:
        return self.fc(self.dropout(x.mean((2, 3))))

    def new_classifier(self, num_classes: int) -> None:
        self.fc = nn.Dense(self.num_features, num_classes)


class ClassTokenBackbone(Backbone):
    """Backbone of tokens (B, 1 + h * w, num_features) whose first, the class token, is classified (ViT's shape).

    A family sets `blocks`, `norm`, `head` (a Dense) and the table of positions under its released name `position_table`
    (from `token_table`), names in `embedding` what makes the tokens, and implements `forward_stages`, which gives the
    patches after the blocks `taps`, and `forward_last`.

    Args:
        channels: of the tokens.
        depth: number of blocks.
        patch: pixels along a side of a patch.
        input_size: height and width of the images, whole multiples of `patch`.
        drop_rate: dropout after the positions.
    """

    classifier_cells = ("head",)
    taps: Tuple[int, ...] = (2, 5, 8, 11)
    position_table: str
    embedding: Tuple[str, ...]

    def __init__(self, channels: int, depth: int, patch: int, input_size: Tuple[int, int], drop_rate: float):
        super().__init__()
        self.taps = check_taps(self.taps, depth)
        self.grid = patch_grid(input_size, patch)
        self.num_features = channels
        self.feature_info = tuple(FeatureInfo(channels, patch, f"blocks.{index}") for index in self.taps)
        self.guard = SizeGuard(input_size)
        self.cls_token = token_table(1, channels)
        self.pos_drop = nn.Dropout(p=drop_rate)

    def layer_parts(self) -> Layers:
        stem = ("cls_token", self.position_table, *self.embedding)
        return (stem, *layers_of("blocks", self.blocks), ("norm", "head"))

    def with_class_token(self, patches: Tensor, positions: Tensor) -> Tensor:
        """Patches (B, h * w, num_features) to all tokens, the table of positions added."""
        cls_token = ops.broadcast_to(self.cls_token, (patches.shape[0], 1, self.num_features))
        return self.pos_drop(ops.cat((cls_token, patches), 1) + positions)

    def forward_last(self, x: Tensor) -> Tensor:
        """Images to all tokens after the last norm."""
        raise NotImplementedError

    def forward_features(self, x: Tensor) -> Tensor:
        return tokens_to_map(self.forward_last(x)[:, 1:], self.grid)

    def forward_head(self, x: Tensor) -> Tensor:
        """The tokens of `forward_last` to logits (B, num_classes)."""
        return self.head(x[:, 0])

    def new_classifier(self, num_classes: int) -> None:
        self.head = init_dense(nn.Dense(self.num_features, num_classes))

    def adapt_torch_weight(self, name: str, value: np.ndarray) -> np.ndarray:
        return resize_tokens(value, self.grid, prefix=1) if name == self.position_table else value
