"""metrics.csv and curves.png of a run."""
import csv
import os
from typing import Dict, List


def write_metrics(path: str, rows: List[Dict[str, float]]) -> None:
    """One line an epoch, columns as the keys of the first row; the old file stays until the new one is whole."""
    with open(f"{path}.tmp", "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    os.replace(f"{path}.tmp", path)


def draw_curves(path: str, rows: List[Dict[str, float]]) -> None:
    """Loss, accuracy and learning rate over the epochs."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    epochs = [row["epoch"] for row in rows]
    figure = Figure(figsize=(11, 3.2), layout="constrained")
    FigureCanvasAgg(figure)
    panels = (("loss", ("train_loss", "test_loss", "ema_loss")),
              ("top-1 accuracy (%)", ("train_top1", "test_top1", "ema_top1")),
              ("learning rate", ("lr",)))
    for axes, (title, keys) in zip(figure.subplots(1, 3), panels):
        for key in (key for key in keys if key in rows[0]):
            axes.plot(epochs, [row[key] for row in rows], marker="o", markersize=3, label=key.replace("_", " "))
        axes.set(title=title, xlabel="epoch")
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)
    figure.savefig(path, dpi=120)
