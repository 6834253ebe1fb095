"""What a network that gives an image several labels makes of a labelled split, and the measures that follow."""
import dataclasses
from typing import Any, Callable, Dict, Iterable, Iterator, List, Sequence, Tuple

import numpy as np
from PIL import Image

from ghost_ms.core.text import printable
from ghost_ms.data.transforms import Preprocessing
from ghost_ms.tasks.base import Case, Curves
from ghost_ms.tasks.classification import multilabel
from ghost_ms.tasks.classification.judge import checked


@dataclasses.dataclass
class SetJudgement:
    """Predictions for every image of a split, in its order.

    Args:
        classes: their names.
        labels: 0 or 1, (N, classes).
        shares: probabilities of the same shape.
        loss: mean binary cross-entropy.
        scores: at the network's own thresholds.
    """

    classes: List[str]
    labels: np.ndarray
    shares: np.ndarray
    loss: float
    scores: multilabel.Scores

    #: Images of several labels have no confusion matrix.
    confusable = False
    labelled = False

    def headline(self) -> str:
        """'mean average precision 80.00 %, F1 75.00 %, loss 0.1234'."""
        found = self.scores.as_percent()
        return f"mean average precision {found['map']:.2f} %, F1 {found['f1']:.2f} %, loss {self.loss:.4f}"

    def confusion_text(self) -> str:
        raise ValueError("--confusion is for images of one label each; these may have several")

    def write_confusion(self, path: str) -> None:
        self.confusion_text()

    def thresholds(self) -> Tuple[List[float], List[float]]:
        raise ValueError("--choose-threshold is for detectors; the training chose the thresholds of several labels")

    def matrix(self) -> Tuple[List[str], np.ndarray]:
        raise ValueError("a confusion matrix is of images of one label each; these may have several")

    def curves(self) -> Curves:
        return []

    def worst(self, count: int) -> List[int]:
        return []

    def case(self, sample: int, image: Image.Image, preprocessing: Preprocessing) -> Case:
        raise ValueError("there are no worst images of several labels each")

    def class_rows(self) -> List[List[str]]:
        """The measures of every class, in percent, then their means; text cells, header first."""
        def cell(share: float) -> str:
            return "-" if np.isnan(share) else f"{100 * share:.2f}"

        found, there = self.scores, self.scores.images > 0
        columns = (found.average_precision, found.precision, found.recall, found.f1)
        rows = [["class", "images", "average precision (%)", "precision (%)", "recall (%)", "F1 (%)", "threshold (%)"]]
        rows += [[printable(name), str(found.images[place]), *(cell(column[place]) for column in columns),
                  cell(found.threshold[place])] for place, name in enumerate(self.classes)]
        return rows + [["mean of the classes with images", str(len(self.labels)),
                        *(cell(column[there].mean() if there.any() else np.nan) for column in columns), ""]]

    def as_dict(self) -> Dict[str, Any]:
        """All measures, in percent but for the loss, thresholds and what is counted; null where there is none."""
        found = self.scores

        def percent(share: float) -> Any:
            return None if np.isnan(share) else 100 * float(share)

        means = {"map": percent(found.mean_average_precision), "f1": percent(found.macro_f1)}
        return {"images": len(self.labels), "loss": self.loss, **means, "classes": [
            {"class": name, "images": int(found.images[place]), "threshold": float(found.threshold[place]),
             **{key: percent(getattr(found, key)[place]) for key in ("average_precision", "precision", "recall", "f1")}}
            for place, name in enumerate(self.classes)]}

    def results(self, name: Callable[[int], str]) -> Iterator[Dict[str, Any]]:
        """Every prediction as `ghost-ms infer` tells it, with the true labels beside it.

        Args:
            name: number of an image -> its file.
        """
        for sample, (label, share) in enumerate(zip(self.labels, self.shares)):
            yield {"image": name(sample), "true": "|".join(self.classes[place] for place in np.flatnonzero(label)),
                   "predictions": multilabel.labels_of(share, self.classes, self.scores.threshold)}


def judge_sets(run: Callable[[np.ndarray], np.ndarray], batches: Iterable[Tuple[np.ndarray, np.ndarray]],
               classes: Sequence[str], thresholds: Sequence[float],
               name: Callable[[int], str] = "image {}".format) -> SetJudgement:
    """What `run` says of the first b images of every batch with b sets of labels.

    Args:
        run: images to logits (B, outputs).
        classes: names of the data's classes, in the order of the labels; outputs beyond are passed over.
        thresholds: of each class, a probability.
        name: number of an image -> what a sentence calls it.

    Raises:
        ValueError: outputs that are no finite numbers, or fewer of them than classes.
    """
    rows: List[Tuple[np.ndarray, np.ndarray]] = []
    done = 0
    for pixels, labels in batches:
        logits = checked(run(pixels), len(labels), len(classes), lambda row, first=done: name(first + row))
        rows.append((logits[:, :len(classes)], labels))
        done += len(labels)
    if not done:
        raise ValueError("there is no image to judge the network by")
    logits, labels = (np.concatenate(column) for column in zip(*rows))
    return SetJudgement(list(classes), labels, multilabel.probabilities(logits),
                        multilabel.binary_cross_entropy(labels, logits), multilabel.score(labels, logits, thresholds))
