"""Knowledge distillation: a frozen teacher inside the compiled step (an exported file: just before it)."""
import dataclasses
import os
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops

from ghost_ms.checkpoints.checkpoint import restore
from ghost_ms.checkpoints.spec import ModelSpec
from ghost_ms.config import DataConfig, DistillConfig
from ghost_ms.core.text import printable
from ghost_ms.data.transforms import Preprocessing, preprocessing_of
from ghost_ms.factory import create_model
from ghost_ms.models import model_card
from ghost_ms.models.classes import match
from ghost_ms.models.imagenet import class_names
from ghost_ms.weights.files import open_file
from ghost_ms.weights.load import load_pretrained

#: Shares of red, green and blue in grey (ITU-R BT.601), as Pillow converts.
GREY = (0.299, 0.587, 0.114)


class Teacher(nn.Cell):
    """A network that sees the student's images as its own preprocessing would bring them.

    The student's normalisation is undone and the teacher's done, in one scale and shift per channel; grey becomes three
    equal channels and colour grey where the teacher wants it; another input size is reached by bilinear resizing of
    the image that the student sees. The resizing has no antialiasing.

    Args:
        net: images to logits; it stays in evaluation mode and gets no gradients.
        own: the preprocessing it was trained with.
        student: that of the images it is given.
        places: of each of the student's classes among the teacher's logits; None where they are the same.
    """

    def __init__(self, net: nn.Cell, own: Preprocessing, student: Preprocessing,
                 places: Optional[Sequence[int]] = None):
        super().__init__(auto_prefix=False)
        self.net = net
        self.places = None if places is None or list(places) == list(range(len(places))) else \
            Tensor(np.asarray(places), ms.int32)
        #: Whether it must run as a graph of its own, before the step.
        self.apart = isinstance(net, nn.GraphCell)
        for name, parameter in net.parameters_and_names():
            # The student's parameters have the same names, and a graph wants each once.
            parameter.name = f"teacher.{name}"
            parameter.requires_grad = False

        def column(values):
            return np.asarray(values, np.float64)[None, :, None, None]

        scale, shift = column(student.std), column(student.mean)
        self.grey = own.channels == 1 and student.channels == 3
        self.colour = own.channels == 3 and student.channels == 1
        if self.grey:
            # The grey image is a weighted sum of the channels: weights, scale and normalisation in one.
            weights = column(GREY) / own.std[0]
            self.scale = Tensor(scale * weights, ms.float32)
            self.shift = Tensor(((shift * weights).sum() - own.mean[0] / own.std[0]).reshape(1, 1, 1, 1), ms.float32)
        else:
            self.scale = Tensor(scale / column(own.std), ms.float32)
            self.shift = Tensor((shift - column(own.mean)) / column(own.std), ms.float32)
        self.size = None if own.input_size == student.input_size else tuple(own.input_size)
        self.set_train(False)

    def images(self, images: Tensor) -> Tensor:
        """The student's images (B, C, H, W) as the teacher's (B, c, h, w)."""
        if self.grey:
            images = (images * self.scale).sum(1, keepdims=True) + self.shift
        else:
            # One channel becomes three by broadcasting against a scale for each.
            images = images * self.scale + self.shift
        if self.size is not None:
            images = ops.interpolate(images, size=self.size, mode="bilinear", align_corners=False)
        return images

    def construct(self, images: Tensor) -> Tensor:
        return self.in_order(ops.stop_gradient(first(self.net(self.images(images))).astype(ms.float32)))

    def in_order(self, logits: Tensor) -> Tensor:
        """The teacher's logits in the order of the student's classes."""
        return logits if self.places is None else ops.gather(logits, self.places, 1)

    def features(self, images: Tensor) -> Tensor:
        """The last feature map (B, num_features, h, w)."""
        return ops.stop_gradient(self.net.forward_features(self.images(images)).astype(ms.float32))


class Distillation(nn.Cell):
    """The teacher's part of the loss.

    soft: T^2 KL(softmax(t / T) || softmax(s / T)), mean over the images or, of logits (B, classes, H, W), over all
    their pixels (arXiv 1503.02531). hard: cross-entropy with
    the teacher's largest logit as the label (arXiv 2012.12877, equation 3). features: mean squared difference of the
    last feature maps, the student's through a 1x1 convolution where the widths differ, the teacher's resized to the
    student's (arXiv 1412.6550).

    Args:
        teacher: see `Teacher`.
        config: method, weights and temperature.
        student: the network that learns; of its `num_features` for features.

    Raises:
        ValueError: a teacher that has no feature map (an exported file) for features.
    """

    def __init__(self, teacher: Teacher, config: DistillConfig, student: nn.Cell):
        super().__init__(auto_prefix=False)
        self.teacher = teacher
        self.method, self.temperature = config.method, config.temperature
        self.weight, self.label_weight = config.weight, config.label_weight
        self.projection = None
        if self.method == "features":
            if not hasattr(teacher.net, "num_features"):
                raise ValueError("distill.method features needs a teacher whose feature map can be had: a name or a "
                                 ".ckpt, no exported file")
            if teacher.net.num_features != student.num_features:
                self.projection = nn.Conv2d(student.num_features, teacher.net.num_features, 1, has_bias=True)
                for parameter in self.projection.get_parameters():
                    parameter.name = f"projection.{parameter.name}"

    def extra_parameters(self) -> list:
        """What is trained beside the student."""
        return self.projection.trainable_params() if self.projection is not None else []

    def targets(self, images: Tensor) -> Tensor:
        """What the teacher says of the images: its last feature map for features, else its logits."""
        return self.teacher.features(images) if self.method == "features" else self.teacher(images)

    def construct(self, wanted: Tensor, logits: Tensor, features: Tensor, label_loss: Tensor) -> Tensor:
        """The whole loss of `targets`; of several outputs the first are the logits; `features` is the student's last
        map for features, else anything."""
        logits = first(logits)
        if self.method == "features":
            loss = self.feature_loss(features.astype(ms.float32), wanted)
        elif self.method == "hard":
            loss = ops.cross_entropy(logits, wanted.argmax(1).astype(ms.int32))
        else:
            loss = self.soft_loss(logits, wanted)
        return self.label_weight * label_loss + self.weight * loss

    def soft_loss(self, logits: Tensor, wanted: Tensor) -> Tensor:
        student = ops.log_softmax(logits / self.temperature, 1)
        teacher = ops.log_softmax(wanted / self.temperature, 1)
        divergence = (ops.exp(teacher) * (teacher - student)).sum(1).mean()
        return divergence * (self.temperature * self.temperature)

    def feature_loss(self, features: Tensor, wanted: Tensor) -> Tensor:
        if self.projection is not None:
            features = self.projection(features)
        if wanted.shape[2:] != features.shape[2:]:
            wanted = ops.interpolate(wanted, size=features.shape[2:], mode="bilinear", align_corners=False)
        return ((features - wanted) ** 2).mean()


def first(given: Any) -> Tensor:
    """The output of a network, or the first of several, which are its main logits."""
    return given[0] if isinstance(given, (tuple, list)) else given


def load_teacher(config: DistillConfig, student: ModelSpec) -> Teacher:
    """The teacher of a recipe: a registered network, or a checkpoint or an exported file of this project.

    Its logits are put into the order of the student's classes, by name.

    Args:
        student: network and preprocessing of the images that it will be given.

    Raises:
        ValueError, OSError: no such teacher, no weights, logits of another length, or other classes; the sentence says
            which.
    """
    path = config.teacher
    if path.endswith((".mindir", ".ckpt")) and (config.args or isinstance(config.weights, str)):
        raise ValueError(f"distill.teacher '{path}' brings arguments and weights with it; distill.args and "
                         "distill.weights are for a teacher given by name")
    known = _exported(path) if path.endswith(".mindir") else _checkpoint(path) if path.endswith(".ckpt") else \
        _registered(config, student)
    if known.task != student.task:
        raise ValueError(f"distill.teacher '{path}' is a network for {known.task}, and the student is for "
                         f"{student.task}")
    own, places = known.preprocessing, None
    if config.method != "features":
        places = _places(path, known, student)
    if config.input_size:
        size: Tuple[int, int] = config.input_size
        if path.endswith(".mindir") and size != own.input_size:
            raise ValueError(f"distill.input_size is {list(size)}, but '{path}' was exported for "
                             f"{list(own.input_size)}")
        own = dataclasses.replace(own, input_size=size)
    return Teacher(known.net, own, student.preprocessing, places)


class _Known(NamedTuple):
    """A teacher's network, preprocessing, number of logits, the names of its classes, and what it is for."""

    net: nn.Cell
    preprocessing: Preprocessing
    count: int
    classes: List[str]
    task: str = "classification"


def _places(path: str, known: _Known, student: ModelSpec) -> Optional[List[int]]:
    """Where the student's classes are among the teacher's logits; None where neither has names."""
    count = student.args["num_classes"]
    if known.count != count:
        raise ValueError(f"distill.teacher '{path}' knows {known.count} classes and the student {count}; "
                         "distill.method features alone does not compare logits")
    if len(student.classes) != count or len(known.classes) != count:
        # Logits beyond the names of the data: nothing tells one order from another.
        return None
    try:
        return match(student.classes, known.classes).places
    except ValueError as error:
        raise ValueError(f"distill.teacher '{path}' was trained on other classes: {error}") from None


def _registered(config: DistillConfig, student: ModelSpec) -> _Known:
    if not config.weights:
        raise ValueError("distill.weights is false: an untrained teacher teaches nothing; give true or a file")
    card = model_card(config.teacher)
    described = None if config.weights is True else open_file(os.path.expanduser(config.weights)).described
    if described is not None:
        return _described(config, described)
    count = card.num_classes if config.weights is True else student.args["num_classes"]
    args = {"num_classes": count, "in_channels": 3, **config.args}
    net = create_model(config.teacher, input_size=config.input_size or card.input_size, **args)
    _fill(net, config)
    own = preprocessing_of(card, DataConfig(), args["in_channels"])
    return _Known(net, own, args["num_classes"], class_names(card, args["num_classes"]), card.task)


def _described(config: DistillConfig, described: Dict[str, Any]) -> _Known:
    """A teacher by name with the weights of a file that says what it was trained for."""
    if described["model"] != config.teacher:
        raise ValueError(f"distill.weights '{config.weights}' is of {printable(described['model'])}, and "
                         f"distill.teacher is {config.teacher}")
    own = Preprocessing.from_dict(described["preprocessing"])
    args = {**described["args"], **config.args}
    net = create_model(config.teacher, input_size=config.input_size or own.input_size, **args)
    _fill(net, config)
    return _Known(net, own, args["num_classes"], described["classes"], described.get("task", "classification"))


def _fill(net: nn.Cell, config: DistillConfig) -> None:
    """Released weights or those of a file, classifier included: a fresh one would teach noise."""
    report = load_pretrained(net, config.weights, {"num_classes": net.arguments["num_classes"]})
    if report.fresh:
        raise ValueError(f"distill.weights '{config.weights}' has no classifier that fits a teacher of "
                         f"{net.arguments['num_classes']} classes; an untrained one teaches nothing")


def _checkpoint(path: str) -> _Known:
    net, description = restore(path)
    return _Known(net, description.preprocessing, description.args["num_classes"], description.classes,
                  description.task)


def _exported(path: str) -> _Known:
    # Exporting builds on checkpoints; importing it first would close a circle.
    from ghost_ms.runtime.mindir import load_mindir
    from ghost_ms.runtime.sidecar import read_sidecar
    from ghost_ms.runtime.signature import ExportSignature

    sidecar = read_sidecar(path)
    if sidecar.form != ExportSignature():
        raise ValueError(f"distill.teacher is '{path}', which was exported with --softmax, --argmax or --preprocess "
                         "in-graph; a teacher takes normalised images and gives logits")
    return _Known(load_mindir(path), sidecar.preprocessing, len(sidecar.classes), sidecar.classes, sidecar.task)
