"""Measure the accuracy of a checkpoint or an exported file on a split of the data."""
import os
import sys
from typing import Optional, Sequence

from ghost_ms.core.text import printable

#: Keys of the sections that are shown, which concern the training alone.
NOT_SHOWN = ("task.name", "task.head", "task.head_args", "model.pretrained", "model.freeze", "data.batch_size",
             "data.max_corrupt_share", "run.profile", "run.summary", "run.compile_cache", "run.seed")
#: Keys that an exported file has brought with it.
OF_CHECKPOINTS = ("model.", "task.name", "task.head", "run.dir", "run.mode", "data.input_size", "data.mean", "data.std",
                  "data.crop_ratio", "data.interpolation")


def main(argv: Sequence[str]) -> int:
    """Run the command; its exit code."""
    from ghost_ms import config

    parser = build_parser()
    recipe, options = config.parse(parser, argv)
    check(options, config.explicit_keys(argv))
    ckpt = None if options.file else options.ckpt or os.path.join(recipe.run.dir, "checkpoints", "best.ckpt")
    if ckpt and not os.path.isfile(ckpt):
        raise FileNotFoundError(f"there is no checkpoint '{ckpt}'; name one with --ckpt")
    own = None if options.config else recipe_of_run(ckpt, options.file)
    if own is not None:
        print(f"using the recipe {printable(own)}", file=sys.stderr)
        recipe, _ = config.parse(parser, ["--config", own, *argv])
    from ghost_ms.analysis import evaluation
    from ghost_ms.checkpoints.reconcile import Wish

    named = ", ".join(config.recipe_files(argv))
    wish = Wish(recipe, frozenset(config.explicit_keys(argv)), own or named, beside=own is not None)
    found = evaluation.of_checkpoint(ckpt, wish, options.split) if ckpt else \
        evaluation.of_file(options.file, wish, options.split)
    tell(found, ckpt or options.file, recipe.data.dataset, options)
    return 0


def build_parser():
    """The keys of a recipe that evaluation reads, and the options of this command."""
    from jsonargparse import SUPPRESS

    from ghost_ms import config
    from ghost_ms.cli.parser import PRECEDENCE

    parser = config.build_parser("ghost-ms eval", __doc__, sections=("model", "data", "task", "run"))
    parser.epilog = PRECEDENCE
    for action in parser._actions:
        if action.dest in NOT_SHOWN:
            action.help = SUPPRESS
    parser.add_argument("--ckpt", type=Optional[str], metavar="FILE",
                        help="checkpoint; by default the best of run.dir. Without --config the recipe of the run that "
                             "it lies in is used")
    parser.add_argument("--file", type=Optional[str], metavar="FILE",
                        help="exported .mindir, .onnx or .ms, with its sidecar beside it; instead of --ckpt. Classes "
                             "and preprocessing are the sidecar's, the data the recipe's")
    parser.add_argument("--split", type=str, default="val", metavar="NAME",
                        help="split of the data to measure on: val, what a training evaluates on (default); test, the "
                             "data set's own test split; or train")
    parser.add_argument("--per_class", action="store_true",
                        help="print precision, recall and F1 of every class, and their means")
    parser.add_argument("--confusion", nargs="?", const="-", metavar="FILE",
                        help="print the confusion matrix, or write it to a .csv or .png file")
    parser.add_argument("--choose_threshold", action="store_true",
                        help="of a detector's file: find the score of each class with the best F1 at IoU 0.5, and "
                             "write them into its sidecar; `ghost-ms infer` tells what lies above")
    parser.add_argument("-o", "--output", type=Optional[str], metavar="FILE",
                        help="write every prediction: .csv, one row for each image; or .json, with all measures")
    return parser


def check(options, given: Sequence[str]) -> None:
    """ValueError for options that exclude each other, or a file that cannot be written, before the work."""
    from ghost_ms.core.tables import require_ending
    from ghost_ms.data.datasets import SPLITS

    if options.split not in SPLITS:
        raise ValueError(f"--split is '{options.split}'; known are {' and '.join(SPLITS)}")
    if options.confusion not in (None, "-"):
        require_ending(options.confusion, "--confusion", (".csv", ".png"))
    if options.output:
        require_ending(options.output, "--output", (".csv", ".json"))
    if options.choose_threshold and not options.file:
        raise ValueError("--choose-threshold writes the thresholds into the sidecar of an exported file; name it with "
                         "--file")
    if options.file:
        if options.ckpt:
            raise ValueError("--file holds the network already; leave out --ckpt")
        extra = [key for key in given if key.startswith(OF_CHECKPOINTS)]
        if extra:
            raise ValueError(f"--file brings its network and preprocessing with it; leave out --{extra[0]}")


def recipe_of_run(ckpt: Optional[str], file: Optional[str]) -> Optional[str]:
    """The recipe of the run that has written a checkpoint, or in whose folder an exported file lies; else None."""
    from ghost_ms.checkpoints.run_folder import RECIPE, is_run, recipe_of

    if ckpt:
        return recipe_of(ckpt)
    folder = os.path.dirname(file)
    return os.path.join(folder, RECIPE) if is_run(folder) else None


def tell(found, path: str, dataset: str, options) -> None:
    """Print and write what the options ask for."""
    from ghost_ms.core.tables import as_text
    from ghost_ms.tasks.predict import write_predictions

    judgement, split = found.judgement, "" if options.split == "val" else f", split {printable(options.split)}"
    if options.confusion and not judgement.confusable:
        judgement.confusion_text()  # Says why there is none.
    print(f"{printable(found.model)}: {judgement.headline()} on {found.source.size} images of {dataset}{split}")
    if options.per_class:
        print(as_text(judgement.class_rows()))
    if options.choose_threshold:
        _choose(judgement, path, found.source.classes)
    if options.confusion == "-":
        print(judgement.confusion_text())
    elif options.confusion:
        judgement.write_confusion(options.confusion)
        print(f"wrote {printable(options.confusion)}")
    if options.output:
        facts = {"model": found.model, "file": path, "data": dataset, "split": options.split, **judgement.as_dict()}
        write_predictions(options.output, found.task, list(judgement.results(found.name)), facts)
        print(f"wrote {printable(options.output)}")


def _choose(judgement, path: str, classes: Sequence[str]) -> None:
    """Write the thresholds of the best F1 into the sidecar of a file, and print them."""
    from ghost_ms.runtime.sidecar import set_thresholds, sidecar_path

    thresholds, f1 = judgement.thresholds()
    set_thresholds(path, thresholds)
    for name, threshold, value in zip(classes, thresholds, f1):
        print(f"{printable(name)}: {threshold:.3f}, " + ("nothing of it was found" if value != value else
                                                        f"F1 {100 * value:.2f} %"))
    print(f"wrote {printable(sidecar_path(path))}")
