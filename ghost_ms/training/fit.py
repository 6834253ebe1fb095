"""The training loop: Python only steers, the compiled step does the work."""
import contextlib
import os
import time
from typing import Callable, Dict, List, Sequence

from ghost_ms import device
from ghost_ms.config import Config
from ghost_ms.data.datasets import Source, open_source
from ghost_ms.data.loader import Shard, evaluation_batches, steps_per_epoch, training_batches
from ghost_ms.data.transforms import preprocessing_of
from ghost_ms.models import model_card
from ghost_ms.recipe import TrainConfig
from ghost_ms.training.build import activation_slope, begin_activation, create_step
from ghost_ms.training.checkpoint import Description, save_checkpoint
from ghost_ms.training.curves import draw_curves, write_metrics
from ghost_ms.training.distributed import average_statistics, sum_over_ranks
from ghost_ms.training.evaluate import evaluate
from ghost_ms.training.precision import check_precision
from ghost_ms.training.progress import Reporter, Waiting, peak_memory
from ghost_ms.training.schedule import learning_rates, scaled
from ghost_ms.training.step import Health, TrainStep
from ghost_ms.training.watch import summary, trace


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
    updates = steps / config.train.accumulate
    if config.train.epochs * updates < 1:
        raise ValueError(f"train.accumulate is {config.train.accumulate}, but the training has only "
                         f"{config.train.epochs * steps} steps")
    global_batch = config.data.batch_size * world.size * config.train.accumulate
    rates = learning_rates(*scaled(config.optimizer, config.schedule, global_batch), config.train.epochs, updates,
                           config.run.seed)
    check_precision(config.precision, target)
    net = description.build(config.model.pretrained)
    if config.train.activation_epochs:
        begin_activation(net, config.train)
    step = create_step(net, config, rates, description.preprocessing, description.args["num_classes"], world)
    if world.is_main:
        checkpoints = make_run_folder(config.run.dir)
        config.save(os.path.join(config.run.dir, "config.yaml"))
    rows: List[Dict[str, float]] = []
    with open(os.path.join(config.run.dir, "log.txt"), "a") if world.is_main else contextlib.nullcontext() as log, \
            summary(config.run, world.is_main) as summarize:
        reporter = Reporter(log, config.train.log_every)
        parameters = sum(p.size for p in net.trainable_params())
        reporter.line(f"{config.model.name}: {parameters:,} parameters; {train.size} training and {test.size} test "
                      f"images, {len(train.classes)} classes; {target}, {config.run.mode} mode"
                      + (f"; rank {world.rank} of {world.size}" if world.size > 1 else ""))
        for epoch in range(config.train.epochs):
            if config.train.activation_epochs:
                net.set_activation_slope(activation_slope(config.train, epoch))
            start = time.perf_counter()
            row = _epoch(step, train, config, description, epoch, shard, rates, reporter)
            average_statistics(step.state().values(), world)
            row.update(_evaluate(step, test, config, description, shard),
                       lr=rates[max(min(int((epoch + 1) * updates), len(rates)) - 1, 0)],
                       seconds=time.perf_counter() - start, peak_mb=peak_memory())
            if config.train.activation_epochs:
                row["activation_slope"] = activation_slope(config.train, epoch)
            rows.append({key: round(value, 6) for key, value in row.items()})
            summarize(rows[-1])
            description.metrics = rows[-1]
            best = max(rows, key=_score)
            if world.is_main:
                save_checkpoint(step.state(), os.path.join(checkpoints, "last.ckpt"), description)
                if best is rows[-1]:
                    _save_best(step, os.path.join(checkpoints, "best.ckpt"), description)
                write_metrics(os.path.join(config.run.dir, "metrics.csv"), rows)
                draw_curves(os.path.join(config.run.dir, "curves.png"), rows)
            reporter.line(_summary(rows[-1], config.train.epochs, best is rows[-1]))
    return best


def _score(row: Dict[str, float]) -> float:
    """What makes an epoch the best: the better accuracy of weights and means; no half-learned activations."""
    merged = row.get("activation_slope", 1.0) == 1
    return max(row["test_top1"], row.get("ema_top1", 0.0)) - (0 if merged else 1000)


def _save_best(step: TrainStep, path: str, description: Description) -> None:
    """The network alone, with its weights or their running means, whichever did better."""
    means = description.metrics.get("ema_top1", -1.0) > description.metrics["test_top1"]
    with step.ema.in_place() if means else contextlib.nullcontext():
        save_checkpoint(step.net, path, description)


def _summary(row: Dict[str, float], epochs: int, best: bool) -> str:
    means = f" ({row['ema_top1']:.2f} % with averaged weights)" if "ema_top1" in row else ""
    skipped = f", {row['skipped']:.0f} updates skipped so far" if row["skipped"] else ""
    return (f"epoch {row['epoch']}/{epochs}: train loss {row['train_loss']:.4f}, test loss {row['test_loss']:.4f}, "
            f"top-1 {row['test_top1']:.2f} %{means}, {row['images_per_second']:.0f} images/s{skipped}"
            + (", best so far" if best else ""))


def _evaluate(step: TrainStep, test: Source, config: Config, description: Description,
              shard: Shard) -> Dict[str, float]:
    """Accuracy of the weights and, where there are any, of their running means."""
    def measured(prefix: str) -> Dict[str, float]:
        result = evaluate(step.net, evaluation_batches(test, config, description.preprocessing, shard),
                          total=lambda sums: sum_over_ranks(sums, device.world()))
        return {f"{prefix}_{key}": result[key] for key in ("loss", "top1", "top5")}

    row = measured("test")
    if step.ema is not None:
        with step.ema.in_place():
            row.update(measured("ema"))
    return row


def _epoch(step: TrainStep, source: Source, config: Config, description: Description, epoch: int, shard: Shard,
           rates: Sequence[float], reporter: Reporter) -> Dict[str, float]:
    """One pass over the training images; returns its row of metrics."""
    step.set_train(True)
    step.begin_epoch()
    steps, batch = steps_per_epoch(source, config, shard), config.data.batch_size * shard.size
    start, health = time.perf_counter(), None
    with reporter.task(f"epoch {epoch + 1}/{config.train.epochs}", steps, batch) as advance, \
            trace(config.run, epoch, steps) as traced:
        batches = training_batches(source, config, description.preprocessing, epoch, shard)
        waiting = Waiting(batches)
        for index, (images, labels) in enumerate(waiting, 1):
            step(images, labels)
            traced()
            # The step counts on the device; reading waits for it, so it is read only when it is shown.
            if index % 10 == 1 or index == steps:
                health = step.health()
                check_health(health, config.train, steps, rates, batches.files)
            advance(index, f"loss {health.loss:.4f}")
    loss, correct = sum_over_ranks([health.loss, health.correct], device.world())
    seconds, images = time.perf_counter() - start, steps * batch
    return {"epoch": epoch + 1, "train_loss": loss / shard.size, "train_top1": 100 * correct / images,
            "skipped": health.skipped, "images_per_second": images / seconds,
            "data_wait": 100 * waiting.seconds / seconds}


def check_health(health: Health, train: TrainConfig, steps: int, rates: Sequence[float],
                 names: Callable[[int], Sequence[str]]) -> None:
    """Stop at a loss that is not finite, or at too many of them in a row.

    Args:
        steps: of an epoch.
        names: of the images of a step of this epoch.

    Raises:
        ValueError: names the step and its learning rate, and what helps.
    """
    allowed = train.max_skipped if train.on_nan == "skip" else 0
    if health.bad_run <= allowed:
        return
    epoch, index = divmod(health.bad_step, steps)
    rate = rates[min(health.bad_step // train.accumulate, len(rates) - 1)]
    many = f", and in {health.bad_run} steps in a row" if health.bad_run > 1 else ""
    remedy = "raise train.max_skipped" if train.on_nan == "skip" else "skip such steps with train.on_nan skip"
    images = list(names(index))
    shown = ", ".join(images[:4]) + (f" and {len(images) - 4} more" if len(images) > 4 else "")
    raise ValueError(f"the loss is not finite at step {index + 1} of epoch {epoch + 1}{many} ({shown}); the "
                     f"learning rate was {rate:g}: lower optimizer.lr, lengthen the warm-up, limit the gradients "
                     f"(optimizer.clip_norm), or {remedy}")
