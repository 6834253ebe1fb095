"""The compiled training step: everything that happens in an iteration, in one graph; running means have their own."""
from typing import Any, Dict, NamedTuple, Optional, Tuple

import mindspore as ms
from mindspore import Parameter, ParameterTuple, Tensor, amp, nn, ops

from ghost_ms.data.transforms import Preprocessing
from ghost_ms.layers import tokens_to_map
from ghost_ms.tasks.base import Criterion
from ghost_ms.training.clip import ClipNorm
from ghost_ms.training.distillation import Distillation
from ghost_ms.training.ema import Ema
from ghost_ms.training.optimizer import FlatOptimizer

# Maps over gradients: a loop in `construct` over hundreds of them compiles in minutes.
_add, _divide, _zero = (ops.MultitypeFuncGraph(name) for name in ("add", "divide", "zero"))


@_add.register("Tensor", "Tensor")
def _add_gradient(total, gradient):
    return ops.assign_add(total, gradient)


@_divide.register("Number", "Tensor")
def _divide_gradient(count, total):
    return total / count


@_zero.register("Tensor")
def _zero_gradient(total):
    return ops.assign(total, ops.zeros_like(total))


class StepStats(NamedTuple):
    """What the step counted on the device.

    Args:
        loss: mean of the finite losses since `begin_epoch`.
        sums: what the criterion counted since then, by name.
        bad_step: number of the last step whose loss (or, where updates may be left out, a gradient) was not finite,
            from 0 at the start of the training; -1 for none.
        bad_run: the longest row of such steps.
        skipped: updates left out because a gradient was not finite.
    """

    loss: float
    sums: Dict[str, float]
    bad_step: int
    bad_run: int
    skipped: int


class TrainStep(nn.Cell):
    """Forward, loss, scale, gradients, accumulation, reduction, clipping, update; then the running mean.

    Args:
        net: images (B, C, H, W) to what the criterion takes: a tensor, or a tuple of them.
        criterion: the loss, and what is counted beside it.
        optimizer: holds the parameters that are trained.
        model: the cell to call instead of `net`, such as its form in mixed precision.
        distillation: adds the loss of a teacher.
        scaler: of the loss; updates whose gradients overflow are left out, and counted.
        skip_nonfinite: leave out updates whose gradients are not finite even without a scaler.
        accumulate: steps whose gradients are averaged for one update.
        reduce: gradients to their mean over all workers, such as `nn.DistributedGradReducer`; once an update.
        clip: limits the gradients of an update.
        ema: running mean of the weights.
        clock: int32 scalar that counts steps, where masks read it (`make_restorable`).
        spec: how images are normalised that come as bytes, uint8 (B, H, W, C); float32 (B, C, H, W) are taken as they
            are.

    A call with (images, *targets) returns (loss, sums of the criterion), float32 scalars that stay on the device.
    """

    def __init__(self, net: nn.Cell, criterion: Criterion, optimizer: nn.Optimizer, *, model: Optional[nn.Cell] = None,
                 distillation: Optional[Distillation] = None,
                 scaler: Optional[amp.LossScaler] = None, skip_nonfinite: bool = False, accumulate: int = 1,
                 reduce: Optional[nn.Cell] = None, clip: Optional[nn.Cell] = None, ema: Optional[Ema] = None,
                 clock: Optional[Parameter] = None, spec: Optional[Preprocessing] = None):
        # A prefix would rename the parameters of the network.
        super().__init__(auto_prefix=False)
        self.net, self.criterion, self.optimizer = net, criterion, optimizer
        #: What was said of the CPU kernels; see `kernels.accelerate`.
        self.kernels = ""
        self.model = net if model is None else model
        self.distillation = distillation
        # Any cell can be trained; hooks are a Backbone's.
        self.has_auxiliary = hasattr(net, "auxiliary_loss")
        # MindSpore 2.8 cannot differentiate in a graph that holds one loaded from a file: that teacher runs before it.
        self.teacher_apart = distillation is not None and distillation.teacher.apart
        self.takes_features = distillation is not None and distillation.method == "features"
        self.scaler, self.guarded = scaler, scaler is not None or skip_nonfinite
        # With a scaler an overflow is expected now and then, and no sign of a bad loss.
        self.overflow_is_bad = skip_nonfinite and scaler is None
        self.accumulate, self.reduce, self.clip, self.ema = accumulate, reduce, clip, ema
        if spec is not None:
            self.mean, self.std = (Tensor(values, ms.float32).reshape(-1, 1, 1) for values in (spec.mean, spec.std))
        if ema is not None:
            ema.follow(optimizer.global_step)
        # One product with a vector of all gradients, instead of one for each of them.
        self.takes_factor = isinstance(clip, ClipNorm) and isinstance(optimizer, FlatOptimizer)
        self.weights, self.map = optimizer.parameters, ops.HyperMap()
        self.value_and_grad = ops.value_and_grad(self.forward, None, self.weights, has_aux=True)
        self.clock = _counter("clock") if clock is None else clock
        self.bad_step, self.bad_run = _counter("bad_step", -1), _counter("bad_run")
        self.longest_bad_run, self.skipped = _counter("longest_bad_run"), _counter("skipped_updates")
        self.loss_sum = _counter("loss_sum", 0.0)
        self.sums = ParameterTuple([_counter(f"{name}_sum", 0.0) for name in criterion.sums])
        self.finite_steps = _counter("finite_steps")
        if accumulate > 1:
            self.accumulated = self.weights.clone("accumulated", init="zeros")
            self.micro_step = _counter("micro_step")

    def set_train(self, mode: bool = True) -> "TrainStep":
        """Set the mode as for any cell; a teacher stays in evaluation mode."""
        super().set_train(mode)
        if self.distillation is not None:
            self.distillation.teacher.set_train(False)
        return self

    def state(self) -> Dict[str, Parameter]:
        """Every parameter that the next step depends on, by name, and no constant such as the teacher's weights.

        Weights and statistics, moments and `global_step` of the optimizer, running means, accumulated gradients,
        loss scale and counters. What is set from outside (`Backbone.training_facts`) is not among them.
        """
        parameters = list(self.get_parameters())
        if self.scaler is not None:
            # The scaler is no cell, so its parameters are not found.
            parameters += [value for value in vars(self.scaler).values() if isinstance(value, Parameter)]
        constant = set()
        if self.distillation is not None:
            constant = {id(parameter) for parameter in self.distillation.teacher.get_parameters()}
        return {parameter.name: parameter for parameter in parameters if id(parameter) not in constant}

    def begin_epoch(self) -> None:
        """Reset the sums to zero."""
        for parameter in (self.loss_sum, *self.sums, self.finite_steps):
            parameter.set_data(ops.zeros_like(parameter))

    def health(self) -> StepStats:
        """What was counted so far; waits for the device."""
        steps = max(int(self.finite_steps.asnumpy()), 1)
        sums = {name: float(value.asnumpy()) for name, value in zip(self.criterion.sums, self.sums)}
        return StepStats(float(self.loss_sum.asnumpy()) / steps, sums,
                         int(self.bad_step.asnumpy()), int(self.longest_bad_run.asnumpy()),
                         int(self.skipped.asnumpy()))

    def forward(self, images: Tensor, targets, teacher_targets: Tensor) -> Tuple[Tensor, Tensor, Any]:
        """(loss to differentiate, loss to report, sums); `teacher_targets` is what the teacher says of the images."""
        features = images
        if self.takes_features:
            last = self.net.forward_last(images)
            raw = self.net.forward_head(last)
            features = last if last.ndim == 4 else tokens_to_map(last[:, 1:], self.net.grid)
        else:
            raw = self.model(images)
        raw = _floats(raw)
        loss, sums = self.criterion(raw, *targets)
        if self.distillation is not None:
            loss = self.distillation(teacher_targets, raw, features, loss)
        if self.has_auxiliary:
            auxiliary = self.net.auxiliary_loss()
            if auxiliary is not None:
                loss = loss + auxiliary
        scaled = loss if self.scaler is None else self.scaler.scale(loss)
        return scaled, ops.stop_gradient(loss), sums

    def __call__(self, images: Tensor, *targets: Tensor) -> Tuple[Tensor, Tuple[Tensor, ...]]:
        if self.teacher_apart:
            images = self.normalized(images)
            result = super().__call__(images, *targets, self.distillation.teacher(images))
        else:
            result = super().__call__(images, *targets)
        if self.ema is not None:
            self.ema()
        return result

    def construct(self, images: Tensor, *targets: Tensor):
        # Not a tuple of targets: a graph takes the tensors in a tuple for constants.
        images = self.normalized(images)
        teacher_targets = images
        if self.teacher_apart:
            targets, teacher_targets = targets[:-1], targets[-1]
        elif self.distillation is not None:
            teacher_targets = self.distillation.targets(images)
        (_, loss, sums), gradients = self.value_and_grad(images, targets, teacher_targets)
        finite = ops.isfinite(loss)
        if self.accumulate > 1:
            loss = ops.depend(loss, self.gather(gradients))
            if self.micro_step == self.accumulate:
                finite = self.update(self.average(), finite)
                loss = ops.depend(loss, ops.depend(self.clear(), finite))
        else:
            finite = self.update(gradients, finite)
        return ops.depend(loss, self.count(loss, finite, sums)), sums

    def normalized(self, images: Tensor) -> Tensor:
        if images.dtype != ms.uint8:
            return images
        # The same operations in the same order as in the data pipeline, so the same bits.
        return (images.transpose(0, 3, 1, 2).astype(ms.float32) / 255 - self.mean) / self.std

    def gather(self, gradients):
        return ops.assign_add(self.micro_step, Tensor(1, ms.int32)), self.map(_add, self.accumulated, gradients)

    def average(self):
        return self.map(ops.partial(_divide, self.accumulate), self.accumulated)

    def clear(self):
        return ops.assign(self.micro_step, Tensor(0, ms.int32)), self.map(_zero, self.accumulated)

    def update(self, gradients, finite_loss: Tensor) -> Tensor:
        """Whether the step was a good one; reduce first, so that all workers see the same gradients, decide alike."""
        if self.reduce is not None:
            gradients = self.reduce(gradients)
        if not self.guarded:
            return ops.depend(finite_loss, self.apply(gradients))
        if self.scaler is not None:
            gradients = self.scaler.unscale(gradients)
        finite = amp.all_finite(gradients)
        if self.scaler is not None:
            finite = ops.depend(finite, self.scaler.adjust(finite))
        good = ops.logical_and(finite_loss, finite) if self.overflow_is_bad else finite_loss
        if finite:
            good = ops.depend(good, self.apply(gradients))
        else:
            good = ops.depend(good, ops.assign_add(self.skipped, Tensor(1, ms.int32)))
        return good

    def apply(self, gradients):
        if self.takes_factor:
            return self.optimizer(gradients, self.clip.factor(gradients))
        if self.clip is not None:
            gradients = self.clip(gradients)
        return self.optimizer(gradients)

    def count(self, loss: Tensor, good: Tensor, sums):
        finite, one = ops.isfinite(loss), ops.isfinite(loss).astype(ms.int32)
        run = (self.bad_run + 1) * (1 - good.astype(ms.int32))
        return (ops.assign(self.bad_run, run), ops.assign(self.longest_bad_run, ops.maximum(self.longest_bad_run, run)),
                ops.assign(self.bad_step, ops.select(good, self.bad_step, self.clock)),
                ops.assign_add(self.loss_sum, ops.select(finite, loss, ops.zeros_like(loss))),
                ops.assign_add(self.finite_steps, one), self.map(_add, self.sums, sums),
                ops.assign_add(self.clock, Tensor(1, ms.int32)))


def _floats(raw):
    """What a network gives in float32, as far as it is numbers of less."""
    if isinstance(raw, tuple):
        return tuple([_floats(one) for one in raw])
    return raw.astype(ms.float32)


def _counter(name: str, start=0) -> Parameter:
    return Parameter(Tensor(start, ms.float32 if isinstance(start, float) else ms.int32), name=name,
                     requires_grad=False)
