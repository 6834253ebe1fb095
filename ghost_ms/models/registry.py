"""The registry: one card and one constructor for every variant.

A family file registers its variants with `@register(ModelCard(...))`; the function's name is the model's name.
"""
import dataclasses
import difflib
import fnmatch
from typing import Callable, Dict, List, Optional, Tuple, Union

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


def _known(name: str) -> str:
    if name not in _CARDS:
        near = difflib.get_close_matches(name, _CARDS, n=3, cutoff=0.4)
        hint = f"; the nearest are {', '.join(near)}" if near else ""
        raise ValueError(f"there is no model '{name}'{hint} (`ghost-ms models` lists all)")
    return name


def model_card(name: str) -> ModelCard:
    """The card of a registered variant; ValueError with the nearest names for an unknown one."""
    return _CARDS[_known(name)]


def describe(name: str) -> str:
    """The sentence that a registered variant says of itself, the first line of its docstring."""
    return (_CONSTRUCTORS[_known(name)].__doc__ or "").strip().split("\n")[0]


def list_models(pattern: str = "*") -> List[str]:
    """Names of the registered variants that match a shell pattern, sorted."""
    return sorted(fnmatch.filter(_CARDS, pattern))


def create_model(name: str, *, pretrained: Union[bool, str] = False, input_size: Optional[Tuple[int, int]] = None,
                 **kwargs):
    """Build a registered variant, freshly initialised or with released weights.

    Args:
        name: a name from `list_models()`.
        pretrained: True for the released weights (fetched once, then kept in the cache), or a path of a PyTorch,
            safetensors or MindSpore file. The classifier of another class count is left fresh, with a warning. This
            is the only step that needs `ghost_ms.weights`, which is imported for it alone.
        input_size: (height, width) the network will see. Networks with position tables are built for it; purely
            convolutional ones take any size as they are and need nothing.
        kwargs: `num_classes`, `in_channels`, `drop_rate`, `drop_path_rate` and what the family adds.

    Raises:
        ValueError: unknown name, with the nearest ones; no weights are released, or they do not fit.
        OSError: the weights cannot be fetched or opened.
        TypeError: an argument that the family does not have.
    """
    if input_size is not None and model_card(name).sized:
        kwargs["input_size"] = tuple(input_size)
    net = _CONSTRUCTORS[_known(name)](**kwargs)
    net.card = _CARDS[name]
    if pretrained:
        from ghost_ms.weights.files import load_pretrained

        load_pretrained(net, pretrained, kwargs.get("num_classes"))
    return net
