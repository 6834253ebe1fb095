"""Where a network looks: Grad-CAM at any stage, attention rollout, and the neighbours that a graph network chooses.

Everything runs in PyNative mode on one image, through hooks on the cells of the network as it is.
"""
from typing import Any, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np
from mindspore import Tensor, nn, ops

from ghost_ms.layers.graph import MaxRelativeConv
from ghost_ms.layers.position import source_grid
from ghost_ms.models.backbone import Backbone, ClassTokenBackbone

Grid = Tuple[int, int]
METHODS = ("gradcam", "rollout", "neighbours")


class Saliency(NamedTuple):
    """What an explanation gives: how much each cell of a grid (h, w) counts, and the network's logits."""

    weights: np.ndarray
    logits: np.ndarray


class Neighbours(NamedTuple):
    """The cells that a patch takes its neighbours from.

    Args:
        grid: (rows, columns) of the patches.
        patch: (row, column) of the one that is looked at.
        others: (rows, columns) of the map that the neighbours lie on, coarser where a network pools it.
        cells: (row, column) of each neighbour, the nearest first.
    """

    grid: Grid
    patch: Grid
    others: Grid
    cells: List[Grid]


def stage_cell(net: Backbone, stage: int) -> nn.Cell:
    """The cell whose output is the map of a stage.

    Raises:
        ValueError: the network has no such stage.
    """
    info = net.feature_info
    if not -len(info) <= stage < len(info):
        raise ValueError(f"--stage is {stage}, but this {type(net).__name__} has the stages 0 to {len(info) - 1}")
    cell = dict(net.cells_and_names())[info[stage].name]
    # A list of cells is never called itself, and a sequence not by a segmenter; what the last one gives is the same.
    while isinstance(cell, nn.CellList) or type(cell) is nn.SequentialCell:
        cell = cell[len(cell) - 1]
    return cell


def grad_cam(net: Backbone, image: np.ndarray, stage: int = -1, target: Optional[int] = None) -> Saliency:
    """Grad-CAM (Selvaraju et al., arXiv 1610.02391, equations 1 and 2): (h, w) of the stage's map, not negative.

    The channels of the map are weighted by the mean of the gradient of the target's logit over all positions; the
    sum passes a ReLU. Patch tokens count as a map; a class token before them is left out. Of a segmenter a class's
    logit is its mean over the pixels that are taken for it, or over all where none is (Seg-Grad-CAM, arXiv 2002.11434).

    Args:
        image: float32 (C, H, W), preprocessed.
        stage: index into `feature_info`, negative from the end.
        target: class to explain; by default the predicted one.
    """
    cell, info = stage_cell(net, stage), net.feature_info[stage]
    images = Tensor(image[None])
    logits = _forward(net, images)
    target = int(logits.argmax()) if target is None else target
    if not 0 <= target < len(logits):
        raise ValueError(f"the class is {target}, but the network has the classes 0 to {len(logits) - 1}")
    values = stage_output(net, cell, images)
    # A tensor of zeros is added to the map; the gradient by it is the gradient by the map.
    probe: List[Tensor] = []

    def hook(cell, inputs, output):
        if not probe:
            return None
        added = (output[-1] if isinstance(output, tuple) else output) + probe.pop()
        return (*output[:-1], added) if isinstance(output, tuple) else added

    def score(zeros: Tensor) -> Tensor:
        probe.append(zeros)
        return class_logits(net(images))[0, target]

    handle = cell.register_forward_hook(hook)
    try:
        gradient = ops.grad(score)(ops.zeros_like(values)).asnumpy()
    finally:
        handle.remove()
    grid = _grid(image, info.stride)
    activation, gradient = (as_map(array, info.channels, grid) for array in (values.asnumpy(), gradient))
    return Saliency(np.maximum((gradient.mean((1, 2))[:, None, None] * activation).sum(0), 0), logits)


def stage_output(net: nn.Cell, cell: nn.Cell, images: Tensor) -> Tensor:
    """What a cell gives the first time that it is called; of several outputs, the last."""
    kept: List[Tensor] = []
    handle = cell.register_forward_hook(
        lambda cell, inputs, output: kept.append(output[-1] if isinstance(output, tuple) else output))
    try:
        net(images)
    finally:
        handle.remove()
    return kept[0]


def _grid(image: np.ndarray, stride: int) -> Grid:
    return -(-image.shape[1] // stride), -(-image.shape[2] // stride)


def _forward(net: nn.Cell, images: Tensor) -> np.ndarray:
    """Logits (classes,) of one image; of a segmenter the logarithm of each class's share of the pixels, so that their
    softmax is that share."""
    given = net(images)
    logits = (given[0] if isinstance(given, (tuple, list)) else given).asnumpy()[0]
    if logits.ndim == 1:
        return logits
    counts = np.bincount(logits.argmax(0).ravel(), minlength=len(logits))
    return np.log(np.maximum(counts / counts.sum(), 1e-12)).astype(np.float32)


def class_logits(given: Any) -> Tensor:
    """Logits (B, classes) as they are; of logits of every pixel, (B, classes, H, W), the first where there are several,
    each class's mean over the pixels of which it is the largest, or over all where it is of none."""
    logits = given[0] if isinstance(given, (tuple, list)) else given
    if logits.ndim == 2:
        return logits
    own = (ops.stop_gradient(logits).argmax(1, keepdims=True) == ops.arange(logits.shape[1]).reshape(1, -1, 1, 1))
    own = own.astype(logits.dtype)
    own = own + (own.sum((2, 3), keepdims=True) == 0).astype(logits.dtype)
    return (logits * own).sum((2, 3)) / own.sum((2, 3))


def as_map(values: np.ndarray, channels: int, grid: Grid) -> np.ndarray:
    """A map (1, C, h, w), or tokens (1, prefix + h * w, C) of a grid (h, w), as (C, h, w)."""
    if values.ndim == 4:
        return values[0]
    return values[0, -grid[0] * grid[1]:].T.reshape(channels, *grid)


def attention_matrices(net: Backbone, image: np.ndarray) -> Tuple[List[np.ndarray], np.ndarray]:
    """The attention between the tokens of one image, layer by layer, each (heads, N, M), and the logits.

    Attention inside patches (the inner transformers of TNT) is left out.
    """
    found: List[np.ndarray] = []

    def keep(cell, inputs, output):
        if output.ndim == 4 and output.shape[0] == 1:
            found.append(output.asnumpy()[0])

    handles = [cell.softmax.register_forward_hook(keep) for _, cell in net.cells_and_names()
               if isinstance(getattr(cell, "softmax", None), nn.Softmax)]
    try:
        return found, _forward(net, Tensor(image[None]))
    finally:
        for handle in handles:
            handle.remove()


def rollout(layers: Sequence[np.ndarray]) -> np.ndarray:
    """Attention rollout (Abnar and Zuidema, arXiv 2005.00928, section 3): (N, N), rows sum to 1.

    Attention is averaged over the heads; half of what a token hands on is itself, because of the shortcut; the
    product over the layers tells where the last layer's tokens come from.

    Args:
        layers: attention (heads, N, N), first layer first.
    """
    result = np.eye(layers[0].shape[-1])
    for attention in layers:
        mixed = 0.5 * attention.mean(0) + 0.5 * np.eye(attention.shape[-1])
        result = mixed / mixed.sum(-1, keepdims=True) @ result
    return result


def spread_keys(attention: np.ndarray, queries: Grid, keys: Grid) -> np.ndarray:
    """Attention to pooled keys, (heads, N, M), as attention to the positions that they were pooled from, (heads, N, N).

    Each position belongs to the key that lies over it; those of a key share its weight evenly.
    """
    if queries == keys:
        return attention
    rows, columns = (np.minimum(np.arange(q) // max(1, q // k), k - 1) for q, k in zip(queries, keys))
    owner = (rows[:, None] * keys[1] + columns).reshape(-1)
    share = 1 / np.bincount(owner, minlength=keys[0] * keys[1])
    return attention[:, :, owner] * share[owner]


def attention_rollout(net: Backbone, image: np.ndarray, stage: int = -1) -> Saliency:
    """How much each patch counts, by attention rollout over the layers of a stage's resolution: (h, w), sums to 1.

    With a class token, what it takes from the patches; otherwise the mean over all patches of the stage. Only
    attention and its shortcut are followed, as in the paper; the layers between are taken to keep tokens apart.

    Raises:
        ValueError: there is no attention between the patches of this stage.
    """
    stage_cell(net, stage)
    layers, logits = attention_matrices(net, image)
    stride = net.feature_info[stage].stride
    grid = _grid(image, stride)
    count = grid[0] * grid[1]
    prefix = 1 if any(layer.shape[1] == count + 1 for layer in layers) else 0
    layers = [layer for layer in layers if layer.shape[1] == prefix + count]
    if not layers:
        raise ValueError(f"{type(net).__name__} has no attention between the patches of stage {stage}; "
                         "choose another --stage or --method gradcam")
    if not prefix:
        layers = [spread_keys(layer, grid, source_grid(layer.shape[2], _reduced(grid, layer.shape[2])))
                  for layer in layers]
    matrix = rollout(layers)
    weights = matrix[0, 1:] if prefix else matrix.mean(0)
    return Saliency((weights / weights.sum()).reshape(grid), logits)


def _reduced(grid: Grid, count: int) -> Grid:
    """The grid with `count` cells that comes of pooling both sides alike."""
    return next(((grid[0] // factor, grid[1] // factor) for factor in range(1, min(grid) + 1)
                 if (grid[0] // factor) * (grid[1] // factor) == count), (1, count))


def chosen_neighbours(net: Backbone, image: np.ndarray, stage: int = -1,
                      patch: Optional[Grid] = None) -> Tuple[Neighbours, np.ndarray]:
    """The neighbours of a patch in the last graph of a stage (Vision GNN, arXiv 2206.00272, section 3.1).

    Args:
        patch: (row, column); by default the one in the middle.

    Returns:
        The neighbours, and the logits.

    Raises:
        ValueError: the network has no graph, or no such patch.
    """
    stage_cell(net, stage)
    graphs: List[tuple] = []
    handles = [cell.register_forward_pre_hook(lambda cell, inputs, name=name: graphs.append((name, inputs)))
               for name, cell in net.cells_and_names() if isinstance(cell, MaxRelativeConv)]
    try:
        logits = _forward(net, Tensor(image[None]))
    finally:
        for handle in handles:
            handle.remove()
    if not graphs:
        raise ValueError(f"{type(net).__name__} is no graph network; choose --method gradcam")
    order = [name for name, _ in net.cells_and_names()]
    # A stage is named after its last block, which can have no graph of its own.
    last = max(index for index, name in enumerate(order)
               if name == net.feature_info[stage].name or name.startswith(net.feature_info[stage].name + "."))
    x, nodes, index = [inputs for name, inputs in graphs if order.index(name) <= last][-1]
    return _located(index.asnumpy()[0], x.shape[2:], nodes.shape[2], patch), logits


def _located(index: np.ndarray, grid: Grid, count: int, patch: Optional[Grid]) -> Neighbours:
    """Indices (N, k) of nodes as rows and columns."""
    patch = (grid[0] // 2, grid[1] // 2) if patch is None else patch
    if not all(0 <= place < extent for place, extent in zip(patch, grid)):
        raise ValueError(f"there is no patch in row {patch[0]} and column {patch[1]} of {grid[0]}x{grid[1]} patches")
    others = _reduced(tuple(grid), count)
    chosen = index[patch[0] * grid[1] + patch[1]]
    return Neighbours(tuple(grid), tuple(patch), others, [divmod(int(node), others[1]) for node in chosen])


def default_method(net: Backbone) -> str:
    """The explanation that belongs to a network's family."""
    if any(isinstance(cell, MaxRelativeConv) for _, cell in net.cells_and_names()):
        return "neighbours"
    return "rollout" if isinstance(net, ClassTokenBackbone) else "gradcam"
