"""Whether a file gives the network's numbers, also where the network itself does not give them twice.

A network that chooses, the nearest neighbours of ViG or the spikes of SNN-MLP, jumps where two choices are equally
good, and then the last bit of its input decides. No other runtime can repeat that, so a difference is held against what
the network's own output does when its input changes by a rounding error.
"""
from typing import Callable, NamedTuple

import numpy as np

#: Largest accepted |difference| / largest |output|.
TOLERANCE = 1e-4
#: Relative changes of the input, of about one bit, and how many times their effect is accepted as a difference. They
#: move the output of an untrained ViG-Ti at 224 pixels by up to 4e-2.
NUDGES = (-2.0 ** -22, -2.0 ** -23, 2.0 ** -23, 2.0 ** -22)
MARGIN = 3


class Comparison(NamedTuple):
    """What became of a comparison.

    Args:
        difference: the largest.
        relative: to the largest output.
        moved: relative change of the network's own output by rounding, 0 where it was not needed.
        same: whether the difference is within the tolerance, or within MARGIN times `moved`.
    """

    difference: float
    relative: float
    moved: float
    same: bool

    def __str__(self) -> str:
        text = f"max difference {self.difference:.1e} ({self.relative:.1e} of the largest output"
        return text + (f"; the network's own changes by {self.moved:.1e} when its input does in the last bit, since it "
                       "chooses between equals)" if self.moved and self.same else ")")


def compare(output: np.ndarray, expected: np.ndarray, run: Callable[[np.ndarray], np.ndarray], images: np.ndarray,
            tolerance: float = TOLERANCE) -> Comparison:
    """Hold a file's output against the network's.

    Args:
        run: the network, from images to outputs; called only where the difference is more than the tolerance.
        images: float images for `run`.
    """
    # np.max, unlike max, does not pass over a difference that is no number.
    difference = float(np.max(np.abs(output - expected)))
    relative = difference / max(float(np.abs(expected).max()), 1e-12)
    if relative <= tolerance:
        return Comparison(difference, relative, 0.0, True)
    moved = sensitivity(run, images)
    return Comparison(difference, relative, moved, relative <= MARGIN * moved)


def sensitivity(run: Callable[[np.ndarray], np.ndarray], images: np.ndarray) -> float:
    """Largest change of the output, relative to the largest, when all pixels change by about one bit."""
    base = run(images)
    changes = [np.abs(run((images * np.float32(1 + nudge)).astype(np.float32)) - base).max() for nudge in NUDGES]
    return float(max(changes) / max(np.abs(base).max(), 1e-12))
