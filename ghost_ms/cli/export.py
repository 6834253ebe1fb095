"""Write a network as MINDIR or ONNX with BatchNorm folded, run the file, and compare."""
from typing import Sequence

from ghost_ms.cli.parser import QUICKSTART, Parser, add_input_size, add_network


def main(argv: Sequence[str]) -> int:
    """Run the command; its exit code."""
    options = build_parser().parse_args(argv)
    if options.batch_size < 0:
        raise ValueError(f"--batch_size is {options.batch_size}; it is 1 or more, or 0 for any")
    from ghost_ms.deploy.run import Options, run_export

    return run_export(Options(**vars(options)), QUICKSTART)


def build_parser() -> Parser:
    """The options of this command."""
    parser = Parser("ghost-ms export", description=__doc__)
    add_network(parser)
    parser.add_argument("--format", "--file_format", type=str.upper, choices=["MINDIR", "ONNX", "AIR"],
                        default="MINDIR", help="format of the file (default MINDIR); AIR needs an Ascend device")
    parser.add_argument("--output", help="file to write; by default MODEL.mindir or MODEL.onnx in the working folder")
    parser.add_argument("--batch_size", type=int, default=1, help="images of a call; 0 leaves it open (default 1)")
    add_input_size(parser, "what the network was trained for")
    parser.add_argument("--softmax", action="store_true", help="append a softmax: the file gives probabilities")
    parser.add_argument("--argmax", action="store_true",
                        help="of a segmenter: the file gives the class of every pixel, not logits")
    parser.add_argument("--preprocess", choices=["outside", "in-graph"], default="outside",
                        help="in-graph: the file takes uint8 images (N, height, width, channels) and normalises them "
                             "itself (default outside)")
    parser.add_argument("--dry-run", action="store_true",
                        help="print how many operators the graph has before and after folding; write nothing")
    return parser
