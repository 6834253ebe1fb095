"""What a detector says of an image: its objects, and a picture with their boxes."""
import dataclasses
from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ghost_ms.core import scores as score_functions
from ghost_ms.core.text import printable
from ghost_ms.data.canvas import palette
from ghost_ms.tasks.detection.postprocess import Detections

#: Height in pixels of a line of text beside a box.
LINE = 12


@dataclasses.dataclass(frozen=True)
class Detected:
    """The objects in an image, by falling score.

    Args:
        image: its path.
        boxes: float32 (n, 4), left, top, right, bottom in pixels of the image as it is shown, upright.
        scores: float32 (n,), from 0 to 1.
        labels: int32 (n,), numbers of the classes.
        classes: names, (n,).
    """

    image: str
    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    classes: Tuple[str, ...]


def as_objects(found: Detections, classes: Sequence[str]) -> List[Dict[str, Any]]:
    """[{class, index, score, box}] with plain values; a box is left, top, right, bottom in pixels."""
    return [{"class": score_functions.name_of(classes, label), "index": label, "score": score,
             "box": [round(value, 3) for value in box]}
            for box, score, label in zip(found.boxes.tolist(), found.scores.tolist(), found.labels.tolist())]


def drawn(image: Image.Image, boxes: np.ndarray, labels: np.ndarray, classes: Sequence[str],
          scores: Optional[np.ndarray] = None) -> Image.Image:
    """The image with boxes, each with its class, and its score in percent where there are scores."""
    colours = np.array(palette(), np.uint8).reshape(-1, 3)
    picture = image.convert("RGB")
    if picture is image:
        picture = image.copy()
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default()
    thick = max(1, round(max(picture.size) / 400))
    # The strongest last, over the others.
    for place in range(len(boxes) - 1, -1, -1):
        colour = tuple(colours[1 + int(labels[place]) % 254].tolist())
        left, top, right, bottom = (float(value) for value in boxes[place])
        draw.rectangle((left, top, max(left, right - 1), max(top, bottom - 1)), outline=colour, width=thick)
        text = printable(score_functions.name_of(classes, int(labels[place])))
        if scores is not None:
            text += f" {100 * float(scores[place]):.0f} %"
        # The font that Pillow brings has no letters beyond Latin ones.
        text = text.encode("latin-1", "replace").decode("latin-1")
        high = top - LINE if top >= LINE else top
        end = draw.textlength(text, font=font)
        draw.rectangle((left, high, left + end + 2, high + LINE), fill=colour)
        bright = sum(colour) > 380
        draw.text((left + 1, high), text, fill="black" if bright else "white", font=font)
    return picture
