"""The folder checkpoints/ of a run: the newest states of the training, last.ckpt and best.ckpt.

`step-N.ckpt` is the whole state after N steps; last.ckpt is a second name of the newest one. best.ckpt is the network
alone. No file is ever written in place, so a run that is killed at any moment leaves whole files, and perhaps a
temporary one that the next start removes.
"""
import os
import re
from typing import Dict, List, Tuple

from mindspore import Parameter

from ghost_ms.checkpoints.checkpoint import save_checkpoint
from ghost_ms.checkpoints.spec import ModelSpec
from ghost_ms.core.files import remove_leftovers, write_link

#: More steps than any training has; a larger number in a file's name is none of ours.
MOST_STEPS = 10 ** 12
#: Temporary files as earlier versions named them.
OLD_LEFTOVER = re.compile(r"(step-\d+|best|last)\.(\d+\.tmp|ckpt\.tmp|tmp)(\.ckpt|\.tmp)?")


def state_name(steps: int) -> str:
    """Name of the state after so many steps."""
    return f"step-{steps:08d}.ckpt"


def states_in(folder: str) -> Dict[int, str]:
    """Number of steps -> path of the states in a folder, the oldest first."""
    return _look(folder)[0]


def no_states_in(folder: str) -> List[str]:
    """Names in a folder that look like those of states, and are none: folders, dangling links, pipes, other numbers."""
    return _look(folder)[1]


def _look(folder: str) -> Tuple[Dict[int, str], List[str]]:
    found: Dict[int, str] = {}
    others: List[str] = []
    for name in os.listdir(folder) if os.path.isdir(folder) else []:
        match = re.fullmatch(r"step-(\d+)\.ckpt", name, re.ASCII)
        if match is None:
            continue
        steps, path = int(match.group(1)), os.path.join(folder, name)
        if steps < MOST_STEPS and name == state_name(steps) and os.path.isfile(path):
            found[steps] = path
        else:
            others.append(name)
    return {steps: found[steps] for steps in sorted(found)}, sorted(others)


class CheckpointManager:
    """Writes the states of a run and removes those that are no longer wanted.

    Args:
        folder: that they lie in.
        keep: how many stay.
        resumed: steps of the state that the run resumes from; those of an earlier run in this folder are kept until
            this one has saved its first, those up to the resumed one count as this run's own.
    """

    def __init__(self, folder: str, keep: int, resumed: int = -1):
        self.folder, self.keep = folder, keep
        self.own: List[str] = [path for steps, path in states_in(folder).items() if steps <= resumed]
        remove_leftovers(folder)
        for entry in os.scandir(folder):
            if OLD_LEFTOVER.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                os.remove(entry.path)

    @property
    def last(self) -> str:
        return os.path.join(self.folder, "last.ckpt")

    @property
    def best(self) -> str:
        return os.path.join(self.folder, "best.ckpt")

    def save(self, parameters: Dict[str, Parameter], steps: int, description: ModelSpec, progress: str) -> None:
        """Write a state, point last.ckpt to it, and remove all but the newest of this run.

        Raises:
            OSError: see `save_checkpoint`; what was there before is untouched.
        """
        path = os.path.join(self.folder, state_name(steps))
        save_checkpoint(parameters, path, description, progress)
        write_link(self.last, path)
        self.own = [other for other in self.own if other != path] + [path]
        for other in states_in(self.folder).values():
            if other not in self.own[-self.keep:]:
                os.remove(other)
