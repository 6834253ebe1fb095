"""Classify images with a checkpoint or an exported file."""
from typing import Sequence

from ghost_ms.cli.parser import QUICKSTART, Parser, add_network


def main(argv: Sequence[str]) -> int:
    """Run the command; its exit code."""
    parser = Parser("ghost-ms infer", description=__doc__)
    add_network(parser)
    parser.add_argument("--file", "--mindir", "--onnx", metavar="FILE",
                        help="exported .mindir, .onnx or .ms, with its sidecar beside it; instead of --ckpt")
    parser.add_argument("images", nargs="*", metavar="PATH", help="images, or folders of images")
    parser.add_argument("--image", nargs="+", default=[], metavar="PATH", help="the same")
    parser.add_argument("--top", type=int, default=5, help="classes to show for each image (default 5)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args(argv)
    if options.top < 1:
        raise ValueError(f"--top is {options.top}; it is 1 or more")
    images = options.images + options.image
    if not images:
        raise ValueError("name at least one image, or a folder of images")
    from ghost_ms import device
    from ghost_ms.deploy import predict
    from ghost_ms.deploy.resolve import resolve

    paths = predict.find_images(images)
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
