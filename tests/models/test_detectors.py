"""Detectors: torchvision's numbers from its parameters, and every head on every family."""
import mindspore as ms
import numpy as np
import pytest
from safetensors.numpy import save_file

from ghost_ms import create_detector, create_model, list_models, model_card
from ghost_ms.models.coders import Decoded
from ghost_ms.models.detector import DETECTORS
from ghost_ms.models.detectors import HEADS
from ghost_ms.surgery.fold_norms import to_deploy_form
from ghost_ms.weights.convert import load_torch_state, torch_names, torch_state
from tests import golden

RAW = ("cls_logits", "bbox_regression", "bbox_ctrness")
#: One of each family, the smallest.
FAMILIES = {}
for _name in sorted(list_models(), key=lambda name: model_card(name).macs):
    FAMILIES.setdefault(model_card(_name).family, _name)
#: Families whose maps all have one stride, or do not begin at 8.
RESAMPLED = {"augvit_small": {8: 16, 32: 16}, "tnt_s_patch16_224": {8: 16, 32: 16}, "vig_ti": {8: 16, 32: 16}}


def filled(name, record, state, **arguments):
    """Built with the record's classes and weights, torchvision's counters included."""
    net = create_model(name, num_classes=record["args"]["num_classes"] if "args" in record else 6, **arguments)
    counters = {entry: np.zeros(shape, np.int64) for entry, shape, *_ in record["state"] if entry.endswith("tracked")}
    load_torch_state(net, {**state, **counters})
    return net.set_train(False)


@pytest.mark.parametrize("name", golden.names("detection"))
def test_raw_outputs_are_torchvisions(name):
    record, arrays, state = golden.load(name, "detection")
    net = filled(name, record, state)
    assert sum(p.size for p in net.trainable_params()) == record["params"]
    found = net(ms.Tensor(golden.image(record["input"], record["image_seed"])))
    assert {f"raw/{title}" for title in RAW[:len(found)]} == {key for key in arrays if key.startswith("raw/")}
    for title, one in zip(RAW, found):
        expected = arrays[f"raw/{title}"]
        assert one.shape[1] == record["anchors"]
        difference = np.abs(one.asnumpy()[:, arrays["index"]] - expected).max()
        assert difference <= 10 * record["fp32_deviation"][title] * expected.std()
    own = net.coder.anchors(tuple(record["input"][2:]))
    np.testing.assert_allclose(own[arrays["index"]], arrays["anchors"], atol=1e-4)


@pytest.mark.parametrize("name", sorted(HEADS))
def test_they_are_registered_under_torchvisions_names(name):
    card, net = model_card(name), create_model(name)
    assert sum(p.size for p in net.trainable_params()) == card.params
    assert name in list_models(task="detection") and name not in list_models()
    same = DETECTORS[HEADS[name]]
    assert type(net.coder) is type(same.coder(1)) and net.coder.first_class == 1


def test_released_weights_load_by_name_and_other_classes_start_fresh(tmp_path, caplog):
    name = "ssdlite320_mobilenet_v3_large"
    net = create_model(name)
    path = str(tmp_path / "net.safetensors")
    save_file({key: np.ascontiguousarray(value) for key, value in torch_state(net).items()}, path)
    same = create_model(name, pretrained=path)
    for key, parameter in net.parameters_dict().items():
        np.testing.assert_array_equal(parameter.asnumpy(), same.parameters_dict()[key].asnumpy())
    caplog.clear()
    fresh = create_model(name, pretrained=path, num_classes=3)
    assert "the classifier is fresh (the file's has another class count)" in caplog.text
    assert fresh.head.classification_head.module_list[0][1].weight.shape[0] == 18
    key = "head.regression_head.module_list.0.1.weight"
    np.testing.assert_array_equal(fresh.parameters_dict()[key].asnumpy(), net.parameters_dict()[key].asnumpy())
    logits, codes = fresh.set_train(False)(ms.Tensor(np.zeros((1, 3, 64, 64), np.float32)))
    assert logits.shape[1:] == (codes.shape[1], 3)


@pytest.mark.parametrize("head", sorted(DETECTORS))
def test_the_deploy_form_decodes_and_counts_the_datas_classes(head):
    net = create_detector(head, "ghostnet_050", 3)
    images = ms.Tensor(golden.image((2, 3, 72, 100), 0))
    before = [one.asnumpy() for one in Decoded(net, (72, 100)).set_train(False)(images)]
    boxes, scores = before
    rows = sum(net.coder.levels((72, 100)))
    assert boxes.shape == (2, rows, 4) and scores.shape == (2, rows, 3)
    assert boxes.min() >= 0 and (boxes <= np.array([100, 72, 100, 72])).all() and 0 <= scores.min() <= scores.max() <= 1
    after = Decoded(to_deploy_form(net), (72, 100)).set_train(False)(images)
    np.testing.assert_allclose(after[0].asnumpy(), boxes, atol=1e-2)
    np.testing.assert_allclose(after[1].asnumpy(), scores, atol=1e-5)


@pytest.mark.parametrize("head", ["ssdlite", "retinanet"])
@pytest.mark.parametrize("name", FAMILIES.values())
def test_every_family_detects(name, head):
    """Maps that a family does not have are resampled, and the network says which."""
    card = model_card(name)
    size = card.input_size if card.sized else (64, 96)
    net = create_detector(head, name, 5, **({"input_size": size} if card.sized else {})).set_train(False)
    there = {info.stride for info in net.backbone.feature_info}
    assert set(net.resampled) == set(net.wanted) - there and set(net.resampled.values()) <= there
    if head == "retinanet":
        assert net.resampled == RESAMPLED.get(name, net.resampled if name.startswith("ptnt") else {})
    raw = net(ms.Tensor(golden.image((1, 3, *size), 0)))
    assert raw[0].shape == (1, sum(net.coder.levels(size)), 5 + net.spare) and raw[1].shape == (*raw[0].shape[:2], 4)
    assert np.isfinite(raw[0].asnumpy()).all()
    assert len(torch_names(net)) == len(set(torch_names(net).values()))
    parts = [part for layer in net.layer_parts() for part in layer]
    for key in net.parameters_dict():
        assert sum(key == part or key.startswith(f"{part}.") for part in parts) == 1, key


def test_what_cannot_be_is_a_sentence():
    with pytest.raises(ValueError, match="there is no detector 'yolo'; known are ssdlite, retinanet"):
        create_detector("yolo", "ghostnet_050", 3)
    with pytest.raises(ValueError, match="a detector has one class or more"):
        create_detector("fcos", "ghostnet_050", 0)
