"""Two real ranks: averaged gradients, statistics and sums; and who counts as started by a launcher."""
import json
import os
import pathlib
import subprocess
import sys

import mindspore as ms
import numpy as np
import pytest
from mindspore import nn

from ghost_ms.core import device
from ghost_ms.training import distributed
from ghost_ms.training.distributed import average_statistics, gradient_reducer, sum_over_ranks
from ghost_ms.training.ema import Ema
from tests.processes import free_port
from tests.training.two_ranks import BATCH, STEPS, train_plainly

ROOT = pathlib.Path(__file__).parents[2]
NAMES = ("MS_ROLE", "RANK_TABLE_FILE", "RANK_ID", "RANK_SIZE", "OMPI_COMM_WORLD_SIZE")


@pytest.mark.parametrize("variables, expected", [
    ({}, False), ({"RANK_SIZE": "8"}, False), ({"MS_ROLE": "MS_WORKER"}, True), ({"MS_ROLE": "MS_SCHED"}, True),
    ({"RANK_TABLE_FILE": "t", "RANK_ID": "0", "RANK_SIZE": "8"}, True),
    ({"RANK_TABLE_FILE": "t", "RANK_ID": "0", "RANK_SIZE": "1"}, False),
    ({"OMPI_COMM_WORLD_SIZE": "2"}, True), ({"OMPI_COMM_WORLD_SIZE": "1"}, False)])
def test_who_was_launched(variables, expected, monkeypatch):
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert device.launched() is expected


def test_one_process_alone():
    world, net = device.World(), nn.BatchNorm2d(2)
    assert device.world() == world and world.is_main
    assert sum_over_ranks([1.0, 2.0], world) == [1.0, 2.0] and gradient_reducer(net.trainable_params(), world) is None
    net.moving_mean.set_data(ms.Tensor([1.0, 2.0]))
    average_statistics(net.get_parameters(), world)
    assert net.moving_mean.asnumpy().tolist() == [1.0, 2.0]


def test_running_means_are_averaged_as_the_statistics_are(monkeypatch):
    """With a rank beside this one whose numbers are larger by 2; weights are alike on all ranks and stay."""
    monkeypatch.setattr(distributed, "_sum", lambda values: 2 * values + 2)
    net = nn.SequentialCell(nn.BatchNorm2d(2))
    ema = Ema(net, 0.9)
    before = {name: mean.copy() for name, mean in ema.means().items()}
    average_statistics([*net.get_parameters(), *ema.get_parameters()], device.World(0, 2))
    assert net[0].moving_mean.asnumpy().tolist() == [1.0, 1.0] and net[0].gamma.asnumpy().tolist() == [1.0, 1.0]
    for name, mean in ema.means().items():
        np.testing.assert_array_equal(mean, before[name] + ("moving" in name))
    assert ema.counted.asnumpy().tolist() == [0]


def test_what_all_ranks_have_keeps_its_shape(monkeypatch):
    """A scalar too: a resumed run saves what it has loaded, and a later one looks at the shapes."""
    monkeypatch.setattr(distributed.ops, "AllGather", lambda: lambda flat: ms.ops.concat((flat, 2 * flat)))
    values = [np.array(3, np.float32), np.array([[1, 2]], np.float32), np.array([4], np.float32)]
    for size in (1, 2):
        gathered = distributed.gather([ms.Parameter(ms.Tensor(value)) for value in values], device.World(0, size))
        for value, found in zip(values, gathered):
            np.testing.assert_array_equal(found, np.stack([value, 2 * value][:size]))
            assert found.shape == (size, *value.shape)


@pytest.mark.parametrize("said, meant", [
    ("Failed to initialize", "did not find"), ("The total number of timed out node is 1", "lost")])
def test_processes_that_cannot_meet_say_so(said, meant, monkeypatch):
    def fail():
        raise RuntimeError(f"{said}\n- more")

    monkeypatch.setattr("mindspore.communication.init", fail)
    with pytest.raises(ValueError, match=f"processes of this CPU run {meant} each other: {said}$"):
        device._join("CPU")


def test_two_ranks(tmp_path, graph, no_process_left):
    """Weights start equal and stay equal, and move by the mean of the two gradients, which is computed by hand here;
    and without BatchNorm two ranks are one with a batch twice as large."""
    environment = {**os.environ, "PATH": f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}",
                   "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-m", "mindspore.parallel.cluster.run", "--worker_num=2",
                           "--local_worker_num=2", f"--master_port={free_port()}", "--join=True",
                           "--cluster_time_out=300", f"--log_dir={tmp_path}", str(ROOT / "tests/training/two_ranks.py"),
                           str(tmp_path)], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          timeout=540)
    assert (tmp_path / "found_1.json").exists(), done.stdout
    first, second = (json.loads((tmp_path / f"found_{rank}.json").read_text()) for rank in (0, 1))
    assert (first["rank"], second["rank"], first["size"]) == (0, 1, 2)
    assert first["before"] == second["before"] and first["after"] == second["after"]
    assert first["sum"] == second["sum"] == [3.0, 20.0, 2 ** 41 + 3] and first["main"] == second["main"] == [7.0]
    np.testing.assert_allclose(first["mean"], np.mean([first["local_mean"], second["local_mean"]], 0), rtol=1e-6)
    assert first["mean"] == second["mean"] and first["local_mean"] != second["local_mean"]
    weight = np.array(first["before"])
    gradients = [_gradient(weight, np.random.default_rng(rank).standard_normal((4, 3)) + rank) for rank in (0, 1)]
    np.testing.assert_allclose(first["after"], weight - 0.5 * np.mean(gradients, 0), rtol=1e-4, atol=1e-6)
    # A rank goes on with its own statistics, sums and gradients, in the middle of an accumulation.
    assert first["first_mean"] != second["first_mean"]
    for found in (first, second):
        assert {"0.moving_mean", "accumulated.1.weight", "loss_sum", "micro_step"} <= set(found["resumed"])
        assert all(found["resumed"].values()), found["resumed"]
        # An answer is that to the call before; `ask_now` is told both.
        assert found["votes"] == [False, True, False, False, True, False, True]
    alone = train_plainly(device.World())
    assert first["plain"] == second["plain"]
    worst = max(abs(np.array(first["plain"][name]) - values).max() for name, values in alone.items())
    print(f"two ranks of {BATCH} images against one of {2 * BATCH}, {STEPS} steps: largest difference {worst:.1e}")
    assert worst < 1e-5


def _gradient(weight, images):
    """Of the cross-entropy behind normalisation and a dense layer without bias."""
    normalised = (images - images.mean(0)) / np.sqrt(images.var(0) + 1e-5)
    logits = normalised @ weight.T
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return (p - np.eye(2)[[0, 1, 1, 0]]).T @ normalised / 4
