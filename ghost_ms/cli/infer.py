"""Tell what a checkpoint or an exported file makes of images: classes, or a class for every pixel."""
import itertools
import os
from typing import Callable, Sequence, Set

from ghost_ms.cli.image_paths import complain, gather
from ghost_ms.cli.parser import QUICKSTART, Parser, add_kernels, add_network
from ghost_ms.core.text import printable


def main(argv: Sequence[str]) -> int:
    """Run the command; its exit code, 1 where an image could not be used."""
    options = build_parser().parse_args(argv)
    if options.top < 1:
        raise ValueError(f"--top is {options.top}; it is 1 or more")
    if not options.images + options.image:
        raise ValueError("name at least one image, or a folder of images")
    if options.file and (options.ckpt or options.model or options.config):
        raise ValueError("--file holds the network already; leave out --ckpt, --model and --config")
    from ghost_ms.checkpoints.reconcile import say
    from ghost_ms.checkpoints.resolve import resolve
    from ghost_ms.core import device
    from ghost_ms.core.tables import require_ending
    from ghost_ms.kernels.swap import fallback
    from ghost_ms.tasks import predict

    if options.output:
        require_ending(options.output, "--output", (".csv", ".json"))
    paths, complaints = gather(options.images + options.image)
    device.setup("CPU")
    if options.file:
        predictor = predict.from_file(options.file)
    else:
        net, description = resolve(options.model, options.config, options.ckpt, QUICKSTART)
        say(fallback(net, options.kernels))
        predictor = predict.from_network(net, description)
    show = pictures_into(options.pictures, predictor.task) if options.pictures else None
    found = list(predictor.each(paths, options.top, show=show))
    results = [one for one in found if not isinstance(one, Exception)]
    if options.json:
        print(predict.as_json(results))
    elif results and options.output:
        predict.write_predictions(options.output, predictor.task, results)
        print(f"{printable(options.output)}: {len(results)} image{'s' * (len(results) > 1)}")
    elif results:
        print(predictor.as_table(results))
    for error in complaints + [one for one in found if isinstance(one, Exception)]:
        complain(error)
    return 1 if complaints or len(results) < len(found) else 0


def pictures_into(folder: str, task) -> Callable:
    """A function that writes the pictures of an image into a folder, which is made; images of one name get a number.

    Raises:
        ValueError: the task has no pictures.
    """
    from ghost_ms.core.files import whole_file
    from ghost_ms.tasks.base import Task

    if type(task).pictures is Task.pictures:
        raise ValueError(f"--pictures is for networks that give a class to every pixel, and this one is for "
                         f"{task.name}; leave it out")
    os.makedirs(folder, exist_ok=True)
    taken: Set[str] = set()

    def write(path: str, pictures) -> None:
        name = os.path.splitext(os.path.basename(path))[0]
        stem = next(one for one in itertools.chain([name], (f"{name}-{number}" for number in itertools.count(2)))
                    if one not in taken)
        taken.add(stem)
        for ending, picture in pictures.items():
            with whole_file(os.path.join(folder, f"{stem}_{ending}.png")) as temporary:
                picture.save(temporary, format="PNG")

    return write


def build_parser() -> Parser:
    """The options of this command."""
    parser = Parser("ghost-ms infer", description=__doc__)
    add_network(parser)
    parser.add_argument("--file", "--mindir", "--onnx", metavar="FILE",
                        help="exported .mindir, .onnx or .ms, with its sidecar beside it; instead of --ckpt")
    add_kernels(parser)
    parser.add_argument("images", nargs="*", metavar="PATH",
                        help="images, folders of images, or quoted patterns such as 'photos/**/*.jpg'")
    parser.add_argument("--image", nargs="+", default=[], metavar="PATH", help="images, as those without an option")
    parser.add_argument("--top", type=int, default=5,
                        help="classes to show for each image (default 5); of a network that was trained to give an "
                             "image several labels, all that reach their thresholds are shown")
    parser.add_argument("--pictures", metavar="DIR",
                        help="of a segmenter: write NAME_labels.png, the class of every pixel as an indexed picture, "
                             "and NAME_overlay.png, its colours over the image with a legend, into this folder")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print JSON instead of a table")
    form.add_argument("-o", "--output", metavar="FILE",
                      help="write the results to a .csv (one row for each image) or .json file, and print none")
    return parser
