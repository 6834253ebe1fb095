"""The wire format: what protobuf itself writes is read, and no length is believed."""
import pytest

from ghost_ms.core import protobuf


def test_fields_of_every_wire_type():
    from google.protobuf import descriptor_pb2

    # string, message, packed and plain integers, enumeration, bool, double, negative integer.
    file = descriptor_pb2.FileDescriptorProto(name="näme", public_dependency=[1, 300])
    file.options.optimize_for, file.options.java_multiple_files = 2, True
    option = file.options.uninterpreted_option.add(double_value=0.5, negative_int_value=-7)
    assert list(protobuf.fields(memoryview(option.SerializeToString()))) == [(5, 0, 2 ** 64 - 7), (6, 1, option.
        SerializeToString()[-8:])]
    found = list(protobuf.fields(memoryview(file.SerializeToString())))
    assert protobuf.text(*found[0][1:]) == "näme"
    assert [value for number, _, value in found if number == 10] == [1, 300]
    inner = list(protobuf.fields(protobuf.message(*found[1][1:])))
    assert inner[:2] == [(9, 0, 2), (10, 0, 1)]


def test_integers_are_signed_and_may_be_packed():
    assert protobuf.integers(protobuf.VARINT, 2 ** 64 - 1) == [-1]
    packed = protobuf.varint(3) + protobuf.varint(2 ** 64 - 2) + protobuf.varint(2 ** 40)
    assert protobuf.integers(protobuf.BYTES, memoryview(packed)) == [3, -2, 2 ** 40]


@pytest.mark.parametrize("content, reason", [
    (b"\x0a\x05abcd", "is cut off: a field of 5 bytes begins 4 bytes before the end"),
    (b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "is cut off: a field of 18446744073709551615 bytes"),
    (b"\x09abcdefg", "is cut off"), (b"\x0d\x00", "is cut off"), (b"\x08\x80", "is cut off in an integer"),
    (b"\x08" + 10 * b"\xff" + b"\x01", "more than 64 bits"), (b"\x02\x00", "number 0"), (b"\x0b", "wire type 3"),
    (b"\x0e", "wire type 6")])
def test_what_is_no_message_is_refused(content, reason):
    with pytest.raises(ValueError, match=reason):
        list(protobuf.fields(memoryview(content)))


def test_kinds_are_held_against_what_is_wanted():
    with pytest.raises(ValueError, match="in place of a message"):
        protobuf.message(protobuf.VARINT, 3)
    with pytest.raises(ValueError, match="in place of an integer"):
        protobuf.integers(protobuf.FIXED32, memoryview(b"1234"))
    with pytest.raises(ValueError, match="name of 9 bytes"):
        protobuf.text(protobuf.BYTES, memoryview(b"012345678"), 8)
    with pytest.raises(ValueError, match="no text"):
        protobuf.text(protobuf.BYTES, memoryview(b"\xff\xfe"))
    with pytest.raises(ValueError, match=r"control characters, 'a.*x1b\[2J'"):
        protobuf.text(protobuf.BYTES, memoryview(b"a\x1b[2J"))
