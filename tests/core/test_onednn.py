"""oneDNN held to AVX2 where it has no kernels for AVX-512."""
import os
import subprocess
import sys

import pytest

from ghost_ms.core import onednn

WITH = frozenset({"avx2", "avx512f"})


@pytest.mark.parametrize("version, flags, before, after", [
    ("2.10.0", WITH, None, "AVX2"), ("2.9.0", WITH, None, "AVX2"), ("2.8.0", WITH, None, None),
    ("2.10.0", frozenset({"avx2"}), None, None), ("2.10.0", WITH, "AVX512_CORE", "AVX512_CORE")])
def test_held_back_where_that_helps_and_nobody_chose(monkeypatch, version, flags, before, after):
    monkeypatch.setattr(onednn.metadata, "version", lambda _: version)
    monkeypatch.setattr(onednn, "processor_flags", lambda: flags)
    monkeypatch.setattr(onednn, "held", False)
    monkeypatch.delenv(onednn.VARIABLE, raising=False)
    if before:
        monkeypatch.setenv(onednn.VARIABLE, before)
    onednn.hold_back()
    assert os.environ.get(onednn.VARIABLE) == after
    said = onednn.remark(version)
    assert ("is held to AVX2" in said) == (before is None and after is not None)
    assert ("tens of times slower" in said) == bool(before)
    # What a later test finds is what was there.
    monkeypatch.delenv(onednn.VARIABLE, raising=False)


def test_without_mindspore_nothing_is_held(monkeypatch):
    def none(_):
        raise onednn.metadata.PackageNotFoundError

    monkeypatch.setattr(onednn.metadata, "version", none)
    monkeypatch.delenv(onednn.VARIABLE, raising=False)
    onednn.hold_back()
    assert onednn.VARIABLE not in os.environ


@pytest.mark.parametrize("held_to, slow", [(None, True), ("AVX2", False), ("avx2_vnni", False), ("SSE41", False),
                                           ("AVX", False), ("AVX512_CORE", True), ("ALL", True)])
def test_who_chose_a_slow_one_is_told(held_to, slow):
    assert bool(onednn.slow_convolutions("2.10.0", WITH, held_to)) == slow


def test_it_is_held_before_mindspore_is_loaded():
    """Importing the package, then MindSpore, in a process of its own."""
    code = ("import ghost_ms, os\nfrom ghost_ms.core import onednn\nonednn.afflicted = lambda *_: True\n"
            "import mindspore\nprint(os.environ[onednn.VARIABLE])")
    environment = {key: value for key, value in os.environ.items() if key != onednn.VARIABLE}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.stdout.strip() == "AVX2", done.stderr
