"""The checks of preflight.sh. Needs Python alone; nothing is changed, nothing is sent but ssh to named hosts."""
import argparse
import glob
import importlib.util
import os
import re
import resource
import shlex
import shutil
import socket
import subprocess
import sys
import time
from typing import Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

import hosts
import npu
import rank_table
from outside import brief, output_of, printable, read_text

HERE = os.path.dirname(os.path.abspath(__file__))
OK, WARN, FAIL = "OK", "WARN", "FAIL"
#: CANN that each MindSpore accepts, as the packages say in mindspore/run_check/_check_version.py. Used where that file
#: cannot be read, and to say what to install.
CANN_OF = {"2.7.0": ("8.2",), "2.7.1": ("8.2", "8.3"), "2.7.2": ("8.5",), "2.8.0": ("8.2", "8.3", "8.5"),
           "2.9.0": ("8.2", "8.3", "8.5", "9.0"), "2.10.0": ("8.2", "8.3", "8.5", "9.0", "9.1")}
#: The one that constraints.txt installs and the tests run with.
TESTED = "2.8.0"


class Row(NamedTuple):
    """One line of the table: what was looked at, OK, WARN or FAIL, what was found, and what to do."""

    check: str
    state: str
    found: str
    remedy: str = ""


def _read(path: str) -> str:
    try:
        return read_text(path)
    except (OSError, ValueError):
        return ""


def _version_in(text: str) -> Optional[str]:
    match = re.search(r"^[ \t]*version[ \t]*=[ \t]*\[?\"?([\w.]{1,40})", text, re.M | re.I | re.A)
    return match.group(1) if match else None


def _pair(version: str) -> Tuple[int, ...]:
    """(8, 3) of 8.3.RC1; empty where it begins with no such numbers."""
    match = re.match(r"([0-9]{1,4})\.([0-9]{1,4})(?![0-9])", version)
    return tuple(map(int, match.groups())) if match else ()


def cann_folder(sysroot: str) -> Optional[str]:
    """The folder of CANN: ASCEND_HOME_PATH, or one of the usual places."""
    named = os.environ.get("ASCEND_HOME_PATH")
    bases = [os.path.join(sysroot, "usr/local/Ascend"), os.path.join(os.path.expanduser("~"), "Ascend")]
    places = [os.path.join(base, name) for base in bases
              for name in ("cann", "ascend-toolkit/latest", "ascend-toolkit", "nnae/latest", "nnrt/latest")]
    return next((place for place in ([named] if named else []) + places if os.path.isdir(place)), None)


def cann_version(folder: str) -> Optional[str]:
    """From the file that MindSpore reads too, or the package's own."""
    inside = os.path.join(glob.escape(folder), "*")
    files = [os.path.join(folder, "compiler/version.info"), os.path.join(folder, "version.info"),
             *sorted(glob.glob(os.path.join(inside, "ascend_toolkit_install.info"))),
             *sorted(glob.glob(os.path.join(inside, "ascend_*_install.info")))]
    return next(filter(None, (_version_in(_read(path)) for path in files)), None)


def check_cann(sysroot: str) -> Row:
    """CANN is installed, and its environment is loaded."""
    folder = cann_folder(sysroot)
    if folder is None:
        return Row("CANN", FAIL, "not found", "install CANN's toolkit and operator packages, or set ASCEND_HOME_PATH")
    version = cann_version(folder) or "of unknown version"
    if not os.environ.get("ASCEND_OPP_PATH"):
        script = next((p for p in (os.path.join(folder, "set_env.sh"), os.path.join(folder, "..", "set_env.sh"))
                       if os.path.isfile(p)), None)
        return Row("CANN", WARN if script else FAIL, f"{version} in {folder}, environment not loaded",
                   f"source {os.path.normpath(script)} (the launchers do it themselves)" if script else
                   "its set_env.sh is missing; install CANN again")
    return Row("CANN", OK, f"{version} in {folder}")


def check_driver(sysroot: str) -> List[Row]:
    """Versions of driver and firmware."""
    rows = []
    for name in ("driver", "firmware"):
        version = _version_in(_read(os.path.join(sysroot, "usr/local/Ascend", name, "version.info")))
        rows.append(Row(name, OK, version) if version else
                    Row(name, FAIL, "not found", f"install the NPU {name} that fits the card (Ascend HDK)"))
    return rows


def supported_cann(folder: str, mindspore: str) -> Tuple[str, ...]:
    """CANN versions that an installed MindSpore names itself, else those of the table above."""
    # Lists of CUDA versions stand in the same file.
    _, _, text = _read(os.path.join(folder, "run_check", "_check_version.py")).partition("class AscendEnvChecker")
    listed = re.search(r"self\.version = \[([^\]]{0,300})\]", text)
    named = tuple(re.findall(r"[\"']([0-9]{1,3}\.[0-9]{1,3})[\"']", listed.group(1))) if listed else ()
    return named or CANN_OF.get(mindspore) or next(
        (CANN_OF[known] for known in reversed(CANN_OF) if _pair(known) == _pair(mindspore)), ())


def _what_fits(cann: str) -> str:
    """Which MindSpore accepts a CANN: what to do where the installed one does not."""
    fitting = [mindspore for mindspore, versions in CANN_OF.items() if _pair(cann) in map(_pair, versions)]
    if not fitting:
        return "no MindSpore that is known here accepts it: install a CANN of ascend/README.md's table"
    return f"pip install mindspore=={TESTED if TESTED in fitting else fitting[-1]}, or install one of these CANN"


def check_mindspore(sysroot: str) -> List[Row]:
    """MindSpore is there, can drive NPUs, and fits CANN."""
    spec = importlib.util.find_spec("mindspore")
    if spec is None or not spec.origin:
        return [Row("MindSpore", FAIL, f"not installed for {sys.executable}", "pip install -c constraints.txt .")]
    folder = os.path.dirname(spec.origin)
    version = (re.search(r"['\"]([\d.]+\w*)['\"]", _read(os.path.join(folder, "version.py"))) or [None, "unknown"])[1]
    plugin = glob.glob(os.path.join(glob.escape(folder), "lib/plugin/libmindspore_ascend.so*"))
    rows = [Row("MindSpore", OK, f"{version} with the Ascend plugin") if plugin else
            Row("MindSpore", FAIL, f"{version} without the Ascend plugin",
                "install the MindSpore package for Ascend: https://www.mindspore.cn/install")]
    home = cann_folder(sysroot)
    cann, wanted = cann_version(home) if home else None, supported_cann(folder, version)
    if cann and wanted:
        fits = _pair(cann) in map(_pair, wanted)
        rows.append(Row("MindSpore and CANN", OK, f"{version} goes with CANN {', '.join(wanted)}") if fits else
                    Row("MindSpore and CANN", FAIL, f"MindSpore {version} wants CANN {', '.join(wanted)}, not {cann}",
                        _what_fits(cann)))
    return rows


def check_npus(wanted: Optional[List[int]]) -> Tuple[List[Row], List[npu.Chip]]:
    """Cards are there, healthy and unused."""
    try:
        text = npu.smi("info")
    except OSError as error:
        return [Row("NPU", FAIL, "none", str(error))], []
    chips = npu.parse(text)
    if not chips:
        return [Row("NPU", FAIL, "npu-smi shows none", "see whether `lspci | grep d80` shows the cards; install the "
                                                         "driver again")], []
    rows = [Row("npu-smi", OK, npu.version(text))]
    known = {chip.device for chip in chips}
    rows += [Row(f"NPU {device}", FAIL, "not there", "choose with --devices") for device in wanted or []
             if device not in known]
    for chip in chips:
        if wanted and chip.device not in wanted:
            continue
        found = f"{chip.name}, {chip.health}, {chip.total - chip.used} of {chip.total} MB free"
        said = npu.problem(chips, [chip.device])
        state = FAIL if said else WARN if chip.health != "OK" else OK
        rows.append(Row(f"NPU {chip.device}", state, found, said or ("" if state == OK else
                    f"npu-smi info -t health -i {chip.npu}")))
    return rows, chips


def _link(tool: str, device: int) -> str:
    """What hccn_tool says of a card's link; a driver that hangs keeps it waiting for ever."""
    try:
        return output_of([tool, "-i", str(device), "-link", "-g"], 60).stdout
    except subprocess.TimeoutExpired:
        return "no answer"


def check_network(chips: Sequence[npu.Chip], sysroot: str) -> List[Row]:
    """Cards that train over several servers need addresses and a link (Ascend 910 and later; 310P has no network)."""
    rows = []
    known = rank_table.addresses_in(_read(os.path.join(sysroot, "etc/hccn.conf")))
    tool = shutil.which("hccn_tool")
    for chip in chips:
        if not chip.name.lower().replace("ascend", "").startswith("910"):
            continue
        address = known.get(chip.device)
        try:
            address = address or rank_table.address_by_tool(chip.device)
        except ValueError:
            rows.append(Row(f"network of NPU {chip.device}", WARN, "no address",
                            f"only for several servers: hccn_tool -i {chip.device} -ip -s address A netmask M"))
            continue
        if tool is None:
            rows.append(Row(f"network of NPU {chip.device}", WARN, f"{address}; link unknown",
                            "hccn_tool is not on PATH"))
            continue
        said = _link(tool, chip.device)
        up = re.search(r"link status\s*:\s*UP", said, re.I)
        rows.append(Row(f"network of NPU {chip.device}", OK, f"{address}, link up") if up else
                    Row(f"network of NPU {chip.device}", WARN, f"{address}, link down",
                        "only for several servers: see cable, switch and `hccn_tool -i "
                        f"{chip.device} -net_health -g`"))
    return rows


def _port(text: str, name: str, most: int = 65535) -> int:
    """The number of a port; ValueError with a sentence where it is none."""
    if not re.fullmatch("[0-9]{1,5}", text) or not 0 < int(text) <= most:
        raise ValueError(f"{name} is '{brief(text)}'; it is a number from 1 to {most}")
    return int(text)


def _port_is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", port))
        except OSError:
            return False
    return True


def check_host(port: int, cards: int) -> List[Row]:
    """Ports, memory and limits of the host."""
    rows = [Row(f"port {port}", OK, "free") if _port_is_free(port) else
            Row(f"port {port}", FAIL, "in use", "choose another with --port, or end the job that holds it")]
    base = _port(os.environ.get("HCCL_IF_BASE_PORT", "60000"), "HCCL_IF_BASE_PORT", 65535 - 31)
    if cards:
        taken = [p for p in range(base, base + 32) if not _port_is_free(p)]
        rows.append(Row(f"HCCL ports {base}-{base + 31}", OK, "free") if not taken else
                    Row(f"HCCL ports {base}-{base + 31}", FAIL, f"{taken[0]} is in use",
                        "set HCCL_IF_BASE_PORT, or end what is left of an earlier job"))
    match = re.search(r"MemAvailable:\s+(\d+)", _read("/proc/meminfo"))
    free, wanted = int(match.group(1)) / 2 ** 20 if match else 0.0, 8.0 * max(cards, 1)
    rows.append(Row("memory", OK if free >= wanted else WARN, f"{free:.0f} GiB free",
                    "" if free >= wanted else f"about 8 GiB a process are needed, {wanted:.0f} in all"))
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    rows.append(Row("open files", OK if files >= 65535 else WARN, f"limit {files}",
                    "" if files >= 65535 else "ulimit -n 65535: a data pipeline and HCCL open many"))
    rows.append(_check_clock())
    return rows


def _check_clock() -> Row:
    try:
        said = subprocess.run(["timedatectl", "show", "-p", "NTPSynchronized", "--value"], stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, text=True, timeout=10).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        said = ""
    now = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
    if said == "no":
        return Row("clock", WARN, f"{now}, not synchronised", "start chronyd or ntpd: logs of nodes are compared")
    return Row("clock", OK, now if said == "yes" else f"{now} (whether it is synchronised is not known)")


def check_dataset(path: str) -> Row:
    """The data set's folder can be read."""
    if not os.path.isdir(path):
        return Row("data set", FAIL, f"no folder {path}", "mount or copy it; every node reads it under the same path")
    if not os.access(path, os.R_OK | os.X_OK):
        return Row("data set", FAIL, f"{path} cannot be read by this user", "chmod -R a+rX on it")
    names = ("train", "training", "val", "validation", "test")
    splits = [name for name in names if os.path.isdir(os.path.join(path, name))]
    if not splits:
        return Row("data set", WARN, f"{path} holds no train/ or val/",
                   "right for MNIST and CIFAR, wrong for image_folder")
    return Row("data set", OK, f"{path}: {', '.join(splits)}")


def collect(options: argparse.Namespace) -> List[Row]:
    """Every check of this host."""
    wanted = npu.parse_devices(options.devices) if options.devices else None
    npus, chips = check_npus(wanted)
    rows = [check_cann(options.sysroot), *check_driver(options.sysroot), *npus, *check_mindspore(options.sysroot)]
    rows += check_network([chip for chip in chips if not wanted or chip.device in wanted], options.sysroot)
    rows += check_host(options.port, len(wanted or chips))
    return rows + ([check_dataset(options.dataset)] if options.dataset else [])


def show(rows: Sequence[Row], title: str) -> None:
    """The table."""
    rows = [Row(*map(printable, row)) for row in rows]
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    print(title)
    for row in rows:
        line = "  ".join(row[i].ljust(widths[i]) for i in range(3))
        print(f"  {line}  -> {row.remedy}" if row.remedy else f"  {line.rstrip()}")
    print(flush=True)


#: Seconds for the checks of a host; each of its tools has a minute of its own.
ANSWER_AFTER = 900


def look_at_hosts(options: argparse.Namespace, call: Callable = output_of) -> Dict[str, int]:
    """Run this script on every host; exit codes by host. A host that cannot be reached counts as failed."""
    codes = {}
    for host in hosts.read(options.hosts):
        words = [os.environ.get("PYTHON", "python3"), os.path.join(HERE, "preflight.py"), "--port", str(options.port),
                 *(["--devices", options.devices] if options.devices else []),
                 *([os.path.abspath(options.dataset)] if options.dataset else [])]
        before = time.time()
        command = " ".join(map(shlex.quote, words)) + "; echo code $? time $(date +%s)"
        try:
            said = call([*shlex.split(options.remote_shell), host, command], ANSWER_AFTER).stdout
        except subprocess.TimeoutExpired:
            said = f"no answer within {ANSWER_AFTER} s"
        print(f"=== {host}")
        end = re.search(r"code ([0-9]{1,3}) time ([0-9]{1,12})\s*$", said)
        print(printable(said[:end.start()] if end else said, lines=True))
        codes[host] = int(end.group(1)) if end else 255
        if end is None:
            print(f"  {host} did not answer: set up ssh without a password (ssh-copy-id {host})")
        elif not before - 5 <= int(end.group(2)) <= time.time() + 5:
            codes[host] = 1
            print(f"  clock of {host} differs by {int(end.group(2)) - time.time():.0f} s: synchronise it (chronyd)")
    return codes


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Look, print, and say by the exit code whether a training can start."""
    parser = argparse.ArgumentParser("preflight.sh")
    parser.add_argument("dataset", nargs="?")
    parser.add_argument("--devices")
    parser.add_argument("--port", default="8118")
    parser.add_argument("--hosts")
    parser.add_argument("--sysroot", default="/")
    # What follows '--' is never taken for an option of ssh.
    parser.add_argument("--remote-shell", default="ssh -o BatchMode=yes -o ConnectTimeout=20 --")
    options = parser.parse_args(argv)
    try:
        options.port = _port(options.port, "--port")
        if options.hosts:
            hosts.read(options.hosts)
        rows = collect(options)
        show(rows, f"{socket.gethostname()}:")
        bad = sum(row.state == FAIL for row in rows)
        bad += sum(code != 0 for code in look_at_hosts(options).values()) if options.hosts else 0
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print("ready" if not bad else f"not ready: {bad} to be done (FAIL)")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
