"""A training on paper: what a step takes on many cards, and so how long a recipe takes and what it costs.

Four things bound a step of data-parallel training: arithmetic, memory traffic, the all-reduce of the gradients, and the
input pipeline. Each is computed from the network and a few figures of the hardware, every one of which is printed with
its source and can be replaced. Nothing here has been checked on an NPU; ascend/README.md says what has been checked.

On a CPU a fifth counts most: MindSpore's kernels for depthwise convolutions multiply at a small share of the rate of
others. There the layers also take turns, so that arithmetic and memory traffic add up.
"""
import argparse
import dataclasses
import math
from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple

GIVEN = "given on the command line"
HPCA = "Liao et al., Ascend: a Scalable and Unified Architecture, HPCA 2021"
RESNET = ("share of the peak that ResNet-50 reaches at 2,115 images/s on an Ascend 910, batch 256: MindSpore 0.6 "
          "documentation, benchmark page")
MACHINE = "measured on two cores of an Intel Xeon virtual machine with MindSpore 2.8.0"
CPU = f"in training, one process {MACHINE}: scripts/measure_cpu.py rates"


class Figure(NamedTuple):
    """A number that the plan rests on, its unit, and where it comes from."""

    value: float
    unit: str
    source: str


@dataclasses.dataclass(frozen=True)
class Hardware:
    """One kind of card and how cards are joined.

    Args:
        peak: FLOP/s of a card at the precision of training.
        efficiency: share of it that convolutional training reaches.
        depthwise: share of it that depthwise convolutions reach; None where nothing is known of them, and they count as
            others.
        crowd: how many times longer the work of a card takes when all of a server work; None where they share nothing.
        overlap: whether arithmetic and memory traffic of a step go on at the same time. Where not, what convolutions
            write belongs to their rate.
        checked: what was measured beside a plan, and how far off it was.
        memory: bytes/s of the card's memory.
        link: bytes/s that a card sends to its neighbour inside a server.
        network: bytes/s of a card's own network port, between servers.
        latency: seconds for one message of an all-reduce.
        server: cards of a server.
        activation: bytes of an activation.
        cores: CPU cores for each card.
    """

    peak: Figure
    efficiency: Figure
    memory: Figure
    link: Figure
    network: Figure
    latency: Figure
    server: Figure
    activation: Figure
    cores: Figure
    depthwise: Optional[Figure] = None
    crowd: Optional[Figure] = None
    overlap: bool = True
    checked: str = "not checked against a run"


_SHARED = dict(
    efficiency=Figure(0.2027, "of the peak", RESNET),
    latency=Figure(2e-5, "s a message", "assumption"),
    server=Figure(8, "cards", "Atlas 800 training server"),
    activation=Figure(2, "bytes", "float16 or bfloat16 activations"),
    cores=Figure(24, "cores a card", "192 cores for 8 cards: MindSpore 0.6 documentation, benchmark page"))
#: What the plans for NPUs were held against.
PUBLISHED = ("only ResNet-50 on 8 and 16 Ascend 910, which MindSpore published, within 4 %; nothing was run on an NPU "
             "here, and depthwise convolutions count as others")

CARDS: Dict[str, Hardware] = {
    "910": Hardware(peak=Figure(256e12, "FLOP/s", f"float16; {HPCA}"), memory=Figure(1.2e12, "B/s", HPCA),
                    link=Figure(30e9, "B/s", f"one HCCS link; {HPCA}"),
                    network=Figure(12.5e9, "B/s", f"100 Gbit/s RoCE port of each card; {HPCA}"),
                    checked=PUBLISHED, **_SHARED),
    "910b2": Hardware(peak=Figure(353.9e12, "FLOP/s", "float16; CANN ops-cv, issue 997"),
                      memory=Figure(1.6e12, "B/s", "CANN ops-cv, migration guide in issue 997"),
                      link=Figure(30e9, "B/s", "assumption: as one HCCS link of the 910"),
                      network=Figure(25e9, "B/s", "200 Gbit/s RoCE port of each card; Atlas 800T A2 product page"),
                      checked=PUBLISHED, **_SHARED),
    "cpu": Hardware(peak=Figure(1.31e11, "FLOP/s", f"float32, the fastest dense layer {CPU}"),
                    efficiency=Figure(0.72, "of the peak", f"dense convolutions {CPU}"),
                    depthwise=Figure(0.0092, "of the peak", f"depthwise convolutions {CPU}"),
                    memory=Figure(2.87e9, "B/s", f"BatchNorm and ReLU, 7 ns an element {CPU}"),
                    crowd=Figure(1.85, "times", "a step of two workers against one, without averaging gradients; 1.79 "
                                                f"to 1.91 {MACHINE}: scripts/measure_cpu.py step"),
                    overlap=False,
                    link=Figure(2.2e8, "B/s", f"gradients of ResNet-50 averaged by two processes, {MACHINE}: "
                                              "scripts/measure_cpu.py reduce"),
                    network=Figure(1.25e8, "B/s", "assumption: 1 Gbit/s"),
                    latency=Figure(1e-3, "s a message", "assumption"),
                    server=Figure(2, "processes", "two cores, one for each"),
                    activation=Figure(4, "bytes", "float32"), cores=Figure(1, "core a process", "assumption"),
                    checked="steps of GhostNet 1.0x, ResNet-50 and MobileNetV3-Large, one and two workers, " + MACHINE
                            + ", were planned 11 to 25 % too long; another processor may be far from that"),
}

#: Passes over an activation: written and read forward; read again backward; its gradient written and read.
PASSES = Figure(5, "passes", "assumption: no fusion between layers")
#: A parameter is read forward and backward; its gradient is written and read; weight and momentum are read and written.
PARAMETER_PASSES = Figure(8, "passes", "SGD with momentum in float32")
#: Backward computes two products, by weights and by inputs, where forward computes one.
BACKWARD = Figure(3, "times the forward pass", "forward, gradient by inputs, gradient by weights")
DECODE = Figure(320, "images/s a core", "this project's loader on one core of a 2-core Xeon VM: 500x375 JPEGs of 66 "
                                        "kB, random crop to 224, flip, normalise")
IMAGENET = Figure(1_281_167, "images", "ILSVRC-2012 training set")


@dataclasses.dataclass
class Job:
    """What is to be trained.

    Args:
        params, macs, activations: of one image through the network; activations in elements.
        depthwise: MACs among them of depthwise convolutions.
        products: elements among the activations that convolutions and matrix products write.
        batch: images of a step on each card.
        cards: how many.
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


def report(job: Job, hardware: Hardware, step: Step, decode: Figure, price: Optional[float],
           measured: Optional[float]) -> str:
    """The plan as text: assumptions with sources, then the parts of a step, then speed, days and cost."""
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
             f"{job.activations / 1e6:.1f} M activations an image; {job.cards} cards, {job.batch} images each",
             "", "assumptions:"]
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
        cost = "-" if price is None else f"{days * 24 * job.cards * price:,.0f}"
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


def _replaced(hardware: Hardware, options: argparse.Namespace) -> Hardware:
    """The hardware with the figures that the user gave."""
    given = {}
    for name, factor in (("peak", 1e12), ("efficiency", 1), ("memory", 1e9), ("link", 1e9), ("network", 1e9),
                         ("server", 1), ("cores", 1)):
        value = getattr(options, name)
        if value is None:
            continue
        if value <= 0:
            raise ValueError(f"--{name} is {value:g}; it is above 0")
        given[name] = Figure(value * factor, getattr(hardware, name).unit, GIVEN)
    return dataclasses.replace(hardware, **given)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `ghost-ms plan`."""
    parser.add_argument("--model", help="name of the network (`ghost-ms models`)")
    parser.add_argument("--config", help="recipe that gives model, batch, epochs and input size; options override it")
    parser.add_argument("--cards", type=int, nargs="+", default=[8], help="numbers of cards to plan for (default 8)")
    parser.add_argument("--card", choices=list(CARDS), default="910", help="kind of card (default 910)")
    parser.add_argument("--batch", type=int, help="images of a step on each card (default 256, or the recipe's)")
    parser.add_argument("--epochs", type=int, help="length of the recipe (default 90, or the recipe's)")
    parser.add_argument("--images", type=int, default=int(IMAGENET.value), help="images of an epoch (default ImageNet)")
    parser.add_argument("--input_size", type=int, nargs=2, metavar="PIXELS", help="height and width (default: card)")
    parser.add_argument("--step_ms", type=float, help="measured step on one card, instead of arithmetic and memory")
    parser.add_argument("--peak", type=float, help="TFLOP/s of a card")
    parser.add_argument("--efficiency", type=float, help="share of the peak that is reached")
    parser.add_argument("--memory", type=float, help="GB/s of a card's memory")
    parser.add_argument("--link", type=float, help="GB/s between the cards of a server")
    parser.add_argument("--network", type=float, help="GB/s of a card's network port")
    parser.add_argument("--server", type=int, help="cards of a server")
    parser.add_argument("--cores", type=int, help="CPU cores for each card")
    parser.add_argument("--decode", type=float, help="images/s that a core decodes and augments")
    parser.add_argument("--price", type=float, help="price of a card for an hour, in any currency")


def run(options: argparse.Namespace) -> List[str]:
    """One report for each number of cards; ValueError where an option is out of range."""
    from ghost_ms import config as recipes
    from ghost_ms import device
    from ghost_ms.analysis.complexity import count_layers, total
    from ghost_ms.models import create_model, model_card

    recipe = recipes.load(options.config) if options.config else None
    model = options.model or (recipe.model.name if recipe else None)
    if not model:
        raise ValueError("name a network with --model or a recipe with --config")
    card = model_card(model)
    size = tuple(options.input_size or (recipe and recipe.data.input_size) or card.input_size)
    batch = options.batch or (recipe.data.batch_size if recipe else 256)
    epochs = options.epochs or (recipe.train.epochs if recipe else 90)
    checked = {"cards": min(options.cards), "batch": batch, "epochs": epochs, "images": options.images,
               "step_ms": 1 if options.step_ms is None else options.step_ms,
               "decode": 1 if options.decode is None else options.decode, "input_size": min(size)}
    for name, value in checked.items():
        if value <= 0:
            raise ValueError(f"--{name} is {value:g}; it is above 0")
    if batch * max(options.cards) > options.images:
        raise ValueError(f"{max(options.cards)} cards with {batch} images each take more than the {options.images} "
                         "images of an epoch; lower --batch or --cards")
    hardware = _replaced(CARDS[options.card], options)
    decode = DECODE if options.decode is None else Figure(options.decode, DECODE.unit, GIVEN)
    measured = None if options.step_ms is None else options.step_ms / 1e3
    device.setup("CPU", mode="pynative")
    net = create_model(model, input_size=size)
    activations, counted = count_activations(net, 3, size), total(count_layers(net, 3, size))
    macs = card.macs if size == tuple(card.input_size) else counted.macs
    texts = []
    for cards in options.cards:
        job = Job(model, card.params, macs, activations, batch, cards, epochs, options.images, counted.depthwise,
                  counted.activations)
        step = step_of(job, hardware, decode, measured)
        texts.append(report(job, hardware, step, decode, options.price, measured))
    return texts


def main(argv: Sequence[str], description: str) -> int:
    """Parse, plan, print."""
    parser = argparse.ArgumentParser("ghost-ms plan", description=description)
    add_arguments(parser)
    print("\n\n".join(run(parser.parse_args(argv))))
    return 0
