"""One split of a data set: what its images are called and labelled, and how one is read."""
import dataclasses
import os
from typing import Any, Callable, List, Optional, Sequence, Union

import numpy as np

from ghost_ms.core.text import printable


@dataclasses.dataclass
class Dataset:
    """One split of a data set. It reads undecoded or raw images; order and augmentation are the loader's.

    Args:
        classes: name of each label, in the order of the labels.
        labels: int32 (images,), the class of each image; or, where an image may have several labels or none, uint8
            (images, classes), 1 for those that it has.
        channels: 3 or 1.
        encoded: whether an image is a file's bytes rather than uint8 (H, W, C).
        read: number of a sample -> its image, in that form; OSError for a file that cannot be read.
        paths: the files, in the order of the samples; empty for data that lies in memory.
        folder: that the paths begin with.
        notes: sentences to be said once at the start, such as on files that were passed over.
        target: number of a sample -> what goes with the image where that is more than a label, such as a map of labels,
            uint8 (H, W), or `data.boxes.Objects`; the labels then say nothing. ValueError names a file that is none.
        partners: the files that the targets come from.
        fault: number of a sample -> why image and target do not belong together; None where they do.
    """

    classes: List[str]
    labels: np.ndarray
    channels: int
    encoded: bool
    read: Callable[[int], Union[bytes, np.ndarray]]
    paths: Sequence[str] = ()
    folder: str = ""
    notes: List[str] = dataclasses.field(default_factory=list)
    target: Optional[Callable[[int], Any]] = None
    partners: Sequence[str] = ()
    fault: Optional[Callable[[int], Optional[str]]] = None

    @property
    def size(self) -> int:
        return len(self.labels)

    @property
    def multi_label(self) -> bool:
        """Whether an image may have several labels or none."""
        return self.labels.ndim == 2

    def name(self, sample: int) -> str:
        """The file of a sample, safe to print, or its number where the data lies in memory."""
        return printable(self.paths[sample]) if self.paths else f"image {sample}"

    def key(self, sample: int) -> str:
        """What tells a sample from the others wherever the data set lies: its path in there, or its number."""
        return self.paths[sample][len(self.folder):].lstrip(os.sep) if self.paths else str(sample)

    def counts(self) -> np.ndarray:
        """Images of each class, int64 (classes,); one with several labels counts for each of them."""
        if self.multi_label:
            return self.labels.sum(0, dtype=np.int64)
        return np.bincount(self.labels, minlength=len(self.classes))

    def subset(self, samples: np.ndarray) -> "Dataset":
        """The same data set with these samples alone, int (n,)."""
        def among(function: Optional[Callable]) -> Optional[Callable]:
            return None if function is None else lambda sample: function(samples[sample])

        return dataclasses.replace(self, labels=self.labels[samples], read=among(self.read),
                                   paths=[self.paths[sample] for sample in samples] if self.paths else (),
                                   target=among(self.target), fault=among(self.fault))

    def as_sets(self) -> "Dataset":
        """The same images, each with a set of labels, of one where it had one."""
        if self.multi_label:
            return self
        labels = np.zeros((self.size, len(self.classes)), np.uint8)
        labels[np.arange(self.size), self.labels] = 1
        return dataclasses.replace(self, labels=labels)

    def relabelled(self, places: Sequence[int], classes: Sequence[str]) -> "Dataset":
        """The same images with labels that count in the order of `classes`.

        Args:
            places: of each of this source's classes among `classes`.
        """
        if self.multi_label:
            labels = np.zeros((self.size, len(classes)), np.uint8)
            labels[:, list(places)] = self.labels
        else:
            labels = np.asarray(places, np.int32)[self.labels]
        return dataclasses.replace(self, classes=list(classes), labels=labels)
