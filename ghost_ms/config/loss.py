"""The section `loss`: what the logits are compared with the labels by."""
import dataclasses
import math
from typing import Dict, List, Optional, Union

from ghost_ms.config.checks import one_of, share


@dataclasses.dataclass
class LossConfig:
    """The loss: how the logits are compared with the labels.

    Args:
        name: cross_entropy, or binary_cross_entropy (one yes-or-no question per class, as in DeiT III, arXiv
            2204.07118).
        label_smoothing: share of the target that is spread over all classes.
        threshold: binary cross-entropy alone: targets above it count as 1, all others as 0 (arXiv 2110.00476).
        sum_classes: binary cross-entropy alone: sum over the classes instead of their mean.
        class_weights: what an image of each class counts: balanced (the rarer the class, the more: all labels /
            (classes * labels of the class)), a list in the order of the classes, or a mapping from names to weights, 1
            for the others. Cross-entropy becomes the weighted mean; of binary cross-entropy the loss of a yes is
            multiplied.
    """

    name: str = "cross_entropy"
    label_smoothing: float = 0.0
    threshold: Optional[float] = None
    sum_classes: bool = False
    class_weights: Optional[Union[List[float], Dict[str, float], str]] = None

    def validate(self) -> None:
        """ValueError for a value whose type is right and whose meaning is not."""
        one_of("loss.name", self.name, ("cross_entropy", "binary_cross_entropy"))
        share("loss.label_smoothing", self.label_smoothing)
        if self.threshold is not None:
            share("loss.threshold", self.threshold)
        if self.name == "cross_entropy" and (self.threshold is not None or self.sum_classes):
            raise ValueError("loss.threshold and loss.sum_classes need loss.name binary_cross_entropy")
        self._validate_weights()

    def _validate_weights(self) -> None:
        given = self.class_weights
        if isinstance(given, str):
            one_of("loss.class_weights", given, ("balanced",))
        elif given is not None:
            values = list(given.values()) if isinstance(given, dict) else given
            if not values or not all(0 < value < math.inf for value in values):
                raise ValueError(f"loss.class_weights is {given}; it is balanced, or weights above 0: a list with one "
                                 "for each class, or a mapping from names of classes")
