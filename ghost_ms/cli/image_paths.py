"""The images that a command line names: files, folders, and patterns that no shell has filled in."""
import glob
import os
import sys
from typing import List, Sequence, Tuple, Union

from ghost_ms.core.text import printable

#: Words that a sentence quotes where none names an image.
QUOTED = 3


def find_images(paths: Sequence[str]) -> List[str]:
    """Files as they are, folders replaced by the images in and below them (`data.images.find_images`); what is passed
    over there is said on stderr. FileNotFoundError or ValueError names the culprit."""
    from ghost_ms.data import images
    from ghost_ms.data.decode import kind_of

    found = []
    for path in paths:
        shown = printable(path)
        if os.path.isdir(path):
            inside = images.find_images(path)
            line = images.passed_over_line(inside.passed_over, path)
            if not inside.paths:
                raise ValueError(f"folder '{shown}' holds no image that can be decoded here" + (line and f" ({line})"))
            if line:
                print(line, file=sys.stderr)
            found += inside.paths
        elif os.path.isfile(path):
            found.append(path)
        elif os.path.lexists(path):
            status = os.stat(path) if os.path.exists(path) else os.lstat(path)
            raise ValueError(f"'{shown}' is {kind_of(status.st_mode)}, not an image")
        else:
            raise FileNotFoundError(f"there is no image '{shown}'")
    return found


def gather(words: Sequence[str]) -> Tuple[List[str], List[str]]:
    """The images that words stand for, in their order; and a sentence for each word that names none.

    A word is a file, a folder (the images in it), or a pattern such as 'photos/*.jpg' or 'photos/**/*.jpg'.

    Raises:
        ValueError: there is no image at all.
    """
    paths: List[str] = []
    complaints: List[str] = []
    for word in words:
        # A file's own name may hold brackets; a pattern is what does not exist as it stands.
        names = [word] if os.path.lexists(word) else sorted(glob.glob(word, recursive=True)) or [word]
        for name in names:
            try:
                paths += find_images([name])
            except (ValueError, OSError) as error:
                complaints.append(sentence(error))
    if not paths:
        more = len(complaints) - QUOTED
        raise ValueError("; ".join(complaints[:QUOTED]) + (f"; and {more} more such" if more > 0 else ""))
    return paths, complaints


def sentence(error: Union[Exception, str]) -> str:
    """What is wrong with one of several images, without the number that the system has for it."""
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"cannot open '{error.filename}': {error.strerror}"
    return str(error)


def complain(error: Union[Exception, str]) -> None:
    """Say it on standard error; the others go on."""
    print(f"ghost-ms: error: {printable(sentence(error))}", file=sys.stderr)
