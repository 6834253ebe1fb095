"""The worst mistakes of a network, with their pictures."""
import base64
import io
import os
from typing import List, NamedTuple, Tuple

from PIL import Image

from ghost_ms import config as recipes
from ghost_ms.analysis.evaluation import of_checkpoint
from ghost_ms.checkpoints.reconcile import Wish
from ghost_ms.data.datasets import Dataset
from ghost_ms.data.decode import to_pillow
from ghost_ms.data.transforms import Preprocessing
from ghost_ms.tasks.base import WORST, Judgement

#: Longer side of a picture in the report, in pixels.
PICTURE = 128


class Mistake(NamedTuple):
    """An image that a network is mistaken about: its name, what was said of it, what would have been right, and its
    pictures."""

    name: str
    said: str
    truth: str
    pictures: Tuple[str, ...]


def picture(image: Image.Image) -> str:
    """An image as a data URI: PNG where it is small, JPEG otherwise."""
    small = max(image.size) <= PICTURE
    if not small:
        image.thumbnail((PICTURE, PICTURE))
    file, kind = io.BytesIO(), "png" if small else "jpeg"
    image.save(file, kind, **({} if small else {"quality": 80}))
    return f"data:image/{kind};base64," + base64.b64encode(file.getvalue()).decode()


def mistakes_of(judgement: Judgement, source: Dataset, preprocessing: Preprocessing) -> List[Mistake]:
    """The worst mistakes with their pictures, as upright as the network saw them."""
    found = []
    for sample in judgement.worst(WORST):
        image = to_pillow(source.read(sample), source.channels, preprocessing.orient)
        case = judgement.case(sample, image, preprocessing)
        found.append(Mistake(os.path.basename(source.name(sample)), case.said, case.truth,
                             tuple(map(picture, case.pictures))))
    return found


def judge_run(folder: str) -> Tuple[Judgement, List[Mistake]]:
    """Predictions of a run's best checkpoint on its own test data, and its worst mistakes.

    Raises:
        FileNotFoundError, ValueError: recipe, checkpoint or data are not there or damaged.
    """
    recipe = recipes.load(os.path.join(folder, "config.yaml"))
    path = os.path.join(folder, "config.yaml")
    found = of_checkpoint(os.path.join(folder, "checkpoints", "best.ckpt"), Wish(recipe, file=path, beside=True))
    return found.judgement, mistakes_of(found.judgement, found.source, found.preprocessing)
