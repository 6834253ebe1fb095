"""A checkpoint or an exported file, measured on a split of a recipe's data."""
import contextlib
from typing import List, NamedTuple

from mindspore import Tensor, nn

from ghost_ms.checkpoints.checkpoint import network_of, read_checkpoint
from ghost_ms.checkpoints.reconcile import Wish, describe, reconcile, say, settle
from ghost_ms.checkpoints.spec import ModelSpec
from ghost_ms.config import Config
from ghost_ms.core import device
from ghost_ms.core.text import printable
from ghost_ms.data.dataset import Dataset
from ghost_ms.data.loader import evaluation_batches
from ghost_ms.data.transforms import Preprocessing
from ghost_ms.kernels.swap import fallback
from ghost_ms.runtime import files
from ghost_ms.runtime.sidecar import read_sidecar
from ghost_ms.tasks.base import Judgement, Task
from ghost_ms.tasks.measure import measure
from ghost_ms.tasks.registry import create_task


class Evaluation(NamedTuple):
    """What was measured, of which network, on which images, brought to it in which way."""

    judgement: Judgement
    model: str
    source: Dataset
    preprocessing: Preprocessing
    task: Task

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
    task = create_task(recipe.task.name, recipe.task.args) if own is None else _task(own, wish)
    source = task.open(recipe.data, split, None if own is None else own.classes)
    if own is None:
        notes: List[str] = []
        description = describe(wish, source.channels, source.classes)
    else:
        description, notes = reconcile(own, path, wish)
    say(notes + source.notes)
    device.setup(recipe.run.device, recipe.run.device_id, recipe.run.mode, recipe.run.seed)
    net = network_of(description, values, path)
    say(fallback(net, recipe.run.kernels))
    return Evaluation(of_network(task, net, description, source, recipe), description.model, source,
                      description.preprocessing, task)


def _task(own: ModelSpec, wish: Wish) -> Task:
    """The task of a checkpoint or an exported file, with what the command line gives of its arguments over them."""
    given = wish.recipe.task.args if wish.gives("task.args") else {}
    return create_task(own.task, {**own.task_args, **given})


def of_network(task: Task, net: nn.Cell, description: ModelSpec, source: Dataset, recipe: Config) -> Judgement:
    """Measure a network, whose preprocessing is the description's, on all images of a source."""
    source = task.fitting(source, description)
    net = task.deployed(net, description).set_train(False)
    batches = evaluation_batches(source, recipe, task.evaluation(recipe, source, description.preprocessing))
    return task.judge(lambda images: _arrays(net(Tensor(images))), batches, source, description)


def _arrays(raw):
    return tuple(one.asnumpy() for one in raw) if isinstance(raw, tuple) else raw.asnumpy()


def of_file(path: str, wish: Wish, split: str = "val") -> Evaluation:
    """Measure an exported file, .mindir, .onnx or .ms, on a split of the recipe's data.

    Preprocessing and classes are those of the file's sidecar; a call takes as many images as the file does.

    Raises:
        FileNotFoundError, ValueError: file, sidecar or data are not there or damaged, or do not belong together.
    """
    sidecar = read_sidecar(path)
    spec = sidecar.spec()
    task = _task(spec, wish)
    source = task.fitting(task.open(wish.recipe.data, split, sidecar.classes), spec)
    say(settle(sidecar.preprocessing, f"'{printable(path)}'", wish)[1] + source.notes)
    device.setup("CPU")
    run = files.run_file(path)
    # MindSpore Lite runs in a process of its own, which is ended here.
    with run if hasattr(run, "__exit__") else contextlib.nullcontext():  # type: ignore[union-attr]
        judgement = measure(run, task, wish.recipe, source, sidecar)
    return Evaluation(judgement, spec.model, source, sidecar.preprocessing, task)
