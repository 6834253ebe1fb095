"""MindSpore has to load protobuf first: after another module did, importing MindSpore would end the interpreter."""
import importlib.abc
import os
import sys

from ghost_ms.core import onednn

#: Names the implementation that protobuf takes when it is first imported.
VARIABLE = "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION"
#: Where protobuf says which one it took.
_TAKEN = "google.protobuf.internal.api_implementation"


class _Guard(importlib.abc.MetaPathFinder):
    """Looks at every import of MindSpore that has not happened yet, and finds nothing itself."""

    def find_spec(self, name, path=None, target=None):
        """Nothing, so that the import goes on; ImportError where it would abort the interpreter."""
        if name == "mindspore":
            _check()
            onednn.hold_back()


def _check() -> None:
    taken = sys.modules.get(_TAKEN)
    chosen = os.environ.get(VARIABLE, "python") if taken is None else taken.Type()
    if chosen == "python":
        return
    from importlib import metadata

    if int(metadata.version("protobuf").split(".")[0]) < 4:
        return
    if taken is None:
        raise ImportError(f"{VARIABLE} is '{chosen}', with which importing MindSpore aborts Python: unset it, or set "
                          "it to python", name="mindspore")
    culprit = next((name for name in ("onnx", "tensorflow", "tensorboard") if name in sys.modules), "a module with "
                   "protobuf")
    raise ImportError(f"{culprit} was imported before MindSpore, whose import would now abort Python: both need "
                      "protobuf, and MindSpore needs it in pure Python; import ghost_ms (or mindspore) first, or set "
                      f"{VARIABLE}=python before Python starts", name="mindspore")


def guard() -> None:
    """Let whatever is imported from now on leave room for MindSpore; an order that cannot work is an ImportError.

    MindSpore's generated protobuf modules are older than protobuf 4, which takes them in pure Python alone. MindSpore
    chooses that itself as it is imported; chosen here it also holds for what a program imports between this package and
    the first network.
    """
    if "mindspore" in sys.modules:
        return
    if _TAKEN not in sys.modules:
        os.environ.setdefault(VARIABLE, "python")
    sys.meta_path.insert(0, _Guard())
