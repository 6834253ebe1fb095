"""Average precision, measured by pycocotools on all images: those without objects, and crowds, too."""
import contextlib
import dataclasses
import io
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

import numpy as np
from PIL import Image

from ghost_ms.core.text import printable, some
from ghost_ms.data.boxes import Objects
from ghost_ms.data.dataset import Dataset
from ghost_ms.data.transforms import Preprocessing
from ghost_ms.models.coders import Limits
from ghost_ms.tasks.base import WORST, Case, Curves, NotFinite, Outputs
from ghost_ms.tasks.detection import results
from ghost_ms.tasks.detection.postprocess import Detections, detections
from ghost_ms.tasks.detection.transforms import to_photograph

#: Figures of `COCOeval.stats`, in its order: our key, and what they are called.
STATS = (("ap", "box AP"), ("ap50", "AP at IoU 0.5"), ("ap75", "AP at IoU 0.75"), ("ap_small", "AP of small objects"),
         ("ap_medium", "AP of medium objects"), ("ap_large", "AP of large objects"), ("ar1", "AR of 1"),
         ("ar10", "AR of 10"), ("ar100", "AR of 100"), ("ar_small", "AR of small objects"),
         ("ar_medium", "AR of medium objects"), ("ar_large", "AR of large objects"))
#: Images that a sentence names.
NAMED = 5


def require_pycocotools() -> None:
    """ValueError where the package is missing."""
    try:
        import pycocotools.cocoeval  # noqa: F401
    except ImportError as error:
        raise ValueError(f"average precision is measured by pycocotools, which cannot be imported ({printable(error)}):"
                         " pip install pycocotools") from None


class Found:
    """Detections of images, in pixels of these, by their numbers in the data set."""

    def __init__(self, limits: Limits, levels: Sequence[int], preprocessing: Preprocessing):
        self.limits, self.levels, self.preprocessing = limits, levels, preprocessing
        self.of: Dict[int, Detections] = {}
        self.bad: List[int] = []

    def add(self, outputs: Outputs, numbers: np.ndarray, sizes: np.ndarray) -> None:
        """Take a batch of decoded outputs, boxes (B, N, 4) and scores (B, N, classes), of which the first b count."""
        boxes, scores = outputs
        for row, (number, size) in enumerate(zip(numbers.tolist(), sizes.tolist())):
            if not (np.isfinite(boxes[row]).all() and np.isfinite(scores[row]).all()):
                self.bad.append(number)
                continue
            found = detections(boxes[row], scores[row], self.limits, self.levels)
            self.of[number] = to_photograph(found, self.preprocessing.frame(tuple(size)), tuple(size))


class CocoMeasure:
    """pycocotools' evaluation of detections.

    Args:
        truth: objects of each image.
        found: detections of each image.
        classes: number of them.
    """

    def __init__(self, truth: Mapping[int, Objects], found: Mapping[int, Detections], classes: int):
        require_pycocotools()
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval

        self.classes = classes
        boxes = [(number, *box, label, crowd, area) for number, one in truth.items() for box, label, crowd, area in zip(
            one.boxes.tolist(), one.labels.tolist(), one.crowd.tolist(), one.areas.tolist())]
        truths = COCO()
        truths.dataset = {
            "images": [{"id": number} for number in truth],
            "categories": [{"id": place + 1} for place in range(classes)],
            "annotations": [{"id": place + 1, "image_id": number, "category_id": label + 1, "iscrowd": int(crowd),
                             "bbox": [left, top, right - left, bottom - top], "area": area}
                            for place, (number, left, top, right, bottom, label, crowd, area) in enumerate(boxes)]}
        # It tells of its progress on the screen.
        with contextlib.redirect_stdout(io.StringIO()):
            truths.createIndex()
            evaluation = COCOeval(truths, self._results(truths, found), "bbox")
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
        self.stats: List[float] = [float(value) for value in evaluation.stats]
        self.precision: np.ndarray = evaluation.eval["precision"]
        self.recall: np.ndarray = evaluation.eval["recall"]
        self.images = evaluation.evalImgs

    @staticmethod
    def _results(truths: Any, found: Mapping[int, Detections]) -> Any:
        rows = [np.column_stack([np.full(len(one.scores), number), one.boxes[:, :2],
                                 one.boxes[:, 2:] - one.boxes[:, :2], one.scores, one.labels + 1.0])
                for number, one in found.items() if len(one.scores)]
        if rows:
            return truths.loadRes(np.concatenate(rows).astype(np.float64))
        empty = type(truths)()
        empty.dataset = {**truths.dataset, "annotations": []}
        empty.createIndex()
        return empty

    def figures(self) -> Dict[str, float]:
        """All of `STATS` in percent; NaN where there is no such object."""
        return {key: 100 * value if value >= 0 else float("nan") for (key, _), value in zip(STATS, self.stats)}

    def average_precision(self, iou: Optional[int] = None) -> np.ndarray:
        """Of each class from 0 to 1, over all overlaps or at 0.5 + 0.05 `iou`; NaN for one without objects."""
        cut = self.precision[:, :, :, 0, -1] if iou is None else self.precision[iou:iou + 1, :, :, 0, -1]
        values = np.where(cut.max((0, 1)) < 0, np.nan, np.where(cut < 0, 0, cut).mean((0, 1)))
        return np.asarray(values)

    def matches(self) -> Tuple[List[np.ndarray], List[np.ndarray], np.ndarray]:
        """At IoU 0.5: of each class the scores of its detections that count and whether each is right, and how many
        objects it has."""
        scores: List[List[np.ndarray]] = [[] for _ in range(self.classes)]
        right: List[List[np.ndarray]] = [[] for _ in range(self.classes)]
        objects = np.zeros(self.classes, np.int64)
        for one in self._of_all_areas():
            label = one["category_id"] - 1
            counts = ~np.asarray(one["dtIgnore"][0], bool)
            scores[label].append(np.asarray(one["dtScores"])[counts])
            right[label].append(np.asarray(one["dtMatches"][0])[counts] > 0)
            objects[label] += int((~np.asarray(one["gtIgnore"], bool)).sum())
        return ([np.concatenate([np.zeros(0), *own]) for own in scores],
                [np.concatenate([np.zeros(0, bool), *own]) for own in right], objects)

    def mistakes(self, least: Sequence[float]) -> Dict[int, Tuple[int, int]]:
        """Of each image at IoU 0.5 how many objects were not found, and how many detections of at least their class's
        score in `least` are of none; images without either are left out."""
        found: Dict[int, Tuple[int, int]] = {}
        for one in self._of_all_areas():
            threshold = least[one["category_id"] - 1]
            shown = np.asarray(one["dtScores"]) >= threshold
            matched = np.asarray(one["dtMatches"][0])
            ignored = np.asarray(one["dtIgnore"][0], bool)
            wrong = int((shown & (matched == 0) & ~ignored).sum())
            seen = set(matched[shown].astype(np.int64).tolist())
            missed = sum(number not in seen for number, skip in zip(one["gtIds"], one["gtIgnore"]) if not skip)
            if wrong or missed:
                before = found.get(one["image_id"], (0, 0))
                found[one["image_id"]] = before[0] + missed, before[1] + wrong
        return found

    def _of_all_areas(self) -> Iterator[Dict[str, Any]]:
        return (one for one in self.images if one is not None and one["aRng"][1] >= 1e5 ** 2 and one["aRng"][0] == 0)


class BoxEvaluator:
    """Average precision of a detector, of decoded outputs, the numbers of the images, and their sizes.

    Processes that share the split tell each other their detections: each image has its rows in one long table, in which
    a process leaves those of the others at 0, so that their sum is what one process would have found, to the bit.

    Args:
        dataset: its targets are the objects.
        found: of this process.
    """

    shared = True

    def __init__(self, dataset: Dataset, found: Found, name: Callable[[int], str]):
        self.dataset, self.found = dataset, found

    def update(self, outputs: Outputs, targets: Outputs) -> None:
        self.found.add(outputs, *targets)

    def compute(self, total: Callable[[List[float]], List[float]] = list) -> Dict[str, float]:
        rows = self.found.limits.detections
        table = np.zeros((self.dataset.size, rows, 6))
        for number, one in self.found.of.items():
            table[number, :len(one.scores)] = np.column_stack([one.boxes, one.scores, one.labels])
        bad = np.zeros(self.dataset.size)
        bad[self.found.bad] = 1
        whole = np.array(total(np.concatenate([bad, table.ravel()]).tolist()))
        bad, table = whole[:len(bad)], whole[len(bad):].reshape(table.shape)
        if bad.any():
            named = some([self.dataset.name(number) for number in np.flatnonzero(bad).tolist()], NAMED)
            raise NotFinite(f"the network's outputs for {int(bad.sum())} of {self.dataset.size} test images are not "
                            f"finite ({named}): its weights or BatchNorm statistics have diverged, or mixed precision "
                            "overflows")
        found = {number: Detections(own[:, :4], own[:, 4], own[:, 5].astype(np.int32)) for number, own in (
            (number, one[one[:, 4] > 0]) for number, one in enumerate(table))}
        figures = CocoMeasure(truth_of(self.dataset), found, len(self.dataset.classes)).figures()
        return {**{key: 0.0 if np.isnan(value) else value for key, value in figures.items()},
                "images": self.dataset.size}

    def learned(self) -> Dict[str, Any]:
        return {}


def truth_of(dataset: Dataset) -> Dict[int, Objects]:
    """The objects of every image."""
    return {number: dataset.target(number) for number in range(dataset.size)}  # type: ignore[misc]


@dataclasses.dataclass
class Judgement:
    """A detector's detections for a split.

    Args:
        classes: their names.
        measure: pycocotools' evaluation.
        truth, found: of each image.
        least: score of each class from which on a detection is shown.
    """

    classes: Sequence[str]
    measure: CocoMeasure
    truth: Mapping[int, Objects]
    found: Mapping[int, Detections]
    least: Sequence[float]

    #: There is no class for what is no object.
    confusable = False
    labelled = False

    def headline(self) -> str:
        """'box AP 36.40 %, AP at IoU 0.5 55.70 %, AP at IoU 0.75 38.60 %'."""
        figures = self.measure.figures()
        return ", ".join(f"{name} {figures[key]:.2f} %" for key, name in STATS[:3])

    def class_rows(self) -> List[List[str]]:
        def cell(share: float) -> str:
            return "-" if np.isnan(share) else f"{100 * share:.2f}"

        objects = self.measure.matches()[2]
        columns = [self.measure.average_precision(iou) for iou in (None, 0, 5)]
        rows = [["class", "objects", "AP (%)", "AP at IoU 0.5 (%)", "AP at IoU 0.75 (%)"]]
        rows += [[printable(name), str(objects[place]), *(cell(column[place]) for column in columns)]
                 for place, name in enumerate(self.classes)]
        rows.append(["mean of the classes with objects", str(int(objects.sum())), *(
            cell(np.nanmean(column) if not np.isnan(column).all() else np.nan) for column in columns)])
        figures = self.measure.figures()
        return rows + [[f"{name[3:]}", "", "-" if np.isnan(figures[key]) else f"{figures[key]:.2f}", "", ""]
                       for key, name in STATS[3:6]]

    def as_dict(self) -> Dict[str, Any]:
        def percent(share: float) -> Any:
            return None if np.isnan(share) else float(share)

        objects = self.measure.matches()[2]
        columns = {key: 100 * self.measure.average_precision(iou) for key, iou in (("ap", None), ("ap50", 0),
                                                                                  ("ap75", 5))}
        return {"images": len(self.truth), **{key: percent(value) for key, value in self.measure.figures().items()},
                "classes": [{"class": name, "objects": int(objects[place]),
                             **{key: percent(column[place]) for key, column in columns.items()}}
                            for place, name in enumerate(self.classes)]}

    def results(self, name: Callable[[int], str]) -> Iterator[Dict[str, Any]]:
        mistakes = self.measure.mistakes(self.least)
        for number, found in self.found.items():
            missed, wrong = mistakes.get(number, (0, 0))
            yield {"image": name(number), "missed": missed, "wrong": wrong,
                   "objects": results.as_objects(found, self.classes)}

    def matrix(self) -> Tuple[List[str], np.ndarray]:
        raise ValueError("detectors have no confusion matrix; --per_class shows the average precision of each class")

    def worst(self, count: int) -> List[int]:
        """By the objects that were not found and the detections of none."""
        mistakes = self.measure.mistakes(self.least)
        return sorted(mistakes, key=lambda number: (-sum(mistakes[number]), number))[:min(count, WORST)]

    def case(self, sample: int, image: Image.Image, preprocessing: Preprocessing) -> Case:
        """The boxes drawn over the image, found and true."""
        missed, wrong = self.measure.mistakes(self.least)[sample]
        found, truth = self.found[sample], self.truth[sample]
        least = np.asarray(self.least)
        shown = found.scores >= least[found.labels]
        return Case(f"{missed} not found, {wrong} of nothing", f"beside what is right: {len(truth.labels)} objects", (
            results.drawn(image, found.boxes[shown], found.labels[shown], self.classes, found.scores[shown]),
            results.drawn(image, truth.boxes, truth.labels, self.classes)))

    def curves(self) -> Curves:
        """Precision over recall at IoU 0.5, of the mean and of each class up to nine."""
        precision = 100 * self.measure.precision[0, :, :, 0, -1]
        there = [place for place in range(len(self.classes)) if precision[0, place] >= 0]
        recall = np.linspace(0, 100, len(precision)).tolist()
        lines = [("mean", precision[:, there].mean(1))] if there else []
        lines += [(printable(self.classes[place]), precision[:, place]) for place in there[:9 if len(there) > 1 else 0]]
        return [("Precision over recall at IoU 0.5 (%)", [(name, list(zip(recall, line.tolist())))
                                                          for name, line in lines])] if lines else []

    def thresholds(self) -> Tuple[List[float], List[float]]:
        """Of each class the score with the best F1 at IoU 0.5, and that F1 from 0 to 1; 1 and NaN for a class of which
        nothing is found."""
        chosen, best = [], []
        for scores, right, objects in zip(*self.measure.matches()):
            if not objects or not right.any():
                chosen.append(1.0)
                best.append(float("nan"))
                continue
            order = np.argsort(-scores, kind="stable")
            # Twice the hits over objects and detections.
            f1 = 2 * np.cumsum(right[order]) / (np.arange(1, len(order) + 1) + objects)
            place = int(f1.argmax())
            ranked = scores[order]
            below = ranked[place + 1] if place + 1 < len(ranked) else 0.0
            chosen.append(float((ranked[place] + below) / 2))
            best.append(float(f1[place]))
        return chosen, best

    def confusion_text(self) -> str:
        self.matrix()
        return ""

    def write_confusion(self, path: str) -> None:
        self.matrix()
