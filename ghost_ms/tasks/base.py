"""The contract of a task: all that training, export and analysis know of what a network is for.

A task opens labelled data, turns samples into batches of fixed shapes, says what is lost and what is measured, and
makes a result of the network's raw outputs. Adding a task is adding a folder beside this file and a row in `registry`.
"""
import types
from typing import Any, Callable, Dict, Iterator, List, Mapping, NamedTuple, Optional, Protocol, Sequence, Tuple

import numpy as np
from mindspore import Tensor, nn
from PIL import Image

from ghost_ms.checkpoints.spec import ModelSpec
from ghost_ms.config import Config, DataConfig
from ghost_ms.core.figures import Figures
from ghost_ms.data.dataset import Dataset
from ghost_ms.data.loader import Transforms
from ghost_ms.data.transforms import Preprocessing
from ghost_ms.runtime.signature import ExportSignature, Output

#: Images that the report shows of those that a network is most mistaken about.
WORST = 20
#: Charts: (title, [(name of a line, [(x, y), ...]), ...]).
Curves = Sequence[Tuple[str, Sequence[Tuple[str, Sequence[Tuple[float, float]]]]]]
#: What a network gives: one array, or several in a fixed order.
Outputs = Sequence[np.ndarray]


class Asked(NamedTuple):
    """What is asked of a network about an image.

    Args:
        whose: half a sentence for an error: 'for 'cat.jpg' the network'.
        top: most predictions of an image.
        probabilities: whether its outputs are behind a softmax.
        size: (width, height) of the image, upright.
        arrays: whether the result may hold arrays beside plain values.
    """

    whose: str
    top: int
    probabilities: bool
    size: Tuple[int, int]
    arrays: bool = False


class Case(NamedTuple):
    """An image of a split with what a network made of it, for the report.

    Args:
        said: of it by the network.
        truth: what would have been right.
        pictures: one, or what was said beside what is right.
    """

    said: str
    truth: str
    pictures: Tuple[Image.Image, ...]


class NotFinite(ValueError):
    """A network gave outputs that are no numbers."""


class Criterion(nn.Cell):
    """What is minimised, and what is counted on the device beside it.

    `construct(raw, *targets)` takes what the network gives (a tensor, or a tuple of them) and the targets of the batch,
    and returns (loss, sums): a float32 scalar to differentiate, and a tuple of float32 scalars, one for each of `sums`.

    Attributes:
        sums: names of what is added up over the steps of an epoch.
        in_graph: plain values that its graph holds beside what the recipe says; a cached graph is told apart by them.
    """

    sums: Tuple[str, ...] = ()
    in_graph: Sequence[Any] = ()


class Evaluator(Protocol):
    """Adds up what a network gives for a split, batch by batch.

    Attributes:
        shared: whether several processes may each take a part of the split, since what is added up are sums; otherwise
            each looks at all of it.
    """

    shared: bool

    def update(self, outputs: Outputs, targets: Outputs) -> None:
        """Take a batch.

        Args:
            outputs: of the network; the rows beyond the targets' fill the batch up and do not count.
            targets: as the evaluation's transforms give them.
        """

    def compute(self, total: Callable[[List[float]], List[float]] = list) -> Dict[str, float]:
        """What was measured, by the names of `Task.figures`.

        Args:
            total: adds up numbers over the processes that share the split.

        Raises:
            NotFinite: an output is NaN or infinite; names the images. In every process that shares the split.
        """

    def learned(self) -> Dict[str, Any]:
        """Fields of the `ModelSpec` that follow from this evaluation, such as thresholds."""


class Judgement(Protocol):
    """What a network makes of a whole split, as `ghost-ms eval` and the report tell it.

    Attributes:
        confusable: whether there is a confusion matrix.
        labelled: whether an image has one class, which is right or wrong. Then it has the members of
            `tasks.classification.judge.Judgement` that the report takes.
    """

    confusable: bool
    labelled: bool

    def headline(self) -> str:
        """The main figures in a line."""

    def class_rows(self) -> List[List[str]]:
        """Measures by class as text cells, header first."""

    def as_dict(self) -> Dict[str, Any]:
        """All measures, plain values."""

    def curves(self) -> Curves:
        """Charts for the report: title, and of each line its name and points; none where the task has none."""

    def results(self, name: Callable[[int], str]) -> Iterator[Dict[str, Any]]:
        """Every prediction, with what would have been right beside it.

        Args:
            name: number of an image -> its file.
        """

    def thresholds(self) -> Tuple[List[float], List[float]]:
        """Of each class the score with the best F1, and that F1 from 0 to 1, NaN where there is none; ValueError where
        scores are not cut by thresholds."""

    def matrix(self) -> Tuple[List[str], np.ndarray]:
        """Classes, and how much of the row's was taken for the column's, int (K, K); ValueError where there is none."""

    def worst(self, count: int) -> List[int]:
        """Numbers of the images that the network is most mistaken about, the worst first; none where it cannot be told.
        """

    def case(self, sample: int, image: Image.Image, preprocessing: Preprocessing) -> Case:
        """One of the first `WORST` of `worst`.

        Args:
            image: as it is shown, upright where the preprocessing says so.
        """

    def confusion_text(self) -> str:
        """The confusion matrix for a terminal; ValueError where the task has none."""

    def write_confusion(self, path: str) -> None:
        """The confusion matrix as .csv or .png; ValueError where the task has none."""


class Task:
    """What a network is for.

    Args:
        args: of the recipe (`task.args`), or of a checkpoint; checked here.

    Attributes:
        name: that recipes and checkpoints call it by.
        figures: what its evaluations measure.
        mixes: whether images of a batch may be mixed (mixup, cutmix).
        logits: whether the network's first output is class logits, (B, classes) or (B, classes, H, W), which can be
            distilled.
        agreement: what two forms of a network that agree on an image give, such as 'same class'; see `same`.
    """

    name: str
    figures: Figures
    mixes = False
    logits = False
    agreement = ""

    def __init__(self, args: Optional[Mapping[str, Any]] = None):
        self.args = dict(args or {})

    # --- data ---

    def open(self, data: DataConfig, split: str, classes: Optional[Sequence[str]] = None) -> Dataset:
        """One split of the data; 'train', 'val' or 'test'.

        Args:
            classes: the order that labels follow, such as a checkpoint's own.
        """
        raise NotImplementedError

    def splits(self, data: DataConfig) -> List[str]:
        """The splits that the data has, without one that would be another once more."""
        return ["train", "val"]

    def training(self, config: Config, dataset: Dataset, preprocessing: Preprocessing) -> Transforms:
        """What turns a sample into a row of a training batch; its random numbers come from the given generator."""
        raise NotImplementedError

    def evaluation(self, config: Config, dataset: Dataset, preprocessing: Preprocessing) -> Transforms:
        """What turns a sample into a row of an evaluation batch, without chance."""
        raise NotImplementedError

    def introduction(self, dataset: Dataset) -> List[str]:
        """Lines on the training data that are said before the first step."""
        return []

    def captions(self, targets: Outputs, dataset: Dataset, smoothing: float) -> List[str]:
        """What the targets of a batch say, a text for each image.

        Args:
            smoothing: label smoothing that is in the targets.
        """
        return [""] * len(targets[0])

    def shown(self, images: np.ndarray, targets: Outputs, dataset: Dataset) -> np.ndarray:
        """Images of a batch, uint8 (B, H, W, C), with what their targets say drawn on them, where that can be drawn."""
        return images

    # --- learning ---

    def prepare(self, spec: ModelSpec, config: Config, dataset: Dataset) -> ModelSpec:
        """The network's description with what the task adds to it; ValueError where the recipe cannot learn it."""
        return spec

    def follow(self, spec: ModelSpec, own: ModelSpec, dataset: Dataset) -> ModelSpec:
        """The description of a training that resumes one whose checkpoint says `own`."""
        return spec

    def criterion(self, config: Config, dataset: Dataset, spec: ModelSpec) -> Criterion:
        """The loss of a recipe."""
        raise NotImplementedError

    def example_targets(self, spec: ModelSpec, batch: int) -> Outputs:
        """Targets as a training batch has them, of no meaning: for timing a step."""
        raise NotImplementedError

    def training_figures(self, sums: Mapping[str, float], images: int, dataset: Dataset) -> Dict[str, float]:
        """Columns of metrics.csv from the sums of an epoch over so many images; their names begin with 'train_'."""
        return {}

    # --- measuring ---

    def evaluator(self, spec: ModelSpec, dataset: Dataset, name: Callable[[int], str]) -> Evaluator:
        """Measures a network after an epoch.

        Args:
            name: what the image is called that comes as the n-th, counted from 0.
        """
        raise NotImplementedError

    def fitting(self, dataset: Dataset, spec: ModelSpec) -> Dataset:
        """The data as a network of this description is measured on it; ValueError where they do not belong together."""
        return dataset

    def judge(self, run: Callable[[np.ndarray], Any], batches: Iterator[Tuple[np.ndarray, ...]], dataset: Dataset,
              spec: ModelSpec, probabilities: bool = False) -> Judgement:
        """A network's predictions for a whole split, and its measures.

        Args:
            run: images to the network's output, or the tuple of its outputs.
            batches: images, then the targets of the first b of them.
            probabilities: whether the outputs are behind a softmax.
        """
        raise NotImplementedError

    # --- using ---

    def deployed(self, net: nn.Cell, spec: ModelSpec) -> nn.Cell:
        """The network as it is measured and exported, of the same parameters: what it gives in training may be raw."""
        return net

    def exported(self, spec: ModelSpec) -> ModelSpec:
        """The description of an exported file, with what its user must know to use the outputs."""
        return spec

    def outputs(self, spec: ModelSpec, form: ExportSignature) -> Tuple[Output, ...]:
        """The outputs of an exported file, in their order.

        Args:
            form: what the file is to take and give.

        Raises:
            ValueError: a form that has no meaning for this network.
        """
        raise NotImplementedError

    def result(self, outputs: Outputs, spec: ModelSpec, asked: Asked) -> Dict[str, Any]:
        """What is to be said of one image, plain values and what `Asked.arrays` allows.

        Args:
            outputs: of it, without the batch.

        Raises:
            ValueError: outputs that are no finite numbers, or none of this network's.
        """
        raise NotImplementedError

    def pictures(self, outputs: Outputs, spec: ModelSpec, asked: Asked, image: Image.Image) -> Dict[str, Image.Image]:
        """Pictures of a result, by what the names of their files end with; none where the task has none.

        Args:
            outputs: of the image, without the batch.
            image: upright.
        """
        return {}

    def typed(self, result: Mapping[str, Any]) -> Any:
        """A result, with arrays, as an object with attributes, as programs like it."""
        return types.SimpleNamespace(**result)

    def same(self, found: Outputs, expected: Outputs) -> Optional[np.ndarray]:
        """Whether two forms of a network, such as before and after quantising, mean the same: booleans (N,).

        None where the task has no such notion; numbers alone are compared then.
        """
        return None

    def lines(self, result: Mapping[str, Any]) -> List[str]:
        """A result for a reader."""
        raise NotImplementedError

    def cells(self, results: Sequence[Mapping[str, Any]]) -> Iterator[List[str]]:
        """Results as the rows of a table, header first."""
        raise NotImplementedError


def as_outputs(raw: Any) -> List[np.ndarray]:
    """What a network gave, as a list of arrays."""
    several = raw if isinstance(raw, (tuple, list)) else (raw,)
    return [one.asnumpy() if isinstance(one, Tensor) else np.asarray(one) for one in several]

