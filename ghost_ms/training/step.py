"""The compiled training step: everything that happens in an iteration, in one graph."""
from typing import Optional, Tuple

import mindspore as ms
from mindspore import Tensor, nn, ops


class TrainStep(nn.Cell):
    """Forward, loss, gradients, update.

    Args:
        net: images (B, C, H, W) to logits (B, classes).
        loss: (logits, int32 labels (B,)) to a scalar.
        optimizer: holds the parameters that are trained.
        reduce: gradients to their mean over all processes; None for one process.

    Returns (loss, number of correct predictions), both float32 scalars that stay on the device.
    """

    def __init__(self, net: nn.Cell, loss: nn.Cell, optimizer: nn.Optimizer,
                 reduce: Optional[nn.Cell] = None):
        # A prefix would rename the parameters of the network.
        super().__init__(auto_prefix=False)
        self.net, self.loss, self.optimizer = net, loss, optimizer
        self.value_and_grad = ops.value_and_grad(self.forward, None, optimizer.parameters, has_aux=True)
        self.reduce = reduce if reduce is not None else ops.identity

    def forward(self, images: Tensor, labels: Tensor) -> Tuple[Tensor, Tensor]:
        logits = self.net(images).astype(ms.float32)
        return self.loss(logits, labels), ops.stop_gradient(logits)

    def construct(self, images: Tensor, labels: Tensor) -> Tuple[Tensor, Tensor]:
        (loss, logits), gradients = self.value_and_grad(images, labels)
        loss = ops.depend(loss, self.optimizer(self.reduce(gradients)))
        correct = (logits.argmax(1).astype(ms.int32) == labels).astype(ms.float32).sum()
        return loss, correct
