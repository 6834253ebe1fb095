"""A fixed small part of what `tests/fuzz_files.py` does at length: no file of a stranger crashes, hangs or swells."""
import collections
import contextlib
import random
import subprocess
import sys

import pytest

from tests import fuzz_files, mutations, tiny

#: Cases of each format: those that run a network cost more.
COUNTS = collections.defaultdict(lambda: 300, onnx=150, mindir=20)


@pytest.mark.parametrize("name", [name for name in fuzz_files.FORMATS if name != "mindir"])
def test_no_file_of_a_stranger_does_harm(name, tmp_path):
    with tiny.registered():
        seeds = fuzz_files.seeds_of(name, tmp_path)
        found = [fuzz_files.run_case(name, tmp_path, seeds, 1, case) for case in range(COUNTS[name])]
    assert not [outcome for outcome in found if outcome[0] in fuzz_files.BAD]
    counts = collections.Counter(outcome for outcome, _ in found)
    assert counts["refused"] > 0.3 * COUNTS[name] and counts["accepted"] > 0, dict(counts)


def test_the_driver_runs_cases_in_workers(monkeypatch, capfd):
    """With the format whose runtime does crash; two workers, the second behind the first one's cases."""
    monkeypatch.setattr(fuzz_files, "CASES", 12)
    counts = fuzz_files.fuzz("mindir", COUNTS["mindir"], seed=1)
    assert sum(counts[outcome] for outcome in fuzz_files.BAD) == 0, capfd.readouterr().err
    assert counts["refused"] + counts["accepted"] + counts["contained"] == COUNTS["mindir"] and counts["accepted"] > 0


@pytest.mark.parametrize("lines, outcomes", [
    (["0", '["refused", ""]', "1", '["accepted", ""]', '["end", 7]'], [(0, "refused", ""), (1, "accepted", ""),
                                                                        (7, "end", "")]),
    (["0", '["refused", ""]', "1"], [(0, "refused", ""), (1, "crash", "exit code 3")]),
    ([], [(5, "crash", "exit code 3")])])
def test_a_worker_that_dies_is_counted(lines, outcomes, monkeypatch):
    code = f"print({chr(10).join(lines)!r}, end={chr(10) if lines else ''!r}, flush=True); import os; os._exit(3)"
    monkeypatch.setattr(fuzz_files, "_call", lambda *_: subprocess.Popen([sys.executable, "-c", code], bufsize=0,
                                                                         stdout=subprocess.PIPE))
    assert list(fuzz_files._cases("ckpt", None, 0, 5 if not lines else 0, 2)) == outcomes


def test_a_worker_that_hangs_is_ended(monkeypatch):
    monkeypatch.setattr(fuzz_files, "LIMIT", 0.2)
    code = "print(3, flush=True); import time; time.sleep(60)"
    monkeypatch.setattr(fuzz_files, "_call", lambda *_: subprocess.Popen([sys.executable, "-c", code], bufsize=0,
                                                                         stdout=subprocess.PIPE))
    assert list(fuzz_files._cases("ckpt", None, 0, 3, 2)) == [(3, "hang", "")]


def test_outcomes():
    def run(error):
        def raising(_):
            raise error
        return fuzz_files.outcome(raising, "path")[0]

    assert [run(error) for error in (ValueError("no"), OSError("no"), ValueError("two\nlines"), KeyError("x"),
                                     MemoryError(), RuntimeError())] == [
        "refused", "refused", "crash", "crash", "memory", "crash"]
    assert fuzz_files.outcome(lambda _: None, "path") == ["accepted", ""]
    assert fuzz_files.outcome(lambda _: "contained", "path") == ["contained", ""]


def test_edits_keep_the_format():
    """What is edited is read again by what wrote it, where the edit leaves values that it takes."""
    from google.protobuf import descriptor_pb2
    from google.protobuf.message import DecodeError

    whole = descriptor_pb2.FileDescriptorProto(name="näme", public_dependency=[1, 300])
    whole.message_type.add(name="a").field.add(name="x", number=3)
    data = whole.SerializeToString()
    assert mutations.dump(mutations.parse(data)) == data
    draw, read = random.Random(0), 0
    for _ in range(200):
        edited = mutations.protobuf_edit(data, draw)
        with contextlib.suppress(DecodeError, UnicodeDecodeError):
            read += descriptor_pb2.FileDescriptorProto.FromString(edited) is not None
    assert read > 100
