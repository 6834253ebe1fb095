"""How labelled images become rows of batches, and what is done to whole batches."""
from typing import Any, Optional, Tuple

import numpy as np

from ghost_ms.config import Config
from ghost_ms.data.dataset import Dataset
from ghost_ms.data.loader import ERASING, MIXING, Draws
from ghost_ms.data.mixing import Mixing, RandomErasing, normalize_batch, set_targets
from ghost_ms.data.transforms import Preprocessing, TrainingTransform

Arrays = Tuple[np.ndarray, ...]


class TrainingTransforms:
    """Images, and labels int32 (B,) or, where mixup or cutmix is on or an image may have several labels, soft labels
    float32 (B, classes) that hold the label smoothing already.

    Images are bytes (B, H, W, C), which the training step normalises: a quarter of the traffic, and work that no core
    of the host has to do. Where they are erased or mixed, which needs normalised ones, they are float32 (B, C, H, W).
    """

    targets = ("label",)

    def __init__(self, config: Config, dataset: Dataset, preprocessing: Preprocessing):
        self.dataset, self.preprocessing = dataset, preprocessing
        self.transform = TrainingTransform(preprocessing, config.augment, dataset.encoded)
        self.erasing = RandomErasing(config.augment.random_erasing, config.augment.erasing_mode)
        self.smoothing = config.loss.label_smoothing
        #: Length of the network's logits.
        self.outputs = config.model.num_classes or len(dataset.classes)
        self.mixing = self._mixing(config)
        self.normalizes = bool(self.erasing.probability or self.mixing)

    def _mixing(self, config: Config) -> Optional[Mixing]:
        augment = config.augment
        if not (augment.mixup or augment.cutmix) or not augment.mix_probability:
            return None
        return Mixing(augment.mixup, augment.cutmix, augment.mix_probability, augment.mix_switch_probability,
                      self.outputs, self.smoothing)

    def sample(self, picture: Any, sample: int, rng: Optional[np.random.Generator]) -> Arrays:
        return self.transform(picture, rng), self.dataset.labels[sample]

    def collate(self, pixels: np.ndarray, targets: Arrays, draws: Optional[Draws]) -> Tuple[np.ndarray, Arrays]:
        labels, = targets
        if self.normalizes:
            pixels = normalize_batch(pixels, self.preprocessing.mean, self.preprocessing.std)
        if self.erasing.probability:
            for index, image in enumerate(pixels):
                self.erasing(image, draws.image(index, ERASING))
        if self.dataset.multi_label:
            labels = set_targets(labels, self.outputs, self.smoothing)
        if self.mixing:
            labels = self.mixing(pixels, labels, draws.batch(MIXING))
        return pixels, (labels,)


class EvaluationTransforms:
    """Images float32 (B, C, H, W), normalised, and labels int32 (B,); where an image may have several, uint8
    (B, classes)."""

    targets = ("label",)

    def __init__(self, dataset: Dataset, preprocessing: Preprocessing):
        self.dataset, self.preprocessing = dataset, preprocessing

    def sample(self, picture: Any, sample: int, rng: Optional[np.random.Generator]) -> Arrays:
        spec = self.preprocessing
        return np.asarray(spec.resize(picture)).reshape(*spec.input_size, spec.channels), self.dataset.labels[sample]

    def collate(self, pixels: np.ndarray, targets: Arrays, draws: Optional[Draws]) -> Tuple[np.ndarray, Arrays]:
        return normalize_batch(pixels, self.preprocessing.mean, self.preprocessing.std), targets
