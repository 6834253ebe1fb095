"""The JSON file beside an exported network: what a program must know to use it."""
import json
import os
from typing import Any, Dict, List, NamedTuple, Optional, Sequence

from ghost_ms.checkpoints.spec import ModelSpec, finite_metrics
from ghost_ms.core import strict_json
from ghost_ms.core.files import write_text
from ghost_ms.data.transforms import Preprocessing
from ghost_ms.runtime import checksums
from ghost_ms.runtime.signature import ExportSignature, Output
from ghost_ms.weights.described import check_classes, check_metrics, check_thresholds

#: Where the normalisation happens, as the sidecar states it.
IN_GRAPH, OUTSIDE = "in-graph", "outside"
#: The task of a sidecar that names none.
CLASSIFICATION = "classification"
#: Most outputs of a file.
MOST_OUTPUTS = 16
#: What decides whether two sidecars describe the same.
_SAME = ("model", "inputs", "outputs", "preprocessing", "classes", "thresholds", "task", "task_args")


class Sidecar(NamedTuple):
    """What `read_sidecar` gives: from an image file to the input, names of the classes, the file's ends, how many
    images a call takes (0 for any), and of a network that gives an image several labels a probability for each class,
    from which on it is one of them."""

    preprocessing: Preprocessing
    classes: List[str]
    form: ExportSignature
    batch_size: int
    thresholds: Optional[List[float]] = None
    model: str = ""
    args: Dict[str, Any] = {}
    task: str = CLASSIFICATION
    task_args: Dict[str, Any] = {}

    @classmethod
    def of(cls, spec: ModelSpec) -> "Sidecar":
        """What a network that is no file takes and gives, in calls of any number of images."""
        return cls(spec.preprocessing, spec.classes, ExportSignature(), 0, spec.thresholds, spec.model, spec.args,
                   spec.task, spec.task_args)

    def spec(self) -> ModelSpec:
        """The network in the file, as its task needs to know it."""
        return ModelSpec(self.model, self.args, self.classes, self.preprocessing, thresholds=self.thresholds,
                         task=self.task, task_args=self.task_args)


def sidecar_path(path: str) -> str:
    """NAME.json beside NAME.mindir or NAME.onnx."""
    return os.path.splitext(path)[0] + ".json"


def write_sidecar(path: str, description: ModelSpec, batch_size: int, form: ExportSignature,
                  outputs: Sequence[Output]) -> None:
    """Write classes, preprocessing, names, shapes and checksum beside an exported file, which is there already.

    Whoever is killed before this leaves a file that its old sidecar does not know, and that no reader takes.

    Args:
        batch_size: images of a call, 0 where that is open.
        outputs: of the file, in their order, as its task has them.
    """
    _write(path, _content(path, description, batch_size, form, outputs))


def copy_sidecar(source: str, target: str, batch_size: int = 0, **facts) -> None:
    """Write the sidecar of an exported file beside another one, which is there already and takes and gives the same.

    Args:
        batch_size: what an open batch of `source` was fixed to; 0 where it is still open.
        facts: further entries.
    """
    content = {**read_json(source), "file": os.path.basename(target), **facts}
    for end in (*content["inputs"], *content["outputs"]):
        if end["shape"][0] < 0 and batch_size:
            end["shape"][0] = batch_size
    _write(target, content)


def add_to_sidecar(path: str) -> None:
    """Let the sidecar that is there already vouch for one more file of its stem."""
    content = read_json(path)
    write_text(sidecar_path(path), _as_text({**content, checksums.KEY: checksums.of_family(path, content)}))


def set_thresholds(path: str, thresholds: Sequence[float]) -> None:
    """Let the sidecar of an exported file say a score for each class, from which on it is told."""
    content = read_json(path)
    write_text(sidecar_path(path), _as_text({**content, "thresholds": list(thresholds)}))


def seal(path: str) -> None:
    """Before an exported file is replaced: a sidecar of an earlier version gets the checksum of the file that it
    describes, so that it cannot be taken for that of the new one if the new sidecar is never written."""
    content = _old(path)
    if content is not None and checksums.KEY not in content:
        write_text(sidecar_path(path), _as_text({**content, checksums.KEY: checksums.of_family(path, content)}))


def _old(path: str) -> Optional[Dict[str, Any]]:
    """The sidecar that lies beside a file to be written; None where there is none, or it is no sidecar."""
    try:
        return read_json(path)
    except (OSError, ValueError):
        return None


def _write(path: str, content: Dict[str, Any]) -> None:
    old = _old(path)
    content = json.loads(json.dumps(content))
    known = old if old is not None and not _differs(old, content) else None
    write_text(sidecar_path(path), _as_text({**content, checksums.KEY: checksums.of_family(path, known)}))


def _as_text(content: Dict[str, Any]) -> str:
    return json.dumps(content, indent=1, allow_nan=False)


def refuse_foreign_sidecar(path: str, description: ModelSpec, batch_size: int, form: ExportSignature,
                           outputs: Sequence[Output]) -> None:
    """ValueError where the sidecar to be written belongs to another exported file that lies there and differs."""
    refuse_other_sidecar(path, json.loads(json.dumps(_content(path, description, batch_size, form, outputs))))


def refuse_other_sidecar(path: str, new: Dict[str, Any]) -> None:
    """Refuse as `refuse_foreign_sidecar` does, given the content of the sidecar."""
    old = _old(path)
    if old is None or old["file"] == os.path.basename(path):
        return
    beside = os.path.join(os.path.dirname(path), old["file"])
    if _differs(old, new) and os.path.isfile(beside):
        raise ValueError(f"'{sidecar_path(path)}' describes '{beside}', which takes or gives something else; "
                         "choose another name with --output")


def _differs(old: Dict[str, Any], new: Dict[str, Any]) -> bool:
    # Files of earlier versions do not say that they leave images as they lie.
    old, new = ({**each, "preprocessing": {"orient": False, **each["preprocessing"]}} for each in (old, new))
    return any(old.get(key) != new.get(key) for key in _SAME)


def read_sidecar(path: str) -> Sidecar:
    """The sidecar of an exported file, which is held against the checksum in it.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is no such file, or was written for another one; the sentence says which.
    """
    content = read_json(path)
    checksums.check(path, sidecar_path(path), content)
    return _parts(content)


def output_names(path: str) -> List[str]:
    """Names of an exported file's outputs, in their order; none where no sidecar tells."""
    content = _old(path)
    return [] if content is None else [output["name"] for output in content["outputs"]]


def check_file(path: str) -> None:
    """ValueError where an exported file has a sidecar that was written for another one."""
    if os.path.isfile(sidecar_path(path)):
        read_sidecar(path)


def read_json(path: str) -> Dict[str, Any]:
    """The sidecar of an exported file as it is, every field that is used checked; errors as `read_sidecar`, but the
    exported file is not looked at."""
    sidecar = sidecar_path(path)
    if not os.path.isfile(sidecar):
        raise FileNotFoundError(f"'{path}' has no sidecar '{sidecar}'; export writes both, keep them together")
    with open(sidecar, "rb") as file:
        raw = file.read(4 * strict_json.LONGEST + 1)
    try:
        content = strict_json.parse(raw.decode(), finite=False)
        _parts(content)
        content["metrics"] = check_metrics(content.get("metrics", {}))
        checksums.check_form(content)
    except ValueError as error:
        raise ValueError(f"'{sidecar}' is no sidecar of an export: {error}") from None
    return content


def _parts(content: Any) -> Sidecar:
    """What a sidecar says; ValueError (half a sentence) where that cannot be."""
    if not isinstance(content, dict):
        raise ValueError("it is no list of fields")
    for key in ("model", "file"):
        if not isinstance(content.get(key), str) or not 0 < len(content[key]) < 1000:
            raise ValueError(f"it has no proper {key}")
    if os.path.basename(content["file"]) != content["file"]:
        raise ValueError("file is no name of a file beside it")
    spec = Preprocessing.from_dict(content.get("preprocessing"))
    normalisation = content.get("normalisation", OUTSIDE)
    if normalisation not in (IN_GRAPH, OUTSIDE):
        raise ValueError(f"normalisation is neither {IN_GRAPH} nor {OUTSIDE}")
    task, task_args = content.get("task", CLASSIFICATION), content.get("task_args", {})
    if not isinstance(task, str) or not 0 < len(task) < 100 or not isinstance(task_args, dict):
        raise ValueError("it has no proper task")
    taken, = _ends(content, "inputs", 4, 1)
    outputs = _ends(content, "outputs", None, MOST_OUTPUTS)
    given = outputs[0]
    form = ExportSignature(normalisation == IN_GRAPH, given["name"] == "probabilities", given["name"] == "labels")
    batch_size = max(taken["shape"][0], 0)
    if tuple(taken["shape"]) != form.input_shape(spec, batch_size):
        raise ValueError(f"the input's shape {taken['shape']} is not that of its preprocessing")
    classes = list(check_classes(content.get("classes")))
    if task == CLASSIFICATION and (len(outputs) != 1 or len(given["shape"]) != 2):
        raise ValueError("outputs are no one row of logits for each image")
    if task == CLASSIFICATION and len(classes) > given["shape"][1]:
        raise ValueError(f"it names {len(classes)} classes for {given['shape'][1]} outputs")
    thresholds = list(check_thresholds(content["thresholds"], classes)) if "thresholds" in content else None
    if thresholds is not None and form.softmax:
        raise ValueError("it has thresholds for several labels of an image, and a softmax, which gives one")
    return Sidecar(spec, classes, form, batch_size, thresholds, content["model"],
                   # Of a map of classes, or boxes, which have no axis of them, those that are named.
                   {"num_classes": len(classes) if form.argmax or len(outputs) > 1 else given["shape"][1]
                    if len(given["shape"]) > 1 else 1}, task, task_args)


def _ends(content: Dict[str, Any], key: str, axes: Optional[int], most: int) -> List[Dict[str, Any]]:
    """The inputs or outputs.

    Args:
        axes: that their shapes have; None for 1 to 6.
        most: that there may be.
    """
    ends = content.get(key)
    if not isinstance(ends, list) or not 0 < len(ends) <= most or not all(isinstance(end, dict) for end in ends):
        raise ValueError(f"{key} are no list of one" if most == 1 else f"{key} are no list of 1 to {most}")
    for end in ends:
        name, shape = end.get("name"), end.get("shape")
        if not isinstance(name, str) or not isinstance(shape, list) or not 0 < len(shape) <= 6 or \
                axes not in (None, len(shape)) or not all(
                    type(extent) is int and (0 < extent < 1 << 31 or extent == -1) for extent in shape):
            raise ValueError(f"{key} have no proper name and shape")
    return ends


def _content(path: str, description: ModelSpec, batch_size: int, form: ExportSignature,
             outputs: Sequence[Output]) -> Dict[str, Any]:
    spec = description.preprocessing
    return {
        "model": description.model, "file": os.path.basename(path), "metrics": finite_metrics(description.metrics),
        "inputs": [{"name": form.input_name, "shape": list(form.input_shape(spec, batch_size)),
                    "dtype": form.input_dtype.__name__, "layout": form.layout}],
        "outputs": [{"name": output.name, "shape": [batch_size or -1, *output.shape], "dtype": output.dtype}
                    for output in outputs],
        "normalisation": IN_GRAPH if form.in_graph else OUTSIDE,
        "preprocessing": spec.as_dict(), "classes": description.classes,
        **({} if description.thresholds is None else {"thresholds": description.thresholds}),
        **({} if description.task == CLASSIFICATION else {
            "task": description.task, "task_args": description.task_args}),
    }
