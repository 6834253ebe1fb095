"""The launchers with real trainings on the CPU: two and four processes on one host, two hosts in network namespaces."""
import contextlib
import csv
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

from tests.ascend.conftest import ROOT, listen
from tests.processes import free_port
from tests.same import assert_same_runs

RECIPE = """
model: {{name: vanillanet_5, args: {{unit: 8}}}}
data: {{dataset: synthetic, batch_size: 16, eval_batch_size: 20, input_size: [32, 32], synthetic_size: {images},
       synthetic_classes: 4, workers: 1, crop_ratio: 1.0}}
optimizer: {{lr: 0.05}}
train: {{epochs: {epochs}, log_every: 2}}
run: {{dir: {folder}/run, device: CPU}}
"""


def _recipe(folder, images=64, epochs=1):
    path = folder / "tiny.yaml"
    path.write_text(RECIPE.format(folder=folder, images=images, epochs=epochs))
    return path


def test_two_workers_train_for_real(shell, tmp_path):
    """Both see the same averages, rank 0 writes the run's folder, and each rank has a log of its own."""
    done = shell("scripts/run_distribute_train.sh", _recipe(tmp_path), 2, "--log-dir", tmp_path / "logs", timeout=540,
                 OMP_NUM_THREADS="1")
    assert done.returncode == 0, done.stderr
    assert "done: every rank ended well" in done.stdout and "rank 0 of 2" in done.stdout
    logs = [(tmp_path / "logs" / f"worker_{rank}.log").read_text() for rank in (0, 1)]
    lines = [[line for line in log.splitlines() if line.startswith("epoch 1/1: ")] for log in logs]
    assert "rank 1 of 2" in logs[1] and len(lines[0]) == 1
    # Sums over all ranks: both print the same loss and accuracy, but for the speed, which each measures itself.
    assert [line[0].split(", ")[:3] for line in lines][0] == [line[0].split(", ")[:3] for line in lines][1]
    assert sorted(os.listdir(tmp_path / "run")) == ["checkpoints", "config.yaml", "curves.png", "log.txt",
                                                    "metrics.csv"]
    row = next(csv.DictReader(open(tmp_path / "run" / "metrics.csv")))
    assert row["epoch"] == "1" and float(row["train_loss"]) == pytest.approx(np.log(4), abs=0.2)
    assert "rank 0 of 2" in (tmp_path / "run" / "log.txt").read_text()


@pytest.mark.slow
def test_four_workers_through_the_ascend_launcher(shell, tmp_path):
    done = shell("ascend/run_distribute_train.sh", _recipe(tmp_path, 128, 2), "--workers", 4, "--log-dir",
                 tmp_path / "logs", timeout=900, DEVICE_TARGET="CPU", OMP_NUM_THREADS="1")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "logs" / "rank_3.exit").read_text() == "0\n"
    assert len(list(csv.DictReader(open(tmp_path / "run" / "metrics.csv")))) == 2


def _job(recipe, logs, *overrides):
    environment = {**os.environ, "PYTHON": sys.executable, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(["bash", ROOT / "scripts/run_distribute_train.sh", recipe, "2", "--log-dir", logs,
                             *overrides], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
                            preexec_fn=listen)


@pytest.mark.slow
def test_two_workers_go_on_with_the_same_bits(tmp_path):
    """SIGTERM to the launcher, then SIGKILL to a rank; BatchNorm statistics differ between the ranks all the time."""
    recipe = _recipe(tmp_path, images=96, epochs=8)
    options = "--train.checkpoint_every", "2", "--train.resume", "auto", "--train.log_every", "1"
    whole = _job(recipe, tmp_path / "whole_logs", "--run.dir", str(tmp_path / "whole"), *options)
    assert whole.wait(timeout=540) == 0
    job = _job(recipe, tmp_path / "term", *options)
    _wait_for(tmp_path / "term" / "worker_0.log", "epoch 3/", 400)
    job.send_signal(signal.SIGTERM)
    out, err = job.communicate(timeout=120)
    assert job.returncode == 0 and "stopped by SIGTERM: every rank ended well" in out, err
    places = [re.findall(r"^stopped by SIGTERM at (.+): saved in '.*last.ckpt'; the same command with --train.resume "
                         r"auto goes on$", (tmp_path / "term" / f"worker_{rank}.log").read_text(), re.M)
              for rank in (0, 1)]
    assert places[0] == places[1] and len(places[0]) == 1
    job = _job(recipe, tmp_path / "kill", *options)
    _wait_for(tmp_path / "kill" / "worker_1.log", "epoch 5/", 400)
    os.kill(_process_of(tmp_path, "1"), signal.SIGKILL)
    job.communicate(timeout=120)
    assert job.returncode == 1 and f", {places[0][0]}" in (tmp_path / "kill" / "worker_1.log").read_text()
    job = _job(recipe, tmp_path / "last", *options)
    job.communicate(timeout=540)
    assert job.returncode == 0 and "resuming from" in (tmp_path / "last" / "worker_0.log").read_text()
    assert_same_runs(tmp_path / "whole", tmp_path / "run")
    assert len(list(csv.DictReader(open(tmp_path / "run" / "metrics.csv")))) == 8


def _process_of(folder, rank):
    """Id of the training process of a rank of the job whose recipe lies in the folder."""
    pids = subprocess.run(["pgrep", "-f", f"train.py --config {folder}"], stdout=subprocess.PIPE, text=True)
    return next(int(pid) for pid in pids.stdout.split() if "worker.py" not in _command(pid) and _rank(pid) == rank)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["kill a rank", "interrupt"])
def test_a_real_job_that_is_broken_off(how, tmp_path):
    """A rank killed in the middle of training is named; after Ctrl-C the training is saved and no process is left. Both
    free the port."""
    port = free_port()
    logs = tmp_path / "logs"
    job = _job(_recipe(tmp_path, epochs=5000), logs, "--port", str(port))
    _wait_for(logs / "worker_1.log", "epoch 2/", 400)
    broken = time.time()
    if how == "interrupt":
        job.send_signal(signal.SIGINT)
    else:
        os.kill(_process_of(tmp_path, "1"), signal.SIGKILL)
    out, err = job.communicate(timeout=120)
    assert time.time() - broken < 40
    assert job.returncode == (130 if how == "interrupt" else 1)
    if how == "interrupt":
        assert "stopped by SIGINT: every rank ended well" in out and (tmp_path / "run/checkpoints/last.ckpt").exists()
    else:
        assert "rank 1 failed: it was ended by SIGKILL" in err
    assert not subprocess.run(["pgrep", "-f", str(tmp_path)], stdout=subprocess.PIPE).stdout
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("", port))


def _command(pid):
    return open(f"/proc/{pid}/cmdline").read()


def _rank(pid):
    variables = open(f"/proc/{pid}/environ").read().split("\0")
    return "scheduler" if "MS_ROLE=MS_SCHED" in variables else dict(v.partition("=")[::2] for v in variables)["RANK_ID"]


def _wait_for(path, words, seconds):
    end = time.time() + seconds
    while time.time() < end:
        if path.exists() and words in path.read_text(errors="replace"):
            return
        time.sleep(0.5)
    raise AssertionError(f"{path} never said '{words}': {path.read_text() if path.exists() else 'no file'}")


def _can_make_namespaces():
    if os.geteuid() != 0 or shutil.which("ip") is None:
        return False
    made = subprocess.run(["ip", "netns", "add", "ghostms_probe"], stderr=subprocess.DEVNULL).returncode == 0
    return made and subprocess.run(["ip", "netns", "del", "ghostms_probe"]).returncode == 0


@pytest.fixture
def hosts():
    """Two hosts, 10.77.0.1 and 10.77.0.2: network namespaces that a veth pair joins."""
    if not _can_make_namespaces():
        pytest.skip("network namespaces need root and iproute2")
    names = [f"ghostms{os.getpid()}{side}" for side in "ab"]
    for name in names:
        subprocess.run(["ip", "netns", "add", name], check=True)
        subprocess.run(["ip", "-n", name, "link", "set", "lo", "up"], check=True)
    subprocess.run(["ip", "link", "add", "veth0", "netns", names[0], "type", "veth", "peer", "name", "veth0", "netns",
                    names[1]], check=True)
    for number, name in enumerate(names, 1):
        subprocess.run(["ip", "-n", name, "addr", "add", f"10.77.0.{number}/24", "dev", "veth0"], check=True)
        subprocess.run(["ip", "-n", name, "link", "set", "veth0", "up"], check=True)
    yield names
    for name in names:
        _kill_host(name)
        subprocess.run(["ip", "netns", "del", name])


def _kill_host(name):
    for pid in subprocess.run(["ip", "netns", "pids", name], stdout=subprocess.PIPE, text=True).stdout.split():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)


def _nodes(hosts, recipe, logs, *options):
    environment = {**os.environ, "PYTHON": sys.executable, "DEVICE_TARGET": "CPU", "OMP_NUM_THREADS": "1",
                   "LOST_AFTER": "30"}
    return [subprocess.Popen(["ip", "netns", "exec", name, "bash", ROOT / "ascend/run_cluster_train.sh", recipe,
                              "--node-rank", str(rank), "--nodes", "2", "--master-addr", "10.77.0.1", "--workers", "1",
                              "--log-dir", logs / f"node_{rank}", *options],
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
            for rank, name in enumerate(hosts)]


def _break(event, hosts):
    """Cut the link or kill a host; returns the nodes that are left."""
    if event == "link cut":
        subprocess.run(["ip", "-n", hosts[1], "link", "set", "veth0", "down"], check=True, timeout=60)
        return [0, 1]
    dead = int(event.split()[-2])
    _kill_host(hosts[dead])
    return [1 - dead]


@pytest.mark.slow
@pytest.mark.parametrize("event", ["link cut", "host of node 0 dies", "host of node 1 dies"])
def test_two_hosts_that_lose_each_other(event, hosts, tmp_path):
    """The nodes that are left end within 90 s, each with one sentence that says what happened."""
    nodes = _nodes(hosts, _recipe(tmp_path, images=640, epochs=5000), tmp_path)
    _wait_for(tmp_path / "node_1" / "worker_1.log", "epoch 2/", 400)
    started = time.time()
    for rank in _break(event, hosts):
        _, err = nodes[rank].communicate(timeout=180)
        last = err.strip().splitlines()[-1]
        print(f"{event}: node {rank} ended after {time.time() - started:.0f} s: {last}")
        assert nodes[rank].returncode == 1 and last.startswith("error: ")
        assert any(words in last for words in ("lost in the middle of an exchange", "does not answer any more")), last
        assert time.time() - started < 90


EPOCHS = 14
EXACT = "--train.checkpoint_every", "2", "--train.resume", "auto", "--train.log_every", "1"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder of a run of two ranks that nothing broke."""
    folder = tmp_path_factory.mktemp("whole")
    done = _job(_recipe(folder, 96, EPOCHS), folder / "logs", *EXACT)
    out, err = done.communicate(timeout=540)
    assert done.returncode == 0, out + err
    return folder / "run"


@pytest.mark.slow
@pytest.mark.parametrize("event", ["link cut", "host of node 0 dies", "host of node 1 dies"])
def test_two_hosts_that_meet_again_go_on_with_the_same_bits(event, whole, hosts, tmp_path):
    """After the loss of the link or of a host in the middle of training the same commands go on, and end with the
    weights, moments, statistics and metrics of a run that nothing broke."""
    recipe = _recipe(tmp_path, 96, EPOCHS)
    nodes = _nodes(hosts, recipe, tmp_path / "first", *EXACT)
    _wait_for(tmp_path / "first/node_1/worker_1.log", "epoch 4/", 400)
    for rank in _break(event, hosts):
        nodes[rank].communicate(timeout=180)
        assert nodes[rank].returncode == 1
    subprocess.run(["ip", "-n", hosts[1], "link", "set", "veth0", "up"], check=True, timeout=60)
    nodes = _nodes(hosts, recipe, tmp_path / "second", *EXACT)
    for node in nodes:
        out, err = node.communicate(timeout=400)
        assert node.returncode == 0, out + err
    log = (tmp_path / "second/node_0/worker_0.log").read_text()
    assert 3 <= int(re.search(r"^resuming from '.*', .* epoch (\d+)$", log, re.M).group(1)) < EPOCHS
    assert_same_runs(whole, tmp_path / "run")


@pytest.mark.slow
def test_a_cluster_from_a_hosts_file(hosts, tmp_path):
    """--hosts starts every node, here through a remote shell that enters a namespace; a short training ends well."""
    enter = tmp_path / "enter.sh"
    enter.write_text(f"#!/bin/sh\ncase $1 in 10.77.0.1) h={hosts[0]} ;; *) h={hosts[1]} ;; esac\n"
                     'exec ip netns exec $h sh -c "$2"\n')
    enter.chmod(0o755)
    (tmp_path / "hosts").write_text("10.77.0.1\n10.77.0.2\n")
    done = subprocess.run(["bash", ROOT / "ascend/run_cluster_train.sh", _recipe(tmp_path), "--hosts",
                           tmp_path / "hosts", "--workers", "1", "--remote-shell", str(enter), "--log-dir",
                           tmp_path / "logs"],
                          env={**os.environ, "PYTHON": sys.executable, "DEVICE_TARGET": "CPU", "OMP_NUM_THREADS": "1"},
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=540)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "done: every node ended well" in done.stdout
    assert (tmp_path / "run" / "metrics.csv").read_text().count("\n") == 2
    assert "rank 1 of 2" in (tmp_path / "logs" / "node_1" / "worker_1.log").read_text()
