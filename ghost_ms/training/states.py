"""The folder checkpoints/ of a run: the newest states of the training, last.ckpt and best.ckpt.

`step-N.ckpt` is the whole state after N steps; last.ckpt is a second name of the newest one. best.ckpt is the network
alone. No file is ever written in place, so a run that is killed at any moment leaves whole files, and perhaps a
temporary one that the next start removes.
"""
import glob
import os
import re
import shutil
from typing import Dict, List

from mindspore import Parameter

from ghost_ms.core.files import remove_leftovers
from ghost_ms.training.checkpoint import Description, save_checkpoint


def states_in(folder: str) -> Dict[int, str]:
    """Number of steps -> path of the states in a folder, the oldest first."""
    names = os.listdir(folder) if os.path.isdir(folder) else []
    found = {int(match.group(1)): match.group(0) for match in map(re.compile(r"step-(\d+)\.ckpt").fullmatch, names)
             if match}
    return {steps: os.path.join(folder, found[steps]) for steps in sorted(found)}


class States:
    """Writes the states of a run and removes those that are no longer wanted.

    Args:
        folder: that they lie in.
        keep: how many stay.
        resumed: steps of the state that the run goes on from; those of an earlier run in this folder are kept until
            this one has saved its first, those up to the resumed one count as this run's own.
    """

    def __init__(self, folder: str, keep: int, resumed: int = -1):
        self.folder, self.keep = folder, keep
        self.own: List[str] = [path for steps, path in states_in(folder).items() if steps <= resumed]
        for leftover in glob.glob(os.path.join(glob.escape(folder), "*.tmp*")):
            os.remove(leftover)
        remove_leftovers(folder)

    @property
    def last(self) -> str:
        return os.path.join(self.folder, "last.ckpt")

    @property
    def best(self) -> str:
        return os.path.join(self.folder, "best.ckpt")

    def save(self, parameters: Dict[str, Parameter], steps: int, description: Description, progress: str) -> None:
        """Write a state, point last.ckpt to it, and remove all but the newest of this run.

        Raises:
            OSError: see `save_checkpoint`; what was there before is untouched.
        """
        path = os.path.join(self.folder, f"step-{steps:08d}.ckpt")
        save_checkpoint(parameters, path, description, progress)
        self._point_last_to(path)
        self.own = [other for other in self.own if other != path] + [path]
        for other in states_in(self.folder).values():
            if other not in self.own[-self.keep:]:
                os.remove(other)

    def _point_last_to(self, path: str) -> None:
        temporary = f"{self.last}.tmp"
        if os.path.exists(temporary):
            os.remove(temporary)
        try:
            os.link(path, temporary)
        except OSError:
            # A file system without hard links.
            shutil.copyfile(path, temporary)
        os.replace(temporary, self.last)
