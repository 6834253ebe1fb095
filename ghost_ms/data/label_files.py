"""Label files: a table or a JSON text that names images and says what is on them.

A file that somebody else wrote: read up to a limit, and no image outside of the data set's folder is opened for it.

- `.csv` (commas) and `.tsv` (tabs): columns path and label, in this order or named by a header. The first line is a
  header where it names a known column for the path, or where its first cell does not end as an image does and that of
  the second line does.
- `.txt`: a path, a blank, and a label without blanks, as in PaddleClas.
- `.json`: a list of {"path": ..., "label": ...}, or a mapping from path to label.

Several labels of an image are separated by `|` or `;`, or are a list in JSON; a cell that is a name in `data.classes`
as it stands is one label. As soon as one image has several or none, all labels are sets (`Dataset.multi_label`).
"""
import collections
import csv
import io
import json
import os
import pathlib
import re
from typing import Any, Callable, Dict, Iterable, Iterator, List, NamedTuple, Optional, Sequence, Set, Tuple

import numpy as np

from ghost_ms.config import DataConfig
from ghost_ms.core.plain import read_text
from ghost_ms.core.text import natural, printable, some
from ghost_ms.data.dataset import Dataset
from ghost_ms.data.decode import read_image_file
from ghost_ms.data.images import is_image

#: Ending -> bytes of the largest file. A value of JSON takes many times its text while it is read.
MOST_BYTES = {".csv": 1 << 28, ".tsv": 1 << 28, ".txt": 1 << 28, ".json": 1 << 26}
#: Characters of a path or a label.
LONGEST = 1000
#: Images times classes, where labels are sets.
MOST_CELLS = 1 << 31
#: What the columns can be called, without case.
PATH_COLUMNS = ("path", "file", "filename", "file_name", "filepath", "file_path", "image", "image_path", "image_name",
                "image_id", "img", "img_path", "id", "name")
LABEL_COLUMNS = ("label", "labels", "class", "classes", "class_name", "category", "tag", "tags", "target")


class Row(NamedTuple):
    """One image of a file: where it is named, its path as given, and its labels."""

    place: str
    path: str
    labels: Tuple[str, ...]


def given(config: DataConfig) -> Dict[str, str]:
    """Split -> its label file, of a recipe."""
    files = {split: getattr(config, f"{split}_labels") for split in ("train", "val", "test")}
    return {split: path for split, path in files.items() if path is not None}


def read_split(root: pathlib.Path, files: Dict[str, str], split: str, own: Optional[Sequence[str]],
               config: DataConfig) -> Dataset:
    """The images that a label file names.

    Args:
        root: folder that paths of files and of images are relative to.
        files: split -> label file. All are read: together they decide whether labels are sets.
        own: names of the classes; by default those in the training file, in natural order.

    Raises:
        OSError, ValueError: a file cannot be read, is none, or names an image outside of `root`, a class that is not
            among the others, or images that are not there.
    """
    named = {name: os.path.join(root, os.path.expanduser(path)) for name, path in files.items()}
    rows = {name: read_rows(path, own) for name, path in named.items()}
    notes = _numbers_as_places(rows, own)
    classes = list(own) if own is not None else sorted(
        {label for row in rows.get("train", rows[split]) for label in row.labels}, key=natural)
    if not classes:
        raise ValueError(f"{printable(named[split])} has no labels")
    found, repeated = _placed(rows[split], root)
    notes += [f"{repeated} entries of {printable(named[split])} repeat others and count once"] if repeated else []
    missing = _missing([path for path, _ in found])
    notes += _about_missing(missing, len(found), named[split], root, split, config.max_corrupt_share)
    found = [(path, row) for path, row in found if path not in missing]
    if split != "train" and "train" in rows:
        notes += _about_leaks({path for path, _ in found}, rows["train"], root, named["train"], named[split])
    several = [row for table in rows.values() for row in table if len(row.labels) != 1]
    if several:
        notes.append(_about_several([row for _, row in found], named[split], several[0]))
    labels = _labels([row for _, row in found], classes, bool(several), named[split])
    paths = [path for path, _ in found]
    return Dataset(classes, labels, 3, True, lambda sample: read_image_file(paths[sample]), paths, os.fspath(root),
                  notes)


def read_rows(path: str, own: Optional[Sequence[str]] = None) -> List[Row]:
    """The entries of a label file.

    Args:
        own: names of classes that are one label even where they hold a separator.

    Raises:
        OSError, ValueError: it cannot be read, is too large, or is no such file; names the line.
    """
    ending = os.path.splitext(path)[1].lower()
    if ending not in MOST_BYTES:
        raise ValueError(f"the label file '{printable(path)}' ends in none of {', '.join(MOST_BYTES)}")
    text = read_text(path, MOST_BYTES[ending])
    whole = frozenset(own or ())
    try:
        rows = [Row(place, name.strip(), _split(value, whole)) for place, name, value in _READERS[ending](text)]
        for row in rows:
            if not row.path or "\0" in row.path:
                raise ValueError(f"{row.place} names no file")
            if max(map(len, (row.path, *row.labels))) > LONGEST:
                raise ValueError(f"{row.place} has a name of more than {LONGEST} characters")
    except (ValueError, csv.Error, RecursionError) as error:
        raise ValueError(f"the label file '{printable(path)}' cannot be used: {printable(error)}") from None
    if not rows:
        raise ValueError(f"the label file '{printable(path)}' is empty")
    return rows


def _split(value: Any, whole: Set[str]) -> Tuple[str, ...]:
    """The labels of one value, each once."""
    if isinstance(value, str):
        value = [value] if value.strip() in whole else re.split("[|;]", value)
    if not (isinstance(value, list) and all(isinstance(label, str) for label in value)):
        raise ValueError("a label is neither a word nor a number nor a list of these")
    return tuple(dict.fromkeys(label.strip() for label in value if label.strip()))


def _table(text: str, separator: str) -> Iterator[Tuple[str, str, str]]:
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    rows = [(f"line {lines.line_num}", row) for row in lines if any(cell.strip() for cell in row)]
    if not rows:
        return
    path, label, start = _columns([row for _, row in rows[:2]])
    for place, row in rows[start:]:
        if len(row) != len(rows[0][1]):
            raise ValueError(f"{place} has {len(row)} columns and the first line {len(rows[0][1])}")
        yield place, row[path], row[label]


def _columns(rows: Sequence[Sequence[str]]) -> Tuple[int, int, int]:
    """(column of the path, column of the label, lines of the header: 0 or 1) of a table's first two lines."""
    titles = [cell.strip().lower() for cell in rows[0]]
    path = next((titles.index(name) for name in PATH_COLUMNS if name in titles), None)
    label = next((titles.index(name) for name in LABEL_COLUMNS if name in titles), None)
    if path is not None and label is not None:
        return path, label, 1
    if len(titles) != 2:
        raise ValueError(f"its columns ({some(rows[0], 4)}) are not two, and no header calls one 'path' and one "
                         "'label'")
    header = path is not None or (len(rows) > 1 and not is_image(rows[0][0].strip()) and is_image(rows[1][0].strip()))
    return 0, 1, int(header)


def _lines(text: str) -> Iterator[Tuple[str, str, str]]:
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            path, _, label = line.strip().replace("\t", " ").rpartition(" ")
            yield f"line {number}", path, label


def _json(text: str) -> Iterator[Tuple[str, str, Any]]:
    # Numbers stay the words that they are: a label is a name, and a long one would take a long time to become a number.
    content = json.loads(text, object_pairs_hook=_unique, parse_int=str, parse_float=_refuse, parse_constant=_refuse)
    if isinstance(content, dict):
        yield from ((f"entry {number}", path, value) for number, (path, value) in enumerate(content.items(), 1))
        return
    if not isinstance(content, list):
        raise ValueError("it is neither a list nor a mapping")
    for number, entry in enumerate(content, 1):
        keys = {key.lower(): value for key, value in entry.items()} if isinstance(entry, dict) else {}
        path = next((keys[name] for name in PATH_COLUMNS if name in keys), None)
        value = next((keys[name] for name in LABEL_COLUMNS if name in keys), None)
        if not isinstance(path, str) or value is None:
            raise ValueError(f"entry {number} has no 'path' and 'label'")
        yield f"entry {number}", path, value


def _unique(pairs: List[Tuple[str, Any]]) -> Dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        twice = collections.Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"it names '{printable(twice)}' twice")
    return result


def _refuse(number: str) -> None:
    raise ValueError(f"it holds {number[:40]}, and labels are words or whole numbers")


_READERS: Dict[str, Callable[[str], Iterable[Tuple[str, str, Any]]]] = {
    ".csv": lambda text: _table(text, ","), ".tsv": lambda text: _table(text, "\t"), ".txt": _lines, ".json": _json}


def _numbers_as_places(rows: Dict[str, List[Row]], own: Optional[Sequence[str]]) -> List[str]:
    """Put the names in `data.classes` for labels that are all numbers of places in it; returns what is to be said."""
    labels = {label for table in rows.values() for row in table for label in row.labels}
    if own is None or not labels or labels & set(own) or not all(
            re.fullmatch("[0-9]{1,9}", label) and int(label) < len(own) for label in labels):
        return []
    for split, table in rows.items():
        rows[split] = [row._replace(labels=tuple(own[int(label)] for label in row.labels)) for row in table]
    return [f"labels are numbers: they are taken for places in data.classes, 0 for '{printable(own[0])}'"]


def _placed(rows: Sequence[Row], root: pathlib.Path) -> Tuple[List[Tuple[str, Row]], int]:
    """([(path, entry)], how many entries repeated others); ValueError for one that contradicts another."""
    inside = _Inside(root)
    found: Dict[str, Row] = {}
    for row in rows:
        path = inside.path(row)
        before = found.setdefault(path, row)
        if set(before.labels) != set(row.labels):
            raise ValueError(f"'{printable(row.path)}' has {some(before.labels) or 'no label'} in {before.place} and "
                             f"{some(row.labels) or 'no label'} in {row.place}; several labels of an image stand in "
                             "one entry, separated by |")
    return list(found.items()), len(rows) - len(found)


class _Inside:
    """Paths that a label file names, and that have to lie in the data set's folder."""

    def __init__(self, root: pathlib.Path):
        self.root, self.absolute = os.fspath(root), os.path.abspath(root)
        # An absolute path may go by the folder's own name or by that of a link to it.
        self.starts = {start.rstrip(os.sep) + os.sep for start in (self.absolute, os.path.realpath(root))}

    def path(self, row: Row) -> str:
        """The path of an image; ValueError where it lies outside of the folder."""
        absolute = os.path.normpath(os.path.join(self.absolute, row.path))
        start = next((start for start in self.starts if absolute.startswith(start)), None)
        if start is None or not _has_bytes(absolute):
            raise ValueError(f"{row.place} of the label file names '{printable(row.path)}', which does not lie in "
                             f"data.root ({printable(self.root)}); images are read from there alone")
        return os.path.join(self.root, absolute[len(start):])


def _has_bytes(path: str) -> bool:
    """Whether a path can be that of a file; half a character, which JSON can hold, cannot."""
    try:
        os.fsencode(path)
        return True
    except UnicodeEncodeError:
        return False


def _missing(paths: Sequence[str]) -> Set[str]:
    """The paths that do not exist, found by listing each folder once."""
    folders: Dict[str, List[str]] = {}
    for path in paths:
        folders.setdefault(os.path.dirname(path), []).append(path)
    missing: Set[str] = set()
    for folder, inside in folders.items():
        try:
            there = set(os.listdir(folder or "."))
        except (FileNotFoundError, NotADirectoryError):
            there = set()
        missing.update(path for path in inside if os.path.basename(path) not in there)
    return missing


def _about_missing(missing: Set[str], count: int, file: str, root: pathlib.Path, split: str, share: float) -> List[str]:
    """What to say of images that are not there; ValueError where none may be missing, or not so many."""
    if not missing:
        return []
    sentence = (f"{len(missing)} of the {count} images that {printable(file)} names are not there: "
                f"{some([os.path.relpath(path, root) for path in sorted(missing)])}")
    if split != "train":
        raise ValueError(f"{sentence}; images to evaluate on have to be complete, in data.root ({printable(root)})")
    if len(missing) > share * count:
        raise ValueError(f"{sentence}; more than data.max_corrupt_share ({share:g}) allows; they are looked for in "
                         f"data.root ({printable(root)})")
    return [f"{sentence}; they are left out"]


def _about_leaks(paths: Set[str], trained: Sequence[Row], root: pathlib.Path, train: str, file: str) -> List[str]:
    inside = _Inside(root)
    both = sorted(paths & {inside.path(row) for row in trained})
    return [f"of the images that {printable(file)} names, {len(both)} are in {printable(train)} too, so that what is "
            "measured on them says little of new ones: "
            f"{some([os.path.relpath(path, root) for path in both])}"] if both else []


def _about_several(rows: Sequence[Row], file: str, first: Row) -> str:
    several, none = (sum(map(test, rows)) for test in (lambda row: len(row.labels) > 1, lambda row: not row.labels))
    return (f"an image may have several labels or none: in {printable(file)} {several} of {len(rows)} have several and "
            f"{none} none (the first such is '{printable(first.path)}', {first.place})")


def _labels(rows: Sequence[Row], classes: Sequence[str], several: bool, file: str) -> np.ndarray:
    """Labels as `Dataset.labels` has them; ValueError for a label that is no class."""
    places = {name: place for place, name in enumerate(classes)}
    unknown = sorted({label for row in rows for label in row.labels if label not in places}, key=natural)
    if unknown:
        raise ValueError(f"{printable(file)} has {some(unknown)}, not among the {len(classes)} classes "
                         f"({some(classes)}) of data.classes or of the training file")
    if not several:
        return np.array([places[row.labels[0]] for row in rows], np.int32)
    if len(rows) * len(classes) > MOST_CELLS:
        raise ValueError(f"{printable(file)} has {len(rows)} images that may have several of {len(classes)} labels "
                         "each, which is more than fits into memory")
    labels = np.zeros((len(rows), len(classes)), np.uint8)
    for sample, row in enumerate(rows):
        labels[sample, [places[label] for label in row.labels]] = 1
    return labels
