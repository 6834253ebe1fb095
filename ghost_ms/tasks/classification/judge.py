"""What a network makes of a labelled split: its predictions, and the measures that follow from them."""
import dataclasses
from typing import Any, Callable, Dict, Iterable, Iterator, List, NamedTuple, Sequence, Tuple

import numpy as np
from PIL import Image

from ghost_ms.core import scores
from ghost_ms.core.text import printable
from ghost_ms.data.transforms import Preprocessing
from ghost_ms.tasks.base import Case, Curves
from ghost_ms.tasks.classification import measures

#: Predictions that are kept of an image.
TOP = 5


class ClassMeasures(NamedTuple):
    """Measures of each class that has images or was predicted; shares of 1.

    Args:
        places: int (K,), which classes these are.
        images: int (K,), how many the split has of it.
        precision: of what was taken for the class, the share that is of it; 0 where nothing was.
        recall: of its images, the share that was recognised; 0 for a class without images.
        f1: harmonic mean of both.
    """

    places: np.ndarray
    images: np.ndarray
    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray

    def average(self, weighted: bool) -> Tuple[float, float, float]:
        """Mean precision, recall and F1: of the classes alike (macro), or by their images (weighted).

        A class that was predicted and has no images counts in the macro mean, as in scikit-learn.
        """
        weights = self.images if weighted else np.ones(len(self.images))
        precision, recall, f1 = (float((weights * values).sum() / weights.sum())
                                 for values in (self.precision, self.recall, self.f1))
        return precision, recall, f1


@dataclasses.dataclass
class Judgement:
    """Predictions for every image of a split, in its order.

    Args:
        classes: names of the network's outputs; at least as many as there are labels.
        labels: int (N,), the output that would have been right.
        top: int (N, k), the most probable outputs, best first; k is `TOP` or the number of outputs.
        shares: their probabilities, (N, k).
        loss: cross-entropy of the true class, (N,).
        known: how many of the classes the data has; they come first.
    """

    classes: List[str]
    labels: np.ndarray
    top: np.ndarray
    shares: np.ndarray
    loss: np.ndarray
    known: int

    #: Whether there is a confusion matrix.
    confusable = True
    labelled = True

    def headline(self) -> str:
        """'top-1 91.20 %, top-5 99.10 %, loss 0.3421'."""
        return f"top-1 {self.top1:.2f} %, top-5 {self.top5:.2f} %, loss {self.mean_loss:.4f}"

    def class_rows(self) -> List[List[str]]:
        return measures.class_rows(self)

    def as_dict(self) -> Dict[str, Any]:
        return measures.as_dict(self)

    def results(self, name: Callable[[int], str]) -> Iterator[Dict[str, Any]]:
        return measures.results(self, name)

    def thresholds(self) -> Tuple[List[float], List[float]]:
        raise ValueError("--choose-threshold is for detectors; an image of one label has the most probable class")

    def matrix(self) -> Tuple[List[str], np.ndarray]:
        return [self.classes[place] for place in self.shown], self.confusion

    def curves(self) -> Curves:
        return []

    def case(self, sample: int, image: Image.Image, preprocessing: Preprocessing) -> Case:
        said = f"{self.classes[self.predicted[sample]]} {100 * self.confidence[sample]:.0f} %"
        return Case(said, f"is {self.classes[self.labels[sample]]}", (image,))

    def confusion_text(self) -> str:
        return measures.confusion_text(self)

    def write_confusion(self, path: str) -> None:
        measures.write_confusion(path, self)

    @property
    def predicted(self) -> np.ndarray:
        """The most probable output of each image, (N,)."""
        return self.top[:, 0]

    @property
    def confidence(self) -> np.ndarray:
        """Its probability, (N,)."""
        return self.shares[:, 0]

    @property
    def right(self) -> np.ndarray:
        """Whether an image is recognised, bool (N,)."""
        return self.labels == self.predicted

    @property
    def top1(self) -> float:
        """Images whose most probable class is the right one, in percent."""
        return 100 * float(self.right.mean())

    @property
    def top5(self) -> float:
        """Images whose five most probable classes hold the right one, in percent."""
        return 100 * float((self.top == self.labels[:, None]).any(1).mean())

    @property
    def mean_loss(self) -> float:
        return float(self.loss.mean())

    @property
    def shown(self) -> List[int]:
        """The classes of the data, and those beyond that were predicted."""
        return sorted({*range(self.known), *np.unique(self.predicted).tolist()})

    @property
    def confusion(self) -> np.ndarray:
        """(K, K) for the K classes of `shown`: images of the row's class that were taken for the column's."""
        shown = np.array(self.shown)
        counts = np.zeros((len(shown),) * 2, np.int64)
        np.add.at(counts, tuple(np.searchsorted(shown, values) for values in (self.labels, self.predicted)), 1)
        return counts

    def by_class(self) -> ClassMeasures:
        """Precision, recall and F1 of each class that occurs."""
        images, claimed, hits = (np.bincount(values, minlength=len(self.classes)) for values in (
            self.labels, self.predicted, self.labels[self.right]))
        places = np.flatnonzero(images + claimed)
        images, claimed, hits = images[places], claimed[places], hits[places]
        return ClassMeasures(places, images, hits / np.maximum(claimed, 1), hits / np.maximum(images, 1),
                             2 * hits / (images + claimed))

    def worst(self, count: int) -> List[int]:
        """Numbers of the wrongly classified images with the largest loss, the worst first."""
        wrong = np.flatnonzero(~self.right)
        return wrong[np.argsort(-self.loss[wrong], kind="stable")][:count].tolist()

    def confused(self, count: int) -> List[Tuple[str, str, int]]:
        """The pairs (true class, predicted class, images) that are mixed up most often."""
        wrong = ~self.right
        pairs, counts = np.unique(np.stack([self.labels[wrong], self.predicted[wrong]]), axis=1, return_counts=True)
        return [(self.classes[pairs[0, index]], self.classes[pairs[1, index]], int(counts[index]))
                for index in np.argsort(-counts, kind="stable")[:count]]


def judge(run: Callable[[np.ndarray], np.ndarray], batches: Iterable[Tuple[np.ndarray, np.ndarray]],
          classes: Sequence[str], probabilities: bool = False,
          name: Callable[[int], str] = "image {}".format) -> Judgement:
    """What `run` says of the first b images of every batch with b labels.

    Args:
        run: images to outputs (B, outputs).
        classes: names of the data's classes, in the order of the labels; outputs beyond are called 'class N'.
        probabilities: whether the outputs are probabilities rather than logits.
        name: number of an image -> what a sentence calls it.

    Raises:
        ValueError: outputs that are no finite numbers, or fewer of them than classes.
    """
    columns: List[List[np.ndarray]] = [[], [], [], []]
    done, names = 0, list(classes)
    for pixels, labels in batches:
        outputs = checked(run(pixels), len(labels), len(classes), lambda row, first=done: name(first + row))
        logs = _log_probabilities(outputs, probabilities)
        names += [f"class {index}" for index in range(len(names), outputs.shape[1])]
        top = np.argsort(-outputs, axis=1, kind="stable")[:, :TOP]
        shares = np.exp(np.take_along_axis(logs, top, 1))
        for column, values in zip(columns, (labels, top, shares, -logs[np.arange(len(labels)), labels])):
            column.append(values)
        done += len(labels)
    if not done:
        raise ValueError("there is no image to judge the network by")
    return Judgement(names, *(np.concatenate(column) for column in columns), known=len(classes))


def checked(outputs: np.ndarray, images: int, classes: int, name: Callable[[int], str]) -> np.ndarray:
    """The outputs (images, outputs) as float64."""
    if outputs.ndim != 2 or len(outputs) < images:
        raise ValueError(f"the network gives outputs of the shape {tuple(outputs.shape)}; to be measured, it has to "
                         "give one row of logits or probabilities for each image")
    if outputs.shape[1] < classes:
        raise ValueError(f"the network tells {outputs.shape[1]} classes apart, and the data has {classes}")
    outputs = outputs[:images].astype(np.float64)
    bad = np.flatnonzero(~np.isfinite(outputs).all(1))
    if len(bad):
        raise ValueError(f"the network's output for {printable(name(int(bad[0])))} is not finite (NaN or infinite), so "
                         "nothing can be measured: its weights are damaged, or its numbers are too small a type")
    return outputs


def _log_probabilities(outputs: np.ndarray, probabilities: bool) -> np.ndarray:
    if probabilities:
        # A file's float32 probability can round to 0; the smallest number that it could have been stands for it.
        outputs = np.log(np.maximum(outputs, np.nextafter(np.float32(0), np.float32(1))))
    return scores.log_probabilities(outputs)
