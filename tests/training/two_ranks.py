"""Run by msrun in test_distributed.py: what a rank of two sees of a step, of sums and of BatchNorm statistics."""
import json
import sys

import mindspore as ms
import numpy as np
from mindspore import nn

from ghost_ms import device
from ghost_ms.config import OptimizerConfig
from ghost_ms.training.distributed import average_statistics, gradient_reducer, sum_over_ranks
from ghost_ms.training.optimizer import create_optimizer
from ghost_ms.training.step import TrainStep


def main():
    """Write what this rank found as JSON."""
    device.setup("CPU", seed=3, join=True)
    world = device.world()
    net = nn.SequentialCell(nn.BatchNorm1d(3), nn.Dense(3, 2, has_bias=False))
    before = net[1].weight.asnumpy().tolist()
    options = OptimizerConfig(momentum=0.0, weight_decay=0.0)
    step = TrainStep(net, nn.CrossEntropyLoss(), create_optimizer(net, options, [0.5]),
                     reduce=gradient_reducer(net.trainable_params(), world))
    images = np.random.default_rng(world.rank).standard_normal((4, 3)).astype(np.float32) + world.rank
    step.set_train()(ms.Tensor(images), ms.Tensor([0, 1, 1, 0], ms.int32))
    local = net[0].moving_mean.asnumpy().tolist()
    average_statistics(net.get_parameters(), world)
    found = {"rank": world.rank, "size": world.size, "before": before, "after": net[1].weight.asnumpy().tolist(),
             "local_mean": local, "mean": net[0].moving_mean.asnumpy().tolist(),
             "sum": sum_over_ranks([world.rank + 1.0, 10.0], world)}
    with open(f"{sys.argv[1]}/found_{world.rank}.json", "w") as file:
        json.dump(found, file)


if __name__ == "__main__":
    main()
