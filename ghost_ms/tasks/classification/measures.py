"""The measures of a `judge.Judgement`, told: tables, JSON, confusion matrix as CSV or picture, every prediction."""
from typing import Any, Callable, Dict, Iterator, List, Mapping, Sequence, Tuple

import numpy as np

from ghost_ms.core.files import whole_file
from ghost_ms.core.tables import as_text, write_csv
from ghost_ms.core.text import printable

#: Classes up to which a confusion matrix fits a terminal, and up to which a picture of it names them.
PRINTED, NAMED = 20, 60
#: Frequent confusions that are printed where there are more classes.
CONFUSIONS = 20


def class_rows(judgement: Any) -> List[List[str]]:
    """Precision, recall and F1 of every class that occurs, in percent, then their means; text cells, header first."""
    found = judgement.by_class()

    def cells(name: str, images: int, *shares: float) -> List[str]:
        return [name, str(images), *(f"{100 * share:.2f}" for share in shares)]

    table = [["class", "images", "precision (%)", "recall (%)", "F1 (%)"]]
    table += [cells(printable(judgement.classes[place]), *values) for place, *values in zip(*found)]
    images = int(found.images.sum())
    return table + [cells("mean of the classes (macro)", images, *found.average(weighted=False)),
                    cells("weighted by their images", images, *found.average(weighted=True))]


def confusion_text(judgement: Any) -> str:
    """The confusion matrix; of many classes, the most frequent confusions."""
    names = [printable(judgement.classes[place]) for place in judgement.shown]
    if len(names) > PRINTED:
        rows = [["class", "taken for", "images"]] + [
            [printable(true), printable(said), str(count)] for true, said, count in judgement.confused(CONFUSIONS)]
        return (f"the most frequent confusions of {len(names)} classes (a whole matrix goes into a .csv or .png):\n"
                + as_text(rows))
    rows = [["", *map(str, range(len(names)))]] + [
        [f"{place}: {name}", *map(str, line)] for place, (name, line) in enumerate(zip(names, judgement.confusion))]
    return "confusion matrix (rows: true classes; columns: predictions):\n" + as_text(rows)


def write_confusion(path: str, judgement: Any) -> None:
    """The confusion matrix as .csv, or drawn as .png; errors as `whole_file`."""
    names = [judgement.classes[place] for place in judgement.shown]
    if path.endswith(".png"):
        return _draw_confusion(path, judgement.confusion, names)
    rows = [["true \\ predicted", *names]] + [[name, *line.tolist()] for name, line in zip(names, judgement.confusion)]
    return write_csv(path, rows)


def _draw_confusion(path: str, counts: np.ndarray, names: Sequence[str]) -> None:
    """Rows are true classes; shades are shares of a row, by their square root, so that few mistakes are visible."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    size = len(names)
    side = min(14.0, 3.5 + 0.3 * size)
    figure = Figure(figsize=(side, side), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.imshow(np.sqrt(counts / np.maximum(counts.sum(1, keepdims=True), 1)), cmap="Blues", vmin=0, vmax=1)
    axes.set(xlabel="predicted class", ylabel="true class")
    if size <= NAMED:
        short = [_short(name) for name in names]
        for set_labels, turn in ((axes.set_xticks, 90), (axes.set_yticks, 0)):
            # A name with two dollars would be set as a formula.
            set_labels(range(size), short, rotation=turn, fontsize=8, parse_math=False)
    if size <= PRINTED:
        for row, column in zip(*np.nonzero(counts)):
            dark = counts[row, column] > 0.3 * counts[row].sum()
            axes.text(column, row, str(counts[row, column]), ha="center", va="center", fontsize=7,
                      color="white" if dark else "black")
    with whole_file(path) as temporary:
        figure.savefig(temporary, dpi=130, format="png")


def _short(name: str) -> str:
    name = printable(name)
    return name if len(name) <= 24 else f"{name[:23]}…"


def results(judgement: Any, name: Callable[[int], str]) -> Iterator[Dict[str, Any]]:
    """Every prediction as `ghost-ms infer` tells it, with the true class beside it.

    Args:
        name: number of an image -> its file.
    """
    for sample, (label, top, shares) in enumerate(zip(judgement.labels, judgement.top, judgement.shares)):
        yield {"image": name(sample), "true": judgement.classes[label], "predictions": [
            {"class": judgement.classes[place], "index": int(place), "probability": float(share)}
            for place, share in zip(top, shares)]}


def as_dict(judgement: Any) -> Dict[str, Any]:
    """All measures, in percent but for the loss and what is counted."""
    found = judgement.by_class()

    def shares(precision: float, recall: float, f1: float) -> Dict[str, float]:
        return {"precision": 100 * float(precision), "recall": 100 * float(recall), "f1": 100 * float(f1)}

    return {"images": len(judgement.labels), "top1": judgement.top1, "top5": judgement.top5,
            "loss": judgement.mean_loss, "macro": shares(*found.average(weighted=False)),
            "weighted": shares(*found.average(weighted=True)),
            "classes": [{"class": judgement.classes[place], "images": int(images), **shares(*values)}
                        for place, images, *values in zip(*found)],
            "confusion": {"classes": [judgement.classes[place] for place in judgement.shown],
                          "images": judgement.confusion.tolist()}}


def prediction_rows(found: Sequence[Mapping[str, Any]]) -> Iterator[List[str]]:
    """A header and a row for each image: its path, the true class where it is known, and the likely ones."""
    most = max((1, *(len(result["predictions"]) for result in found)))
    true = any("true" in result for result in found)
    titles: Tuple[str, ...] = ("predicted", "probability")
    yield ["path", *(["true"] if true else []), *titles,
           *(f"{title}_{place}" for place in range(2, most + 1) for title in titles)]
    for result in found:
        cells = [cell for one in result["predictions"] for cell in (one["class"], f"{one['probability']:.6g}")]
        yield [result["image"], *([result["true"]] if true else []), *cells, *[""] * (2 * most - len(cells))]
