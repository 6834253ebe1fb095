"""Make an exported network int8, calibrated with images, and compare it with the float one."""
from typing import Sequence

from ghost_ms.cli.parser import PRECEDENCE, Parser


def main(argv: Sequence[str]) -> int:
    """Run the command; its exit code."""
    options = build_parser().parse_args(argv)
    from ghost_ms.deploy.quantize.run import Options, run_quantize

    return run_quantize(Options(**vars(options)))


def build_parser() -> Parser:
    """The options of this command."""
    parser = Parser("ghost-ms quantize", description=__doc__, epilog=PRECEDENCE)
    parser.add_argument("model", nargs="?", help="exported float .onnx with its sidecar beside it; or give --ckpt")
    parser.add_argument("--ckpt", help="checkpoint that is exported first (one image a call)")
    parser.add_argument("--calibrate", required=True, metavar="WHERE",
                        help="folder of images, or recipe (.yaml) whose training images are used")
    parser.add_argument("--root", help="folder of the recipe's data set, where the recipe does not name it")
    parser.add_argument("--samples", type=int, default=128, help="images to calibrate with (default 128)")
    parser.add_argument("--exclude", nargs="+", default=[], metavar="NAME",
                        help="layers to leave in float: names, or shell patterns such as '*/se/*'")
    parser.add_argument("--analyse", action="store_true",
                        help="rank the layers by the error that each causes when it alone is quantised; without -o and "
                             "--exclude-worst nothing else is done")
    parser.add_argument("--csv", metavar="FILE", help="write the whole ranking to a file")
    parser.add_argument("--exclude-worst", type=int, default=0, metavar="K",
                        help="analyse, and leave the K layers of the largest error in float")
    parser.add_argument("--reduce-range", action="store_true",
                        help="weights of 7 bits, for x86 processors without VNNI, whose int8 products may saturate")
    parser.add_argument("--agreement", type=float, default=0.9, metavar="SHARE",
                        help="smallest share of the calibration images for which the int8 file has to give the result "
                             "of the float one, such as the same class (default 0.9); otherwise nothing is written")
    parser.add_argument("--evaluate", action="store_true",
                        help="measure both files on the recipe's validation split, as `ghost-ms eval` does")
    parser.add_argument("-o", "--output", metavar="FILE",
                        help="file to write: .onnx (default MODEL_int8.onnx), or .ms for MindSpore Lite, where the "
                             "weights alone become int8")
    return parser
