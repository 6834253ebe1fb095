"""Preprocessing: one description for training, evaluation, inference and what export writes beside a file."""
import dataclasses
import io
import re
from typing import Sequence, Tuple, Union

import numpy as np
from PIL import Image, UnidentifiedImageError

from ghost_ms.config import AugmentConfig, DataConfig
from ghost_ms.models.registry import ModelCard

FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
#: Endings that count as images; a stray text file among them is no image.
EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".JPG", ".JPEG", ".PNG", ".BMP", ".TIF", ".TIFF")


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """From an image file to the network's input.

    Args:
        input_size: (height, width) in pixels.
        channels: 3 (RGB) or 1 (grey).
        mean, std: per channel, for images scaled to 0..1.
        crop_ratio: the image is resized until it covers `input_size / crop_ratio`, then its centre is cropped.
        interpolation: 'bilinear' or 'bicubic', antialiased.
    """

    input_size: Tuple[int, int]
    channels: int
    mean: Tuple[float, ...]
    std: Tuple[float, ...]
    crop_ratio: float
    interpolation: str

    def __call__(self, image: Union[Image.Image, np.ndarray, bytes]) -> np.ndarray:
        """An encoded file's bytes, a Pillow image, or uint8 (H, W, C) to float32 (channels, height, width)."""
        return normalize(np.asarray(self.resize(to_pillow(image, self.channels))), self.mean, self.std)

    def resize(self, image: Image.Image) -> Image.Image:
        """The resized central crop, still a picture."""
        height, width = self.input_size
        if image.size == (width, height) and self.crop_ratio == 1:
            return image
        cover_h, cover_w = int(height / self.crop_ratio), int(width / self.crop_ratio)
        # As torchvision's Resize: the side that binds becomes exact, the other one is rounded down.
        if image.width * cover_h >= image.height * cover_w:
            size = (int(cover_h * image.width / image.height), cover_h)
        else:
            size = (cover_w, int(cover_w * image.height / image.width))
        image = image.resize(size, FILTERS[self.interpolation])
        left, top = round((image.width - width) / 2), round((image.height - height) / 2)
        return image.crop((left, top, left + width, top + height))


def preprocessing_of(card: ModelCard, data: DataConfig, channels: int) -> Preprocessing:
    """The card's preprocessing, overridden by what the recipe sets.

    Raises:
        ValueError: `mean` or `std` of the recipe does not have one value a channel.
    """
    def per_channel(key: str, published: Sequence[float], given) -> Tuple[float, ...]:
        if given is None:
            return tuple(published) if channels == len(published) else (float(np.mean(published)),) * channels
        if len(given) != channels:
            raise ValueError(f"data.{key} has {len(given)} values and the images have {channels} channels")
        return tuple(given)

    crop_ratio = data.crop_ratio or card.crop_ratio
    if not 0 < crop_ratio <= 1:
        raise ValueError(f"data.crop_ratio must lie above 0 and at most be 1, not {crop_ratio}")
    return Preprocessing(tuple(data.input_size or card.input_size), channels,
                         per_channel("mean", card.mean, data.mean), per_channel("std", card.std, data.std),
                         crop_ratio, data.interpolation or card.interpolation)


def to_pillow(image: Union[Image.Image, np.ndarray, bytes], channels: int) -> Image.Image:
    """Decode and bring to RGB or grey; ValueError for what is not an image."""
    if isinstance(image, np.ndarray) and image.ndim == 1:
        image = image.tobytes()
    if isinstance(image, bytes):
        try:
            image = Image.open(io.BytesIO(image))
            image.load()
        except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            reason = re.sub(r" <_io\.BytesIO object at \w+>", "", str(error))
            raise ValueError(f"not a readable image ({reason})") from None
    elif isinstance(image, np.ndarray):
        image = Image.fromarray(image[:, :, 0] if image.shape[-1] == 1 else image)
    return image.convert("L" if channels == 1 else "RGB")


def normalize(image: np.ndarray, mean: Sequence[float], std: Sequence[float]) -> np.ndarray:
    """uint8 (H, W) or (H, W, C) to float32 (C, H, W), normalised."""
    image = image.reshape(image.shape[0], image.shape[1], -1).astype(np.float32) / 255
    image = (image - np.asarray(mean, np.float32)) / np.asarray(std, np.float32)
    return np.ascontiguousarray(image.transpose(2, 0, 1))


def training_operations(spec: Preprocessing, augment: AugmentConfig, encoded: bool, channels: int) -> list:
    """Operations of `mindspore.dataset` that augment and normalise one training image.

    Encoded images are cropped at random by area and aspect ratio; arrays (uint8 H, W, channels) are padded and cropped.
    """
    from mindspore.dataset import vision

    interpolation = {"bilinear": vision.Inter.BILINEAR, "bicubic": vision.Inter.BICUBIC}[spec.interpolation]
    if encoded:
        operations = [vision.RandomCropDecodeResize(spec.input_size, tuple(augment.scale), tuple(augment.ratio),
                                                    interpolation)]
    else:
        operations = [vision.Resize(spec.input_size, interpolation)]
        if augment.crop_padding:
            operations.append(vision.RandomCrop(spec.input_size, augment.crop_padding))
    if spec.channels != channels:
        operations.append(_grey if spec.channels == 1 else _colour)
    if augment.horizontal_flip:
        operations.append(vision.RandomHorizontalFlip(augment.horizontal_flip))
    return operations + [vision.Normalize([255 * m for m in spec.mean], [255 * s for s in spec.std]), vision.HWC2CHW()]


def _grey(image: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(image).convert("L"))[:, :, None]


def _colour(image: np.ndarray) -> np.ndarray:
    return np.repeat(image, 3, axis=2)
