"""Where a call of a compiled network spends its time: MindSpore's operators, summed by kind."""
import csv
import glob
import os
import re
import tempfile
from typing import Callable, Dict, List, NamedTuple

#: Share of the time below which operators of a kind are summed as the rest.
SMALL = 0.01


class OperatorTime(NamedTuple):
    """Time of one kind of operator.

    Args:
        name: MindSpore's; of a CPU kernel of this package that of its cell, with 'gradient' where it is one.
        count: how many a call runs.
        ms: milliseconds of a call that all of them take.
        share: of the time of all operators.
    """

    name: str
    count: float
    ms: float
    share: float


def operator_times(run: Callable[[], object], calls: int) -> List[OperatorTime]:
    """Profile some calls of a function that runs a compiled network; kinds of operators, the longest first.

    Times are of each operator alone, as MindSpore's profiler sees them; where two run at once, they add up to more than
    the call takes.
    """
    from mindspore.profiler import ProfilerActivity, profile, tensorboard_trace_handler

    with tempfile.TemporaryDirectory() as folder:
        with profile(activities=[ProfilerActivity.CPU], on_trace_ready=tensorboard_trace_handler(folder)):
            for _ in range(calls):
                run()
        file, = glob.glob(os.path.join(folder, "*", "FRAMEWORK", "cpu_op_detail_info_*.csv"))
        with open(file, encoding="utf-8", newline="") as lines:
            return summed(csv.DictReader(lines), calls)


def summed(rows, calls: int) -> List[OperatorTime]:
    """Rows of MindSpore's cpu_op_detail_info as kinds of operators; the small ones as one, the last."""
    counts: Dict[str, float] = {}
    times: Dict[str, float] = {}
    for row in rows:
        name = kind_of(row["op_type"], row["full_op_name"])
        counts[name] = counts.get(name, 0) + int(row["op_occurrences"]) / calls
        times[name] = times.get(name, 0) + float(row["op_total_time(ms)"]) / calls
    total = sum(times.values()) or 1.0
    found = sorted((OperatorTime(name, counts[name], ms, ms / total) for name, ms in times.items()),
                   key=lambda one: -one.ms)
    large = [one for one in found if one.share >= SMALL]
    small = found[len(large):]
    rest = OperatorTime(f"{len(small)} others", sum(one.count for one in small), sum(one.ms for one in small),
                        sum(one.share for one in small))
    return large + [rest] * bool(small)


def kind_of(op_type: str, place: str) -> str:
    """The operator's type; of a custom one the cell that it belongs to, from its place in the network."""
    if op_type != "Custom":
        return op_type
    cells = re.findall(r"-(\w+?)Kernel/", place)
    name = cells[-1] if cells else "unnamed"
    return f"kernel {name}" + (", gradient" if place.startswith("Gradients/") else "")


def rows(found: List[OperatorTime]) -> List[List[str]]:
    """The table as text cells, header first."""
    return [["operator", "count", "ms", "share"]] + [
        [one.name, f"{one.count:g}", f"{one.ms:.2f}", f"{100 * one.share:.1f} %"] for one in found]
