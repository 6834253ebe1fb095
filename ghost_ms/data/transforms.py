"""Preprocessing: one description for training, evaluation, inference and what export writes beside a file."""
import dataclasses
import math
import numbers
from typing import Any, Dict, Optional, Sequence, Tuple, Union

import numpy as np
from PIL import Image, ImageEnhance

from ghost_ms.config import AugmentConfig, DataConfig
from ghost_ms.core.text import printable
from ghost_ms.data import decode as decoding
from ghost_ms.data import geometry
from ghost_ms.data.auto_augment import Canvas, parse_auto_augment
from ghost_ms.data.decode import to_pillow
from ghost_ms.models.registry import ModelCard

FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
#: Longest side in pixels that an image is brought to before its centre is cropped, smallest std, largest mean and std:
#: what lies beyond is a mistake or meant to harm.
LONGEST_SIDE, SMALLEST_STD, LARGEST_SCALE = 8192, 1e-6, 1e6


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """From an image file to the network's input.

    Args:
        input_size: (height, width) in pixels.
        channels: 3 (RGB) or 1 (grey).
        mean, std: per channel, for images scaled to 0..1.
        crop_ratio: the image is resized until it covers `input_size / crop_ratio`, then its centre is cropped.
        interpolation: 'bilinear' or 'bicubic', antialiased.
        orient: whether a file's EXIF orientation is honoured; what was written before there was this field is without.
        fit: 'crop', as above; or 'letterbox': the whole image keeps its shape and is put into the middle of the input,
            with the mean colour around it; `crop_ratio` is then 1.

    Raises:
        ValueError: a value that cannot be; half a sentence that names it.
    """

    input_size: Tuple[int, int]
    channels: int
    mean: Tuple[float, ...]
    std: Tuple[float, ...]
    crop_ratio: float
    interpolation: str
    orient: bool = False
    fit: str = "crop"

    def __post_init__(self):
        def require(possible: bool, field: str, wanted: str) -> None:
            if not possible:
                value = printable(getattr(self, field))[:100]
                raise ValueError(f"preprocessing.{field} is {value}; it has to be {wanted}")

        require(_are([self.channels], numbers.Integral, 1) and self.channels in (1, 3), "channels", "1 or 3")
        each = f"per channel ({self.channels})"
        require(_are(self.mean, numbers.Real, self.channels) and max(map(abs, self.mean)) <= LARGEST_SCALE, "mean",
                f"one finite number {each}")
        require(_are(self.std, numbers.Real, self.channels) and min(self.std) >= SMALLEST_STD
                and max(self.std) <= LARGEST_SCALE, "std", f"one number above 0 {each}")
        require(_are([self.crop_ratio], numbers.Real, 1) and 0 < self.crop_ratio <= 1, "crop_ratio",
                "above 0 and at most 1")
        require(_are(self.input_size, numbers.Integral, 2) and min(self.input_size) > 0
                and max(self.input_size) / self.crop_ratio <= LONGEST_SIDE, "input_size",
                f"height and width in pixels, which divided by crop_ratio are at most {LONGEST_SIDE}")
        require(isinstance(self.interpolation, str) and self.interpolation in FILTERS, "interpolation",
                " or ".join(FILTERS))
        require(isinstance(self.orient, bool), "orient", "true or false")
        require(self.fit == "crop" or self.fit == "letterbox" and self.crop_ratio == 1, "fit",
                "crop, or letterbox with crop_ratio 1")

    @classmethod
    def from_dict(cls, values: Any) -> "Preprocessing":
        """As a checkpoint or a sidecar has it: lists for tuples; what has a default may be absent.

        Raises:
            ValueError: a field is absent, not known or cannot be; half a sentence that names it.
        """
        if not isinstance(values, dict):
            raise ValueError("preprocessing is no list of fields")
        fields = {field.name: field for field in dataclasses.fields(cls)}
        for key in values:
            if key not in fields:
                raise ValueError(f"preprocessing holds {printable(key)[:100]!r}, which this version does not know")
        for key, field in fields.items():
            if key not in values and field.default is dataclasses.MISSING:
                raise ValueError(f"preprocessing lacks {key}")
        return cls(**{key: tuple(value) if isinstance(value, list) else value for key, value in values.items()})

    def as_dict(self) -> Dict[str, Any]:
        """Plain values for `from_dict`. Earlier versions refuse a field that they do not know, and images that are
        cropped have no need of `fit`."""
        values = dataclasses.asdict(self)
        if self.fit == "crop":
            del values["fit"]
        return values

    @property
    def colour(self) -> Tuple[int, ...]:
        """The mean as a colour, a value from 0 to 255 for each channel."""
        return tuple(min(255, max(0, round(255 * mean))) for mean in self.mean)

    def __call__(self, image: Union[Image.Image, np.ndarray, bytes]) -> np.ndarray:
        """An encoded file's bytes, a Pillow image, or uint8 (H, W, C) to float32 (channels, height, width)."""
        return normalize(np.asarray(self.picture(image)), self.mean, self.std)

    def picture(self, image: Union[Image.Image, np.ndarray, bytes]) -> Image.Image:
        """The same before it is normalised: RGB or grey, upright, resized and cropped; ValueError for what is no image.
        """
        return self.resize(to_pillow(image, self.channels, self.orient))

    def frame(self, size: Tuple[int, int]) -> geometry.Frame:
        """Where an image of (width, height) lies in the input of a network that sees whole images."""
        return geometry.Frame.around(size, self.input_size[::-1])

    def resize(self, image: Image.Image, moves: Optional[geometry.Moves] = None) -> Image.Image:
        """The resized central crop, or the whole in a frame, still a picture.

        Args:
            moves: where the maps of what moved its pixels are left (see `data.geometry`).
        """
        height, width = self.input_size
        if image.size == (width, height) and self.crop_ratio == 1:
            return image
        if self.fit == "letterbox":
            framed, move = geometry.letterbox(image, (width, height), FILTERS[self.interpolation], self.colour)
            if moves is not None:
                moves.append(move)
            return framed
        cover_h, cover_w = int(height / self.crop_ratio), int(width / self.crop_ratio)
        # As torchvision's Resize: the side that binds becomes exact, the other one is rounded down.
        if image.width * cover_h >= image.height * cover_w:
            size = (int(cover_h * image.width / image.height), cover_h)
        else:
            size = (cover_w, int(cover_w * image.height / image.width))
        left, top = round((size[0] - width) / 2), round((size[1] - height) / 2)
        if moves is not None:
            moves += [geometry.resized(image.size, size), geometry.shifted(-left, -top)]
        if size[0] * size[1] > decoding.MAX_PIXELS:
            box = _centre(image.size, size, (width, height))
            return image.resize((width, height), FILTERS[self.interpolation], box)
        image = image.resize(size, FILTERS[self.interpolation])
        return image.crop((left, top, left + width, top + height))


def _are(values: Any, kind: type, count: int) -> bool:
    """Whether these are that many finite numbers of a kind."""
    return isinstance(values, (tuple, list)) and len(values) == count and all(
        isinstance(value, kind) and not isinstance(value, bool) and abs(value) < math.inf for value in values)
def _centre(size: Tuple[int, int], resized: Tuple[int, int], kept: Tuple[int, int]) -> Tuple[float, ...]:
    """The part of an image of which resizing makes the centre of the resized whole: a strip of one pixel's height need
    not become gigabytes before all but its middle is thrown away.

    Args:
        size, resized, kept: (width, height) of the image, of the whole and of its central part.
    """
    starts = [round((whole - part) / 2) for whole, part in zip(resized, kept)]
    return (*(start * old / new for start, old, new in zip(starts, size, resized)),
            *(min(old, (start + part) * old / new) for start, part, old, new in zip(starts, kept, size, resized)))


def preprocessing_of(card: ModelCard, data: DataConfig, channels: int, whole: bool = False) -> Preprocessing:
    """The card's preprocessing, overridden by what the recipe sets.

    Args:
        whole: whether the network sees whole images, since it says where something is, and not a crop.

    Raises:
        ValueError: `mean` or `std` of the recipe does not have one value per channel; or it crops whole images.
    """
    whole = whole or card.task != "classification"

    def per_channel(key: str, published: Sequence[float], given) -> Tuple[float, ...]:
        if given is None:
            return tuple(published) if channels == len(published) else (float(np.mean(published)),) * channels
        if len(given) != channels:
            raise ValueError(f"data.{key} has {len(given)} values and the images have {channels} channels")
        return tuple(given)

    if whole and data.crop_ratio not in (None, 1):
        raise ValueError(f"data.crop_ratio is {data.crop_ratio}, and a network that says where something "
                         "is sees whole images; leave it out")
    crop_ratio = 1.0 if whole else data.crop_ratio or card.crop_ratio
    if not 0 < crop_ratio <= 1:
        raise ValueError(f"data.crop_ratio must lie above 0 and at most be 1, not {crop_ratio}")
    return Preprocessing(tuple(data.input_size or card.input_size), channels,
                         per_channel("mean", card.mean, data.mean), per_channel("std", card.std, data.std),
                         crop_ratio, data.interpolation or card.interpolation,
                         data.orient is not False, "letterbox" if whole else "crop")


def normalize(image: np.ndarray, mean: Sequence[float], std: Sequence[float]) -> np.ndarray:
    """uint8 (H, W) or (H, W, C) to float32 (C, H, W), normalised."""
    image = image.reshape(image.shape[0], image.shape[1], -1).astype(np.float32) / 255
    image = (image - np.asarray(mean, np.float32)) / np.asarray(std, np.float32)
    return np.ascontiguousarray(image.transpose(2, 0, 1))


class TrainingTransform:
    """Random changes of one training image, before it is normalised.

    Encoded images are cropped at random by area and aspect ratio; arrays (uint8 H, W, channels) are padded and cropped.
    Then come mirroring and either an automatic policy or colour jitter, in timm's order.

    Everything is done by Pillow, as in the recipes that are reproduced: MindSpore's operations resize without
    antialiasing and draw from a stream of their worker thread, whereas here a result is a function of the generator
    that is passed.
    """

    def __init__(self, spec: Preprocessing, augment: AugmentConfig, encoded: bool):
        self.spec, self.augment, self.encoded = spec, augment, encoded
        chosen = augment.interpolation or spec.interpolation
        self.filters = tuple(FILTERS.values()) if chosen == "random" else (FILTERS[chosen],)
        self.policy = parse_auto_augment(augment.auto_augment, Canvas(spec.colour, self.filters)) \
            if augment.auto_augment else None
        jitter = augment.color_jitter
        self.jitter = (jitter,) * 3 if isinstance(jitter, (int, float)) else tuple(jitter)

    def __call__(self, image: Union[Image.Image, np.ndarray], rng: np.random.Generator,
                 moves: Optional[geometry.Moves] = None) -> np.ndarray:
        """A Pillow image or uint8 (H, W, C) to uint8 (height, width, channels).

        Args:
            moves: where the maps of what moved its pixels are left, in their order (see `data.geometry`).
        """
        picture = self._crop(image, rng, moves)
        if self.augment.horizontal_flip and rng.random() < self.augment.horizontal_flip:
            picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
            if moves is not None:
                moves.append(geometry.mirrored(picture.width))
        if self.policy:
            picture = self.policy(picture, rng, moves)
        elif any(self.jitter):
            picture = color_jitter(picture, self.jitter, rng)
        return np.asarray(picture).reshape(*self.spec.input_size, self.spec.channels)

    def _crop(self, image: Union[Image.Image, np.ndarray], rng: np.random.Generator,
              moves: Optional[geometry.Moves]) -> Image.Image:
        height, width = self.spec.input_size
        channels = self.spec.channels
        if self.encoded:
            resample = self.filters[int(rng.integers(len(self.filters)))] if len(self.filters) > 1 else self.filters[0]
            # An array is cut before it becomes a picture, which would copy what is thrown away.
            array = isinstance(image, np.ndarray)
            box = crop_box(image.shape[1::-1] if array else image.size, self.augment.scale, self.augment.ratio, rng)
            left, top, right, bottom = box
            if moves is not None:
                moves += [geometry.shifted(-left, -top),
                          geometry.resized((right - left, bottom - top), (width, height))]
            cut = image[top:bottom, left:right] if array else image.crop(box)  # type: ignore[union-attr]
            return to_pillow(cut, channels).resize((width, height), resample)
        picture = to_pillow(image, channels)
        if picture.size != (width, height):
            if moves is not None:
                moves.append(geometry.resized(picture.size, (width, height)))
            picture = picture.resize((width, height), self.filters[0])
        if self.augment.crop_padding:
            # Pillow's crop fills what lies outside of the picture with black.
            left, top = rng.integers(-self.augment.crop_padding, self.augment.crop_padding + 1, 2).tolist()
            picture = picture.crop((left, top, left + width, top + height))
            if moves is not None:
                moves.append(geometry.shifted(-left, -top))
        return picture


def crop_box(size: Tuple[int, int], scale: Sequence[float], ratio: Sequence[float],
             rng: np.random.Generator) -> Tuple[int, int, int, int]:
    """(left, top, right, bottom) of a crop of random area and aspect ratio (arXiv 1409.4842, section 6).

    As in torchvision: ten attempts, then the largest central crop whose aspect ratio is allowed.

    Args:
        size: width and height of the image.
        scale: smallest and largest share of its area.
        ratio: smallest and largest width over height, drawn evenly in the logarithm.
    """
    width, height = size
    low, high = math.log(ratio[0]), math.log(ratio[1])
    for _ in range(10):
        area = width * height * (scale[0] + (scale[1] - scale[0]) * rng.random())
        aspect = math.exp(low + (high - low) * rng.random())
        columns, rows = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < columns <= width and 0 < rows <= height:
            top, left = int(rng.integers(height - rows + 1)), int(rng.integers(width - columns + 1))
            return left, top, left + columns, top + rows
    columns = max(1, min(width, round(height * ratio[1])))
    rows = max(1, min(height, round(width / ratio[0])))
    left, top = (width - columns) // 2, (height - rows) // 2
    return left, top, left + columns, top + rows


def color_jitter(image: Image.Image, strength: Sequence[float], rng: np.random.Generator) -> Image.Image:
    """Random brightness, contrast, saturation and, with a fourth value, hue, in random order, as torchvision does.

    Args:
        strength: factors are drawn from [max(0, 1 - s), 1 + s]; the hue is shifted by [-s, s] of the colour circle.
    """
    enhancers = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)
    for index in rng.permutation(len(strength)).tolist():
        if not strength[index]:
            continue
        if index < 3:
            factor = rng.uniform(max(0.0, 1 - strength[index]), 1 + strength[index])
            image = enhancers[index](image).enhance(factor)
        elif image.mode == "RGB":
            shift = round(rng.uniform(-strength[index], strength[index]) * 255) % 256
            hue, saturation, value = image.convert("HSV").split()
            hue = hue.point([(level + shift) % 256 for level in range(256)])
            image = Image.merge("HSV", (hue, saturation, value)).convert("RGB")
    return image
