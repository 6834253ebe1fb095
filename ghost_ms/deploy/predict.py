"""Classify image files."""
import json
import os
from typing import Callable, Dict, List, Sequence, Union

import mindspore as ms
import numpy as np
from mindspore import nn

from ghost_ms.core import scores
from ghost_ms.data.transforms import EXTENSIONS, Preprocessing, to_pillow
from ghost_ms.deploy.form import Form
from ghost_ms.deploy.mindir_process import MindirModel
from ghost_ms.deploy.sidecar import Sidecar, check_file, read_sidecar
from ghost_ms.training.checkpoint import Description


def find_images(paths: Sequence[str]) -> List[str]:
    """Files as they are, folders replaced by the images in them; FileNotFoundError or ValueError names the culprit."""
    found = []
    for path in paths:
        if os.path.isdir(path):
            inside = sorted(entry.path for entry in os.scandir(path) if entry.name.endswith(EXTENSIONS))
            if not inside:
                raise ValueError(f"folder '{path}' holds no image ({', '.join(EXTENSIONS)})")
            found += inside
        elif os.path.isfile(path):
            found.append(path)
        else:
            raise FileNotFoundError(f"there is no image '{path}'")
    return found


def from_network(net: nn.Cell, description: Description) -> Callable[[str, int], dict]:
    """A function (path, top) -> result that runs a network."""
    net.set_train(False)
    return classifier(lambda images: net(ms.Tensor(images)).asnumpy(),
                      Sidecar(description.preprocessing, description.classes, Form(), 1))


def run_file(path: str) -> Callable[[np.ndarray], np.ndarray]:
    """A function from images to outputs that runs an exported file: .mindir, .onnx, or .ms in MindSpore Lite.

    Raises:
        FileNotFoundError, ValueError: there is no such file, it is damaged, or its kind is not known.
    """
    kind = os.path.splitext(path)[1].lower()
    if kind == ".onnx":
        from ghost_ms.deploy.onnx_export import load_onnx

        return load_onnx(path)
    if kind == ".ms":
        from ghost_ms.deploy.lite import LiteModel

        return LiteModel(path)
    if kind == ".mindir":
        return MindirModel(path)
    raise ValueError(f"'{path}' is neither .mindir, .onnx nor .ms; `ghost-ms export` and `ghost-ms lite convert` write "
                     "these")


def from_file(path: str) -> Callable[[str, int], dict]:
    """A function (path, top) -> result that runs an exported file as its sidecar says; errors as `run_file`, or its
    sidecar is none or of another file."""
    if os.path.isfile(path):
        # Before a runtime gets a file that was changed.
        check_file(path)
    return classifier(run_file(path), read_sidecar(path))


def classifier(run: Callable[[np.ndarray], np.ndarray], sidecar: Sidecar) -> Callable[[str, int], dict]:
    """A function (path of an image, top) -> result, of one from images to outputs."""
    spec, classes, form, batch_size = sidecar

    def classify(path: str, top: int) -> dict:
        # A file for several images at once gets the same image several times.
        images = np.repeat(_pixels(path, spec, form.in_graph)[None], max(batch_size, 1), 0)
        found = scores.probabilities(run(images)[0], not form.softmax, f"for '{path}' the network")
        if found.shape != (max(found.size, len(classes)),):
            raise ValueError(f"the network gives outputs of the shape {found.shape}, and {len(classes)} classes are "
                             "named: they do not belong together")
        return {"image": path, "predictions": [
            {"class": scores.name_of(classes, index), "index": int(index), "probability": float(found[index])}
            for index in scores.order(found)[:top]]}

    return classify


def _pixels(path: str, spec: Preprocessing, raw: bool) -> np.ndarray:
    try:
        with open(path, "rb") as file:
            return as_input(file.read(), spec, raw)
    except ValueError as error:
        raise ValueError(f"'{path}' is {error}") from None


def as_input(image: Union[bytes, np.ndarray], spec: Preprocessing, raw: bool) -> np.ndarray:
    """A file's bytes or uint8 (H, W, C) as one image of a file's input: float32 (C, H, W), normalised; or, for a file
    that normalises itself (`raw`), uint8 (H, W, C). ValueError for what is no image."""
    if not raw:
        return spec(image)
    pixels = np.asarray(spec.resize(to_pillow(image, spec.channels)))
    return pixels.reshape(*spec.input_size, spec.channels)


def as_json(results: List[dict]) -> str:
    """The results as a JSON list."""
    return json.dumps(results, indent=1)


def as_table(results: List[Dict]) -> str:
    """The results for a reader: a block an image, a line a class."""
    lines = []
    for result in results:
        lines.append(result["image"])
        lines += [f"  {100 * p['probability']:6.2f} %  {p['class']}" for p in result["predictions"]]
    return "\n".join(lines)
