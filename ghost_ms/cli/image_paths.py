"""The images that a command line names: files, folders, and patterns that no shell has filled in."""
import glob
import os
import sys
from typing import List, Sequence, Tuple, Union

from ghost_ms.core.text import printable

#: Words that a sentence quotes where none names an image.
QUOTED = 3


def gather(words: Sequence[str]) -> Tuple[List[str], List[str]]:
    """The images that words stand for, in their order; and a sentence for each word that names none.

    A word is a file, a folder (the images in it), or a pattern such as 'photos/*.jpg' or 'photos/**/*.jpg'.

    Raises:
        ValueError: there is no image at all.
    """
    from ghost_ms.tasks.classification.predict import find_images

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
