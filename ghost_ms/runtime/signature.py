"""What an exported file takes and gives: normalised maps and logits, or raw pixels and probabilities."""
from typing import NamedTuple, Tuple, Union

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, nn, ops
from PIL import Image

from ghost_ms.data.transforms import Preprocessing


class Output(NamedTuple):
    """An output of an exported file.

    Args:
        name: of it.
        shape: of it for one image, without the batch.
        dtype: as NumPy calls it.
    """

    name: str
    shape: Tuple[int, ...]
    dtype: str = "float32"


class ExportSignature(NamedTuple):
    """Args:
        in_graph: images are uint8 (B, H, W, C) as they are decoded, and the file normalises; otherwise they are
            float32 (B, C, H, W), normalised before.
        softmax: the output is probabilities, not logits.
        argmax: the output is the class of every pixel, int32 (B, H, W), not logits.
    """

    in_graph: bool = False
    softmax: bool = False
    argmax: bool = False

    @property
    def input_name(self) -> str:
        """The input's name is the same in every exported file."""
        return "image"

    @property
    def input_dtype(self) -> type:
        return np.uint8 if self.in_graph else np.float32

    @property
    def layout(self) -> str:
        return "NHWC" if self.in_graph else "NCHW"

    def input_shape(self, spec: Preprocessing, batch_size: int) -> Tuple[int, ...]:
        """Extents of a call; -1 for an open batch (`batch_size` 0)."""
        image = (*spec.input_size, spec.channels) if self.in_graph else (spec.channels, *spec.input_size)
        return (batch_size or -1, *image)

    def prepare(self, image: Union[bytes, np.ndarray, Image.Image], spec: Preprocessing) -> np.ndarray:
        """A file's bytes or uint8 (H, W, C) as one image of a file's input: float32 (C, H, W), normalised; or, for a
        file that normalises itself, uint8 (H, W, C). ValueError for what is no image."""
        if not self.in_graph:
            return spec(image)
        return np.asarray(spec.picture(image)).reshape(*spec.input_size, spec.channels)

    def example(self, spec: Preprocessing, batch_size: int) -> np.ndarray:
        """Random input of this form, the same in every call."""
        shape, draw = self.input_shape(spec, batch_size), np.random.default_rng(0)
        if self.in_graph:
            return draw.integers(0, 256, shape, np.uint8)
        return draw.standard_normal(shape).astype(np.float32)


class DeployedNetwork(nn.Cell):
    """A network between its normalisation and its softmax or argmax, as far as the form has these in the graph.

    (B, H, W, C) uint8 or (B, C, H, W) float32 -> what the network gives; the softmax is for logits (B, classes), the
    argmax for those of every pixel, (B, classes, H, W), of which the first are taken where there are several.
    """

    def __init__(self, net: nn.Cell, spec: Preprocessing, form: ExportSignature):
        super().__init__(auto_prefix=False)
        self.network, self.form = net, form
        self.softmax = nn.Softmax(-1)
        if form.in_graph:
            # x / 255 - mean, divided by std, as one subtraction and one product that ONNX folds into the convolution.
            mean, std = (np.asarray(values, np.float64).reshape(-1, 1, 1) for values in (spec.mean, spec.std))
            self.mean = Parameter(Tensor(255 * mean, ms.float32), name="mean", requires_grad=False)
            self.scale = Parameter(Tensor(1 / (255 * std), ms.float32), name="scale", requires_grad=False)

    def construct(self, image: Tensor) -> Tensor:
        if self.form.in_graph:
            image = (ops.cast(image, ms.float32).transpose(0, 3, 1, 2) - self.mean) * self.scale
        raw = self.network(image)
        if self.form.argmax:
            return ops.cast(raw[0].argmax(1), ms.int32)
        return self.softmax(raw) if self.form.softmax else raw
