"""The folder of a run: made, held against a second training, and cleared of what a killed one left half written."""
import contextlib
import os
import tempfile
from typing import Iterator, List

from ghost_ms.core.files import remove_leftovers
from ghost_ms.core.lock import Locked, locked

#: What a training writes into it, beside its states.
FILES = ("config.yaml", "metrics.csv", "curves.png", "log.txt", "unreadable.txt", "steps.csv",
         os.path.join("checkpoints", "last.ckpt"), os.path.join("checkpoints", "best.ckpt"))


@contextlib.contextmanager
def run_folder(path: str) -> Iterator[str]:
    """Hold a run's folder for one training; it and its checkpoints/ are made where they are not there.

    What was made and has stayed empty is removed at the end: a start that was refused leaves nothing behind.

    Yields:
        '', or a sentence on why nothing would stop a second training in it.

    Raises:
        Locked: another training is under way in it; says where.
        OSError: it cannot be made or written, or something that is no file lies where a file will be written.
    """
    made = _make(os.path.join(path, "checkpoints"), path)
    try:
        with locked(path, "training") as note:
            for name in FILES:
                file = os.path.join(path, name)
                if os.path.exists(file) and not os.path.isfile(file):
                    raise OSError(f"'{file}' is there already, and no file: remove it, or choose another folder with "
                                  "--run.dir")
            remove_leftovers(path)
            yield note
    except Locked as error:
        raise Locked(f"{error}; wait for its end, stop it, or choose another folder with --run.dir") from None
    finally:
        for folder in made:
            with contextlib.suppress(OSError):
                os.rmdir(folder)


def _make(folder: str, run: str) -> List[str]:
    """Create a folder and those above it, and see whether it can be written; those that were new, the deepest first."""
    new = []
    above = folder
    while above and not os.path.lexists(above):
        new.append(above)
        above = os.path.dirname(above)
    try:
        os.makedirs(folder, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OSError(f"cannot write into the run folder '{run}' ({error.strerror}); "
                      "choose another with --run.dir") from None
    return new
