"""A checkpoint or an exported file, measured on a split of a recipe's data."""
import contextlib
import os
from typing import Callable, Iterable, Iterator, List, NamedTuple, Optional, Sequence, Tuple, Union

import mindspore as ms
import numpy as np
from mindspore import nn

from ghost_ms.checkpoints.checkpoint import ModelSpec, network_of, read_checkpoint
from ghost_ms.checkpoints.reconcile import Wish, describe, reconcile, say, settle
from ghost_ms.config import Config
from ghost_ms.core import device
from ghost_ms.core.text import printable
from ghost_ms.data.datasets import Dataset, open_source
from ghost_ms.data.loader import evaluation_batches
from ghost_ms.data.transforms import Preprocessing
from ghost_ms.deploy.quantize import calibration
from ghost_ms.runtime.sidecar import Sidecar, read_json, read_sidecar
from ghost_ms.tasks.classification import predict
from ghost_ms.tasks.classification.judge import Judgement, judge
from ghost_ms.tasks.classification.judge_sets import SetJudgement, judge_sets


class Evaluation(NamedTuple):
    """What was measured, of which network, on which images, brought to it in which way."""

    judgement: Union[Judgement, SetJudgement]
    model: str
    source: Dataset
    preprocessing: Preprocessing

    def name(self, sample: int) -> str:
        """The file of an image as it is, or its number where the data lies in memory."""
        return self.source.paths[sample] if self.source.paths else self.source.name(sample)


def of_checkpoint(path: str, wish: Wish, split: str = "val") -> Evaluation:
    """Measure the network in a checkpoint on a split of the recipe's data.

    What the checkpoint says of itself holds, but for what the command line gives; the labels follow its classes.

    Raises:
        FileNotFoundError, ValueError: checkpoint or data are not there or damaged, or do not belong together.
    """
    recipe = wish.recipe
    values, own = read_checkpoint(path)
    source = open_source(recipe.data, split, None if own is None else own.classes)
    if own is None:
        notes: List[str] = []
        description = describe(wish, source.channels, source.classes)
    else:
        description, notes = reconcile(own, path, wish)
    say(notes + source.notes)
    device.setup(recipe.run.device, recipe.run.device_id, recipe.run.mode, recipe.run.seed)
    net = network_of(description, values, path)
    return Evaluation(of_network(net, description, source, recipe), description.model, source,
                      description.preprocessing)


def of_network(net: nn.Cell, description: ModelSpec, source: Dataset,
               recipe: Config) -> Union[Judgement, SetJudgement]:
    """Measure a network, whose preprocessing is the description's, on all images of a source."""
    source = fitting(source, description.thresholds)
    net.set_train(False)
    batches = evaluation_batches(source, recipe, description.preprocessing)

    def run(images: np.ndarray) -> np.ndarray:
        return net(ms.Tensor(images)).asnumpy()

    return judge_as(run, batches, source, description.thresholds)


def judge_as(run: Callable[[np.ndarray], np.ndarray], batches: Iterable[Tuple[np.ndarray, np.ndarray]], source: Dataset,
             thresholds: Optional[Sequence[float]], softmax: bool = False) -> Union[Judgement, SetJudgement]:
    """What `run` says of the images of a source, by the thresholds of a network that gives an image several labels.

    Args:
        softmax: whether `run` gives probabilities.
    """
    if thresholds is not None:
        return judge_sets(run, batches, source.classes, thresholds, source.name)
    return judge(run, batches, source.classes, softmax, source.name)


def fitting(source: Dataset, thresholds: Optional[Sequence[float]]) -> Dataset:
    """The images with sets of labels where a network has thresholds, and so gives an image several.

    Raises:
        ValueError: it gives one, and the data's images may have several.
    """
    if thresholds is not None:
        return source.as_sets()
    if source.multi_label:
        raise ValueError("an image of this data may have several labels or none, and the network was trained to give "
                         "it one; train one with loss.name binary_cross_entropy")
    return source


def of_file(path: str, wish: Wish, split: str = "val") -> Evaluation:
    """Measure an exported file, .mindir, .onnx or .ms, on a split of the recipe's data.

    Preprocessing and classes are those of the file's sidecar; a call takes as many images as the file does.

    Raises:
        FileNotFoundError, ValueError: file, sidecar or data are not there or damaged, or do not belong together.
    """
    sidecar = read_sidecar(path)
    source = fitting(open_source(wish.recipe.data, split, sidecar.classes), sidecar.thresholds)
    say(settle(sidecar.preprocessing, f"'{printable(path)}'", wish)[1] + source.notes)
    device.setup("CPU")
    run = predict.run_file(path)
    # MindSpore Lite runs in a process of its own, which is ended here.
    with run if hasattr(run, "__exit__") else contextlib.nullcontext():  # type: ignore[union-attr]
        judgement = judge_as(run, file_batches(source, sidecar), source, sidecar.thresholds, sidecar.form.softmax)
    model = str(read_json(path).get("model", os.path.basename(path)))
    return Evaluation(judgement, model, source, sidecar.preprocessing)


def file_batches(source: Dataset, sidecar: Sidecar) -> Iterator[Tuple[np.ndarray, np.ndarray]]:
    """(images as the file takes them, labels of the first b of them); the last call is filled up where it has to be."""
    size = sidecar.batch_size or calibration.BATCH
    for start in range(0, source.size, size):
        places = range(start, min(start + size, source.size))
        images, = calibration.batches(calibration.read(source, places, sidecar), sidecar.batch_size)
        yield images, source.labels[start:start + size]
