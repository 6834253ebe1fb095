"""What `npu-smi` says of the NPUs of this machine, and which CPU cores lie near them. Needs Python alone.

    npu.py list                              numbers of the cards, separated by commas
    npu.py ready 0,1,4                       exit 1 with one sentence if a card is missing, sick or in use
    npu.py bind 0,1,4 FILE [--cpu]           FILE (JSON) receives a list of cores for each process
    npu.py count 0,1,4                       how many these are; exit 1 with one sentence if it is no list of cards
"""
import argparse
import dataclasses
import glob
import json
import os
import re
import subprocess
import sys
from typing import Dict, List, Optional, Sequence, Tuple

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "scripts"))
from outside import brief, output_of, write_text

USAGE = re.compile(r"([0-9]{1,9})\s*/\s*([0-9]{1,9})")
#: Numbers of cards and of cores stay below this; anything above is no such number.
MOST = 65536
#: What the driver calls a card that can be used; a warning does not stop a training.
USABLE = ("OK", "Warning")


@dataclasses.dataclass
class Chip:
    """One chip.

    Args:
        npu, chip: card, and chip on it.
        device: number under which programs address it.
        name: such as 910B2 or 310P3.
        health: OK, Warning, Alarm, Critical or UNKNOWN.
        used, total: device memory in MB (HBM where there is such).
        processes: ids of the processes on it.
    """

    npu: int
    chip: int
    device: int
    name: str
    health: str
    used: int = 0
    total: int = 0
    processes: List[int] = dataclasses.field(default_factory=list)

    @property
    def first_series(self) -> bool:
        """Ascend 910 of the first generation: 32 GB and DDR beside it; later ones are called 910B1 and on."""
        return bool(re.fullmatch(r"910(A|B|Pro[AB]|Premium[AB])?", self.name)) and 0 < self.total <= 32768


def parse(text: str) -> List[Chip]:
    """The chips in an output of `npu-smi info`, of any generation so far."""
    chips: List[Chip] = []
    head: Optional[Tuple[int, str, str]] = None
    processes = False
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if "Process id" in line:
            processes = True
        elif not line.startswith("|") or len(cells) < 2:
            continue
        elif processes:
            _add_process(chips, cells)
        elif len(cells) == 3 and head is None and not USAGE.search(cells[1]) and \
                (match := re.fullmatch(r"([0-9]{1,5})\s+(\S+)", cells[0])):
            head = int(match.group(1)), brief(match.group(2), 30), brief(cells[1], 30)
        elif len(cells) == 3 and head is not None and re.fullmatch(r"[0-9]{1,5}(\s+[0-9]{1,5})?", cells[0]):
            numbers = [int(number) for number in cells[0].split()]
            memory = USAGE.findall(cells[2]) or [("0", "0")]
            device = numbers[1] if len(numbers) > 1 else head[0]
            chips.append(Chip(head[0], numbers[0], device, head[1], head[2], *map(int, memory[-1])))
            head = None
    return chips


def _add_process(chips: Sequence[Chip], cells: List[str]) -> None:
    place = cells[0].split()
    if len(cells) < 3 or len(place) != 2 or not re.fullmatch("[0-9]{1,10}", cells[1]):
        return
    for chip in chips:
        if [str(chip.npu), str(chip.chip)] == place:
            chip.processes.append(int(cells[1]))


def version(text: str) -> str:
    """Version of npu-smi, which is that of the driver package."""
    match = re.search(r"npu-smi\s+\S+\s+Version:\s*(\S+)", text)
    return brief(match.group(1), 30) if match else "unknown"


def smi(*arguments: str) -> str:
    """Output of `npu-smi`; FileNotFoundError where there is none, OSError where it fails."""
    try:
        done = output_of(["npu-smi", *arguments], 60)
    except FileNotFoundError:
        raise FileNotFoundError("there is no npu-smi on PATH: this machine has no NPU, or its driver is not installed "
                                "(DEVICE_TARGET=CPU runs on the CPU)") from None
    except subprocess.TimeoutExpired:
        raise OSError("npu-smi did not answer within 60 s: the driver hangs; restart the server") from None
    if done.returncode:
        said = brief(" ".join(done.stdout.split()), 300) or "no message"
        held = "; the cards are held by another container" if "-8005" in done.stdout else ""
        raise OSError(f"npu-smi failed ({said}){held}")
    return done.stdout


def problem(chips: Sequence[Chip], wanted: Sequence[int]) -> Optional[str]:
    """One sentence on the first card that cannot be used now, or None."""
    known = {chip.device: chip for chip in chips}
    for device in wanted:
        if device not in known:
            have = ",".join(map(str, sorted(known))) or "none"
            return f"there is no card {device} here (npu-smi shows {have}); choose with --devices"
        chip = known[device]
        if chip.health not in USABLE:
            return (f"card {device} ({chip.name}) is in state {chip.health}; see `npu-smi info -t health -i "
                    f"{chip.npu}`, or leave it out with --devices")
        if chip.processes:
            return (f"card {device} is in use by process {', '.join(map(str, chip.processes))}; end it, or choose "
                    "other cards with --devices")
    return None


def parse_devices(text: str) -> List[int]:
    """'0,1,4' as numbers; ValueError unless they rise, because CANN stops reading at the first that does not."""
    if not re.fullmatch(r"(0|[1-9][0-9]{0,4})(,(0|[1-9][0-9]{0,4}))*", text):
        raise ValueError(f"--devices is '{brief(text)}'; it is numbers with commas and no blanks, such as 0,1,4")
    devices = [int(number) for number in text.split(",")]
    if devices != sorted(set(devices)):
        raise ValueError(f"--devices is '{brief(text)}'; each card is named once, in rising order")
    return devices


def parse_cores(text: str) -> List[int]:
    """'0-3,8' as numbers of cores; ValueError where it is no such list."""
    cores: List[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"([0-9]{1,5})(?:-([0-9]{1,5}))?", part.strip())
        if not match or len(cores) > MOST:
            raise ValueError(f"'{brief(text)}' is no list of cores, such as 0-3,8")
        cores += range(int(match.group(1)), int(match.group(2) or match.group(1)) + 1)
    return cores


def affinity(topology: str) -> Dict[int, List[int]]:
    """Cores near each card, from `npu-smi info -t topo`; empty where that shows none."""
    near = {}
    for line in topology.splitlines():
        words = line.split()
        if len(words) > 1 and re.fullmatch(r"NPU[0-9]{1,5}", words[0]) and re.fullmatch(r"[0-9][0-9,-]*", words[-1]):
            near[int(words[0][3:])] = parse_cores(words[-1])
    return near


def numa_nodes(root: str = "/sys/devices/system/node") -> List[List[int]]:
    """Cores of each NUMA node that has any."""
    nodes = []
    for path in sorted(glob.glob(os.path.join(root, "node[0-9]*", "cpulist")),
                       key=lambda p: int(re.findall(r"node(\d+)", p)[-1])):
        with open(path) as file:
            text = file.read().strip()
        if text:
            nodes.append(parse_cores(text))
    return nodes


def plan_cores(devices: Sequence[int], near: Dict[int, List[int]], nodes: List[List[int]],
               allowed: Sequence[int]) -> List[List[int]]:
    """Cores for each process: those near its card, shared out among the processes that have the same ones.

    Where nothing is known of a card, processes are spread over the NUMA nodes in blocks. Cores that this process may
    not use are left out; a process that would get none is not bound.
    """
    nodes = nodes or [list(allowed)]
    pools = [tuple(near.get(device) or nodes[index * len(nodes) // len(devices)])
             for index, device in enumerate(devices)]
    plan = []
    for index, pool in enumerate(pools):
        usable = [core for core in pool if core in set(allowed)]
        sharing = [i for i, other in enumerate(pools) if other == pool]
        place, count = sharing.index(index), len(sharing)
        plan.append(usable[place * len(usable) // count:(place + 1) * len(usable) // count])
    return plan


def main(argv: Optional[Sequence[str]] = None) -> int:
    """The commands of the docstring."""
    parser = argparse.ArgumentParser("npu.py", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["list", "ready", "bind", "count"])
    parser.add_argument("devices", nargs="?")
    parser.add_argument("output", nargs="?")
    parser.add_argument("--cpu", action="store_true", help="no NPU: bind by NUMA nodes alone")
    options = parser.parse_args(argv)
    try:
        devices = parse_devices(options.devices) if options.devices else []
        if options.command == "count":
            print(len(devices))
            return 0
        if options.command == "bind":
            near = {} if options.cpu else affinity(smi("info", "-t", "topo"))
            plan = plan_cores(devices, near, numa_nodes(), sorted(os.sched_getaffinity(0)))
            write_text(options.output, json.dumps(plan))
            return 0
        chips = parse(smi("info"))
        if not chips:
            raise ValueError("npu-smi shows no NPU; see ascend/preflight.sh")
        if options.command == "list":
            print(",".join(str(chip.device) for chip in chips))
            return 0
        said = problem(chips, devices)
        if said:
            raise ValueError(said)
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
