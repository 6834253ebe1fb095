"""Figures of cards, servers and processors that `ghost-ms plan` rests on, each with its source.

The first word of a source says what kind it is: `published` (by the maker or in a paper), `measured` (by this project,
on the machine named), `assumed` (nobody has said it; it is printed with every plan, and an option replaces it).
"""
import dataclasses
from typing import Dict, NamedTuple, Optional


class Figure(NamedTuple):
    """A number that the plan rests on, its unit, and where it comes from."""

    value: float
    unit: str
    source: str


@dataclasses.dataclass(frozen=True)
class Hardware:
    """One kind of card and how cards are joined.

    A card of two dies is two devices: programs see each die by itself, and each is a rank.

    Args:
        peak: FLOP/s of a device at the precision of training.
        efficiency: share of it that convolutional training reaches.
        depthwise: share of it that depthwise convolutions reach; None where nothing is known of them, and they count as
            others.
        crowd: how many times longer the work of a device takes when all of a server work; None where they share
            nothing.
        overlap: whether arithmetic and memory traffic of a step go on at the same time. Where not, what convolutions
            write belongs to their rate.
        checked: what was measured beside a plan, and how far off it was.
        memory: bytes/s of the device's memory.
        link: bytes/s that a device sends to its neighbour inside a server.
        network: bytes/s of a device's own network port, between servers.
        latency: seconds for one message of an all-reduce.
        server: devices of a server.
        activation: bytes of an activation.
        cores: CPU cores for each device.
        dies: devices of a card.
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
    dies: int = 1


HPCA = "Liao et al., Ascend: a Scalable and Unified Architecture, HPCA 2021"
RESNET = ("share of the peak that ResNet-50 reaches at 2,115 images/s on an Ascend 910, batch 256: MindSpore 0.6 "
          "documentation, benchmark page")
MODELING = "github.com/Ascend/msmodeling, tensor_cast/device.py"
CLOUD_MATRIX = "Zuo et al., Serving Large Language Models on Huawei CloudMatrix384, arXiv 2506.12708"
MACHINE = "two cores of an Intel Xeon virtual machine with MindSpore 2.8.0"
CPU = f"in training with run.kernels off, one process on {MACHINE}: scripts/measure_cpu.py rates"
#: What a plan for an NPU was held against.
PUBLISHED = ("only ResNet-50 on 8 and 16 Ascend 910, which MindSpore published, within 4 %; nothing was run on an NPU "
             "here, and depthwise convolutions count as others")
UNCHECKED = ("no run on this card; its efficiency is assumed to be that of the first Ascend 910, and depthwise "
             "convolutions count as others")


def _cube(cores: int, gigahertz: float, sold: str, source: str) -> Figure:
    """The float16 peak of so many cores, each of which multiplies 16 x 16 x 16 numbers a cycle."""
    return Figure(cores * gigahertz * 1e9 * 2 * 16 ** 3, "FLOP/s",
                  f"published: {cores} cores of 8,192 operations a cycle at {gigahertz:.2f} GHz{sold}; {source}")


_NPU = dict(
    efficiency=Figure(0.2027, "of the peak", f"assumed: {RESNET}"),
    latency=Figure(2e-5, "s a message", "assumed"),
    activation=Figure(2, "bytes", "published: float16 or bfloat16 activations"))
_A2 = dict(
    _NPU, link=Figure(30e9, "B/s", "assumed: as one HCCS link of the 910"),
    network=Figure(25e9, "B/s", "published: 200 Gbit/s RoCE port of each card; Atlas 800T A2 product page"),
    server=Figure(8, "cards", "published: Atlas 800T A2"),
    cores=Figure(24, "cores a card", "published: 192 cores for 8 cards, Atlas 800T A2"), checked=UNCHECKED)

CARDS: Dict[str, Hardware] = {
    "910": Hardware(**{
        **_NPU, "efficiency": Figure(0.2027, "of the peak", f"published: {RESNET}")},
        peak=Figure(256e12, "FLOP/s", f"published: float16; {HPCA}"),
        memory=Figure(1.2e12, "B/s", f"published: {HPCA}"),
        link=Figure(30e9, "B/s", f"published: one HCCS link; {HPCA}"),
        network=Figure(12.5e9, "B/s", f"published: 100 Gbit/s RoCE port of each card; {HPCA}"),
        server=Figure(8, "cards", "published: Atlas 800 training server"),
        cores=Figure(24, "cores a card", "published: 192 cores for 8 cards; MindSpore 0.6 documentation, benchmark "
                                         "page"),
        checked=PUBLISHED),
    "910b1": Hardware(**_A2, peak=_cube(24, 1.85, "", "CANN's Ascend910B1.ini, as in gitcode.com/cann/pypto"),
                      memory=Figure(1.6e12, "B/s", "assumed: as the 910B2")),
    "910b2": Hardware(**_A2, peak=_cube(24, 1.80, ", sold as 376 TFLOP/s",
                                        f"353.9 TFLOP/s in CANN ops-cv, issue 997, and {MODELING}"),
                      memory=Figure(1.6e12, "B/s", "published: CANN ops-cv, migration guide in issue 997")),
    "910b3": Hardware(**_A2, peak=_cube(20, 1.80, ", sold as 313 TFLOP/s", f"294.9 TFLOP/s in {MODELING}"),
                      memory=Figure(1.6e12, "B/s", f"published: {MODELING}")),
    "910b4": Hardware(**_A2, peak=_cube(20, 1.50, ", sold as 280 TFLOP/s", f"245.8 TFLOP/s in {MODELING}"),
                      memory=Figure(0.8e12, "B/s", f"published: the card of 32 GB, {MODELING}; the one of 64 GB has "
                                                   "twice as much (--memory 1600)")),
    "a3": Hardware(**_NPU, dies=2,
                   peak=_cube(24, 1.80, ", sold as 376 TFLOP/s a die, 752 a 910C",
                              f"353.9 TFLOP/s in {MODELING}; {CLOUD_MATRIX}"),
                   memory=Figure(1.6e12, "B/s", f"published: of a die; {CLOUD_MATRIX}"),
                   link=Figure(196e9, "B/s", f"published: from one die to any other; {CLOUD_MATRIX}"),
                   network=Figure(25e9, "B/s", f"published: half of the 400 Gbit/s of a 910C, between SuperPoDs; "
                                               f"{CLOUD_MATRIX}; inside one, --network 196"),
                   server=Figure(16, "devices", "published: 8 cards of two dies, Atlas 800T A3"),
                   cores=Figure(20, "cores a device", "published: 320 cores for 16 devices, in lscpu of vllm-ascend "
                                                      "issue 2035"), checked=UNCHECKED),
    "cpu": Hardware(peak=Figure(1.31e11, "FLOP/s", f"measured: float32, the fastest dense layer {CPU}"),
                    efficiency=Figure(0.72, "of the peak", f"measured: dense convolutions {CPU}"),
                    depthwise=Figure(0.0092, "of the peak", f"measured: depthwise convolutions {CPU}"),
                    memory=Figure(2.87e9, "B/s", f"measured: BatchNorm and ReLU, 7 ns an element {CPU}"),
                    crowd=Figure(1.85, "times", "measured: a step of two workers against one, without averaging "
                                                f"gradients; 1.79 to 1.91 on {MACHINE}: scripts/measure_cpu.py step"),
                    overlap=False,
                    link=Figure(2.2e8, "B/s", "measured: gradients of ResNet-50 averaged by two processes, on "
                                              f"{MACHINE}: scripts/measure_cpu.py reduce"),
                    network=Figure(1.25e8, "B/s", "assumed: 1 Gbit/s"),
                    latency=Figure(1e-3, "s a message", "assumed"),
                    server=Figure(2, "processes", "assumed: two cores, one for each"),
                    activation=Figure(4, "bytes", "published: float32"),
                    cores=Figure(1, "core a process", "assumed"),
                    checked="steps of GhostNet 1.0x, ResNet-50 and MobileNetV3-Large, one and two workers, measured on "
                            + MACHINE + ", were planned 11 to 25 % too long; another processor may be far from that"),
}
#: Other names that people and tools have for them.
ALSO = {"910a": "910", "910c": "a3", **{f"ascend{name}": name for name in CARDS if name.startswith("910b")}}
#: What npu-smi calls more than one kind of card.
AMBIGUOUS = {"ascend910": "npu-smi calls the dies of an Atlas A3 so (a3), people the first Ascend 910 (910)",
             "910b": "npu-smi calls the first Ascend 910 of 32 GB so (910), people the 910B1 to 910B4"}
