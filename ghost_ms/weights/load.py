"""Filling a network from a weight file: choosing the entries, checking every name and shape, reporting."""
import dataclasses
import logging
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple, Union

import numpy as np
from mindspore import nn

from ghost_ms.core.text import printable
from ghost_ms.models.classes import match
from ghost_ms.models.registry import COMMON, ModelCard, build
from ghost_ms.surgery.edits import check_edits
from ghost_ms.weights import agreement, fetch
from ghost_ms.weights.averaged import WEIGHTS, averaged
from ghost_ms.weights.channels import other_channels, said
from ghost_ms.weights.convert import Difference, fitted, load_torch_state, torch_names
from ghost_ms.weights.files import WeightFile, open_file
from ghost_ms.weights.manifest import releases
from ghost_ms.weights.nearest import classifier, proposal, shapes_only, wanted
from ghost_ms.weights.pick import pick, prefix_hint, shown, without_prefix
from ghost_ms.weights.report import Report

#: Entries that may differ before another network is looked for: a file of the right one that is damaged.
_FEW = 2


@dataclasses.dataclass(frozen=True)
class Choice:
    """What to take of a file.

    Args:
        ema: the EMA weights of a training checkpoint.
        head: 'keep' wants the classifier of the file; 'new' leaves the network's own, freshly initialised; 'fit' takes
            the file's where there is one of the same classes.
        entry: the dictionary within the file, by default found.
        prefix: what stands before every name; entries without it are left out. By default that of a known wrapper.
        classes: names of the classes that the network is to tell, where they are known.
    """

    ema: bool = False
    head: str = "keep"
    entry: Optional[str] = None
    prefix: Optional[str] = None
    classes: Optional[Sequence[str]] = None


def load_weights(net: nn.Cell, path: Union[str, WeightFile], ema: bool = False, head: str = "keep",
                 num_classes: Optional[int] = None, *, entry: Optional[str] = None, prefix: Optional[str] = None,
                 classes: Optional[Sequence[str]] = None) -> Report:
    """Fill a freshly built network from a file.

    Args:
        net: from `create_model`.
        path: a PyTorch, safetensors or MindSpore file, or one that was read.
        ema, head, entry, prefix, classes: see `Choice`.
        num_classes: of the network; by default what it was built for.

    Raises:
        OSError, ValueError: the file cannot be read or does not fit; nothing was loaded then.
    """
    file = path if isinstance(path, WeightFile) else open_file(path)
    num_classes = num_classes or net.arguments.get("num_classes") or agreement.defaults(net)["num_classes"]
    try:
        return _Filling(net, file, Choice(ema, head, entry, prefix, classes), num_classes).run()
    except ValueError as error:
        raise ValueError(f"cannot use {printable(file.path)}: {error}") from None


class _Filling:
    """A file on its way into a network, whose classifier is a fresh one for `num_classes` classes from here on.

    `names` are PyTorch's by ours, `heads` ours of the classifier, `shapes` by PyTorch's names; `state` is what will be
    loaded, under these.
    """

    def __init__(self, net: nn.Cell, file: WeightFile, choice: Choice, num_classes: int):
        self.net, self.file, self.choice, self.num_classes = net, file, choice, num_classes
        self.names = torch_names(net)
        self.heads = classifier(net, num_classes)
        self.parameters = dict(net.parameters_and_names())
        self.shapes = {other: tuple(self.parameters[name].shape) for name, other in self.names.items()}
        self.report = Report(file.path, net.card.name)
        self.state: Dict[str, np.ndarray] = {}
        self.others: List[str] = []

    def run(self) -> Report:
        if self.file.described is not None:
            agreement.check_model(self.file.described, self.net.card.name)
            agreement.check_same(self.net, self.file.described)
        self.select()
        self.settle_head()
        self.settle_stem()
        self.report.resampled = [other for other, shape in self.shapes.items()
                                 if other in self.state and self.state[other].shape != shape]
        self.check()
        load_torch_state(self.net, self.state)
        self.report.used = [name for name in self.shapes if name not in self.report.fresh]
        self.report.dropped += [name for name in self.state if name not in self.shapes] + self.others
        self.note_slope()
        return self.report

    def select(self) -> None:
        """Find the entries, in PyTorch's names or in ours."""
        tensors, choice = self.file.tensors, self.choice
        absent = [name for name in self.names if name not in tensors]
        by_torch = choice.entry is not None or choice.prefix is not None
        if not by_torch and not absent and (WEIGHTS in tensors or not choice.ema):
            values = averaged(tensors, list(self.names)) if choice.ema else tensors
            self.report.entry = "EMA weights" if choice.ema else ""
            self.state = {other: values[name] for name, other in self.names.items()}
            self.others = [name for name in tensors if name not in self.names]
            return
        if self.file.mindspore and not by_torch:
            if absent:
                raise ValueError(f"it lacks {len(absent)} of {len(self.names)} parameters of "
                                 f"{type(self.net).__name__}: {absent[0]}{self.other_network(tensors)}")
            averaged(tensors, list(self.names))
        self.report.entry, state, others = pick(tensors, choice.ema, choice.entry)
        self.report.prefix, self.state, outside = without_prefix(state, self.wanted(), choice.prefix)
        self.others = others + outside

    def wanted(self):
        return wanted(self.net, self.heads, self.choice.head != "keep")

    def settle_head(self) -> None:
        """The file's classifier or a fresh one; its rows in the order of the network's classes."""
        names = [self.names[name] for name in self.heads]
        order = self.class_order()
        reason = self.why_fresh(names, order)
        if reason is not None:
            self.report.dropped += [name for name in names if name in self.state]
            self.report.fresh = names
            self.state.update({self.names[name]: self.parameters[name].asnumpy() for name in self.heads})
            if reason:
                self.report.notes.append(f"the classifier is fresh ({reason}); train it")
        elif order and order != list(range(len(order))):
            for name in self.last_layer(names):
                rows = order + list(range(len(order), self.num_classes))
                self.state[name] = self.state[name][rows]
            self.report.notes.append("the file's classes stand in another order: the classifier's rows are exchanged")

    def class_order(self) -> Optional[List[int]]:
        """Row in the file of each class; [] where one of the two does not name its classes, None for other classes."""
        if self.file.described is None or self.choice.classes is None:
            return []
        theirs = self.file.described["classes"]
        try:
            found = match(self.choice.classes, theirs)
        except ValueError:
            return None
        if len(found.places) < len(theirs):
            return None
        self.report.notes += found.notes
        return found.places

    def why_fresh(self, names: Sequence[str], order: Optional[List[int]]) -> Optional[str]:
        """'' where it was asked for, None where the file's classifier is taken."""
        if self.choice.head == "new":
            return ""
        lacking = [name for name in names if name not in self.state]
        differ = [name for name in names if name not in lacking and self.state[name].shape != self.shapes[name]]
        if self.choice.head == "keep":
            if names and lacking == list(names) and all(name in self.state or name in names for name in self.shapes):
                raise ValueError(f"it has no classifier ({', '.join(names)}): take a fresh one with --head new (in "
                                 "Python: give num_classes)")
            if differ:
                theirs = (self.state[differ[0]].shape[:1] or (0,))[0]
                raise ValueError(f"its classifier has {theirs} classes, the network {self.num_classes}: name the class "
                                 "count with --num-classes, or take a fresh classifier with --head new")
        elif lacking:
            return "the file has none"
        elif differ:
            return "the file's has another class count"
        return "the file's knows other classes" if order is None else None

    def last_layer(self, names: Sequence[str]) -> List[str]:
        """Entries of the classifier's last layer, whose rows are the classes."""
        first = max(index for index, name in enumerate(names) if len(self.shapes[name]) > 1)
        return list(names[first:])

    def settle_stem(self) -> None:
        """Fit the first convolution to the network's count of channels."""
        stem = next((name for name, shape in self.shapes.items() if len(shape) == 4 and name.endswith("weight")), None)
        if stem in self.state:
            value = other_channels(self.state[stem], self.shapes[stem])
            if value is not None:
                self.report.notes.append(said(stem, self.state[stem].shape[1], self.shapes[stem][1]))
                self.state[stem] = value

    def check(self) -> None:
        """ValueError, with what may help, where the state does not fit or holds what is no number."""
        difference = fitted(self.net, self.state)[1]
        if any(difference):
            raise ValueError(f"the state does not fit {type(self.net).__name__}: {difference}"
                             f"{self.remedy(difference)}")
        for name in self.shapes:
            value = self.state[name]
            if value.dtype.kind not in "fiub":
                raise ValueError(f"its entry {name} holds numbers of the type {value.dtype}")
            if value.dtype.kind == "f" and not np.isfinite(value).all():
                raise ValueError(f"its entry {name} holds values that are no finite numbers: its training had failed")

    def remedy(self, difference: Difference) -> str:
        if len(difference.missing) + len(difference.unexpected) + len(difference.shapes) <= _FEW:
            return ""
        return prefix_hint(self.state, self.wanted()) or self.other_network(self.state)

    def other_network(self, state: Mapping[str, np.ndarray]) -> str:
        name = proposal(state, self.net.card.name)
        return f"; all of its entries fit {name}: name that model" if name else ""

    def note_slope(self) -> None:
        slope = self.file.described["metrics"].get("activation_slope") if self.file.described else None
        if slope not in (None, 1):
            self.report.notes.append(f"it was saved while the activations were being made linear (slope {slope:g}), "
                                     "which weights do not hold: set_activation_slope gives the file's outputs")


class Pretrained:
    """Weights on their way into a network that `create_model` builds for them.

    Args:
        file: that was read.
        ema: take its EMA weights.
    """

    def __init__(self, file: WeightFile, ema: bool = False):
        self.file, self.ema = file, ema

    @property
    def edits(self) -> List[Dict[str, Dict[str, Any]]]:
        """What was done to the file's network after it was built, as far as it says so."""
        return check_edits((self.file.described or {}).get("edits", []), f"'{printable(self.file.path)}'")

    @property
    def head(self) -> str:
        """What stands behind the backbone of the file's network; empty where it says nothing of one."""
        return (self.file.described or {}).get("head", "")

    def settle(self, card: ModelCard, given: Mapping[str, Any],
               input_size: Optional[Tuple[int, int]]) -> Tuple[Dict[str, Any], Optional[Tuple[int, int]]]:
        """(arguments to build the network with, its input size): the caller's, else those that the file states.

        Raises:
            ValueError: the file is of another model, or describes a network that it cannot hold.
        """
        return settle(self.file, card, given, input_size)

    def fill(self, net: nn.Cell, given: Mapping[str, Any], classes: Optional[Sequence[str]] = None) -> Report:
        """Load the weights, and say in the log whatever was decided on the way.

        Args:
            given: arguments that the caller gave explicitly.
            classes: see `create_model`.
        """
        head = "fit" if given.get("num_classes") or classes is not None else "keep"
        report = load_weights(net, self.file, self.ema, head, classes=classes)
        notes = agreement.taken(net, self.file.described, given) if self.file.described else []
        for note in notes + report.remarks():
            logging.getLogger(__name__).warning("%s: %s (%s)", net.card.name, note, printable(self.file.path))
        return report


def open_pretrained(card: ModelCard, pretrained: Union[bool, str]) -> Pretrained:
    """Released weights (True), fetched where the cache does not hold them, or those of a file (a path)."""
    if pretrained is not True:
        return Pretrained(open_file(pretrained))
    release = releases(card.weights or card.name)[0]
    return Pretrained(open_file(fetch.fetch(release)), bool(release.ema))


def load_pretrained(net: nn.Cell, pretrained: Union[bool, str], given: Mapping[str, Any],
                    classes: Optional[Sequence[str]] = None) -> Report:
    """Fill a network of `create_model`, built with all the arguments it is to have; see `Pretrained.fill`."""
    return open_pretrained(net.card, pretrained).fill(net, given, classes)


def settle(file: WeightFile, card: ModelCard, given: Mapping[str, Any],
           input_size: Optional[Tuple[int, int]]) -> Tuple[Dict[str, Any], Optional[Tuple[int, int]]]:
    """See `Pretrained.settle`."""
    if file.described is None:
        return dict(given), input_size
    described, size = file.described, tuple(file.described["preprocessing"]["input_size"])
    try:
        agreement.check_model(described, card.name)
        rows = max((value.shape[0] for value in file.tensors.values() if value.ndim), default=0)
        agreement.check_size(described, rows, card.input_size)
        if described.get("head"):
            raise ValueError(f"its network has the head {printable(described['head'])[:100]} behind a backbone; it is "
                             "used by --ckpt, and by model.pretrained with the same task.head")
        if described.get("edits"):
            raise ValueError(f"its network was edited after it was built ({printable(described['edits'])[:200]}); it "
                             "is rebuilt by --ckpt, and by model.pretrained with the same model.edits")
        if set(described["args"]) - agreement.FITTED or set(described["args"]) & set(COMMON):
            _check_buildable(file, card)
    except ValueError as error:
        raise ValueError(f"cannot use {printable(file.path)}: {error}") from None
    return agreement.settled(described, given), input_size or size


def _check_buildable(file: WeightFile, card: ModelCard) -> None:
    """ValueError where the family cannot build what a file describes, or only larger than the file."""
    try:
        size = {"input_size": tuple(file.described["preprocessing"]["input_size"])} if card.sized else {}
        with shapes_only():
            net = build(card, {**file.described["args"], **size})
            count = sum(parameter.size for parameter in net.get_parameters())
    except Exception as error:  # whatever a constructor makes of arguments that it was never given
        raise ValueError(f"{card.name} cannot be built with {shown(file.described['args'])} as it says ("
                         f"{printable(str(error).strip().splitlines()[0] if str(error).strip() else error)})") from None
    held = sum(value.size for value in file.tensors.values())
    if count > held:
        raise ValueError(f"it says that its network has {count} parameters, and holds {held}")
