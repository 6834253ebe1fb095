"""A standard stream that closes does not end the work."""
import os
import signal
import subprocess
import sys

import pytest

from ghost_ms.core.streams import unbreakable


def _break_output(monkeypatch):
    """Let sys.stdout be a pipe that nobody reads any more."""
    read, write = os.pipe()
    os.close(read)
    stream = open(write, "w")
    monkeypatch.setattr(sys, "stdout", stream)
    return stream


def test_what_cannot_be_written_is_said_once_and_the_stream_stays_usable(monkeypatch):
    broken = _break_output(monkeypatch)
    with unbreakable() as lost:
        print("a", flush=True)
        print("b", flush=True)
        with unbreakable() as inner:
            assert inner is lost
    assert sys.stdout is broken
    assert lost == ["standard output is closed (Broken pipe): nothing is shown any more, and the work goes on"]
    print("c", flush=True)


def test_what_is_left_in_a_buffer_does_not_raise_at_the_end(monkeypatch):
    _break_output(monkeypatch)
    with unbreakable() as lost:
        print("never flushed")
    assert len(lost) == 1


def test_a_stream_that_the_program_closed(monkeypatch, tmp_path):
    stream = open(tmp_path / "out", "w")
    monkeypatch.setattr(sys, "stdout", stream)
    with unbreakable() as lost:
        stream.close()
        print("a")
        print("b")
    assert len(lost) == 1 and "closed file" in lost[0]


def test_letters_that_the_terminal_does_not_know_are_spelled_out(monkeypatch, tmp_path):
    with open(tmp_path / "out", "w", encoding="ascii") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        with unbreakable() as lost:
            print("Käfer")
    assert (tmp_path / "out").read_text() == "K\\xe4fer\n" and not lost


def test_a_full_pipe_that_does_not_block_is_not_lost(monkeypatch):
    read, write = os.pipe()
    os.set_blocking(write, False)
    with open(write, "w") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        with unbreakable() as lost:
            print("x" * 200000, flush=True)
        assert not lost
        while len(os.read(read, 1 << 17)) == 1 << 17:
            pass
        os.close(read)
        # What is left in the buffer has no reader: not the matter of this test.
        os.dup2(os.open(os.devnull, os.O_WRONLY), write)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
@pytest.mark.parametrize("output", ["full disk", "closed pipe"])
def test_a_process_whose_output_goes_nowhere_ends_well(output):
    """Also where the program had SIGPIPE end it, and native code writes to the same descriptor."""
    code = ("import os, signal, sys; from ghost_ms.core.streams import unbreakable\n"
            "signal.signal(signal.SIGPIPE, signal.SIG_DFL)\n"
            "with unbreakable() as lost:\n"
            "    print('a', flush=True); os.write(1, b'native'); print('b')\n"
            "assert signal.getsignal(signal.SIGPIPE) == signal.SIG_DFL\n"
            "sys.stderr.write(lost[0]); print('c')")
    if output == "full disk":
        target = os.open("/dev/full", os.O_WRONLY)
    else:
        read, target = os.pipe()
        os.close(read)
    done = subprocess.run([sys.executable, "-c", code], stdout=target, stderr=subprocess.PIPE, text=True)
    os.close(target)
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("standard output is closed (" + (
        "No space left" if output == "full disk" else "Broken pipe"))
    assert signal.getsignal(signal.SIGPIPE) == signal.SIG_IGN
