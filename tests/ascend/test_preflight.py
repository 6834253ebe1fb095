"""The table of preflight.sh on servers in several states, and on a machine without an NPU."""
import argparse
import re
import socket
import subprocess
import time

import preflight
import pytest

from tests.ascend.conftest import ROOT
from tests.processes import free_port


def _states(text):
    """{check: (state, rest of the line)} of a printed table."""
    return {match.group(1).strip(): (match.group(2), match.group(3))
            for match in re.finditer(r"^  (\S.*?)\s{2,}(OK|WARN|FAIL)\s+(.*)$", text, re.M)}


@pytest.fixture
def server(tmp_path, npu_smi, tool):
    """A server that is ready: CANN 8.5 and driver under a root of its own, eight 910B2, links up."""
    root = tmp_path / "root"
    cann = root / "usr/local/Ascend/ascend-toolkit"
    for path, text in (
            (cann / "set_env.sh", "export ASCEND_OPP_PATH=x\n"),
            (cann / "latest/compiler/version.info", "Version=8.5.0\n"),
            (root / "usr/local/Ascend/driver/version.info", "Version=25.2.0\n"),
            (root / "usr/local/Ascend/firmware/version.info", "Version=7.7.0.6.236\n"),
            (root / "etc/hccn.conf", "".join(f"address_{i}=192.168.1.{i + 1}\n" for i in range(8)))):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    npu_smi("910b2")
    tool("hccn_tool", 'echo "link status: UP"')
    return root


@pytest.fixture
def look(shell, server, tmp_path):
    """look(...) runs preflight.sh on that server with CANN's environment loaded."""
    def run(*arguments, **variables):
        variables = {"ASCEND_HOME_PATH": str(server / "usr/local/Ascend/ascend-toolkit/latest"), "ASCEND_OPP_PATH": "x",
                     # Unlike the default, no outgoing connection is given one of these.
                     "HOME": str(tmp_path), "HCCL_IF_BASE_PORT": "61500", **variables}
        return shell("ascend/preflight.sh", "--sysroot", server, "--port", free_port(), *arguments, **variables)

    return run


def test_a_server_that_is_ready(look, tmp_path):
    for split in ("train", "val"):
        (tmp_path / "data" / split).mkdir(parents=True)
    done = look(tmp_path / "data")
    states = _states(done.stdout)
    assert done.returncode == 0 and "ready" in done.stdout.splitlines()[-1] and done.stderr == ""
    assert states["CANN"] == ("OK", f"8.5.0 in {tmp_path}/root/usr/local/Ascend/ascend-toolkit/latest")
    assert states["driver"][1].strip() == "25.2.0" and states["firmware"][1].strip() == "7.7.0.6.236"
    assert [states[f"NPU {i}"][0] for i in range(8)] == ["OK"] * 8
    assert "910B2, OK, 62156 of 65536 MB free" in states["NPU 0"][1]
    assert "192.168.1.8, link up" in states["network of NPU 7"][1]
    assert "goes with CANN" in states["MindSpore and CANN"][1] and states["data set"][0] == "OK"


def test_a_sick_card_a_warning_and_a_busy_one(look, npu_smi):
    npu_smi("910b2_sick")
    done = look()
    states = _states(done.stdout)
    assert done.returncode == 1 and "not ready: 1" in done.stdout
    assert states["NPU 3"][0] == "FAIL" and "npu-smi info -t health -i 3" in states["NPU 3"][1]
    assert states["NPU 6"][0] == "WARN" and states["NPU 2"][0] == "OK"
    assert look("--devices", "0,1,6").returncode == 0
    npu_smi("910b2_busy")
    assert "in use by process 27451" in _states(look("--devices", "4").stdout)["NPU 4"][1]


@pytest.mark.parametrize("recording, cards, networks", [("910", 8, 8), ("910_a3", 4, 4), ("310p3", 2, 0)])
def test_other_generations(recording, cards, networks, look, npu_smi):
    npu_smi(recording)
    states = _states(look().stdout)
    assert sum(name.startswith("NPU ") for name in states) == cards
    assert sum(name.startswith("network of") for name in states) == networks


def test_cann_that_does_not_fit_and_one_that_is_not_loaded(look, server):
    info = server / "usr/local/Ascend/ascend-toolkit/latest/compiler/version.info"
    info.write_text("Version=7.0.0\n")
    states = _states(look().stdout)
    assert states["MindSpore and CANN"][0] == "FAIL" and "not 7.0.0" in states["MindSpore and CANN"][1]
    info.write_text("Version=8.5.0\n")
    done = look(ASCEND_OPP_PATH="", ASCEND_HOME_PATH="")
    state, rest = _states(done.stdout)["CANN"]
    assert done.returncode == 0 and state == "WARN"
    assert rest.startswith("8.5.0 in ") and "environment not loaded" in rest
    assert f"source {server}/usr/local/Ascend/ascend-toolkit/set_env.sh" in rest


def test_links_and_addresses(look, server, tool):
    tool("hccn_tool", 'case "$*" in *-link*) echo "link status: DOWN" ;; *) echo failed ;; esac')
    (server / "etc/hccn.conf").write_text("address_0=192.168.1.1\n")
    states = _states(look("--devices", "0,1").stdout)
    assert "link down" in states["network of NPU 0"][1]
    assert "hccn_tool -i 1 -ip -s address A netmask M" in states["network of NPU 1"][1]


def test_a_port_in_use_and_a_data_set_that_is_not_there(look, tmp_path, shell, server):
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = look("--port", port, tmp_path / "nowhere")
    states = _states(done.stdout)
    assert states[f"port {port}"] == ("FAIL", "in use" + states[f"port {port}"][1][6:]) and done.returncode == 1
    assert "no folder" in states["data set"][1]


def test_no_npu_here(shell, tmp_path):
    done = shell("ascend/preflight.sh", "--sysroot", tmp_path, HOME=str(tmp_path), PATH="/usr/bin:/bin")
    states = _states(done.stdout)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert states["NPU"][0] == "FAIL" and "no NPU" in states["NPU"][1]
    assert states["CANN"][0] == states["driver"][0] == states["firmware"][0] == "FAIL"


def test_several_hosts(tmp_path, capsys):
    """Each host runs the script; one that does not answer, and one whose clock is off, count as failed."""
    hosts = tmp_path / "hosts"
    hosts.write_text("10.0.0.1  # first\nroot@10.0.0.2\n\n10.0.0.3\n10.0.0.4\n10.0.0.5\n")
    answers = {"10.0.0.1": f"table\ncode 0 time {int(time.time())}\n", "root@10.0.0.2": "Permission denied\n",
               "10.0.0.3": f"code 0 time {int(time.time()) - 3600}\n", "10.0.0.4": f"code 1 time {int(time.time())}\n"}
    seen = []

    def call(words, timeout):
        seen.append(words)
        if words[2] == "10.0.0.5":
            raise subprocess.TimeoutExpired(words, timeout)
        return subprocess.CompletedProcess(words, 0, stdout=answers[words[2]])

    options = argparse.Namespace(hosts=str(hosts), port=8118, devices="0,1", dataset="/data set", remote_shell="ssh -q")
    assert preflight.look_at_hosts(options, call) == {"10.0.0.1": 0, "root@10.0.0.2": 255, "10.0.0.3": 1, "10.0.0.4": 1,
                                                      "10.0.0.5": 255}
    printed = capsys.readouterr().out
    assert "=== 10.0.0.5\nno answer within 900 s\n" in printed
    assert "root@10.0.0.2 did not answer" in printed and "clock of 10.0.0.3 differs by -360" in printed
    assert seen[0][:2] == ["ssh", "-q"]
    assert f"{ROOT}/ascend/preflight.py --port 8118 --devices 0,1 '/data set'" in seen[0][3]


#: (MindSpore, its own list, CANN as its version file has it, whether they fit, what to do where not): the lists of the
#: released packages; those of CUDA stand before them.
PAIRS = [("2.7.0", '"7.7", "7.8", "8.2"', "8.2.RC1", True, ""), ("2.7.1", '"7.8", "8.2", "8.3"', "8.3.RC1", True, ""),
         ("2.7.2", '"8.5"', "8.5.0", True, ""),
         ("2.7.2", '"8.5"', "8.3.RC2", False, "pip install mindspore==2.8.0, or"),
         ("2.8.0", '"8.2", "8.3", "8.5"', "8.5.1", True, ""),
         ("2.8.0", '"8.2", "8.3", "8.5"', "9.0.0", False, "pip install mindspore==2.10.0, or"),
         ("2.9.0", '"8.2", "8.3", "8.5", "9.0"', "9.0.1", True, ""),
         ("2.9.0", '"8.2", "8.3", "8.5", "9.0"', "9.1.0", False, "pip install mindspore==2.10.0, or"),
         ("2.10.0", '"8.2", "8.3", "8.5", "9.0", "9.1"', "9.1.0.B012", True, ""),
         ("2.10.0", '"8.2", "8.3", "8.5", "9.0", "9.1"', "9.10.0", False, "no MindSpore that is known here accepts it"),
         ("2.10.0", '"8.2", "8.3", "8.5", "9.0", "9.1"', "7.0.0", False, "no MindSpore that is known here accepts it"),
         ("2.11.0", '"9.1", "9.2", "10.0"', "10.0.0", True, "")]


@pytest.mark.parametrize("mindspore, listed, cann, fits, remedy", PAIRS)
@pytest.mark.parametrize("own_list", [True, False])
def test_mindspore_and_cann(mindspore, listed, cann, fits, remedy, own_list, tmp_path, monkeypatch):
    """By MindSpore's own list, or by ours where that is not there."""
    if mindspore == "2.11.0" and not own_list:
        pytest.skip("a MindSpore that our table does not know")
    package, home = tmp_path / "mindspore", tmp_path / "cann"
    for path, text in ((package / "__init__.py", ""), (package / "version.py", f"__version__ = '{mindspore}'\n"),
                       (package / "lib/plugin/libmindspore_ascend.so.2", ""),
                       (home / "compiler/version.info", f"# CANN\nVersion={cann}\nversion_dir=cann\n")):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    if own_list:
        (package / "run_check").mkdir()
        (package / "run_check/_check_version.py").write_text(
            'class GPUEnvChecker:\n    def __init__(self):\n        self.version = ["10.1", "11.1", "11.6"]\n'
            f"class AscendEnvChecker:\n    def __init__(self):\n        self.version = [{listed}]\n")
    monkeypatch.setattr(preflight.importlib.util, "find_spec",
                        lambda _: argparse.Namespace(origin=str(package / "__init__.py")))
    monkeypatch.setenv("ASCEND_HOME_PATH", str(home))
    plugin, pair = preflight.check_mindspore("/")
    assert plugin.state == "OK" and plugin.found == f"{mindspore} with the Ascend plugin"
    assert (pair.state == "OK") is fits and pair.remedy.startswith(remedy) and bool(pair.remedy) is not fits
    assert ("goes with CANN" if fits else f"not {cann}") in pair.found


def test_the_table_of_versions_is_that_of_the_documents_and_holds_the_tested_one():
    table = [f"| {mindspore} | {', '.join(cann)} |" for mindspore, cann in preflight.CANN_OF.items()]
    for name in ("README.md", "README_CN.md"):
        lines = [line.strip() for line in (ROOT / "ascend" / name).read_text(encoding="utf-8").splitlines()]
        rows = [line for line in lines if re.match(r"\| 2\.[\d.]+ \|", line)]
        assert [row.rsplit(" | ", 1)[0] + " |" for row in rows] == table
    assert f"mindspore=={preflight.TESTED}\n" in (ROOT / "constraints.txt").read_text()


@pytest.mark.parametrize("words, variables, said", [
    (["--port", "99999"], {}, "--port is '99999'"), (["--port", "x"], {}, "--port is 'x'"),
    (["--devices", "1,0"], {}, "--devices is '1,0'"), (["--hosts", "nowhere"], {}, "there is no hosts file 'nowhere'"),
    ([], {"HCCL_IF_BASE_PORT": "many"}, "HCCL_IF_BASE_PORT is 'many'"),
    ([], {"HCCL_IF_BASE_PORT": "65530"}, "it is a number from 1 to 65504")])
def test_bad_input_ends_in_one_sentence(words, variables, said, shell, tmp_path):
    done = shell("ascend/preflight.sh", *words, HOME=str(tmp_path), **variables)
    assert done.returncode == 1 and said in done.stderr and len(done.stderr.splitlines()) == 1


def test_what_files_and_tools_say_is_printable(look, server, npu_smi, tool):
    info = server / "usr/local/Ascend/driver/version.info"
    info.write_text("Version=25\x1b[31m.2.0\n")
    (server / "etc/hccn.conf").write_text("address_0=\x1b[2J\n")
    tool("hccn_tool", r'case "$*" in *-link*) printf "link status: \033[2J" ;; *) printf "ipaddr:\033[31m" ;; esac')
    done = look("--devices", "0")
    assert "\x1b" not in done.stdout + done.stderr and _states(done.stdout)["driver"][1].strip() == "25"
    assert _states(done.stdout)["network of NPU 0"][1].startswith("no address")


def test_hosts_that_answer_with_escape_sequences(tmp_path, capsys):
    (tmp_path / "hosts").write_text("10.0.0.1\n")

    def call(words, timeout):
        return subprocess.CompletedProcess(words, 0, stdout="a\x1b[2Jb\nc\ncode 0 time 1\n")

    options = argparse.Namespace(hosts=str(tmp_path / "hosts"), port=8118, devices=None, dataset=None,
                                 remote_shell="ssh")
    assert preflight.look_at_hosts(options, call) == {"10.0.0.1": 1}
    assert capsys.readouterr().out.startswith("=== 10.0.0.1\na\\x1b[2Jb\nc\n")
