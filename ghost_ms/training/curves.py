"""metrics.csv and curves.png of a run."""
import csv
import math
import os
from typing import List

from ghost_ms.core.figures import EMA, RAW, Figures, Row
from ghost_ms.core.files import whole_file


def write_course(folder: str, rows: List[Row], figures: Figures) -> None:
    """metrics.csv and curves.png of the epochs done."""
    if rows:
        write_metrics(os.path.join(folder, "metrics.csv"), rows)
        draw_curves(os.path.join(folder, "curves.png"), rows, figures)


def write_metrics(path: str, rows: List[Row]) -> None:
    """One line per epoch, a cell empty where one has no such figure."""
    with whole_file(path) as temporary, open(temporary, "w", newline="") as file:
        writer = csv.DictWriter(file, list(dict.fromkeys(key for row in rows for key in row)))
        writer.writeheader()
        writer.writerows(rows)


def draw_curves(path: str, rows: List[Row], figures: Figures) -> None:
    """What the training reached, and what it took, over the epochs."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    epochs = [row["epoch"] for row in rows]
    figure = Figure(figsize=(11, 6.2), layout="constrained")
    FigureCanvasAgg(figure)
    key = next(filter(None, map(figures.decisive, rows)), figures.primary[0])
    panels = (("loss", ("train_loss", "test_loss", "ema_loss")),
              (figures.title(key), (f"train_{key}", f"{RAW}_{key}", f"{EMA}_{key}")),
              ("learning rate", ("lr",)),
              ("speed (images/s)", ("images_per_second",)),
              ("wait for data (% of the time)", ("data_wait",)),
              ("peak memory (MB)", ("peak_mb",)))
    for axes, (title, keys) in zip(figure.subplots(2, 3).flat, panels):
        for key in keys:
            # Rows of a run that an older version began may lack a column.
            if any(key in row for row in rows):
                axes.plot(epochs, [row.get(key, math.nan) for row in rows], marker="o", markersize=3,
                          label=key.replace("_", " "))
        axes.set(title=title, xlabel="epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        if len(axes.lines) > 1:
            axes.legend(frameon=False)
    with whole_file(path) as temporary:
        figure.savefig(temporary, dpi=120)
