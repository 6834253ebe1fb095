"""MindSpore's cache of compiled graphs, for the training step, in folders of our own.

MindSpore looks only at whether the source text has changed: other arguments of a network, another constant or another
input shape silently reuse the old graph, and graphs are told apart by the order in which they are compiled. So a step
has a folder that is named by everything its graph depends on, holds no other graph, and is used only when its files are
those that were there after they had been written.
"""
import contextlib
import hashlib
import json
import os
import pathlib
import shutil
from typing import Any, Iterator, Optional, Sequence

import mindspore as ms

import ghost_ms
from ghost_ms.checkpoints.spec import ModelSpec
from ghost_ms.config import Config
from ghost_ms.core.device import World
from ghost_ms.core.files import write_text
from ghost_ms.training.resume import FREE, flat

#: Keys that may change during a training, and yet are in the graph.
IN_GRAPH = frozenset(("train.epochs", "train.on_nan"))


def step_folder(config: Config, description: ModelSpec, rates: Sequence[float], target: str,
                world: World, of_data: Sequence[Any] = ()) -> Optional[str]:
    """The folder of a recipe's step under `run.compile_cache`; None where that is not set.

    Args:
        of_data: what the graph takes from the data, beside what the recipe and the description say: plain values.

    Raises:
        ValueError: a training with a teacher, whose file the graph depends on, or with several ranks.
    """
    if not config.run.compile_cache:
        return None
    if config.distill.teacher is not None or world.size > 1:
        what = "several ranks" if world.size > 1 else "a teacher (distill.teacher)"
        raise ValueError(f"run.compile_cache does not go with {what}; leave it out")
    keys = {key: value for key, value in flat(config).items()
            if key in IN_GRAPH or key not in FREE and (not key.startswith("run.") or key in ("run.seed", "run.mode"))}
    parts = [keys, description.args, description.preprocessing.input_size, list(rates), target, ms.__version__,
             list(of_data)]
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode())
    for path in sorted(pathlib.Path(ghost_ms.__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return os.path.join(config.run.compile_cache, digest.hexdigest()[:16])


class CompileCache:
    """Lets the first call of a step take its graph from a folder, or leave it there.

    Args:
        folder: see `step_folder`; None for no cache.
    """

    def __init__(self, folder: Optional[str]):
        self.folder = folder

    @contextlib.contextmanager
    def first_call(self) -> Iterator[None]:
        """A context for calling the step: the first call uses the cache, later ones do not touch it."""
        folder, self.folder = self.folder, None
        if folder is None:
            yield
            return
        seal = os.path.join(folder, "seal")
        if not os.path.isfile(seal) or pathlib.Path(seal).read_text() != _content(folder):
            # Half written, or damaged since.
            shutil.rmtree(folder, ignore_errors=True)
        try:
            os.makedirs(folder, exist_ok=True)
        except OSError as error:
            raise OSError(f"cannot write into run.compile_cache '{folder}' ({error.strerror})") from None
        ms.set_context(enable_compile_cache=True, compile_cache_path=folder)
        try:
            yield
        finally:
            ms.set_context(enable_compile_cache=False)
        write_text(seal, _content(folder))


def _content(folder: str) -> str:
    """One line per file: its name and checksum."""
    files = sorted(path for path in pathlib.Path(folder).rglob("*") if path.is_file() and "seal" not in path.name)
    return "".join(f"{path.relative_to(folder)} {hashlib.sha256(path.read_bytes()).hexdigest()}\n" for path in files)
