"""The section `distill`: a trained network whose outputs are learned from."""
import dataclasses
from typing import Optional, Union

from ghost_ms.config.checks import Size, height_and_width, not_negative, one_of
from ghost_ms.core.plain import require_plain


@dataclasses.dataclass
class DistillConfig:
    """Knowledge distillation: a trained network, the teacher, whose outputs are learned from.

    Args:
        teacher: name of a network (`ghost-ms models`), or path of a .ckpt or .mindir of this project; none by default.
        weights: weights of a teacher given by name: true for the released ones, or a path of a weight file.
        args: further arguments of a teacher given by name.
        method: soft (temperature, arXiv 1503.02531), hard (the teacher's decision is a label, arXiv 2012.12877), or
            features (the last feature map, arXiv 1412.6550).
        weight: weight of the teacher's loss in the sum.
        label_weight: weight of the labels' loss in the sum.
        temperature: number by which the logits of both networks are divided (soft alone).
        input_size: height and width that the teacher sees, or one number for both; by default its own preprocessing's.
    """

    teacher: Optional[str] = None
    weights: Union[bool, str] = True
    args: dict = dataclasses.field(default_factory=dict)
    method: str = "soft"
    weight: float = 1.0
    label_weight: float = 1.0
    temperature: float = 1.0
    input_size: Optional[Size] = None

    def __post_init__(self):
        self.input_size = height_and_width("distill.input_size", self.input_size)

    def validate(self) -> None:
        """ValueError for a value whose type is right and whose meaning is not."""
        one_of("distill.method", self.method, ("soft", "hard", "features"))
        not_negative(**{"distill.weight": self.weight, "distill.label_weight": self.label_weight})
        if self.temperature <= 0:
            raise ValueError(f"distill.temperature must lie above 0, not {self.temperature}")
        self.args = require_plain(self.args, "distill.args")
