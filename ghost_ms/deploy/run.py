"""The work of `ghost-ms export`: an exported file, or a table of operators."""
import dataclasses
import os
from typing import Dict, Optional, Tuple

import mindspore as ms
from mindspore import nn

from ghost_ms.checkpoints.resolve import resolve
from ghost_ms.checkpoints.spec import ModelSpec
from ghost_ms.core import device
from ghost_ms.core.files import cannot_write, whole_file
from ghost_ms.deploy import export
from ghost_ms.runtime.sidecar import seal, sidecar_path, write_sidecar
from ghost_ms.runtime.signature import ExportSignature
from ghost_ms.tasks.registry import create_task

WRITERS = {"MINDIR": export.export_mindir, "ONNX": export.export_onnx}


@dataclasses.dataclass
class Options:
    """What is asked for; `ghost-ms export --help` says it of each.

    Args:
        model, config, ckpt: which network.
        format: MINDIR, ONNX or AIR.
        output: file to write.
        batch_size: images of a call; 0 leaves it open.
        input_size: (height, width), or None for what the network was trained for.
        softmax, argmax: append one.
        preprocess: 'in-graph' for a file that takes bytes, or 'outside'.
        dry_run: only count the operators.
    """

    model: Optional[str]
    config: Optional[str]
    ckpt: Optional[str]
    format: str = "MINDIR"
    output: Optional[str] = None
    batch_size: int = 1
    input_size: Optional[Tuple[int, int]] = None
    softmax: bool = False
    argmax: bool = False
    preprocess: str = "outside"
    dry_run: bool = False


def run_export(options: Options, fallback: str) -> int:
    """Carry it out, and print what became of it; the exit code.

    Args:
        options: what is asked for.
        fallback: folder of a run whose best checkpoint serves where the user names no network.
    """
    if options.format == "AIR":
        require_ascend()
    if options.format == "ONNX":
        from ghost_ms.runtime.onnx import require_onnx

        require_onnx()
    device.setup("Ascend" if options.format == "AIR" else "CPU")
    net, description = resolve(options.model, options.config, options.ckpt, fallback, options.input_size,
                               random_weights=True)
    form = ExportSignature(options.preprocess == "in-graph", options.softmax, options.argmax)
    export.outputs_of(description, form)  # Refuses what has no meaning.
    if options.dry_run:
        print(operator_table(export.count_operators(net, description, options.batch_size, form)))
        return 0
    suffix = f".{options.format.lower()}"
    path = options.output or description.model + suffix
    path = path if path.endswith(suffix) else path + suffix
    shape = "x".join(str(extent) if extent > 0 else "N"
                     for extent in form.input_shape(description.preprocessing, options.batch_size))
    if options.format == "AIR":
        write_air(net, description, path, options.batch_size, form)
        print(f"{path}: {description.model}, input {shape}; not run, since AIR has no runtime here")
        return 0
    report = WRITERS[options.format](net, description, path, options.batch_size, form)
    print(f"{path}: {description.model}, input {shape}, {os.path.getsize(path) / 1e6:.1f} MB, "
          f"{report['nodes']} operators, {report['batchnorms']} BatchNorms left; "
          f"run and compared: {report['comparison']}; sidecar {sidecar_path(path)}")
    return 0


def operator_table(counts: Dict[str, Dict[str, int]]) -> str:
    """Lines of operator, count before and count after the deploy form, the most frequent first, and the sum."""
    kinds = sorted(set(counts["before"]) | set(counts["after"]), key=lambda kind: (
        -counts["before"].get(kind, 0), -counts["after"].get(kind, 0), kind))
    rows = [(kind, counts["before"].get(kind, 0), counts["after"].get(kind, 0)) for kind in kinds]
    rows.append(("all", sum(counts["before"].values()), sum(counts["after"].values())))
    width = max(len(row[0]) for row in rows + [("operator",)])
    return "\n".join([f"{'operator':{width}}  before  after"]
                     + [f"{kind:{width}}  {before:6}  {after:5}" for kind, before, after in rows])


def require_ascend() -> None:
    """ValueError where this machine has no Ascend device."""
    try:
        device.setup("Ascend")
    except ValueError:
        raise ValueError("AIR is written by a machine with an Ascend device and CANN, and MindSpore finds none here; "
                         "--format MINDIR and --format ONNX work everywhere") from None


def write_air(net: nn.Cell, description: ModelSpec, path: str, batch_size: int, form: ExportSignature) -> None:
    """Write the deploy form as AIR and its sidecar; OSError where that fails. The file is not run."""
    deployed = export.deploy_form(net, description, form)
    try:
        os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
        images = ms.Tensor(form.example(description.preprocessing, max(batch_size, 1)))
        with whole_file(path) as temporary:
            ms.export(deployed, images, file_name=temporary, file_format="AIR")
            seal(path)
        told = create_task(description.task, description.task_args).exported(description)
        write_sidecar(path, told, max(batch_size, 1), form, export.outputs_of(description, form))
    except (RuntimeError, OSError) as error:
        raise cannot_write(path, error) from None
