"""Classification as a task: one label of an image, or several."""
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple, Union

import numpy as np

from ghost_ms.checkpoints.spec import ModelSpec
from ghost_ms.config import DATASETS, Config, DataConfig
from ghost_ms.config.data import BOX_DATASETS, MAP_DATASETS
from ghost_ms.core import scores
from ghost_ms.core.figures import Figures
from ghost_ms.core.text import printable
from ghost_ms.data.dataset import Dataset
from ghost_ms.data.datasets import open_source, splits_of
from ghost_ms.data.transforms import Preprocessing
from ghost_ms.runtime.signature import ExportSignature, Output
from ghost_ms.tasks.base import Asked, Outputs, Task
from ghost_ms.tasks.classification import measures, multilabel
from ghost_ms.tasks.classification.class_weights import class_weights
from ghost_ms.tasks.classification.evaluate import SetEvaluator, TopEvaluator
from ghost_ms.tasks.classification.judge import Judgement, judge
from ghost_ms.tasks.classification.judge_sets import SetJudgement, judge_sets
from ghost_ms.tasks.classification.loss import LabelCriterion, create_loss
from ghost_ms.tasks.classification.results import Classified, typed
from ghost_ms.tasks.classification.transforms import EvaluationTransforms, TrainingTransforms
from ghost_ms.tasks.classification.words import caption, classes_line


class Classification(Task):
    """Images to logits (B, classes).

    Where an image may have several labels or none (`Dataset.multi_label`), the network answers one yes-or-no question
    for each class, and its description holds a threshold for each.
    """

    name = "classification"
    # Of images with one label, or with several.
    figures = Figures({"top1": "top-1", "top5": "top-5", "map": "mean average precision", "f1": "F1", "loss": ""},
                      ("top1", "map"))
    mixes = True
    logits = True
    agreement = "same class"

    def __init__(self, args: Optional[Mapping[str, Any]] = None):
        if args:
            raise ValueError(f"task.args holds {printable(next(iter(args)))!r}; classification takes no arguments")
        super().__init__(args)

    def open(self, data: DataConfig, split: str, classes: Optional[Sequence[str]] = None) -> Dataset:
        if data.dataset in (*MAP_DATASETS, *BOX_DATASETS):
            kinds = [f"{what}, which task.name {task} learns" for what, task, sets in (
                ("maps of labels", "segmentation", MAP_DATASETS), ("boxes", "detection", BOX_DATASETS))
                if data.dataset in sets]
            raise ValueError(f"data.dataset {data.dataset} has {', and '.join(kinds)}; classification takes "
                             f"{', '.join(DATASETS)}")
        return open_source(data, split, classes)

    def splits(self, data: DataConfig) -> List[str]:
        return splits_of(data)

    def training(self, config: Config, dataset: Dataset, preprocessing: Preprocessing) -> TrainingTransforms:
        return TrainingTransforms(config, dataset, preprocessing)

    def evaluation(self, config: Config, dataset: Dataset, preprocessing: Preprocessing) -> EvaluationTransforms:
        return EvaluationTransforms(dataset, preprocessing)

    def introduction(self, dataset: Dataset) -> List[str]:
        return [classes_line(dataset.classes, dataset.labels)]

    def captions(self, targets: Outputs, dataset: Dataset, smoothing: float) -> List[str]:
        return [caption(label, dataset.classes, smoothing) for label in targets[0]]

    def prepare(self, spec: ModelSpec, config: Config, dataset: Dataset) -> ModelSpec:
        """Errors: the recipe takes an image to have one label, and those of the data may have several; or the network
        is for another task."""
        if spec.task != self.name or spec.head:
            raise ValueError(f"model.name {spec.model} is a network for {spec.task}; set task.name {spec.task}"
                             if not spec.head else f"task.head is {spec.head}, and task.name is {self.name}, which "
                             "takes no head; leave it out, or set task.name segmentation")
        if dataset.multi_label:
            multilabel.check_sets(config)
            spec.thresholds = [multilabel.DEFAULT_THRESHOLD] * len(dataset.classes)
        return spec

    def follow(self, spec: ModelSpec, own: ModelSpec, dataset: Dataset) -> ModelSpec:
        if dataset.multi_label and own.thresholds is not None:
            spec.thresholds = own.thresholds
        return spec

    def criterion(self, config: Config, dataset: Dataset, spec: ModelSpec) -> LabelCriterion:
        weights = class_weights(config.loss, dataset, spec.args["num_classes"])
        return LabelCriterion(create_loss(config.loss, weights),
                              [dataset.multi_label, None if weights is None else weights.tolist()])

    def example_targets(self, spec: ModelSpec, batch: int) -> Outputs:
        return [np.arange(batch, dtype=np.int32) % spec.args["num_classes"]]

    def training_figures(self, sums: Mapping[str, float], images: int, dataset: Dataset) -> Dict[str, float]:
        return {} if dataset.multi_label else {"train_top1": 100 * sums["correct"] / images}

    def evaluator(self, spec: ModelSpec, dataset: Dataset,
                  name: Callable[[int], str]) -> Union[TopEvaluator, SetEvaluator]:
        return (SetEvaluator if dataset.multi_label else TopEvaluator)(name)

    def fitting(self, dataset: Dataset, spec: ModelSpec) -> Dataset:
        if spec.thresholds is not None:
            return dataset.as_sets()
        if dataset.multi_label:
            raise ValueError("an image of this data may have several labels or none, and the network was trained to "
                             "give it one; train one with loss.name binary_cross_entropy")
        return dataset

    def judge(self, run: Callable[[np.ndarray], Any], batches: Iterator[Tuple[np.ndarray, ...]], dataset: Dataset,
              spec: ModelSpec, probabilities: bool = False) -> Union[Judgement, SetJudgement]:
        if spec.thresholds is not None:
            return judge_sets(run, batches, dataset.classes, spec.thresholds, dataset.name)
        return judge(run, batches, dataset.classes, probabilities, dataset.name)

    def outputs(self, spec: ModelSpec, form: ExportSignature) -> Tuple[Output, ...]:
        if form.argmax:
            raise ValueError("--argmax is for segmentation; a classifier's file gives logits, or with --softmax "
                             "probabilities")
        if form.softmax and spec.thresholds is not None:
            raise ValueError(f"--softmax makes the classes exclude each other, and this {spec.model} was trained to "
                             "give an image several labels; leave it out: the sidecar says from which probability, the "
                             "logistic function of a logit, a class counts")
        return (Output("probabilities" if form.softmax else "logits", (spec.args["num_classes"],)),)

    def result(self, outputs: Outputs, spec: ModelSpec, asked: Asked) -> Dict[str, Any]:
        """{predictions: [{class, index, probability}, ...]}: the `top` most probable classes, best first; of a network
        that gives an image several labels, all of those, perhaps none."""
        output, = outputs
        classes, whose = spec.classes, asked.whose
        if spec.thresholds is not None:
            shares = multilabel.probabilities(scores.require_finite(output, whose))
            if shares.ndim != 1 or len(shares) < len(classes):
                raise ValueError(f"{whose} gives outputs of the shape {shares.shape}, and {len(classes)} classes are "
                                 "named: they do not belong together")
            return {"predictions": multilabel.labels_of(shares, classes, spec.thresholds)}
        found = scores.probabilities(output, not asked.probabilities, whose)
        if found.shape != (max(found.size, len(classes)),):
            raise ValueError(f"the network gives outputs of the shape {found.shape}, and {len(classes)} classes are "
                             "named: they do not belong together")
        return {"predictions": [
            {"class": scores.name_of(classes, index), "index": int(index), "probability": float(found[index])}
            for index in scores.order(found)[:asked.top]]}

    def typed(self, result: Mapping[str, Any]) -> Classified:
        return typed(result)

    def same(self, found: Outputs, expected: Outputs) -> np.ndarray:
        return found[0].argmax(1) == expected[0].argmax(1)

    def lines(self, result: Mapping[str, Any]) -> List[str]:
        """A line for each class."""
        return [f"{100 * one['probability']:6.2f} %  {printable(one['class'])}" for one in result["predictions"]] or [
            "no class reaches its threshold"]

    def cells(self, results: Sequence[Mapping[str, Any]]) -> Iterator[List[str]]:
        return measures.prediction_rows(results)
