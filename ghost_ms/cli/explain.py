"""Draw on an image what the network looks at: Grad-CAM, attention rollout, or a graph's neighbours."""
from typing import Sequence

from ghost_ms.cli.image_paths import complain, gather
from ghost_ms.cli.parser import QUICKSTART, Parser, add_network


def main(argv: Sequence[str]) -> int:
    """Run the command; its exit code, 1 where an image could not be explained."""
    options = build_parser().parse_args(argv)
    words = options.images + options.image
    if not words:
        raise ValueError("name at least one image, or a folder of images")
    from ghost_ms.analysis.explain import explain as explaining
    from ghost_ms.checkpoints.resolve import resolve
    from ghost_ms.core import device

    paths, complaints = gather(words)
    # Pictures that an earlier call left in a folder are not explained in their turn.
    paths = [path for path in paths if path in words or not explaining.is_explanation(path)]
    if not paths:
        raise ValueError("the folder holds no image but the pictures that earlier calls have written")
    device.setup("CPU", mode="pynative")
    net, description = resolve(options.model, options.config, options.ckpt, QUICKSTART)
    method = options.method or explaining.default_method(net)
    target = explaining.class_index(options.target, description.classes)
    for path, output in explaining.outputs(paths, method, options.output).items():
        try:
            seen = explaining.read_seen(path, description.preprocessing)
        except (ValueError, OSError) as error:
            complaints.append(error)
            continue
        print(explaining.explain(net, description, seen, output, method, options.stage, target,
                                 options.patch and tuple(options.patch)))
    for error in complaints:
        complain(error)
    return 1 if complaints else 0


def build_parser() -> Parser:
    """The options of this command."""
    parser = Parser("ghost-ms explain", description=__doc__)
    add_network(parser)
    parser.add_argument("images", nargs="*", metavar="PATH",
                        help="images, folders of images, or quoted patterns such as 'photos/**/*.jpg'")
    parser.add_argument("--image", nargs="+", default=[], metavar="PATH", help="the same")
    parser.add_argument("--method", choices=["gradcam", "rollout", "neighbours"],
                        help="gradcam: any network; rollout: attention between patches; neighbours: graph networks; by "
                             "default what belongs to the family")
    parser.add_argument("--stage", type=int, default=-1,
                        help="which map, counted from 0, negative from the end (default -1, the last)")
    parser.add_argument("--class", dest="target", help="name or number of the class that Grad-CAM explains; by default "
                                                       "the predicted one")
    parser.add_argument("--patch", type=int, nargs=2, metavar=("ROW", "COLUMN"),
                        help="patch whose neighbours are drawn; by default the one in the middle")
    parser.add_argument("-o", "--output", metavar="PATH",
                        help="folder for the pictures or, for one image, the picture to write (.png); by default "
                             "IMAGE_ENDING_METHOD.png beside each image")
    return parser
