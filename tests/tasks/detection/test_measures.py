"""Average precision is pycocotools'; several processes measure what one does; thresholds are those of the best F1."""
import json

import numpy as np
import pytest
from PIL import Image

from ghost_ms.data import coco
from ghost_ms.data.boxes import Objects
from ghost_ms.data.dataset import Dataset
from ghost_ms.data.transforms import Preprocessing
from ghost_ms.models.coders import Limits
from ghost_ms.tasks.base import NotFinite
from ghost_ms.tasks.detection import measures
from ghost_ms.tasks.detection.postprocess import Detections
from tests import golden

SPEC = Preprocessing((64, 64), 3, (0.5,) * 3, (0.25,) * 3, 1.0, "bilinear", True, "letterbox")


def test_the_figures_are_pycocotools_on_crowds_ties_and_images_without_objects():
    arrays, facts = golden.functions("coco_map")
    folder = golden.FOLDER / "dense_functions"
    index = coco.read(str(folder / "coco_truth.json"))
    content = json.loads((folder / "coco_truth.json").read_text())
    place = {image["id"]: number for number, image in enumerate(content["images"])}
    label = {one["id"]: index.classes.index(one["name"]) for one in content["categories"]}
    rows = {number: [] for number in place.values()}
    for one in json.loads((folder / "coco_found.json").read_text()):
        left, top, width, height = one["bbox"]
        rows[place[one["image_id"]]].append((left, top, left + width, top + height, one["score"],
                                             label[one["category_id"]]))
    found = {}
    for number, own in rows.items():
        array = np.array(own, np.float64).reshape(-1, 6)
        found[number] = Detections(array[:, :4], array[:, 4], array[:, 5].astype(np.int32))
    truth = {number: index.table.of(number) for number in place.values()}
    measure = measures.CocoMeasure(truth, found, len(index.classes))
    np.testing.assert_allclose(measure.stats, facts["bbox"]["stats"], rtol=1e-12)
    own = dict(zip(index.classes, measure.average_precision()))
    assert own == pytest.approx(facts["bbox"]["ap_per_class"], rel=1e-12)
    figures = measure.figures()
    assert figures["ap"] == pytest.approx(36.5906, abs=1e-3) and np.isnan(figures["ap_large"])


def _squares(*starts):
    return np.array([(x, y, x + 20, y + 20) for x, y in starts], np.float64).reshape(-1, 4)


def _objects(labels, *starts, crowd=None):
    return Objects(_squares(*starts), np.array(labels, np.int32), np.array(crowd or [False] * len(labels), bool),
                   np.full(len(labels), 400.0))


TRUTH = [_objects([0, 1], (0, 0), (40, 40)), Objects.none(), _objects([0], (10, 10)),
         _objects([1, 1], (0, 0), (30, 0), crowd=[False, True]), _objects([0], (5, 30))]


def _outputs(*rows):
    """Decoded outputs of eight rows for two classes."""
    boxes, scores = np.zeros((1, 8, 4), np.float32), np.zeros((1, 8, 2), np.float32)
    for row, (label, score, start) in enumerate(rows):
        boxes[0, row], scores[0, row, label] = _squares(start)[0], score
    return boxes, scores


OUTPUTS = [_outputs((0, 0.9, (1, 0)), (1, 0.8, (40, 41))), _outputs((0, 0.3, (0, 0))), _outputs((0, 0.5, (10, 12))),
           _outputs((1, 0.7, (0, 1)), (1, 0.6, (31, 0)), (1, 0.2, (40, 40))), _outputs((1, 0.55, (5, 30)))]


def _dataset():
    return Dataset(["cat", "dog"], np.zeros(5, np.int32), 3, False, lambda sample: np.zeros((64, 64, 3), np.uint8),
                   target=TRUTH.__getitem__)


def _evaluator():
    return measures.BoxEvaluator(_dataset(), measures.Found(Limits(0.05, 0.5, 10, 100), [8], SPEC), "image {}".format)


def _feed(evaluator, numbers):
    for number in numbers:
        # Rows beyond the targets' fill a batch up and do not count.
        outputs = [np.concatenate([one, one]) for one in OUTPUTS[number]]
        evaluator.update(outputs, [np.array([number]), np.array([[64, 64]])])


def test_uneven_shards_give_what_one_process_gives_to_the_bit():
    whole = _evaluator()
    _feed(whole, range(5))
    parts = [_evaluator(), _evaluator()]
    _feed(parts[0], [0, 2, 4])
    _feed(parts[1], [1, 3])
    sums = []
    for part in parts:
        part.compute(lambda own: sums.append(own) or own)
    merged = parts[0].compute(lambda own: np.sum(sums, axis=0).tolist())
    assert merged == whole.compute() and merged["images"] == 5 and 0 < merged["ap"] < 100


def test_outputs_that_are_no_numbers_are_named():
    evaluator = _evaluator()
    outputs = [one.copy() for one in OUTPUTS[2]]
    outputs[1][0, 3, 1] = np.nan
    evaluator.update(outputs, [np.array([2]), np.array([[64, 64]])])
    with pytest.raises(NotFinite, match="1 of 5 test images are not finite .'image 2'"):
        evaluator.compute()


def _judgement(least=(0.4, 0.4)):
    evaluator = _evaluator()
    _feed(evaluator, range(5))
    return measures.Judgement(["cat", "dog"], measures.CocoMeasure(dict(enumerate(TRUTH)), evaluator.found.of, 2),
                              dict(enumerate(TRUTH)), evaluator.found.of, least)


def test_mistakes_are_counted_and_drawn():
    judged = _judgement()
    # The last image's cat is taken for a dog; the dog in the crowd counts neither way; below 0.4 nothing is shown.
    assert judged.measure.mistakes(judged.least) == {4: (1, 1)} and judged.worst(9) == [4]
    assert judged.measure.mistakes([0.1, 0.1]) == {1: (0, 1), 3: (0, 1), 4: (1, 1)}
    case = judged.case(4, Image.new("RGB", (64, 64)), SPEC)
    assert case.said == "1 not found, 1 of nothing" and len(case.pictures) == 2
    found, truth = (np.asarray(picture) for picture in case.pictures)
    assert found.any() and truth.any() and (found != truth).any()
    (title, lines), = judged.curves()
    assert "Precision over recall" in title and [name for name, _ in lines] == ["mean", "cat", "dog"]
    assert judged.class_rows()[1][:2] == ["cat", "3"] and judged.class_rows()[2][:2] == ["dog", "2"]
    facts = judged.as_dict()
    assert facts["ap_large"] is None and facts["classes"][0]["objects"] == 3
    with pytest.raises(ValueError, match="no confusion matrix"):
        judged.confusion_text()


def test_thresholds_lie_below_the_scores_of_the_best_f1():
    """Cats: right at 0.9 and 0.5, wrong at 0.3, one never found. Dogs: right at 0.8 and 0.7, wrong at 0.55 and 0.2."""
    thresholds, f1 = _judgement().thresholds()
    assert thresholds == pytest.approx([0.4, 0.625]) and f1 == pytest.approx([0.8, 1.0])
    nothing = measures.CocoMeasure(dict(enumerate(TRUTH)), {}, 2)
    judged = measures.Judgement(["cat", "dog"], nothing, {}, {}, (0.4, 0.4))
    assert judged.thresholds()[0] == [1.0, 1.0] and nothing.figures()["ap"] == 0
