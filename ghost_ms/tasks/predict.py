"""A network or an exported file, of any task, that tells what it makes of image files."""
import json
import os
from typing import Any, Callable, Dict, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Tuple, Union

import numpy as np
from mindspore import Tensor, nn
from PIL import Image

from ghost_ms.checkpoints.checkpoint import restore
from ghost_ms.checkpoints.run_folder import checkpoint_of_run
from ghost_ms.checkpoints.spec import ModelSpec
from ghost_ms.core import device
from ghost_ms.core.files import write_text
from ghost_ms.core.tables import require_ending, write_csv
from ghost_ms.core.text import printable
from ghost_ms.data.decode import read_image_file, to_pillow
from ghost_ms.data.transforms import Preprocessing
from ghost_ms.runtime.files import run_file
from ghost_ms.runtime.sidecar import Sidecar, check_file, read_sidecar
from ghost_ms.tasks.base import Asked, Task, as_outputs
from ghost_ms.tasks.registry import create_task

#: Images of a call where that is free; of a small network, twice as many a second as one at a time.
BATCH = 16
#: Takes the path of an image and its pictures, by what the names of their files end with.
Show = Callable[[str, Dict[str, Image.Image]], None]


def from_network(net: nn.Cell, spec: ModelSpec) -> "Predictor":
    """A network in evaluation mode, for calls of any batch."""
    task = create_task(spec.task, spec.task_args)
    net = task.deployed(net, spec).set_train(False)
    return Predictor(lambda images: net(Tensor(images)), Sidecar.of(task.exported(spec)))


def from_file(path: str) -> "Predictor":
    """An exported file, used as its sidecar says.

    Raises:
        FileNotFoundError, ValueError: there is no such file, it is damaged, or its sidecar is none or of another file.
    """
    if os.path.isfile(path):
        # Before a runtime gets a file that was changed.
        check_file(path)
    return Predictor(run_file(path), read_sidecar(path))


def load(path: Union[str, os.PathLike]) -> "Predictor":
    """A trained network of any kind, ready to be used: `load(PATH).predict(images)`.

    Args:
        path: a checkpoint that describes itself; an exported .mindir, .onnx or .ms with its sidecar beside it; the
            folder of a run, whose best checkpoint is taken; or a folder that holds one such file.

    Raises:
        FileNotFoundError, ValueError: there is nothing of the kind, or it is damaged.
    """
    path = os.fspath(path)
    if os.path.isdir(path):
        path = checkpoint_of_run(path) or _only_model(path)
    if not path.endswith((".ckpt", ".safetensors")):
        return from_file(path)
    device.setup("CPU")
    return from_network(*restore(path))


def _only_model(folder: str) -> str:
    found = [name for name in sorted(os.listdir(folder)) if name.endswith((".ckpt", ".mindir", ".onnx", ".ms"))]
    if len(found) != 1:
        raise ValueError(f"folder '{printable(folder)}' is no run's, and holds "
                         f"{'no' if not found else 'more than one'} checkpoint or exported file; name one")
    return os.path.join(folder, found[0])


class Predictor:
    """Tells what a network makes of image files.

    Args:
        run: images to the network's output, or the tuple of its outputs.
        sidecar: what the function takes and gives; its `batch_size` is how many images a call takes, 0 for any.
    """

    def __init__(self, run: Callable[[np.ndarray], Any], sidecar: Sidecar):
        self.run, self.sidecar, self.spec = run, sidecar, sidecar.spec()
        self.task: Task = create_task(self.spec.task, self.spec.task_args)

    def __call__(self, path: str, top: int) -> Dict[str, Any]:
        """The result of one image: its path, and what the task says of it, of `top` predictions at most.

        Raises:
            ValueError, OSError: it is no image, or cannot be read.
        """
        found, = self.each([path], top)
        if isinstance(found, Exception):
            raise found
        return found

    def predict(self, images: Any, top: int = 5) -> List[Any]:
        """What is in images: an object for each, in their order, such as `tasks.classification.results.Classified`.

        Args:
            images: a path, or an image uint8 (H, W, C); or a list of these.
            top: most predictions of an image.

        Raises:
            ValueError, OSError: one is no image, or cannot be read.
        """
        several = images if isinstance(images, (list, tuple)) else [images]
        found = []
        paths = [os.fspath(one) if isinstance(one, os.PathLike) else one for one in several]
        for one in self.each(paths, top, arrays=True):
            if isinstance(one, Exception):
                raise one
            found.append(self.task.typed(one))
        return found

    def each(self, paths: Sequence[Union[str, np.ndarray]], top: int, arrays: bool = False,
             show: Optional[Show] = None) -> Iterator[Union[Dict[str, Any], Exception]]:
        """Yields for every image in order its result or, where it cannot be read, the error.

        Every call takes equally many images, so that a network is compiled once: missing ones are filled up by
        repeating the last.

        Args:
            arrays: whether results may hold arrays.
            show: is given each path and its pictures by name, as the task makes them.
        """
        size = self.sidecar.batch_size or min(BATCH, len(paths))
        for start in range(0, len(paths), size):
            chunk = paths[start:start + size]
            read = [self._read(path) for path in chunk]
            images = [one.pixels for one in read if isinstance(one, _Read)]
            outputs: Iterator[Sequence[np.ndarray]] = iter(())
            if images:
                outputs = zip(*as_outputs(self.run(np.stack(images + images[-1:] * (size - len(images))))))
            for one in read:
                if isinstance(one, Exception):
                    yield one
                    continue
                asked = Asked(f"for '{printable(one.path)}' the network", top, self.sidecar.form.softmax, one.size,
                              arrays)
                yield self._told(one.path, next(outputs), asked, show)

    def _read(self, path: Union[str, np.ndarray]) -> Union["_Read", Exception]:
        spec = self.sidecar.preprocessing
        try:
            picture = opened(path, spec) if isinstance(path, str) else to_pillow(path, spec.channels, spec.orient)
            return _Read(path if isinstance(path, str) else "an array", self.sidecar.form.prepare(picture, spec),
                         picture.size)
        except (ValueError, OSError) as error:
            return error

    def _told(self, path: str, outputs: Sequence[np.ndarray], asked: Asked,
              show: Optional[Show]) -> Union[Dict[str, Any], Exception]:
        """Outputs that say nothing of one image can be good ones of another."""
        try:
            result = {"image": path, **self.task.result(outputs, self.spec, asked)}
            if show is not None:
                # Read once more: the pictures of a whole call could be gigabytes.
                picture = opened(path, self.sidecar.preprocessing)
                show(path, self.task.pictures(outputs, self.spec, asked, picture))
            return result
        except (ValueError, OSError) as error:
            return error

    def as_table(self, results: Sequence[Mapping[str, Any]]) -> str:
        """The results for a reader: a block for each image."""
        return "\n".join(line for result in results
                         for line in (printable(result["image"]), *(f"  {one}" for one in self.task.lines(result))))


class _Read(NamedTuple):
    """An image as the network takes it, and its (width, height)."""

    path: str
    pixels: np.ndarray
    size: Tuple[int, int]


def opened(path: str, preprocessing: Preprocessing) -> Image.Image:
    """An image file, upright, with a network's channels; ValueError names one that is no image."""
    try:
        return to_pillow(read_image_file(path), preprocessing.channels, preprocessing.orient)
    except ValueError as error:
        raise ValueError(f"'{printable(path)}' is {error}") from None


def as_json(results: List[dict]) -> str:
    """The results as a JSON list."""
    return json.dumps(results, indent=1)


def write_predictions(path: str, task: Task, found: Sequence[Mapping[str, Any]],
                      facts: Optional[Dict[str, Any]] = None) -> None:
    """Results as .csv, a row for each image; or as .json, a list, or an entry beside the facts.

    Raises:
        ValueError: the path has another ending.
        OSError: it cannot be written; what was there stays.
    """
    require_ending(path, "--output", (".csv", ".json"))
    if path.endswith(".json"):
        content = list(found) if facts is None else {**facts, "predictions": list(found)}
        return write_text(path, json.dumps(content, indent=1) + "\n")
    return write_csv(path, list(task.cells(found)))
