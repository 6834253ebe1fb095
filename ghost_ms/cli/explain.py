"""Draw on an image what the network looks at: Grad-CAM, attention rollout, or a graph's neighbours."""
from typing import Sequence

from ghost_ms.cli.parser import QUICKSTART, Parser, add_network


def main(argv: Sequence[str]) -> int:
    """Run the command; its exit code."""
    parser = Parser("ghost-ms explain", description=__doc__)
    add_network(parser)
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
