"""Look at a data set: count it (stats), draw what the network sees of it (show), find what cannot be read (check); or
write the embedded one of made images as files (canvas)."""
import sys
from typing import Callable, Dict, Sequence

from ghost_ms.core.text import printable

ACTIONS = {
    "stats": "count the images of every class and split, their sizes and formats, and find images that are there twice",
    "show": "draw training images after augmentation and images to evaluate on after preprocessing, with their classes",
    "check": "name every image that cannot be read or whose map of labels does not belong to it; exit code 1 where "
             "there is one",
    "canvas": "write fashion_canvas, garments on made canvases with exact masks and boxes, as PASCAL VOC or as COCO",
}
#: Images of a picture that can still be looked at, and drawn.
MOST_IMAGES = 200


def main(argv: Sequence[str]) -> int:
    """Run the command; its exit code."""
    if not argv or argv[0] in ("-h", "--help"):
        print(f"usage: ghost-ms data ACTION [--data.root DIR] [--config RECIPE] [options]\n\n{__doc__}\n\nactions:\n"
              + "\n".join(f"  {name:6}  {text}" for name, text in ACTIONS.items())
              + "\n\n`ghost-ms data ACTION --help` shows an action's options.")
        # As argparse ends after a help.
        sys.exit(0 if argv else 2)
    from ghost_ms import config

    config.one_of("the action", argv[0], tuple(ACTIONS))
    if argv[0] == "canvas":
        return _canvas(argv[1:])
    recipe, options = config.parse(build_parser(argv[0]), argv[1:])
    runs: Dict[str, Callable] = {"stats": _stats, "show": _show, "check": _check}
    return runs[argv[0]](recipe, options)


def build_parser(action: str = "stats"):
    """The keys of a recipe that an action reads, and its options."""
    from ghost_ms import config

    parser = config.build_parser(f"ghost-ms data {action}", ACTIONS[action],
                                 sections=("model", "data", "augment", "task", "run") if action == "show" else (
                                     "data", "task"))
    if action == "show":
        parser.add_argument("-n", "--images", type=int, default=16, metavar="N",
                            help="images of each kind (default 16)")
        parser.add_argument("-o", "--output", default="data.png", metavar="FILE.png", help="picture (default data.png)")
    if action == "check":
        parser.add_argument("--full", action="store_true",
                            help="decode every image wholly, instead of looking at its beginning and its end")
    return parser


def _canvas(argv: Sequence[str]) -> int:
    from ghost_ms.cli.parser import Parser
    from ghost_ms.data.canvas import LAYOUTS

    parser = Parser("ghost-ms data canvas", description=ACTIONS["canvas"])
    parser.add_argument("folder", metavar="OUT", help="folder to write, which is made or is empty")
    parser.add_argument("--layout", choices=sorted(LAYOUTS), default="voc",
                        help="voc: JPEGImages, SegmentationClass, Annotations (default); coco: images and "
                             "annotations/instances_*.json")
    options = parser.parse_args(argv)
    print(f"wrote {LAYOUTS[options.layout](options.folder)} images into {printable(options.folder)}")
    return 0


def _stats(recipe, options) -> int:
    from ghost_ms.analysis.data import stats

    print(stats.report(recipe))
    return 0


def _show(recipe, options) -> int:
    if not 1 <= options.images <= MOST_IMAGES:
        raise ValueError(f"--images is {options.images}; it is 1 to {MOST_IMAGES}")
    if not options.output.endswith(".png"):
        raise ValueError(f"--output is '{options.output}'; it ends in .png")
    from ghost_ms.analysis.data import show

    for line in show.draw(options.output, show.panels(recipe, options.images)):
        print(line, file=sys.stderr)
    print(f"wrote {printable(options.output)}")
    return 0


def _check(recipe, options) -> int:
    from ghost_ms.analysis.data import stats

    images = bad = 0
    for split, source in stats.open_all(recipe).items():
        for note in source.notes:
            print(f"{split}: {note}")
        found = stats.faults(source, options.full)
        print("\n".join(f"{split}: {name}: {reason}" for name, reason in found) or f"{split}: nothing is wrong with "
              f"{source.size} images")
        images, bad = images + source.size, bad + len(found)
    print(f"{bad} of {images} images cannot be used")
    return 1 if bad else 0
