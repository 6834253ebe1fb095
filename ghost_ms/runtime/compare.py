"""Whether a file gives the network's numbers, also where the network itself does not give them twice.

A network that chooses, the nearest neighbours of ViG or the spikes of SNN-MLP, jumps where two choices are equally
good, and then the last bit of its input decides. No other runtime can repeat that, so a difference is held against what
the network's own output does when its input changes by a rounding error.
"""
from typing import Callable, NamedTuple, Sequence, Tuple, Union

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
        whole: whether the output is whole numbers, such as classes; both differences are then the share of those that
            differ.
    """

    difference: float
    relative: float
    moved: float
    same: bool
    whole: bool = False

    def __str__(self) -> str:
        if self.whole:
            return f"{100 * self.relative:.3g} % of the classes differ"
        text = f"max difference {self.difference:.1e} ({self.relative:.1e} of the largest output"
        return text + (f"; the network's own changes by {self.moved:.1e} when its input does in the last bit, since it "
                       "chooses between equals)" if self.moved and self.same else ")")


#: What a network gives: an array, or several in their order.
Given = Union[np.ndarray, Sequence[np.ndarray]]


def compare(output: Given, expected: Given, run: Callable[[np.ndarray], Given], images: np.ndarray,
            tolerance: float = TOLERANCE) -> Comparison:
    """Hold what a file gave against what the network gave; each output by its own largest value.

    Args:
        run: the network, from images to outputs; called only where a difference is more than the tolerance.
        images: float images for `run`.
    """
    found = [_difference(one, other) for one, other in zip(_several(output), _several(expected))]
    whole = all(np.issubdtype(one.dtype, np.integer) for one in _several(expected))
    difference, relative = max(found, key=lambda pair: (np.isnan(pair[1]), pair[1]))
    if relative <= tolerance:
        return Comparison(difference, relative, 0.0, True, whole)
    moved = sensitivity(run, images)
    return Comparison(difference, relative, moved, relative <= MARGIN * moved, whole)


def _several(given: Given) -> Sequence[np.ndarray]:
    return [given] if isinstance(given, np.ndarray) else given


def _difference(output: np.ndarray, expected: np.ndarray) -> Tuple[float, float]:
    """(largest difference, the same relative to the largest value); of whole numbers both are the share that differs.
    """
    if np.issubdtype(expected.dtype, np.integer):
        return (float(np.mean(output != expected)),) * 2
    # np.max, unlike max, does not pass over a difference that is no number.
    difference = float(np.max(np.abs(output - expected)))
    return difference, difference / max(float(np.abs(expected).max()), 1e-12)


def sensitivity(run: Callable[[np.ndarray], Given], images: np.ndarray) -> float:
    """Largest change of an output, relative to its largest value, when all pixels change by about one bit."""
    base = _several(run(images))
    changes = [_difference(moved, still)[1] for nudge in NUDGES
               for moved, still in zip(_several(run((images * np.float32(1 + nudge)).astype(np.float32))), base)]
    return max(changes)
