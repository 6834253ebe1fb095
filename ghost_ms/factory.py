"""Networks by name, with released weights where they are asked for."""
from typing import Optional, Sequence, Tuple, Union

from ghost_ms.core.text import printable
from ghost_ms.models import build_model, model_card
from ghost_ms.models.backbone import Backbone
from ghost_ms.models.detector import DETECTORS, Detector, build_detector
from ghost_ms.models.registry import build, sized
from ghost_ms.models.segmenter import SEGMENTERS, Segmenter, build_segmenter, usual_stride
from ghost_ms.surgery.edits import apply_edits, edits_of

#: What the heads of segmenters take beside the arguments of the backbone.
SEGMENTER_ARGS = ("aux", "early_taps")


def create_model(name: str, *, pretrained: Union[bool, str] = False, input_size: Optional[Tuple[int, int]] = None,
                 classes: Optional[Sequence[str]] = None, **kwargs):
    """Build a registered variant, freshly initialised or with released weights.

    A file that this package wrote says what its network was built with. What is not given here is taken from it; what
    is given and would make the same weights compute something else is refused.

    Args:
        name: a name from `list_models()`, or NAME.TAG for other released weights and their preprocessing.
        pretrained: True for the released weights (fetched once, then kept in the cache), or a path of a PyTorch,
            safetensors or MindSpore file. The classifier of another class count is left fresh, with a warning; the
            first convolution is summed or repeated for another number of channels, with a warning.
        input_size: (height, width) the network will see. Networks with position tables are built for it; purely
            convolutional ones take any size as they are and need nothing.
        classes: names of the classes it is to tell, in their order. A file that names as many but other classes
            leaves the classifier fresh; the same names in another order have its rows exchanged; both with a warning.
        kwargs: `num_classes` (0 for no classifier: the network gives pooled features), `in_channels`, `drop_rate`,
            `drop_path_rate`; `output_stride` (8, 16 or 32: of the last map, by dilation), `norm_eps` and
            `norm_momentum` (of every BatchNorm; MindSpore's momentum, 0.9 keeps nine tenths); and what the family adds.

    Returns:
        the network; its `card` says what is published, its `arguments` what it was built with.

    Raises:
        ValueError: unknown name, with the nearest ones; no weights are released, or they do not fit, or are of
            another network than asked for.
        OSError: the weights cannot be fetched or opened.
        TypeError: an argument that the family does not have.
    """
    if not pretrained:
        return build_model(name, input_size=input_size, **kwargs)
    if kwargs.get("num_classes") == 0:
        # The file's own classifier is read, so that all of its entries are accounted for, and then left out.
        given = {key: value for key, value in kwargs.items() if key != "num_classes"}
        net = create_model(name, pretrained=pretrained, input_size=input_size, classes=classes, **given)
        net.reset_classifier(0)
        net.arguments["num_classes"] = 0
        return net
    # Reading weight files is imported for this step alone.
    from ghost_ms.weights.load import open_pretrained

    card = model_card(name)
    file = open_pretrained(card, pretrained)
    arguments, input_size = file.settle(card, kwargs, input_size)
    net = build(card, sized(card, arguments, input_size))
    file.fill(net, kwargs, classes)
    return net


def create_segmenter(name: str, backbone: str, num_classes: int, *, aux: Optional[int] = None,
                     output_stride: Optional[int] = None, early_taps: bool = False,
                     pretrained_backbone: Union[bool, str] = False,
                     input_size: Optional[Tuple[int, int]] = None, **kwargs) -> Segmenter:
    """A semantic segmenter on any backbone whose structure allows it; its head is freshly initialised.

    It takes images (B, C, H, W) to a tuple: logits (B, num_classes, H, W), and the auxiliary ones where there are such.

    Args:
        name: lraspp, deeplabv3, fcn or semantic_fpn.
        backbone: a name from `list_models()`.
        aux: index into the backbone's `feature_info` of the map that an auxiliary FCN head takes (deeplabv3 and fcn);
            None for no such head.
        output_stride: of the last map, 8, 16 or 32, by dilation; by default 16, for semantic_fpn 32.
        early_taps: whether maps before the last are taken after the first block of their stage, as in torchvision's
            segmenters on MobileNetV3, rather than after its last (MobileNetV3, EfficientNet and GhostNet's family).
        pretrained_backbone: True for the backbone's released weights, or a path; see `create_model`.
        input_size: (height, width) of the images, for a backbone that is built for one.
        kwargs: of the backbone, as `create_model` takes them.

    Raises:
        ValueError: there is no such segmenter or backbone, or the backbone cannot give the maps; the sentence says why.
    """
    stride = output_stride or usual_stride(name, aux)
    net = create_model(backbone, pretrained=pretrained_backbone, num_classes=0, input_size=input_size,
                       output_stride=stride, **kwargs)
    segmenter = build_segmenter(name, net, num_classes, aux, early_taps)
    segmenter.card, segmenter.arguments = net.card, {**net.arguments, "num_classes": num_classes}
    return segmenter


def create_detector(name: str, backbone: str, num_classes: int, *,
                    pretrained_backbone: Union[bool, str] = False, input_size: Optional[Tuple[int, int]] = None,
                    **kwargs) -> Detector:
    """An object detector on any backbone; its head is freshly initialised.

    It takes images (B, C, H, W) to a tuple of raw outputs: class logits (B, N, columns), box codes (B, N, 4) and, of
    fcos, logits of the centreness (B, N, 1); its `coder` and `tasks.detection.postprocess.detections` read them. A
    backbone without maps of strides 8, 16 and 32 has its nearest ones resampled bilinearly (`resampled` says which).

    Args:
        name: ssdlite, retinanet, retinanet_v2 (GroupNorm in its head) or fcos.
        backbone: a name from `list_models()`.
        num_classes: of the data, without a background.
        pretrained_backbone: True for the backbone's released weights, or a path; see `create_model`.
        input_size: (height, width) of the images, for a backbone that is built for one.
        kwargs: of the backbone, as `create_model` takes them.

    Raises:
        ValueError: there is no such detector or backbone.
    """
    if name not in DETECTORS:
        raise ValueError(f"there is no detector '{printable(name)}'; known are {', '.join(DETECTORS)}")
    net = create_model(backbone, pretrained=pretrained_backbone, num_classes=0, input_size=input_size, **kwargs)
    detector = build_detector(name, net, num_classes)
    detector.card, detector.arguments = net.card, {**net.arguments, "num_classes": num_classes}
    return detector


def create_with_head(head: str, backbone: str, num_classes: int, **options) -> Union[Segmenter, Detector]:
    """A segmenter or a detector, whichever the head makes; see `create_segmenter` and `create_detector`.

    Raises:
        ValueError: there is no such head, or it does not take an option.
    """
    if head not in DETECTORS:
        if head not in SEGMENTERS:
            raise ValueError(f"there is no head '{printable(head)}'; known are {', '.join((*SEGMENTERS, *DETECTORS))}")
        return create_segmenter(head, backbone, num_classes, **options)
    spare = next((key for key in SEGMENTER_ARGS if key in options), None)
    if spare is not None:
        raise ValueError(f"{head} takes no {spare} (task.head_args); leave it out")
    return create_detector(head, backbone, num_classes, **options)


def at_size(net: Backbone, input_size: Tuple[int, int]) -> Backbone:
    """The same network, with the same weights, for images of another size.

    Position tables are resampled, as they are where released weights load at another size. A network without any takes
    all sizes, and is returned as it is.

    Args:
        net: of `create_model`, edited or not.
        input_size: (height, width).

    Raises:
        ValueError: the structure does not allow this size.
    """
    from ghost_ms.weights.convert import load_torch_state, torch_state

    if not net.card.sized:
        return net
    arguments = {key: value for key, value in net.arguments.items() if key != "input_size"}
    other = apply_edits(build(net.card, sized(net.card, arguments, input_size)), edits_of(net))
    load_torch_state(other, torch_state(net))
    return other.set_train(net.training)
