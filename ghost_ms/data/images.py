"""Which files of a folder are images: one rule for every command.

Endings count without regard to case; whatever this package decodes is taken; folders are searched to the bottom, links
to folders included, each folder once; hidden files and what file managers leave behind is left out. What is passed over
is counted and can be said in one line.
"""
import collections
import dataclasses
import os
from typing import Callable, Counter, Dict, Iterator, List, Tuple, Union

from ghost_ms.core.text import printable
from ghost_ms.data.decode import FORMATS

#: Endings that count as images, in lower case; the content decides how a file is decoded.
ENDINGS = frozenset(ending for endings in FORMATS.values() for ending in endings)
#: Endings of pictures that are not decoded here.
UNDECODED = frozenset((
    ".ai", ".arw", ".avif", ".cr2", ".cr3", ".dcm", ".dds", ".dng", ".eps", ".exr", ".hdr", ".heic", ".heif", ".ico",
    ".j2k", ".jp2", ".jpx", ".jxl", ".nef", ".nii", ".npy", ".orf", ".pcx", ".pdf", ".pfm", ".ps", ".psd", ".raw",
    ".rw2", ".svg", ".tga", ".webp", ".xcf")) - ENDINGS
#: What file managers, archivers and file systems leave behind, in lower case.
LITTER = frozenset(("__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "@eadir", "$recycle.bin", "lost+found",
                    "system volume information", "icon\r"))
HIDDEN = "hidden"
#: Reasons that a line names; the rarer ones are added up.
NAMED = 6


@dataclasses.dataclass
class Found:
    """The images of a folder.

    Args:
        paths: of the images, sorted.
        passed_over: reason -> number of files, and of folders that were not searched.
    """

    paths: List[str]
    passed_over: Counter

    def lost(self) -> int:
        """How many were passed over that are not hidden."""
        return sum(self.passed_over.values()) - self.passed_over[HIDDEN]


def is_hidden(name: str) -> bool:
    """Whether a file or folder is hidden, or litter: .ipynb_checkpoints, ._cat.jpg, .DS_Store, __MACOSX, Thumbs.db."""
    return name.startswith(".") or name.lower() in LITTER


def find_images(folder: Union[str, os.PathLike]) -> Found:
    """The images in a folder and in all folders below it.

    Raises:
        OSError: a folder cannot be read.
    """
    found: List[str] = []
    passed_over: Counter = collections.Counter()
    seen, waiting = {_identity(folder)}, [os.fspath(folder)]
    while waiting:
        folders = []
        for entry in _entries(waiting.pop()):
            if is_hidden(entry.name):
                passed_over[HIDDEN] += 1
            elif _is(entry.is_dir):
                folders.append(entry.path)
            elif not _is(entry.is_file):
                passed_over["pipe, socket or device" if os.path.exists(entry.path) else "link to nothing"] += 1
            elif is_image(entry.name):
                found.append(entry.path)
            else:
                passed_over[_ending(entry.name)] += 1
        # Which of several links to a folder is followed does not depend on the order that the disk has them in.
        for path in sorted(folders, reverse=True):
            identity = _identity(path)
            if identity in seen:
                passed_over["link to a folder that is searched already"] += 1
            else:
                seen.add(identity)
                waiting.append(path)
    return Found(sorted(found), passed_over)


def class_folders(folder: Union[str, os.PathLike]) -> Tuple[Dict[str, str], Counter]:
    """(name -> path of the folders in one, passed over): hidden ones and what lies beside them are passed over."""
    folders: Dict[str, str] = {}
    passed_over: Counter = collections.Counter()
    for entry in _entries(folder):
        if is_hidden(entry.name):
            passed_over[HIDDEN] += 1
        elif _is(entry.is_dir):
            folders[entry.name] = entry.path
        else:
            passed_over["beside the class folders"] += 1
    return folders, passed_over


def is_image(name: str) -> bool:
    """Whether a file's name ends as an image's does."""
    return os.path.splitext(name)[1].lower() in ENDINGS


def passed_over_line(passed_over: Counter, where: Union[str, os.PathLike]) -> str:
    """'passed over 12 files in WHERE: 9 .txt, 2 hidden, 1 .heic (cannot be decoded here)'; '' for none."""
    total = sum(passed_over.values())
    if not total:
        return ""
    named = sorted(passed_over.items(), key=lambda item: (-item[1], item[0]))
    shown = [f"{count} {reason}" for reason, count in named[:NAMED]]
    others = sum(count for _, count in named[NAMED:])
    return (f"passed over {total} file{'s' * (total != 1)} in {printable(os.fspath(where))}: "
            + ", ".join(shown + [f"{others} of {len(named) - NAMED} other kinds"] * (others > 0)))


def _entries(folder: Union[str, os.PathLike]) -> Iterator[os.DirEntry]:
    try:
        with os.scandir(os.fspath(folder)) as entries:
            yield from entries
    except OSError as error:
        raise OSError(f"cannot read the folder '{printable(os.fspath(folder))}': {error.strerror}") from None


def _is(test: Callable[[], bool]) -> bool:
    """`is_dir` or `is_file` of an entry; false for a link that leads in a circle or where nobody may look."""
    try:
        return test()
    except OSError:
        return False


def _identity(folder: Union[str, os.PathLike]) -> Tuple[int, int]:
    status = os.stat(folder)
    return status.st_dev, status.st_ino


def _ending(name: str) -> str:
    """Why a file is passed over, by its ending."""
    ending = os.path.splitext(name)[1].lower()
    if ending in UNDECODED:
        return f"{ending} (cannot be decoded here)"
    if not ending:
        return "without an ending"
    return printable(ending) if len(ending) <= 10 else "with a long ending"
