"""What a classifier says of an image, as objects for programs."""
import dataclasses
from typing import Any, Mapping, Optional, Tuple


@dataclasses.dataclass(frozen=True)
class Prediction:
    """A class, its place among the network's classes, and its probability from 0 to 1."""

    name: str
    index: int
    probability: float


@dataclasses.dataclass(frozen=True)
class Classified:
    """The predictions for an image, the most probable first; of a network that gives an image several labels those that
    reach their thresholds, perhaps none."""

    image: str
    predictions: Tuple[Prediction, ...]

    @property
    def best(self) -> Optional[Prediction]:
        """The most probable class."""
        return self.predictions[0] if self.predictions else None


def typed(result: Mapping[str, Any]) -> Classified:
    """The object of a result as `Classification.result` has it."""
    return Classified(result["image"], tuple(Prediction(one["class"], one["index"], one["probability"])
                                             for one in result["predictions"]))
