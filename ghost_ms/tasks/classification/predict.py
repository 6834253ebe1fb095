"""Classify image files."""
import json
import os
import sys
from typing import Callable, Dict, Iterator, List, Sequence, Union

import mindspore as ms
import numpy as np
from mindspore import nn

from ghost_ms.checkpoints.checkpoint import ModelSpec
from ghost_ms.core import scores
from ghost_ms.core.text import printable
from ghost_ms.data import images
from ghost_ms.data.decode import kind_of, read_image_file
from ghost_ms.data.transforms import Preprocessing
from ghost_ms.runtime.mindir import MindirModel
from ghost_ms.runtime.sidecar import Sidecar, check_file, read_sidecar
from ghost_ms.runtime.signature import ExportSignature
from ghost_ms.tasks.classification import multilabel

#: Images of a call where that is free; of a small network, twice as many a second as one at a time.
BATCH = 16


def find_images(paths: Sequence[str]) -> List[str]:
    """Files as they are, folders replaced by the images in and below them (`data.images.find_images`); what is passed
    over there is said on stderr. FileNotFoundError or ValueError names the culprit."""
    found = []
    for path in paths:
        shown = printable(path)
        if os.path.isdir(path):
            inside = images.find_images(path)
            line = images.passed_over_line(inside.passed_over, path)
            if not inside.paths:
                raise ValueError(f"folder '{shown}' holds no image that can be decoded here" + (line and f" ({line})"))
            if line:
                print(line, file=sys.stderr)
            found += inside.paths
        elif os.path.isfile(path):
            found.append(path)
        elif os.path.lexists(path):
            status = os.stat(path) if os.path.exists(path) else os.lstat(path)
            raise ValueError(f"'{shown}' is {kind_of(status.st_mode)}, not an image")
        else:
            raise FileNotFoundError(f"there is no image '{shown}'")
    return found


def from_network(net: nn.Cell, description: ModelSpec) -> "Classifier":
    """A network that classifies image files, of any batch."""
    net.set_train(False)
    return Classifier(lambda images: net(ms.Tensor(images)).asnumpy(),
                      Sidecar(description.preprocessing, description.classes, ExportSignature(), 0,
                              description.thresholds))


def run_file(path: str) -> Callable[[np.ndarray], np.ndarray]:
    """A function from images to outputs that runs an exported file: .mindir, .onnx, or .ms in MindSpore Lite.

    Raises:
        FileNotFoundError, ValueError: there is no such file, it is damaged, or its kind is not known.
    """
    kind = os.path.splitext(path)[1].lower()
    if kind == ".onnx":
        from ghost_ms.runtime.onnx import load_onnx

        return load_onnx(path)
    if kind == ".ms":
        from ghost_ms.runtime.lite import LiteModel

        return LiteModel(path)
    if kind == ".mindir":
        return MindirModel(path)
    raise ValueError(f"'{path}' is neither .mindir, .onnx nor .ms; `ghost-ms export` and `ghost-ms lite convert` write "
                     "these")


def from_file(path: str) -> "Classifier":
    """An exported file that classifies images as its sidecar says; errors as `run_file`, or its sidecar is none or of
    another file."""
    if os.path.isfile(path):
        # Before a runtime gets a file that was changed.
        check_file(path)
    return Classifier(run_file(path), read_sidecar(path))


class Classifier:
    """Classifies image files by a function from images to outputs.

    Args:
        sidecar: what the function takes and gives; its `batch_size` is how many images a call takes, 0 for any.
    """

    def __init__(self, run: Callable[[np.ndarray], np.ndarray], sidecar: Sidecar):
        self.run, self.sidecar = run, sidecar

    def __call__(self, path: str, top: int) -> dict:
        """The result of one image: its path, and its `top` most probable classes, best first; of a network that gives
        an image several labels, all of those, perhaps none.

        Raises:
            ValueError, OSError: it is no image, or cannot be read.
        """
        found, = self.each([path], top)
        if isinstance(found, Exception):
            raise found
        return found

    def each(self, paths: Sequence[str], top: int) -> Iterator[Union[dict, Exception]]:
        """For every image in order its result or, of one that cannot be read, the error.

        Every call takes equally many images, so that a network is compiled once: missing ones are filled up by
        repeating the last.
        """
        size = self.sidecar.batch_size or min(BATCH, len(paths))
        for start in range(0, len(paths), size):
            chunk = paths[start:start + size]
            read = [self._read(path) for path in chunk]
            images = [image for image in read if not isinstance(image, Exception)]
            outputs = iter(self.run(np.stack(images + images[-1:] * (size - len(images)))) if images else ())
            for path, image in zip(chunk, read):
                yield image if isinstance(image, Exception) else self._told(path, next(outputs), top)

    def _read(self, path: str) -> Union[np.ndarray, Exception]:
        try:
            return _pixels(path, self.sidecar.preprocessing, self.sidecar.form.in_graph)
        except (ValueError, OSError) as error:
            return error

    def _told(self, path: str, output: np.ndarray, top: int) -> Union[dict, Exception]:
        """Outputs that say nothing of one image can be good ones of another."""
        try:
            return self._result(path, output, top)
        except ValueError as error:
            return error

    def _result(self, path: str, output: np.ndarray, top: int) -> dict:
        classes = self.sidecar.classes
        whose, thresholds = f"for '{printable(path)}' the network", self.sidecar.thresholds
        if thresholds is not None:
            shares = multilabel.probabilities(scores.require_finite(output, whose))
            if shares.ndim != 1 or len(shares) < len(classes):
                raise ValueError(f"{whose} gives outputs of the shape {shares.shape}, and {len(classes)} classes are "
                                 "named: they do not belong together")
            return {"image": path, "predictions": multilabel.labels_of(shares, classes, thresholds)}
        found = scores.probabilities(output, not self.sidecar.form.softmax, whose)
        if found.shape != (max(found.size, len(classes)),):
            raise ValueError(f"the network gives outputs of the shape {found.shape}, and {len(classes)} classes are "
                             "named: they do not belong together")
        return {"image": path, "predictions": [
            {"class": scores.name_of(classes, index), "index": int(index), "probability": float(found[index])}
            for index in scores.order(found)[:top]]}


def _pixels(path: str, spec: Preprocessing, raw: bool) -> np.ndarray:
    try:
        return as_input(read_image_file(path), spec, raw)
    except ValueError as error:
        raise ValueError(f"'{printable(path)}' is {error}") from None


def as_input(image: Union[bytes, np.ndarray], spec: Preprocessing, raw: bool) -> np.ndarray:
    """A file's bytes or uint8 (H, W, C) as one image of a file's input: float32 (C, H, W), normalised; or, for a file
    that normalises itself (`raw`), uint8 (H, W, C). ValueError for what is no image."""
    if not raw:
        return spec(image)
    return np.asarray(spec.picture(image)).reshape(*spec.input_size, spec.channels)


def as_json(results: List[dict]) -> str:
    """The results as a JSON list."""
    return json.dumps(results, indent=1)


def as_table(results: List[Dict]) -> str:
    """The results for a reader: a block an image, a line a class."""
    lines = []
    for result in results:
        lines.append(printable(result["image"]))
        lines += [f"  {100 * p['probability']:6.2f} %  {printable(p['class'])}" for p in result["predictions"]] or [
            "  no class reaches its threshold"]
    return "\n".join(lines)
