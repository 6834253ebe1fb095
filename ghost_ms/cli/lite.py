"""Convert an exported file for MindSpore Lite, run it there, and check it."""
import argparse
import os
from typing import Sequence

from ghost_ms.cli.image_paths import find_images
from ghost_ms.cli.parser import Parser


def main(argv: Sequence[str]) -> int:
    """Run the command; its exit code."""
    options = build_parser().parse_args(argv)
    return options.func(options)


def build_parser() -> Parser:
    """Parser of `convert`, `run` and `check`; `func` of what it returns carries the command out."""
    parser = Parser("ghost-ms lite", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="convert|run|check")
    converting = commands.add_parser("convert", help=_convert.__doc__, description=_convert.__doc__)
    converting.add_argument("model", help="exported .onnx; .mindir for a MindSpore Lite as new as the exporter")
    converting.add_argument("-o", "--output", help="file to write: .ms for devices (default MODEL.ms) or .mindir")
    converting.add_argument("--optimize", default="general", metavar="TARGET",
                            help="general (CPU and GPU, the default), none, or ascend_oriented:SOC such as "
                                 "ascend_oriented:Ascend310P3, which needs CANN")
    converting.add_argument("--batch_size", type=int, default=1,
                            help="images of a call, where the ONNX file leaves them open; 0 keeps it open, which not "
                                 "every network survives in MindSpore Lite 2.0.0 (default 1)")
    converting.set_defaults(func=_convert)
    running = commands.add_parser("run", help=_run.__doc__, description=_run.__doc__)
    running.add_argument("--image", nargs="+", required=True, metavar="PATH", help="images, or folders of images")
    running.add_argument("--top", type=int, default=5, help="classes to show for each image (default 5)")
    running.add_argument("--json", action="store_true", help="print JSON instead of a table")
    running.set_defaults(func=_run)
    checking = commands.add_parser("check", help=_check.__doc__, description=_check.__doc__)
    checking.add_argument("--against", required=True, metavar="FILE",
                          help="checkpoint, or exported .onnx or .mindir, that gives the expected outputs")
    checking.add_argument("--tolerance", type=float, default=1e-4,
                          help="largest difference, relative to the largest output (default 0.0001)")
    checking.set_defaults(func=_check)
    for command in (running, checking):
        command.add_argument("model", help="converted .ms or .mindir, with its sidecar beside it")
        command.add_argument("--threads", type=int, default=2, help="threads of the runtime (default 2)")
        command.add_argument("--target", choices=["cpu", "ascend"], default="cpu",
                             help="what runs it (default cpu); ascend needs a MindSpore Lite for Atlas")
    return parser


def _convert(options: argparse.Namespace) -> int:
    """Convert an exported file for MindSpore Lite."""
    from ghost_ms.deploy.lite.convert import convert

    target = options.output or os.path.splitext(options.model)[0] + ".ms"
    if options.batch_size < 0:
        raise ValueError(f"--batch_size is {options.batch_size}; it is 1 or more, or 0 for any")
    convert(options.model, target, options.optimize, options.batch_size)
    print(f"{target}: {os.path.getsize(target) / 1e6:.1f} MB, {options.optimize}; `ghost-ms lite check {target} "
          "--against CKPT` compares it with the network")
    return 0


def _run(options: argparse.Namespace) -> int:
    """Classify images with a converted file."""
    from ghost_ms.runtime.lite import LiteModel
    from ghost_ms.runtime.sidecar import read_sidecar
    from ghost_ms.tasks import predict

    if options.top < 1:
        raise ValueError(f"--top is {options.top}; it is 1 or more")
    paths, sidecar = find_images(options.image), read_sidecar(options.model)
    with LiteModel(options.model, options.threads, options.target) as model:
        classify = predict.Predictor(model, sidecar)
        results = [classify(path, options.top) for path in paths]
    print(predict.as_json(results) if options.json else classify.as_table(results))
    return 0


def _check(options: argparse.Namespace) -> int:
    """Compare a converted file with the network that it comes from, on random images."""
    from ghost_ms.deploy.lite.check import check

    comparison = check(options.model, options.against, options.threads, options.target, options.tolerance)
    print(f"{options.model} equals {options.against}: {comparison}")
    return 0
