"""A finer last map for dense prediction: the strides of the last stages are traded for dilation.

(Fully convolutional reuse of classifiers: DeepLab, arXiv 1606.00915, section 3.1; DeepLabV3, arXiv 1706.05587,
section 3.) The parameters stay what they are, so weights of the classifier fit.
"""
import itertools

from mindspore import nn, ops

from ghost_ms.layers.dynamic_conv import DynamicConv2d
from ghost_ms.models.backbone import Backbone
from ghost_ms.models.stages import place_of_cells

#: Strides that a network can end with.
OUTPUT_STRIDES = (8, 16, 32)


def set_output_stride(net: Backbone, output_stride: int) -> None:
    """Let the maps of a freshly built network be no coarser than 1 / `output_stride` of the image.

    From the first stage that would be coarser on, convolutions lose their stride and those that follow are dilated by
    as much: at every point that the coarser map had, they see the same pixels. Where the family says 'advance', a
    convolution that loses its stride is dilated itself, as in torchvision's MobileNetV3.

    Raises:
        ValueError: no such stride, or a family whose structure does not allow it.
    """
    if output_stride not in OUTPUT_STRIDES or isinstance(output_stride, bool):
        raise ValueError(f"output_stride is {output_stride}, but it must be 8, 16 or 32")
    coarsest = net.feature_info[-1].stride if net.feature_info else 0
    if output_stride == coarsest:
        return
    name = type(net).__name__
    if net.atrous is None:
        raise ValueError(f"a {name} cannot have output_stride {output_stride}: its maps are not halved by plain "
                         f"convolutions alone; its last map has stride {coarsest}")
    if output_stride > coarsest:
        raise ValueError(f"the last map of this {name} has stride {coarsest} as it is, so output_stride "
                         f"{output_stride} is none that it can have")
    strides, stage, reached = [1] + [info.stride for info in net.feature_info], 0, 1
    for (now, _), cells in itertools.groupby(_convolutions(net), key=lambda found: found[:2]):
        if now != stage:
            # Pooling may have halved the map as well.
            stage, reached = now, strides[now]
        before, entered = max(1, reached // output_stride), reached
        for *_, conv in cells:
            stride = max(_pair(conv.stride))
            if stride > 1:
                # Others of the same block, a shortcut's, stride over the same map.
                reached = entered * stride
            rate = max(1, reached // output_stride)
            own = before if stride > 1 and net.atrous == "keep" else rate
            _set_geometry(conv, stride * before // rate if stride > 1 else 1, own)
    net.feature_info = tuple(info._replace(stride=min(info.stride, output_stride)) for info in net.feature_info)


def _convolutions(net: Backbone):
    """(stage, layer, convolution), in the order in which they compute."""
    places = place_of_cells(net)
    found = [(*places[name], cell) for name, cell in net.cells_and_names()
             if isinstance(cell, (nn.Conv2d, DynamicConv2d))]
    return sorted(found, key=lambda entry: entry[:2])


def _pair(value):
    return (value, value) if isinstance(value, int) else tuple(value)


def _set_geometry(conv: nn.Cell, stride: int, dilation: int) -> None:
    """Change the stride of a convolution, and its dilation where its kernel is larger than one pixel."""
    kernel = _pair(conv.kernel_size)
    dilation = dilation if max(kernel) > 1 else 1
    if (stride, dilation) == (max(_pair(conv.stride)), 1):
        return
    if isinstance(conv, DynamicConv2d):
        conv.stride, conv.dilation = stride, dilation
        return
    if conv.pad_mode == "pad":
        wider = [(dilation - conv.dilation[0]) * (extent - 1) // 2 for extent in kernel for _ in range(2)]
        conv.padding = tuple(pad + more for pad, more in zip(conv.padding, wider))
    conv.stride, conv.dilation = (stride, stride), (dilation, dilation)
    conv.conv2d = ops.Conv2D(out_channel=conv.out_channels, kernel_size=kernel, mode=1, pad_mode=conv.pad_mode,
                             pad=conv.padding, stride=conv.stride, dilation=conv.dilation, group=conv.group)
