"""How many threads work at what."""
import os

import pytest

from ghost_ms.core import threads


@pytest.mark.parametrize("asked, count", [("3", 3), ("0", None), ("", None), ("many", None), ("-2", None)])
def test_kernels_take_the_cores_or_what_openmp_is_told(monkeypatch, asked, count):
    monkeypatch.setenv("OMP_NUM_THREADS", asked)
    assert threads.kernel_threads() == (count or threads.cores())


@pytest.mark.parametrize("processes, count", [(1, 8), (3, 2), (8, 1), (20, 1)])
def test_processes_share_the_cores(monkeypatch, processes, count):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(threads, "cores", lambda: 8)
    assert threads.kernel_threads(processes) == count


def test_cores_are_those_that_this_process_may_use(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {1, 5, 6}, raising=False)
    assert threads.cores() == 3
