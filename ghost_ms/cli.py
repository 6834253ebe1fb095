"""The commands: `ghost-ms train|eval|export|infer|models|weights|plan`; train.py and its sisters hand over to here."""
import argparse
import os
import signal
import sys
from typing import List, Optional, Sequence

QUICKSTART = "runs/quickstart"


def train(argv: Sequence[str]) -> int:
    """Train a network from a recipe."""
    from ghost_ms import config

    recipe, _ = config.parse(config.build_parser("ghost-ms train", train.__doc__), argv)
    from ghost_ms.training.fit import fit
    from ghost_ms.training.interrupt import Stopped

    try:
        best = fit(recipe)
    except Stopped as stopped:
        # A scheduler's SIGTERM is obeyed, so all is well; Ctrl-C must also end a script that would go on after this.
        return 130 if stopped.number == signal.SIGINT else 0
    print(f"best: epoch {best['epoch']}, top-1 {best['test_top1']:.2f} %, top-5 {best['test_top5']:.2f} %; "
          f"results in {recipe.run.dir}")
    return 0


def evaluate(argv: Sequence[str]) -> int:
    """Measure the accuracy of a checkpoint on the test split."""
    from ghost_ms import config

    parser = config.build_parser("ghost-ms eval", evaluate.__doc__)
    parser.add_argument("--ckpt", type=Optional[str], default=None,
                        help="checkpoint; by default the best of run.dir. Without --config its run's recipe is used")
    given = any(word.startswith("--config") for word in argv)
    recipe, options = config.parse(parser, argv)
    ckpt = options.ckpt or os.path.join(recipe.run.dir, "checkpoints", "best.ckpt")
    beside = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(ckpt))), "config.yaml")
    if not given and os.path.isfile(beside):
        recipe, _ = config.parse(parser, ["--config", beside, *argv])
    from ghost_ms import device
    from ghost_ms.data.datasets import open_source
    from ghost_ms.data.loader import evaluation_batches
    from ghost_ms.training import fit
    from ghost_ms.training.checkpoint import restore
    from ghost_ms.training.evaluate import evaluate as measure

    source = open_source(recipe.data, "test")
    device.setup(recipe.run.device, recipe.run.device_id, recipe.run.mode, recipe.run.seed)
    net, description = restore(ckpt, fit.describe(recipe, source))
    result = measure(net, evaluation_batches(source, recipe, description.preprocessing))
    print(f"{description.model}: top-1 {result['top1']:.2f} %, top-5 {result['top5']:.2f} %, loss {result['loss']:.4f} "
          f"on {result['images']} images of {recipe.data.dataset}")
    return 0


def export(argv: Sequence[str]) -> int:
    """Write a network as MINDIR or ONNX with BatchNorm folded, run the file, and compare."""
    parser = argparse.ArgumentParser("ghost-ms export", description=export.__doc__)
    _add_network(parser)
    parser.add_argument("--format", "--file_format", type=str.upper, choices=["MINDIR", "ONNX", "AIR"],
                        default="MINDIR", help="format of the file (default MINDIR); AIR needs an Ascend device")
    parser.add_argument("--output", help="file to write; by default MODEL.mindir or MODEL.onnx in the working folder")
    parser.add_argument("--batch_size", type=int, default=1, help="images of a call; 0 leaves it open (default 1)")
    parser.add_argument("--input_size", type=int, nargs="+", metavar="PIXELS",
                        help="height and width, or one number for both; by default what the network was trained for")
    parser.add_argument("--softmax", action="store_true", help="append a softmax: the file gives probabilities")
    parser.add_argument("--preprocess", choices=["outside", "in-graph"], default="outside",
                        help="in-graph: the file takes uint8 images (N, height, width, channels) and normalises them "
                             "itself (default outside)")
    parser.add_argument("--dry-run", action="store_true",
                        help="print how many operators the graph has before and after folding; write nothing")
    options = parser.parse_args(argv)
    if options.batch_size < 0:
        raise ValueError(f"--batch_size is {options.batch_size}; it is 1 or more, or 0 for any")
    options.input_size = _size(options.input_size)
    from ghost_ms.deploy.command import run_export

    return run_export(options, QUICKSTART)


def infer(argv: Sequence[str]) -> int:
    """Classify images with a checkpoint or an exported file."""
    parser = argparse.ArgumentParser("ghost-ms infer", description=infer.__doc__)
    _add_network(parser)
    parser.add_argument("--file", "--mindir", "--onnx", metavar="FILE",
                        help="exported .mindir, .onnx or .ms, with its sidecar beside it; instead of --ckpt")
    parser.add_argument("--image", nargs="+", required=True, metavar="PATH", help="images, or folders of images")
    parser.add_argument("--top", type=int, default=5, help="classes to show for each image (default 5)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args(argv)
    if options.top < 1:
        raise ValueError(f"--top is {options.top}; it is 1 or more")
    from ghost_ms import device
    from ghost_ms.deploy import predict
    from ghost_ms.deploy.resolve import resolve

    paths = predict.find_images(options.image)
    device.setup("CPU")
    if options.file:
        if options.ckpt or options.model or options.config:
            raise ValueError("--file holds the network already; leave out --ckpt, --model and --config")
        classify = predict.from_file(options.file)
    else:
        classify = predict.from_network(*resolve(options.model, options.config, options.ckpt, QUICKSTART))
    results = [classify(path, options.top) for path in paths]
    print(predict.as_json(results) if options.json else predict.as_table(results))
    return 0


def models(argv: Sequence[str]) -> int:
    """List the registered networks."""
    parser = argparse.ArgumentParser("ghost-ms models", description=models.__doc__)
    parser.add_argument("pattern", nargs="?", default="*", help="shell pattern of names, such as 'ghostnet*'")
    parser.add_argument("--markdown", action="store_true", help="print a Markdown table")
    parser.add_argument("--update", metavar="FILE",
                        help="put that table between the marks of a file, such as README.md")
    options = parser.parse_args(argv)
    from ghost_ms.models import list_models
    from ghost_ms.models import table

    names = list_models(options.pattern) or _no_model(options.pattern)
    rows = table.rows(names)
    if options.update:
        table.update(options.update, "models", table.as_markdown(rows))
    else:
        print(table.as_markdown(rows) if options.markdown else table.as_text(rows))
    return 0


def bench(argv: Sequence[str]) -> int:
    """Measure latency, memory and size of networks side by side."""
    from ghost_ms.analysis import benchmark
    from ghost_ms.models import list_models, table

    parser = argparse.ArgumentParser("ghost-ms bench", description=bench.__doc__)
    parser.add_argument("models", nargs="+", metavar="MODEL", help="names or shell patterns, such as 'ghostnet*'")
    parser.add_argument("--backend", nargs="+", choices=benchmark.BACKENDS, default=["mindspore"],
                        help="mindspore: deploy form in graph mode (default); train: a training step in graph mode; "
                             "mindir, onnx, lite: the exported file in MindSpore, ONNX Runtime, MindSpore Lite")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="cores to use (default all)")
    parser.add_argument("--batch", type=int, default=1, help="images of a call (default 1)")
    parser.add_argument("--input_size", type=int, nargs="+", metavar="PIXELS",
                        help="height and width, or one number for both; by default each network's published size")
    parser.add_argument("--rounds", type=int, default=10, help="rounds of about 0.3 s a network (default 10)")
    parser.add_argument("--output", help="file for the results: .csv has every figure in full, .md is the table")
    options = parser.parse_args(argv)
    names = [name for pattern in options.models for name in list_models(pattern) or _no_model(pattern)]
    for key in ("threads", "batch", "rounds"):
        if getattr(options, key) < 1:
            raise ValueError(f"--{key} is {getattr(options, key)}; it is 1 or more")
    if options.output and not options.output.endswith((".csv", ".md")):
        raise ValueError(f"--output is '{options.output}'; it ends in .csv or .md")
    results = benchmark.benchmark(names, options.backend, options.batch, _size(options.input_size), options.threads,
                                  options.rounds, lambda name: print(f"preparing {name}", file=sys.stderr))
    heading, rows = benchmark.heading(), benchmark.rows(results)
    print(f"{heading}; {options.threads} threads\n{table.as_text(rows)}")
    if options.output:
        text = benchmark.as_csv(results) if options.output.endswith(".csv") else \
            f"{heading}; {options.threads} threads.\n\n{table.as_markdown(rows)}\n"
        with open(options.output, "w", encoding="utf-8") as file:
            file.write(text)
    return 1 if any(result.error for result in results) else 0


def weights(argv: Sequence[str]) -> int:
    """List, fetch, verify and convert released weights."""
    from ghost_ms.weights.cli import add_parser

    parser = argparse.ArgumentParser("ghost-ms")
    add_parser(parser.add_subparsers())
    options = parser.parse_args(["weights", *argv])
    return options.func(options)


def lite(argv: Sequence[str]) -> int:
    """Convert an exported file for MindSpore Lite, run it there, and check it."""
    from ghost_ms.deploy.lite_command import build_parser

    options = build_parser("ghost-ms lite", lite.__doc__).parse_args(argv)
    return options.func(options)


def plan(argv: Sequence[str]) -> int:
    """Compute how long a training takes on many cards, and what it costs."""
    from ghost_ms.analysis import plan as planner

    return planner.main(argv, plan.__doc__)


COMMANDS = {"train": train, "eval": evaluate, "export": export, "infer": infer, "models": models, "weights": weights,
            "bench": bench, "lite": lite, "plan": plan}


def _no_model(pattern: str) -> None:
    raise ValueError(f"no model matches '{pattern}'; `ghost-ms models` lists all")


def _size(pixels: Optional[Sequence[int]]) -> Optional[tuple]:
    """(height, width) of an --input_size with one number or two."""
    if not pixels:
        return None
    if len(pixels) > 2 or min(pixels) < 1:
        raise ValueError(f"--input_size takes one or two positive numbers, not {list(pixels)}")
    return pixels[0], pixels[-1]


def _add_network(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", help="name of the network (`ghost-ms models`)")
    parser.add_argument("--config", help="recipe that names the network")
    parser.add_argument("--ckpt", help=f"checkpoint; without it, --model and --config, the best of {QUICKSTART}")


def main(argv: Optional[List[str]] = None) -> int:
    """Run one command; bad input ends in one sentence on standard error and exit code 1."""
    argv = sys.argv[1:] if argv is None else argv
    # MindSpore logs what it also raises; the sentence printed below is enough. Must be set before its import.
    os.environ.setdefault("GLOG_v", "4")
    parser = argparse.ArgumentParser("ghost-ms", description="Efficient backbones for MindSpore.", add_help=False)
    if not argv or argv[0] in ("-h", "--help"):
        width = max(map(len, COMMANDS))
        print(f"usage: {parser.prog} COMMAND [options]\n\n{parser.description}\n\ncommands:")
        print("\n".join(f"  {name:{width}}  {function.__doc__}" for name, function in COMMANDS.items()))
        print(f"\n`{parser.prog} COMMAND --help` shows a command's options.")
        return 0 if argv else 2
    if argv[0] == "--version":
        from ghost_ms import __version__

        print(f"ghost-ms {__version__}")
        return 0
    try:
        if argv[0] not in COMMANDS:
            raise ValueError(f"there is no command '{argv[0]}'; known are {', '.join(COMMANDS)}")
        code = COMMANDS[argv[0]](argv[1:])
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # The reader of a pipe (`| head`) has seen enough; without this Python complains once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ValueError, OSError, TypeError) as error:
        if os.environ.get("GHOST_MS_TRACEBACK"):
            raise
        print(f"ghost-ms: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("ghost-ms: interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
