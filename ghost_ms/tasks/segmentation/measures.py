"""Mean intersection over union, from one confusion matrix of pixels."""
import dataclasses
import heapq
from typing import Any, Callable, Dict, Iterator, List, Mapping, Sequence, Tuple

import numpy as np
from PIL import Image

from ghost_ms.core.tables import require_ending, write_csv
from ghost_ms.core.text import printable, some
from ghost_ms.data.geometry import IGNORE
from ghost_ms.data.transforms import Preprocessing
from ghost_ms.tasks.base import WORST, Case, Curves, NotFinite, Outputs
from ghost_ms.tasks.segmentation import results

#: Images that a sentence names.
NAMED = 5


def predicted_labels(output: np.ndarray) -> np.ndarray:
    """The class of each pixel, int (B, H, W), of logits (B, classes, H, W) or of such classes themselves."""
    return output.argmax(1) if output.ndim == 4 else output.astype(np.int64)


def confusion(predicted: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """Pixels of the row's class that were taken for the column's, int64 (classes, classes); those of the label 255 do
    not count. Predictions beyond the classes count in one more column: (classes, classes + 1)."""
    counts = labels != IGNORE
    pairs = labels[counts].astype(np.int64) * (classes + 1) + np.minimum(predicted[counts], classes)
    return np.bincount(pairs, minlength=classes * (classes + 1)).reshape(classes, classes + 1)


class Scores:
    """What follows from a confusion matrix.

    Args:
        matrix: as `confusion` has it, of all images.

    Attributes:
        iou: of each class, from 0 to 1: right pixels over those of the class or taken for it; NaN for a class of
            neither.
        precision, recall: of each class, from 0 to 1; NaN where nothing was taken for it, or nothing is of it.
    """

    def __init__(self, matrix: np.ndarray):
        self.matrix = matrix
        classes = len(matrix)
        right = np.diagonal(matrix).astype(np.float64)
        self.pixels, claimed = matrix.sum(1), matrix[:, :classes].sum(0)
        with np.errstate(invalid="ignore"):
            self.iou = right / (self.pixels + claimed - right)
            self.precision, self.recall = right / claimed, right / self.pixels
        self.total = int(matrix.sum())

    @property
    def miou(self) -> float:
        """Mean IoU over the classes that the images have or that were predicted, in percent."""
        there = ~np.isnan(self.iou)
        return 100 * float(self.iou[there].mean()) if there.any() else 0.0

    @property
    def accuracy(self) -> float:
        """Right pixels of those that count, in percent."""
        return 100 * float(np.trace(self.matrix)) / max(self.total, 1)

    @property
    def mean_accuracy(self) -> float:
        """Mean recall over the classes that the images have, in percent."""
        there = self.pixels > 0
        return 100 * float(self.recall[there].mean()) if there.any() else 0.0

    def as_percent(self) -> Dict[str, float]:
        """By the names of the task's figures."""
        return {"miou": self.miou, "pixel_accuracy": self.accuracy, "mean_accuracy": self.mean_accuracy}


class MapEvaluator:
    """mIoU, pixel accuracy and mean class accuracy in percent, of logits (B, classes, H, W) and maps (b, H, W).

    Args:
        classes: number of them.
        name: what the image is called that comes as the n-th, counted from 0.
    """

    shared = True

    def __init__(self, classes: int, name: Callable[[int], str] = "image {}".format):
        self.classes, self.name = classes, name
        self.matrix = np.zeros((classes, classes + 1), np.int64)
        self.images = 0
        self.bad: List[int] = []

    def update(self, outputs: Outputs, targets: Outputs) -> None:
        labels, = targets
        logits = outputs[0][:len(labels)]
        self.bad += (self.images + np.flatnonzero(~np.isfinite(logits).all((1, 2, 3)))).tolist()
        self.images += len(labels)
        self.matrix += confusion(predicted_labels(logits), labels, self.classes)

    def compute(self, total: Callable[[List[float]], List[float]] = list) -> Dict[str, float]:
        # Whole numbers below 2 ** 53, so that their sum over the processes is exact.
        images, wrong, *counts = total([self.images, len(self.bad), *self.matrix.ravel().tolist()])
        if wrong:
            named = f" ({some([self.name(index) for index in self.bad], NAMED)})" if self.bad else ""
            raise NotFinite(f"the network's outputs for {int(wrong)} of {int(images)} test images are not finite"
                            f"{named}: its weights or BatchNorm statistics have diverged, or mixed precision overflows")
        scores = Scores(np.array(counts).reshape(self.matrix.shape).astype(np.int64))
        return {**scores.as_percent(), "images": int(images)}

    def learned(self) -> Dict[str, Any]:
        return {}


@dataclasses.dataclass
class Judgement:
    """A segmenter's predictions for a split.

    Args:
        classes: their names.
        scores: of all pixels.
        each: mIoU in percent of each image, over the classes in it or predicted; and its pixel accuracy.
        maps: of the `WORST` images of the lowest mIoU: number -> class and label of each pixel, uint8 (H, W).
    """

    classes: Sequence[str]
    scores: Scores
    each: List[Tuple[float, float]]
    maps: Mapping[int, Tuple[np.ndarray, np.ndarray]] = dataclasses.field(default_factory=dict)

    #: Whether there is a confusion matrix.
    confusable = True
    labelled = False

    def headline(self) -> str:
        """'mIoU 71.20 %, pixel accuracy 95.10 %, mean class accuracy 80.30 %'."""
        return (f"mIoU {self.scores.miou:.2f} %, pixel accuracy {self.scores.accuracy:.2f} %, mean class accuracy "
                f"{self.scores.mean_accuracy:.2f} %")

    def class_rows(self) -> List[List[str]]:
        def cell(share: float) -> str:
            return "-" if np.isnan(share) else f"{100 * share:.2f}"

        found = self.scores
        rows = [["class", "pixels (%)", "IoU (%)", "precision (%)", "recall (%)"]]
        rows += [[printable(name), f"{100 * found.pixels[place] / max(found.total, 1):.2f}", cell(found.iou[place]),
                  cell(found.precision[place]), cell(found.recall[place])] for place, name in enumerate(self.classes)]
        return rows + [["mean of the classes that occur", "100.00", f"{found.miou:.2f}", "", ""]]

    def as_dict(self) -> Dict[str, Any]:
        found = self.scores
        return {"images": len(self.each), **found.as_percent(), "classes": [
            {"class": name, "pixels": int(found.pixels[place]), "iou": _percent(found.iou[place]),
             "precision": _percent(found.precision[place]), "recall": _percent(found.recall[place])}
            for place, name in enumerate(self.classes)],
            "confusion": {"classes": list(self.classes), "pixels": found.matrix[:, :len(self.classes)].tolist()}}

    def results(self, name: Callable[[int], str]) -> Iterator[Dict[str, Any]]:
        for sample, (miou, accuracy) in enumerate(self.each):
            yield {"image": name(sample), "miou": miou, "pixel_accuracy": accuracy}

    def thresholds(self) -> Tuple[List[float], List[float]]:
        raise ValueError("--choose-threshold is for detectors; a pixel has the most probable class")

    def matrix(self) -> Tuple[List[str], np.ndarray]:
        """Pixels; those taken for a class that the data does not have are in no column."""
        return list(self.classes), self.scores.matrix[:, :len(self.classes)]

    def curves(self) -> Curves:
        return []

    def worst(self, count: int) -> List[int]:
        """By their mIoU; images without a mistake are none."""
        return [sample for sample in sorted(self.maps, key=lambda sample: (self.each[sample][0], sample))
                if self.each[sample][0] < 100][:count]

    def case(self, sample: int, image: Image.Image, preprocessing: Preprocessing) -> Case:
        """The classes as colours over the image, predicted and true."""
        predicted, truth = self.maps[sample]
        if image.size != truth.shape[::-1]:
            image = preprocessing.resize(image)
        names = ", ".join(printable(self.classes[place]) for place in np.unique(truth).tolist() if place != IGNORE)
        return Case(f"mIoU {self.each[sample][0]:.1f} %", f"beside what is right: {names or 'nothing that counts'}",
                    (results.coloured(image, predicted), results.coloured(image, truth)))

    def confusion_text(self) -> str:
        """The share of each class's pixels that went to each class, in percent, for a terminal."""
        width = max(8, *(len(printable(name)) for name in self.classes)) + 1
        shares = 100 * self.scores.matrix[:, :len(self.classes)] / np.maximum(self.scores.pixels, 1)[:, None]
        lines = [" " * width + "".join(f"{place:>6}" for place in range(len(self.classes)))]
        lines += [f"{printable(name):<{width}}" + "".join(f"{share:6.1f}" for share in row) + f"  = {place}"
                  for place, (name, row) in enumerate(zip(self.classes, shares))]
        return "\n".join(["of each row's pixels the percentage taken for each column's class:", *lines])

    def write_confusion(self, path: str) -> None:
        """The matrix of pixels as .csv; ValueError for another ending."""
        require_ending(path, "--confusion", (".csv",))
        names = list(self.classes)
        write_csv(path, [["true class", *names], *([name, *map(str, row)] for name, row in zip(
            names, self.scores.matrix[:, :len(names)].tolist()))])


def _percent(share: float) -> Any:
    return None if np.isnan(share) else 100 * float(share)


def judge(run: Callable[[np.ndarray], np.ndarray], batches: Iterator[Tuple[np.ndarray, ...]], classes: Sequence[str],
          name: Callable[[int], str]) -> Judgement:
    """What `run` says of the first b images of every batch with b maps.

    Args:
        run: images to logits (B, classes, H, W), or to classes (B, H, W).
        name: number of an image -> what a sentence calls it.

    Raises:
        ValueError: there is no image, or outputs that are no finite numbers or of another shape.
    """
    def predicted() -> Iterator[Tuple[np.ndarray, np.ndarray]]:
        done = 0
        for images, labels in batches:
            output = run(images)[:len(labels)]
            if output.ndim not in (3, 4) or output.shape[-2:] != labels.shape[-2:] or len(output) < len(labels):
                raise ValueError(f"the network gives outputs of the shape {output.shape}; to be measured, it has to "
                                 f"give logits or classes of {labels.shape[1]}x{labels.shape[2]} pixels for each image")
            if output.ndim == 4 and output.shape[1] < len(classes):
                raise ValueError(f"the network tells {output.shape[1]} classes apart, and the data has {len(classes)}")
            if not np.isfinite(output).all():
                raise ValueError(f"the network's output for {printable(name(done))} or one after it is not finite "
                                 "(NaN or infinite), so nothing can be measured: its weights are damaged, or its "
                                 "numbers are too small a type")
            done += len(labels)
            yield from zip(predicted_labels(output), labels)

    return judge_predicted(predicted(), classes)


def judge_predicted(pairs: Iterator[Tuple[np.ndarray, np.ndarray]], classes: Sequence[str]) -> Judgement:
    """What was predicted for images, as (class, label) of each pixel, both (H, W); ValueError where there is none."""
    matrix = np.zeros((len(classes), len(classes) + 1), np.int64)
    each: List[Tuple[float, float]] = []
    # The best of the worst is on top, and leaves first.
    worst: List[Tuple[float, int]] = []
    maps: Dict[int, Tuple[np.ndarray, np.ndarray]] = {}
    for predicted, truth in pairs:
        own = confusion(predicted, truth, len(classes))
        matrix += own
        scores = Scores(own)
        heapq.heappush(worst, (-scores.miou, -len(each)))
        maps[len(each)] = predicted.astype(np.uint8), truth
        if len(worst) > WORST:
            maps.pop(-heapq.heappop(worst)[1])
        each.append((scores.miou, scores.accuracy))
    if not each:
        raise ValueError("there is no image to judge the network by")
    return Judgement(classes, Scores(matrix), each, maps)
