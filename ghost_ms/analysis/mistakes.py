"""What a trained network gets wrong: predictions on the test split, the confusion matrix, the worst mistakes."""
import base64
import dataclasses
import io
import os
from typing import Callable, Iterable, List, NamedTuple, Sequence, Tuple

import numpy as np

from ghost_ms import config as recipes
from ghost_ms.data.datasets import Source, open_source
from ghost_ms.data.loader import evaluation_batches
from ghost_ms.data.decode import to_pillow

#: Longer side of a picture in the report, in pixels.
PICTURE = 128


@dataclasses.dataclass
class Judgement:
    """Predictions for every image of a split, in its order.

    Args:
        classes: their names.
        labels, predicted: int (N,).
        confidence: probability of the predicted class, (N,).
        loss: cross-entropy of the true class, (N,).
    """

    classes: List[str]
    labels: np.ndarray
    predicted: np.ndarray
    confidence: np.ndarray
    loss: np.ndarray

    @property
    def confusion(self) -> np.ndarray:
        """(classes, classes): images of the row's class that were taken for the column's."""
        counts = np.zeros((len(self.classes),) * 2, np.int64)
        # A network can have more logits than the data has classes.
        known = self.predicted < len(self.classes)
        np.add.at(counts, (self.labels[known], self.predicted[known]), 1)
        return counts

    @property
    def recall(self) -> np.ndarray:
        """Share of each class's images that are recognised; NaN for a class without images."""
        totals = np.bincount(self.labels, minlength=len(self.classes))
        hits = np.bincount(self.labels[self.labels == self.predicted], minlength=len(self.classes))
        return np.where(totals > 0, hits / np.maximum(totals, 1), np.nan)

    def worst(self, count: int) -> List[int]:
        """Numbers of the wrongly classified images with the largest loss, the worst first."""
        wrong = np.flatnonzero(self.labels != self.predicted)
        return wrong[np.argsort(-self.loss[wrong], kind="stable")][:count].tolist()

    def confused(self, count: int) -> List[Tuple[str, str, int]]:
        """The pairs (true class, predicted class, images) that are mixed up most often."""
        counts = self.confusion
        np.fill_diagonal(counts, 0)
        order = np.argsort(-counts, axis=None, kind="stable")[:count]
        pairs = zip(*np.unravel_index(order, counts.shape))
        return [(self.classes[row], self.classes[column], int(counts[row, column]))
                for row, column in pairs if counts[row, column]]


def judge(run: Callable[[np.ndarray], np.ndarray], batches: Iterable[Tuple[np.ndarray, np.ndarray]],
          classes: Sequence[str]) -> Judgement:
    """Predictions of `run`, images (B, C, H, W) to logits, for the first b images of every batch with b labels."""
    columns: List[List[np.ndarray]] = [[], [], [], []]
    for pixels, labels in batches:
        logits = run(pixels)[:len(labels)].astype(np.float64)
        shifted = logits - logits.max(1, keepdims=True)
        logs = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
        best = logits.argmax(1)
        rows = np.arange(len(labels))
        for column, values in zip(columns, (labels, best, np.exp(logs[rows, best]), -logs[rows, labels])):
            column.append(values)
    return Judgement(list(classes), *(np.concatenate(column) for column in columns))


class Mistake(NamedTuple):
    """A wrongly classified image: its name, true and predicted class, how sure the network was, and the picture."""

    name: str
    true: str
    predicted: str
    confidence: float
    picture: str


def picture(source: Source, sample: int, orient: bool = False) -> str:
    """An image as a data URI: PNG where it is small, JPEG otherwise; as upright (`orient`) as the network saw it."""
    image = to_pillow(source.read(sample), source.channels, orient)
    small = max(image.size) <= PICTURE
    if not small:
        image.thumbnail((PICTURE, PICTURE))
    file, kind = io.BytesIO(), "png" if small else "jpeg"
    image.save(file, kind, **({} if small else {"quality": 80}))
    return f"data:image/{kind};base64," + base64.b64encode(file.getvalue()).decode()


def mistakes_of(judgement: Judgement, source: Source, count: int, orient: bool = False) -> List[Mistake]:
    """The worst mistakes with their pictures; `orient` as in the network's preprocessing."""
    names, found = judgement.classes, []
    for sample in judgement.worst(count):
        guess = int(judgement.predicted[sample])
        found.append(Mistake(os.path.basename(source.name(sample)), names[judgement.labels[sample]],
                             names[guess] if guess < len(names) else f"class {guess}",
                             float(judgement.confidence[sample]), picture(source, sample, orient)))
    return found


def judge_run(folder: str, count: int) -> Tuple[Judgement, List[Mistake]]:
    """Predictions of a run's best checkpoint on its own test data, and its worst mistakes.

    Raises:
        FileNotFoundError, ValueError: recipe, checkpoint or data are not there or damaged.
    """
    import mindspore as ms

    from ghost_ms import device
    from ghost_ms.training.checkpoint import restore
    from ghost_ms.training.fit import describe

    recipe = recipes.load(os.path.join(folder, "config.yaml"))
    source = open_source(recipe.data, "val")
    device.setup(recipe.run.device, recipe.run.device_id, recipe.run.mode, recipe.run.seed)
    net, description = restore(os.path.join(folder, "checkpoints", "best.ckpt"), describe(recipe, source))
    net.set_train(False)
    batches = evaluation_batches(source, recipe, description.preprocessing)
    judgement = judge(lambda images: net(ms.Tensor(images)).asnumpy(), batches, source.classes)
    return judgement, mistakes_of(judgement, source, count, description.preprocessing.orient)
