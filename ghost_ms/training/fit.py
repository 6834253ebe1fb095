"""The training loop: Python only steers, the compiled step does the work."""
import contextlib
import os
import time
from typing import Dict, List

import mindspore as ms
from mindspore import nn

from ghost_ms import device
from ghost_ms.config import Config
from ghost_ms.data.datasets import Source, open_source
from ghost_ms.data.loader import Shard, evaluation_batches, steps_per_epoch, training_batches
from ghost_ms.data.transforms import preprocessing_of
from ghost_ms.models import model_card
from ghost_ms.training.checkpoint import Description, save_checkpoint
from ghost_ms.training.curves import draw_curves, write_metrics
from ghost_ms.training.distributed import average_statistics, gradient_reducer, sum_over_ranks
from ghost_ms.training.evaluate import evaluate
from ghost_ms.training.optimizer import create_optimizer
from ghost_ms.training.progress import Reporter
from ghost_ms.training.schedule import learning_rates
from ghost_ms.training.step import TrainStep


def describe(config: Config, source: Source) -> Description:
    """The network and preprocessing that a recipe and its data ask for.

    Raises:
        ValueError: unknown model, or fewer logits than the data has classes.
    """
    card = model_card(config.model.name)
    channels = config.model.in_channels or source.channels
    if channels not in (1, 3):
        raise ValueError(f"model.in_channels is {channels}; images have 1 or 3 channels")
    classes = config.model.num_classes or len(source.classes)
    if classes < len(source.classes):
        raise ValueError(f"model.num_classes is {classes}, but the data has {len(source.classes)} classes")
    args = {"num_classes": classes, "in_channels": channels, **config.model.args}
    return Description(config.model.name, args, source.classes, preprocessing_of(card, config.data, channels))


def make_run_folder(path: str) -> str:
    """Create the run's folder and its checkpoints/; OSError with a remedy where that is not possible."""
    folder = os.path.join(path, "checkpoints")
    try:
        os.makedirs(folder, exist_ok=True)
        probe = os.path.join(folder, f".probe.{os.getpid()}")
        with open(probe, "w"):
            pass
        os.remove(probe)
    except OSError as error:
        raise OSError(f"cannot write into the run folder '{path}' ({error.strerror}); "
                      "choose another with --run.dir") from None
    return folder


def fit(config: Config) -> Dict[str, float]:
    """Train, evaluate after every epoch, and keep the best and the last checkpoint; returns the best epoch's row.

    Under a launcher every process calls this with the same recipe. Each trains on its share of the images, and rank 0
    writes the run's folder.
    """
    train, test = open_source(config.data, "train"), open_source(config.data, "test")
    description = describe(config, train)
    if test.classes != train.classes:
        raise ValueError(f"the test split has other classes than the training split "
                         f"({len(test.classes)} against {len(train.classes)})")
    target = device.setup(config.run.device, config.run.device_id, config.run.mode, config.run.seed, join=True)
    world = device.world()
    shard = Shard(world.rank, world.size)
    steps = steps_per_epoch(train, config, shard)
    rates = learning_rates(config.optimizer.lr, config.schedule, config.train.epochs, steps)
    net = description.build(config.model.pretrained)
    if world.is_main:
        checkpoints = make_run_folder(config.run.dir)
        config.save(os.path.join(config.run.dir, "config.yaml"))
    loss = nn.CrossEntropyLoss(label_smoothing=config.loss.label_smoothing)
    step = TrainStep(net, loss, create_optimizer(net, config.optimizer, rates), gradient_reducer(net, world))
    rows: List[Dict[str, float]] = []
    with open(os.path.join(config.run.dir, "log.txt"), "a") if world.is_main else contextlib.nullcontext() as log:
        reporter = Reporter(log, config.train.log_every)
        parameters = sum(p.size for p in net.trainable_params())
        reporter.line(f"{config.model.name}: {parameters:,} parameters; {train.size} training and {test.size} test "
                      f"images, {len(train.classes)} classes; {target}, {config.run.mode} mode"
                      + (f"; rank {world.rank} of {world.size}" if world.size > 1 else ""))
        for epoch in range(config.train.epochs):
            row = _epoch(step, train, config, description, epoch, shard, reporter)
            average_statistics(net, world)
            share = evaluation_batches(test, config, description.preprocessing, shard)
            result = evaluate(net, share, total=lambda sums: sum_over_ranks(sums, world))
            row.update(test_loss=result["loss"], test_top1=result["top1"], test_top5=result["top5"],
                       lr=rates[(epoch + 1) * steps - 1])
            rows.append({key: round(value, 6) for key, value in row.items()})
            description.metrics = rows[-1]
            best = max(rows, key=lambda r: r["test_top1"])
            if world.is_main:
                save_checkpoint(net, os.path.join(checkpoints, "last.ckpt"), description)
                if best is rows[-1]:
                    save_checkpoint(net, os.path.join(checkpoints, "best.ckpt"), description)
                write_metrics(os.path.join(config.run.dir, "metrics.csv"), rows)
                draw_curves(os.path.join(config.run.dir, "curves.png"), rows)
            reporter.line(f"epoch {epoch + 1}/{config.train.epochs}: train loss {row['train_loss']:.4f}, "
                          f"test loss {row['test_loss']:.4f}, top-1 {row['test_top1']:.2f} %, "
                          f"{row['images_per_second']:.0f} images/s"
                          + (", best so far" if best is rows[-1] else ""))
    return best


def _epoch(step: TrainStep, source: Source, config: Config, description: Description, epoch: int, shard: Shard,
           reporter: Reporter) -> Dict[str, float]:
    """One pass over the training images; returns its row of metrics."""
    step.set_train(True)
    steps, batch = steps_per_epoch(source, config, shard), config.data.batch_size * shard.size
    losses, hits = ms.Tensor(0.0), ms.Tensor(0.0)
    start, shown = time.perf_counter(), 0.0
    with reporter.task(f"epoch {epoch + 1}/{config.train.epochs}", steps, batch) as advance:
        batches = training_batches(source, config, description.preprocessing, epoch, shard)
        for index, (images, labels) in enumerate(batches, 1):
            loss, correct = step(images, labels)
            # Sums stay on the device; reading one waits for the step, so it is read only when it is shown.
            losses, hits = losses + loss, hits + correct
            if index % 10 == 1 or index == steps:
                shown = float(losses.asnumpy()) / index
            advance(index, f"loss {shown:.4f}")
    loss, correct = sum_over_ranks([float(losses.asnumpy()), float(hits.asnumpy())], device.world())
    seconds, images = time.perf_counter() - start, steps * batch
    return {"epoch": epoch + 1, "train_loss": loss / (steps * shard.size), "train_top1": 100 * correct / images,
            "images_per_second": images / seconds}
