"""What a recipe says of detection beside the sections that all tasks have."""
import dataclasses
from typing import Any, List, Mapping, Optional

from ghost_ms.models.coders import Limits
from ghost_ms.tasks.arguments import arguments_of, is_number, is_range, require


@dataclasses.dataclass(frozen=True)
class DetectionArgs:
    """`task.args` of detection.

    Args:
        scale: smallest and largest factor that a training image is enlarged by, drawn evenly; at 1 the whole image
            fits the network's input. Where it is larger than the input a part of it is shown, where it is smaller the
            mean colour surrounds it.
        crop: probability that a training image is cut to a part that overlaps its objects by a random least IoU (SSD).
        mosaic: probability that a training image is composed of four.
        min_visible: an object of which a training image shows less than this share is left out.
        sizes: heights and widths of training batches, each no larger than the input, such as [[256, 256], [320, 320]];
            one of them is drawn for every batch, which is brought to it. Each is compiled once. By default the
            input's own.
        max_objects: rows for the boxes of a training image; of more objects the largest are kept.
        box_weight: weight of the loss of the boxes.
        score_threshold: least score of a detection that is measured; by default the detector's own, which is low.
        show_threshold: least score of a detection that `ghost-ms infer` tells and draws, where no thresholds of the
            classes were chosen (`ghost-ms eval --choose-threshold`).
        iou_threshold: of two detections of one class that overlap by more than this the weaker is dropped; by default
            the detector's own.
        max_detections: most of an image; by default 100, as COCO measures.
        candidates: most scores that non-maximum suppression looks at, of every class (ssdlite) or level; by default the
            detector's own.
        by_class, levels: how candidates are counted; an exported file says so, a recipe leaves them out.
    """

    scale: List[float] = dataclasses.field(default_factory=lambda: [1.0, 1.0])
    crop: float = 0.0
    mosaic: float = 0.0
    min_visible: float = 0.25
    sizes: List[List[int]] = dataclasses.field(default_factory=list)
    max_objects: int = 100
    box_weight: float = 1.0
    score_threshold: Optional[float] = None
    show_threshold: float = 0.3
    iou_threshold: Optional[float] = None
    max_detections: int = 100
    candidates: Optional[int] = None
    by_class: Optional[bool] = None
    levels: Optional[List[int]] = None

    @classmethod
    def of(cls, values: Optional[Mapping[str, Any]]) -> "DetectionArgs":
        """From plain values; ValueError for a name that is not known, or a value that cannot be."""
        args = arguments_of(cls, values, "detection")
        require(is_range(args.scale, 0.05, 20), args, "scale", "two rising numbers from 0.05 to 20")
        for name in ("crop", "mosaic", "min_visible", "show_threshold"):
            value = getattr(args, name)
            require(is_number(value) and 0 <= value <= 1, args, name, "from 0 to 1")
        require(isinstance(args.sizes, (list, tuple)) and len(args.sizes) <= 20 and all(
            isinstance(size, (list, tuple)) and len(size) == 2 and all(type(side) is int and side > 0 for side in size)
            for size in args.sizes), args, "sizes", "a list of pairs of pixels, such as [[256, 256], [320, 320]]")
        require(is_number(args.box_weight) and 0 <= args.box_weight <= 1000, args, "box_weight", "from 0 to 1000")
        for name in ("score_threshold", "iou_threshold"):
            value = getattr(args, name)
            require(value is None or is_number(value) and 0 <= value <= 1, args, name, "from 0 to 1, or left out")
        for name, most in (("max_objects", 1000), ("max_detections", 10000)):
            value = getattr(args, name)
            require(type(value) is int and 1 <= value <= most, args, name, f"a whole number from 1 to {most}")
        require(args.candidates is None or type(args.candidates) is int and 1 <= args.candidates <= 100000, args,
                "candidates", "a whole number from 1 to 100000, or left out")
        require(args.by_class is None or isinstance(args.by_class, bool), args, "by_class", "true, false or left out")
        require(args.levels is None or isinstance(args.levels, (list, tuple)) and 0 < len(args.levels) <= 16 and all(
            type(rows) is int and 0 < rows < 1 << 31 for rows in args.levels), args, "levels",
                "a list of 1 to 16 numbers of rows, or left out")
        return args

    def limits(self, usual: Optional[Limits]) -> Limits:
        """Which boxes are detections.

        Args:
            usual: the detector's own; None where these arguments are of a file and say all.
        """
        usual = usual or Limits(0.05, 0.5, 100, 1000)
        given = {"score": self.score_threshold, "iou": self.iou_threshold, "candidates": self.candidates,
                 "by_class": self.by_class, "detections": self.max_detections}
        return usual._replace(**{key: value for key, value in given.items() if value is not None})
