"""Object detection as a task: a class, a box and a score for every object."""
import dataclasses
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

import numpy as np
from mindspore import nn
from PIL import Image

from ghost_ms.checkpoints.spec import ModelSpec
from ghost_ms.config import Config, DataConfig
from ghost_ms.config.data import BOX_DATASETS
from ghost_ms.core import scores as score_functions
from ghost_ms.core.figures import Figures
from ghost_ms.core.text import printable
from ghost_ms.data import objects
from ghost_ms.data.dataset import Dataset
from ghost_ms.data.transforms import Preprocessing
from ghost_ms.models import detectors, model_card
from ghost_ms.models.coders import BoxCoder, Decoded
from ghost_ms.models.detector import DETECTORS
from ghost_ms.runtime.signature import ExportSignature, Output
from ghost_ms.tasks.base import Asked, Criterion, Outputs, Task, as_outputs
from ghost_ms.tasks.detection import measures, results
from ghost_ms.tasks.detection.args import DetectionArgs
from ghost_ms.tasks.detection.loss import (DetectionCriterion, FCOSCriterion, RetinaCriterion, SizedCriterion,
                                           SSDCriterion)
from ghost_ms.tasks.detection.postprocess import Detections, detections
from ghost_ms.tasks.detection.transforms import EvaluationTransforms, TrainingTransforms, to_photograph

#: Name of a detector -> what it learns by, of (coder, size, box_weight).
CRITERIA: Dict[str, Callable[..., DetectionCriterion]] = {
    "ssdlite": SSDCriterion,
    "retinanet": RetinaCriterion,
    "retinanet_v2": lambda *args: RetinaCriterion(*args, giou=True),
    "fcos": FCOSCriterion,
}


def head_of(spec: ModelSpec) -> str:
    """What `DETECTORS` calls the detector of a description."""
    return spec.head or detectors.HEADS[spec.model]


def coder_of(spec: ModelSpec) -> BoxCoder:
    """What reads the raw outputs of a described detector."""
    kind = DETECTORS[head_of(spec)]
    # torchvision's own have a first column that no class has.
    return kind.coder(kind.usual_first_class if spec.head else 1)


class Detection(Task):
    """Images to boxes (B, N, 4) in pixels of the input and scores (B, N, classes), of which few are detections."""

    name = "detection"
    figures = Figures(dict(measures.STATS[:6]), ("ap",))
    agreement = "the same classes at the same places"

    def __init__(self, args: Optional[Mapping[str, Any]] = None):
        super().__init__(args)
        self.own = DetectionArgs.of(args)

    def open(self, data: DataConfig, split: str, classes: Optional[Sequence[str]] = None) -> Dataset:
        if data.dataset not in BOX_DATASETS:
            raise ValueError(f"data.dataset is {data.dataset}, which has no boxes; detection takes "
                             f"{', '.join(BOX_DATASETS)}")
        return objects.open_objects(data, split, classes)

    def splits(self, data: DataConfig) -> List[str]:
        return objects.splits_of(data)

    def training(self, config: Config, dataset: Dataset, preprocessing: Preprocessing) -> TrainingTransforms:
        return TrainingTransforms(config, self.own, dataset, preprocessing)

    def evaluation(self, config: Config, dataset: Dataset, preprocessing: Preprocessing) -> EvaluationTransforms:
        measures.require_pycocotools()
        return EvaluationTransforms(dataset, preprocessing)

    def introduction(self, dataset: Dataset) -> List[str]:
        counts = np.array([(~dataset.target(number).crowd).sum() for number in range(dataset.size)])  # type: ignore
        lines = [f"{int(counts.sum())} objects of {len(dataset.classes)} classes in {dataset.size} training images, "
                 f"{int((counts == 0).sum())} of them without any"]
        more = int((counts > self.own.max_objects).sum())
        if more:
            lines.append(f"{more} training images have more than {self.own.max_objects} objects, of which the largest "
                         "are trained on (task.args.max_objects)")
        return lines

    def captions(self, targets: Outputs, dataset: Dataset, smoothing: float) -> List[str]:
        def caption(labels: np.ndarray) -> str:
            names = [printable(dataset.classes[label]) for label in labels.tolist() if label >= 0]
            return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")

        if targets[0].ndim == 1:
            # Of an evaluation: numbers of the images.
            return [caption(dataset.target(number).labels) for number in targets[0].tolist()]  # type: ignore[misc]
        return [caption(labels) for labels in targets[1]]

    def shown(self, images: np.ndarray, targets: Outputs, dataset: Dataset) -> np.ndarray:
        if targets[0].ndim == 1:
            return images
        drawn = []
        for image, boxes, labels in zip(images, *targets):
            there = labels >= 0
            picture = Image.fromarray(image if image.shape[2] == 3 else image[..., 0])
            drawn.append(np.asarray(results.drawn(picture, boxes[there], labels[there], dataset.classes)))
        return np.stack(drawn)

    def prepare(self, spec: ModelSpec, config: Config, dataset: Dataset) -> ModelSpec:
        """Errors: the recipe names no head, one too many, or one that is none of a detector."""
        own = model_card(spec.model).task == self.name
        if own and spec.head:
            raise ValueError(f"task.head is {spec.head}, but model.name {spec.model} has its head already; leave it "
                             "out, or name a backbone")
        if not own and spec.head not in DETECTORS:
            raise ValueError(f"task.head is {spec.head or 'not set'}: what finds objects on the backbone's maps, "
                             f"{', '.join(DETECTORS)}")
        if not own:
            return spec
        if config.model.num_classes is None:
            # torchvision counts a first column that no class has.
            return dataclasses.replace(spec, args={**spec.args, "num_classes": len(dataset.classes) + 1})
        if spec.args["num_classes"] <= len(dataset.classes):
            raise ValueError(f"model.num_classes is {spec.args['num_classes']}, and the data has {len(dataset.classes)}"
                             f" classes; {spec.model} counts one more, as in torchvision: leave it out")
        return spec

    def criterion(self, config: Config, dataset: Dataset, spec: ModelSpec) -> Criterion:
        def make(size: Tuple[int, int]) -> DetectionCriterion:
            return CRITERIA[head_of(spec)](coder_of(spec), size, self.own.box_weight)

        sizes = [(height, width) for height, width in self.own.sizes]
        return SizedCriterion(make, sizes) if sizes else make(tuple(spec.preprocessing.input_size))

    def example_targets(self, spec: ModelSpec, batch: int) -> Outputs:
        height, width = spec.preprocessing.input_size
        boxes = np.zeros((batch, self.own.max_objects, 4), np.float32)
        boxes[:, 0] = (0.2 * width, 0.3 * height, 0.6 * width, 0.8 * height)
        labels = np.full((batch, self.own.max_objects), -1, np.int32)
        labels[:, 0] = 0
        return [boxes, labels]

    def training_figures(self, sums: Mapping[str, float], images: int, dataset: Dataset) -> Dict[str, float]:
        return {f"train_{key}": sums[key] / images for key in ("class_loss", "box_loss")}

    def deployed(self, net: nn.Cell, spec: ModelSpec) -> nn.Cell:
        return Decoded(net, spec.preprocessing.input_size)

    def exported(self, spec: ModelSpec) -> ModelSpec:
        """With what says how detections are found among the outputs."""
        limits = self._limits(spec)
        args = {"score_threshold": limits.score, "iou_threshold": limits.iou, "max_detections": limits.detections,
                "candidates": limits.candidates, "by_class": limits.by_class, "levels": self._levels(spec),
                "show_threshold": self.own.show_threshold}
        return dataclasses.replace(spec, task_args=args)

    def _limits(self, spec: ModelSpec) -> Any:
        return self.own.limits(None if self.own.levels else coder_of(spec).limits)

    def _levels(self, spec: ModelSpec) -> List[int]:
        return list(self.own.levels or coder_of(spec).levels(spec.preprocessing.input_size))

    def _found(self, spec: ModelSpec) -> measures.Found:
        return measures.Found(self._limits(spec), self._levels(spec), spec.preprocessing)

    def evaluator(self, spec: ModelSpec, dataset: Dataset, name: Callable[[int], str]) -> measures.BoxEvaluator:
        return measures.BoxEvaluator(dataset, self._found(spec), name)

    def judge(self, run: Callable[[np.ndarray], Any], batches: Iterator[Tuple[np.ndarray, ...]], dataset: Dataset,
              spec: ModelSpec, probabilities: bool = False) -> measures.Judgement:
        found = self._found(spec)
        for images, numbers, sizes in batches:
            found.add(checked(as_outputs(run(images)), len(dataset.classes)), numbers, sizes)
        if found.bad:
            raise ValueError(f"the network's output for {dataset.name(found.bad[0])} is not finite (NaN or infinite), "
                             "so nothing can be measured: its weights are damaged, or its numbers are too small a type")
        truth = measures.truth_of(dataset)
        least = spec.thresholds or [self.own.show_threshold] * len(dataset.classes)
        return measures.Judgement(dataset.classes, measures.CocoMeasure(truth, found.of, len(dataset.classes)), truth,
                                  found.of, least)

    def outputs(self, spec: ModelSpec, form: ExportSignature) -> Tuple[Output, ...]:
        if form.softmax or form.argmax:
            raise ValueError("--softmax is for classification and --argmax for segmentation; a detector's file gives "
                             "boxes and scores")
        rows = sum(self._levels(spec))
        return (Output("boxes", (rows, 4)), Output("scores", (rows, len(spec.classes))))

    def _detections(self, outputs: Outputs, spec: ModelSpec, asked: Asked) -> Detections:
        """What is shown of an image, in its pixels."""
        boxes, scores = (score_functions.require_finite(one, asked.whose) for one in outputs)
        try:
            found = detections(boxes, scores, self._limits(spec), self._levels(spec),
                               spec.thresholds or self.own.show_threshold)
        except ValueError as error:
            raise ValueError(f"{asked.whose} gives outputs that are none of this detector: {error}") from None
        return to_photograph(found, spec.preprocessing.frame(asked.size), asked.size)

    def result(self, outputs: Outputs, spec: ModelSpec, asked: Asked) -> Dict[str, Any]:
        """{width, height, objects: [{class, index, score, box}, ...]}, by falling score; the boxes in pixels of the
        image; and `detections` where arrays are asked for."""
        found = self._detections(outputs, spec, asked)
        told: Dict[str, Any] = {"width": asked.size[0], "height": asked.size[1],
                                "objects": results.as_objects(found, spec.classes)}
        return {**told, "detections": found} if asked.arrays else told

    def typed(self, result: Mapping[str, Any]) -> results.Detected:
        found = result["detections"]
        return results.Detected(result["image"], found.boxes, found.scores, found.labels,
                                tuple(one["class"] for one in result["objects"]))

    def pictures(self, outputs: Outputs, spec: ModelSpec, asked: Asked, image: Image.Image) -> Dict[str, Image.Image]:
        found = self._detections(outputs, spec, asked)
        return {"boxes": results.drawn(image, found.boxes, found.labels, spec.classes, found.scores)}

    def lines(self, result: Mapping[str, Any]) -> List[str]:
        """A line for each object."""
        return [f"{100 * one['score']:6.2f} %  {printable(one['class'])}  at {one['box'][0]:.0f},{one['box'][1]:.0f} "
                f"to {one['box'][2]:.0f},{one['box'][3]:.0f}" for one in result["objects"]] or ["nothing was found"]

    def cells(self, results: Sequence[Mapping[str, Any]]) -> Iterator[List[str]]:
        """A row for each object; an image without any has one with its path alone."""
        yield ["path", "class", "score", "left", "top", "right", "bottom"]
        for one in results:
            for found in one["objects"] or [None]:
                yield [one["image"], *([""] * 6 if found is None else [
                    found["class"], f"{found['score']:.6g}", *(f"{value:.6g}" for value in found["box"])])]


def checked(outputs: Outputs, classes: int) -> Outputs:
    """Decoded outputs for so many classes; ValueError for others."""
    if len(outputs) != 2 or any(one.ndim != 3 for one in outputs) or outputs[0].shape[2] != 4 or \
            outputs[1].shape[2] < classes:
        raise ValueError(f"the network gives outputs of the shapes {', '.join(str(one.shape) for one in outputs)}; to "
                         f"be measured, it has to give boxes (B, N, 4) and scores (B, N, {classes})")
    return [outputs[0], outputs[1][..., :classes]]
