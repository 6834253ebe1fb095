"""The section `task`: what the network is for."""
import dataclasses
from typing import Any, Dict, Optional

from ghost_ms.core.plain import require_plain


@dataclasses.dataclass
class TaskConfig:
    """What the network is for.

    Args:
        name: classification, segmentation, detection, or a task that an imported package brings.
        head: what stands behind the backbone `model.name`: of segmentation lraspp, deeplabv3, fcn or semantic_fpn; of
            detection ssdlite, retinanet, retinanet_v2 or fcos.
        head_args: further arguments of the head, a mapping: {aux: 2} for an auxiliary FCN head on that map of the
            backbone (deeplabv3 and fcn), {early_taps: true} for maps after the first block of their stages; none of
            detectors.
        args: further arguments of the task, a mapping of plain values.
    """

    name: str = "classification"
    head: Optional[str] = None
    head_args: dict = dataclasses.field(default_factory=dict)
    args: dict = dataclasses.field(default_factory=dict)

    def validate(self) -> None:
        """ValueError for a value whose type is right and whose meaning is not; which tasks there are is known to
        `tasks.registry`."""
        for key in ("args", "head_args"):
            if not isinstance(getattr(self, key), dict):
                raise ValueError(f"task.{key} is {getattr(self, key)!r}; it is a mapping of arguments, or left out")
            checked: Dict[str, Any] = require_plain(getattr(self, key), f"task.{key}")
            setattr(self, key, checked)
        if self.head_args and self.head is None:
            raise ValueError("task.head_args needs task.head")
