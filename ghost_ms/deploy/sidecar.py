"""The JSON file beside an exported network: what a program must know to use it."""
import dataclasses
import json
import os
from typing import List, NamedTuple

from ghost_ms.data.transforms import Preprocessing
from ghost_ms.deploy.form import Form
from ghost_ms.training.checkpoint import Description

#: Where the normalisation happens, as the sidecar states it.
IN_GRAPH, OUTSIDE = "in-graph", "outside"


class Sidecar(NamedTuple):
    """What `read_sidecar` gives: from an image file to the input, names of the classes, the file's ends, and how many
    images a call takes (0 for any)."""

    preprocessing: Preprocessing
    classes: List[str]
    form: Form
    batch_size: int


def sidecar_path(path: str) -> str:
    """NAME.json beside NAME.mindir or NAME.onnx."""
    return os.path.splitext(path)[0] + ".json"


def write_sidecar(path: str, description: Description, batch_size: int, form: Form = Form()) -> None:
    """Write classes, preprocessing, names and shapes beside an exported file."""
    _write(path, _content(path, description, batch_size, form))


def copy_sidecar(source: str, target: str, batch_size: int = 0, **facts) -> None:
    """Write the sidecar of an exported file beside another one that takes and gives the same.

    Args:
        batch_size: what an open batch of `source` was fixed to; 0 where it is still open.
        facts: further entries.
    """
    content = {**read_json(source), "file": os.path.basename(target), **facts}
    for end in (*content["inputs"], *content["outputs"]):
        if end["shape"][0] < 0 and batch_size:
            end["shape"][0] = batch_size
    _write(target, content)


def read_json(path: str) -> dict:
    """The sidecar of an exported file as it is."""
    with open(sidecar_path(path)) as file:
        return json.load(file)


def _write(path: str, content: dict) -> None:
    temporary = f"{sidecar_path(path)}.{os.getpid()}.tmp"
    try:
        with open(temporary, "w") as file:
            json.dump(content, file, indent=1)
        os.replace(temporary, sidecar_path(path))
    finally:
        if os.path.exists(temporary):
            os.remove(temporary)


def refuse_foreign_sidecar(path: str, description: Description, batch_size: int, form: Form) -> None:
    """ValueError where the sidecar to be written belongs to another exported file that lies there and differs."""
    refuse_other_sidecar(path, json.loads(json.dumps(_content(path, description, batch_size, form))))


def refuse_other_sidecar(path: str, new: dict) -> None:
    """The same for the content of a sidecar."""
    try:
        old = read_json(path)
        beside = os.path.join(os.path.dirname(path), old["file"])
    except (OSError, ValueError, KeyError, TypeError):
        return
    differs = any(old.get(key) != new[key] for key in ("model", "inputs", "outputs", "preprocessing", "classes"))
    if differs and old["file"] != os.path.basename(path) and os.path.isfile(beside):
        raise ValueError(f"'{sidecar_path(path)}' describes '{beside}', which takes or gives something else; "
                         "choose another name with --output")


def read_sidecar(path: str) -> Sidecar:
    """The sidecar of an exported file; FileNotFoundError or ValueError where there is none or it is no such file."""
    sidecar = sidecar_path(path)
    if not os.path.isfile(sidecar):
        raise FileNotFoundError(f"'{path}' has no sidecar '{sidecar}'; export writes both, keep them together")
    try:
        content = read_json(path)
        spec = {key: tuple(value) if isinstance(value, list) else value
                for key, value in content["preprocessing"].items()}
        form = Form(content.get("normalisation") == IN_GRAPH, content["outputs"][0]["name"] == "probabilities")
        return Sidecar(Preprocessing(**spec), content["classes"], form, max(content["inputs"][0]["shape"][0], 0))
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise ValueError(f"'{sidecar}' is no sidecar of an export: {error}") from None


def _content(path: str, description: Description, batch_size: int, form: Form) -> dict:
    spec = description.preprocessing
    return {
        "model": description.model, "file": os.path.basename(path), "metrics": description.metrics,
        "inputs": [{"name": form.input_name, "shape": list(form.input_shape(spec, batch_size)),
                    "dtype": form.input_dtype.__name__, "layout": form.layout}],
        "outputs": [{"name": form.output_name, "shape": [batch_size or -1, description.args["num_classes"]],
                     "dtype": "float32"}],
        "normalisation": IN_GRAPH if form.in_graph else OUTSIDE,
        "preprocessing": dataclasses.asdict(spec), "classes": description.classes,
    }
