"""The commands `ghost-ms train|eval|export|infer|models|info|...`; train.py and its sisters lead here."""
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
    if not os.path.isfile(ckpt):
        raise FileNotFoundError(f"there is no checkpoint '{ckpt}'; name one with --ckpt")
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
    from ghost_ms.models import list_models, table

    parser = argparse.ArgumentParser("ghost-ms models", description=models.__doc__)
    parser.add_argument("pattern", nargs="?", default="*", help="shell pattern of names, such as 'ghostnet*'")
    parser.add_argument("--family", help="only this family, such as ghostnetv2")
    parser.add_argument("--sort", choices=table.ORDERS, default="name",
                        help="ascending order (default name); what lacks the figure comes last")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--csv", action="store_true", help="print every figure in full")
    form.add_argument("--markdown", action="store_true", help="print a Markdown table")
    form.add_argument("--update", metavar="FILE",
                      help="put that table between the marks of a file, such as README.md")
    options = parser.parse_args(argv)
    names = table.arrange(list_models(options.pattern) or _no_model(options.pattern), options.sort, options.family)
    if options.csv:
        print(table.as_csv(names), end="")
    elif options.markdown or options.update:
        text = table.as_markdown(table.rows(names, table.MARKDOWN_COLUMNS))
        table.update(options.update, "models", text) if options.update else print(text)
    else:
        print(table.as_text(table.rows(names)))
    return 0


def info(argv: Sequence[str]) -> int:
    """Show what a network costs, layer by layer, how to feed it and where it comes from."""
    parser = argparse.ArgumentParser("ghost-ms info", description=info.__doc__)
    parser.add_argument("model", help="name of the network (`ghost-ms models`)")
    parser.add_argument("--input_size", type=int, nargs="+", metavar="PIXELS",
                        help="height and width, or one number for both; by default the published size")
    parser.add_argument("--depth", type=int, default=2,
                        help="components of a layer's name that make a row (default 2); 0 shows every layer")
    parser.add_argument("--deploy", action="store_true",
                        help="the form that is exported: branches fused, BatchNorm folded")
    options = parser.parse_args(argv)
    if options.depth < 0:
        raise ValueError(f"--depth is {options.depth}; it is 0 or more")
    from ghost_ms import device
    from ghost_ms.analysis.summary import summary

    device.setup("CPU", mode="pynative")
    print(summary(options.model, _size(options.input_size), options.depth, options.deploy))
    return 0


def bench(argv: Sequence[str]) -> int:
    """Measure latency, memory and size of networks side by side."""
    from ghost_ms.analysis import benchmark, plots
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
    parser.add_argument("--plot", metavar="FILE.png",
                        help="draw the published top-1 accuracy against the measured latency")
    options = parser.parse_args(argv)
    names = [name for pattern in options.models for name in list_models(pattern) or _no_model(pattern)]
    for key in ("threads", "batch", "rounds"):
        if getattr(options, key) < 1:
            raise ValueError(f"--{key} is {getattr(options, key)}; it is 1 or more")
    if options.output and not options.output.endswith((".csv", ".md")):
        raise ValueError(f"--output is '{options.output}'; it ends in .csv or .md")
    if options.plot:
        if not options.plot.endswith(".png"):
            raise ValueError(f"--plot is '{options.plot}'; it ends in .png")
        plots.require_published(names)
    results = benchmark.benchmark(names, options.backend, options.batch, _size(options.input_size), options.threads,
                                  options.rounds, lambda name: print(f"preparing {name}", file=sys.stderr))
    heading, rows = benchmark.heading(), benchmark.rows(results)
    print(f"{heading}; {options.threads} threads\n{table.as_text(rows)}")
    if options.output:
        text = benchmark.as_csv(results) if options.output.endswith(".csv") else \
            f"{heading}; {options.threads} threads.\n\n{table.as_markdown(rows)}\n"
        with open(options.output, "w", encoding="utf-8") as file:
            file.write(text)
    if options.plot:
        plots.draw_accuracy_latency(options.plot, results)
    return 1 if any(result.error for result in results) else 0


def explain(argv: Sequence[str]) -> int:
    """Draw on an image what the network looks at: Grad-CAM, attention rollout, or a graph's neighbours."""
    parser = argparse.ArgumentParser("ghost-ms explain", description=explain.__doc__)
    _add_network(parser)
    parser.add_argument("--image", nargs="+", required=True, metavar="PATH", help="images, or folders of images")
    parser.add_argument("--method", choices=["gradcam", "rollout", "neighbours"],
                        help="gradcam: any network; rollout: attention between patches; neighbours: graph networks; by "
                             "default what belongs to the family")
    parser.add_argument("--stage", type=int, default=-1,
                        help="which map, counted from 0, negative from the end (default -1, the last)")
    parser.add_argument("--class", dest="target", help="name or number of the class that Grad-CAM explains; by default "
                                                       "the predicted one")
    parser.add_argument("--patch", type=int, nargs=2, metavar=("ROW", "COLUMN"),
                        help="patch whose neighbours are drawn; by default the one in the middle")
    parser.add_argument("-o", "--output", help="picture to write; by default IMAGE_METHOD.png beside each image")
    options = parser.parse_args(argv)
    from ghost_ms import device
    from ghost_ms.analysis import explain as explaining
    from ghost_ms.analysis.saliency import METHODS
    from ghost_ms.deploy.predict import find_images
    from ghost_ms.deploy.resolve import resolve

    # Pictures that an earlier call left in a folder are not explained in their turn.
    paths = [path for path in find_images(options.image)
             if path in options.image or not path.endswith(tuple(f"_{method}.png" for method in METHODS))]
    if options.output and len(paths) > 1:
        raise ValueError(f"--output names one picture, but there are {len(paths)} images; leave it out")
    device.setup("CPU", mode="pynative")
    net, description = resolve(options.model, options.config, options.ckpt, QUICKSTART)
    method = options.method or explaining.default_method(net)
    target = explaining.class_index(options.target, description.classes)
    for path in paths:
        output = options.output or explaining.default_output(path, method)
        print(explaining.explain(net, description, path, output, method, options.stage, target,
                                 options.patch and tuple(options.patch)))
    return 0


def report(argv: Sequence[str]) -> int:
    """Write one HTML page about runs and benchmarks: curves, mistakes, accuracy against cost."""
    parser = argparse.ArgumentParser("ghost-ms report", description=report.__doc__)
    parser.add_argument("paths", nargs="+", metavar="RUN|BENCH",
                        help="folders of runs, and CSV files that `ghost-ms bench --output` or `ghost-ms verify` wrote")
    parser.add_argument("-o", "--output", default="report.html", help="page to write (default report.html)")
    parser.add_argument("--no-predictions", action="store_true",
                        help="leave out confusion matrix and mistakes, for which the best checkpoint of each run "
                             "classifies the run's test data")
    options = parser.parse_args(argv)
    from ghost_ms.analysis import report as pages

    runs, benches = pages.gather(options.paths, not options.no_predictions)
    pages.write(options.output, pages.page(runs, benches))
    print(f"{options.output}: {len(runs)} runs, {len(benches)} measurements, "
          f"{os.path.getsize(options.output) / 1e3:.0f} kB")
    return 0


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


def quantize(argv: Sequence[str]) -> int:
    """Make an exported network int8, calibrated with images, and compare it with the float one."""
    from ghost_ms.deploy.quantize_command import build_parser, run_quantize

    return run_quantize(build_parser("ghost-ms quantize", quantize.__doc__).parse_args(argv))


def verify(argv: Sequence[str]) -> int:
    """Write networks in every format, run the files, compare them with the networks and time them."""
    from ghost_ms.deploy.verify_command import run_verify

    return run_verify("ghost-ms verify", verify.__doc__, argv)


def plan(argv: Sequence[str]) -> int:
    """Compute how long a training takes on many cards, and what it costs."""
    from ghost_ms.analysis import plan as planner

    return planner.main(argv, plan.__doc__)


def runs(argv: Sequence[str]) -> int:
    """Compare finished runs: accuracy, speed, memory, and where their recipes differ."""
    from ghost_ms.analysis import runs as comparison

    return comparison.main(argv, runs.__doc__)


COMMANDS = {"train": train, "eval": evaluate, "export": export, "infer": infer, "explain": explain, "models": models,
            "info": info, "weights": weights, "runs": runs, "report": report, "bench": bench, "plan": plan,
            "lite": lite, "quantize": quantize, "verify": verify}


def _no_model(pattern: str) -> List[str]:
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


def _sentence(error: Exception) -> str:
    """What to tell the user of an error; Python's own words for missing packages and files lack the remedy."""
    if isinstance(error, ModuleNotFoundError):
        version = "" if (3, 9) <= sys.version_info[:2] <= (3, 12) else \
            f", and this is Python {sys.version_info[0]}.{sys.version_info[1]}: MindSpore 2.8 is for 3.9 to 3.12"
        return (f"the package '{error.name}' is not installed for {sys.executable}{version}; run "
                "`source .venv/bin/activate` where scripts/quickstart.sh has made .venv, or `pip install -c "
                "constraints.txt .` in the folder of ghost_ms")
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"cannot open '{error.filename}': {error.strerror}"
    return str(error)


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
        if code == 0 and os.environ.get("GHOST_MS_DONE"):
            # For scripts/worker.py, which tells a crash of the work from one of MindSpore's leaving.
            with open(os.environ["GHOST_MS_DONE"], "w"):
                pass
        return code
    except BrokenPipeError:
        # The reader of a pipe (`| head`) has seen enough; without this Python complains once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ValueError, OSError, TypeError, ModuleNotFoundError) as error:
        if os.environ.get("GHOST_MS_TRACEBACK"):
            raise
        print(f"ghost-ms: error: {' '.join(_sentence(error).split())}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("ghost-ms: interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
