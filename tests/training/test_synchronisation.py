"""Where a training waits for the device: never inside a step, and between steps only to show and to save.

Counted on a real run, by every way in which Python can read a tensor; and looked up in the compiled graph, which must
be one, launched at once, that never calls the host.
"""
import collections
import re
import sys

import mindspore as ms
import pytest
from mindspore import Tensor, amp, nn, ops

from ghost_ms.config import EmaConfig
from ghost_ms.core.device import World
from ghost_ms.training import distributed, loop
from ghost_ms.training.fit import fit
from ghost_ms.training.step import TrainStep
from tests.tiny import registered
from tests.training.test_fit import _small_run
from tests.training.test_step import Linear, _batch, _step

#: All others of Tensor's readers (float, int, bool, index, item, str, numpy, __array__) come down to these.
READERS = ("asnumpy", "_item", "get_bytes", "tolist", "__repr__", "flush_from_cache")
#: What the loader reads comes from the threads of the data pipeline and was never on a device.
LOADER = "ghost_ms.data.loader"
#: Operators by which a graph calls the host: Python code, prints, summaries, dumps.
HOST = re.compile(r"Py|Print|Summary|Dump|Assert|Hook|Callback|Custom")


@pytest.fixture
def reads(monkeypatch):
    """reads[step]: how often a tensor was read, or the device waited for, since that step was called."""
    counted, depth, step = collections.Counter(), [0], [0]

    def watch(owner, name):
        run = getattr(owner, name)

        def call(*args, **kwargs):
            if not depth[0] and sys._getframe(1).f_globals["__name__"] != LOADER:
                counted[step[0]] += 1
            depth[0] += 1
            try:
                return run(*args, **kwargs)
            finally:
                depth[0] -= 1

        monkeypatch.setattr(owner, name, call)

    def next_step(self, images, labels):
        step[0] += 1
        return called(self, images, labels)

    for name in READERS:
        watch(Tensor, name)
    for owner in (ms.runtime, ms.hal):
        watch(owner, "synchronize")
    called = TrainStep.__call__
    monkeypatch.setattr(TrainStep, "__call__", next_step)
    return counted


def test_all_ways_to_read_are_seen(reads):
    value = Tensor([2.0], ms.float32)
    for number, read in enumerate((float, int, bool, str, repr, lambda x: x.item(), lambda x: x.asnumpy(),
                                   lambda x: x.numpy(), lambda x: x.tolist(), lambda x: x.get_bytes(),
                                   lambda x: [1, 2, 3][x.astype(ms.int32)], lambda x: x.__array__(),
                                   lambda _: ms.runtime.synchronize(), lambda _: ms.hal.synchronize()), 1):
        read(value)
        assert reads[0] == number
    value + value
    assert reads[0] == number


def test_a_training_waits_only_where_it_shows_and_saves(reads, monkeypatch, tmp_path):
    """25 steps, with running means: six counters at steps 1, 11, 21 and the last; the state at 14; nothing else."""
    config = _small_run(tmp_path / "run", epochs=1, checkpoint_every=14)
    config.data.batch_size, config.data.synthetic_size, config.ema = 4, 100, EmaConfig(decay=0.9)
    seen = {}

    def average(parameters, world):
        seen.update(reads)

    monkeypatch.setattr(loop, "average_statistics", average)
    with registered():
        fit(config)
    # Compiling the first step reads constants.
    assert {number: count for number, count in seen.items() if number > 1 and number != 14} == {11: 6, 21: 6, 25: 6}
    assert seen[14] > 6


@pytest.mark.parametrize("target, exchanges", [("CPU", 40), ("Ascend", 4)])
def test_ranks_ask_each_other_seldom_where_steps_are_queued(target, exchanges, reads, monkeypatch):
    """40 steps, rank 0 is told to stop after the seventh; the answer to an exchange is read at the next."""
    sent = []
    monkeypatch.setattr(distributed.ops, "AllReduce", lambda: lambda value: sent.append(0) or value)
    with monkeypatch.context() as patch:
        patch.setattr(ms, "get_context", lambda name: target)
        vote = distributed.Vote(World(0, 2))
    answers = [vote.ask(step >= 7) for step in range(1, 41)]
    assert len(sent) == exchanges and reads[0] == exchanges - 1
    assert answers.index(True) + 1 == (8 if target == "CPU" else 20)


def _operators(step, folder, *inputs):
    """(operators of the optimised graph of a call, how many graphs the host launches for it)."""
    ms.set_context(save_graphs=1, save_graphs_path=str(folder))
    try:
        step(*inputs)
    finally:
        ms.set_context(save_graphs=0)
    text = next(folder.glob("*_validate_*.ir")).read_text()
    names = re.findall(r"^\s*%\d+\([^)]*\) = (?:PrimFunc_)?(\w+)\(", text, re.M)
    return collections.Counter(names), len(list(folder.glob("graph_build_*.ir")))


class Talking(nn.Cell):
    """A network that prints."""

    def __init__(self):
        super().__init__()
        self.fc, self.print = nn.Dense(3, 2), ops.Print()

    def construct(self, x):
        x = self.fc(x)
        self.print("logits", x)
        return x


@pytest.mark.parametrize("net, options, calls, switches", [
    (Linear, {}, set(), 0), (Talking, {"scaler": True, "accumulate": 2}, {"Print"}, 2)])
def test_the_compiled_step_never_calls_the_host(net, options, calls, switches, graph, tmp_path):
    """One graph without a branch; what a network prints is seen here. A loss scale and accumulation branch on a value
    of the device: where the runtime and not the device takes a branch, such a step waits once for each."""
    if "scaler" in options:
        options = {**options, "scaler": amp.DynamicLossScaler(1024, 2, 10)}
    images, labels = _batch(0)
    operators, graphs = _operators(_step(net(), **options), tmp_path, Tensor(images), Tensor(labels))
    assert operators["MatMul"] >= 2 and operators["SGD"] == 2
    assert {name for name in operators if HOST.search(name)} == calls
    assert operators["Switch"] == switches and (graphs == 1) == (switches == 0)
