"""The EMA weights in a training state of this package, which holds them as vectors (see `training.ema`)."""
from typing import Dict, Mapping, Sequence

import numpy as np

#: The vector of the means of all weights, and that of BatchNorm's statistics; with a first axis where ranks differ.
WEIGHTS, STATISTICS, RANKS = "ema", "ema_statistics", "ranks.ema_statistics"


def averaged(tensors: Mapping[str, np.ndarray], names: Sequence[str]) -> Dict[str, np.ndarray]:
    """The mean of each parameter of a network, by its name; those that are not averaged as they are.

    Args:
        tensors: of the training state, in MindSpore's names.
        names: of the network's parameters, in its order, which is the order in the vectors.

    Raises:
        ValueError: it holds no EMA weights, or vectors of another length than its parameters.
    """
    if WEIGHTS not in tensors:
        raise ValueError("it holds no EMA weights: a training state with ema.decay does (last.ckpt, step-N.ckpt; "
                         "best.ckpt holds one set alone, the averaged one where that was the better)")
    result = {name: tensors[name] for name in names}
    floats = [name for name in names if tensors[name].dtype == np.float32]
    statistics = [name for name in floats if name.endswith(("moving_mean", "moving_variance"))]
    vectors = [(WEIGHTS, tensors[WEIGHTS], [name for name in floats if name not in set(statistics)]),
               (STATISTICS, _statistics(tensors), statistics)]
    for key, vector, members in vectors:
        ends = np.cumsum([tensors[name].size for name in members], dtype=np.int64)
        count = int(ends[-1]) if members else 0
        if members and vector.shape != (count,):
            raise ValueError(f"its EMA weights are damaged: '{key}' has the shape {vector.shape}, the parameters "
                             f"have {count} elements")
        for name, part in zip(members, np.split(vector, ends[:-1]) if members else ()):
            result[name] = part.reshape(tensors[name].shape)
    return result


def _statistics(tensors: Mapping[str, np.ndarray]) -> np.ndarray:
    """The vector of statistics: what ranks have of their own is averaged, as an evaluation averages it."""
    rows = tensors.get(RANKS)
    if rows is None or rows.ndim != 2 or not len(rows):
        return tensors.get(STATISTICS, np.zeros(0, np.float32))
    return rows[0] if (rows == rows[0]).all() else rows.mean(0)
