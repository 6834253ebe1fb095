"""Detections of decoded outputs: torchvision's, and what no rule may lose."""
import mindspore as ms
import numpy as np
import pytest

from ghost_ms.models.coders import Decoded, Limits
from ghost_ms.models.detectors import HEADS
from ghost_ms.tasks.detection.postprocess import CHUNK, detections, suppress
from tests import golden
from tests.models.test_detectors import filled


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.7])
def test_suppression_is_torchvisions(threshold):
    """With an IoU equal to the threshold, duplicates and empty boxes among them."""
    arrays, _ = golden.functions("nms")
    order = np.argsort(-arrays["scores"], kind="stable")
    boxes, labels = arrays["boxes"][order], arrays["labels"][order]
    for name, kinds in (("nms", np.zeros(300, int)), ("batched", labels)):
        np.testing.assert_array_equal(order[suppress(boxes, kinds, threshold, 999)], arrays[f"{name}_{threshold}"])


def test_suppression_in_parts_is_that_of_the_whole():
    draw = np.random.default_rng(0)
    starts = draw.uniform(0, 100, (3 * CHUNK, 2))
    boxes = np.concatenate([starts, starts + draw.uniform(5, 40, starts.shape)], 1)
    labels = draw.integers(0, 3, len(boxes))

    def covered(one, other):
        sides = np.minimum(boxes[one, 2:], boxes[other, 2:]) - np.maximum(boxes[one, :2], boxes[other, :2])
        shared = np.prod(np.clip(sides, 0, None))
        area = sum(np.prod(boxes[each, 2:] - boxes[each, :2]) for each in (one, other)) - shared
        return labels[one] == labels[other] and shared > 0.4 * area

    kept = []
    for place in range(len(boxes)):
        if not any(covered(place, other) for other in kept):
            kept.append(place)
    assert suppress(boxes, labels, 0.4, len(boxes)).tolist() == kept and len(kept) > 20
    assert suppress(boxes, labels, 0.4, 7).tolist() == kept[:7]


@pytest.mark.parametrize("name", golden.names("detection"))
def test_detections_are_torchvisions(name):
    """The record's sigmoid heads tell an unused column 0 too, which is read as a class here."""
    record, arrays, state = golden.load(name, "detection")
    net, size = filled(name, record, state), tuple(record["input"][2:])
    background = HEADS[name] == "ssdlite"
    net.coder.first_class = int(background)
    decoded = Decoded(net, size).set_train(False)
    outputs = [one.asnumpy() for one in decoded(ms.Tensor(golden.image(record["input"], record["image_seed"])))]
    wanted = record["postprocess"]
    limits = net.coder.limits
    assert (limits.score, limits.iou, limits.candidates) == (
        wanted["score_thresh"], wanted["nms_thresh"], wanted["topk_candidates"])
    limits = limits._replace(detections=wanted["detections_per_img"])
    for image in range(2):
        found = detections(outputs[0][image], outputs[1][image], limits, net.coder.levels(size))
        boxes, scores, labels = (arrays[f"det{image}/{key}"] for key in ("boxes", "scores", "labels"))
        assert len(found.scores) == len(scores)
        np.testing.assert_allclose(found.scores, scores, atol=1e-3)
        # Two of nearly one score may come in the other order.
        rest = list(range(len(scores)))
        for box, score, label in zip(*found):
            place = next(one for one in rest if labels[one] == label + background and abs(scores[one] - score) < 1e-3
                         and np.abs(boxes[one] - box).max() < 0.1)
            rest.remove(place)


def test_candidates_are_counted_by_class_or_by_level():
    boxes = np.array([[10.0 * place, 0, 10.0 * place + 5, 5] for place in range(6)], np.float32)
    scores = np.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.6, 0.4], [0.5, 0.5], [0.4, 0.6]], np.float32)
    by_level = detections(boxes, scores, Limits(0.05, 0.5, 99, 2), [4, 2])
    assert sorted(by_level.scores.tolist()) == pytest.approx([0.5, 0.6, 0.8, 0.9])
    by_class = detections(boxes, scores, Limits(0.05, 0.5, 99, 1, True))
    assert by_class.labels.tolist() == [0, 1] and by_class.scores.tolist() == pytest.approx([0.9, 0.6])
    own = detections(boxes, scores, Limits(0.05, 0.5, 99, 99), thresholds=[0.75, 0.55])
    assert own.scores.tolist() == pytest.approx([0.9, 0.8, 0.6]) and own.boxes.dtype == own.scores.dtype == np.float32
    nothing = detections(boxes, scores, Limits(0.95, 0.5, 99, 99))
    assert nothing.boxes.shape == (0, 4) and nothing.labels.shape == (0,)
    with pytest.raises(ValueError, match="no .N, 4. and"):
        detections(boxes, scores, Limits(0.1, 0.5, 9, 9), [4, 3])
