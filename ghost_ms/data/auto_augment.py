"""Automatic augmentation policies on Pillow images: RandAugment in timm's grammar, AutoAugment, TrivialAugment.

MindSpore has classes of these names, and they are not used here, for two reasons. They draw from a stream of their
worker thread, so that an image's augmentation depends on the number of workers and on all images before it; here it is
a function of the generator that the caller passes. And their magnitudes are torchvision's bins: timm's noisy magnitude
(`mstd`), rising severity (`inc`), probability (`p`) and weights (`w`), which the published recipes use, are not there.
"""
import dataclasses
import functools
import math
import re
from typing import Callable, Dict, List, Optional, Sequence, Tuple

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from ghost_ms.config.policy import RAND_WEIGHTS, parse_policy
from ghost_ms.data import geometry

BILINEAR, BICUBIC, NEAREST = Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.NEAREST


@dataclasses.dataclass(frozen=True)
class Canvas:
    """What operations that move pixels need.

    Args:
        fill: colour of uncovered pixels, one value per channel (0 to 255).
        filters: Pillow resampling filters, of which each operation draws one.
        moves: where each operation leaves the map of what it did (see `data.geometry`); None to keep none.
    """

    fill: Tuple[int, ...] = (128, 128, 128)
    filters: Tuple[int, ...] = (BILINEAR, BICUBIC)
    moves: Optional[geometry.Moves] = dataclasses.field(default=None, compare=False)

    def leaving(self, moves: Optional[geometry.Moves]) -> "Canvas":
        """The same canvas, whose operations leave their maps in a list."""
        return self if moves is None else dataclasses.replace(self, moves=moves)

    def warp(self, image: Image.Image, matrix: Sequence[float], rng: np.random.Generator) -> Image.Image:
        """Output pixel (x, y) is input pixel (a x + b y + c, d x + e y + f)."""
        if self.moves is not None:
            self.moves.append(geometry.invert(geometry.affine(*matrix)))
        return image.transform(image.size, Image.Transform.AFFINE, matrix, self._filter(rng),
                               fillcolor=self._colour(image))

    def rotate(self, image: Image.Image, degrees: float, rng: np.random.Generator) -> Image.Image:
        """Counterclockwise, about the centre."""
        if self.moves is not None:
            self.moves.append(geometry.rotated(degrees, image.size))
        return image.rotate(degrees, self._filter(rng), fillcolor=self._colour(image))

    def _filter(self, rng: np.random.Generator) -> int:
        return self.filters[0] if len(self.filters) == 1 else self.filters[int(rng.integers(len(self.filters)))]

    def _colour(self, image: Image.Image):
        return self.fill[0] if image.mode == "L" else self.fill


def solarize_add(image: Image.Image, amount: int) -> Image.Image:
    """Brighten what is darker than 128."""
    table = [min(255, value + amount) if value < 128 else value for value in range(256)]
    return image.point(table * len(image.getbands()))


def posterize(image: Image.Image, bits: int) -> Image.Image:
    """Keep the leading bits; 0 leaves black, which `ImageOps.posterize` refuses."""
    if bits >= 8:
        return image
    return image.point([value & ~(2 ** (8 - bits) - 1) for value in range(256)] * len(image.getbands()))


#: Name -> (image, argument, canvas, generator) -> image.
OPERATIONS: Dict[str, Callable] = {
    "Identity": lambda image, value, canvas, rng: image,
    "AutoContrast": lambda image, value, canvas, rng: ImageOps.autocontrast(image),
    "Equalize": lambda image, value, canvas, rng: ImageOps.equalize(image),
    "Invert": lambda image, value, canvas, rng: ImageOps.invert(image),
    "Rotate": lambda image, value, canvas, rng: canvas.rotate(image, value, rng),
    "Posterize": lambda image, value, canvas, rng: posterize(image, value),
    "Solarize": lambda image, value, canvas, rng: ImageOps.solarize(image, value),
    "SolarizeAdd": lambda image, value, canvas, rng: solarize_add(image, value),
    "Color": lambda image, value, canvas, rng: ImageEnhance.Color(image).enhance(value),
    "Contrast": lambda image, value, canvas, rng: ImageEnhance.Contrast(image).enhance(value),
    "Brightness": lambda image, value, canvas, rng: ImageEnhance.Brightness(image).enhance(value),
    "Sharpness": lambda image, value, canvas, rng: ImageEnhance.Sharpness(image).enhance(value),
    "ShearX": lambda image, value, canvas, rng: canvas.warp(image, (1, value, 0, 0, 1, 0), rng),
    "ShearY": lambda image, value, canvas, rng: canvas.warp(image, (1, 0, 0, value, 1, 0), rng),
    "TranslateX": lambda image, value, canvas, rng: canvas.warp(image, (1, 0, value, 0, 1, 0), rng),
    "TranslateY": lambda image, value, canvas, rng: canvas.warp(image, (1, 0, 0, 0, 1, value), rng),
    # The relative forms take a share of the image's side.
    "TranslateXRel": lambda image, value, canvas, rng: canvas.warp(image, (1, 0, value * image.width, 0, 1, 0), rng),
    "TranslateYRel": lambda image, value, canvas, rng: canvas.warp(image, (1, 0, 0, 0, 1, value * image.height), rng),
}


def _signed(value: float, rng: np.random.Generator) -> float:
    return -value if rng.random() > 0.5 else value


#: Name -> (level 0..10, generator) -> argument of the operation, as in timm. Operations that are not here need none.
LEVELS: Dict[str, Callable] = {
    "Rotate": lambda level, rng: _signed(level / 10 * 30, rng),
    "Posterize": lambda level, rng: int(level / 10 * 4),
    "PosterizeIncreasing": lambda level, rng: 4 - int(level / 10 * 4),
    "PosterizeOriginal": lambda level, rng: 4 + int(level / 10 * 4),
    "Solarize": lambda level, rng: min(256, int(level / 10 * 256)),
    "SolarizeIncreasing": lambda level, rng: 256 - min(256, int(level / 10 * 256)),
    "SolarizeAdd": lambda level, rng: min(128, int(level / 10 * 110)),
    "ShearX": lambda level, rng: _signed(level / 10 * 0.3, rng),
    "ShearY": lambda level, rng: _signed(level / 10 * 0.3, rng),
    "TranslateXRel": lambda level, rng: _signed(level / 10 * 0.45, rng),
    "TranslateYRel": lambda level, rng: _signed(level / 10 * 0.45, rng),
    **{name: lambda level, rng: level / 10 * 1.8 + 0.1 for name in ("Color", "Contrast", "Brightness", "Sharpness")},
    **{f"{name}Increasing": lambda level, rng: max(0.1, 1 + _signed(level / 10 * 0.9, rng))
       for name in ("Color", "Contrast", "Brightness", "Sharpness")},
}

RAND_OPERATIONS = ("AutoContrast", "Equalize", "Invert", "Rotate", "Posterize", "Solarize", "SolarizeAdd", "Color",
                   "Contrast", "Brightness", "Sharpness", "ShearX", "ShearY", "TranslateXRel", "TranslateYRel")
#: Those whose severity does not rise with the level unless `inc1` exchanges them.
INCREASING = ("Posterize", "Solarize", "Color", "Contrast", "Brightness", "Sharpness")

#: AutoAugment's ImageNet policy (arXiv 1805.09501, table 9): pairs of (operation, probability, level).
IMAGENET_POLICY = (
    (("PosterizeOriginal", 0.4, 8), ("Rotate", 0.6, 9)),
    (("Solarize", 0.6, 5), ("AutoContrast", 0.6, 5)),
    (("Equalize", 0.8, 8), ("Equalize", 0.6, 3)),
    (("PosterizeOriginal", 0.6, 7), ("PosterizeOriginal", 0.6, 6)),
    (("Equalize", 0.4, 7), ("Solarize", 0.2, 4)),
    (("Equalize", 0.4, 4), ("Rotate", 0.8, 8)),
    (("Solarize", 0.6, 3), ("Equalize", 0.6, 7)),
    (("PosterizeOriginal", 0.8, 5), ("Equalize", 1.0, 2)),
    (("Rotate", 0.2, 3), ("Solarize", 0.6, 8)),
    (("Equalize", 0.6, 8), ("PosterizeOriginal", 0.4, 6)),
    (("Rotate", 0.8, 8), ("Color", 0.4, 0)),
    (("Rotate", 0.4, 9), ("Equalize", 0.6, 2)),
    (("Equalize", 0.0, 7), ("Equalize", 0.8, 8)),
    (("Invert", 0.6, 4), ("Equalize", 1.0, 8)),
    (("Color", 0.6, 4), ("Contrast", 1.0, 8)),
    (("Rotate", 0.8, 8), ("Color", 1.0, 2)),
    (("Color", 0.8, 8), ("Solarize", 0.8, 7)),
    (("Sharpness", 0.4, 7), ("Invert", 0.6, 8)),
    (("ShearX", 0.6, 5), ("Equalize", 1.0, 9)),
    (("Color", 0.4, 0), ("Equalize", 0.6, 3)),
    (("Equalize", 0.4, 7), ("Solarize", 0.2, 4)),
    (("Solarize", 0.6, 5), ("AutoContrast", 0.6, 5)),
    (("Invert", 0.6, 4), ("Equalize", 1.0, 8)),
    (("Color", 0.6, 4), ("Contrast", 1.0, 8)),
    (("Equalize", 0.8, 8), ("Equalize", 0.6, 3)),
)


@dataclasses.dataclass(frozen=True)
class Operation:
    """One operation of a policy.

    Args:
        name: a key of `OPERATIONS`, or of `LEVELS` (with Increasing or Original behind it).
        probability: of being applied.
        magnitude: level, 0 to 10.
        deviation: of the level, drawn anew each time; infinite for a uniform level between 0 and `magnitude`.
        maximum: upper bound of the level.
    """

    name: str
    probability: float
    magnitude: float
    deviation: float = 0.0
    maximum: float = 10.0

    def level(self, rng: np.random.Generator) -> float:
        level = self.magnitude
        if math.isinf(self.deviation):
            level = rng.random() * self.magnitude
        elif self.deviation > 0:
            level = rng.normal(self.magnitude, self.deviation)
        return max(0.0, min(self.maximum, level))

    def __call__(self, image: Image.Image, canvas: Canvas, rng: np.random.Generator) -> Image.Image:
        if self.probability < 1 and rng.random() > self.probability:
            return image
        level = self.level(rng)
        value = LEVELS[self.name](level, rng) if self.name in LEVELS else None
        return OPERATIONS[re.sub("(Increasing|Original)$", "", self.name)](image, value, canvas, rng)


@dataclasses.dataclass(frozen=True)
class RandAugment:
    """`layers` operations drawn from a list (arXiv 1909.13719), with timm's extensions.

    With weights they are drawn without repetition, as timm does.
    """

    operations: Tuple[Operation, ...]
    layers: int
    weights: Optional[Tuple[float, ...]]
    canvas: Canvas

    def __call__(self, image: Image.Image, rng: np.random.Generator,
                 moves: Optional[geometry.Moves] = None) -> Image.Image:
        canvas = self.canvas.leaving(moves)
        for index in rng.choice(len(self.operations), self.layers, self.weights is None, self.weights):
            image = self.operations[index](image, canvas, rng)
        return image


@dataclasses.dataclass(frozen=True)
class AutoAugment:
    """One of the pairs of operations, drawn evenly."""

    policy: Tuple[Tuple[Operation, ...], ...]
    canvas: Canvas

    def __call__(self, image: Image.Image, rng: np.random.Generator,
                 moves: Optional[geometry.Moves] = None) -> Image.Image:
        canvas = self.canvas.leaving(moves)
        for operation in self.policy[int(rng.integers(len(self.policy)))]:
            image = operation(image, canvas, rng)
        return image


#: TrivialAugment's wide space (arXiv 2103.10158, table 8): argument at bin 0..30 of 30, and whether its sign is drawn.
TRIVIAL: Tuple[Tuple[str, Optional[Callable], bool], ...] = (
    ("Identity", None, False), ("AutoContrast", None, False), ("Equalize", None, False),
    ("ShearX", lambda share: 0.99 * share, True), ("ShearY", lambda share: 0.99 * share, True),
    ("TranslateX", lambda share: 32 * share, True), ("TranslateY", lambda share: 32 * share, True),
    ("Rotate", lambda share: 135 * share, True),
    ("Brightness", lambda share: 0.99 * share, True), ("Color", lambda share: 0.99 * share, True),
    ("Contrast", lambda share: 0.99 * share, True), ("Sharpness", lambda share: 0.99 * share, True),
    ("Posterize", lambda share: 8 - round(6 * share), False), ("Solarize", lambda share: 255 * (1 - share), False),
)


@dataclasses.dataclass(frozen=True)
class TrivialAugment:
    """One operation at one of 31 strengths, both drawn evenly; moved pixels are taken from the nearest one."""

    canvas: Canvas

    def __call__(self, image: Image.Image, rng: np.random.Generator,
                 moves: Optional[geometry.Moves] = None) -> Image.Image:
        name, argument, signed = TRIVIAL[int(rng.integers(len(TRIVIAL)))]
        strength = int(rng.integers(31)) / 30
        value = argument(strength) if argument else None
        if signed:
            value = _signed(value, rng)
        if name in ("Brightness", "Color", "Contrast", "Sharpness"):
            value = 1 + value
        return OPERATIONS[name](image, value, self.canvas.leaving(moves), rng)


@functools.lru_cache(maxsize=None)
def parse_auto_augment(text: str, canvas: Canvas = Canvas()) -> Callable:
    """The policy that a recipe names: (Pillow image, generator) -> image; with a list as a third argument, the maps of
    what moved its pixels are left there (see `data.geometry`).

    Args:
        text: `rand-m9-mstd0.5-inc1` and the like, `original` or `autoaugment` (with `-mstd0.5`), or `trivial`.
            m: magnitude, 0 to 10 (10). n: operations per image (2). p: probability of each (0.5). mstd: deviation of
            the magnitude (0); above 100 it is drawn evenly from 0 to m. mmax: its upper bound (10). inc1: every
            operation grows severer with the magnitude. w0: weighted choice, mostly geometry.
        canvas: fill colour and resampling.

    Raises:
        ValueError: an unknown policy or part of it (see `config.policy.parse_policy`).
    """
    kind, values = parse_policy(text)
    deviation = values.get("mstd", 0.0)
    deviation = math.inf if deviation > 100 else deviation
    if kind == "rand":
        names: List[str] = [f"{name}Increasing" if values.get("inc") and name in INCREASING else name
                            for name in RAND_OPERATIONS]
        operations = tuple(Operation(name, values.get("p", 0.5), values.get("m", 10.0), deviation,
                                     values.get("mmax", 10.0)) for name in names)
        weights = tuple(np.array(RAND_WEIGHTS) / np.sum(RAND_WEIGHTS)) if "w" in values else None
        return RandAugment(operations, values.get("n", 2), weights, canvas)
    if kind == "original":
        return AutoAugment(tuple(tuple(Operation(*step, deviation=deviation) for step in pair)
                                 for pair in IMAGENET_POLICY), canvas)
    return TrivialAugment(dataclasses.replace(canvas, fill=(0,) * len(canvas.fill), filters=(NEAREST,)))
