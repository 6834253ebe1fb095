"""Photographs that their camera held otherwise: the orientation in a file, and the turn that it asks for."""
import io
import struct

import numpy as np
import pytest
from PIL import Image

from ghost_ms.data import decode as decoding
from ghost_ms.data.decode import TURNS, exif_orientation, jpeg_head, to_pillow, turned
from tests.data.test_decode import _saved, _smooth


def _exif(orientation):
    exif = Image.Exif()
    exif[0x10F], exif[0x112], exif[0x131] = "maker", orientation, "software"
    return exif


FORMS = {"jpeg": ("RGB", "JPEG", {"quality": 95}), "progressive jpeg": ("RGB", "JPEG", {"progressive": True}),
         "grey jpeg": ("L", "JPEG", {}), "cmyk jpeg": ("CMYK", "JPEG", {}), "png": ("RGB", "PNG", {}),
         "palette png": ("P", "PNG", {}), "webp": ("RGB", "WEBP", {"lossless": True})}


@pytest.mark.parametrize("fast", [True, False], ids=["", "pillow"])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_photographs_are_turned_upright_where_it_is_asked_for(orientation, form, fast, monkeypatch):
    from PIL import ImageOps

    if not fast:
        monkeypatch.setattr(decoding, "simplejpeg", None)
    mode, format, options = FORMS[form]
    content = _saved(_smooth().convert(mode), format, exif=_exif(orientation), **options)
    lying = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
    upright = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(content))).convert("RGB"))
    assert (orientation == 1) == (lying.shape == upright.shape and np.array_equal(lying, upright))
    np.testing.assert_array_equal(np.asarray(to_pillow(content, 3)), lying)
    np.testing.assert_array_equal(np.asarray(to_pillow(content, 3, orient=True)), upright)
    np.testing.assert_array_equal(np.asarray(to_pillow(Image.open(io.BytesIO(content)), 3, orient=True)), upright)
    np.testing.assert_array_equal(turned(lying, orientation), upright)
    if "jpeg" in form:
        assert jpeg_head(content).orientation == orientation


@pytest.mark.parametrize("orient", [False, True])
def test_a_tiff_is_always_upright(orient):
    content = _saved(_smooth(), "TIFF", tiffinfo={274: 6})
    np.testing.assert_array_equal(np.asarray(to_pillow(content, 3, orient)), turned(np.asarray(_smooth()), 6))


def _block(entries, order="<", start=8):
    mark = b"II*\0" if order == "<" else b"MM\0*"
    return mark + struct.pack(order + "I", start) + bytes(start - 8) + struct.pack(order + "H", len(entries)) \
        + b"".join(struct.pack(order + "HHIHH", *entry) for entry in entries)


@pytest.mark.parametrize("block, expected", [
    (_block([(0x112, 3, 1, 6, 0)]), 6), (_block([(0x112, 3, 1, 6, 0)], ">"), 6),
    (_block([(0x10F, 2, 9, 0, 0), (0x112, 3, 1, 8, 0)], start=30), 8), (b"Exif\0\0" + _block([(0x112, 3, 1, 5, 0)]), 5),
    (_block([(0x112, 3, 1, 6, 0)])[:-2], 6), (_block([(0x112, 3, 1, 6, 0)])[:-3], 1),
    (_block([(0x112, 3, 1, 0, 0)]), 1), (_block([(0x112, 3, 1, 9, 0)]), 1), (_block([(0x112, 4, 1, 6, 0)]), 1),
    (_block([(0x112, 3, 2, 6, 0)]), 1), (_block([(0x112, 3, 1, 6, 0)])[:7], 1), (_block([]), 1), (b"", 1), (None, 1),
    (b"II*\0\xff\xff\xff\xff", 1), (b"IM*\0" + bytes(20), 1), (b"II\0*" + bytes(20), 1)])
def test_an_orientation_is_read_from_whole_and_damaged_blocks(block, expected):
    assert exif_orientation(block) == expected


def test_segments_of_a_jpeg_in_any_order_and_number():
    content = _saved(_smooth(), "JPEG")

    def segment(marker, data):
        return bytes((0xFF, marker)) + struct.pack(">H", len(data) + 2) + data

    six, three = (segment(0xE1, b"Exif\0\0" + _block([(0x112, 3, 1, value, 0)])) for value in (6, 3))
    for before, expected in ((six, 6), (segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0") + six, 6), (six + three, 6),
                             (segment(0xE2, bytes(60000)) * 5 + six, 6), (b"\xff\xff\xff" + six, 6), (b"", 1),
                             (segment(0xE1, b"") + six, 6), (segment(0xFE, b"") * 1000 + six, 1)):
        head = jpeg_head(content[:2] + before + content[2:])
        assert head.orientation == expected, before[:20]
    assert jpeg_head(content[:2] + b"\0\0" + six).orientation == 1
    for cut in range(len(six)):
        assert jpeg_head(content[:2] + six[:cut]).orientation in (1, 6)


def test_every_turn_is_made_by_both_ways():
    pixels = np.asarray(_smooth(5, 4))
    for orientation in TURNS:
        other = np.asarray(Image.fromarray(pixels).transpose(decoding.TRANSPOSES[orientation]))
        np.testing.assert_array_equal(turned(pixels, orientation), other)
