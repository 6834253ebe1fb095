"""What a recipe says of segmentation beside the sections that all tasks have."""
import dataclasses
from typing import Any, List, Mapping, Optional

from ghost_ms.tasks.arguments import arguments_of, is_number, is_range, require


@dataclasses.dataclass(frozen=True)
class SegmentationArgs:
    """`task.args` of segmentation.

    Args:
        scale: smallest and largest factor that a training image is enlarged by, drawn evenly; at 1 its short side is
            as long as the network input's.
        max_class_share: a training crop of which one class covers more than this share is drawn anew, up to ten times;
            1 takes every crop (PSPNet and mmsegmentation: 0.75).
        aux_weight: weight of the loss of an auxiliary head.
        flip: whether `ghost-ms eval` adds the logits of the mirrored image.
        slide: whether `ghost-ms eval` slides windows of the input's size over each image, whose short side is the
            input's, and measures at the image's own size; otherwise it measures whole images at the input's size.
        scales: with slide: sizes, relative to that, of which the logits are added, such as [0.75, 1.0, 1.25].
    """

    scale: List[float] = dataclasses.field(default_factory=lambda: [0.5, 2.0])
    max_class_share: float = 0.75
    aux_weight: float = 0.5
    flip: bool = False
    slide: bool = False
    scales: List[float] = dataclasses.field(default_factory=lambda: [1.0])

    @classmethod
    def of(cls, values: Optional[Mapping[str, Any]]) -> "SegmentationArgs":
        """From plain values; ValueError for a name that is not known, or a value that cannot be."""
        args = arguments_of(cls, values, "segmentation")
        require(is_range(args.scale, 0.05, 20), args, "scale", "two rising numbers from 0.05 to 20")
        require(is_number(args.max_class_share) and 0 < args.max_class_share <= 1, args, "max_class_share",
                "above 0 and at most 1")
        require(is_number(args.aux_weight) and 0 <= args.aux_weight <= 100, args, "aux_weight", "from 0 to 100")
        for name in ("flip", "slide"):
            require(isinstance(getattr(args, name), bool), args, name, "true or false")
        require(isinstance(args.scales, (list, tuple)) and 0 < len(args.scales) <= 20 and all(
            is_number(scale) and 0.05 <= scale <= 20 for scale in args.scales), args, "scales",
                "a list of numbers from 0.05 to 20")
        require(args.slide or list(args.scales) == [1], args, "scales", "[1.0], but with slide true")
        return args
