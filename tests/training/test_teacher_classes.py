"""A teacher's logits mean the student's classes, whatever their order was when it was trained."""
import dataclasses

import mindspore as ms
import numpy as np
import pytest

from ghost_ms.checkpoints.checkpoint import save_checkpoint
from ghost_ms.checkpoints.spec import ModelSpec
from ghost_ms.config import DistillConfig
from ghost_ms.data.transforms import Preprocessing
from ghost_ms.training.distillation import load_teacher
from tests.tiny import registered

SPEC = Preprocessing((16, 16), 3, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), 1.0, "bilinear")
STUDENT = ModelSpec("tiny", {"num_classes": 3, "in_channels": 3}, ["1", "2", "10"], SPEC)


@pytest.fixture
def teacher(tmp_path):
    """Makes a checkpoint of a network with some classes; (network, path)."""
    def make(classes):
        description = dataclasses.replace(STUDENT, classes=classes, args={**STUDENT.args, "num_classes": len(classes)})
        net, path = description.build().set_train(False), str(tmp_path / "teacher.ckpt")
        save_checkpoint(net, path, description)
        return net, path

    with registered():
        yield make


@pytest.mark.parametrize("classes, order", [
    (["1", "2", "10"], [0, 1, 2]), (["1", "10", "2"], [0, 2, 1]), (["10", "1", "2"], [1, 2, 0]),
    (["class 0", "class 1", "class 2"], [0, 1, 2])])
def test_logits_come_in_the_order_of_the_students_classes(teacher, classes, order):
    net, path = teacher(classes)
    images = ms.Tensor(np.random.default_rng(0).standard_normal((2, 3, 16, 16)).astype(np.float32))
    loaded = load_teacher(DistillConfig(path), STUDENT)
    np.testing.assert_allclose(loaded(images).asnumpy(), net(images).asnumpy()[:, order], rtol=1e-6)


def test_a_teacher_of_other_classes_is_refused(teacher):
    _, path = teacher(["1", "2", "11"])
    with pytest.raises(ValueError, match="was trained on other classes: .*'10'"):
        load_teacher(DistillConfig(path), STUDENT)
    _, path = teacher(["1", "2"])
    with pytest.raises(ValueError, match="knows 2 classes and the student 3"):
        load_teacher(DistillConfig(path), STUDENT)
    load_teacher(DistillConfig(path, method="features"), STUDENT)


@pytest.mark.parametrize("extra", [{"args": {"drop_rate": 0.5}}, {"weights": "other.ckpt"}])
def test_what_a_file_brings_with_it_is_not_given_again(teacher, extra):
    _, path = teacher(["1", "2", "10"])
    with pytest.raises(ValueError, match="distill.args and distill.weights are for a teacher given by name"):
        load_teacher(DistillConfig(path, **extra), STUDENT)


def test_weights_of_a_file_that_describes_itself_bring_their_preprocessing_and_classes(teacher):
    net, path = teacher(["1", "10", "2"])
    other = dataclasses.replace(STUDENT, preprocessing=dataclasses.replace(SPEC, mean=(0.1, 0.2, 0.3)))
    images = ms.Tensor(np.random.default_rng(0).standard_normal((2, 3, 16, 16)).astype(np.float32))
    named, given = load_teacher(DistillConfig("tiny", weights=path), other), load_teacher(DistillConfig(path), other)
    assert named(images).asnumpy().tobytes() == given(images).asnumpy().tobytes()
    with pytest.raises(ValueError, match="is of tiny, and distill.teacher is tiny_vanilla"):
        load_teacher(DistillConfig("tiny_vanilla", weights=path), other)


def test_a_teacher_without_a_trained_classifier_is_refused(teacher):
    _, path = teacher(["1", "2"])
    with pytest.raises(ValueError, match="knows 2 classes and the student 3|an untrained one teaches nothing"):
        load_teacher(DistillConfig("tiny", weights=path), STUDENT)
    with pytest.raises(ValueError, match="an untrained one teaches nothing"):
        load_teacher(DistillConfig("tiny", weights=path, args={"num_classes": 3}), STUDENT)
