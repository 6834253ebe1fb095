"""Compute how long a training takes on many cards, and what it costs."""
import argparse
from typing import Sequence

from ghost_ms.cli.parser import Parser, add_input_size


def main(argv: Sequence[str]) -> int:
    """Run the command; its exit code."""
    options = build_parser().parse_args(argv)
    from ghost_ms.analysis.measure import plan

    print("\n\n".join(plan.run(options)))
    return 0


def build_parser() -> Parser:
    """The options of this command."""
    from ghost_ms.analysis.measure.hardware import CARDS
    from ghost_ms.analysis.measure.plan import IMAGENET

    parser = Parser("ghost-ms plan", description=__doc__)
    parser.add_argument("--model", help="name of the network (`ghost-ms models`)")
    parser.add_argument("--config", help="recipe that gives model, batch, epochs and input size; options override it")
    parser.add_argument("--cards", type=int, nargs="+", default=[8], help="numbers of cards to plan for (default 8)")
    parser.add_argument("--card", type=_card, choices=list(CARDS), default="910",
                        help="kind of card; a3 is the 910C of Atlas A3, whose two dies are a device each (default 910)")
    parser.add_argument("--batch", type=int, help="images of a step on each device (default 256, or the recipe's)")
    parser.add_argument("--epochs", type=int, help="length of the recipe (default 90, or the recipe's)")
    parser.add_argument("--images", type=int, default=int(IMAGENET.value), help="images of an epoch (default ImageNet)")
    add_input_size(parser, "the network's published size")
    parser.add_argument("--step_ms", type=float, help="measured step on one device, instead of arithmetic and memory")
    parser.add_argument("--peak", type=float, help="TFLOP/s of a device")
    parser.add_argument("--efficiency", type=float, help="share of the peak that is reached")
    parser.add_argument("--memory", type=float, help="GB/s of a device's memory")
    parser.add_argument("--link", type=float, help="GB/s between the devices of a server")
    parser.add_argument("--network", type=float, help="GB/s of a device's network port")
    parser.add_argument("--server", type=int, help="devices of a server")
    parser.add_argument("--cores", type=int, help="CPU cores for each device")
    parser.add_argument("--decode", type=float, help="images/s that a core decodes and augments")
    parser.add_argument("--price", type=float, help="price of a card for an hour, in any currency")
    return parser


def _card(text: str) -> str:
    """The name of a card as `CARDS` has it, from the names that people and tools have for it."""
    from ghost_ms.analysis.measure.hardware import ALSO, AMBIGUOUS

    name = "".join(text.lower().split())
    if name in AMBIGUOUS:
        raise argparse.ArgumentTypeError(f"{AMBIGUOUS[name]}; name one of them")
    return ALSO.get(name, name)
