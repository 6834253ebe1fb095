"""Matching and losses against torchvision's numbers, in both modes."""
import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, nn, value_and_grad

from ghost_ms.models import boxes as box_functions
from ghost_ms.models.detectors import HEADS
from ghost_ms.tasks.detection import loss, matching
from ghost_ms.tasks.detection.task import CRITERIA
from ghost_ms.weights.convert import torch_names
from tests import golden
from tests.models.test_detectors import filled

TITLES = ("classification", "bbox_regression", "bbox_ctrness")


@pytest.fixture(params=[ms.GRAPH_MODE, ms.PYNATIVE_MODE])
def mode(request):
    ms.set_context(mode=request.param)


def _tensor(array):
    return Tensor(np.asarray(array, np.float32))


def _rows(arrays):
    """The reference's boxes in eight rows, of which two are none."""
    boxes = np.zeros((1, 8, 4), np.float32)
    boxes[0, :6] = arrays["gt"]
    return Tensor(boxes), Tensor(np.array([[0, 1, 2, 3, 4, 5, -1, -1]], np.int32)), _tensor(arrays["anchors"])


@pytest.mark.parametrize("name", ["retinanet", "rpn"])
def test_matches_by_overlap(name, mode):
    arrays, facts = golden.functions("matching")
    high, low, _ = facts["thresholds"][name]
    np.testing.assert_array_equal(matching.match(*_rows(arrays), high, low).asnumpy()[0], arrays[f"{name}/matches"])


def test_matches_of_every_box(mode):
    arrays, _ = golden.functions("matching")
    np.testing.assert_array_equal(matching.match_each(*_rows(arrays), 0.5).asnumpy()[0], arrays["ssd/matches"])


def test_an_image_without_boxes_matches_nothing(mode):
    boxes, labels, anchors = Tensor(np.zeros((1, 4, 4), np.float32)), Tensor(np.full((1, 4), -1, np.int32)), \
        golden.functions("matching")[0]["anchors"].astype(np.float32)
    for found in (matching.match(boxes, labels, Tensor(anchors), 0.5, 0.4),
                  matching.match_each(boxes, labels, Tensor(anchors), 0.5),
                  matching.match_centres(boxes, labels, anchors, [200, 100])):
        assert (found.asnumpy() == matching.BACKGROUND).all()
    wanted, classes = matching.matched(found, boxes, labels, Tensor(anchors))
    np.testing.assert_array_equal(wanted.asnumpy()[0], anchors)
    assert (classes.asnumpy() == matching.NONE).all()


@pytest.mark.parametrize("function, arguments, name", [
    (loss.focal_loss, ("focal_logits", "focal_targets"), "focal"),
    (lambda a, b: 1 - box_functions.generalized_iou(a, b), ("boxes_a", "boxes_b"), "giou_loss"),
    (lambda p, q: loss.smooth_l1(p - q), ("smooth_p", "smooth_q"), "smooth_l1_beta1")])
def test_losses_and_their_gradients(function, arguments, name):
    arrays, _ = golden.functions("box_losses")
    first, second = (_tensor(arrays[key]) for key in arguments)
    np.testing.assert_allclose(function(first, second).asnumpy(), arrays[f"{name}_value"], rtol=1e-5, atol=2e-6)

    def total(one, other):
        return function(one, other).sum()

    ms.set_context(mode=ms.PYNATIVE_MODE)
    _, gradient = value_and_grad(total)(first, second)
    np.testing.assert_allclose(gradient.asnumpy(), arrays[f"{name}_grad0"], rtol=1e-3, atol=2e-6)


class _Hard(nn.Cell):
    """The loss of the record, whose matching is given."""

    def __init__(self, criterion, wanted, classes):
        super().__init__()
        self.criterion, self.wanted, self.classes = criterion, wanted, classes

    def construct(self, logits, codes):
        first, second = self.criterion.of_matches(logits, codes, self.wanted, self.classes)
        return first + second, first, second


def test_hard_negatives_are_counted_image_by_image(mode):
    """The third image has no object, and so no negatives."""
    arrays, facts = golden.functions("hard_negatives")
    criterion = loss.SSDCriterion(loss.SSDCoder(), (64, 64))
    anchors = arrays["anchors"].astype(np.float32)
    criterion.anchors = Tensor(anchors)
    wanted, classes = np.repeat(anchors[None], 3, 0), np.full((3, 60), -1, np.int32)
    for image in range(3):
        there = arrays[f"matched{image}"] >= 0
        places = arrays[f"matched{image}"][there]
        wanted[image, there] = arrays[f"boxes{image}"][places]
        classes[image, there] = arrays[f"labels{image}"][places] - 1
    net = _Hard(criterion, Tensor(wanted), Tensor(classes))
    (_, first, second), gradients = value_and_grad(net, (0, 1))(_tensor(arrays["logits"]), _tensor(arrays["codes"]))
    assert float(first.asnumpy()) == pytest.approx(facts["losses"]["classification"], rel=1e-5)
    assert float(second.asnumpy()) == pytest.approx(facts["losses"]["bbox_regression"], rel=1e-5)


@pytest.mark.parametrize("name", golden.names("detection"))
def test_the_whole_loss_is_torchvisions(name, graph):
    record, _, state = golden.load(name, "detection")
    net = filled(name, record, state)
    raw = net(Tensor(golden.image(record["input"], record["image_seed"])))
    criterion = CRITERIA[HEADS[name]](net.coder, tuple(record["input"][2:]))
    boxes, labels = golden.targets(record, net.coder.first_class)

    class Parts(nn.Cell):
        def construct(self, raw, boxes, labels):
            return criterion.parts(raw, boxes, labels)

    found = [float(part.asnumpy()) for part in Parts()(raw, Tensor(boxes), Tensor(labels))]
    assert found == pytest.approx([record["losses"][title] for title in TITLES[:len(found)]], rel=1e-4)


@pytest.mark.parametrize("name", golden.names("detection_train"))
def test_three_training_steps_are_torchvisions(name, graph):
    record, arrays, state = golden.load(name, "detection_train")
    net = filled(name, record, state)
    options = record["optimizer"]
    optimizer = nn.SGD(net.trainable_params(), options["lr"], options["momentum"], weight_decay=options["weight_decay"])
    criterion = CRITERIA[HEADS[name]](net.coder, tuple(record["input"][2:]))
    step = nn.TrainOneStepCell(_Loss(net, criterion), optimizer).set_train()
    boxes, labels = map(Tensor, golden.targets(record, net.coder.first_class))
    for index, course in enumerate(record["course"]):
        total = step(Tensor(golden.image(record["input"], record["first_image_seed"] + index)), boxes, labels)
        # These networks of random weights amplify: 1e-6 more or less in the weights is 1 % of the third loss.
        assert float(total.asnumpy()) == pytest.approx(course["total"], rel=1e-5 if index == 0 else 2e-2)
    ours = {other: net.parameters_dict()[own].asnumpy() for own, other in torch_names(net).items()}
    norms = [np.linalg.norm(ours[entry].astype(np.float64)) for entry in record["norm_names"]]
    apart = np.abs(norms / arrays["norms"] - 1)
    assert np.median(apart) < 1e-3 and apart.max() < 5e-2


class _Loss(nn.Cell):
    def __init__(self, net, criterion):
        super().__init__(auto_prefix=False)
        self.net, self.criterion = net, criterion

    def construct(self, images, boxes, labels):
        return self.criterion(self.net(images), boxes, labels)[0]
