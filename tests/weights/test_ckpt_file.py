"""MindSpore's checkpoints: the same as MindSpore reads and writes, and nothing that would harm it."""
import pathlib

import mindspore as ms
import numpy as np
import pytest
from mindspore.train.checkpoint_pb2 import Checkpoint

from ghost_ms.weights import ckpt_file

FILES = pathlib.Path(__file__).parent / "files"
TEXTS = {"ghost_ms": '{"é": "\U0001F600"}', "empty": ""}


def _arrays():
    draw = np.random.default_rng(0)
    kinds = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float16", "float32", "float64")
    return {**{kind: draw.integers(0, 100, (2, 3)).astype(kind) for kind in kinds}, "bool": np.array([True, False]),
            "scalar": np.float32(2.5).reshape(()), "one": np.ones(1, np.float32),
            "not contiguous": draw.standard_normal((4, 3)).astype(np.float32).T}


def _same(read, wanted):
    assert list(read) == list(wanted)
    for name, array in wanted.items():
        assert read[name].dtype == array.dtype and read[name].shape == array.shape and not read[name].flags.writeable
        np.testing.assert_array_equal(read[name], array)


@pytest.fixture
def mindspore_file(tmp_path):
    path = str(tmp_path / "ms.ckpt")
    parameters = [{"name": name, "data": ms.Tensor(np.array(array, order="C"))} for name, array in _arrays().items()]
    ms.save_checkpoint(parameters, path, append_dict=TEXTS, crc_check=True)
    return path


def test_the_file_is_mindspores_to_the_byte(mindspore_file, tmp_path):
    ckpt_file.write(tmp_path / "ours.ckpt", _arrays().items(), TEXTS)
    assert (tmp_path / "ours.ckpt").read_bytes() == pathlib.Path(mindspore_file).read_bytes()


def test_what_mindspore_wrote_is_read(mindspore_file, tmp_path):
    assert ckpt_file.is_mindspore(mindspore_file)
    arrays, texts = ckpt_file.read(mindspore_file)
    _same(arrays, _arrays())
    assert texts == TEXTS
    # Without a checksum, and with what `append_dict` makes of numbers.
    path = str(tmp_path / "plain.ckpt")
    ms.save_checkpoint([{"name": "w", "data": ms.Tensor([1.5, 2.5], ms.bfloat16)}], path,
                       append_dict={"epoch": 3, "rate": 0.5, "done": True})
    arrays, texts = ckpt_file.read(path)
    assert arrays["w"].dtype == np.float32 and arrays["w"].tolist() == [1.5, 2.5] and texts == {}
    assert (int(arrays["epoch"]), float(arrays["rate"]), bool(arrays["done"])) == (3, 0.5, True)


def test_a_large_tensor_stands_in_several_parts(tmp_path, monkeypatch):
    monkeypatch.setattr(ckpt_file, "_PART", 40)
    wanted = {"a": np.arange(25, dtype=np.float32).reshape(5, 5), "b": np.arange(3)}
    ckpt_file.write(tmp_path / "a.ckpt", wanted.items(), {})
    raw = Checkpoint()
    raw.ParseFromString((tmp_path / "a.ckpt").read_bytes()[:-17])
    assert [(value.tag, len(value.tensor.tensor_content)) for value in raw.value] == [
        ("a", 40), ("a", 40), ("a", 20), ("b", 24)]
    _same(ckpt_file.read(tmp_path / "a.ckpt")[0], wanted)
    loaded = ms.load_checkpoint(str(tmp_path / "a.ckpt"), crc_check=True)
    np.testing.assert_array_equal(loaded["a"].asnumpy(), wanted["a"])


def _entry(name="w", dims=(2,), kind="Float32", content=b"\0" * 8):
    whole = Checkpoint()
    value = whole.value.add()
    value.tag, value.tensor.tensor_type, value.tensor.tensor_content = name, kind, content
    value.tensor.dims.extend(dims)
    return whole.SerializeToString()


def test_what_older_versions_wrote():
    """A scalar with the one extent 0, and extents that are packed."""
    assert ckpt_file._array(ckpt_file._Entry("Float32", (0,), [memoryview(b"\0\0\x80?")])) == 1
    assert ckpt_file._array(ckpt_file._Entry("Float32", (0,), [memoryview(b"")])).shape == (0,)
    assert ckpt_file._tensor(memoryview(b"\x0a\x02\x03\x04\x12\x04Bool\x1a\x00")).dims == (3, 4)


def _map():
    whole = Checkpoint()
    value = whole.value.add()
    value.tag = "w"
    value.maptensor.tensor.add(dims=[1], tensor_type="int32", tensor_content=b"1234")
    return whole.SerializeToString()


@pytest.mark.parametrize("content, reason", [
    (b"", "is empty"), (b"hello", "is no MindSpore checkpoint"), (b"\x0a", "is cut off"),
    (b"crc_num" + bytes(10), "holds nothing"),
    (_entry(content=b"\0" * 12), r"'w' has 12 bytes, and its shape \(2 of Float32\) takes 8"),
    (_entry(content=b"\0" * 4), "'w' has 4 bytes"), (_entry(dims=(2, -1)), "'w' has 8 bytes"),
    (_entry(dims=(-1, -2)), "'w' has 8 bytes"), (_entry(dims=(2 ** 62, 4)), "'w' has 8 bytes"),
    (_entry(dims=(2 ** 62, 0), content=b""), "is damaged: 'w'"), (_entry(dims=[1] * 16 + [2]), "more than 16 axes"),
    (_entry(kind="Float31"), "of the type 'Float31'"), (_entry(kind="Int4", content=b"\0"), "of the type 'Int4'"),
    (_entry(kind="Bool", content=b"\1\2"), "neither 0 nor 1"), (_entry(kind="F" * 200), "a name of 200 bytes"),
    (_entry(kind="str", content=b"\0\0\0\xff"), "'w' is no text"), (_entry(kind="str", content=b"abc"), "no text"),
    (_entry(name=""), "without a name"), (_entry(name="n" * 5000), "a name of 5000 bytes"),
    (_entry() + _entry("v") + _entry(), r"holds 'w' twice \(entry 3\)"),
    (_entry() + _entry(dims=(1, 2)), "holds 'w' twice"), (_entry() + _entry(kind="Int32"), "holds 'w' twice"),
    (_entry() + _entry(), "'w' has 16 bytes"), (_map(), "a map of parameters"),
    (_entry()[:-1], "is cut off"), (_entry() + b"\x12\x00", "is no MindSpore checkpoint"),
    (_entry() + b"crc_num" + bytes(9) + b"\x01", "its checksum is not that of its content")])
def test_what_is_damaged_or_made_to_harm_is_refused(content, reason, tmp_path):
    path = tmp_path / "a.ckpt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=reason) as caught:
        ckpt_file.read(path)
    assert "\n" not in str(caught.value)


def test_a_hostile_name_does_not_reach_the_terminal(tmp_path):
    (tmp_path / "a.ckpt").write_bytes(_entry(name="\x1b[2J", content=b""))
    with pytest.raises(ValueError, match=r"'\\x1b\[2J'|\\\\x1b") as caught:
        ckpt_file.read(tmp_path / "a.ckpt")
    assert "\x1b" not in str(caught.value)


def test_strangers_are_told_by_their_first_bytes(tmp_path):
    files = [path for path in FILES.iterdir() if path.suffix != ".npz"]
    assert len(files) >= 5 and not any(map(ckpt_file.is_mindspore, files))
    for index, content in enumerate((b"", b"\x0a", b"\x0a\x03\x0a\x01", b"PK\x03\x04" * 20, b"\x80\x02}" * 9, b"\n\n\n",
                                     b"\x0a\x09\x0a\x01\x00\x12", b"\x08\x09" * 40)):
        (tmp_path / str(index)).write_bytes(content)
        assert not ckpt_file.is_mindspore(tmp_path / str(index))
    for content in (_entry() + b"what follows is looked at when it is read", _entry()[:8]):
        (tmp_path / "a.ckpt").write_bytes(content)
        assert ckpt_file.is_mindspore(tmp_path / "a.ckpt")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_no_numbers_are_refused(value):
    arrays = {"steps": np.arange(3), "a.weight": np.ones((2, 2), np.float32), "b.weight": np.ones(4, np.float16)}
    ckpt_file.refuse_not_finite(arrays.items(), "x.ckpt")
    arrays["b.weight"][2] = value
    with pytest.raises(ValueError, match=r"'x.ckpt' holds numbers that are not finite, first in b.weight \(1 of 4\)"):
        ckpt_file.refuse_not_finite(arrays.items(), "x.ckpt")
