"""The training images that could not be read: listed in unreadable.txt, each once."""
import os
from typing import List, Sequence

import numpy as np

from ghost_ms.core.device import World
from ghost_ms.core.files import write_text
from ghost_ms.core.text import printable
from ghost_ms.data.datasets import Dataset
from ghost_ms.training.distributed import sum_over_ranks

#: Images that a line names.
NAMED = 5


class Unreadable:
    """Collects what the data pipelines of all ranks have replaced, and writes it into the run's folder.

    Args:
        folder: of the run.
        source: the training split.
        fresh: whether the training is at its start, so that the list of an earlier one is removed.
    """

    def __init__(self, folder: str, source: Dataset, world: World, fresh: bool):
        self.path, self.source, self.world = os.path.join(folder, "unreadable.txt"), source, world
        self.names: List[str] = []
        if world.is_main and os.path.isfile(self.path):
            if fresh:
                os.remove(self.path)
            else:
                with open(self.path, encoding="utf-8", errors="replace") as file:
                    self.names = file.read().splitlines()

    def add(self, names: Sequence[str]) -> str:
        """Take the names that this rank has met in an epoch; called by all ranks.

        Returns:
            A line on those that no rank had met before; '' where there are none.
        """
        if not sum_over_ranks([float(len(names))], self.world)[0]:
            return ""
        known = set(self.names)
        new = [name for name in map(printable, self._of_all(names)) if name not in known]
        if not new:
            return ""
        self.names += new
        if self.world.is_main:
            write_text(self.path, "".join(f"{name}\n" for name in self.names))
        shown = ", ".join(new[:NAMED]) + (f" and {len(new) - NAMED} more" if len(new) > NAMED else "")
        what = "image cannot be read and was" if len(new) == 1 else "images cannot be read and were"
        return f"{len(new)} training {what} replaced: {shown}; '{self.path}' lists all such"

    def _of_all(self, names: Sequence[str]) -> List[str]:
        """The names that any rank has met; ranks can add up numbers, and send each other no words."""
        if self.world.size == 1:
            return list(names)
        met, mine = np.zeros(self.source.size), set(names)
        for sample in range(self.source.size):
            met[sample] = self.source.name(sample) in mine
        return [self.source.name(sample) for sample in np.flatnonzero(sum_over_ranks(list(met), self.world))]
