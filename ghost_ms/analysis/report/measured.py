"""What was measured of a run, by the figures of its task."""
from ghost_ms.checkpoints.run_folder import Run
from ghost_ms.core.figures import EMA, RAW, Best, Figures
from ghost_ms.tasks.registry import create_task


def figures_of(run: Run) -> Figures:
    """The figures of a run's task; of a task that is not known here those of its columns, under the columns' names."""
    try:
        return create_task(run.recipe.get("task.name", "classification")).figures
    except (TypeError, ValueError):
        # Its package was not imported, or its recipe is damaged; the numbers are worth a line all the same.
        columns = dict.fromkeys(name.partition("_") for row in run.rows for name in row)
        keys = {key: key for prefix, _, key in columns if prefix in (RAW, EMA) and key}
        deciding = tuple(key for key in keys if key != "loss")
        return Figures({**keys, "loss": ""}, deciding or ("loss",), dict.fromkeys(keys, ""))


def best_of(run: Run) -> Best:
    """What its best.ckpt holds."""
    return figures_of(run).best_of(run.rows)
