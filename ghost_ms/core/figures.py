"""What is measured of a network after an epoch, which epoch is the best, and what its best.ckpt holds.

Knows rows of metrics.csv alone: a column is called after the weights ('test_top1') or their running means ('ema_top1').
"""
import math
from typing import Dict, Mapping, NamedTuple, Optional, Sequence, Tuple

Row = Dict[str, float]
#: What the columns of the weights themselves and those of their running means begin with.
RAW, EMA = "test", "ema"
#: Metric of a checkpoint of a network that was trained with running means: 1 where it holds these, 0 for the weights.
HOLDS_EMA = "ema"


class Best(NamedTuple):
    """What best.ckpt of a run holds.

    Args:
        epoch: after which it was written; None where no epoch was measured.
        averaged: whether it holds the EMA weights (`ema.decay`), because these did better.
        figures: of what it holds, those that were measured.
        key: of the figure that decided.
    """

    epoch: Optional[float]
    averaged: bool
    figures: Mapping[str, float]
    key: Optional[str]


NOTHING = Best(None, False, {}, None)


class Figures(NamedTuple):
    """The figures of a task.

    Args:
        names: key of a figure -> what it is called; '' for one that is not told in a line.
        primary: keys of those of which the first that was measured decides, the higher the better; of equals the lower
            loss.
        units: key -> what stands behind the number, ' %' by default.
    """

    names: Mapping[str, str]
    primary: Tuple[str, ...]
    units: Mapping[str, str] = {}

    def holds_ema(self, row: Row) -> bool:
        """Whether the checkpoint of an epoch holds the running means: where they do better, or as well with the lower
        loss.

        Args:
            row: of metrics.csv, or the metrics of a checkpoint, which say so themselves (`HOLDS_EMA`).
        """
        return bool(row[HOLDS_EMA]) if HOLDS_EMA in row else self._score(row, EMA) > self._score(row, RAW)

    def best(self, row: Row) -> Row:
        """The figures of what the checkpoint of an epoch holds, without those that were not measured."""
        prefix = EMA if self.holds_ema(row) else RAW
        return {key: row[f"{prefix}_{key}"] for key in self.names if f"{prefix}_{key}" in row}

    def text(self, figures: Row) -> str:
        """'top-1 91.20 %, top-5 99.10 %'."""
        return ", ".join(f"{name} {figures[key]:.2f}{self.unit(key)}" for key, name in self.names.items()
                         if name and key in figures)

    def unit(self, key: str) -> str:
        return self.units.get(key, " %")

    def title(self, key: str) -> str:
        """Title of a column or a chart: 'top-1 (%)'."""
        unit = self.unit(key).strip()
        return f"{self.names[key]} ({unit})" if unit else self.names[key]

    def decisive(self, row: Row) -> Optional[str]:
        """Key of the figure that decides, of those that were measured after an epoch."""
        return next((key for key in self.primary if f"{RAW}_{key}" in row or f"{EMA}_{key}" in row), None)

    def best_row(self, rows: Sequence[Row]) -> Optional[Row]:
        """The best epoch: the highest figure, of equals the lower loss, of these the first; None where none was
        measured. Epochs whose network was not yet the one that is wanted (`activation_slope` below 1) come after all
        others."""
        measured = [row for row in rows if max(self._score(row, RAW)[0], self._score(row, EMA)[0]) > -math.inf]
        return max(measured, key=self.score, default=None)

    def best_of(self, rows: Sequence[Row]) -> "Best":
        """What best.ckpt of a run with these epochs holds."""
        row = self.best_row(rows)
        return NOTHING if row is None else Best(row["epoch"], self.holds_ema(row), self.best(row), self.decisive(row))

    def score(self, row: Row) -> Tuple[bool, float, float]:
        """What makes an epoch better than another, the more important first."""
        finished = row.get("activation_slope", 1.0) == 1
        return (finished, *max(self._score(row, RAW), self._score(row, EMA)))

    def _score(self, row: Row, prefix: str) -> Tuple[float, float]:
        """(deciding figure, minus loss), -inf for what was not measured or is no number."""
        figure = next((row[f"{prefix}_{key}"] for key in self.primary if f"{prefix}_{key}" in row), None)
        return _number(figure), _number(-row.get(f"{prefix}_loss", math.inf))


def _number(value: Optional[float]) -> float:
    return -math.inf if value is None or math.isnan(value) else value
