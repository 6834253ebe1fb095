"""Latency, memory and size of networks, each measured in a process of its own, side by side.

A machine's speed drifts while a long table is measured. The processes of a group are therefore all prepared first and
then timed in turns, round by round, so that what disturbs one disturbs its neighbours too, and ratios hold.
"""
import csv
import dataclasses
import io
import os
import statistics
import sys
from typing import Callable, Dict, List, Optional, Sequence, Tuple

from ghost_ms.analysis.measure.operator_times import OperatorTime
from ghost_ms.config import Config
from ghost_ms.core import interpreter
from ghost_ms.core.talk import Ended, Process
from ghost_ms.core.text import printable
from ghost_ms.models import model_card

BACKENDS = ("mindspore", "train", "mindir", "onnx", "lite")
#: Processes that live at the same time; each holds MindSpore and a network (0.5 to 2 GB).
GROUP = 6
#: Seconds of calls in a round and calls at most.
ROUND_SECONDS, ROUND_CALLS = 0.3, 50


@dataclasses.dataclass
class Result:
    """What was measured of one network.

    Args:
        params, macs: of the card, for the form that is measured; MACs only at the published input size.
        build_s: seconds to construct the network, or to export it.
        compile_s: seconds of processor time of the first call, which compiles; for lite, of conversion and loading.
        median_ms, low_ms, high_ms: of a call on a batch; the median and the quartiles.
        peak_mb: largest resident memory of the process.
        size_mb: of the weights or of the file.
        error: why there are no figures.
        kernels: auto or off: whether mindspore and train compute by the CPU kernels.
        profile: what its operators take, where that was asked for.
        rounds: median milliseconds of each round.
    """

    model: str
    backend: str
    batch: int
    input_size: Tuple[int, int]
    threads: int
    params: Optional[int] = None
    macs: Optional[float] = None
    build_s: Optional[float] = None
    compile_s: Optional[float] = None
    median_ms: Optional[float] = None
    low_ms: Optional[float] = None
    high_ms: Optional[float] = None
    images_per_second: Optional[float] = None
    peak_mb: Optional[float] = None
    size_mb: Optional[float] = None
    error: Optional[str] = None
    kernels: str = "auto"
    profile: Optional[List[OperatorTime]] = None
    rounds: List[float] = dataclasses.field(default_factory=list)


class _Worker:
    """A process that measures one network; see `bench_worker`."""

    def __init__(self, result: Result, command: Sequence[str]):
        self.result = result
        self.times: List[float] = []
        self.process = Process(command, {"OMP_NUM_THREADS": str(result.threads)})
        self._take(self._ask({key: getattr(result, key) for key in (
            "model", "backend", "batch", "input_size", "threads", "kernels")}))

    def _ask(self, message: dict) -> dict:
        try:
            return self.process.ask(**message)
        except Ended as reason:
            return {"error": str(reason)}

    def _take(self, answer: dict) -> None:
        for key, value in answer.items():
            setattr(self.result, key, value)

    def time(self, calls: int) -> List[float]:
        """Milliseconds of each of some calls; none after an error."""
        if self.result.error:
            return []
        answer = self._ask({"calls": calls})
        times = answer.pop("ms", [])
        self._take(answer)
        return times

    def profile(self, calls: int) -> None:
        """What the operators of some calls take."""
        if not self.result.error:
            self._take(self._ask({"profile": calls}))
            self.result.profile = [OperatorTime(*row) for row in self.result.profile or ()]

    def finish(self) -> Result:
        """End the process and fill in the statistics."""
        result = self.result
        if not result.error:
            self._take(self.process.close())
            times = self.times if len(self.times) > 1 else 2 * self.times  # Quartiles take two values.
            low, result.median_ms, high = statistics.quantiles(times, n=4)
            result.low_ms, result.high_ms = low, high
            result.images_per_second = 1e3 * result.batch / result.median_ms
        self.process.kill()
        return result


def benchmark(models: Sequence[str], backends: Sequence[str], batch: int = 1,
              input_size: Optional[Tuple[int, int]] = None, threads: int = 2, rounds: int = 10,
              advance: Optional[Callable[[str], None]] = None, kernels: str = "auto",
              profiled: int = 0) -> List[Result]:
    """Measure every model on every backend; random weights, random images.

    Args:
        input_size: (height, width); by default the published one of each.
        threads: cores that a process may use.
        rounds: of calls; each lasts about 0.3 seconds, or one call.
        advance: called with a model's name when its preparation begins.
        kernels: auto, or off for MindSpore's own operators in the backends mindspore and train.
        profiled: calls to profile, after those that are timed.
    """
    results = []
    for name in models:
        card = model_card(name)
        size = tuple(input_size or card.input_size)
        forms = {True: (card.params, card.macs),
                 False: (card.deploy_params or card.params, card.deploy_macs or card.macs)}
        for backend in backends:
            params, macs = forms[backend == "train"]
            macs = macs if size == tuple(card.input_size) else None
            results.append(Result(name, backend, batch, size, threads, params, macs, kernels=kernels))
    for start in range(0, len(results), GROUP):
        measure_in_turns(results[start:start + GROUP], rounds, own_worker, advance, profiled)
    return results


def own_worker(_: Result) -> List[str]:
    """The command of the process that measures this package's backends."""
    return interpreter.command("ghost_ms.analysis.measure.bench_worker")


def measure_in_turns(results: Sequence[Result], rounds: int, command: Callable[[Result], Sequence[str]],
                     advance: Optional[Callable[[str], None]] = None, profiled: int = 0) -> None:
    """Fill in results that are measured side by side, each by the process that `command` names for it."""
    workers = []
    try:
        for result in results:
            if advance is not None:
                advance(result.model)
            workers.append(_Worker(result, command(result)))
        calls: Dict[int, int] = {}
        for index, worker in enumerate(workers):
            warm = worker.time(3)
            calls[index] = max(1, min(ROUND_CALLS, int(1e3 * ROUND_SECONDS / min(warm)))) if warm else 0
        for number in range(rounds):
            # What one leaves in the cache is not always the same one's.
            for index in range(len(workers)):
                index = (index + number) % len(workers)
                times = workers[index].time(calls[index])
                workers[index].times += times
                if times:
                    workers[index].result.rounds.append(statistics.median(times))
        for worker in workers:
            if profiled:
                worker.profile(profiled)
            worker.finish()
    finally:
        for worker in workers:
            worker.process.kill()


COLUMNS: Tuple[Tuple[str, Callable[[Result], str]], ...] = (
    ("model", lambda r: r.model),
    ("backend", lambda r: r.backend),
    ("input", lambda r: f"{r.batch}x3x{r.input_size[0]}x{r.input_size[1]}"),
    ("params (M)", lambda r: f"{r.params / 1e6:.2f}"),
    ("MACs (M)", lambda r: f"{r.macs / 1e6:,.0f}" if r.macs else "-"),
    ("compile (s)", lambda r: _number(r.compile_s, 1)),
    ("median (ms)", lambda r: printable(r.error) if r.error else _number(r.median_ms, 2)),
    ("quartiles (ms)", lambda r: f"{_number(r.low_ms, 2)} - {_number(r.high_ms, 2)}"),
    ("images/s", lambda r: _number(r.images_per_second, 1)),
    ("peak memory (MB)", lambda r: _number(r.peak_mb, 0)),
    ("size (MB)", lambda r: _number(r.size_mb, 1)),
)


def _number(value: Optional[float], digits: int) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"


def rows(results: Sequence[Result]) -> List[List[str]]:
    """The table as text cells, header first."""
    return [[title for title, _ in COLUMNS]] + [[cell(result) for _, cell in COLUMNS] for result in results]


def as_csv(results: Sequence[Result]) -> str:
    """Every field at full precision, one line per result."""
    file = io.StringIO()
    names = [field.name for field in dataclasses.fields(Result) if field.name not in ("profile", "rounds")]
    writer = csv.DictWriter(file, names, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for result in results:
        height, width = result.input_size
        writer.writerow({**dataclasses.asdict(result), "input_size": f"{height}x{width}"})
    return file.getvalue()


def notes(results: Sequence[Result]) -> str:
    """What was timed under a name that does not say it all; '' where there is nothing to add."""
    if all(result.backend != "train" for result in results):
        return ""
    optimizer = Config().optimizer
    return (f"train: a step of this package's training as the defaults of a recipe make it ({optimizer.name}, momentum "
            f"{optimizer.momentum:g}): normalisation, forward, gradients, update, counting of loss and accuracy")


def heading() -> str:
    """What a table of times needs beside it: processor, cores, versions."""
    import mindspore

    processor = "unknown processor"
    if os.path.isfile("/proc/cpuinfo"):
        with open("/proc/cpuinfo") as file:
            names = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
        processor = names[0] if names else processor
    return f"{processor}, {os.cpu_count()} cores; MindSpore {mindspore.__version__}, Python {sys.version.split()[0]}"
