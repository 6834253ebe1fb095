"""Show what a network costs, layer by layer, how to feed it and where it comes from."""
from typing import Sequence

from ghost_ms.cli.parser import Parser, add_input_size


def main(argv: Sequence[str]) -> int:
    """Run the command; its exit code."""
    options = build_parser().parse_args(argv)
    if options.depth < 0:
        raise ValueError(f"--depth is {options.depth}; it is 0 or more")
    from ghost_ms.analysis.measure.summary import summary
    from ghost_ms.core import device

    device.setup("CPU", mode="pynative")
    print(summary(options.model, options.input_size, options.depth, options.deploy, options.head))
    return 0


def build_parser() -> Parser:
    """The options of this command."""
    parser = Parser("ghost-ms info", description=__doc__)
    parser.add_argument("model", help="name of the network (`ghost-ms models`)")
    add_input_size(parser, "the published size")
    parser.add_argument("--depth", type=int, default=2,
                        help="components of a layer's name that make a row (default 2); 0 shows every layer")
    parser.add_argument("--head", help="a head of task.head, such as lraspp, that stands behind the network as a "
                                       "backbone; it is counted for as many classes as the network's card has")
    parser.add_argument("--deploy", action="store_true",
                        help="the form that is exported: branches fused, BatchNorm folded")
    return parser
