"""Export to MINDIR, verified: the written file is loaded back and compared before anything is called done."""
import dataclasses
import json
import os
import tempfile
import time
from typing import Dict, Optional

import mindspore as ms
import numpy as np
from mindspore import nn

from ghost_ms.data.transforms import Preprocessing
from ghost_ms.deploy.fuse import count_cells, to_deploy_form
from ghost_ms.training.checkpoint import Description

#: Largest accepted |difference| / largest |logit| between the network and the file.
TOLERANCE = 1e-4
INPUT_NAME, OUTPUT_NAME = "image", "logits"


def export_mindir(net: nn.Cell, description: Description, path: str, batch_size: int = 1) -> Dict[str, float]:
    """Write `path` (.mindir) and its sidecar (.json), run the file, and compare it with the network.

    Args:
        net: in evaluation mode; it is brought into its deploy form in place.
        description: of the network; goes into the sidecar.
        batch_size: images of a call; 0 leaves it open.

    Returns:
        difference (largest absolute), relative (to the largest logit), batchnorms (left after folding), seconds.

    Raises:
        OSError: the folder cannot be written.
        ValueError: the file gives other numbers than the network; no file is left behind.
    """
    if not path.endswith(".mindir"):
        path += ".mindir"
    start = time.perf_counter()
    spec = description.preprocessing
    shape = (max(batch_size, 1), spec.channels) + tuple(spec.input_size)
    images = ms.Tensor(np.random.default_rng(0).standard_normal(shape).astype(np.float32))
    expected = net.set_train(False)(images).asnumpy()
    net = to_deploy_form(net)
    ms.set_context(mode=ms.GRAPH_MODE)
    symbol = ms.Tensor(shape=[batch_size or None, *shape[1:]], dtype=ms.float32)
    temporary = f"{path[:-len('.mindir')]}.{os.getpid()}.tmp.mindir"
    try:
        os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
        # MindSpore refuses paths with blanks and other characters, so it writes elsewhere.
        with tempfile.TemporaryDirectory() as folder:
            ms.export(net, symbol, file_name=os.path.join(folder, "net.mindir"), file_format="MINDIR")
            _name_ends(os.path.join(folder, "net.mindir"), temporary)
        difference = float(np.abs(run_mindir(temporary, images.asnumpy()) - expected).max())
        relative = difference / max(float(np.abs(expected).max()), 1e-12)
        if not relative <= TOLERANCE:
            raise ValueError(f"the exported file differs from the network by {relative:.1e} of the largest logit "
                             f"(allowed {TOLERANCE:.0e}); nothing was written")
        os.replace(temporary, path)
    except (RuntimeError, OSError) as error:
        raise OSError(f"cannot write '{path}': {str(error).strip().splitlines()[0]}") from None
    finally:
        if os.path.exists(temporary):
            os.remove(temporary)
    write_sidecar(path, description, batch_size)
    return {"difference": difference, "relative": relative, "seconds": time.perf_counter() - start,
            "batchnorms": count_cells(net, nn.BatchNorm2d)}


def _name_ends(source: str, target: str) -> None:
    """Copy a MINDIR and call its input `image` and its output `logits`; MindSpore names them after source lines."""
    from mindspore.train.mind_ir_pb2 import ModelProto

    proto = ModelProto()
    with open(source, "rb") as file:
        proto.ParseFromString(file.read())
    names = {proto.graph.input[0].name: INPUT_NAME, proto.graph.output[0].name: OUTPUT_NAME}
    proto.graph.input[0].name, proto.graph.output[0].name = INPUT_NAME, OUTPUT_NAME
    for node in proto.graph.node:
        for ends in (node.input, node.output):
            ends[:] = [names.get(end, end) for end in ends]
    with open(target, "wb") as file:
        file.write(proto.SerializeToString())


def load_mindir(path: str) -> nn.GraphCell:
    """The network in a MINDIR file; FileNotFoundError or ValueError where there is none or it is damaged."""
    if not os.path.isfile(path):
        raise FileNotFoundError(f"there is no file '{path}'")
    try:
        return nn.GraphCell(ms.load(path))
    except (RuntimeError, ValueError) as error:
        raise ValueError(f"'{path}' is no whole MINDIR file: {str(error).strip().splitlines()[0]}") from None


def run_mindir(path: str, images: np.ndarray) -> np.ndarray:
    """Logits of float32 images (B, C, H, W) from a MINDIR file."""
    return load_mindir(path)(ms.Tensor(images)).asnumpy()


def sidecar_path(path: str) -> str:
    """NAME.json beside NAME.mindir."""
    return os.path.splitext(path)[0] + ".json"


def write_sidecar(path: str, description: Description, batch_size: int) -> None:
    """What a program needs beside the exported file: classes, preprocessing, names and shapes."""
    spec = description.preprocessing
    content = {
        "model": description.model, "file": os.path.basename(path), "metrics": description.metrics,
        "inputs": [{"name": INPUT_NAME, "shape": [batch_size or -1, spec.channels, *spec.input_size],
                    "dtype": "float32", "layout": "NCHW"}],
        "outputs": [{"name": OUTPUT_NAME, "shape": [batch_size or -1, description.args["num_classes"]],
                     "dtype": "float32"}],
        "preprocessing": dataclasses.asdict(spec), "classes": description.classes,
    }
    temporary = f"{sidecar_path(path)}.{os.getpid()}.tmp"
    with open(temporary, "w") as file:
        json.dump(content, file, indent=1)
    os.replace(temporary, sidecar_path(path))


def read_sidecar(path: str) -> tuple:
    """(preprocessing, class names) from the sidecar of an exported file."""
    sidecar = sidecar_path(path)
    if not os.path.isfile(sidecar):
        raise FileNotFoundError(f"'{path}' has no sidecar '{sidecar}'; export writes both, keep them together")
    try:
        with open(sidecar) as file:
            content = json.load(file)
        spec = {key: tuple(value) if isinstance(value, list) else value
                for key, value in content["preprocessing"].items()}
        return Preprocessing(**spec), content["classes"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"'{sidecar}' is no sidecar of an export: {error}") from None


def newest_checkpoint(folder: str) -> Optional[str]:
    """The newest checkpoint of a run's folder, or None."""
    checkpoints = os.path.join(folder, "checkpoints")
    names = os.listdir(checkpoints) if os.path.isdir(checkpoints) else []
    paths = [os.path.join(checkpoints, name) for name in names
             if name.endswith(".ckpt") and not name.endswith(".tmp.ckpt")]
    return max(paths, key=os.path.getmtime, default=None)
