"""Runs of trainings: their rows, and whether two ended with the same bits."""
import csv

#: Columns of metrics.csv that tell of the machine.
MEASURED = {"images_per_second", "seconds", "peak_mb", "data_wait"}


def _learned(row):
    return {key: value for key, value in row.items() if key not in MEASURED}


def rows_of(run):
    """The rows of a run's metrics.csv, as numbers."""
    with open(run / "metrics.csv", newline="") as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]


def assert_same_runs(first, second, names=("last", "best")):
    """Every parameter of the named checkpoints bit by bit, their metrics, and metrics.csv; the number of values.

    Args:
        first, second: folders of the runs.
    """
    from ghost_ms.checkpoints.checkpoint import read_checkpoint

    count = 0
    for name in names:
        (one, told), (other, told_too) = (read_checkpoint(str(folder / "checkpoints" / f"{name}.ckpt"))
                                          for folder in (first, second))
        assert one.keys() == other.keys()
        for key in one:
            assert one[key].asnumpy().tobytes() == other[key].asnumpy().tobytes(), (name, key)
            count += one[key].size
        assert _learned(told.metrics) == _learned(told_too.metrics)
    rows = [[_learned(row) for row in csv.DictReader(open(folder / "metrics.csv"))] for folder in (first, second)]
    assert rows[0] == rows[1] and rows[0]
    return count + sum(map(len, rows[0]))


def stop_and_resume(words, epoch, step):
    """Train as the words of `ghost-ms train` say, stop at a step of an epoch (both counted from 0), and go on."""
    from ghost_ms import config
    from ghost_ms.cli import main
    from ghost_ms.training.callbacks import Callback
    from ghost_ms.training.fit import fit
    from ghost_ms.training.interrupt import Stopped

    class Stop(Callback):
        def on_step(self, training, loss):
            if (training.progress.epoch, training.progress.step) == (epoch, step):
                training.stop("enough")

    recipe, _ = config.parse(config.build_parser("train", ""), words[1:])
    try:
        fit(recipe, [Stop()])
    except Stopped:
        assert main([*words, "--train.resume", "auto"]) == 0
        return
    raise AssertionError("the training was not stopped")
