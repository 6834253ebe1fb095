"""What strangers may put before the launchers: planted links, hosts files, names, tables, and what tools print."""
import json
import os
import subprocess
import sys
import time

import explain
import hosts
import npu
import outside
import pytest
import rank_table

from tests.ascend.conftest import ROOT
from tests.ascend.jobs import job_of

#: Begins a line, ends a quotation, runs a command, or moves the cursor, wherever it is not taken as it is.
NASTY = ["a b$(touch pwned)`touch pwned`;touch pwned&ö 中", "it's", 'a\nb"', "*", "-x", "tail\\"]


def _bash(script, folder, **variables):
    return subprocess.run(["bash", "-c", script], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          timeout=60, env={**os.environ, "PYTHON": sys.executable, **variables})


@pytest.fixture
def victim(tmp_path):
    path = tmp_path / "victim"
    path.write_text("precious")
    yield path
    assert path.read_text() == "precious"


# Planted links.

def _plant(kind, folder, victim):
    name = folder / f"ghost_ms.{os.getuid()}"
    if kind == "the old name":
        (folder / f"{name.name}.port_8118").symlink_to(victim)
    elif kind == "a link to the file":
        name.symlink_to(victim)
    elif kind == "a link to a folder":
        elsewhere = folder / "elsewhere"
        elsewhere.mkdir(mode=0o700)
        (elsewhere / "port_8118").symlink_to(victim)
        name.symlink_to(elsewhere)
    else:
        name.mkdir()
        name.chmod(0o777)
        (name / "port_8118").symlink_to(victim)
    return name


@pytest.mark.parametrize("kind", ["the old name", "a link to the file", "a link to a folder", "a folder for everybody"])
def test_a_planted_lock_is_not_used(kind, tmp_path, victim):
    folder = tmp_path / "tmp"
    folder.mkdir()
    name = _plant(kind, folder, victim)
    done = _bash(f"set -e; . {ROOT}/scripts/launch.sh; choose_port ''; echo $MASTER_PORT", tmp_path, TMPDIR=str(folder))
    assert done.returncode == 0 and 8118 <= int(done.stdout) <= 8217
    if kind == "the old name":
        assert done.stderr == "" and name.stat().st_mode & 0o777 == 0o700
    else:
        assert done.stderr.startswith(f"note: '{name}' is not a folder of this user alone, so no port is reserved")


@pytest.mark.parametrize("name", ["launcher.log", "command.txt", "worker_0.log", "rank_0.exit"])
@pytest.mark.parametrize("dangling", [False, True])
def test_a_log_folder_with_planted_links_is_refused(name, dangling, tmp_path, shell, victim):
    logs = tmp_path / "logs"
    logs.mkdir()
    (logs / name).symlink_to(tmp_path / "nothing" if dangling else victim)
    done = shell("scripts/run_standalone_train.sh", ROOT / "configs/quickstart.yaml", "--log-dir", logs)
    assert done.returncode == 1
    assert done.stderr == f"error: the log folder '{logs}' holds another run; choose a new one with --log-dir\n"
    assert not (tmp_path / "nothing").exists() and os.listdir(logs) == [name]


def test_no_redirection_follows_a_link_that_comes_later(tmp_path, victim):
    """Between the look at the folder and the start."""
    logs = tmp_path / "logs"
    logs.mkdir()
    done = _bash(f". {ROOT}/scripts/launch.sh; LOG_DIR={logs}; ln -s {victim} {logs}/launcher.log; start 0 1 true",
                 tmp_path)
    assert done.returncode != 0 and "launcher.log: cannot overwrite existing file" in done.stderr


def test_a_rank_writes_its_own_files(tmp_path, victim):
    for name in ("worker_5.log", "rank_5.exit", "rank_5.done"):
        (tmp_path / name).symlink_to(victim)
    os.link(victim, tmp_path / "worker_6.log")
    for rank in ("5", "6"):
        done = subprocess.run([sys.executable, ROOT / "scripts/worker.py", tmp_path, "--log", "--", "echo", "hello"],
                              env={**os.environ, "RANK_ID": rank}, timeout=60)
        assert done.returncode == 0
        assert (tmp_path / f"worker_{rank}.log").read_text() == "hello\n"
        assert (tmp_path / f"rank_{rank}.exit").read_text() == "0\n"
    assert not (tmp_path / "worker_5.log").is_symlink()
    assert sorted(os.listdir(tmp_path)) == ["rank_5.exit", "rank_6.exit", "victim", "worker_5.log", "worker_6.log"]


@pytest.mark.parametrize("variables, words", [
    ({"RANK_ID": "../../x"}, "RANK_ID is '../../x'"), ({"RANK_ID": ""}, "RANK_ID is ''"),
    ({"LEAVE_AFTER": "nan"}, "LEAVE_AFTER is 'nan'"), ({"RANK_ID": "1", "LOCAL_RANK": "-1"}, "LOCAL_RANK is '-1'")])
def test_variables_of_a_rank_are_numbers(variables, words, tmp_path):
    (tmp_path / "cores").write_text("[[0]]")
    done = subprocess.run([sys.executable, ROOT / "scripts/worker.py", tmp_path / "logs", "--bind", tmp_path / "cores",
                           "--", "echo", "started"], env={**os.environ, **variables}, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, timeout=60)
    assert done.returncode == 2 and done.stdout == "" and done.stderr.startswith(f"ghost-ms: error: {words}")


# Hosts.

BAD_HOSTS = ["-oProxyCommand=touch pwned", "root@-oProxyCommand=x", "-x@10.0.0.1", "10.0.0.1 -oProxyCommand=x",
             "10.0.0.1 slots=8", "$(touch pwned)", "a;touch pwned", "a`b`", "10.0.0.256", "10.0.0.1:22",
             "fe80::1%$(id)", "user@", "@host", "a@b@c", "hö.st", "a\x1b[31mb", "[10.0.0.1", "-", "x" * 300]


@pytest.mark.parametrize("line", BAD_HOSTS)
def test_a_line_that_is_no_host_is_refused(line, tmp_path, shell, tool):
    tool("ssh", f"touch {tmp_path}/called")
    (tmp_path / "hosts").write_text(f"10.0.0.1\n{line}\n")
    with pytest.raises(ValueError, match="line 2 of the hosts file"):
        hosts.read(str(tmp_path / "hosts"))
    done = shell("ascend/run_cluster_train.sh", "--hosts", tmp_path / "hosts", "--log-dir", tmp_path / "logs",
                 DEVICE_TARGET="CPU")
    assert done.returncode == 1 and done.stderr.startswith("error: line 2 of the hosts file")
    assert len(done.stderr.splitlines()) == 1 and "\x1b" not in done.stderr
    assert not (tmp_path / "called").exists() and not (tmp_path / "pwned").exists()


def test_preflight_refuses_the_same_hosts(tmp_path, shell, tool):
    tool("ssh", f"touch {tmp_path}/called")
    (tmp_path / "hosts").write_text("-oProxyCommand=x\n")
    done = shell("ascend/preflight.sh", "--hosts", tmp_path / "hosts", HOME=str(tmp_path))
    assert done.returncode == 1 and done.stderr.startswith("error: line 1 of the hosts file")
    assert not (tmp_path / "called").exists()


def test_a_hosts_file_as_windows_writes_it(tmp_path):
    path = tmp_path / "hosts"
    path.write_bytes("\ufeff# nodes\r\n\r\n 10.0.0.1 \r\nroot@node-2.example.org # second\r\nfe80::1\r\n[FE80::2]\r\n"
                     .encode())
    assert hosts.read(str(path)) == ["10.0.0.1", "root@node-2.example.org", "fe80::1", "fe80::2"]


@pytest.mark.parametrize("text, words", [
    ("10.0.0.1\nroot@10.0.0.1\n", "names a host twice: 10.0.0.1 in lines 1 and 2"),
    ("Node1\nnode1\n", "names a host twice"), ("fe80::1\n[fe80:0::1]\n", "names a host twice: fe80::1"),
    ("# none\n\n", "names no host"), ("", "names no host")])
def test_hosts_twice_and_none(text, words, tmp_path):
    (tmp_path / "hosts").write_text(text)
    with pytest.raises(ValueError, match=words):
        hosts.read(str(tmp_path / "hosts"))


def test_a_hosts_file_that_is_none(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "large").write_text("# \n" * 2_000_000)
    for name, words in (("pipe", "is no file"), ("large", "is larger than 4 MiB")):
        with pytest.raises(ValueError, match=words):
            hosts.read(str(tmp_path / name))


def test_ssh_is_told_where_its_options_end(tmp_path, shell, tool):
    tool("ssh", f'printf "%s\\n" "$@" >> {tmp_path}/calls; exit 1')
    (tmp_path / "hosts").write_text("root@10.0.0.1\n")
    shell("ascend/run_cluster_train.sh", "--hosts", tmp_path / "hosts", "--log-dir", tmp_path / "logs",
          DEVICE_TARGET="CPU")
    shell("ascend/preflight.sh", "--hosts", tmp_path / "hosts", HOME=str(tmp_path))
    words = (tmp_path / "calls").read_text().splitlines()
    assert words.count("--") == words.count("root@10.0.0.1") == 2
    assert [words[words.index("--", i) + 1] for i in (0, words.index("--") + 1)] == ["root@10.0.0.1"] * 2


@pytest.mark.parametrize("text", NASTY)
def test_words_reach_a_node_as_they_are(text, tmp_path, tool):
    """The remote shell is any POSIX shell; what it runs there is written down instead."""
    home = tmp_path / f"in {text.replace('/', '_')}"
    for folder in (home, home / f"data{text}", tmp_path / "there"):
        folder.mkdir()
    recipe = home / f"{text}.yaml"
    recipe.write_text("")
    (tmp_path / "hosts").write_text("10.0.0.1\n")
    seen = tmp_path / "seen"
    for name, script in (("there/bash", f'pwd > {seen}.pwd; printf "%s\\0" "$@" > {seen}'),
                         ("remote.sh", f'PATH={tmp_path}/there:$PATH exec sh -c "$2"')):
        (tmp_path / name).write_text(f"#!/bin/bash\n{script}\n")
        (tmp_path / name).chmod(0o755)
    done = subprocess.run(["bash", ROOT / "ascend/run_cluster_train.sh", f"{text}.yaml", f"data{text}", "--hosts",
                           tmp_path / "hosts", "--remote-shell", tmp_path / "remote.sh", "--log-dir", tmp_path / "logs",
                           "--run.dir", text, f"--run.note={text}"], cwd=home, stdout=subprocess.PIPE, text=True,
                          stderr=subprocess.PIPE, timeout=60,
                          env={**os.environ, "PYTHON": sys.executable, "DEVICE_TARGET": "CPU"})
    assert done.returncode == 0, done.stderr
    words = seen.read_text().split("\0")
    own = f"./{text}.yaml" if text.startswith("-") else f"{text}.yaml"
    assert words[words.index("--config") + 1] == own and words[words.index("--dataset") + 1] == f"data{text}"
    assert words[words.index("--run.dir") + 1] == text and f"--run.note={text}" in words
    assert (tmp_path / "seen.pwd").read_text() == f"{home}\n"
    assert not any(path.name == "pwned" for path in tmp_path.rglob("pwned"))


@pytest.mark.parametrize("address", ["$(touch pwned)", "a b", "-x", "10.0.0.1/x;touch pwned"])
def test_the_address_of_the_master_is_one(address, tmp_path, shell):
    done = shell("ascend/run_cluster_train.sh", "--node-rank", 1, "--nodes", 2, "--master-addr", address, "--dry-run")
    assert done.returncode == 1 and "is neither an IP address nor the name of a host" in done.stderr
    done = _bash(f". {ROOT}/scripts/launch.sh; WATCH_NODE='{address} 1'; node_answers && echo yes || echo no", tmp_path)
    assert done.stdout == "no\n" and not (tmp_path / "pwned").exists()


@pytest.mark.parametrize("name", ["STOP_AFTER", "LEAVE_AFTER", "LOST_AFTER"])
def test_a_variable_that_goes_into_arithmetic_is_a_number(name, tmp_path):
    done = _bash(f". {ROOT}/scripts/launch.sh", tmp_path, **{name: "a[$(touch pwned)]"})
    assert done.returncode == 1 and done.stderr.startswith(f"error: {name} is 'a[") and not os.listdir(tmp_path)


@pytest.mark.parametrize("words", [["--workers", "08"], ["--workers", "a[$(touch pwned)]"], ["--timeout", "1e9"],
                                   ["--workers", "99999999999999999999"], ["--workers", "2000"], ["--port", "70000"],
                                   ["--port", "0x50"], ["--workers", "²"]])
def test_numbers_are_numbers(words, shell, tmp_path):
    done = shell("ascend/run_distribute_train.sh", *words, "--dry-run", DEVICE_TARGET="CPU")
    assert done.returncode == 1 and done.stderr.startswith("error: ") and len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "pwned").exists()


# Rank tables, and the text of tools.

def _table(**changes):
    card = {"device_id": "0", "device_ip": "192.168.1.1", "rank_id": "0", **changes.pop("card", {})}
    server = {"server_id": "10.0.0.1", "device": [card], **changes.pop("server", {})}
    return {"version": "1.0", "server_count": "1", "server_list": [server], "status": "completed", **changes}


@pytest.mark.parametrize("text", [
    "[" * 200_000, '{"server_list":' * 50_000, "nonsense", "", "null", '"x"', '{"server_list": {}}',
    '{"server_list": [1]}', '{"server_list": [{"device": 3}]}', '{"server_list": [{"device": [[]]}]}',
    '{"server_count": ' + "9" * 2_000_000 + ', "server_list": []}',
    *(json.dumps(_table(card={name: value})) for name in ("device_id", "device_ip", "rank_id") for value in (
        {}, [], True, 1.5, "1" * 5000, "-1", "1;touch x", "$(id)", "²", "01", None, "\x1b[2J", "١", 10 ** 30)),
    *(json.dumps(_table(server={"server_id": value})) for value in ({}, [1], True, "\x1b]0;x\x07", "a b", None, 7)),
    *(json.dumps(_table(**{name: value})) for name in ("version", "status", "server_count") for value in (
        {"a": [1]}, "\x1b[31m", "x" * 10_000)),
    json.dumps(_table(server_list=[{"device": [{}] * 70_000}]))],
    ids=lambda text: text[:30].encode("unicode_escape").decode())
@pytest.mark.parametrize("command", ["check", "local"])
def test_a_hostile_rank_table_ends_in_one_sentence(command, text, tmp_path, capsys):
    (tmp_path / "t.json").write_text(text)
    began = time.monotonic()
    assert rank_table.main([command, str(tmp_path / "t.json"), "--server-ip", "10.0.0.1"]) == 1
    assert time.monotonic() - began < 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and len(error.splitlines()) == 1 and len(error) < 2500
    assert error.rstrip("\n").isprintable()


def test_ranks_that_do_not_follow_each_other_are_refused(tmp_path, capsys):
    table = _table()
    table["server_list"][0]["device"] += [{"device_id": "1", "device_ip": "192.168.1.2", "rank_id": "2"}]
    table["server_list"] += [{"server_id": "10.0.0.2", "device": [{"device_id": "0", "device_ip": "192.168.1.3",
                                                                   "rank_id": "1"}]}]
    (tmp_path / "t.json").write_text(json.dumps({**table, "server_count": "2"}))
    assert rank_table.main(["size", str(tmp_path / "t.json")]) == 0 and capsys.readouterr().out == "3\n"
    assert rank_table.main(["local", str(tmp_path / "t.json"), "--server-ip", "10.0.0.1"]) == 1
    assert "the ranks of server 10.0.0.1 do not follow each other" in capsys.readouterr().err


def test_a_table_is_written_whole_and_through_no_link(tmp_path, victim):
    (tmp_path / "hccn").write_text("address_0=192.168.1.1\naddress_1=$(touch x)\naddress_x=1\n"
                                   " address_2 = 10.1.1.1 # c\n")
    (tmp_path / "t.json").symlink_to(victim)
    assert rank_table.main(["make", "--server-ip", "10.0.0.1", "--hccn", str(tmp_path / "hccn"), "-o",
                            str(tmp_path / "t.json")]) == 0
    cards = json.loads((tmp_path / "t.json").read_text())["server_list"][0]["device"]
    assert [(card["device_id"], card["device_ip"]) for card in cards] == [("0", "192.168.1.1"), ("2", "10.1.1.1")]
    assert not (tmp_path / "t.json").is_symlink()


@pytest.mark.parametrize("text", ["0-99999999999", "0-", "a", "1,,2", "0-65535," * 5 + "1", "-1", "١"])
def test_cores_that_are_none_are_refused(text):
    with pytest.raises(ValueError, match="is no list of cores"):
        npu.parse_cores(text)


def test_what_npu_smi_says_is_no_message_to_the_terminal():
    text = ("| 0     \x1b[31m910B2  | O\x1bK  | 92.9  42  0 / 0 |\n"
            "| 0           | 0000:C1:00.0 | 0  0 / 0  3380 / 65536 |\n"
            "| 99999999999 910B2 | OK | 1 |\n| Process id | x |\n| 0 0 | 9\u0663 | x |\n")
    chip, = npu.parse(text)
    assert chip.name == "\\x1b[31m910B2" and not chip.processes
    assert npu.problem([chip], [0]).isprintable()


def test_a_tool_that_never_ends_or_never_stops_talking(tool):
    tools = tool("endless", "yes")
    began = time.monotonic()
    assert len(outside.output_of([tools / "endless"], 30).stdout) == outside.LIMIT
    tool("hangs", "sleep 60 & echo begun; sleep 60")
    with pytest.raises(subprocess.TimeoutExpired):
        outside.output_of([tools / "hangs"], 1)
    assert time.monotonic() - began < 20


# Logs, messages and their table.

def test_rows_of_the_table_of_messages_that_are_none(tmp_path, capsys):
    path = tmp_path / "errors.tsv"
    path.write_text("# comment\nbad(\tx\ty\nonly one\nfoo(\\d)\tgroup \\2\tz\nfoo (\\d)\tgroup \\1\tz\na\tb\tc\td\n")
    assert explain.rules(str(path)) == [("foo (\\d)", "group \\1", "z")]
    said = capsys.readouterr().err.splitlines()
    assert [line.split(" is passed over")[0] for line in said] == [f"line {n} of '{path}'" for n in (2, 3, 4, 6)]


@pytest.mark.parametrize("code, words", [("-35", "signal 35"), ("-999", "signal 999"), ("²", "exit code ²"),
                                         ("unknown", "exit code unknown"), ("-1000000", "exit code -1000000")])
def test_exit_codes_that_nothing_has(code, words):
    assert words in explain.explain("", code)


def test_a_log_of_gigabytes_is_read_at_its_ends(tmp_path):
    path = tmp_path / "log"
    with open(path, "wb") as file:
        file.write(b"EI0006 at the start\n")
        file.truncate(3 << 30)
        file.seek(0, 2)
        file.write(b"\nghost-ms: error: no \x1b[31mroom\n")
    began = time.monotonic()
    done = subprocess.run([sys.executable, ROOT / "scripts/explain.py", path, "1"], stdout=subprocess.PIPE, text=True,
                          timeout=60)
    assert done.stdout.startswith("no \\x1b[31mroom (the cards could not connect (EI0006)")
    assert time.monotonic() - began < 20


def test_what_a_rank_prints_does_not_move_the_cursor(tmp_path):
    job, _ = job_of(tmp_path, r'printf "\033[2J\033]0;title\007 \u202eleft\n"; sleep 2; '
                            r'printf "ghost-ms: error: \033[31mred\n"; exit 1')
    out, err = job.communicate(timeout=60)
    assert job.returncode == 1 and "\\x1b[2J\\x1b]0;title\\x07 \\u202eleft" in out
    assert " failed: \\x1b[31mred\n" in err and not {"\x1b", "\x07", "\u202e"} & set(out + err)


def test_messages_of_the_launchers_are_printable(shell):
    done = shell("scripts/run_distribute_train.sh", "no\x1b[31m\u202e\x9bsuch\n.yaml")
    assert done.returncode == 1
    assert done.stderr == "error: there is no recipe 'no?[31m??such?.yaml'; the shipped ones are under configs/\n"
