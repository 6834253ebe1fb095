"""Which epoch of a training is the best, and which accuracy its best.ckpt has; knows rows of metrics.csv alone."""
import math
from typing import Dict, Optional, Sequence, Tuple

Row = Dict[str, float]
#: What the columns of the weights themselves and those of their running means begin with.
RAW, EMA = "test", "ema"
#: Metric of a checkpoint of a network that was trained with running means: 1 where it holds these, 0 for the weights.
HOLDS_EMA = "ema"
#: What is measured of a network after an epoch, the first that is there decides; and what accuracies are called.
FIGURES = {"top1": "top-1", "top5": "top-5", "map": "mean average precision", "f1": "F1", "loss": ""}


def holds_ema(row: Row) -> bool:
    """Whether the checkpoint of an epoch holds the running means: where they are more often right, or as often with the
    lower loss.

    Args:
        row: of metrics.csv, or the metrics of a checkpoint, which say so themselves (`HOLDS_EMA`).
    """
    return bool(row[HOLDS_EMA]) if HOLDS_EMA in row else _figures(row, EMA) > _figures(row, RAW)


def best_accuracy(row: Row) -> Row:
    """{top1, top5 (percent), loss} of what the checkpoint of an epoch holds, of sets of labels {map, f1, loss}; without
    those that were not measured."""
    prefix = EMA if holds_ema(row) else RAW
    return {key: row[f"{prefix}_{key}"] for key in FIGURES if f"{prefix}_{key}" in row}


def accuracy_text(figures: Row) -> str:
    """'top-1 91.20 %, top-5 99.10 %', or of sets of labels 'mean average precision 80.00 %, F1 75.00 %'."""
    return ", ".join(f"{name} {figures[key]:.2f} %" for key, name in FIGURES.items() if name and key in figures)


def best_row(rows: Sequence[Row]) -> Optional[Row]:
    """The best epoch: the highest accuracy, of equals the lower loss, of these the first; None where none was measured.

    Epochs in which VanillaNet's activations were not yet linear come after all others.
    """
    measured = [row for row in rows if _figures(row, RAW)[0] > -math.inf or _figures(row, EMA)[0] > -math.inf]
    return max(measured, key=score, default=None)


def score(row: Row) -> Tuple[bool, float, float]:
    """What makes an epoch better than another, the more important first."""
    merged = row.get("activation_slope", 1.0) == 1
    return (merged, *max(_figures(row, RAW), _figures(row, EMA)))


def _figures(row: Row, prefix: str) -> Tuple[float, float]:
    """(accuracy, minus loss), -inf for what was not measured or is no number."""
    accuracy = row.get(f"{prefix}_top1", row.get(f"{prefix}_map"))
    return _number(accuracy), _number(-row.get(f"{prefix}_loss", math.inf))


def _number(value: Optional[float]) -> float:
    return -math.inf if value is None or math.isnan(value) else value
