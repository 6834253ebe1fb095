"""Classify image files."""
import json
import os
from typing import Callable, Dict, List, Sequence

import mindspore as ms
import numpy as np
from mindspore import nn

from ghost_ms.data.transforms import EXTENSIONS, Preprocessing
from ghost_ms.deploy.export import load_mindir, read_sidecar
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
    return _classifier(net.set_train(False), description.preprocessing, description.classes)


def from_mindir(path: str) -> Callable[[str, int], dict]:
    """A function (path, top) -> result that runs an exported file with the preprocessing of its sidecar."""
    net = load_mindir(path)
    return _classifier(net, *read_sidecar(path))


def _classifier(net: nn.Cell, spec: Preprocessing, classes: List[str]) -> Callable[[str, int], dict]:
    def classify(path: str, top: int) -> dict:
        try:
            with open(path, "rb") as file:
                pixels = spec(file.read())
        except ValueError as error:
            raise ValueError(f"'{path}' is {error}") from None
        logits = net(ms.Tensor(pixels[None])).asnumpy()[0].astype(np.float64)
        exponentials = np.exp(logits - logits.max())
        probabilities = exponentials / exponentials.sum()
        order = np.argsort(-probabilities, kind="stable")[:top]
        names = classes + [f"class {index}" for index in range(len(classes), len(logits))]
        return {"image": path, "predictions": [
            {"class": names[index], "index": int(index), "probability": float(probabilities[index])}
            for index in order]}

    return classify


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
