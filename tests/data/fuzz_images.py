"""Damages small image files at random and takes them the whole way: decoding, evaluation's preprocessing, training's
transform. Each ends in pixels or in a ValueError, soon and in little memory.

    python -m tests.data.fuzz_images --cases 10000

A case is a function of seed and number alone. Each process has an address space of its own size, so that a decoder that
takes more memory than the limit of pixels allows fails; one that crashes or hangs is told with the number of the case.
"""
import argparse
import collections
import io
import multiprocessing
import random
import resource
import struct
import sys
import time
import warnings
import zlib

import numpy as np
from PIL import Image, PngImagePlugin

#: Pixels that the decoder may be asked for here, and the address space that a case may take beyond the start's.
PIXELS, ROOM = 1 << 22, 384 << 20
#: Seconds of CPU after which a case counts as hanging.
SECONDS = 20


def _saved(image, format, **options):
    file = io.BytesIO()
    image.copy().save(file, format, **options)  # saving leaves settings behind in an image
    return file.getvalue()


def _more(image):
    return dict(save_all=True, append_images=[image.rotate(90), image.rotate(180)])


def sources():
    """Name (its part before the dash is the format) -> bytes of small files of every kind."""
    draw = np.random.default_rng(0)
    colour = Image.fromarray(draw.integers(0, 256, (6, 8, 3), dtype=np.uint8)).resize((37, 29))
    grey, alpha, palette = colour.convert("L"), colour.convert("RGBA"), colour.quantize(20)
    deep = Image.fromarray((np.arange(37 * 29, dtype=np.uint16) * 61).reshape(29, 37))
    exif, text = Image.Exif(), PngImagePlugin.PngInfo()
    exif[0x10F], exif[0x112] = "maker", 6
    text.add_text("comment", "some text" * 20, zip=True)
    return {
        "jpeg-plain": _saved(colour, "JPEG"), "jpeg-exif": _saved(colour, "JPEG", exif=exif, dpi=(72, 72)),
        "jpeg-progressive": _saved(colour, "JPEG", progressive=True, subsampling=2), "jpeg-grey": _saved(grey, "JPEG"),
        "jpeg-cmyk": _saved(colour.convert("CMYK"), "JPEG", exif=exif),
        "jpeg-mpo": _saved(colour, "MPO", **_more(colour)),
        "png-colour": _saved(colour, "PNG", pnginfo=text, exif=exif), "png-alpha": _saved(alpha, "PNG"),
        "png-palette": _saved(palette, "PNG", transparency=b"\0\1\2"), "png-deep": _saved(deep, "PNG"),
        "png-moving": _saved(colour, "PNG", **_more(colour)),
        "png-icc": _saved(colour, "PNG", icc_profile=bytes(500)), "png-two": _saved(grey.convert("1"), "PNG"),
        "bmp-colour": _saved(colour, "BMP"), "bmp-palette": _saved(palette, "BMP"), "bmp-alpha": _saved(alpha, "BMP"),
        "bmp-runs": _run_length_bmp(),
        "tiff-raw": _saved(colour, "TIFF", exif=exif), "tiff-lzw": _saved(colour, "TIFF", compression="tiff_lzw"),
        "tiff-deflate": _saved(grey, "TIFF", compression="tiff_adobe_deflate"),
        "tiff-jpeg": _saved(colour, "TIFF", compression="jpeg"), "tiff-deep": _saved(deep, "TIFF"),
        "tiff-fax": _saved(grey.convert("1"), "TIFF", compression="group4"),
        "tiff-pages": _saved(grey, "TIFF", **_more(colour)),
        "webp-lossy": _saved(colour, "WEBP", exif=exif), "webp-lossless": _saved(alpha, "WEBP", lossless=True),
        "webp-moving": _saved(colour, "WEBP", **_more(colour)),
        "gif-still": _saved(palette, "GIF", transparency=3), "gif-moving": _saved(colour, "GIF", **_more(colour)),
        "ppm-colour": _saved(colour, "PPM"), "ppm-deep": b"P5 4 3 65535\n" + bytes(range(24)),
        "ppm-text": b"P3\n# text\n3 2\n15\n" + b" ".join(b"%d" % (value % 16) for value in range(18)) + b"\n",
        "ppm-bits": b"P1\n4 2\n0 1 1 0\n1 0 0 1\n", "ppm-levels": b"P6 2 2 100\n" + bytes(range(12)),
    }


def _run_length_bmp():
    """8 bits a pixel, run-length encoded, which Pillow reads and does not write."""
    runs = b"".join(bytes((8, level)) + b"\0\0" for level in range(6)) + b"\0\1"
    header = struct.pack("<IiiHHIIiiII", 40, 8, 6, 1, 8, 1, len(runs), 2835, 2835, 256, 0)
    colours = b"".join(bytes((level, level, level, 0)) for level in range(256))
    offset = 14 + len(header) + len(colours)
    return b"BM" + struct.pack("<IHHI", offset + len(runs), 0, 0, offset) + header + colours + runs


def damage(data, draw):
    """(kind, bytes): a damaged copy of `data`."""
    kind = draw.choice(("cut", "bits", "bytes", "removed", "repeated", "head", "number", "number", "checked"))
    start = draw.randrange(len(data))
    end = min(len(data), start + draw.choice((1, 2, 8, 64, 512)))
    if kind == "cut":
        return kind, data[:start]
    if kind == "removed":
        return kind, data[:start] + data[end:]
    if kind == "repeated":
        return kind, data[:end] + data[start:]
    changed = bytearray(data)
    reach = min(len(data), 200) if kind in ("head", "number") else len(data)
    for _ in range(draw.choice((1, 1, 2, 8))):
        at = draw.randrange(reach)
        if kind == "number":  # sizes, counts and offsets are what decoders believe
            width = draw.choice((1, 2, 4))
            value = draw.choice((0, 1, 2 ** (8 * width) - 1, 2 ** (8 * width - 1), draw.randrange(2 ** (8 * width))))
            changed[at:at + width] = value.to_bytes(width, draw.choice(("big", "little")))
        else:
            changed[at] = draw.randrange(256) if kind == "bytes" else changed[at] ^ 1 << draw.randrange(8)
    return kind, checked(bytes(changed)) if kind in ("checked", "number") else bytes(changed)


def checked(data):
    """A PNG whose checksums are right again, so that what is behind them is reached."""
    if data[:8] != b"\x89PNG\r\n\x1a\n":
        return data
    parts, at = [data[:8]], 8
    while at + 8 <= len(data):
        end = at + 8 + int.from_bytes(data[at:at + 4], "big")
        if end + 4 > len(data):
            break
        parts.append(data[at:end] + zlib.crc32(data[at + 4:end]).to_bytes(4, "big"))
        at = end + 4
    return b"".join(parts) + data[at:]


def attempt(data):
    """'read' or 'refused'; any other exception is the caller's to see."""
    from ghost_ms.config import AugmentConfig
    from ghost_ms.data.decode import decode
    from ghost_ms.data.transforms import Preprocessing, TrainingTransform

    spec = Preprocessing((16, 24), 3, (0.5,) * 3, (0.25,) * 3, 0.875, "bicubic", True)
    grey = Preprocessing((16, 24), 1, (0.5,), (0.25,), 1.0, "bilinear", False)
    outcomes = set()
    for each in (spec, grey):
        try:
            pixels = each(data)
            outcomes.add("read")
            assert pixels.shape == (each.channels, 16, 24) and pixels.dtype == np.float32 and np.isfinite(pixels).all()
            image = TrainingTransform(each, AugmentConfig(auto_augment="rand-m9-mstd0.5-inc1"), True)(
                decode(data, each.channels, each.orient), np.random.default_rng(0))
            assert image.shape == (16, 24, each.channels) and image.dtype == np.uint8
        except ValueError as error:
            assert str(error).startswith("not a readable image: ") and str(error).isprintable(), error
            outcomes.add("refused")
    return "read" if "read" in outcomes else "refused"


def case_of(number, seed, files):
    """(name, kind, bytes) of a case; every format has as many."""
    draw = random.Random(f"{seed} {number}")
    format = draw.choice(sorted({name.split("-")[0] for name in files}))
    name = draw.choice(sorted(name for name in files if name.startswith(format)))
    return (name, *damage(files[name], draw))


def work(cases, seed, connection):
    """Sends (number, format, kind, outcome, seconds) of each case, or (number, error) and ends."""
    from ghost_ms.data import decode

    decode.MAX_PIXELS, Image.MAX_IMAGE_PIXELS = PIXELS, PIXELS
    warnings.simplefilter("ignore")
    files = sources()
    refused = [name for name, data in files.items() if attempt(data) != "read"]
    assert not refused, f"good before they are damaged: {refused}"
    with open("/proc/self/statm", encoding="ascii") as file:
        taken = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + ROOM,) * 2)
    for number in cases:
        name, kind, data = case_of(number, seed, files)
        connection.send(number)
        resource.setrlimit(resource.RLIMIT_CPU, (int(time.process_time()) + SECONDS, resource.RLIM_INFINITY))
        start = time.process_time()
        try:
            outcome = attempt(data)
        except BaseException as error:
            connection.send((number, f"{name}, {kind}: {error!r}"))
            return
        connection.send((number, name.split("-")[0], kind, outcome, time.process_time() - start))
    connection.send((None, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))


def run(cases, seed=0, processes=2):
    """(outcomes by format, longest CPU time of a case in seconds, largest memory of a process in MiB).

    Raises:
        AssertionError: a case crashed, hung, took too much memory, or ended in an error of another kind.
    """
    outcomes, longest, peak, workers = collections.Counter(), 0.0, 0.0, []
    context = multiprocessing.get_context("spawn")
    for index in range(processes):
        ours, theirs = context.Pipe(duplex=False)
        worker = context.Process(target=work, args=(range(index, cases, processes), seed, theirs), daemon=True)
        worker.start()
        theirs.close()
        workers.append((worker, ours))
    for worker, connection in workers:
        number = None
        try:
            while True:
                message = connection.recv()
                if isinstance(message, int):
                    number = message
                elif message[0] is None:
                    peak = max(peak, message[1])
                    break
                elif len(message) == 2:
                    raise AssertionError(f"case {message[0]} of seed {seed}: {message[1]}")
                else:
                    outcomes[message[1], message[3]] += 1
                    longest = max(longest, message[4])
        except EOFError:
            worker.join()
            raise AssertionError(f"case {number} of seed {seed} ended its process: {worker.exitcode}") from None
        worker.join()
    return outcomes, longest, peak


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=10000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--save", type=int, metavar="CASE", help="write the file of this case to stdout, do no more")
    options = parser.parse_args()
    if options.save is not None:
        sys.stdout.buffer.write(case_of(options.save, options.seed, sources())[2])
        return
    outcomes, longest, peak = run(options.cases, options.seed, options.processes)
    for (kind, outcome), count in sorted(outcomes.items()):
        print(f"{kind:6} {outcome:8} {count}")
    print(f"{sum(outcomes.values())} cases, longest {longest * 1e3:.0f} ms of CPU, peak memory {peak:.0f} MiB")


if __name__ == "__main__":
    main()
