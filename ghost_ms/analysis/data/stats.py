"""What a data set holds: images of each class, sizes and forms, images that are there twice, and faulty ones."""
import collections
import hashlib
import os
from typing import Any, Counter, Dict, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from ghost_ms.config import Config
from ghost_ms.config.data import BOX_DATASETS, MAP_DATASETS
from ghost_ms.core.tables import as_text
from ghost_ms.core.text import printable
from ghost_ms.data.check import fault_of, in_threads, open_header
from ghost_ms.data.dataset import Dataset
from ghost_ms.data.decode import decode, read_image_file
from ghost_ms.tasks.registry import create_task

#: Threads that read files, images that are named of each kind, and times a class is more frequent than the rarest from
#: which on it is said how to even that out.
THREADS, NAMED, UNEVEN = 16, 10, 5

#: A sample of a split.
Place = Tuple[str, int]


class Facts(NamedTuple):
    """Facts of one image: width and height in pixels as it is shown, format and mode, whether EXIF turns it."""

    width: int
    height: int
    kind: str
    turned: bool


def task_of(config: Config) -> str:
    """The task that a recipe's data is of: the recipe's own, but for data that has no labels of images."""
    if config.task.name == "classification" and config.data.dataset in MAP_DATASETS:
        return "segmentation"
    if config.task.name == "classification" and config.data.dataset in BOX_DATASETS:
        return "detection"
    return config.task.name


def open_all(config: Config) -> Dict[str, Dataset]:
    """Every split that a recipe's data set has; errors as `Task.open`."""
    name = task_of(config)
    task = create_task(name, config.task.args if name == config.task.name else None)
    return {split: task.open(config.data, split) for split in task.splits(config.data)}


def facts_of(path: str) -> Optional[Facts]:
    """Facts from a file's header; None where it cannot be read."""
    try:
        image, orientation = open_header(path)
        width, height = image.size[::-1] if orientation >= 5 else image.size
        return Facts(width, height, f"{image.format} {image.mode}", orientation > 1)
    except (ValueError, OSError):
        return None


def twins(sources: Dict[str, Dataset]) -> List[List[Place]]:
    """Groups of images whose bytes are the same, each in the order of splits and samples.

    Files are read only where another one has as many bytes.
    """
    places = [(split, sample) for split, source in sources.items() for sample in range(source.size)]
    alike: Dict[Any, List[Place]] = {}
    for place, size in zip(places, in_threads(lambda place: _size(sources, place), places, THREADS, None)):
        alike.setdefault(size, []).append(place)
    doubtful = [place for size, group in alike.items() if len(group) > 1 and size is not None for place in group]
    groups: Dict[bytes, List[Place]] = {}
    digests = in_threads(lambda place: _digest(sources, place), doubtful, THREADS, "comparing the images")
    for place, digest in zip(doubtful, digests):
        if digest is not None:
            groups.setdefault(digest, []).append(place)
    order = {place: number for number, place in enumerate(places)}
    found = [sorted(group, key=order.__getitem__) for group in groups.values() if len(group) > 1]
    return sorted(found, key=lambda group: order[group[0]])


def _size(sources: Dict[str, Dataset], place: Place) -> Optional[int]:
    split, sample = place
    paths = sources[split].paths
    try:
        return os.stat(paths[sample]).st_size if paths else 0
    except OSError:
        return None


def _digest(sources: Dict[str, Dataset], place: Place) -> Optional[bytes]:
    split, sample = place
    try:
        content = sources[split].read(sample)
    except (OSError, ValueError):
        return None
    if isinstance(content, np.ndarray):
        content = repr(content.shape).encode() + content.tobytes()
    return hashlib.sha256(content).digest()


def class_table(sources: Dict[str, Dataset]) -> str:
    """Images of every class in every split, and their share of it."""
    counts = {split: source.counts() for split, source in sources.items()}
    classes = next(iter(sources.values())).classes
    rows = [["class", *(title for split in sources for title in (split, "share"))]]
    rows += [[printable(name), *(cell for split, source in sources.items() for cell in (
        str(counts[split][place]), f"{100 * counts[split][place] / max(source.size, 1):.1f} %"))]
        for place, name in enumerate(classes)]
    return as_text([*rows, ["all images", *(cell for source in sources.values() for cell in (str(source.size), ""))]])


def split_line(split: str, source: Dataset) -> str:
    """Sizes and forms of the images of a split."""
    if source.paths:
        facts = in_threads(facts_of, source.paths, THREADS, f"looking at the {split} images")
    else:
        pictures = (np.asarray(source.read(sample)) for sample in range(source.size))
        facts = [Facts(picture.shape[1], picture.shape[0], "in memory", False) for picture in pictures]
    known = [fact for fact in facts if fact is not None]
    parts = [f"{split}: {source.size} images"]
    if known:
        parts[0] += "".join(f", {_range([getattr(fact, side) for fact in known])} pixels {word}"
                            for side, word in (("width", "wide"), ("height", "high")))
        kinds = collections.Counter(fact.kind for fact in known)
        parts.append(", ".join(f"{count} {kind}" for kind, count in kinds.most_common()))
    turned, lost = sum(fact.turned for fact in known), len(facts) - len(known)
    parts += [f"{turned} turned by EXIF"] * (turned > 0)
    parts += [f"{lost} cannot be read (`ghost-ms data check` names them)"] * (lost > 0)
    if source.multi_label:
        labels = source.labels.sum(1)
        parts.append(f"{labels.min()} to {labels.max()} labels an image, {labels.mean():.2f} on average")
    return "; ".join(parts)


def _range(values: Sequence[int]) -> str:
    """'28', or '100 to 640 (median 320)'."""
    low, high = min(values), max(values)
    return str(low) if low == high else f"{low} to {high} (median {float(np.median(values)):g})"


def balance_line(source: Dataset) -> str:
    """Which classes are rarest and most frequent, where they differ much; else empty."""
    counts = source.counts()
    low, high = int(counts.argmin()), int(counts.argmax())
    if counts[high] < UNEVEN * max(int(counts[low]), 1):
        return ""
    return (f"'{printable(source.classes[high])}' has {counts[high]} training images and "
            f"'{printable(source.classes[low])}' {counts[low]}: data.sampler balanced or loss.class_weights balanced "
            "gives rare classes their weight")


def twin_lines(sources: Dict[str, Dataset], groups: Sequence[Sequence[Place]]) -> List[str]:
    """What is to be said of images that are there more than once: between splits, within one, under two classes."""
    def named(place: Place) -> str:
        split, sample = place
        return ("" if sources[split].paths else f"{split} ") + sources[split].name(sample)

    kinds: Dict[str, List[str]] = {}
    counts: Counter = collections.Counter()
    for group in groups:
        first = group[0]
        for other in group[1:]:
            pair = f"{named(other)} is {named(first)}"
            kind = (f"images of {other[0]} that are in {first[0]} too, so that what is measured on them says little of "
                    "new ones") if other[0] != first[0] else f"images of {other[0]} that are there a second time"
            differ = not np.array_equal(*(sources[split].labels[sample] for split, sample in (first, other)))
            for key in (kind, *(["images that have another label where they are there again"] if differ else [])):
                counts[key] += 1
                if counts[key] <= NAMED:
                    kinds.setdefault(key, []).append(pair)
    return [f"{kind} ({counts[kind]}): {'; '.join(pairs)}" + ("; ..." if counts[kind] > len(pairs) else "")
            for kind, pairs in kinds.items()]


def report(config: Config) -> str:
    """All statistics of a data set, as text."""
    sources, kind = open_all(config), task_of(config)
    if kind in ("segmentation", "detection"):
        table = pixel_table if kind == "segmentation" else object_table
        lines = [table(sources), *(split_line(split, source) for split, source in sources.items())]
        return "\n".join([*lines, *dict.fromkeys(note for source in sources.values() for note in source.notes)])
    lines = [class_table(sources), *(split_line(split, source) for split, source in sources.items())]
    lines += [balance_line(sources["train"])] if "train" in sources else []
    lines += list(dict.fromkeys(note for source in sources.values() for note in source.notes))
    lines += twin_lines(sources, twins(sources)) or ["no image is there twice"]
    if "val" not in sources:
        lines.append("there are no images to evaluate on; data.val_share 0.2 holds a fifth of the training images out")
    return "\n".join(filter(None, lines))


def pixel_table(sources: Dict[str, Dataset]) -> str:
    """The share of each class of the pixels that count, and in how many images it is, by split."""
    rows = [["class", *(f"{split}: {what}" for split in sources for what in ("pixels (%)", "images"))]]
    columns: List[List[str]] = []
    for source in sources.values():
        maps = in_threads(source.target, list(range(source.size)), THREADS, "counting pixels")
        counts = np.array([np.bincount(labels.ravel(), minlength=256)[:len(source.classes)] for labels in maps])
        total = max(int(counts.sum()), 1)
        columns += [[f"{100 * count / total:.2f}" for count in counts.sum(0)], [str(n) for n in (counts > 0).sum(0)]]
    names = next(iter(sources.values())).classes
    return as_text(rows + [[printable(name), *cells] for name, *cells in zip(names, *columns)])


def object_table(sources: Dict[str, Dataset]) -> str:
    """The objects of each class, and in how many images they are, by split; crowds are not counted."""
    classes = next(iter(sources.values())).classes
    rows = [["class", *(f"{split}: {what}" for split in sources for what in ("objects", "images"))]]
    columns: List[List[str]] = []
    ends: List[str] = []
    for source in sources.values():
        found = [source.target(sample) for sample in range(source.size)]  # type: ignore[misc]
        counts = np.array([np.bincount(one.labels[~one.crowd], minlength=len(classes)) for one in found])
        columns += [[str(count) for count in counts.sum(0)], [str(count) for count in (counts > 0).sum(0)]]
        ends += [str(int(counts.sum())), f"{int((counts.sum(1) == 0).sum())} of {source.size} without any"]
    return as_text(rows + [[printable(name), *cells] for name, *cells in zip(classes, *columns)]
                   + [["all classes", *ends]])


def faults(source: Dataset, full: bool = False) -> List[Tuple[str, str]]:
    """[(name, reason)] of the images that cannot be read, or whose maps do not belong to them; nothing for data in
    memory.

    Args:
        full: decode every image; otherwise its beginning and its end are looked at.
    """
    reasons = in_threads(_decoded if full else fault_of, source.paths, THREADS, "checking the images")
    found = [(source.name(sample), reason) for sample, reason in enumerate(reasons) if reason is not None]
    unread = {name for name, _ in found}
    others = in_threads(source.fault, list(range(source.size)), THREADS, None) if source.fault else []
    return found + [(source.name(sample), reason) for sample, reason in enumerate(others)
                    if reason is not None and source.name(sample) not in unread]


def _decoded(path: str) -> Optional[str]:
    try:
        decode(read_image_file(path), 3)
    except OSError as error:
        return printable(error.strerror or error)
    except ValueError as error:
        return str(error)
    return None
