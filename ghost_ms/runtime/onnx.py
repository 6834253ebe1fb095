"""An ONNX file as a function, run by ONNX Runtime on CPU."""
import importlib
from typing import Any, Tuple, Union

import numpy as np

from ghost_ms.core.text import printable
from ghost_ms.graph.onnx_check import check_onnx, check_sizes


def require_onnx() -> None:
    """ValueError that names the remedy where the packages are not installed."""
    try:
        for package in ("onnx", "onnxruntime"):
            importlib.import_module(package)
    except ImportError as error:
        raise ValueError(f"ONNX needs the package {error.name}: pip install onnx onnxruntime 'numpy<2'") from None


class OnnxModel:
    """A function from arrays, one for each input, to the output of an ONNX file, or to the tuple of all in its order
    where there are several; run by ONNX Runtime on CPU.

    Attributes:
        inputs, outputs: their names.

    Args:
        model: path of a file, or the bytes of one.
        name: of it, for sentences.
        threads: 0 for as many as ONNX Runtime chooses.

    Raises:
        ValueError: ONNX Runtime does not take it.
    """

    def __init__(self, model: Union[str, bytes], name: str, threads: int = 0):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 4  # What it logs as an error it raises too.
        self.name = name
        try:
            self.session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        except _errors() as error:
            raise ValueError(f"'{name}' is not a valid ONNX file: {_first_line(error)}") from None
        self.inputs = [end.name for end in self.session.get_inputs()]
        self.outputs = [end.name for end in self.session.get_outputs()]

    def __call__(self, *arrays: np.ndarray) -> Any:
        """Raises ValueError where the file takes other arrays, or cannot be computed."""
        from onnxruntime.capi.onnxruntime_pybind11_state import InvalidArgument

        if len(arrays) != len(self.inputs):
            names = ", ".join(map(printable, self.inputs))
            raise ValueError(f"'{self.name}' takes {len(self.inputs)} arrays ({names}), not {len(arrays)}")
        try:
            found = self.session.run(None, dict(zip(self.inputs, arrays)))
        except InvalidArgument as error:
            raise ValueError(f"'{self.name}' takes other images: {' '.join(printable(error, lines=True).split())}"
                             ) from None
        except _errors() as error:
            raise ValueError(f"'{self.name}' cannot be computed: {_first_line(error)}") from None
        return found[0] if len(found) == 1 else tuple(found)


def _errors() -> Tuple[type, ...]:
    """What ONNX Runtime raises on a file; it has no base for them."""
    from onnxruntime.capi import onnxruntime_pybind11_state as states

    own = [kind for kind in vars(states).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    return (*own, MemoryError, RuntimeError, ValueError)


def _first_line(error: Exception) -> str:
    return printable((str(error).strip().splitlines() or [type(error).__name__])[0])


def open_onnx(path: str) -> Any:
    """The onnx.ModelProto of a file, of which `check_onnx`, `check_sizes` and onnx's own checker think well.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, no ONNX file, or made to harm; or the packages are not installed.
    """
    require_onnx()
    import onnx
    from google.protobuf.message import DecodeError

    check_onnx(path)
    try:
        model = onnx.load(path, load_external_data=False)
        onnx.checker.check_model(model)
        check_sizes(model)
    except (DecodeError, onnx.checker.ValidationError, RuntimeError, ValueError) as error:
        reason = f"it {error}" if type(error) is ValueError else _first_line(error)
        raise ValueError(f"'{path}' is not a valid ONNX file: {reason}") from None
    return model


def load_onnx(path: str, threads: int = 0) -> OnnxModel:
    """An ONNX file as a function from images to its output, or to a tuple of its outputs where there are several.

    Args:
        threads: 0 for as many as ONNX Runtime chooses.

    Raises:
        FileNotFoundError, ValueError: as `open_onnx`.
    """
    open_onnx(path)
    return OnnxModel(path, path, threads)


def run_model(model: Any, threads: int = 0) -> OnnxModel:
    """An onnx.ModelProto as a function; see `load_onnx`."""
    require_onnx()
    return OnnxModel(model.SerializeToString(), model.graph.name, threads)
