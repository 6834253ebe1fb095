"""Probabilities and classes from the outputs of a classifier: the one place where that happens, in float64."""
from typing import Sequence

import numpy as np


def require_finite(outputs: np.ndarray, whose: str = "the network") -> np.ndarray:
    """The outputs as they are.

    Raises:
        ValueError: one of them is NaN or infinite, and then the classes and probabilities of all of its image mean
            nothing.
    """
    wrong = int((~np.isfinite(outputs)).sum())
    if wrong:
        raise ValueError(f"{whose} gives outputs that are no finite numbers ({wrong} of {outputs.size}), so it says "
                         "nothing about the image: its weights are damaged or its training diverged, or numbers "
                         "overflow in its precision")
    return outputs


def probabilities(outputs: np.ndarray, softmax: bool = True, whose: str = "the network") -> np.ndarray:
    """Softmax over the last axis, (..., classes); every row sums to 1.

    Args:
        softmax: whether the outputs are logits; otherwise they are probabilities already, and only scaled.
        whose: for the sentence of the error.

    Raises:
        ValueError: an output is not finite, or no probability where they are to be some.
    """
    values = require_finite(outputs, whose).astype(np.float64)
    if softmax:
        values = np.exp(values - values.max(-1, keepdims=True))
    elif (values < 0).any() or not (values.sum(-1) > 0).all():
        raise ValueError(f"{whose} gives numbers that are no probabilities, although it should end in a softmax")
    return values / values.sum(-1, keepdims=True)


def log_probabilities(logits: np.ndarray, whose: str = "the network") -> np.ndarray:
    """Logarithms of the softmax over the last axis; errors as `probabilities`."""
    values = require_finite(logits, whose).astype(np.float64)
    values = values - values.max(-1, keepdims=True)
    return values - np.log(np.exp(values).sum(-1, keepdims=True))


def best(outputs: np.ndarray, whose: str = "the network") -> np.ndarray:
    """Index of the largest output of each row, the first of equal ones; errors as `require_finite`."""
    return require_finite(outputs, whose).argmax(-1)


def order(values: np.ndarray) -> np.ndarray:
    """Indices of (classes,) from the largest to the smallest; equal ones stay in their order."""
    return np.argsort(-values, kind="stable")


def name_of(classes: Sequence[str], index: int) -> str:
    """A class by its name, or as 'class 7' where the network has more outputs than names."""
    return classes[index] if index < len(classes) else f"class {index}"
