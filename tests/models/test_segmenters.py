"""Segmenters: torchvision's numbers from its parameters, and every head on every backbone that allows it."""
import mindspore as ms
import numpy as np
import pytest
from mindspore import nn, ops
from safetensors.numpy import save_file

from ghost_ms import create_model, create_segmenter
from ghost_ms.models import list_models, model_card
from ghost_ms.surgery.fold_norms import to_deploy_form
from ghost_ms.weights.convert import load_torch_state, torch_names, torch_state
from tests import golden

MOBILE = dict(backbone="mobilenetv3_large_100", norm_eps=1e-3, norm_momentum=0.99, early_taps=True)
BUILT = {
    "lraspp_mobilenet_v3_large": dict(MOBILE, name="lraspp"),
    "deeplabv3_mobilenet_v3_large": dict(MOBILE, name="deeplabv3", aux=2),
    "deeplabv3_resnet50": dict(name="deeplabv3", backbone="resnet50", aux=3, output_stride=8),
    "fcn_resnet50": dict(name="fcn", backbone="resnet50", aux=3, output_stride=8),
}
#: One of each family, the smallest.
FAMILIES = {}
for _name in sorted(list_models(), key=lambda name: model_card(name).macs):
    FAMILIES.setdefault(model_card(_name).family, _name)


def built(name, classes=6):
    return create_segmenter(num_classes=classes, **BUILT[name])


@pytest.mark.parametrize("name", sorted(BUILT))
def test_they_are_registered_under_torchvisions_names(name):
    """With its parameters and names; the deploy form gives the main logits alone."""
    card, net = model_card(name), create_model(name, num_classes=21)
    assert sum(p.size for p in net.trainable_params()) == card.params
    assert name in list_models(task="segmentation") and name not in list_models()
    other = built(name, 21)
    assert {key: p.shape for key, p in net.parameters_dict().items()} == {
        key: p.shape for key, p in other.parameters_dict().items()}
    record, _, state = golden.load(name, "segmentation")
    net = create_model(name, num_classes=6)
    fill(net, record, state)
    images = ms.Tensor(golden.image((1, *record["input"][1:]), record["image_seed"]))
    full = net.set_train(False)(images)
    assert len(full) == (1 if name.startswith("lraspp") else 2)
    deployed = to_deploy_form(net)(images)
    assert len(deployed) == 1 and not any("aux" in key for key in net.parameters_dict())
    difference = np.abs(deployed[0].asnumpy() - full[0].asnumpy()).max()
    assert difference < 1e-3 * np.abs(full[0].asnumpy()).max()


def test_released_weights_load_by_name_and_other_classes_start_fresh(tmp_path, caplog):
    name = "deeplabv3_mobilenet_v3_large"
    net = create_model(name)
    path = str(tmp_path / "net.safetensors")
    save_file({key: np.ascontiguousarray(value) for key, value in torch_state(net).items()}, path)
    same = create_model(name, pretrained=path)
    for key, parameter in net.parameters_dict().items():
        np.testing.assert_array_equal(parameter.asnumpy(), same.parameters_dict()[key].asnumpy())
    caplog.clear()
    fresh = create_model(name, pretrained=path, num_classes=3)
    assert "the classifier is fresh (the file's has another class count)" in caplog.text
    assert fresh.classifier[4].weight.shape[0] == fresh.aux_classifier[4].weight.shape[0] == 3
    np.testing.assert_array_equal(fresh.classifier[1].weight.asnumpy(), net.classifier[1].weight.asnumpy())
    without = create_model(name, aux_loss=False)
    assert len(without.set_train(False)(ms.Tensor(np.zeros((1, 3, 33, 33), np.float32)))) == 1
    with pytest.raises(ValueError, match="one class or more"):
        create_model(name, num_classes=0)


def fill(net, record, state):
    """All entries of torchvision's state, its counters included."""
    counters = {entry: np.zeros(shape, np.int64) for entry, shape, *_ in record["state"] if entry.endswith("tracked")}
    load_torch_state(net, {**state, **counters})


def loss_of(outputs, labels):
    """(total, main): cross-entropy over the pixels that are not 255, the auxiliary one with half its weight."""
    losses = [ops.cross_entropy(logits, labels, ignore_index=255) for logits in outputs]
    return sum(loss * weight for loss, weight in zip(losses, (1.0, 0.5))), losses[0]


@pytest.mark.parametrize("name", golden.names("segmentation"))
def test_logits_and_losses_are_torchvisions(name):
    record, arrays, state = golden.load(name, "segmentation")
    net = built(name).set_train(False)
    assert sum(p.size for p in net.trainable_params()) == record["params"]
    fill(net, record, state)
    found = net(ms.Tensor(golden.image(record["input"], record["image_seed"])))
    titles = ("out", "aux")[:len(found)]
    assert {f"logits/{title}" for title in titles} == {key for key in arrays if key.startswith("logits/")}
    for title, logits in zip(titles, found):
        expected = arrays[f"logits/{title}"]
        difference = np.abs(logits.asnumpy().reshape(-1)[arrays["index"]] - expected).max()
        assert difference <= 10 * record["fp32_deviation"][title] * expected.std()
    assert (found[0].asnumpy().argmax(1) == arrays["argmax"]).mean() > 0.999
    batch, _, height, width = record["input"]
    labels = ms.Tensor(golden.label_map((batch, height, width), 6, record["label_seed"]), ms.int32)
    total, main = (float(value.asnumpy()) for value in loss_of(found, labels))
    assert [main, total] == pytest.approx([record["losses"]["out"], record["losses"]["total"]], rel=1e-4)


@pytest.mark.parametrize("name", golden.names("segmentation_train"))
def test_three_training_steps_are_torchvisions(name, graph):
    record, arrays, state = golden.load(name, "segmentation_train")
    net = built(name)
    for _, cell in net.cells_and_names():
        if isinstance(cell, nn.Dropout):
            cell.p = 0.0
    fill(net, record, state)
    options = record["optimizer"]
    optimizer = nn.SGD(net.trainable_params(), options["lr"], options["momentum"], weight_decay=options["weight_decay"])

    step = nn.TrainOneStepCell(_Loss(net), optimizer).set_train()
    batch, _, height, width = record["input"]
    for index, course in enumerate(record["course"]):
        seed = record["first_image_seed"] + index
        labels = golden.label_map((batch, height, width), 6, seed + 100)
        loss = step(ms.Tensor(golden.image(record["input"], seed)), ms.Tensor(labels, ms.int32))
        assert float(loss.asnumpy()) == pytest.approx(course["total"], rel=1e-4)
    ours = {other: net.parameters_dict()[own].asnumpy() for own, other in torch_names(net).items()}
    norms = [np.linalg.norm(ours[entry].astype(np.float64)) for entry in record["norm_names"]]
    np.testing.assert_allclose(norms, arrays["norms"], rtol=1e-3, atol=1e-4)


class _Loss(nn.Cell):
    def __init__(self, net):
        super().__init__(auto_prefix=False)
        self.net = net

    def construct(self, images, labels):
        return loss_of(self.net(images), labels)[0]


#: Networks whose last map cannot have a stride of 16, or whose maps all have it.
NO_LRASPP = {"augvit_small", "cmt_ti", "hire_mlp_tiny", "lego_vgg16", "ptnt_ti_patch16_192", "pvig_ti", "snnmlp_t",
             "tnt_s_patch16_224", "vanillanet_5", "versatile_resnet50", "vig_ti", "wavemlp_t_dw"}
#: Networks without maps of strides 4 to 32.
NO_PYRAMID = {"augvit_small", "ptnt_ti_patch16_192", "tnt_s_patch16_224", "vig_ti"}


@pytest.mark.parametrize("head, without", [("lraspp", NO_LRASPP), ("semantic_fpn", NO_PYRAMID)])
@pytest.mark.parametrize("name", FAMILIES.values())
def test_every_family_segments_or_says_why_not(name, head, without):
    card = model_card(name)
    size = card.input_size if card.sized else (64, 96)
    arguments = {"input_size": size} if card.sized else {}
    if name in without:
        with pytest.raises(ValueError, match="cannot have output_stride|has no map of stride"):
            create_segmenter(head, name, 5, **arguments)
        return
    net = create_segmenter(head, name, 5, **arguments)
    logits, = net.set_train(False)(ms.Tensor(np.zeros((1, 3, *size), np.float32)))
    assert logits.shape == (1, 5, *size) and np.isfinite(logits.asnumpy()).all()
    gone = net.backbone.head_cells if head == "lraspp" else net.backbone.layer_parts()[-1]
    unused = tuple(f"backbone.{path}." for path in gone)
    assert not [path for path, _ in net.parameters_and_names() if path.startswith(unused)]
    assert all(parameter.name == path for path, parameter in net.parameters_and_names())


def test_what_is_impossible_is_refused():
    for arguments, words in (
            (dict(name="unet", backbone="resnet50"), "there is no segmenter 'unet'; known are lraspp, deeplabv3"),
            (dict(name="lraspp", backbone="resnet50", aux=3), "lraspp has no auxiliary head; leave aux out"),
            (dict(name="fcn", backbone="resnet50", aux=5), "aux is 5; a ResNet50 has the maps 0 to 4"),
            (dict(name="fcn", backbone="resnet50", early_taps=True), "gives no maps within its stages"),
            (dict(name="semantic_fpn", backbone="ghostnet_050", early_taps=True), "leave early_taps out"),
            (dict(name="fcn", backbone="wavemlp_t"), "cannot have output_stride 16")):
        with pytest.raises(ValueError, match=words):
            create_segmenter(num_classes=3, **arguments)


@pytest.mark.parametrize("mode", [ms.GRAPH_MODE, ms.PYNATIVE_MODE], ids=["graph", "pynative"])
def test_deeplab_does_not_train_on_one_image(mode):
    """Its pooled branch has one value per channel then, and the variance of that is none."""
    ms.set_context(mode=mode)
    net = create_segmenter("deeplabv3", "mobilenetv3_small_100", 3)
    one = ms.Tensor(np.zeros((1, 3, 32, 32), np.float32))
    assert np.isfinite(net.set_train(False)(one)[0].asnumpy()).all()
    with pytest.raises(ValueError, match="train with two images per step and device or more"):
        net.set_train()(one)
