"""Workers in processes of their own that measure in turns: what the comparisons with PyTorch share."""
import json
import subprocess
import sys
from typing import Callable, Dict, List, Sequence, Tuple

import numpy as np


def serve(measure: Callable[[], float], first: float) -> None:
    """In a worker: print a first number, then one for every line on standard input."""
    print(json.dumps(first), flush=True)
    for _ in sys.stdin:
        print(json.dumps(measure()), flush=True)


def answer(process: subprocess.Popen) -> float:
    """The next number that a worker prints, whatever else it says."""
    for line in process.stdout:
        try:
            return float(json.loads(line))
        except (TypeError, ValueError):
            continue
    raise RuntimeError(f"{process.args[-1]} ended: see above")


def start(command: Sequence[str]) -> Tuple[subprocess.Popen, float]:
    """A worker, and its first number."""
    worker = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    return worker, answer(worker)


def rounds_of(workers: Dict[str, subprocess.Popen], count: int) -> Dict[str, List[float]]:
    """Numbers of every worker, one a round, in an order that turns; the workers are ended."""
    names = list(workers)
    rounds: Dict[str, List[float]] = {name: [] for name in names}
    for index in range(count):
        for name in names[index % len(names):] + names[:index % len(names)]:
            workers[name].stdin.write("\n")
            workers[name].stdin.flush()
            rounds[name].append(answer(workers[name]))
    for worker in workers.values():
        worker.stdin.close()
        worker.wait()
    return rounds


def tell(rounds: Dict[str, List[float]], theirs: Sequence[str], digits: int = 0) -> None:
    """Print the median of each, and its ratio to the better of theirs, round by round."""
    best = np.minimum(*(np.array(rounds[name]) for name in theirs))
    for name, times in rounds.items():
        print(f"{name}: {np.median(times):.{digits}f} ms ({min(times):.{digits}f} to {max(times):.{digits}f}); to the "
              f"better of torchvision's, round by round, {np.median(np.array(times) / best):.2f}")
