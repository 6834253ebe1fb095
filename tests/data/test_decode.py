"""Files to pixels: what every form of file becomes, and what hostile ones cannot do."""
import io
import os
import pathlib
import socket
import struct
import subprocess
import sys
import time
import zlib

import numpy as np
import pytest
from PIL import Image

from ghost_ms.data import decode as decoding
from ghost_ms.data.decode import decode, jpeg_head, read_image_file, to_pillow
from tests.data import fuzz_images

ROOT = pathlib.Path(__file__).parents[2]


def _saved(image, format, **options):
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def _picture(width=40, height=30):
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


def _smooth(width=75, height=101):
    coarse = np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height))


@pytest.mark.parametrize("options", [
    {}, {"quality": 60, "subsampling": 0}, {"subsampling": 1}, {"progressive": True}, {"mode": "L"}, {"mode": "CMYK"}])
@pytest.mark.parametrize("channels", [1, 3])
def test_both_decoders_give_the_same_pixels(options, channels, monkeypatch):
    pytest.importorskip("simplejpeg")
    options = {"mode": "RGB", "quality": 90, **options}
    cmyk = options["mode"] == "CMYK"
    content = _saved(_smooth().convert(options.pop("mode")), "JPEG", **options)
    fast = to_pillow(content, channels)
    if channels == 3:
        assert isinstance(decode(content, 3), Image.Image) == cmyk, "the fast one was asked"
    monkeypatch.setattr(decoding, "simplejpeg", None)
    np.testing.assert_array_equal(np.asarray(fast), np.asarray(to_pillow(content, channels)))


def test_a_truncated_jpeg_is_no_image():
    content = _saved(_picture(64, 64), "JPEG")
    for part in (0.1, 0.5, 0.95):
        with pytest.raises(ValueError, match="not a readable image"):
            to_pillow(content[:int(part * len(content))], 3)


# What a file may be.

def _large_jpeg(width=65500, height=65500, **options):
    content = bytearray(_saved(_picture(16, 16), "JPEG", **options))
    start = next(at for at in (content.find(b"\xff\xc0"), content.find(b"\xff\xc2")) if at > 0)
    content[start + 5:start + 9] = struct.pack(">HH", height, width)
    return bytes(content)


def _large_png(width, height):
    content = bytearray(_saved(_picture(16, 16), "PNG"))
    content[16:24] = struct.pack(">II", width, height)
    return fuzz_images.checked(bytes(content))


def _large_bmp(width, height):
    content = bytearray(_saved(_picture(16, 16), "BMP"))
    content[18:26] = struct.pack("<II", width, height)
    return bytes(content)


def _large_gif(width, height):
    content = bytearray(_saved(_picture(16, 16), "GIF"))
    content[6:10] = struct.pack("<HH", width, height)
    return bytes(content)


def _large_webp(width, height):
    content = bytearray(_saved(_picture(16, 16), "WEBP", save_all=True, append_images=[_picture(16, 16).rotate(90)]))
    assert content[12:16] == b"VP8X"
    content[24:30] = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return bytes(content)


def _tiff(tags, data=b""):
    """A little TIFF of one strip or tile: tag -> (type, value)."""
    entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, (kind, value) in sorted(tags.items()))
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + entries + bytes(4) + data


def _large_tiff(width, height, tile=None):
    compressed = zlib.compress(bytes(1000))
    tags = {256: (4, width), 257: (4, height), 258: (3, 8), 259: (3, 8), 262: (3, 1), 277: (3, 1)}
    size = 10 + 12 * (len(tags) + (4 if tile else 3)) + 4
    tags.update({322: (4, tile), 323: (4, tile), 324: (4, size), 325: (4, len(compressed))} if tile else
                {273: (4, size), 278: (4, height), 279: (4, len(compressed))})
    return _tiff(tags, compressed)


LARGE = {
    "jpeg": lambda: _large_jpeg(), "progressive jpeg": lambda: _large_jpeg(progressive=True),
    "png": lambda: _large_png(65500, 65500), "wide png": lambda: _large_png(2 ** 31 - 1, 1),
    "bmp": lambda: _large_bmp(65500, 65500), "tall bmp": lambda: _large_bmp(1, 2 ** 31 - 1),
    "gif": lambda: _large_gif(65500, 65500),
    "webp": lambda: _large_webp(65500, 65500), "tiff": lambda: _large_tiff(65500, 65500),
    "tiff of a large tile": lambda: _large_tiff(16, 16, 65504), "ppm": lambda: b"P6 65500 65500 255\n" + bytes(100),
    "text ppm": lambda: b"P3 65500 65500 255\n" + b"1 " * 100, "pgm": lambda: b"P5 4000000000 1 65535\n\0\0",
}


@pytest.mark.parametrize("fast", [True, False], ids=["", "pillow"])
@pytest.mark.parametrize("name", LARGE)
def test_a_size_beyond_the_limit_is_refused_before_anything_is_decoded(name, fast, monkeypatch):
    if not fast:
        monkeypatch.setattr(decoding, "simplejpeg", None)
    content = LARGE[name]()
    assert len(content) < 3000
    decoded = []
    monkeypatch.setattr(Image.core, "new", lambda *args: decoded.append(args))
    for channels in (1, 3):
        start = time.process_time()
        with pytest.raises(ValueError, match="^not a readable image: .*pixels.*GHOST_MS_MAX_PIXELS sets another one"):
            decode(content, channels)
        assert time.process_time() - start < 0.5 and not decoded


@pytest.mark.parametrize("name", sorted(fuzz_images.sources()))
def test_the_limit_holds_for_every_form_of_file(name, monkeypatch):
    content = fuzz_images.sources()[name]
    width, height = to_pillow(content, 3).size
    monkeypatch.setattr(decoding, "MAX_PIXELS", width * height)
    assert to_pillow(content, 3).size == (width, height)
    monkeypatch.setattr(decoding, "MAX_PIXELS", width * height - 1)
    with pytest.raises(ValueError, match=rf"its size is ({width}x{height}|{height}x{width}), and \d+ pixels are"):
        to_pillow(content, 3)


def test_a_variable_sets_the_limit():
    code = ("import io, sys; from PIL import Image; from ghost_ms.data import decode\n"
            "file = io.BytesIO(); Image.new('L', (200, 100)).save(file, 'PNG')\n"
            "print(decode.MAX_PIXELS, Image.MAX_IMAGE_PIXELS, decode.decode(file.getvalue(), 1).size)")

    def run(value):
        return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT,
                              env={**os.environ, "GHOST_MS_MAX_PIXELS": value})

    for value, limit, pillow in (("", decoding.DEFAULT_MAX_PIXELS, 89478485), ("20000", 20000, 89478485),
                                 (" 999999999 ", 999999999, 999999999)):
        assert run(value).stdout.split() == [str(limit), str(pillow), "(200,", "100)"]
    assert "not a readable image: its size is 200x100, and 19999 pixels are" in run("19999").stderr
    for value in ("many", "1e9", "0", "9" * 30):
        assert f"GHOST_MS_MAX_PIXELS is '{value}'; it is the number" in run(value).stderr


def test_a_jpeg_of_thousands_of_passes_is_refused():
    content = _saved(_picture(64, 64).convert("L"), "JPEG", progressive=True)
    last = content[content.rindex(b"\xff\xda"):][:10]
    assert to_pillow(content, 3).size == (64, 64)
    with pytest.raises(ValueError, match="not a readable image: the JPEG has more than 100 scans"):
        decode(content[:-2] + last * 101 + content[-2:], 3)
    plain = _saved(_picture(64, 64), "JPEG", comment=b"\xff\xda" * 200)
    assert not jpeg_head(plain).several_scans and to_pillow(plain, 3).size == (64, 64)


def test_text_that_unpacks_to_much_is_not_unpacked():
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    content = _saved(_picture(8, 8), "PNG")
    packed = zlib.compress(bytes(80 << 20), 9)
    for kind, data in ((b"zTXt", b"text\0\0" + packed), (b"iCCP", b"icc\0\0" + packed),
                       (b"iTXt", b"text\0\1\0\0\0" + packed)):
        bomb = content[:33] + chunk(kind, data) + content[33:]
        assert len(bomb) < 300000
        start = time.process_time()
        try:
            assert decode(bomb, 3).size == (8, 8)
        except ValueError as error:
            assert str(error).startswith("not a readable image: ")
        assert time.process_time() - start < 0.5


def test_of_several_pictures_the_first_is_taken():
    first, *others = (Image.new("RGB", (9, 7), (level, level, level)) for level in (200, 100, 10))
    for format in ("GIF", "WEBP", "PNG", "TIFF", "MPO"):
        options = {"lossless": True} if format == "WEBP" else {}
        content = _saved(first, format, save_all=True, append_images=others, **options)
        assert np.abs(np.asarray(to_pillow(content, 3), int) - 200).max() < 3, format


@pytest.mark.parametrize("content, words", [
    (b"", "the file is empty"), (b"hello", "damaged, or none of JPEG, PNG, BMP"), (b"\xff\xd8", "damaged, or none of"),
    (b"\x89PNG\r\n\x1a\n", "damaged, or none of")])
def test_what_is_no_image_is_said_in_one_sentence(content, words):
    for form in (content, np.frombuffer(content, np.uint8)):
        with pytest.raises(ValueError, match=f"^not a readable image: .*{words}"):
            to_pillow(form, 3)


def test_postscript_and_other_formats_are_not_opened(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("a process was started")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    monkeypatch.setattr(subprocess, "check_call", refuse)
    postscript = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n"
    assert Image.open(io.BytesIO(postscript)).format == "EPS"
    others = [_saved(_picture(8, 8), format) for format in ("PCX", "TGA", "ICO", "SGI", "DDS")]
    for content in (postscript, *others):
        with pytest.raises(ValueError, match="none of JPEG, PNG, BMP, TIFF, WEBP, GIF, PPM"):
            decode(content, 3)


def test_whatever_a_decoder_raises_is_the_files_fault_but_no_lack_of_memory(monkeypatch):
    content = _saved(_picture(8, 8), "PNG")
    for error, words in ((ZeroDivisionError("\x1b[2J\nby zero"), r"\\x1b\[2J by zero"),
                         (AssertionError(), "AssertionError"), (RuntimeError("x" * 999), "x{200}$")):
        monkeypatch.setattr(Image, "open", lambda *args, error=error, **kwargs: (_ for _ in ()).throw(error))
        with pytest.raises(ValueError, match=f"^not a readable image: {words}"):
            decode(content, 3)
    monkeypatch.setattr(Image, "open", lambda *args, **kwargs: (_ for _ in ()).throw(MemoryError()))
    with pytest.raises(MemoryError):
        decode(content, 3)


# What may be read.

def test_only_regular_files_are_read(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(b"content")
    (tmp_path / "link").symlink_to(path)
    assert read_image_file(path) == read_image_file(str(tmp_path / "link")) == b"content"
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "endless.png").symlink_to("/dev/zero")
    for name, kind in (("pipe.png", "a named pipe"), ("endless.png", "a device"), (".", "a folder")):
        with pytest.raises(ValueError, match=f"^not a readable image: it is {kind}, not a file$"):
            read_image_file(tmp_path / name)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        with pytest.raises(OSError):
            read_image_file(tmp_path / "s")
    with pytest.raises(FileNotFoundError):
        read_image_file(tmp_path / "none")


def test_a_file_beyond_the_limit_is_not_read(tmp_path):
    with open(tmp_path / "a.png", "wb") as file:
        file.truncate(decoding.MAX_BYTES + 1)
    with pytest.raises(ValueError, match="not a readable image: the file has 1073741825 bytes, and 1073741824 are the"):
        read_image_file(tmp_path / "a.png")
    with pytest.raises(ValueError, match="the file has 1073741825 bytes, and 5 are the limit"):
        read_image_file(tmp_path / "a.png", 5)


# Depths and colours.

LEVELS = np.array([[0, 255, 256, 32768, 65279, 65535]], np.uint16)


def _deep_tiff(pixels, bits=16, order="<", photometric=1, sample_format=1, kind="H"):
    mark = b"II*\0" if order == "<" else b"MM\0*"
    data = pixels.astype(f"{order}{kind}").tobytes()
    height, width = pixels.shape
    tags = {256: (4, width), 257: (4, height), 258: (3, bits), 259: (3, 1), 262: (3, photometric), 277: (3, 1),
            278: (4, height), 279: (4, len(data)), 339: (3, sample_format)}
    tags[273] = (4, 10 + 12 * (len(tags) + 1) + 4)
    entries = b"".join(
        struct.pack(order + "HHI", tag, kind, 1) + (struct.pack(order + "HH", value, 0) if kind == 3 else
                                                    struct.pack(order + "I", value))
        for tag, (kind, value) in sorted(tags.items()))
    return mark + struct.pack(order + "IH", 8, len(tags)) + entries + bytes(4) + data


@pytest.mark.parametrize("form", ["png", "pgm", "tiff", "tiff, big end first", "tiff, compressed"])
def test_sixteen_bits_of_grey_are_reduced_to_their_upper_eight(form):
    content = {"png": lambda: _saved(Image.fromarray(LEVELS), "PNG"),
               "pgm": lambda: b"P5 6 1 65535\n" + LEVELS.astype(">u2").tobytes(),
               "tiff": lambda: _deep_tiff(LEVELS), "tiff, big end first": lambda: _deep_tiff(LEVELS, order=">"),
               "tiff, compressed": lambda: _saved(Image.fromarray(LEVELS), "TIFF", compression="tiff_lzw")}[form]()
    for channels in (1, 3):
        pixels = np.asarray(to_pillow(content, channels)).reshape(6, -1)
        np.testing.assert_array_equal(pixels, np.repeat([[0], [0], [1], [128], [254], [255]], channels, 1))
    opened = Image.open(io.BytesIO(content))
    np.testing.assert_array_equal(np.asarray(to_pillow(opened, 1)).ravel(), [0, 0, 1, 128, 254, 255])


def test_sixteen_bits_of_colour_are_reduced_likewise():
    pixels = np.stack([LEVELS, LEVELS[:, ::-1], LEVELS], -1)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", 6, 1, 16, 2, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")))
    ppm = b"P6 6 1 65535\n" + pixels.astype(">u2").tobytes()
    np.testing.assert_array_equal(np.asarray(to_pillow(png, 3)), pixels >> 8)
    assert np.abs(np.asarray(to_pillow(ppm, 3), int) - (pixels >> 8)).max() <= 1


def test_twelve_bits_and_white_that_is_zero():
    packed = np.array([[0x00, 0x0F, 0xFF, 0x80, 0x08, 0x00]], np.uint8)  # 0, 4095, 2048, 2048
    content = bytearray(_deep_tiff(packed, 12, kind="B"))
    content[18:22] = struct.pack("<I", 4)
    np.testing.assert_array_equal(np.asarray(to_pillow(bytes(content), 1)).ravel(), [0, 255, 128, 128])
    inverted = np.asarray(to_pillow(_deep_tiff(LEVELS, photometric=0), 1)).ravel()
    np.testing.assert_array_equal(inverted, [255, 255, 254, 127, 1, 0])


@pytest.mark.parametrize("content, words", [
    (_deep_tiff(np.array([[1, 70000]]), 32, kind="I"), "signed or 32-bit integers"),
    (_deep_tiff(np.array([[1, 255]]), 32, sample_format=2, kind="i"), "signed or 32-bit integers"),
    (_deep_tiff(np.array([[-5, 5]]), 16, sample_format=2, kind="h"), "signed or 32-bit integers"),
    (_deep_tiff(np.array([[0.5, 1.0]]), 32, sample_format=3, kind="f"), "floating-point numbers"),
    (b"Pf\n1 1\n-1.0\n" + struct.pack("<f", 0.5), "floating-point numbers"),
    (_saved(Image.new("LAB", (4, 4)), "TIFF"), "the kind LAB")])
def test_other_depths_are_refused(content, words):
    for channels in (1, 3):
        with pytest.raises(ValueError, match=f"^not a readable image: its pixels are .*{words}; save it with 8 or"):
            decode(content, channels)
    for form in (Image.new("F", (2, 2)), Image.new("I", (2, 2))):
        with pytest.raises(ValueError, match="not a readable image: its pixels are"):
            to_pillow(form, 3)
    with pytest.raises(ValueError, match="its pixels are float32, not uint8"):
        to_pillow(np.zeros((2, 2, 3), np.float32), 3)


@pytest.mark.parametrize("mode, format", [
    ("L", "PNG"), ("1", "PNG"), ("P", "PNG"), ("LA", "PNG"), ("RGBA", "PNG"), ("RGB", "BMP"), ("P", "BMP"),
    ("CMYK", "TIFF"), ("YCbCr", "TIFF"), ("P", "GIF"), ("RGB", "PPM"), ("1", "PPM"), ("CMYK", "JPEG")])
def test_other_colours_become_what_pillow_makes_of_them(mode, format):
    content = _saved(_picture().convert(mode), format)
    for channels, wanted in ((1, "L"), (3, "RGB")):
        np.testing.assert_array_equal(np.asarray(to_pillow(content, channels)),
                                      np.asarray(Image.open(io.BytesIO(content)).convert(wanted)))


@pytest.mark.filterwarnings("error")
def test_alpha_is_dropped_and_not_blended():
    pixels = np.asarray(_picture().convert("RGBA")).copy()
    pixels[..., 3] = np.arange(40)
    content = _saved(Image.fromarray(pixels), "PNG")
    np.testing.assert_array_equal(np.asarray(to_pillow(content, 3)), pixels[..., :3])
    palette = _picture().quantize(16)
    plain = np.asarray(palette.convert("RGB"))
    for clear in (3, bytes(range(16))):
        given = Image.open(io.BytesIO(_saved(palette, "PNG", transparency=clear)))
        np.testing.assert_array_equal(np.asarray(to_pillow(given, 3)), plain)
        assert "transparency" in given.info, "the caller's image stays as it was"


# Damage at random.

def test_damaged_files_are_read_or_refused_in_little_time_and_memory():
    outcomes, longest, _ = fuzz_images.run(600, seed=7, processes=1)
    assert sum(outcomes.values()) == 600 and longest < fuzz_images.SECONDS
    assert {format for format, _ in outcomes} == {"bmp", "gif", "jpeg", "png", "ppm", "tiff", "webp"}
    assert {outcome for _, outcome in outcomes} == {"read", "refused"}
