"""What the launchers would run, what they refuse, and how a job's end is judged; nothing here trains."""
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import time

import explain
import pytest

from tests.ascend.conftest import ROOT, listen
from tests.ascend.jobs import job_of, left, text_of

SCRIPTS = sorted(str(path.relative_to(ROOT)) for folder in ("scripts", "ascend")
                 for path in (ROOT / folder).glob("run_*.sh"))


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
def test_shellcheck():
    files = [str(path) for folder in ("scripts", "ascend", ".ci") for path in sorted((ROOT / folder).iterdir())
             if path.suffix == ".sh" or path.name == "run"]
    done = subprocess.run(["shellcheck", "-x", *files], cwd=ROOT, stdout=subprocess.PIPE, text=True,
                          timeout=300)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("script", [*SCRIPTS, "ascend/preflight.sh"])
def test_help(script, shell):
    done = shell(script, "-h")
    assert done.returncode == 0 and f"bash {script}" in done.stdout and done.stderr == ""
    assert "shellcheck" not in done.stdout


def _last(done):
    return done.stdout.strip().splitlines()[-1]


def test_dry_run_of_one_host(shell, tmp_path):
    done = shell("scripts/run_distribute_train.sh", "--dry-run", "--port", "9000", "--log-dir", "/l",
                 "--train.epochs", "1")
    assert done.returncode == 0 and "export GLOG_v=3" in done.stdout
    assert _last(done) == (
        f"{sys.executable} -m mindspore.parallel.cluster.run --worker_num=2 --local_worker_num=2 "
        f"--master_addr=127.0.0.1 --master_port=9000 --node_rank=0 --cluster_time_out=300 --log_dir=/l "
        "--join=True --tail_worker_log=2 "
        f"{ROOT}/scripts/worker.py /l -- {sys.executable} {ROOT}/train.py --config {ROOT}/configs/quickstart.yaml "
        "--train.epochs 1")
    assert not any(path.name != "tools" for path in tmp_path.iterdir())


@pytest.mark.parametrize("ranks, code", [({0: 0, 1: 0}, 0), ({0: 0}, 1), ({0: 0, 1: -11}, 1)])
def test_the_ranks_decide_and_not_the_scheduler(ranks, code, tmp_path):
    """MindSpore's scheduler complains of a rank that crashed on leaving, after its work was done."""
    for name, value in {**ranks, "scheduler": 1}.items():
        (tmp_path / f"rank_{name}.exit").write_text(f"{value}\n")
    (tmp_path / "scheduler.log").write_text("The total number of timed out node is 1.\n")
    command = f". scripts/launch.sh; PYTHON={sys.executable} LOG_DIR={tmp_path}; finish 0 2"
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          timeout=60)
    assert done.returncode == code and ("error: " in done.stderr) == bool(code)


def test_dry_run_on_cards(shell, tmp_path):
    done = shell("ascend/run_distribute_train.sh", tmp_path, ROOT / "configs/quickstart.yaml", "--devices", "0,1,4",
                 "--dry-run", "--log-dir", "/l", "--port", "9000", "--optimizer.lr=0.2", HCCL_CONNECT_TIMEOUT="300")
    assert "export ASCEND_RT_VISIBLE_DEVICES=0\\,1\\,4" in done.stdout
    assert "export HCCL_CONNECT_TIMEOUT=300" in done.stdout and "export HCCL_IF_BASE_PORT=60000" in done.stdout
    assert "--worker_num=3 --local_worker_num=3" in _last(done)
    assert _last(done).endswith(f"/l --bind /l/cores.json -- {sys.executable} {ROOT}/train.py --config "
                                f"{ROOT}/configs/quickstart.yaml --run.device Ascend --data.root {tmp_path} "
                                "--optimizer.lr=0.2")


def test_dry_run_by_rank_table_and_by_mpirun(shell, tmp_path):
    table, ckpt = tmp_path / "t.json", tmp_path / "w.ckpt"
    ckpt.write_text("")
    made = shell("ascend/run_distribute_train.sh", "--start", "rank-table", "--dry-run")
    assert "needs a rank table" in made.stderr
    subprocess.run([sys.executable, ROOT / "ascend/rank_table.py", "make", "--server-ip", "10.0.0.1", "--devices",
                    "2,3", "--hccn", _hccn(tmp_path), "-o", table], check=True, stdout=subprocess.DEVNULL,
                   timeout=60)
    done = shell("ascend/run_distribute_train.sh", table, ckpt, "--start", "rank-table", "--server-ip", "10.0.0.1",
                 "--dry-run", "--log-dir", "/l", "--bind", "none")
    assert f"export RANK_TABLE_FILE={table}" in done.stdout and "ASCEND_RT_VISIBLE_DEVICES" not in done.stdout
    assert f"start_ranks.py /l 2 0:2 1:3 -- {sys.executable} {ROOT}/train.py" in _last(done)
    assert _last(done).endswith(f"--model.pretrained {ckpt}")
    done = shell("ascend/run_distribute_train.sh", "--start", "mpirun", "--workers", "4", "--dry-run", "--log-dir",
                 "/l")
    assert _last(done).startswith(f"mpirun -n 4 --allow-run-as-root -bind-to none {sys.executable} "
                                  f"{ROOT}/scripts/worker.py /l --log --bind /l/cores.json -- ")


def _hccn(folder):
    path = folder / "hccn.conf"
    path.write_text("".join(f"address_{i}=192.168.1.{i + 1}\n" for i in range(8)))
    return path


def test_dry_run_of_a_cluster(shell, tmp_path):
    hosts = tmp_path / "hosts"
    hosts.write_text("10.0.0.1\n# a comment\nroot@10.0.0.2\n")
    done = shell("ascend/run_cluster_train.sh", "--hosts", hosts, "--devices", "0,1", "--dry-run", "--log-dir", "/l",
                 "--train.epochs", "2")
    first, second = (line for line in done.stdout.splitlines() if not line.startswith("# "))
    assert first.startswith("ssh -tt -o BatchMode=yes -o ConnectTimeout=20 -- 10.0.0.1 ")
    assert " root@10.0.0.2 " in second and "--node-rank\\ 1\\ --nodes\\ 2\\ --master-addr\\ 10.0.0.1" in second
    assert "--log-dir\\ /l/node_1" in second and "--train.epochs\\ 2" in second and "--hosts" not in second
    done = shell("ascend/run_cluster_train.sh", "--node-rank", 1, "--nodes", 2, "--master-addr", "10.0.0.1",
                 "--devices", "0,1", "--dry-run", "--log-dir", "/l")
    assert "--worker_num=4 --local_worker_num=2 --master_addr=10.0.0.1 --master_port=8118 --node_rank=1" in _last(done)
    done = shell("ascend/run_cluster_train.sh", "--hosts", hosts, "--workers", 2, "--start", "mpirun", "--dry-run")
    assert "mpirun -n 4 --host 10.0.0.1:2\\,root@10.0.0.2:2 -x GLOG_v " in _last(done)


def test_dry_run_of_the_single_card_scripts(shell, tmp_path):
    ckpt, image = tmp_path / "w.ckpt", tmp_path / "a.png"
    for path in (ckpt, image):
        path.write_text("")
    done = shell("ascend/run_standalone_train.sh", "--devices", "3", "--profile", "--dry-run", "--log-dir", "/l")
    assert "export ASCEND_RT_VISIBLE_DEVICES=3" in done.stdout and " -- msprof --output=/l/profile " in _last(done)
    done = shell("ascend/run_eval.sh", ckpt, tmp_path, "--dry-run", "--log-dir", "/l")
    assert _last(done).endswith(f"{ROOT}/eval.py --ckpt {ckpt} --run.device Ascend --data.root {tmp_path}")
    done = shell("ascend/run_export.sh", ckpt, "--output", "m.mindir", "--dry-run", "--log-dir", "/l")
    assert _last(done).endswith(f"{ROOT}/export.py --ckpt {ckpt} --output m.mindir")
    done = shell("ascend/run_infer.sh", ckpt, image, "--top", 3, "--dry-run", "--log-dir", "/l")
    assert _last(done).endswith(f"-m ghost_ms.cli lite run {ckpt} --target ascend --image {image} --top 3")
    done = shell("scripts/run_export.sh", ckpt, "--dry-run", "--log-dir", "/l")
    assert _last(done).endswith(f"{ROOT}/export.py --ckpt {ckpt}")


@pytest.mark.parametrize("script, arguments, words", [
    ("scripts/run_distribute_train.sh", ["none.yaml"], "there is no recipe 'none.yaml'"),
    ("scripts/run_distribute_train.sh", [ROOT / "configs/quickstart.yaml", "0"], "the number of workers is 0"),
    ("scripts/run_distribute_train.sh", [ROOT / "configs/quickstart.yaml", "x"], "there is no dataset folder 'x'"),
    ("scripts/run_distribute_train.sh", ["--port", "80"], "the port is 80; it is 1024 or more"),
    ("scripts/run_eval.sh", ["none.ckpt"], "there is no checkpoint 'none.ckpt'"),
    ("ascend/run_distribute_train.sh", ["/nowhere"], "there is no dataset folder '/nowhere'"),
    ("ascend/run_distribute_train.sh", ["none.json"], "there is no rank table 'none.json'"),
    ("ascend/run_distribute_train.sh", ["none.ckpt"], "there is no checkpoint 'none.ckpt'"),
    ("ascend/run_distribute_train.sh", ["--devices", "1,0", "--dry-run"], "--devices is '1,0'"),
    ("ascend/run_distribute_train.sh", ["--devices", "0,1", "--workers", "3", "--dry-run"], "--workers is 3, but"),
    ("ascend/run_distribute_train.sh", ["--start", "magic", "--dry-run"], "--start is 'magic'"),
    ("ascend/run_distribute_train.sh", ["--bind", "tight"], "--bind is 'tight'"),
    ("ascend/run_distribute_train.sh", ["--port"], "--port needs a value"),
    ("ascend/run_standalone_train.sh", ["--devices", "0,1", "--dry-run"], "--devices names 2 cards"),
    ("ascend/run_cluster_train.sh", [], "give --hosts FILE, or --node-rank and --nodes"),
    ("ascend/run_cluster_train.sh", ["--hosts", "none"], "there is no hosts file 'none'"),
    ("ascend/run_cluster_train.sh", ["--node-rank", "2", "--nodes", "2"], "--node-rank is 2, but there are 2 nodes"),
    ("ascend/run_infer.sh", ["none.mindir"], "there is no model 'none.mindir'"),
])
def test_bad_input_ends_in_one_sentence(script, arguments, words, shell):
    done = shell(script, *arguments)
    assert done.returncode == 1
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: ") and words in lines[0]


def test_a_port_in_use(shell):
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        done = shell("scripts/run_distribute_train.sh", "--port", taken.getsockname()[1])
    assert done.returncode == 1 and re.fullmatch(r"error: port \d+ is in use here; choose another .*\n", done.stderr)


def test_launchers_that_start_together_take_different_ports(tmp_path):
    """The port of the first stays taken while any of its processes lives, before and after its scheduler listens."""
    choose = f"set -e; cd {ROOT}; . scripts/launch.sh; PYTHON={sys.executable} choose_port ''; echo $MASTER_PORT"
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(["bash", "-c", choose + "; read -r _; exec sleep 1"], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, text=True, env=environment) as first:
        ports = [int(first.stdout.readline())]
        ports += [int(subprocess.run(["bash", "-c", choose], stdout=subprocess.PIPE, text=True, timeout=60,
                                     env=environment).stdout) for _ in range(2)]
        first.communicate("\n", timeout=60)
    last = subprocess.run(["bash", "-c", choose], stdout=subprocess.PIPE, text=True, timeout=60, env=environment)
    assert ports[0] < ports[1] == ports[2] and int(last.stdout) == ports[0]
    nowhere = subprocess.run(["bash", "-c", choose], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                             timeout=60, env={**os.environ, "TMPDIR": "/nowhere"})
    assert int(nowhere.stdout) >= 8118
    assert nowhere.stderr.startswith(f"note: '/nowhere/ghost_ms.{os.getuid()}' is not a folder of this user alone")


@pytest.mark.parametrize("recording, devices, words", [
    ("910b2_busy", "4,5", "card 4 is in use by process 27451"),
    ("910b2_sick", "3", "card 3 (910B2) is in state Critical"),
    ("910b2", "0,9", "there is no card 9 here"),
])
def test_a_card_that_cannot_be_used(recording, devices, words, shell, npu_smi):
    npu_smi(recording)
    done = shell("ascend/run_distribute_train.sh", "--devices", devices, ASCEND_OPP_PATH="x")
    assert done.returncode == 1 and words in done.stderr and len(done.stderr.splitlines()) == 1


def test_no_cann_and_no_npu(shell, tmp_path):
    done = shell("ascend/run_distribute_train.sh", HOME=str(tmp_path))
    assert done.returncode == 1 and "CANN is not found" in done.stderr
    done = shell("ascend/run_distribute_train.sh", ASCEND_OPP_PATH="x")
    assert done.returncode == 1 and "there is no npu-smi on PATH" in done.stderr


def test_a_job_that_ends_well(tmp_path):
    job, logs = job_of(tmp_path, "echo hello from $RANK_ID")
    out, err = job.communicate(timeout=60)
    assert job.returncode == 0 and err == "" and "hello from 0" in out and "done: every rank ended well" in out
    assert (logs / "worker_1.log").read_text() == "hello from 1\n" and (logs / "command.txt").read_text()


def test_a_failing_rank_ends_the_others_and_its_words_are_shown(tmp_path):
    job, logs = job_of(tmp_path, 'if [ $RANK_ID = 1 ]; then sleep 1; echo "ghost-ms: error: no such model"; exit 1; '
                               "else sleep 300; fi")
    started = time.time()
    _, err = job.communicate(timeout=60)
    assert job.returncode == 1 and time.time() - started < 30
    assert err.strip().splitlines()[-1] == "error: rank 1 failed: no such model"
    assert "    ghost-ms: error: no such model" in err and not left(logs)


def test_a_killed_rank(tmp_path):
    job, logs = job_of(tmp_path, "[ $RANK_ID = 0 ] || kill -9 $$; sleep 300")
    _, err = job.communicate(timeout=60)
    assert job.returncode == 1 and "rank 1 failed: it was ended by SIGKILL; often the kernel's out-of-memory" in err
    assert not left(logs)


def test_a_rank_that_is_taken_away_with_its_recorder(tmp_path):
    job, logs = job_of(tmp_path, "[ $RANK_ID = 0 ] || { sleep 1; kill -9 -- -$(ps -o pgid= $$ | tr -d ' '); }")
    _, err = job.communicate(timeout=60)
    assert job.returncode == 1 and "error: rank 1 ended from outside" in err


def test_a_starter_that_does_not_leave(tmp_path):
    """msrun waits for its scheduler without a limit."""
    job, logs = job_of(tmp_path, "exit 0", starter_ends="sleep 300", LEAVE_AFTER="1")
    started = time.time()
    out, err = job.communicate(timeout=60)
    assert job.returncode == 0 and "done: every rank ended well" in out and err == ""
    assert time.time() - started < 30 and not left(logs)


def test_a_starter_that_heeds_no_signal_where_proc_shows_nothing(tmp_path):
    """Its ranks are in groups of their own, and those that nobody can find are left."""
    job, logs = job_of(tmp_path, "[ $RANK_ID = 1 ] && exit 3; sleep 20", before="processes_of_job() { :; }",
                     starter_begins='trap "" INT TERM')
    started = time.time()
    _, err = job.communicate(timeout=60)
    assert job.returncode == 1 and "error: rank 1 failed: it ended with exit code 3" in err
    assert time.time() - started < 20 and not any("job.sh" in _command(pid) for pid in left(logs))


def _command(pid):
    return pathlib.Path(f"/proc/{pid}/cmdline").read_text() if os.path.exists(f"/proc/{pid}") else ""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupt_ends_every_process(number, tmp_path):
    job, logs = job_of(tmp_path, "trap '' INT TERM; while true; do sleep 1; done", STOP_AFTER="1")
    deadline = time.time() + 30
    while time.time() < deadline and len(left(logs)) < 4:
        time.sleep(0.2)
    time.sleep(1)
    os.kill(job.pid, number)
    _, err = job.communicate(timeout=60)
    assert job.returncode == 130 and "ending every process" in err and not left(logs)


@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_ranks_may_save_before_they_end(number, code, tmp_path):
    """The signal reaches each rank as SIGTERM, and the launcher waits for it."""
    job, logs = job_of(tmp_path, "trap 'sleep 2; echo saved $RANK_ID; exit 0' TERM; echo ready; "
                               "while true; do sleep 0.2; done")
    deadline = time.time() + 30
    while time.time() < deadline and not all("ready" in text_of(logs / f"worker_{rank}.log") for rank in (0, 1)):
        time.sleep(0.2)
    os.kill(job.pid, number)
    out, err = job.communicate(timeout=60)
    assert job.returncode == code and f"stopped by {number.name}: every rank ended well" in out
    assert "once more ends every process at once" in err and not left(logs)
    assert [text_of(logs / f"worker_{rank}.log") for rank in (0, 1)] == ["ready\nsaved 0\n", "ready\nsaved 1\n"]


@pytest.mark.parametrize("log, code, words", [
    ("x\nghost-ms: error: no such key\n", "1", "no such key"),
    ("EI0006: Getting socket times out.", "1", "the cards could not connect (EI0006)"),
    ("EL0004: Failed to allocate memory", "1", "the card's memory is full: lower --data.batch_size"),
    ("Failed to initialize distributed job cluster because some processes", "1", "did not find each other in time"),
    ("ghost-ms: error: the processes of this CPU run lost each other: The total number of timed out node is 1.", "1",
     "(another rank was lost in the middle of an exchange (CPU)"),
    ("Failed to do connect and link fail destination: 10.7.0.1:8118", "1", "node 10.7.0.1 could not be reached"),
    ("MindSpore version 2.8.0 and Ascend AI software package (Ascend Data Center Solution)version 7.0 does not match",
     "1", "MindSpore and CANN do not fit each other"),
    ("[ERROR] listen on ip[192.168.20.160] and specific port[16666] fail.", "1", "HCCL's port is taken"),
    ("dcmi module initialize failed. ret is -8005", "1", "held by another container"),
    ("Traceback\nKeyError: 'a'\n", "1", "KeyError: 'a'"),
    ("", "-9", "ended by SIGKILL; often the kernel's out-of-memory killer"),
    ("", "-15", "MindSpore does that when the scheduler is lost"),
    ("", "3", "exit code 3"),
])
def test_logs_are_explained(log, code, words):
    assert words in explain.explain(log, code)


def test_the_table_of_messages_is_that_of_the_readme():
    readme = (ROOT / "ascend" / "README.md").read_text()
    rules = explain.rules()
    assert len(rules) > 12
    for pattern, remedy, address in rules:
        re.compile(pattern)
        assert address.startswith("https://") and address in readme, address
        assert remedy.replace("\\1", "A.B.C.D") in readme, remedy


def test_a_failing_node_ends_the_others(shell, tmp_path):
    """A remote shell that fails on one host and never ends on the other."""
    (tmp_path / "hosts").write_text("10.0.0.1\n10.0.0.2\n")
    remote = tmp_path / "remote.sh"
    remote.write_text("#!/bin/sh\n"
                      "case $1 in 10.0.0.2) sleep 1; echo 'error: rank 1 failed: the card is full'; exit 1 ;; esac\n"
                      "exec sleep 300\n")
    remote.chmod(0o755)
    done = shell("ascend/run_cluster_train.sh", "--hosts", tmp_path / "hosts", "--remote-shell", remote, "--log-dir",
                 tmp_path / "logs", DEVICE_TARGET="CPU")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "error: node 1 (10.0.0.2) failed: rank 1 failed: the card is full"
    assert not left(remote)


@pytest.mark.parametrize("heeds", ["TERM", "nothing"])
def test_an_interrupt_of_a_cluster(heeds, tmp_path):
    """The remote shells are ended, and one that heeds no signal does not keep the launcher waiting (10 s more than
    STOP_AFTER, so 1 s here)."""
    (tmp_path / "hosts").write_text("10.0.0.1\n10.0.0.2\n")
    remote = tmp_path / "remote.sh"
    remote.write_text("#!/bin/bash\n" + ("trap '' TERM HUP\n" if heeds == "nothing" else "") +
                      f"touch {tmp_path}/started.$1\nexec sleep 300\n")
    remote.chmod(0o755)
    job = subprocess.Popen(["bash", ROOT / "ascend/run_cluster_train.sh", "--hosts", tmp_path / "hosts",
                            "--remote-shell", remote, "--log-dir", tmp_path / "logs"], stderr=subprocess.PIPE,
                           stdout=subprocess.PIPE, text=True, preexec_fn=listen,
                           env={**os.environ, "PYTHON": sys.executable, "DEVICE_TARGET": "CPU", "STOP_AFTER": "-9"})
    deadline = time.time() + 30
    while time.time() < deadline and len(list(tmp_path.glob("started.*"))) < 2:
        time.sleep(0.2)
    job.send_signal(signal.SIGTERM)
    _, err = job.communicate(timeout=30)
    assert job.returncode == 130 and err.startswith("interrupted: ending every node") and not left(tmp_path)


def test_a_host_that_cannot_be_reached(shell, tmp_path):
    (tmp_path / "hosts").write_text("10.0.0.1\n")
    done = shell("ascend/run_cluster_train.sh", "--hosts", tmp_path / "hosts", "--remote-shell", "false", "--log-dir",
                 tmp_path / "logs", DEVICE_TARGET="CPU")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "error: node 0 (10.0.0.1) failed: without a word of its own"
