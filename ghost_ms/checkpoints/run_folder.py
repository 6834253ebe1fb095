"""The folder of a run, read back: what `ghost-ms train` left there, of whatever version, or what somebody put there.

Nothing in it is trusted: files are read up to a limit, and a value is a number, plain data, or an error in one
sentence.
"""
import csv
import dataclasses
import glob
import io
import math
import os
from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple

from ghost_ms.core.figures import Row
from ghost_ms.core.plain import parse_yaml, read_text
from ghost_ms.core.text import printable

METRICS, RECIPE, LOG = "metrics.csv", "config.yaml", "log.txt"
#: Bytes and lines of the largest metrics.csv, of which 10,000 epochs have about 2 MB; characters of a number.
MOST_BYTES, MOST_ROWS, LONGEST = 16 << 20, 50_000, 100


@dataclasses.dataclass
class Run:
    """What a run's folder tells.

    Args:
        path: of the folder.
        rows: of metrics.csv, one per epoch; a row has no entry where its cell is empty, and `epoch` is always there.
        recipe: keys of config.yaml with dots (`optimizer.lr`).
        text: of config.yaml.
    """

    path: str
    rows: List[Row]
    recipe: Dict[str, Any]
    text: str

    @property
    def model(self) -> str:
        """Name of the network, as far as the recipe has one."""
        return str(self.recipe.get("model.name", "-"))

    @property
    def data(self) -> str:
        """What the data are called: the name of their folder, or of the data set where that says more."""
        name, root = str(self.recipe.get("data.dataset", "-")), self.recipe.get("data.root")
        if name not in ("image_folder", "-") or not isinstance(root, str):
            return name
        return os.path.basename(os.path.normpath(root)).strip(".") or name

    def values(self, column: str) -> List[float]:
        """The numbers in a column of metrics.csv, as far as there are any."""
        return [row[column] for row in self.rows if column in row]


def recipe_of(checkpoint: str) -> Optional[str]:
    """The recipe of the run that a checkpoint lies in: RUN/config.yaml for RUN/checkpoints/NAME.

    None where the folder above is no run's: a config.yaml alone, without metrics.csv or log.txt, can be anybody's.
    """
    if os.path.basename(os.path.dirname(os.path.abspath(checkpoint))) != "checkpoints":
        return None
    folder = os.path.normpath(os.path.join(os.path.dirname(checkpoint), os.pardir))
    return os.path.normpath(os.path.join(folder, RECIPE)) if is_run(folder) else None


def is_run(folder: str) -> bool:
    """Whether a folder is one that `ghost-ms train` wrote."""
    there = {name for name in (METRICS, RECIPE, LOG) if os.path.isfile(os.path.join(folder, name))}
    return RECIPE in there and len(there) > 1


def read_run(path: str) -> Run:
    """Read a run's folder.

    Raises:
        ValueError: a folder that is no run, one whose first epoch has not ended, or files that are damaged; the
            sentence names what is wrong.
    """
    missing = [name for name in (METRICS, RECIPE) if not os.path.isfile(os.path.join(path, name))]
    if missing:
        raise ValueError(f"'{path}' is no run of `ghost-ms train` that has ended an epoch: it has no "
                         f"{' and no '.join(missing)}")
    try:
        rows = _rows(read_text(os.path.join(path, METRICS), MOST_BYTES))
        text = read_text(os.path.join(path, RECIPE))
        recipe = parse_yaml(text, RECIPE)
        if not isinstance(recipe, dict):
            raise ValueError(f"{RECIPE} holds no sections such as 'model:'")
    except (ValueError, csv.Error) as error:
        raise ValueError(f"the run '{path}' cannot be read: {' '.join(str(error).split())}") from None
    except OSError as error:
        raise ValueError(f"the run '{path}' cannot be read: {error.strerror}") from None
    if not rows:
        raise ValueError(f"'{os.path.join(path, METRICS)}' holds no epoch of a training")
    return Run(os.path.normpath(path), rows, flat(recipe), text)


def _rows(text: str) -> List[Row]:
    """The lines of metrics.csv; ValueError or csv.Error for what is none."""
    lines = csv.reader(io.StringIO(text, newline=""))
    header = next(lines, [])
    if len(set(header)) < len(header):
        raise ValueError(f"{METRICS} has two columns of one name")
    rows: List[Row] = []
    for cells in lines:
        if not cells:
            continue
        if len(rows) == MOST_ROWS:
            raise ValueError(f"{METRICS} has more than {MOST_ROWS:,} lines")
        if len(cells) > len(header):
            raise ValueError(f"line {lines.line_num} of {METRICS} has {len(cells)} cells under {len(header)} titles")
        if max(map(len, cells)) > LONGEST:
            raise ValueError(f"line {lines.line_num} of {METRICS} has a cell that is no number")
        row = {key: float(value) for key, value in zip(header, cells) if value}
        if not math.isfinite(row.get("epoch", math.nan)):
            raise ValueError(f"line {lines.line_num} of {METRICS} has no epoch")
        rows.append(row)
    return rows


def flat(tree: Dict[str, Any], prefix: str = "") -> Dict[str, Any]:
    """{"a": {"b": 1}} as {"a.b": 1}; an empty mapping stays a value."""
    leaves: Dict[str, Any] = {}
    for key, value in tree.items():
        name = f"{prefix}{key}"
        leaves.update(flat(value, f"{name}.") if isinstance(value, dict) and value else {name: value})
    return leaves


def find(patterns: Sequence[str], what: str = "folder") -> Iterator[Tuple[str, str]]:
    """(path, '') for everything that names and globs stand for, each once; ('', sentence) for one that stands for
    nothing."""
    seen = set()
    for pattern in patterns:
        # A folder's own name may hold brackets; a glob is what does not exist as it stands.
        found = [pattern] if os.path.lexists(pattern) else sorted(glob.glob(pattern, recursive=True))
        if not found:
            yield "", f"there is no {what} '{pattern}'"
        for path in found:
            if os.path.realpath(path) not in seen:
                seen.add(os.path.realpath(path))
                yield path, ""


def labels(runs: Sequence[Run]) -> List[str]:
    """The end of each path that tells it from the others, safe to print."""
    parts = [run.path.split(os.sep) for run in runs]
    for length in range(1, max(map(len, parts)) + 1):
        names = [printable(os.sep.join(part[-length:])) for part in parts]
        if len(set(names)) == len(names):
            break
    return names


def checkpoint_of_run(folder: str) -> Optional[str]:
    """The best checkpoint of a run's folder, else the last one, or None."""
    paths = [os.path.join(folder, "checkpoints", name) for name in ("best.ckpt", "last.ckpt")]
    return next((path for path in paths if os.path.isfile(path)), None)
