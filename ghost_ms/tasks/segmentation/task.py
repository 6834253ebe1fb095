"""Semantic segmentation as a task: a class for every pixel."""
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

import numpy as np
from PIL import Image

from ghost_ms.checkpoints.spec import ModelSpec
from ghost_ms.config import Config, DataConfig
from ghost_ms.config.data import MAP_DATASETS
from ghost_ms.core import scores
from ghost_ms.core.figures import Figures
from ghost_ms.core.text import printable
from ghost_ms.data import label_maps
from ghost_ms.data.dataset import Dataset
from ghost_ms.data.geometry import IGNORE
from ghost_ms.data.transforms import Preprocessing
from ghost_ms.models import model_card
from ghost_ms.runtime.signature import ExportSignature, Output
from ghost_ms.tasks.base import Asked, Outputs, Task, as_outputs
from ghost_ms.tasks.segmentation import measures, results, windows
from ghost_ms.tasks.segmentation.args import SegmentationArgs
from ghost_ms.tasks.segmentation.loss import PixelCriterion, create_loss
from ghost_ms.tasks.segmentation.transforms import EvaluationTransforms, TrainingTransforms


class Segmentation(Task):
    """Images to logits (B, classes, H, W) at the images' size."""

    name = "segmentation"
    figures = Figures({"miou": "mIoU", "pixel_accuracy": "pixel accuracy", "mean_accuracy": "mean class accuracy"},
                      ("miou",))
    logits = True
    agreement = "99 % of the pixels of the same class"

    def __init__(self, args: Optional[Mapping[str, Any]] = None):
        super().__init__(args)
        self.own = SegmentationArgs.of(args)

    def open(self, data: DataConfig, split: str, classes: Optional[Sequence[str]] = None) -> Dataset:
        if data.dataset not in MAP_DATASETS:
            raise ValueError(f"data.dataset is {data.dataset}, which has no maps of labels; segmentation takes "
                             f"{', '.join(MAP_DATASETS)}")
        return label_maps.open_label_maps(data, split, classes)

    def splits(self, data: DataConfig) -> List[str]:
        return label_maps.splits_of(data)

    def training(self, config: Config, dataset: Dataset, preprocessing: Preprocessing) -> TrainingTransforms:
        return TrainingTransforms(config, self.own, dataset, preprocessing)

    def evaluation(self, config: Config, dataset: Dataset, preprocessing: Preprocessing) -> EvaluationTransforms:
        return EvaluationTransforms(dataset, preprocessing)

    def introduction(self, dataset: Dataset) -> List[str]:
        return [f"a class for every pixel: {', '.join(map(printable, dataset.classes[:8]))}"
                + (f" and {len(dataset.classes) - 8} more" if len(dataset.classes) > 8 else "")]

    def captions(self, targets: Outputs, dataset: Dataset, smoothing: float) -> List[str]:
        def caption(labels: np.ndarray) -> str:
            places = [place for place in np.unique(labels).tolist() if place != IGNORE]
            return ", ".join(printable(dataset.classes[place]) for place in places[:3])

        return [caption(labels) for labels in targets[0]]

    def prepare(self, spec: ModelSpec, config: Config, dataset: Dataset) -> ModelSpec:
        """Errors: the recipe names no head, or one too many, or more classes than a map can hold."""
        own = model_card(spec.model).task == self.name
        if own and spec.head:
            raise ValueError(f"task.head is {spec.head}, but model.name {spec.model} has its head already; leave it "
                             "out, or name a backbone")
        if not own and not spec.head:
            raise ValueError("task.head is not set: what gives a class to every pixel of the backbone's maps, lraspp, "
                             "deeplabv3, fcn or semantic_fpn")
        if spec.args["num_classes"] > IGNORE:
            raise ValueError(f"model.num_classes is {spec.args['num_classes']}; a map of 8 bits holds at most {IGNORE}")
        return spec

    def criterion(self, config: Config, dataset: Dataset, spec: ModelSpec) -> PixelCriterion:
        return PixelCriterion(create_loss(config.loss, spec.classes), self.own.aux_weight)

    def example_targets(self, spec: ModelSpec, batch: int) -> Outputs:
        height, width = spec.preprocessing.input_size
        pixels = np.arange(batch * height * width) % spec.args["num_classes"]
        return [pixels.reshape(batch, height, width).astype(np.int32)]

    def training_figures(self, sums: Mapping[str, float], images: int, dataset: Dataset) -> Dict[str, float]:
        return {"train_pixel_accuracy": 100 * sums["accuracy"] / images}

    def evaluator(self, spec: ModelSpec, dataset: Dataset, name: Callable[[int], str]) -> measures.MapEvaluator:
        return measures.MapEvaluator(len(dataset.classes), name)

    def judge(self, run: Callable[[np.ndarray], Any], batches: Iterator[Tuple[np.ndarray, ...]], dataset: Dataset,
              spec: ModelSpec, probabilities: bool = False) -> measures.Judgement:
        def first(images: np.ndarray) -> np.ndarray:
            return as_outputs(run(images))[0]

        def both(images: np.ndarray) -> np.ndarray:
            found = first(images)
            if found.ndim != 4:
                raise ValueError("task.args.flip adds logits, and this file gives classes; leave it out")
            # The width is the last axis of normalised images, and the one before of bytes.
            axis = 2 if images.dtype == np.uint8 else 3
            return found + first(np.ascontiguousarray(np.flip(images, axis)))[..., ::-1]

        chosen = both if self.own.flip else first
        if not self.own.slide:
            return measures.judge(chosen, batches, dataset.classes, dataset.name)
        return measures.judge_predicted(self._slid(chosen, batches, dataset, spec), dataset.classes)

    def _slid(self, run: windows.Run, batches: Iterator[Tuple[np.ndarray, ...]], dataset: Dataset,
              spec: ModelSpec) -> Iterator[Tuple[np.ndarray, np.ndarray]]:
        """(class, label) of each pixel of each image, by sliding windows; the first batch shows what a call takes."""
        example = next(batches)[0]
        numbers = range(dataset.size)
        pictures = (windows.picture_of(dataset, sample, spec.preprocessing) for sample in numbers)

        def finite(images: np.ndarray) -> np.ndarray:
            logits = run(images)
            if logits.ndim != 4 or logits.shape[1] < len(dataset.classes):
                raise ValueError(f"the network gives outputs of the shape {logits.shape}, and task.args.slide adds "
                                 f"logits of {len(dataset.classes)} classes; leave it out")
            return scores.require_finite(logits)

        found = windows.predict(finite, example, spec.preprocessing, self.own.scales, pictures)
        for sample, predicted in zip(numbers, found):
            yield predicted, dataset.target(sample)  # type: ignore[misc]

    def outputs(self, spec: ModelSpec, form: ExportSignature) -> Tuple[Output, ...]:
        if form.softmax:
            raise ValueError("--softmax is for classification; --argmax makes the file give the class of every pixel")
        if form.argmax:
            return (Output("labels", tuple(spec.preprocessing.input_size), "int32"),)
        return (Output("logits", (spec.args["num_classes"], *spec.preprocessing.input_size)),)

    def _labels(self, outputs: Outputs, spec: ModelSpec, asked: Asked) -> np.ndarray:
        return results.labels_of(outputs[0], spec.preprocessing.input_size, asked.size, asked.whose)

    def result(self, outputs: Outputs, spec: ModelSpec, asked: Asked) -> Dict[str, Any]:
        """{width, height, classes: [{class, index, share}, ...]}: the classes that occur, the largest first; and
        `labels`, uint8 (H, W), where arrays are asked for."""
        labels = self._labels(outputs, spec, asked)
        found: Dict[str, Any] = {"width": asked.size[0], "height": asked.size[1],
                                 "classes": results.shares_of(labels, spec.classes)}
        return {**found, "labels": labels} if asked.arrays else found

    def typed(self, result: Mapping[str, Any]) -> results.Segmented:
        return results.Segmented(result["image"], result["labels"],
                                 {one["class"]: one["share"] for one in result["classes"]})

    def pictures(self, outputs: Outputs, spec: ModelSpec, asked: Asked, image: Image.Image) -> Dict[str, Image.Image]:
        return results.pictures(image, self._labels(outputs, spec, asked), spec.classes)

    def same(self, found: Outputs, expected: Outputs) -> np.ndarray:
        """Whether 99 % of an image's pixels have the same class, bool (N,)."""
        return (measures.predicted_labels(found[0]) == measures.predicted_labels(expected[0])).mean((1, 2)) >= 0.99

    def lines(self, result: Mapping[str, Any]) -> List[str]:
        """A line for each class."""
        return [f"{100 * one['share']:6.2f} %  {printable(one['class'])}" for one in result["classes"]]

    def cells(self, results: Sequence[Mapping[str, Any]]) -> Iterator[List[str]]:
        """A row for each image: of predictions the share of each class; of a split the measures."""
        if results and "miou" in results[0]:
            yield ["path", "miou", "pixel_accuracy"]
            for one in results:
                yield [one["image"], f"{one['miou']:.6g}", f"{one['pixel_accuracy']:.6g}"]
            return
        names = {part["index"]: part["class"] for one in results for part in one["classes"]}
        yield ["path", *(names[place] for place in sorted(names))]
        for one in results:
            shares = {part["index"]: part["share"] for part in one["classes"]}
            yield [one["image"], *(f"{shares.get(place, 0.0):.6g}" for place in sorted(names))]
