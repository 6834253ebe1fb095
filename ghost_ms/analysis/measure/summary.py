"""What `ghost-ms info` prints of a network: where it comes from, how to feed it, and what every layer costs."""
from typing import List, Optional, Tuple

from ghost_ms.analysis.measure.complexity import Layer, count_layers, part_of, total
from ghost_ms.config import DataConfig
from ghost_ms.core.tables import as_text
from ghost_ms.data.transforms import preprocessing_of
from ghost_ms.factory import create_model, create_with_head
from ghost_ms.models import model_card
from ghost_ms.models.registry import ModelCard, describe
from ghost_ms.surgery.fold_norms import to_deploy_form
from ghost_ms.weights.manifest import manifest


def summary(name: str, input_size: Optional[Tuple[int, int]] = None, depth: int = 2, deploy: bool = False,
            head: Optional[str] = None) -> str:
    """Dataset, preprocessing and layer table of a registered variant.

    Args:
        input_size: (height, width) to count for; by default the published one.
        depth: components of a cell's name that make a row; 0 gives every layer its own.
        deploy: count the form that is exported, with branches fused and BatchNorm folded.
        head: that stands behind the network, as `task.head` names it.
    """
    card = model_card(name)
    size = tuple(input_size or card.input_size)
    net = create_with_head(head, name, card.num_classes, input_size=size) if head else create_model(
        name, input_size=size)
    if deploy:
        net = to_deploy_form(net)
    layers = count_layers(net, 3, size)
    form = ("deploy form, " if deploy else "") + (f"with {head} for {card.num_classes} classes, " if head else "")
    counted = f"{form}one image of {size[0]}x{size[1]}; see ghost_ms/analysis/measure/complexity.py for what is counted"
    return "\n".join([*heading(card), f"  counted      {counted}", "", as_text(layer_rows(layers, depth))])


def heading(card: ModelCard) -> List[str]:
    """What is known of a variant without building it, a line each."""
    arxiv = card.paper.replace(".", "").isdigit()
    lines = [f"{card.name}: {describe(card.name)}",
             f"  paper        {f'arXiv {card.paper}, https://arxiv.org/abs/{card.paper}' if arxiv else card.paper}"]
    accuracy = [f"{what} {value:g} %" for what, value in (("top-1", card.top1), ("top-5", card.top5),
                                                          *card.published.items()) if value is not None]
    source = f" ({card.source})" if card.source else ""
    lines.append(f"  published    {', '.join(accuracy) or 'no accuracy'}{source}")
    lines += [f"  {'weights' if not index else '':12} {line}" for index, line in enumerate(weights_lines(card))]
    lines.append(f"  input        {preprocessing_line(card)}")
    return lines + ([f"  note         {card.notes}"] if card.notes else [])


def preprocessing_line(card: ModelCard) -> str:
    """How an image becomes the published input."""
    spec = preprocessing_of(card, DataConfig(), len(card.mean))
    numbers = [", ".join(f"{value:g}" for value in values) for values in (spec.mean, spec.std)]
    height, width = spec.input_size
    fit = f"centre crop of {spec.crop_ratio:g}" if spec.fit == "crop" else "letterbox"
    return (f"{spec.channels}x{height}x{width}; {spec.interpolation}, {fit}; "
            f"mean {numbers[0]}; std {numbers[1]}")


def weights_lines(card: ModelCard) -> List[str]:
    """The released files and their licences, or why there are none."""
    entry = manifest().get(card.weights or card.name, "none released")
    if isinstance(entry, str):
        return [f"none released: {entry}" if entry != "none released" else entry]
    return [f"{release.file}, licence {release.licence or 'not stated'}" for release in entry]


def layer_rows(layers: List[Layer], depth: int) -> List[List[str]]:
    """The table as text cells: header, one row per part, the sum."""
    whole = total(layers)

    def cells(layer: Layer, name: str) -> List[str]:
        return [name, layer.kind, "x".join(map(str, layer.output)) if layer.output else "-",
                f"{layer.params:,}", f"{100 * layer.params / max(whole.params, 1):.1f} %",
                f"{layer.macs / 1e6:,.2f}", f"{100 * layer.macs / max(whole.macs, 1):.1f} %",
                f"{layer.activations / 1e6:,.2f}"]

    heading = ["layer", "kind", "output", "params", "share", "MACs (M)", "share", "activations (M)"]
    return [heading] + [cells(part, part.name or "(itself)") for part in part_of(layers, depth)] \
        + [cells(whole, "total")]
