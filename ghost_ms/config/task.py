"""The section `task`: what the network is for."""
import dataclasses
from typing import Any, Dict

from ghost_ms.core.plain import require_plain


@dataclasses.dataclass
class TaskConfig:
    """What the network is for.

    Args:
        name: classification, or a task that an imported package brings.
        args: further arguments of the task, a mapping of plain values.
    """

    name: str = "classification"
    args: dict = dataclasses.field(default_factory=dict)

    def validate(self) -> None:
        """ValueError for a value whose type is right and whose meaning is not; which tasks there are is known to
        `tasks.registry`."""
        if not isinstance(self.args, dict):
            raise ValueError(f"task.args is {self.args!r}; it is a mapping of arguments, or left out")
        checked: Dict[str, Any] = require_plain(self.args, "task.args")
        self.args = checked
