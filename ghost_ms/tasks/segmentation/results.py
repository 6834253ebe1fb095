"""What a segmenter says of an image: the class of each pixel, the share of every class, and pictures of both."""
import dataclasses
from typing import Any, Dict, List, Mapping, Sequence, Tuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ghost_ms.core import scores
from ghost_ms.core.text import printable
from ghost_ms.data.canvas import indexed, palette
from ghost_ms.data.geometry import Frame

#: How much of an overlay's pixel is its class's colour; that of class 0, mostly a background, stays as it is.
STRENGTH = 0.5
#: Pixels of a legend's line, and of the square that shows a colour.
LINE, SQUARE = 16, 10


@dataclasses.dataclass(frozen=True)
class Segmented:
    """The classes of an image's pixels.

    Args:
        image: its path.
        labels: uint8 (H, W), the class of each pixel of the image as it is shown, upright.
        shares: name of each class that occurs -> its share of the pixels, from 0 to 1, the largest first.
    """

    image: str
    labels: np.ndarray
    shares: Mapping[str, float]


def labels_of(output: np.ndarray, frame: Tuple[int, int], size: Tuple[int, int], whose: str) -> np.ndarray:
    """The class of each pixel of an image, uint8 (height, width).

    Logits (classes, H, W) are enlarged bilinearly before the largest counts; classes (H, W) by the nearest pixel.

    Args:
        frame: (height, width) of the network's input, in which the image lies as `Preprocessing` puts it there.
        size: (width, height) of the image.
        whose: half a sentence for an error.

    Raises:
        ValueError: outputs that are no finite numbers, or of another size.
    """
    if output.ndim not in (2, 3) or output.shape[-2:] != tuple(frame) or len(output) > 256 and output.ndim == 3:
        raise ValueError(f"{whose} gives outputs of the shape {output.shape}, and {frame[0]}x{frame[1]} pixels are "
                         "wanted: they do not belong together")
    part = Frame.around(size, frame[::-1]).cut(output)
    if output.ndim == 2:
        return np.asarray(Image.fromarray(part.astype(np.uint8)).resize(size, Image.Resampling.NEAREST))
    scores.require_finite(part, whose)
    # Class by class: all of them at a photograph's size could be gigabytes.
    best, labels = None, np.zeros(size[::-1], np.uint8)
    for place, logits in enumerate(part):
        enlarged = np.asarray(Image.fromarray(np.ascontiguousarray(logits, np.float32)).resize(
            size, Image.Resampling.BILINEAR))
        if best is None:
            best = enlarged.copy()
            continue
        larger = enlarged > best
        labels[larger] = place
        best[larger] = enlarged[larger]
    return labels


def shares_of(labels: np.ndarray, classes: Sequence[str]) -> List[Dict[str, Any]]:
    """[{class, index, share}] of the classes that occur, the largest share first."""
    counts = np.bincount(labels.ravel())
    found = [place for place in np.argsort(-counts, kind="stable").tolist() if counts[place]]
    return [{"class": scores.name_of(classes, place), "index": place, "share": float(counts[place] / labels.size)}
            for place in found]


def coloured(image: Image.Image, labels: np.ndarray) -> Image.Image:
    """The image with its classes' colours over it."""
    colours = np.array(palette(), np.uint8).reshape(-1, 3)
    pixels = np.asarray(image.convert("RGB"))
    strength = np.where(labels[..., None] == 0, 0.0, STRENGTH)
    return Image.fromarray((pixels * (1 - strength) + colours[labels] * strength).round().astype(np.uint8))


def overlay(image: Image.Image, labels: np.ndarray, classes: Sequence[str]) -> Image.Image:
    """The image with its classes' colours over it, and below it a legend of those that occur."""
    colours = np.array(palette(), np.uint8).reshape(-1, 3)
    mixed = coloured(image, labels)
    found = shares_of(labels, classes)
    legend = Image.new("RGB", (max(mixed.width, 160), mixed.height + LINE * len(found)), "white")
    legend.paste(mixed, (0, 0))
    draw, font = ImageDraw.Draw(legend), ImageFont.load_default()
    for line, one in enumerate(found):
        top = mixed.height + LINE * line + (LINE - SQUARE) // 2
        draw.rectangle((3, top, 3 + SQUARE, top + SQUARE), fill=tuple(colours[one["index"]].tolist()), outline="black")
        text = f"{printable(one['class'])} {100 * one['share']:.1f} %"
        # The font that Pillow brings has no letters beyond Latin ones.
        draw.text((8 + SQUARE, top - 1), text.encode("latin-1", "replace").decode("latin-1"), fill="black", font=font)
    return legend


def pictures(image: Image.Image, labels: np.ndarray, classes: Sequence[str]) -> Dict[str, Image.Image]:
    """The map as an indexed picture, and the overlay, by what the names of their files end with."""
    return {"labels": indexed(labels), "overlay": overlay(image, labels, classes)}
