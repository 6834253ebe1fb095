"""Published accuracy against measured latency."""
from typing import Sequence

from ghost_ms.analysis.measure.benchmark import Result
from ghost_ms.core.files import whole_file
from ghost_ms.models import model_card

#: A marker a backend, in the order in which they are measured.
MARKERS = "osD^vP"


def require_published(models: Sequence[str]) -> None:
    """ValueError where no model has a published accuracy: there would be nothing to draw."""
    if not any(model_card(name).top1 for name in models):
        raise ValueError(f"--plot needs a published top-1 accuracy, and {', '.join(models)} has none")


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
    drawn = [result for result in results if not result.error and model_card(result.model).top1]
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
