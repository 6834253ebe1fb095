"""The worst mistakes of a network, with their pictures."""
import base64
import io
import os
from typing import Any, List, NamedTuple, Tuple

from ghost_ms import config as recipes
from ghost_ms.analysis.evaluation import of_checkpoint
from ghost_ms.checkpoints.reconcile import Wish
from ghost_ms.data.datasets import Dataset
from ghost_ms.data.decode import to_pillow

#: Longer side of a picture in the report, in pixels.
PICTURE = 128


class Mistake(NamedTuple):
    """A wrongly classified image: its name, true and predicted class, how sure the network was, and the picture."""

    name: str
    true: str
    predicted: str
    confidence: float
    picture: str


def picture(source: Dataset, sample: int, orient: bool = False) -> str:
    """An image as a data URI: PNG where it is small, JPEG otherwise; as upright (`orient`) as the network saw it."""
    image = to_pillow(source.read(sample), source.channels, orient)
    small = max(image.size) <= PICTURE
    if not small:
        image.thumbnail((PICTURE, PICTURE))
    file, kind = io.BytesIO(), "png" if small else "jpeg"
    image.save(file, kind, **({} if small else {"quality": 80}))
    return f"data:image/{kind};base64," + base64.b64encode(file.getvalue()).decode()


def mistakes_of(judgement: Any, source: Dataset, count: int, orient: bool = False) -> List[Mistake]:
    """The worst mistakes with their pictures; `orient` as in the network's preprocessing."""
    names = judgement.classes
    return [Mistake(os.path.basename(source.name(sample)), names[judgement.labels[sample]],
                    names[judgement.predicted[sample]], float(judgement.confidence[sample]),
                    picture(source, sample, orient))
            for sample in judgement.worst(count)]


def judge_run(folder: str, count: int) -> Tuple[Any, List[Mistake]]:
    """Predictions of a run's best checkpoint on its own test data, and its worst mistakes where they are of classes.

    Raises:
        FileNotFoundError, ValueError: recipe, checkpoint or data are not there or damaged.
    """
    recipe = recipes.load(os.path.join(folder, "config.yaml"))
    path = os.path.join(folder, "config.yaml")
    found = of_checkpoint(os.path.join(folder, "checkpoints", "best.ckpt"), Wish(recipe, file=path, beside=True))
    if not found.judgement.confusable:
        return found.judgement, []
    return found.judgement, mistakes_of(found.judgement, found.source, count, found.preprocessing.orient)
