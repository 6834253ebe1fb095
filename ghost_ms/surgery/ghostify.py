"""Ghost modules in place of the convolutions of any network (arXiv 1911.11907, section 4.1.2)."""
import fnmatch
import math
from typing import Callable, Dict, Iterable, NamedTuple, Optional, Tuple, Union

from mindspore import Tensor, nn, ops

from ghost_ms.layers.reparam import replace_cell
from ghost_ms.layers.squeeze_excite import SqueezeExcite


class GhostConv2d(nn.Cell):
    """A convolution of which only part is computed, the rest by cheap depthwise operations on that part.

    The linear form of the Ghost module (arXiv 1911.11907, section 3.1, equation 3), without norm or activation of its
    own: those that follow the convolution in its network follow this one too. (B, in, H, W) -> (B, out, H', W'), the
    shape that `like` gives.

    Args:
        like: the convolution whose channels, kernel, stride, padding, dilation and bias it takes over.
        ratio: one in `ratio` channels is convolved.
        cheap_kernel: kernel of the depthwise operation, odd.
    """

    def __init__(self, like: nn.Conv2d, ratio: int = 2, cheap_kernel: int = 3):
        super().__init__()
        primary = math.ceil(like.out_channels / ratio)
        self.primary_conv = nn.Conv2d(like.in_channels, primary, like.kernel_size, like.stride, like.pad_mode,
                                      like.padding, like.dilation, has_bias=like.has_bias, dtype=like.weight.dtype)
        # Depthwise outputs come in whole multiples of `primary`; only what is wanted of them is kept.
        cheap = primary * (ratio - 1)
        self.wanted = like.out_channels - primary
        self.exact = cheap == self.wanted
        self.cheap_operation = nn.Conv2d(primary, cheap, cheap_kernel, pad_mode="pad", padding=cheap_kernel // 2,
                                         group=primary, has_bias=like.has_bias, dtype=like.weight.dtype)

    def construct(self, x: Tensor) -> Tensor:
        primary = self.primary_conv(x)
        cheap = self.cheap_operation(primary)
        return ops.cat((primary, cheap if self.exact else cheap[:, :self.wanted]), 1)


class Ghostified(NamedTuple):
    """What `ghostify` did: the network, names of the replaced convolutions, and why each other one was kept."""

    net: nn.Cell
    replaced: Tuple[str, ...]
    kept: Dict[str, str]


def ghostify(net: nn.Cell, ratio: int = 2, cheap_kernel: int = 3, min_in_channels: int = 16,
             exclude: Union[Iterable[str], Callable[[str, nn.Conv2d], bool]] = ()) -> Ghostified:
    """Replace the plain convolutions of `net` in place by Ghost modules; every map keeps its shape.

    Replaced are `nn.Conv2d` cells with one group. Kept, with the reason in the result, are
    - grouped and depthwise convolutions: they are as cheap as what would replace them;
    - those of fewer than `min_in_channels` inputs, such as the stem on an RGB image: they cost little, and all later
      features come from theirs;
    - those of fewer than `ratio` outputs, which leave nothing to be made cheaply;
    - those inside `SqueezeExcite`: on a map of one pixel a depthwise kernel is a mere factor;
    - subclasses of `nn.Conv2d`, whose `construct` may do more than convolve;
    - what `exclude` names.
    The new convolutions are freshly initialised: train the network, and build its optimizer after this call.

    Args:
        net: any network; a cell that occurs twice is replaced by one new cell in both places.
        ratio: how many times cheaper a convolution becomes, about; 2 and 4 in the paper.
        cheap_kernel: kernel of the depthwise operations, odd (3 in the paper's ResNets).
        min_in_channels: see above.
        exclude: shell patterns of cell names (`("layer4.*", "head")`), or a function of (name, convolution) that is
            true for what is to be kept.

    Raises:
        ValueError: `ratio` below 2, an even `cheap_kernel`, or nothing to replace.
        TypeError: `net` is itself a convolution, which cannot be replaced in place.
    """
    if ratio < 2 or cheap_kernel % 2 == 0:
        raise ValueError(f"ghostify needs a ratio of 2 or more and an odd cheap_kernel, not {ratio} and {cheap_kernel}")
    if isinstance(net, nn.Conv2d):
        raise TypeError("ghostify replaces the convolutions inside a network; for one alone use GhostConv2d(conv)")
    if not callable(exclude):
        patterns = (exclude,) if isinstance(exclude, str) else tuple(exclude)

        def exclude(name, _):
            return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)

    replaced, kept, ghosts = [], {}, {}
    for prefix, parent in list(net.cells_and_names()):
        for key, cell in parent.name_cells().items():
            if not isinstance(cell, nn.Conv2d):
                continue
            name = f"{prefix}.{key}" if prefix else key
            reason = _reason_to_keep(name, cell, parent, ratio, min_in_channels, exclude)
            if reason:
                kept[name] = reason
                continue
            if id(cell) not in ghosts:
                # The old cell is kept beside the new one, so that its id cannot be given to another.
                ghosts[id(cell)] = cell, GhostConv2d(cell, ratio, cheap_kernel).set_train(cell.training)
            replace_cell(parent, key, ghosts[id(cell)][1])
            replaced.append(name)
    if not replaced:
        raise ValueError(f"{type(net).__name__} has no convolution to replace: {kept or 'it has none at all'}")
    for name, parameter in net.parameters_and_names():
        parameter.name = name
    net.compile_cache.clear()
    return Ghostified(net, tuple(replaced), kept)


def _reason_to_keep(name: str, conv: nn.Conv2d, parent: nn.Cell, ratio: int, min_in_channels: int,
                    exclude: Callable[[str, nn.Conv2d], bool]) -> Optional[str]:
    reasons = (
        (conv.group > 1, f"{conv.group} groups"),
        (type(conv) is not nn.Conv2d, f"subclass {type(conv).__name__}"),
        (isinstance(parent, SqueezeExcite), "squeeze-and-excitation, on maps of one pixel"),
        (conv.in_channels < min_in_channels, f"only {conv.in_channels} inputs"),
        (conv.out_channels < ratio, f"only {conv.out_channels} outputs"),
        (exclude(name, conv), "excluded"),
    )
    return next((reason for holds, reason in reasons if holds), None)
