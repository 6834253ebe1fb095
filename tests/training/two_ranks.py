"""Run by msrun in test_distributed.py: what a rank of two sees of steps, sums, BatchNorm statistics and a resume."""
import json
import sys

import mindspore as ms
import numpy as np
from mindspore import nn

from ghost_ms.checkpoints.checkpoint import read_checkpoint, save_checkpoint
from ghost_ms.checkpoints.spec import ModelSpec
from ghost_ms.config import OptimizerConfig
from ghost_ms.core import device
from ghost_ms.tasks.classification.loss import LabelCriterion
from ghost_ms.training.distributed import Vote, average_statistics, from_main, gradient_reducer, sum_over_ranks
from ghost_ms.training.optimizer import create_optimizer
from ghost_ms.training.resume import ResumePoint, TrainerState, load_state, whole_state
from ghost_ms.training.step import TrainStep
from tests.training.test_fit import preprocessing_of_size

BATCH, STEPS = 6, 20


def plain_net():
    """Without BatchNorm, so that a batch may be cut in two."""
    net = nn.SequentialCell(nn.Conv2d(3, 8, 3, has_bias=True), nn.ReLU(), nn.Conv2d(8, 8, 3, stride=2), nn.ReLU(),
                            nn.Flatten(), nn.Dense(8 * 16, 4))
    draw = np.random.default_rng(5)
    for parameter in net.get_parameters():
        parameter.set_data(ms.Tensor(draw.standard_normal(parameter.shape) * 0.2, ms.float32))
    return net


def train_plainly(world):
    """The weights after 20 steps of a global batch of 12 images, of which each rank takes its share."""
    net = plain_net()
    optimizer = create_optimizer(net, OptimizerConfig(weight_decay=1e-3), [0.05] * STEPS)
    step = TrainStep(net, LabelCriterion(nn.CrossEntropyLoss()), optimizer,
                     reduce=gradient_reducer(net.trainable_params(), world)).set_train()
    draw = np.random.default_rng(0)
    for _ in range(STEPS):
        images, labels = draw.standard_normal((2 * BATCH, 3, 8, 8)).astype(np.float32), draw.integers(0, 4, 2 * BATCH)
        step(ms.Tensor(images[world.rank::world.size]), ms.Tensor(labels[world.rank::world.size], ms.int32))
    return {p.name: p.asnumpy().tolist() for p in net.get_parameters()}


def _step(world):
    net = nn.SequentialCell(nn.BatchNorm1d(3), nn.Dense(3, 2, has_bias=False))
    options = OptimizerConfig(momentum=0.0, weight_decay=0.0)
    return net, TrainStep(net, LabelCriterion(nn.CrossEntropyLoss()),
                          create_optimizer(net, options, [0.5]), accumulate=2,
                          reduce=gradient_reducer(net.trainable_params(), world)).set_train()


def _resumed(step, world, folder):
    """Whether every parameter of this rank comes back, in its bits and shape, from the file that rank 0 writes."""
    state = whole_state(step, world)
    if world.is_main:
        description = ModelSpec("none", {"num_classes": 1}, [], preprocessing_of_size((1, 1)))
        save_checkpoint(state, f"{folder}/state.ckpt", description, TrainerState().to_json())
    sum_over_ranks([0.0], world)
    values, description = read_checkpoint(f"{folder}/state.ckpt")
    _, fresh = _step(world)
    load_state(fresh, ResumePoint("", values, description, TrainerState(), []), world.rank)
    held = {name: value.asnumpy() for name, value in fresh.state().items()}
    return {name: value.asnumpy().tobytes() == held[name].tobytes() and value.shape == held[name].shape
            for name, value in step.state().items()}


def main():
    """Write what this rank found as JSON."""
    device.setup("CPU", seed=3, join=True)
    world = device.world()
    net, step = _step(world)
    before = net[1].weight.asnumpy().tolist()
    images = np.random.default_rng(world.rank).standard_normal((4, 3)).astype(np.float32) + world.rank
    labels = ms.Tensor([0, 1, 1, 0], ms.int32)
    step(ms.Tensor(images), labels)
    local = net[0].moving_mean.asnumpy().tolist()
    resumed = _resumed(step, world, sys.argv[1])
    # The same images once more: their gradients are the average's too.
    step(ms.Tensor(images), labels)
    local_after = net[0].moving_mean.asnumpy().tolist()
    average_statistics(net.get_parameters(), world)
    vote = Vote(world)
    votes = [vote.ask(world.rank == 1), vote.ask(False), vote.ask(False), vote.ask(world.rank == 0),
             vote.ask_now(False), vote.ask_now(False), vote.ask_now(world.rank == 1)]
    found = {"rank": world.rank, "size": world.size, "before": before, "after": net[1].weight.asnumpy().tolist(),
             "local_mean": local_after, "mean": net[0].moving_mean.asnumpy().tolist(), "first_mean": local,
             "sum": sum_over_ranks([world.rank + 1.0, 10.0, 2 ** 40 + 1 + world.rank], world),
             "main": from_main([world.rank + 7.0], world),
             "resumed": resumed, "votes": votes, "plain": train_plainly(world)}
    with open(f"{sys.argv[1]}/found_{world.rank}.json", "w") as file:
        json.dump(found, file)


if __name__ == "__main__":
    main()
