"""SHA-256 of exported files, in the sidecar that describes them: a changed or exchanged file is noticed before use.

Files of one stem (net.mindir, net.onnx, net.ms) share one sidecar, so it holds a checksum for each. What counts is
whether a file's own is among them, under whatever name: a renamed pair stays a pair.
"""
import hashlib
import os
import re
from typing import Any, Dict, Optional

#: Name of the entry in a sidecar: {name of the file: checksum in hexadecimal digits}.
KEY = "sha256"
#: Endings of exported files.
SUFFIXES = (".mindir", ".onnx", ".ms", ".air")


def digest(path: str) -> str:
    """SHA-256 of a file in hexadecimal digits."""
    found = hashlib.sha256()
    with open(path, "rb") as file:
        while True:
            part = file.read(1 << 20)
            if not part:
                return found.hexdigest()
            found.update(part)


def of_family(path: str, before: Optional[Dict[str, Any]]) -> Dict[str, str]:
    """The checksums for the sidecar of `path`: its own, and those of the other files of its stem that belong to it.

    Args:
        before: the sidecar's content so far, where it describes the same network; None where there was none. It vouches
            for the files whose checksums it holds, or, written by an earlier version, for all that lie there.
    """
    family = {os.path.basename(path): digest(path)} if os.path.isfile(path) else {}
    stem = os.path.splitext(path)[0]
    for other in (stem + suffix for suffix in SUFFIXES):
        if before is not None and os.path.basename(other) not in family and os.path.isfile(other):
            found = digest(other)
            if KEY not in before or found in before[KEY].values():
                family[os.path.basename(other)] = found
    return family


def check_form(content: Dict[str, Any]) -> None:
    """ValueError (half a sentence) where a sidecar's entry is malformed; it may be absent."""
    found = content.get(KEY, {})
    if not isinstance(found, dict) or len(found) > 100 or not all(
            isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) for value in found.values()):
        raise ValueError(f"{KEY} holds no checksums")


def check(path: str, sidecar: str, content: Dict[str, Any]) -> None:
    """ValueError where a file is none of those that its sidecar was written for.

    One without checksums, of an earlier version, says nothing; a file that is not there is its reader's to miss.
    """
    if KEY not in content or not os.path.isfile(path):
        return
    found, known = digest(path), content[KEY]
    if found not in known.values():
        wanted = known.get(os.path.basename(path)) or next(iter(known.values()), "nothing")
        raise ValueError(f"'{path}' is not the file that '{sidecar}' was written for (SHA-256 {found[:12]}..., and not "
                         f"{wanted[:12]}...): one of the two was changed, cut or exchanged; export or convert it "
                         f"again, or delete {KEY} in the sidecar where the change was meant")
