"""The section `augment`: random changes of the training images."""
import dataclasses
from typing import List, Optional, Tuple, Union

from ghost_ms.config.checks import one_of, share
from ghost_ms.config.policy import parse_policy


@dataclasses.dataclass
class AugmentConfig:
    """Data augmentation: random changes of the training images.

    Args:
        scale: smallest and largest share of the image's area that a random crop keeps (encoded images only).
        ratio: smallest and largest aspect ratio of that crop (encoded images only).
        crop_padding: pixels of zero padding before a random crop (array data sets such as CIFAR only).
        interpolation: bilinear, bicubic, or random (one of the two for each image); by default that of the evaluation.
        horizontal_flip: probability that an image is mirrored.
        auto_augment: rand-m9-mstd0.5-inc1 and the like (timm's grammar: m magnitude, n operations, p probability, mstd
            deviation and mmax bound of the magnitude, inc1 for rising severity, w0 for weighted choice), original or
            autoaugment for AutoAugment's ImageNet policy, or trivial.
        color_jitter: strength of random brightness, contrast and saturation; a list of three, or of four with the hue
            last, sets each. Instead of auto_augment.
        random_erasing: probability that a rectangle of an image is erased.
        erasing_mode: pixel for noise, const for the mean colour.
        mixup: alpha of mixup; 0 is off. Mixing makes the targets soft, with label smoothing in them.
        cutmix: alpha of cutmix; 0 is off.
        mix_probability: probability that a batch is mixed.
        mix_switch_probability: probability of cutmix rather than mixup, where both are on.
        repeated: times that an image appears in an epoch (repeated augmentation); an epoch keeps its length, and so
            shows only one image in so many.
    """

    scale: Tuple[float, float] = (0.08, 1.0)
    ratio: Tuple[float, float] = (0.75, 4 / 3)
    crop_padding: int = 0
    interpolation: Optional[str] = None
    horizontal_flip: float = 0.5
    auto_augment: Optional[str] = None
    color_jitter: Union[float, List[float]] = 0.0
    random_erasing: float = 0.0
    erasing_mode: str = "pixel"
    mixup: float = 0.0
    cutmix: float = 0.0
    mix_probability: float = 1.0
    mix_switch_probability: float = 0.5
    repeated: int = 1

    def validate(self) -> None:
        """ValueError for a value whose type is right and whose meaning is not."""
        for key in ("horizontal_flip", "random_erasing", "mix_probability", "mix_switch_probability"):
            share(f"augment.{key}", getattr(self, key))
        one_of("augment.erasing_mode", self.erasing_mode, ("pixel", "const"))
        if self.interpolation is not None:
            one_of("augment.interpolation", self.interpolation, ("bilinear", "bicubic", "random"))
        for key in ("crop_padding", "mixup", "cutmix"):
            if getattr(self, key) < 0:
                raise ValueError(f"augment.{key} must not be negative")
        if self.repeated < 1:
            raise ValueError("augment.repeated must be at least 1")
        if not 0 < self.scale[0] <= self.scale[1] <= 1:
            raise ValueError(f"augment.scale is {list(self.scale)}; it is two rising shares above 0, at most 1")
        if not 0 < self.ratio[0] <= self.ratio[1]:
            raise ValueError(f"augment.ratio is {list(self.ratio)}; it is two rising numbers above 0")
        jitter = self.color_jitter if isinstance(self.color_jitter, list) else [self.color_jitter] * 3
        if len(jitter) not in (3, 4) or min(jitter) < 0 or (len(jitter) == 4 and jitter[3] > 0.5):
            raise ValueError(f"augment.color_jitter is {self.color_jitter}; it is one strength, or a list of "
                             "brightness, contrast, saturation and perhaps hue (at most 0.5)")
        if self.auto_augment:
            parse_policy(self.auto_augment)
            if any(jitter):
                raise ValueError("augment.auto_augment and augment.color_jitter are alternatives; "
                                 "set augment.color_jitter to 0")
