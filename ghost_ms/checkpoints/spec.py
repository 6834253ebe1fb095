"""What a checkpoint knows of its network."""
import dataclasses
import json
import math
from typing import Any, Dict, List, Optional, Union

from mindspore import nn

from ghost_ms.core.text import printable
from ghost_ms.data.transforms import Preprocessing
from ghost_ms.factory import SEGMENTER_ARGS, create_model, create_with_head
from ghost_ms.models import model_card
from ghost_ms.surgery.edits import apply_edits, check_edits
from ghost_ms.weights import described
from ghost_ms.weights.load import open_pretrained

#: What `create_model` takes beside the arguments of a network, and what no file may hand to it through these.
RESERVED = frozenset(("name", "pretrained", "input_size", "classes", "backbone", "head", "pretrained_backbone",
                      *SEGMENTER_ARGS))


@dataclasses.dataclass
class ModelSpec:
    """What a checkpoint knows of itself, so that it can be used without the recipe.

    Args:
        model, args: name and constructor arguments of the network.
        edits: what was done to it after it was built, in that order (see `surgery.edits`).
        classes: names of the classes.
        preprocessing: from an image file to the network's input.
        metrics: of the epoch it was written after; `epoch` among them. None in place of what was not finite.
        thresholds: of a network that gives an image several labels: of each class the probability from which on it is
            one of them. None for a network that gives one.
        task, task_args: what the network is for, and the arguments of that (see `tasks.registry`).
        head, head_args: what stands behind the backbone `model`, and its arguments (see `factory.create_with_head`);
            empty for a network that is a backbone with its classifier.
    """

    model: str
    args: Dict[str, Any]
    classes: List[str]
    preprocessing: Preprocessing
    metrics: Dict[str, Optional[float]] = dataclasses.field(default_factory=dict)
    thresholds: Optional[List[float]] = None
    task: str = "classification"
    task_args: Dict[str, Any] = dataclasses.field(default_factory=dict)
    edits: List[Dict[str, Dict[str, Any]]] = dataclasses.field(default_factory=list)
    head: str = ""
    head_args: Dict[str, Any] = dataclasses.field(default_factory=dict)

    def build(self, pretrained: Union[bool, str] = False) -> nn.Cell:
        """The described network, freshly initialised or with the weights that `create_model` takes.

        Weights go in after those edits that their own file names, which have to be the first of this network's, and
        before the others; what an edit makes anew stays fresh. Weights of a network with other arguments are refused;
        classes of other names leave the classifier fresh.

        Raises:
            ValueError: there is no such network, an edit cannot be made, or the weights are of another network.
        """
        reserved = RESERVED & set(self.args)
        if reserved:
            raise ValueError(f"'{min(reserved)}' is no argument of a network (model.args)")
        if self.head:
            return self._with_head(pretrained)
        net = create_model(self.model, input_size=self.preprocessing.input_size, **self.args)
        if not pretrained:
            return apply_edits(net, self.edits)
        weights = open_pretrained(net.card, pretrained)
        had = weights.edits
        if self.edits[:len(had)] != had:
            raise ValueError(f"'{pretrained}' is of a network with the edits {had}, and this one has {self.edits}: "
                             "begin model.edits with those of the file")
        apply_edits(net, had)
        weights.fill(net, self.args, self.classes)
        return apply_edits(net, self.edits[len(had):])

    def _with_head(self, pretrained: Union[bool, str]) -> nn.Cell:
        """A backbone with a head behind it. Weights that are asked for are those of the whole where a file says so,
        and its classifier starts fresh where its classes are others; or else of the backbone, with a fresh head."""
        if self.edits:
            raise ValueError("model.edits are made to networks without a head; leave them out")
        unknown = set(self.head_args) - set(SEGMENTER_ARGS)
        if unknown:
            raise ValueError(f"task.head_args holds {printable(min(unknown))!r}; a head takes "
                             f"{' and '.join(SEGMENTER_ARGS)}")
        whole = None
        if not isinstance(pretrained, bool):
            file = open_pretrained(model_card(self.model), pretrained)
            if file.head not in ("", self.head):
                raise ValueError(f"'{printable(pretrained)}' is of a network with the head {printable(file.head)}, and "
                                 f"task.head is {self.head}: name the same, or a file of the backbone alone")
            whole = file if file.head else None
        net = create_with_head(self.head, self.model, input_size=self.preprocessing.input_size,
                               pretrained_backbone=pretrained if whole is None else False, **self.head_args,
                               **self.args)
        if whole is not None:
            whole.fill(net, self.args, self.classes)
        return net

    def to_json(self) -> str:
        values = {**dataclasses.asdict(self), "preprocessing": self.preprocessing.as_dict()}
        values["metrics"] = finite_metrics(self.metrics)
        if self.thresholds is None:
            # Earlier versions refuse a field that they do not know, and without thresholds have no need of it.
            del values["thresholds"]
        for key, default in (("task", "classification"), ("task_args", {}), ("edits", []), ("head", ""),
                             ("head_args", {})):
            if values[key] == default:
                del values[key]
        return json.dumps(values, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> "ModelSpec":
        """What `to_json` wrote; ValueError (half a sentence) where a field is absent, not known or cannot be."""
        values = described.parse(text)
        if "edits" in values:
            values["edits"] = check_edits(values["edits"], "edits")
        return cls(**{**values, "preprocessing": Preprocessing.from_dict(values["preprocessing"])})


def finite_metrics(metrics: Dict[str, Optional[float]]) -> Dict[str, Optional[float]]:
    """The metrics with None in place of what is not finite, for which JSON has no word."""
    return {key: value if value is not None and math.isfinite(value) else None for key, value in metrics.items()}
