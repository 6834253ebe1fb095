"""The registry: one card and one constructor for every variant.

A family file registers its variants with `@register(ModelCard(...))`; the function's name is the model's name.
"""
import dataclasses
import difflib
import fnmatch
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple

from ghost_ms.core.plugins import HINT
from ghost_ms.core.text import printable
from ghost_ms.models.dilate import set_output_stride
from ghost_ms.models.norms import set_batch_norms

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
HALF_MEAN = HALF_STD = (0.5, 0.5, 0.5)


@dataclasses.dataclass(frozen=True)
class ModelCard:
    """What is known of a variant before it is built.

    Args:
        params: exact number of trainable parameters at 1000 classes (or `num_classes`); running statistics and frozen
            tables that a rule makes are not counted.
        macs: multiply-accumulates of convolutions and matrix products, batch 1, at `input_size`.
        top1, top5: published accuracy in percent on ImageNet-1K (or the data set that `source` names); None where
            none is published. Nothing here was measured by this project.
        source: where the published accuracy stands.
        input_size: height and width that the accuracy was published for.
        mean, std: per-channel normalisation of images scaled to 0..1.
        crop_ratio, interpolation: the short side is resized to `input / crop_ratio` ('bilinear' or 'bicubic',
            antialiased), then the centre is cropped.
        paper: arXiv number, or a citation where there is none.
        weights: key of the released weights in the weights manifest; None where none were released.
        sized: True where position tables tie a network to the input size it was built for; such a network takes
            `input_size` as an argument.
        deploy_params, deploy_macs: the same counts after `reparameterize()`, where that changes them.
        unused_params: parameters that the released state carries, and `params` counts, but no output depends on.
        notes: one sentence on anything a user must know.
        tags: other released weights of the same network: tag -> fields of this card that they have otherwise
            (`weights` among them). `NAME.TAG` is the network with these; `ghost-ms models` lists NAME alone.
        tag: which of them this card is of; empty for the network's own.
        task: what it is for.
        published: of a network for another task than classification, what is published instead of `top1`, in percent,
            by what it is called, such as {"mIoU": 57.9}.
    """

    params: int
    macs: float
    paper: str
    top1: Optional[float] = None
    top5: Optional[float] = None
    source: Optional[str] = None
    input_size: Tuple[int, int] = (224, 224)
    mean: Tuple[float, ...] = IMAGENET_MEAN
    std: Tuple[float, ...] = IMAGENET_STD
    crop_ratio: float = 0.875
    interpolation: str = "bilinear"
    weights: Optional[str] = None
    num_classes: int = 1000
    sized: bool = False
    deploy_params: Optional[int] = None
    deploy_macs: Optional[float] = None
    unused_params: int = 0
    notes: str = ""
    name: str = ""
    family: str = ""
    tags: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    tag: str = ""
    task: str = "classification"
    published: Mapping[str, float] = dataclasses.field(default_factory=dict)

    @property
    def imagenet_top1(self) -> Optional[float]:
        """The published accuracy where it is one on ImageNet-1K, which alone can be compared."""
        return self.top1 if self.num_classes == 1000 else None


#: Arguments that every family has, and that act on the network as its family builds it.
COMMON = ("output_stride", "norm_eps", "norm_momentum")

_CONSTRUCTORS: Dict[str, Callable] = {}
_CARDS: Dict[str, ModelCard] = {}


def register(card: ModelCard):
    """Decorator: make the function below it known under its own name."""

    def wrap(function):
        name = function.__name__
        if name in _CARDS:
            raise ValueError(f"model '{name}' is registered twice; choose another name")
        family = function.__module__.rsplit(".", 1)[-1]
        _CARDS[name] = dataclasses.replace(card, name=name, family=family)
        _CONSTRUCTORS[name] = function
        return function

    return wrap


def nearest(name: str, count: int = 3) -> List[str]:
    """The registered names nearest to one that is not registered, the nearest first; empty where none is near.

    A name that only differs in capitals or punctuation comes first, then those that begin with the given one, those
    that hold it, and those of a like spelling; among equals, those with released weights.
    """
    asked = _letters(name)
    near = difflib.get_close_matches(name, _CARDS, n=len(_CARDS), cutoff=0.4)

    def rank(other: str) -> Optional[tuple]:
        letters = _letters(other)
        place = 0 if letters == asked else 1 if other.startswith(name.rstrip("_") + "_") else \
            2 if asked and letters.startswith(asked) else 3 if asked and asked in letters else \
            4 if asked.startswith(letters) else 5 if other in near else None
        if place is None:
            return None
        # Between a prefix and its continuations the spelling says nothing.
        spelling = near.index(other) if place == 5 else 0
        return place, spelling, _CARDS[other].weights is None, len(other), other

    ranked = sorted(key for key in map(rank, _CARDS) if key is not None)
    return [key[-1] for key in ranked[:count]]


def _letters(name: str) -> str:
    return "".join(character for character in name.lower() if character.isalnum())


def _known(name: str) -> str:
    if name not in _CARDS:
        near = nearest(name)
        hint = f"; the nearest are {', '.join(near)}" if near else ""
        raise ValueError(f"there is no model '{printable(name)}'{hint} (`ghost-ms models` lists all; {HINT})")
    return name


def model_card(name: str) -> ModelCard:
    """The card of a registered variant, or of its other released weights (`NAME.TAG`).

    Raises:
        ValueError: an unknown name, with the nearest ones, or an unknown tag.
    """
    base, _, tag = str(name).partition(".")
    card = _CARDS[_known(base)]
    if not tag:
        return card
    if tag not in card.tags:
        known = f"its tags are {', '.join(card.tags)}" if card.tags else "it has none"
        raise ValueError(f"{base} has no other released weights tagged '{printable(tag)}'; {known}")
    return dataclasses.replace(card, **card.tags[tag], tag=tag)


def same_network(name: str, other: str) -> bool:
    """Whether two names mean one network, whichever of its released weights they point to."""
    return name.partition(".")[0] == other.partition(".")[0]


def describe(name: str) -> str:
    """The sentence that a registered variant says of itself, the first line of its docstring."""
    return (_CONSTRUCTORS[model_card(name).name].__doc__ or "").strip().split("\n")[0]


def list_models(pattern: str = "*", task: str = "classification") -> List[str]:
    """Names of the registered variants for a task that match a shell pattern, sorted."""
    return sorted(name for name in fnmatch.filter(_CARDS, pattern) if _CARDS[name].task == task)


def build_model(name: str, *, input_size: Optional[Tuple[int, int]] = None, **kwargs):
    """Build a registered variant, freshly initialised.

    Args:
        name: a name from `list_models()`, or NAME.TAG for the preprocessing of other released weights.
        input_size: (height, width) the network will see. Networks with position tables are built for it; purely
            convolutional ones take any size as they are and need nothing.
        kwargs: `num_classes` (0 for no classifier: the network gives pooled features), `in_channels`, `drop_rate`,
            `drop_path_rate`; `output_stride` (8, 16 or 32: of the last map, by dilation), `norm_eps` and
            `norm_momentum` (of every BatchNorm; MindSpore's momentum, 0.9 keeps nine tenths); and what the family adds.

    Returns:
        the network; its `card` says what is published, its `arguments` what it was built with.

    Raises:
        ValueError: unknown name, with the nearest ones.
        TypeError: an argument that the family does not have.
    """
    card = model_card(name)
    return build(card, sized(card, kwargs, input_size))


def sized(card: ModelCard, arguments: Dict[str, Any], input_size: Optional[Tuple[int, int]]) -> Dict[str, Any]:
    """The arguments with the input size in them, where the network is built for one."""
    return arguments if input_size is None or not card.sized else {**arguments, "input_size": tuple(input_size)}


def build(card: ModelCard, arguments: Dict[str, Any]):
    """A freshly initialised network of these arguments."""
    if card.task != "classification":
        # It hands its backbone what all have.
        net = _CONSTRUCTORS[card.name](**arguments)
        net.card, net.arguments = card, dict(arguments)
        return net
    own = {key: value for key, value in arguments.items() if key not in COMMON}
    headless = own.get("num_classes") == 0
    if headless:
        del own["num_classes"]
    net = _CONSTRUCTORS[card.name](**own)
    if headless:
        net.reset_classifier(0)
    if "norm_eps" in arguments or "norm_momentum" in arguments:
        set_batch_norms(net, arguments.get("norm_eps"), arguments.get("norm_momentum"))
    if "output_stride" in arguments:
        set_output_stride(net, arguments["output_stride"])
    net.card, net.arguments = card, dict(arguments)
    return net
