"""What an image of each class counts in the loss (`loss.class_weights`)."""
from typing import Optional

import numpy as np

from ghost_ms.config import LossConfig
from ghost_ms.data.dataset import Dataset
from ghost_ms.models.classes import match


def class_weights(config: LossConfig, source: Dataset, outputs: int) -> Optional[np.ndarray]:
    """A weight for each output of the network, float32 (outputs,); None where the recipe weighs nothing.

    balanced: n / (k n_c) for class c, of n labels on all training images, of k classes that have any and n_c of this
    class (King and Zeng, "Logistic Regression in Rare Events Data", 2001; scikit-learn's 'balanced'). A class without
    images, and outputs beyond the classes, weigh 1.

    Args:
        source: the images that are trained on.
        outputs: length of the logits.

    Raises:
        ValueError: a list of another length than there are classes, or a name that is none of them.
    """
    given = config.class_weights
    if given is None:
        return None
    weights, classes = np.ones(outputs, np.float32), len(source.classes)
    if isinstance(given, str):
        counts = source.counts()
        there = counts > 0
        weights[:classes][there] = counts.sum() / (there.sum() * counts[there])
    elif isinstance(given, dict):
        try:
            weights[match(list(given), source.classes).places] = list(given.values())
        except ValueError as error:
            raise ValueError(f"loss.class_weights names classes of other data: {error}") from None
    elif len(given) != classes:
        raise ValueError(f"loss.class_weights has {len(given)} values, and the data {classes} classes")
    else:
        weights[:classes] = given
    return weights
