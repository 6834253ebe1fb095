"""Published accuracy against cost: multiply-accumulates from the cards, or latency as measured."""
from typing import Sequence

from ghost_ms.analysis.measure.benchmark import Result
from ghost_ms.core.files import whole_file
from ghost_ms.models import model_card

#: A marker a backend, in the order in which they are measured.
MARKERS = "osD^vP"


def require_published(models: Sequence[str]) -> None:
    """ValueError where no model has a published accuracy: there would be nothing to draw."""
    if not any(model_card(name).imagenet_top1 for name in models):
        raise ValueError(f"--plot needs a published top-1 accuracy on ImageNet, and {', '.join(models)} has none")


def accuracy_latency(results: Sequence[Result]):
    """A figure with a point for each result that was measured and whose network has a published accuracy.

    Top-1 is that of the model's card, from its paper or the release of its weights; latency is the median of a call on
    a batch, with its quartiles as a bar.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    drawn = [result for result in results if not result.error and model_card(result.model).imagenet_top1]
    backends = list(dict.fromkeys(result.backend for result in drawn))
    for index, backend in enumerate(backends):
        points = [result for result in drawn if result.backend == backend]
        latency, top1 = [point.median_ms for point in points], [model_card(point.model).top1 for point in points]
        spread = [[point.median_ms - point.low_ms for point in points],
                  [point.high_ms - point.median_ms for point in points]]
        axes.errorbar(latency, top1, xerr=spread, fmt=MARKERS[index % len(MARKERS)], capsize=2, label=backend)
        for point, x, y in zip(points, latency, top1):
            axes.annotate(point.model, (x, y), xytext=(4, 4), textcoords="offset points", fontsize=7)
    first = results[0]
    axes.set(xscale="log", xlabel=f"measured latency (ms), batch {first.batch}, {first.threads} threads, CPU",
             ylabel="published ImageNet top-1 (%)", title="Accuracy as published, latency as measured here")
    axes.grid(alpha=0.3, which="both")
    if drawn:
        axes.legend(frameon=False)
    return figure


def draw_accuracy_latency(path: str, results: Sequence[Result]) -> None:
    """Write the figure as a PNG file; errors as `whole_file`."""
    with whole_file(path) as temporary:
        accuracy_latency(results).savefig(temporary, dpi=130, format="png")


def accuracy_macs(names: Sequence[str]):
    """A figure of published top-1 against MACs: a point for each network that has one, a line for each family."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    require_published(names)
    figure = Figure(figsize=(9, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    cards = [card for card in map(model_card, names) if card.imagenet_top1]
    families = list(dict.fromkeys(card.family for card in sorted(cards, key=lambda card: card.macs)))
    for index, family in enumerate(families):
        points = sorted((card.macs / 1e6, card.top1) for card in cards if card.family == family)
        axes.plot(*zip(*points), f"{MARKERS[index // 10 % len(MARKERS)]}-", color=f"C{index % 10}", markersize=4,
                  linewidth=1, label=family)
    axes.set(xscale="log", xlabel="multiply-accumulates of an image (millions)",
             ylabel="published ImageNet-1K top-1 (%)", title="Accuracy as published by the authors, cost as counted")
    axes.grid(alpha=0.3, which="both")
    figure.legend(loc="outside right upper", frameon=False, fontsize=8, labelspacing=0.35)
    return figure


def draw_accuracy_macs(path: str, names: Sequence[str]) -> None:
    """Write the figure as a PNG file; errors as `whole_file`, ValueError where there is nothing to draw."""
    figure = accuracy_macs(names)
    with whole_file(path) as temporary:
        figure.savefig(temporary, dpi=110, format="png")
