"""Pictures of what a network looks at: the image as the network sees it, and the explanation drawn on it."""
import os
from typing import Dict, List, Optional, Sequence, Tuple, Union

import numpy as np
from mindspore import nn
from PIL import Image

from ghost_ms.analysis.explain.saliency import (METHODS, Neighbours, attention_rollout, chosen_neighbours,
                                                default_method, grad_cam)
from ghost_ms.checkpoints.spec import ModelSpec
from ghost_ms.core import scores
from ghost_ms.core.files import whole_file
from ghost_ms.core.text import printable
from ghost_ms.data.decode import read_image_file
from ghost_ms.data.transforms import Preprocessing, normalize


def explain(net: nn.Cell, description: ModelSpec, seen: Image.Image, output: str, method: Optional[str] = None,
            stage: int = -1, target: Optional[int] = None, patch: Optional[Tuple[int, int]] = None) -> str:
    """Explain one image and write the picture; returns a sentence on what it shows.

    Args:
        seen: the picture that the network gets, as `read_seen` gives it.
        method: gradcam, rollout or neighbours; by default the one that belongs to the family.
        target: class that Grad-CAM explains; by default the predicted one.
        patch: (row, column) whose neighbours are drawn; by default the one in the middle.

    Raises:
        ValueError, OSError: the network has no such stage or method, or the picture cannot be written.
    """
    spec, method = description.preprocessing, method or default_method(net)
    for name, value, owner in (("--class", target, "gradcam"), ("--patch", patch, "neighbours")):
        if value is not None and method != owner:
            raise ValueError(f"{name} is for --method {owner}, and this is {method}")
    image = normalize(np.asarray(seen), spec.mean, spec.std)
    found: Union[Neighbours, np.ndarray]
    if method == "neighbours":
        found, logits = chosen_neighbours(net, image, stage, patch)
    elif method == "gradcam":
        found, logits = grad_cam(net, image, stage, target)
    else:
        found, logits = attention_rollout(net, image, stage)
    shares = scores.probabilities(logits, whose=f"for '{printable(output)}' the network")
    explained = int(scores.order(logits)[0]) if target is None else target
    share, name = shares[explained], printable(scores.name_of(description.classes, explained))
    said = f"{method}, stage {stage % len(net.feature_info)} ({net.feature_info[stage].name})"
    draw(seen, found, f"{name} {100 * share:.1f} %", said, output)
    return f"{printable(output)}: {printable(description.model)}, {name} {100 * share:.2f} %; {said}{_strongest(found)}"


def read_seen(path: str, spec: Preprocessing) -> Image.Image:
    """The picture that the network gets of a file, before it is normalised; ValueError or OSError where it is none."""
    try:
        return spec.picture(read_image_file(path))
    except ValueError as error:
        raise ValueError(f"'{printable(path)}' is {error}") from None


def _strongest(found: Union[Neighbours, np.ndarray]) -> str:
    if isinstance(found, Neighbours):
        return f"; patch {found.patch[0]} {found.patch[1]} of {found.grid[0]}x{found.grid[1]}"
    row, column = np.unravel_index(int(found.argmax()), found.shape)
    return f"; strongest in row {row} and column {column} of {found.shape[0]}x{found.shape[1]}"


def heat_map(weights: np.ndarray, size: Tuple[int, int]) -> np.ndarray:
    """Weights (h, w) as shares of the largest, resized bilinearly to (height, width); zeros stay zeros."""
    top = weights.max()
    scaled = (weights / top if top > 0 else weights).astype(np.float32)
    resized = Image.fromarray(scaled).resize((size[1], size[0]), Image.Resampling.BILINEAR)
    return np.clip(np.asarray(resized), 0, 1)


def boxes(found: Neighbours, size: Tuple[int, int]) -> List[Tuple[float, float, float, float]]:
    """(left, top, width, height) in pixels of an image (height, width): of the patch, then of each neighbour."""
    def box(place: Tuple[int, int], grid: Tuple[int, int]) -> Tuple[float, float, float, float]:
        height, width = size[0] / grid[0], size[1] / grid[1]
        return place[1] * width, place[0] * height, width, height

    return [box(found.patch, found.grid)] + [box(cell, found.others) for cell in found.cells]


def draw(seen: Image.Image, found: Union[Neighbours, np.ndarray], title: str, said: str, output: str) -> None:
    """The picture, and beside it the same with the explanation; OSError where it cannot be written."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    pixels = np.asarray(seen.convert("RGB"))
    size = pixels.shape[:2]
    ratio = size[1] / size[0]
    figure = Figure(figsize=(2 * 4.2 * ratio, 4.8), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    for axes, text in ((left, title), (right, said)):
        axes.imshow(pixels, interpolation="nearest")
        # A class whose name has two dollars would be set as a formula.
        axes.set_title(text, fontsize=10, parse_math=False)
        axes.set_axis_off()
    if isinstance(found, Neighbours):
        _draw_neighbours(right, found, size)
    else:
        heat = heat_map(found, size)
        right.imshow(heat, cmap="inferno", vmin=0, vmax=1, alpha=0.25 + 0.5 * heat)
    os.makedirs(os.path.dirname(output) or ".", exist_ok=True)
    with whole_file(output) as temporary:
        figure.savefig(temporary, dpi=110, format="png")


def _draw_neighbours(axes, found: Neighbours, size: Tuple[int, int]) -> None:
    from matplotlib.patches import Rectangle

    patch, *others = boxes(found, size)

    def middle(box: Sequence[float]) -> Tuple[float, float]:
        return box[0] + box[2] / 2 - 0.5, box[1] + box[3] / 2 - 0.5

    for box in others:
        (x, y), (at, below) = middle(patch), middle(box)
        axes.plot([x, at], [y, below], color="#ff9457", linewidth=1.2, alpha=0.9)
        axes.add_patch(Rectangle((box[0] - 0.5, box[1] - 0.5), box[2], box[3], fill=False, color="#ff9457", lw=1.6))
    x, y, width, height = patch
    axes.add_patch(Rectangle((x - 0.5, y - 0.5), width, height, fill=False, color="#4fd1ff", lw=2.4))


def class_index(text: Optional[str], classes: Sequence[str]) -> Optional[int]:
    """The class that a user names or numbers; ValueError for an unknown one."""
    if text is None:
        return None
    if text in classes:
        return list(classes).index(text)
    if text.isdigit():
        return int(text)
    from ghost_ms.config import nearest

    raise ValueError(f"there is no class '{text}'{nearest(text, classes)}")


def is_explanation(path: str) -> bool:
    """Whether a file is a picture that an earlier call has written."""
    return path.endswith(tuple(f"_{method}.png" for method in METHODS))


def outputs(paths: Sequence[str], method: str, where: Optional[str] = None) -> Dict[str, str]:
    """The picture to write for each image.

    By default CAT_JPG_METHOD.png beside CAT.JPG: with its ending, since CAT.PNG can lie there too. Where a folder is
    named, it gets the pictures, in folders as the images lie in.

    Args:
        where: a folder; or, for one image, a file that ends in .png.

    Raises:
        ValueError: one file for several images.
    """
    paths = list(dict.fromkeys(paths))
    if where is not None and where.lower().endswith(".png") and not os.path.isdir(where):
        if len(paths) > 1:
            raise ValueError(f"--output names one picture, but there are {len(paths)} images; name a folder")
        return {paths[0]: where}
    top = os.path.commonpath([os.path.dirname(os.path.abspath(path)) for path in paths])
    found = {}
    for path in paths:
        root, ending = os.path.splitext(path)
        name = f"{root}_{ending[1:]}_{method}.png"
        found[path] = name if where is None else os.path.join(where, os.path.relpath(os.path.abspath(name), top))
    return found
