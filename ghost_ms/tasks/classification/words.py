"""Labels in words: the images of each class in a line, and the caption of an image."""
from typing import Sequence

import numpy as np

from ghost_ms.core.text import printable

#: Classes whose images are counted one by one; of more, the fewest and the most are told.
FEW = 5
#: Characters of a caption.
LONGEST = 28


def classes_line(classes: Sequence[str], labels: np.ndarray) -> str:
    """The training images of each class, or of the smallest and the largest."""
    # As `Dataset.counts` has them.
    counts = labels.sum(0, dtype=np.int64) if labels.ndim == 2 else np.bincount(labels, minlength=len(classes))
    low, high = int(counts.argmin()), int(counts.argmax())
    if counts[low] == counts[high]:
        return f"{counts[low]:,} training image{'' if counts[low] == 1 else 's'} of every class"
    ratio = f", {counts[high] / counts[low]:.1f} times as many" if counts[low] else ""
    if len(classes) <= FEW:
        each = ", ".join(f"{printable(name)} {count}" for name, count in zip(classes, counts))
        return f"training images of each class: {each}{ratio and ratio.replace(', ', '; the largest has ', 1)}"
    return (f"training images of a class: from {counts[low]} ({printable(classes[low])}) to {counts[high]} "
            f"({printable(classes[high])}){ratio}")


def caption(label: np.ndarray, classes: Sequence[str], smoothing: float = 0.0) -> str:
    """A class, several, or shares of several that were mixed."""
    if label.ndim == 0:
        return _short(classes[int(label)])
    spread = smoothing / len(label)
    shares = {classes[place]: (float(share) - spread) / (1 - smoothing) if smoothing < 1 else float(share)
              for place, share in enumerate(label[:len(classes)]) if share > spread + 5e-3}
    if all(share > 0.995 for share in shares.values()):
        return _short(", ".join(shares)) if shares else "no label"
    return "\n".join(f"{_short(name, LONGEST - 6)} {100 * share:.0f} %" for name, share in shares.items())


def _short(name: str, longest: int = LONGEST) -> str:
    name = printable(name)
    return name if len(name) <= longest else f"{name[:longest - 1]}…"
