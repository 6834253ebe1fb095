"""The section `data`: the images and how they are brought to the network."""
import dataclasses
from typing import Any, Dict, List, Optional, Union

from ghost_ms.config.checks import Size, at_least_one, height_and_width, one_of, share
from ghost_ms.core.plugins import HINT

DATASETS = ("image_folder", "label_file", "cifar10", "cifar100", "mnist", "fashion_mnist", "synthetic", "embedded")
#: Those of images with maps of labels.
MAP_DATASETS = ("image_masks", "voc", "ade20k", "cityscapes", "fashion_canvas")
#: Those of images with boxes.
BOX_DATASETS = ("coco", "voc", "yolo", "fashion_canvas")
#: Those whose classes the user may name.
NAMED_BY_USER = ("label_file", "image_folder", "image_masks", "voc", "coco", "yolo")
#: Those whose files of labels the user may name.
WITH_LABEL_FILES = ("label_file", "coco")
#: Those of packages of users, which `data.datasets.register` adds.
REGISTERED: Dict[str, Any] = {}


@dataclasses.dataclass
class DataConfig:
    """The data set, and how its images are preprocessed.

    Args:
        dataset: image_folder, label_file, cifar10, cifar100, mnist, fashion_mnist, synthetic or embedded; for
            segmentation image_masks, voc, ade20k, cityscapes or fashion_canvas; for detection coco, voc, yolo or
            fashion_canvas.
        root: folder of the data set; synthetic and embedded need none. image_folder holds train/CLASS/IMAGE and
            val/CLASS/IMAGE (also called validation or valid; where there is none, test or eval). image_masks holds
            train/images and train/masks, and the same of val; or images and masks, with data.val_share. yolo holds
            images/train, labels/train and the same of val.
        train_labels: of label_file the file that names the training images and their labels, .csv, .tsv, .txt or
            .json; its path and those in it are relative to data.root. Several labels of an image stand with | or ;
            between them. Of coco the annotation file, by default annotations/instances_train*.json.
        val_labels: the same for the images that a training evaluates on.
        test_labels: the same for those that only `ghost-ms eval --split test` looks at.
        classes: names of the classes in the order of the labels, or a file with one name per line (image_folder,
            label_file, coco and voc; image_masks and yolo need them); by default the folders, or the names in
            data.train_labels, in natural order (1, 2, 10), or the data set's own.
        val_share: share of the training images of every class that is held out to evaluate on, always the same ones,
            where the data set has no images for that; 0 for none.
        batch_size: images of a training step, on each device.
        eval_batch_size: images of an evaluation step.
        workers: threads that decode and augment; never more than the cores.
        input_size: height and width of the network's input, or one number for both; by default the model card's.
        mean: per-channel mean of images scaled to 0..1; by default the card's.
        std: per-channel deviation; by default the card's.
        crop_ratio: part of the resized short side that the central crop keeps; by default the card's.
        interpolation: bilinear or bicubic; by default the card's.
        orient: whether the EXIF orientation of image files is honoured, in training, evaluation and inference alike; by
            default it is, but for a checkpoint that was trained without.
        check: whether a training begins with a look at the headers of all image files, which it remembers; off for
            huge data on a network drive.
        max_corrupt_share: share of an epoch's training images that may be unreadable and are replaced by the next
            good ones; more stops the run. 0 allows none. An unreadable image of the test split always stops it.
        train_share: share of the training images of every class that is used, always the same ones.
        sampler: shuffle, or balanced: each class is drawn equally often in an epoch, which keeps its length, so that
            images of rare classes come several times and of frequent ones not all.
        synthetic_size: images of each split of the synthetic data set.
        synthetic_classes: classes of the synthetic data set.
    """

    dataset: str = "image_folder"
    root: Optional[str] = None
    train_labels: Optional[str] = None
    val_labels: Optional[str] = None
    test_labels: Optional[str] = None
    classes: Optional[Union[List[str], str]] = None
    val_share: float = 0.0
    batch_size: int = 128
    eval_batch_size: int = 128
    workers: int = 8
    input_size: Optional[Size] = None
    mean: Optional[List[float]] = None
    std: Optional[List[float]] = None
    crop_ratio: Optional[float] = None
    interpolation: Optional[str] = None
    orient: Optional[bool] = None
    check: bool = True
    max_corrupt_share: float = 0.01
    train_share: float = 1.0
    sampler: str = "shuffle"
    synthetic_size: int = 256
    synthetic_classes: int = 10

    def __post_init__(self):
        self.input_size = height_and_width("data.input_size", self.input_size)

    def validate(self) -> None:
        """ValueError for a value whose type is right and whose meaning is not."""
        known_sets = dict.fromkeys((*DATASETS, *MAP_DATASETS, *BOX_DATASETS, *REGISTERED))
        if self.dataset not in known_sets:
            known = ", ".join(known_sets)
            raise ValueError(f"data.dataset is '{self.dataset}'; known are {known} ({HINT})")
        one_of("data.sampler", self.sampler, ("shuffle", "balanced"))
        if self.interpolation is not None:
            one_of("data.interpolation", self.interpolation, ("bilinear", "bicubic"))
        at_least_one(**{f"data.{key}": getattr(self, key) for key in (
            "batch_size", "eval_batch_size", "workers", "synthetic_size", "synthetic_classes")})
        share("data.max_corrupt_share", self.max_corrupt_share)
        if not 0 < self.train_share <= 1:
            raise ValueError(f"data.train_share must be more than 0 and at most 1, not {self.train_share}")
        if not 0 <= self.val_share < 1:
            raise ValueError(f"data.val_share must be at least 0 and below 1, not {self.val_share}")
        self._validate_labels()
        if self.crop_ratio is not None and not 0 < self.crop_ratio <= 1:
            raise ValueError(f"data.crop_ratio must lie above 0 and at most be 1, not {self.crop_ratio}")
        if self.std is not None and min(self.std, default=0) <= 0:
            raise ValueError(f"data.std is {self.std}; images are divided by it, so each value must lie above 0")

    def _validate_labels(self) -> None:
        """ValueError for keys of label files and classes that the data set does not read."""
        for key in ("train_labels", "val_labels", "test_labels"):
            if getattr(self, key) is not None and self.dataset not in WITH_LABEL_FILES:
                raise ValueError(f"data.{key} needs data.dataset {' or '.join(WITH_LABEL_FILES)}, not {self.dataset}")
        if self.classes is not None and self.dataset not in NAMED_BY_USER:
            raise ValueError(f"data.classes is for {', '.join(NAMED_BY_USER)}; {self.dataset} knows its classes")
        if isinstance(self.classes, list):
            twice = next((name for name in self.classes if self.classes.count(name) > 1), None)
            if twice is not None or not self.classes or "" in self.classes:
                raise ValueError("data.classes is a list of names, each once" + (
                    f", and '{twice}' stands twice" if twice else ""))
