"""A training on paper: what a step takes on many cards, and so how long a recipe takes and what it costs.

Four things bound a step of data-parallel training: arithmetic, memory traffic, the all-reduce of the gradients, and the
input pipeline. Each is computed from the network and the figures of analysis/hardware.py, every one of which is printed
with its source and can be replaced. Nothing here has been checked on an NPU; ascend/README.md says what has been.

On a CPU a fifth counts most: MindSpore's kernels for depthwise convolutions multiply at a small share of the rate of
others. There the layers also take turns, so that arithmetic and memory traffic add up.
"""
import dataclasses
import math
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

from ghost_ms.analysis.measure.hardware import CARDS, Figure, Hardware

GIVEN = "given on the command line"
#: Passes over an activation: written and read forward; read again backward; its gradient written and read.
PASSES = Figure(5, "passes", "assumed: no fusion between layers")
#: A parameter is read forward and backward; its gradient is written and read; weight and momentum are read and written.
PARAMETER_PASSES = Figure(8, "passes", "counted: SGD with momentum in float32")
#: Backward computes two products, by weights and by inputs, where forward computes one.
BACKWARD = Figure(3, "times the forward pass", "counted: forward, gradient by inputs, gradient by weights")
DECODE = Figure(320, "images/s a core", "measured: this project's loader on one core of a 2-core Xeon VM, 500x375 "
                                        "JPEGs of 66 kB, random crop to 224, flip, normalise")
IMAGENET = Figure(1_281_167, "images", "published: ILSVRC-2012 training set")


class Practice(NamedTuple):
    """The most images of an update that an optimizer is known to train ImageNet with, and by whom."""

    name: str
    images: int
    source: str


#: By optimizer.name of a recipe; linear scaling of the learning rate is known up to there too.
PRACTICE: Dict[str, Practice] = {
    "sgd": Practice("SGD", 8192, "Goyal et al., arXiv 1706.02677, who lost accuracy beyond it"),
    "rmsprop": Practice("RMSProp", 4096, "MobileNetV3, arXiv 1905.02244"),
    "adamw": Practice("AdamW", 4096, "ConvNeXt, arXiv 2201.03545"),
    "lion": Practice("Lion", 4096, "Chen et al., arXiv 2302.06675"),
    "lamb": Practice("LAMB", 32768, "You et al., arXiv 1904.00962")}
#: Updates of an epoch of ImageNet at the largest of these batches; no published recipe has fewer.
FEWEST = 39
#: Pixels of a side beyond which the network would have to be run on an image that fills the memory, only to be counted.
LARGEST_INPUT = 2048


@dataclasses.dataclass
class Job:
    """What is to be trained.

    Args:
        params, macs, activations: of one image through the network; activations in elements.
        depthwise: MACs among them of depthwise convolutions.
        products: elements among the activations that convolutions and matrix products write.
        batch: images of a step on each device.
        cards: devices that train; a card of two dies counts twice.
        epochs, images: length of the recipe and of an epoch.
    """

    model: str
    params: int
    macs: float
    activations: float
    batch: int
    cards: int
    epochs: int
    images: float
    depthwise: float = 0.0
    products: float = 0.0


@dataclasses.dataclass
class Step:
    """Seconds of each part of a step: arithmetic at the peak and as it is reached, memory, all-reduce, input.

    Args:
        depthwise: part of `compute`.
        overlap: see `Hardware`.
    """

    peak: float
    compute: float
    memory: float
    all_reduce: float
    input: float
    depthwise: float = 0.0
    overlap: bool = True

    @property
    def fastest(self) -> float:
        """Everything overlaps and arithmetic runs at its peak: no step is shorter."""
        return max(self.peak, self.memory, self.all_reduce, self.input)

    @property
    def expected(self) -> float:
        """Arithmetic as it is reached, then the all-reduce; only the input is prepared at the same time."""
        return max(self.input, self.work + self.all_reduce)

    @property
    def work(self) -> float:
        """What one card does by itself."""
        return max(self.compute, self.memory) if self.overlap else self.compute + self.memory


def all_reduce_seconds(gradients: float, cards: int, hardware: Hardware) -> float:
    """A ring inside each server, then a ring of servers for each card's share.

    Args:
        gradients: bytes.
    """
    inside = min(cards, int(hardware.server.value))
    servers = math.ceil(cards / hardware.server.value)
    seconds = 2 * (inside - 1) / inside * gradients / hardware.link.value
    seconds += 2 * (servers - 1) / servers * gradients / inside / hardware.network.value
    return seconds + 2 * (inside - 1 + servers - 1) * hardware.latency.value


def step_of(job: Job, hardware: Hardware, decode: Figure = DECODE, measured: Optional[float] = None) -> Step:
    """The parts of one step.

    Args:
        decode: images/s that one CPU core prepares.
        measured: seconds of a step on one card, which then stands for arithmetic and memory together.
    """
    flop = 2 * job.batch * BACKWARD.value / hardware.peak.value
    written = job.activations if hardware.overlap else job.activations - job.products
    traffic = (written * job.batch * hardware.activation.value * PASSES.value
               + job.params * 4 * PARAMETER_PASSES.value)
    peak, memory = flop * job.macs, traffic / hardware.memory.value
    apart = job.depthwise if hardware.depthwise is not None else 0.0
    depthwise = flop * apart / hardware.depthwise.value if apart else 0.0
    compute = flop * (job.macs - apart) / hardware.efficiency.value + depthwise
    if hardware.crowd is not None and min(job.cards, hardware.server.value) > 1:
        compute, depthwise, memory = (seconds * hardware.crowd.value for seconds in (compute, depthwise, memory))
    overlap = hardware.overlap
    if measured is not None:
        compute, depthwise, memory, overlap = measured, 0.0, min(memory, measured), True
    return Step(min(peak, compute), compute, memory, all_reduce_seconds(4.0 * job.params, job.cards, hardware),
                job.batch / (decode.value * hardware.cores.value), depthwise, overlap)


def count_activations(net, channels: int, input_size: Tuple[int, int]) -> float:
    """Elements that the layers of a network write for one image, counted by running it once on zeros."""
    import mindspore as ms
    import numpy as np
    from mindspore import nn

    total = 0.0

    def count(cell, inputs, output):
        nonlocal total
        total += sum(one.size for one in (output if isinstance(output, tuple) else (output,)) if hasattr(one, "size"))

    for _, cell in net.cells_and_names():
        # Identity and, in evaluation, dropout hand on what they get.
        if not list(cell.cells()) and not isinstance(cell, (nn.Identity, nn.Dropout)):
            cell.register_forward_hook(count)
    net.set_train(False)(ms.Tensor(np.zeros((1, channels, *input_size), np.float32)))
    return total


def doubts(job: Job, optimizer: Optional[Any] = None, accumulate: int = 1) -> List[str]:
    """Sentences on a batch of all devices that is beyond what the field has trained with.

    Args:
        optimizer: the recipe's section; None without a recipe, which is then taken for one with SGD.
        accumulate: steps whose gradients make an update.
    """
    images = job.batch * job.cards * accumulate
    practice, said = PRACTICE[optimizer.name if optimizer is not None else "sgd"], []
    if images > practice.images:
        rate = ""
        if optimizer is not None and optimizer.base_batch:
            rate = (f"; optimizer.base_batch makes the learning rate "
                    f"{optimizer.lr * images / optimizer.base_batch:.3g} of {optimizer.lr:g} for "
                    f"{optimizer.base_batch:,}")
        elif optimizer is not None:
            rate = f"; the learning rate stays {optimizer.lr:g}, as the recipe has no optimizer.base_batch"
        said.append(f"{images:,} images an update are more than {practice.name} is known to train ImageNet with: "
                    f"{practice.images:,} ({practice.source}){rate}")
    updates = math.floor(job.images / images)
    if updates < FEWEST:
        said.append(f"an epoch has only {updates} updates; the largest batches of the field leave {FEWEST} of ImageNet "
                    f"({FEWEST * images:,} images would give as many here)")
    return said


def _devices(job: Job, hardware: Hardware) -> str:
    if hardware.dies == 1:
        return f"{job.cards} cards"
    return f"{job.cards} devices ({job.cards // hardware.dies} cards of {hardware.dies} dies)"


def report(job: Job, hardware: Hardware, step: Step, decode: Figure, price: Optional[float],
           measured: Optional[float], warnings: Sequence[str] = ()) -> str:
    """The plan as text: warnings, assumptions with sources, then the parts of a step, then speed, days and cost."""
    figures = {"peak": hardware.peak, "efficiency": hardware.efficiency, "depthwise": hardware.depthwise,
               "memory": hardware.memory, "crowd": hardware.crowd, "backward": BACKWARD,
               "passes over activations": PASSES, "passes over parameters": PARAMETER_PASSES,
               "activation": hardware.activation, "link inside a server": hardware.link,
               "network between servers": hardware.network, "latency": hardware.latency, "server": hardware.server,
               "CPU": hardware.cores, "decoding": decode, "epoch": Figure(job.images, "images", IMAGENET.source)}
    if job.images != IMAGENET.value:
        figures["epoch"] = Figure(job.images, "images", GIVEN)
    if measured is not None:
        for name in ("peak", "efficiency", "depthwise", "memory", "crowd", "backward", "activation",
                     "passes over activations", "passes over parameters"):
            del figures[name]
        figures["step on one card"] = Figure(measured, "s", GIVEN)
    figures = {name: figure for name, figure in figures.items() if figure is not None}
    lines = [f"{job.model}: {job.params / 1e6:.2f} M parameters, {job.macs / 1e6:,.0f} M MACs, "
             f"{job.activations / 1e6:.1f} M activations an image; {_devices(job, hardware)}, {job.batch} images "
             "each", *(f"warning: {said}" for said in warnings), "", "assumptions:"]
    width = max(map(len, figures))
    lines += [f"  {name:{width}}  {figure.value:>10.4g} {figure.unit}  [{figure.source}]"
              for name, figure in figures.items()]
    lines += ["", "a step, ms:", f"  arithmetic  {1e3 * step.compute:10.2f}" +
              (f"  (at the peak {1e3 * step.peak:.2f})" if measured is None else "  (measured, with memory)")]
    if step.depthwise:
        lines.append(f"    depthwise {1e3 * step.depthwise:10.2f}  (of it)")
    if measured is None:
        lines.append(f"  memory      {1e3 * step.memory:10.2f}")
    lines += [f"  all-reduce  {1e3 * step.all_reduce:10.2f}", f"  input       {1e3 * step.input:10.2f}",
              f"  bound by {bound(step)}"]
    steps = job.epochs * math.floor(job.images / (job.batch * job.cards))
    lines += ["", f"{'':10}{'step, ms':>12}{'images/s':>14}{f'{job.epochs} epochs':>16}{'cost':>14}"]
    for name, seconds in (("fastest", step.fastest), ("expected", step.expected)):
        days = steps * seconds / 86400
        length = next(f"{days * scale:.2f} {unit}" for scale, unit in ((1, "days"), (24, "hours"), (1440, "minutes"))
                      if days * scale >= 1 or unit == "minutes")
        cost = "-" if price is None else f"{days * 24 * job.cards / hardware.dies * price:,.0f}"
        lines.append(f"{name:10}{1e3 * seconds:12.2f}{job.cards * job.batch / seconds:14,.0f}{length:>16}{cost:>14}")
    lines.append("training steps alone: compiling, evaluation and checkpoints come on top"
                 + ("; --price gives the cost" if price is None else f"; {price:g} a card and hour"))
    return "\n".join([*lines, f"checked: {hardware.checked}"])


def bound(step: Step) -> str:
    """Which part decides the expected step."""
    if step.input >= step.work + step.all_reduce:
        return "the input pipeline"
    parts = {"arithmetic": step.compute - step.depthwise, "depthwise convolutions": step.depthwise,
             "memory": step.memory, "the all-reduce": step.all_reduce}
    return max(parts, key=lambda name: parts[name])


def _above_0(**values: Optional[float]) -> None:
    """ValueError for the first option that is given and is no number above 0."""
    for name, value in values.items():
        if value is not None and not 0 < value < math.inf:
            raise ValueError(f"--{name} is {value:g}; it is above 0")


def _replaced(hardware: Hardware, options: Any) -> Hardware:
    """The hardware with the figures that the user gave."""
    given = {}
    for name, factor in (("peak", 1e12), ("efficiency", 1), ("memory", 1e9), ("link", 1e9), ("network", 1e9),
                         ("server", 1), ("cores", 1)):
        value = getattr(options, name)
        if value is None:
            continue
        given[name] = Figure(value * factor, getattr(hardware, name).unit, GIVEN)
    return dataclasses.replace(hardware, **given)


def _with_head(recipe: Any, size: Sequence[int]) -> Any:
    """The network of a recipe with a head; where it does not say how many classes there are, of as many as VOC has."""
    from ghost_ms.checkpoints.reconcile import Wish, describe

    recipe.data.input_size = tuple(size)
    return describe(Wish(recipe), 3, [f"class {place}" for place in range(recipe.model.num_classes or 21)]).build()


def run(options: Any) -> List[str]:
    """One report for each number of cards; ValueError where an option is out of range."""
    from ghost_ms import config as recipes
    from ghost_ms.analysis.measure.complexity import count_layers, total
    from ghost_ms.core import device
    from ghost_ms.factory import create_model
    from ghost_ms.models import model_card

    recipe = recipes.load(options.config) if options.config else None
    model = options.model or (recipe.model.name if recipe else None)
    if not model:
        raise ValueError("name a network with --model or a recipe with --config")
    card = model_card(model)
    size = tuple(options.input_size or (recipe and recipe.data.input_size) or card.input_size)
    batch = options.batch or (recipe.data.batch_size if recipe else 256)
    epochs = options.epochs or (recipe.train.epochs if recipe else 90)
    _above_0(cards=min(options.cards), batch=batch, epochs=epochs, images=options.images, step_ms=options.step_ms,
             decode=options.decode, input_size=min(size), peak=options.peak, efficiency=options.efficiency,
             memory=options.memory, link=options.link, network=options.network, server=options.server,
             cores=options.cores, price=options.price or None)
    if max(size) > LARGEST_INPUT:
        raise ValueError(f"--input_size is {max(size)}; it is {LARGEST_INPUT} at most, because the network is run once "
                         "on an image of that size to count it")
    hardware = _replaced(CARDS[options.card], options)
    if batch * max(options.cards) * hardware.dies > options.images:
        raise ValueError(f"{max(options.cards) * hardware.dies} devices with {batch} images each take more than the "
                         f"{options.images} images of an epoch; lower --batch or --cards")
    decode = DECODE if options.decode is None else Figure(options.decode, DECODE.unit, GIVEN)
    measured = None if options.step_ms is None else options.step_ms / 1e3
    device.setup("CPU", mode="pynative")
    headed = bool(recipe and recipe.task.head and not options.model)
    net = _with_head(recipe, size) if headed else create_model(model, input_size=size)
    activations, counted = count_activations(net, 3, size), total(count_layers(net, 3, size))
    macs = card.macs if size == tuple(card.input_size) and not headed else counted.macs
    params = sum(parameter.size for parameter in net.trainable_params()) if headed else card.params
    model = f"{recipe.task.head} on {model}" if headed else model
    texts = []
    for cards in options.cards:
        job = Job(model, params, macs, activations, batch, cards * hardware.dies, epochs, options.images,
                  counted.depthwise, counted.activations)
        step = step_of(job, hardware, decode, measured)
        said = doubts(job, recipe.optimizer, recipe.train.accumulate) if recipe else doubts(job)
        texts.append(report(job, hardware, step, decode, options.price, measured, said))
    return texts
