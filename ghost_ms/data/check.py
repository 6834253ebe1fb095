"""A look at the head and the end of every image file before a training, so that it need not fail hours later.

Most of what makes files unreadable shows there: files that are empty, no images, cut short, too large, or that nobody
may read. Damage in the middle of a file is left to the training, which replaces the image, and says so.
"""
import concurrent.futures
import contextlib
import hashlib
import json
import os
import sys
from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence, Tuple

from PIL import Image

from ghost_ms.config import DataConfig
from ghost_ms.core.files import home, write_text
from ghost_ms.core.text import printable
from ghost_ms.data import decode as decoding
from ghost_ms.data.datasets import Dataset
from ghost_ms.data.decode import check_size, decode, jpeg_head, open_image, read_image_file, regular_file

#: Bytes that are read from a file's beginning, which hold all up to the pixels of most files, and from its end.
HEAD, TAIL = 1 << 16, 64
#: Files that a thread looks at in one go.
CHUNK = 64
#: Of the cache file: its size, the folders in it, and the faulty files that are remembered of a folder.
CACHE_BYTES, CACHE_FOLDERS, CACHE_FAULTS = 1 << 24, 50000, 100
#: What was found sound by another version of `fault_of` is looked at again.
VERSION = 1

#: (size, time of change in ns) of a file, None where it cannot be looked at.
Stamp = Optional[Tuple[int, int]]


def cache_file() -> str:
    """Where it is remembered which images, and what goes with them, were looked at and found sound."""
    return os.path.join(home(), "checked_images.json")


def check_split(source: Dataset, split: str, config: DataConfig, cache: Optional[str] = None) -> List[str]:
    """Look at all images of a split; returns what is to be said of them, nothing where all is well.

    Args:
        split: 'train', of which some may be faulty, or another, of which none may.
        cache: see `check_images`.

    Raises:
        ValueError: more images cannot be read than the training would put up with; names the first ones.
    """
    faults = check_images(source, cache=cache)
    _check_targets(source, cache)
    if not faults:
        return []
    kind = "training" if split == "train" else "test"
    named = "; ".join(f"{name} ({reason})" for name, reason in faults[:5])
    more = f"; and {len(faults) - 5} more" if len(faults) > 5 else ""
    counted = f"{len(faults)} of the {source.size} {kind} images cannot be read"
    if split != "train":
        raise ValueError(f"{counted}, and none may be missing: {named}{more}; remove or replace them")
    if len(faults) > config.max_corrupt_share * source.size:
        raise ValueError(f"{counted}, more than data.max_corrupt_share ({config.max_corrupt_share}) allows: {named}"
                         f"{more}; remove or replace them, or raise the share")
    return [f"{counted} and will be replaced by others: {named}{more}"]


def _check_targets(source: Dataset, cache: Optional[str], workers: int = 16) -> None:
    """ValueError where what goes with an image does not belong to it; names the first ones. A split that is found sound
    is remembered, and not looked at again for as long as its files stay as they are."""
    if source.fault is None:
        return
    files = [*source.paths, *source.partners]
    stamps = in_threads(_stamp, files, workers, None)
    content = (VERSION, "targets", source.classes, list(zip(map(os.path.abspath, files), stamps)))
    key = hashlib.sha256(repr(content).encode("utf-8", "backslashreplace")).hexdigest()[:40]
    known = _read_cache(cache)
    if key in known and files:
        return
    numbers = list(range(source.size))
    faults = [fault for fault in in_threads(source.fault, numbers, workers, "checking what goes with the images")
              if fault is not None]
    if faults:
        more = f"; and {len(faults) - 5} more" if len(faults) > 5 else ""
        raise ValueError(f"{'; '.join(faults[:5])}{more}")
    if cache is not None and files:
        _write_cache(cache, known, {key: []})


def check_images(source: Dataset, workers: int = 16, progress: bool = True,
                 cache: Optional[str] = None) -> List[Tuple[str, str]]:
    """[(name, reason)] of the images of a source that cannot be read, in their order; nothing for data in memory.

    Args:
        workers: threads; they wait for the disk or the network more than they compute.
        progress: whether to draw a bar on stderr where that is a terminal.
        cache: file that remembers what was found, by path, size and time of change, so that only folders in which
            something has changed are looked at again; it is made where it is not there.
    """
    paths = source.paths
    if not paths:
        return []
    stamps = in_threads(_stamp, paths, workers, "listing the images" if progress else None)
    folders, known = _by_folder(paths, stamps), _read_cache(cache)
    wanted: List[int] = []
    for key, samples in folders.items():
        faulty = known.get(key)
        wanted += samples if faulty is None else [sample for sample in samples if _name(paths[sample]) in faulty]
    wanted.sort()
    reasons = in_threads(fault_of, [paths[sample] for sample in wanted], workers,
                          "checking the images" if progress else None)
    faults = {sample: reason for sample, reason in zip(wanted, reasons) if reason is not None}
    if cache is not None:
        found = {key: [_name(paths[sample]) for sample in samples if sample in faults]
                 for key, samples in folders.items()}
        _write_cache(cache, known, found)
    return [(source.name(sample), reason) for sample, reason in faults.items()]


def fault_of(path: str) -> Optional[str]:
    """Why an image file cannot be read, judged by its head and end; where these leave a doubt, it is decoded."""
    try:
        head, tail, whole = read_ends(path)
        if not _looks_sound(head, tail):
            decode(head if whole else read_image_file(path), 3)
    except OSError as error:
        return printable(error.strerror or error)
    except ValueError as error:
        return str(error)
    return None


def read_ends(path: str) -> Tuple[bytes, bytes, bool]:
    """(first bytes, last bytes, whether the first ones are all) of a file."""
    with regular_file(path) as (handle, size):
        head = os.read(handle, HEAD)
        if len(head) >= size:
            return head, head[-TAIL:], True
        os.lseek(handle, -TAIL, os.SEEK_END)
        return head, os.read(handle, TAIL), False


def open_header(path: str) -> Tuple[Image.Image, int]:
    """(picture of which the header alone is read, EXIF orientation of a JPEG and 1 of others) of an image file.

    Raises:
        ValueError, OSError: it is no image, or cannot be read.
    """
    head, _, whole = read_ends(path)
    try:
        image = open_image(head)
    except ValueError:
        if whole:
            raise
        # A header may be longer than what was read of it.
        head = read_image_file(path)
        image = open_image(head)
    return image, jpeg_head(head).orientation if image.format == "JPEG" else 1


def _looks_sound(head: bytes, tail: bytes) -> bool:
    """Whether these belong to a whole JPEG or PNG of a size within the limits; other formats have no sure end."""
    try:
        if head[:2] == b"\xff\xd8" and tail.rstrip(b"\0")[-2:] == b"\xff\xd9":
            if decoding.simplejpeg is None:
                open_image(head)
            else:
                height, width, *_ = decoding.simplejpeg.decode_jpeg_header(head)
                check_size(width, height)
            return True
        if head[:8] == b"\x89PNG\r\n\x1a\n" and tail[-8:-4] == b"IEND":
            open_image(head)
            return True
    except ValueError:
        # The header may be longer than what was read of it.
        pass
    return False


def _stamp(path: str) -> Stamp:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def _name(path: str) -> str:
    return os.path.basename(path)


def _by_folder(paths: Sequence[str], stamps: Sequence[Stamp]) -> Dict[str, List[int]]:
    """Key of a folder and of all that is known of its images -> their numbers."""
    samples: Dict[str, List[int]] = {}
    for sample, path in enumerate(paths):
        samples.setdefault(os.path.dirname(path), []).append(sample)
    keys: Dict[str, List[int]] = {}
    for folder, inside in samples.items():
        content = (VERSION, decoding.MAX_PIXELS, os.path.abspath(folder),
                   sorted((_name(paths[sample]), stamps[sample] or (-1, -1)) for sample in inside))
        key = hashlib.sha256(repr(content).encode("utf-8", "backslashreplace")).hexdigest()[:40]
        keys.setdefault(key, []).extend(inside)
    return keys


def _read_cache(path: Optional[str]) -> Dict[str, List[str]]:
    """Key of a folder -> names of its faulty images; empty for a file that is not there or not of this kind."""
    try:
        content = json.loads(read_image_file(path, CACHE_BYTES)) if path else {}
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(content, dict):
        return {}
    return {key: names for key, names in content.items()
            if isinstance(names, list) and all(isinstance(name, str) for name in names)}


def _write_cache(path: str, known: Dict[str, List[str]], found: Dict[str, List[str]]) -> None:
    """Remember the folders found now, and as many of those known before as there is room for."""
    kept = {key: names for key, names in known.items() if key not in found}
    kept.update((key, names) for key, names in found.items() if len(names) <= CACHE_FAULTS)
    newest = dict(list(kept.items())[-CACHE_FOLDERS:])
    try:
        os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
        write_text(path, json.dumps(newest))
    except OSError as error:
        print(f"the images will be checked anew at the next start: {error}", file=sys.stderr)


def in_threads(function: Callable[[Any], Any], items: Sequence[Any], workers: int,
               title: Optional[str]) -> List[Any]:
    """`function` of every item, in order; with a title, a bar on a terminal."""
    chunks = [items[start:start + CHUNK] for start in range(0, len(items), CHUNK)]
    results: List[Any] = []
    pool = concurrent.futures.ThreadPoolExecutor(max(1, workers))
    try:
        with _bar(title, len(items)) as advance:
            for part in pool.map(lambda chunk: [function(item) for item in chunk], chunks):
                results += part
                advance(len(part))
    finally:
        # Ctrl-C need not wait for a million files.
        pool.shutdown(wait=True, cancel_futures=True)
    return results


@contextlib.contextmanager
def _bar(title: Optional[str], total: int) -> Iterator[Callable[[int], None]]:
    """Yields a function that takes how many more are done."""
    if title is None or not sys.stderr.isatty():
        yield lambda count: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=Console(file=sys.stderr), transient=True) as bar:
        task = bar.add_task(title, total=total)
        yield lambda count: bar.advance(task, count)
