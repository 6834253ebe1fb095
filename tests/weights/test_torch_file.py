"""PyTorch's files are read exactly; cut, damaged and hostile ones end in one sentence."""
import json
import os
import pathlib
import pickle
import resource
import struct
import time
import zipfile

import numpy as np
import pytest

from ghost_ms.weights.torch_file import read
from tests.weights import fuzz_torch_file

FILES = pathlib.Path(__file__).parent / "files"
_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001


@pytest.fixture(scope="module")
def expected():
    return dict(np.load(FILES / "expected.npz"))


def _legacy(path, body, protocol=2, tail=b""):
    """A file of the older format around the pickle `body` of the object."""
    head = b"".join(pickle.dumps(part, protocol) for part in (_MAGIC, _PROTOCOL, {"little_endian": True}))
    path.write_bytes(head + body + (tail or pickle.dumps([], protocol)))
    return path


def _storage(key=b"0", kind=b"FloatStorage", count=4):
    """Pickle instructions that push a storage of PyTorch."""
    return (b"(X\x07\x00\x00\x00storagectorch\n" + kind + b"\nX" + struct.pack("<I", len(key)) + key +
            b"X\x03\x00\x00\x00cpu\x8a\x08" + struct.pack("<q", count) + b"tQ")


def _tensor(shape, strides, offset=0, count=4):
    numbers = [b"(" + b"".join(b"\x8a\x08" + struct.pack("<q", n) for n in part) + b"t" for part in (shape, strides)]
    return (b"\x80\x02}X\x01\x00\x00\x00actorch._utils\n_rebuild_tensor_v2\n(" + _storage(count=count) + b"\x8a\x08" +
            struct.pack("<q", offset) + numbers[0] + numbers[1] + b"\x89}tRs.")


def _values(count=4):
    return pickle.dumps(["0"], 2) + struct.pack("<q", count) + np.arange(count, dtype=np.float32).tobytes()


@pytest.mark.parametrize("name", ["zip.pth", "legacy.pth", "tensors.safetensors"])
def test_every_type_and_layout(name, expected):
    tensors, metadata = read(FILES / name)
    wanted = {key[len("state/"):]: value for key, value in expected.items() if key.startswith("state/")}
    assert set(tensors) == set(wanted)
    for key, value in wanted.items():
        assert tensors[key].dtype == value.dtype and tensors[key].shape == value.shape, key
        np.testing.assert_array_equal(tensors[key], value, err_msg=key)
        assert not (tensors[key].size and tensors[key].flags.writeable)
    assert metadata["@format"] == {"zip.pth": "zip", "legacy.pth": "legacy"}.get(name, "safetensors")


def test_tied_tensors_share_memory():
    for name in ("zip.pth", "legacy.pth"):
        tensors, _ = read(FILES / name)
        assert np.shares_memory(tensors["tied.a"], tensors["tied.b"])
        assert np.shares_memory(tensors["tied.a"], tensors["strided.window"])


def test_order_of_the_file_is_kept():
    first = list(read(FILES / "zip.pth")[0])
    assert first == list(read(FILES / "legacy.pth")[0]) and first[0] == "0.weight"


def test_training_checkpoint_with_what_scripts_put_beside_weights(expected):
    tensors, metadata = read(FILES / "checkpoint.pth.tar")
    np.testing.assert_array_equal(tensors["state_dict/weight"], expected["linear"])
    np.testing.assert_array_equal(tensors["state_dict_ema/module.weight"], expected["averaged"])
    np.testing.assert_array_equal(tensors["best"], [1.0, 2.0])
    assert tensors["optimizer/state/0/exp_avg"].shape == (2, 3)
    wanted = {"epoch": 3, "args/lr": 0.1, "args/output": "/runs/1", "args/betas": [0.9, 0.999], "metric": 75.5,
              "args/dtype": "torch.float16", "args/device": "cuda:0", "args/size": [3, 2], "milestones/30": 1,
              "optimizer/param_groups/0/lr": 0.1, "arch": "linear"}
    assert {key: metadata[key] for key in wanted} == wanted


def test_whole_module_is_refused_by_name():
    with pytest.raises(ValueError, match="torch.nn.modules.linear.Linear"):
        read(FILES / "module.pth")


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_command_in_a_pickle_is_named_and_not_run(tmp_path, protocol):
    marker = tmp_path / "ran"

    class Command:
        def __reduce__(self):
            return os.system, (f"touch {marker}",)

    path = _legacy(tmp_path / "a.pth", pickle.dumps({"a": Command()}, protocol), protocol)
    with pytest.raises(ValueError, match=r"posix\.system.*refused"):
        read(path)
    with zipfile.ZipFile(tmp_path / "b.pth", "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({"a": Command()}, protocol))
    with pytest.raises(ValueError, match=r"posix\.system.*refused"):
        read(tmp_path / "b.pth")
    assert not marker.exists()


@pytest.mark.parametrize("body, reason", [
    (b"\x80\x02cbuiltins\ngetattr\n.", r"builtins\.getattr"),
    (b"\x80\x02ctorch\nfloat32\n)R.", "call torch.float32"),
    (b"\x80\x02(S'a'\ni__main__\nX\n.", "STRING"),
    (b"\x80\x02(i__main__\nX\n.", "INST"),
    (b"\x80\x02\x82\x01.", "EXT1"),
    (b"\x80\x02Pname\n.", "PERSID"),
    (b"\x80\x02X\xff\xff\xff\x7f.", "cut off"),
    (b"\x80\x02\x8b\xff\xff\xff\x7f.", "MiB|cut off"),
    (b"\x80\x02\x8b\x80\x00\x00\x00" + b"\x01" * 128 + b".", "integer of 128 bytes"),
    (b"\x80\x02j\xff\xff\xff\xff.", "LONG_BINGET"),
    (b"\x80\x02t.", "TUPLE"),
    (b"\x80\x02}]Ns.", "list for a key"),
    (b"\x80\x02(X\x06\x00\x00\x00moduleNN" + b"NNtQ.", "'module' outside"),
])
def test_pickles_made_to_harm(tmp_path, body, reason):
    with pytest.raises(ValueError, match=reason):
        read(_legacy(tmp_path / "a.pth", body))


@pytest.mark.parametrize("opening, closing", [(b"]", b"a"), (b"(", b"t"), (b"}X\x01\x00\x00\x00a", b"s")])
def test_a_million_levels(tmp_path, opening, closing):
    start = time.perf_counter()
    for depth, reason in ((1_000_000, "instructions"), (200_000, "levels")):
        with pytest.raises(ValueError, match=reason):
            read(_legacy(tmp_path / "a.pth", b"\x80\x02" + opening * depth + b"N" + closing * depth + b"."))
    assert time.perf_counter() - start < 60


def test_nesting_that_multiplies_is_bounded(tmp_path):
    body = b"\x80\x02]q\x000" + b"".join(b"](h%ch%ceq%c0" % (n, n, n + 1) for n in range(40)) + b"h\x28."
    with pytest.raises(ValueError, match="instructions|MiB"):
        read(_legacy(tmp_path / "a.pth", body))


def test_a_container_inside_itself(tmp_path):
    with pytest.raises(ValueError, match="64 levels"):
        read(_legacy(tmp_path / "a.pth", b"\x80\x02]q\x00h\x00a."))


@pytest.mark.parametrize("shape, strides, offset, fits", [
    ((2, 2), (2, 1), 0, True), ((2, 2), (1, 2), 0, True), ((5,), (0,), 3, True), ((4,), (1,), 1, False),
    ((2, 3), (2, 1), 0, False), ((1 << 40, 1 << 40), (0, 0), 0, False), ((2,), (1 << 61,), 0, False),
    ((1 << 21,), (0,), 0, False), ((-1,), (1,), 0, False), ((2,), (-1,), 3, False), ((1,), (1,), -1, False),
    ((0,), (1,), 1 << 40, True),
])
def test_tensor_windows(tmp_path, shape, strides, offset, fits):
    path = _legacy(tmp_path / "a.pth", _tensor(shape, strides, offset), tail=_values())
    if not fits:
        with pytest.raises(ValueError, match="fit|cannot be"):
            read(path)
        return
    value = read(path)[0]["a"]
    reference = np.lib.stride_tricks.as_strided(np.arange(4, dtype=np.float32)[min(offset, 3):], shape,
                                                [4 * stride for stride in strides])
    np.testing.assert_array_equal(value, reference)


def test_storage_lengths_that_lie(tmp_path):
    for count, tail in ((1 << 40, _values()), (4, pickle.dumps(["0"], 2) + struct.pack("<q", 1 << 60)),
                        (4, _values()[:-1]), (4, _values(3)), (4, pickle.dumps([], 2)), (4, pickle.dumps(["1"], 2))):
        with pytest.raises(ValueError, match="fit|declared|cut off|missing"):
            read(_legacy(tmp_path / "a.pth", _tensor((2,), (1,), count=count), tail=tail))


def _archive(path, method=zipfile.ZIP_STORED, body=None, **records):
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("a/data.pkl", body or _tensor((4,), (1,)))
        for name, content in {"data/0": np.arange(4, dtype=np.float32).tobytes(), **records}.items():
            archive.writestr(f"a/{name}", content)
    return path


def test_archives(tmp_path, monkeypatch):
    path = tmp_path / "a.pth"
    np.testing.assert_array_equal(read(_archive(path))[0]["a"], [0, 1, 2, 3])
    big = {"byteorder": b"big", "data/0": np.arange(4, dtype=">f4").tobytes()}
    np.testing.assert_array_equal(read(_archive(path, **big))[0]["a"], [0, 1, 2, 3])
    for reason, options in (("compressed", {"method": zipfile.ZIP_DEFLATED}), ("byte order", {"byteorder": b"middle"}),
                            ("20 bytes", {"data/0": b"\0" * 20}), ("TorchScript", {"constants.pkl": b""}),
                            ("no record 'data/1'", {"body": _tensor((4,), (1,)).replace(b"\x010", b"\x011").replace(
                                b"X\x01\x00\x00\x000", b"X\x01\x00\x00\x001")})):
        with pytest.raises(ValueError, match=reason):
            read(_archive(path, **options))
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 0)
    np.testing.assert_array_equal(read(_archive(path))[0]["a"], [0, 1, 2, 3])


def test_flipped_weight_is_noticed_in_an_archive(tmp_path):
    data = bytearray((FILES / "zip.pth").read_bytes())
    content = read(FILES / "zip.pth")[0]["tied.a"].tobytes()
    data[data.index(content) + 5] ^= 1
    (tmp_path / "a.pth").write_bytes(data)
    with pytest.raises(ValueError, match="checksum"):
        read(tmp_path / "a.pth")


def test_archive_without_checksums_is_read(tmp_path):
    data = bytearray((FILES / "zip.pth").read_bytes())
    with zipfile.ZipFile(FILES / "zip.pth") as archive:
        position = archive.start_dir
        for record in archive.infolist():
            data[position + 16:position + 20] = bytes(4)
            position += 46 + len(record.filename) + len(record.extra)
    (tmp_path / "a.pth").write_bytes(data)
    assert len(read(tmp_path / "a.pth")[0]) == len(read(FILES / "zip.pth")[0])


def _safetensors(path, header, body=bytes(8)):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)
    return path


@pytest.mark.parametrize("header, reason", [
    ({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}, "does not fit"),
    ({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
      "b": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}, "overlap"),
    ({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, "cut off"),
    ({"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}, "does not fit"),
    ({"a": {"dtype": "F32", "shape": [-2], "data_offsets": [0, 8]}}, "damaged"),
    ({"a": {"dtype": "F8_E4M3", "shape": [8], "data_offsets": [0, 8]}}, "F8_E4M3"),
    ({"a": {"dtype": "F32", "shape": [0, 1 << 62], "data_offsets": [0, 0]}}, "axes|cut off|gaps"),
    (b"[" * 2_000_000, "JSON"),
    (b'{"a":' + b"9" * 100_000 + b"}", "digits"),
    (b'{"a": 1, "a": 2}', "twice"),
])
def test_safetensors_made_to_harm(tmp_path, header, reason):
    with pytest.raises(ValueError, match=reason):
        read(_safetensors(tmp_path / "a.safetensors", header))


@pytest.mark.parametrize("content, reason", [
    (b"", "empty"), (b"<!DOCTYPE html><html>", "web page"), (b"\x1f\x8b\x08", "gzip"), (b"\x80", "cut off"),
    (b"PK\x03\x04", "directory"), (pickle.dumps({"a": 1}, 2), "not one that PyTorch wrote"), (b"hello", "neither"),
    (b"\0" * 257 + b"ustar", "tar archive"), (b"version https://git-lfs.github.com/spec/v1", "git-lfs pointer"),
])
def test_strangers(tmp_path, content, reason):
    (tmp_path / "a.pth").write_bytes(content)
    with pytest.raises(ValueError, match=reason):
        read(tmp_path / "a.pth")


def test_five_hundred_damaged_files():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    outcomes, longest = fuzz_torch_file.run(500, seed=7)
    assert sum(outcomes.values()) == 500
    assert sum(count for (_, outcome), count in outcomes.items() if outcome == "refused") > 300
    assert longest < 5 and resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 << 10
