"""From a file to pixels: the one place where an image file is read and decoded.

Files are hostile. Nothing but a regular file of limited size is read; only decoders that neither start a process nor
open other files are asked; and no decoder is asked before the size that the header states is within the limit.

What becomes of the forms that a file can have, for RGB (3 channels) and grey (1):

- 16-bit grey levels are reduced to their high byte (`>> 8`), as libpng, OpenCV and, for 16-bit colours, Pillow reduce
  them; 12-bit ones, which TIFF has, to their upper 8 bits. White stays white and black black.
- 32-bit and signed integers and floating-point numbers are refused: nobody can tell what is white in them.
- Alpha is dropped, not blended: a transparent pixel shows the colour that is stored in it, of a palette too.
- Palettes, CMYK, YCbCr, grey and 1-bit files are converted by Pillow; grey is made of colours by ITU-R BT.601.
- Of an animation and of a file with several pages the first picture is taken.
- An EXIF orientation is honoured where the caller asks for it. TIFF is always upright, because Pillow turns it itself.
"""
import contextlib
import io
import os
import re
import stat
import struct
from typing import Iterator, NamedTuple, Optional, Tuple, Union

import numpy as np
from PIL import (BmpImagePlugin, GifImagePlugin, Image, JpegImagePlugin, PngImagePlugin,  # noqa: F401
                 PpmImagePlugin, TiffImagePlugin, UnidentifiedImageError, WebPImagePlugin, features)

from ghost_ms.core.text import printable

try:
    import simplejpeg
except ImportError:  # where there is no package of it, Pillow decodes
    simplejpeg = None

#: Pillow's names of the formats that are decoded, and the endings of their files; importing their modules above is what
#: makes them known. PostScript is not among them (Pillow starts Ghostscript for it), nor is what refers to other files.
FORMATS = {"JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"), "PNG": (".png", ".apng"), "BMP": (".bmp", ".dib"),
           "TIFF": (".tif", ".tiff"), "WEBP": (".webp",), "GIF": (".gif",), "PPM": (".ppm", ".pgm", ".pbm", ".pnm")}
if not features.check("webp"):
    del FORMATS["WEBP"]
#: Bytes of the largest file that is read.
MAX_BYTES = 1 << 30
#: Pillow's own limit, above which it refuses what is not a JPEG too.
DEFAULT_MAX_PIXELS = 178956970
#: Passes over a JPEG of several. Real ones have about ten; each costs as much as a small file of many pixels allows.
MAX_SCANS = 100
#: Markers between a JPEG's start and its pixels that are looked at.
MAX_SEGMENTS = 1000

#: EXIF orientation -> (exchange rows and columns; then reverse the rows; then reverse the columns).
TURNS = {2: (False, False, True), 3: (False, True, True), 4: (False, True, False), 5: (True, False, False),
         6: (True, False, True), 7: (True, True, True), 8: (True, True, False)}
TRANSPOSES = {2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
              5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
              8: Image.Transpose.ROTATE_90}
#: Modes of Pillow that its `convert` brings to RGB and grey without clipping or guessing.
EIGHT_BIT = frozenset(("1", "L", "P", "RGB", "RGBA", "RGBX", "RGBa", "CMYK", "LA", "La", "PA", "YCbCr", "HSV"))
REFUSED = {"I": "its pixels are signed or 32-bit integers", "F": "its pixels are floating-point numbers"}


def _pixel_limit() -> int:
    """GHOST_MS_MAX_PIXELS, or the default; Pillow's own limit is raised with it, and else left as it is."""
    text = os.environ.get("GHOST_MS_MAX_PIXELS", "").strip()
    if not text:
        return DEFAULT_MAX_PIXELS
    if not (text.isascii() and text.isdigit() and 0 < int(text[:20]) < 1 << 40):
        raise ValueError(f"GHOST_MS_MAX_PIXELS is '{printable(text[:40])}'; it is the number of pixels that an image "
                         f"may have, {DEFAULT_MAX_PIXELS} by default")
    if Image.MAX_IMAGE_PIXELS is not None:
        # Pillow warns above this number and refuses above twice as many.
        Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS, int(text))
    return int(text)


#: Pixels of the largest image that is decoded.
MAX_PIXELS = _pixel_limit()


class Unreadable(ValueError):
    """What is no image that can be used: 'not a readable image: REASON'."""

    def __init__(self, reason: str):
        super().__init__(f"not a readable image: {reason}")


def read_image_file(path: Union[str, os.PathLike], limit: int = MAX_BYTES) -> bytes:
    """The content of a file.

    Opening never waits, as it does at a named pipe, and an endless file is not read.

    Args:
        limit: bytes of the largest file that is read.

    Raises:
        OSError: it cannot be opened or read.
        ValueError: it is no regular file, or larger than the limit; the sentence is `Unreadable`'s.
    """
    with regular_file(path, limit) as (handle, size):
        content = os.read(handle, size)
        while len(content) < size:
            more = os.read(handle, size - len(content))
            if not more:
                break
            content += more
        return content


@contextlib.contextmanager
def regular_file(path: Union[str, os.PathLike], limit: int = MAX_BYTES) -> Iterator[Tuple[int, int]]:
    """(descriptor, size) of a file that is open for reading; errors as `read_image_file`."""
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise Unreadable(f"it is {kind_of(status.st_mode)}, not a file")
        if status.st_size > limit:
            raise Unreadable(f"the file has {status.st_size} bytes, and {limit} are the limit")
        yield handle, status.st_size
    finally:
        os.close(handle)


def kind_of(mode: int) -> str:
    """What lies at a path that is no regular file, in words."""
    kinds = ((stat.S_ISDIR, "a folder"), (stat.S_ISFIFO, "a named pipe"), (stat.S_ISSOCK, "a socket"),
             (stat.S_ISCHR, "a device"), (stat.S_ISBLK, "a device"), (stat.S_ISLNK, "a link to nothing"))
    return next((name for test, name in kinds if test(mode)), "something else")


def to_pillow(image: Union[Image.Image, np.ndarray, bytes], channels: int, orient: bool = False) -> Image.Image:
    """Decode and bring to RGB or grey, as the head of this file says; ValueError for what is not an image.

    Args:
        image: a file's bytes (also as a 1-d array), uint8 (H, W, C), or a Pillow image.
        orient: whether the EXIF orientation of bytes or of a Pillow image is honoured.
    """
    if isinstance(image, np.ndarray) and image.ndim == 1:
        image = image.tobytes()
    if isinstance(image, bytes):
        image = decode(image, channels, orient)
    elif isinstance(image, Image.Image) and orient:
        # A TIFF of Pillow's is turned by loading it, and then says so.
        image.load()
        turn = TRANSPOSES.get(exif_orientation(image.info.get("exif")))
        image = image if turn is None else _upright(image, turn)
    if isinstance(image, np.ndarray):
        if image.dtype != np.uint8:
            raise Unreadable(f"its pixels are {image.dtype}, not uint8")
        # Of a cut, Pillow would copy one byte at a time.
        image = np.ascontiguousarray(image[:, :, 0] if image.shape[-1] == 1 else image)
        image = Image.fromarray(image)
    image = _eight_bits(image)
    mode = "L" if channels == 1 else "RGB"
    if image.mode == mode:
        return image  # `convert` copies even what has the mode already
    if "transparency" in image.info:
        # Pillow warns that it drops some forms of it.
        image = image.copy()
        del image.info["transparency"]
    return image.convert(mode)


def decode(content: bytes, channels: int, orient: bool = False) -> Union[Image.Image, np.ndarray]:
    """A file's bytes to uint8 (H, W, channels) where simplejpeg can, else to a Pillow image of 8 bits per channel.

    Args:
        orient: whether the EXIF orientation is honoured. The array is then a view of turned axes.

    Raises:
        ValueError: it is not a whole image, has too many pixels, or a depth that 8 bits cannot hold; the sentence is
            `Unreadable`'s.
    """
    head = None
    if content[:2] == b"\xff\xd8":
        head = jpeg_head(content)
        if head.several_scans and content.count(b"\xff\xda") > MAX_SCANS:
            raise Unreadable(f"the JPEG has more than {MAX_SCANS} scans")
        pixels = _decode_jpeg(content, channels)
        if pixels is not None:
            return turned(pixels, head.orientation if orient else 1)
    image = open_image(content)
    try:
        image.load()
        picture = _eight_bits(image)
    except (MemoryError, Unreadable):
        raise
    except Exception as error:
        raise Unreadable(_reason(error)) from None
    if not orient:
        return picture
    turn = TRANSPOSES.get(exif_orientation(image.info.get("exif")) if head is None else head.orientation)
    return picture if turn is None else _upright(picture, turn)


def _upright(picture: Image.Image, turn: Image.Transpose) -> Image.Image:
    """The picture turned, and no longer saying that it has to be."""
    picture = picture.transpose(turn)
    picture.info.pop("exif", None)
    return picture


def open_image(content: bytes) -> Image.Image:
    """A Pillow image of which the header is read and found to be within the limits; `Unreadable` otherwise."""
    if not content:
        raise Unreadable("the file is empty")
    try:
        image = Image.open(io.BytesIO(content), formats=tuple(FORMATS))
        tags = getattr(image, "tag_v2", {})
        # A TIFF is decoded tile by tile, and a tile may be larger than the image.
        tile = int(tags.get(322, 1)), int(tags.get(323, 1))
    except MemoryError:
        raise
    except Exception as error:
        raise Unreadable(_reason(error)) from None
    check_size(*image.size)
    check_size(*tile)
    return image


def check_size(width: int, height: int) -> None:
    """`Unreadable` for more pixels than `MAX_PIXELS`."""
    if width * height > MAX_PIXELS:
        raise Unreadable(f"its size is {width}x{height}, and {MAX_PIXELS} pixels are the limit "
                         "(GHOST_MS_MAX_PIXELS sets another one)")


def _reason(error: Exception) -> str:
    """What a decoder says of a file, as part of one line. Decoders raise all kinds of errors at a stranger's bytes, so
    that all are taken for the file's fault but a lack of memory."""
    if isinstance(error, UnidentifiedImageError):
        return f"it is damaged, or none of {', '.join(FORMATS)}"
    if isinstance(error, Image.DecompressionBombError):
        return f"it has more pixels than the limit of {MAX_PIXELS} (GHOST_MS_MAX_PIXELS sets another one)"
    text = re.sub(r" ?<_io\.BytesIO object at \w+>", "", str(error))
    return printable(" ".join(text.split()))[:200] or type(error).__name__


def _decode_jpeg(content: bytes, channels: int) -> Optional[np.ndarray]:
    """simplejpeg, where it is installed, gives the same pixels as Pillow in two thirds of the time: both wrap
    libjpeg-turbo. What it refuses (CMYK, damaged files) is left to Pillow's judgement, and so is colour to grey, which
    Pillow makes of RGB."""
    if simplejpeg is None:
        return None
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(content)
        if colours not in ("YCbCr", "Gray") or (channels == 1 and colours != "Gray"):
            return None
    except ValueError:
        return None
    check_size(width, height)
    try:
        return simplejpeg.decode_jpeg(content, "Gray" if channels == 1 else "RGB")
    except ValueError:
        return None


def _eight_bits(image: Image.Image) -> Image.Image:
    """An image of 8 bits per channel, of whatever mode; `Unreadable` for a depth that has no agreed form in them."""
    if image.mode in EIGHT_BIT:
        return image
    # Of PNG and PGM, Pillow has 16 bits in its 32-bit mode, depending on its version.
    if not image.mode.startswith("I;16") and not (image.mode == "I" and image.format in ("PNG", "PPM")):
        raise Unreadable(f"{REFUSED.get(image.mode, f'its pixels are of the kind {image.mode}')}; save it with 8 or 16 "
                         "bits per channel")
    tags = getattr(image, "tag_v2", {})
    bits, lowest_is_white = tags.get(258, (16,))[0], tags.get(262, 1) == 0
    levels = (np.asarray(image) >> (bits - 8)).astype(np.uint8)
    # Pillow inverts 8 bits of such files, and not 16.
    return Image.fromarray(255 - levels if lowest_is_white else levels)


def turned(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """(H, W, C) as EXIF's orientation 1 to 8 wants it to be shown; a view."""
    if orientation not in TURNS:
        return pixels
    exchange, rows, columns = TURNS[orientation]
    pixels = pixels.swapaxes(0, 1) if exchange else pixels
    return pixels[::-1 if rows else 1, ::-1 if columns else 1]


class JpegHead(NamedTuple):
    """What stands before a JPEG's pixels: EXIF's orientation, and whether the pixels come in several passes."""

    orientation: int = 1
    several_scans: bool = False


def jpeg_head(content: bytes) -> JpegHead:
    """Look through a JPEG's segments, the first pixels excluded; damaged ones end it."""
    at, orientation, progressive, components = 2, 0, False, b""
    for _ in range(MAX_SEGMENTS):
        if content[at:at + 2] == b"\xff\xff":  # fill bytes may come before a marker
            at += 1
            continue
        if content[at:at + 1] != b"\xff" or len(content) < at + 4:
            break
        marker, body = content[at + 1], at + 4
        end = at + 2 + int.from_bytes(content[at + 2:body], "big")
        if marker == 0xDA:
            return JpegHead(orientation or 1, progressive or content[body:body + 1] < components)
        if marker == 0xE1 and not orientation and content.startswith(b"Exif\0\0", body, end):
            orientation = exif_orientation(content[body:end])
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            progressive, components = marker & 2 != 0, content[body + 5:body + 6]
        at = end
    return JpegHead(orientation or 1, True)


def exif_orientation(block: Optional[bytes]) -> int:
    """The orientation, 1 to 8, of an EXIF block (with or without its 'Exif' in front); 1 where it has none or is
    damaged (CIPA DC-008, section 4.6.4, tag 0x112)."""
    block = block[6:] if block and block[:6] == b"Exif\0\0" else block or b""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(bytes(block[:4]))
    if order is None:
        return 1
    try:
        (start,) = struct.unpack_from(order + "I", block, 4)
        (entries,) = struct.unpack_from(order + "H", block, start)
        for at in range(start + 2, start + 2 + 12 * entries, 12):
            tag, kind, count, value = struct.unpack_from(order + "HHIH", block, at)
            if tag == 0x112:
                return value if (kind, count) == (3, 1) and value in TURNS else 1
    except struct.error:
        pass
    return 1

