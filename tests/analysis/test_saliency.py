"""Explanations of networks whose answer is known, and the command."""
import numpy as np
import pytest
from mindspore import Tensor, nn, ops
from PIL import Image

from ghost_ms import create_model, list_models, model_card
from ghost_ms.analysis.explain import explain, saliency
from ghost_ms.checkpoints.checkpoint import save_checkpoint
from ghost_ms.checkpoints.spec import ModelSpec
from ghost_ms.cli import main
from ghost_ms.data.transforms import Preprocessing
from ghost_ms.layers.graph import DynamicGraphConv
from ghost_ms.models.backbone import Backbone, FeatureInfo
from ghost_ms.models.backbones.tnt import TNT
from tests.tiny import Tiny, registered

RNG = np.random.default_rng(0)


class Linear(Backbone):
    """Two 1x1 convolutions, the second in a list and with tokens beside it, then the mean and a dense layer."""

    feature_info = (FeatureInfo(4, 1, "first"), FeatureInfo(5, 1, "rest"))

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 4, 1)
        self.rest = nn.CellList([Pair()])
        self.head = nn.Dense(5, 2)

    def construct(self, x):
        return self.head(self.rest[0](self.first(x))[1][:, 1:].mean(1))


class Pair(nn.Cell):
    """A map to (something else, tokens with a class token first), as blocks of TNT give them."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(4, 5, 1)

    def construct(self, x):
        y = self.conv(x)
        tokens = y.reshape(1, 5, -1).transpose(0, 2, 1)
        return x, ops.cat((tokens[:, :1] * 0, tokens), 1)


def _linear(image):
    net = Linear().set_train(False)
    first, second, head = (cell.weight.asnumpy().reshape(cell.weight.shape[:2])
                           for cell in (net.first, net.rest[0].conv, net.head))
    maps = [np.einsum("oc,chw->ohw", first, image)]
    maps.append(np.einsum("oc,chw->ohw", second, maps[0]))
    return net, maps, [head @ second, head]


@pytest.mark.parametrize("stage", [0, 1, -1])
@pytest.mark.parametrize("target", [0, 1, None])
def test_grad_cam_of_a_linear_network(stage, target):
    """The gradient of a logit by a map is its weight over the number of positions, everywhere."""
    image = RNG.standard_normal((3, 4, 6)).astype(np.float32)
    net, maps, gradients = _linear(image)
    found = saliency.grad_cam(net, image, stage, target)
    chosen = int(found.logits.argmax()) if target is None else target
    expected = np.maximum(np.einsum("c,chw->hw", gradients[stage][chosen] / 24, maps[stage]), 0)
    np.testing.assert_allclose(found.weights, expected, atol=1e-6)
    assert found.weights.max() > 0 and found.weights.min() == 0
    again = saliency.grad_cam(net, image, stage, target)
    np.testing.assert_array_equal(found.weights, again.weights, "no hook is left behind")


def test_grad_cam_bad_input():
    image = np.zeros((3, 4, 6), np.float32)
    with pytest.raises(ValueError, match="--stage is 2, but this Linear has the stages 0 to 1"):
        saliency.grad_cam(Linear(), image, 2)
    with pytest.raises(ValueError, match="class is 2, but the network has the classes 0 to 1"):
        saliency.grad_cam(Linear(), image, 0, 2)


def test_rollout_by_hand():
    """Two heads of mean [[.5, .5], [1, 0]]: with the shortcut [[.75, .25], [.5, .5]], and its square for two layers."""
    heads = np.array([[[0.25, 0.75], [1, 0]], [[0.75, 0.25], [1, 0]]])
    np.testing.assert_allclose(saliency.rollout([heads]), [[0.75, 0.25], [0.5, 0.5]])
    np.testing.assert_allclose(saliency.rollout([heads, heads]), [[0.6875, 0.3125], [0.625, 0.375]])
    one_way = np.array([[[0.0, 1.0], [0.0, 1.0]]])
    np.testing.assert_allclose(saliency.rollout([heads, one_way])[0], [0.625, 0.375], err_msg="the last layer is left")


def test_pooled_keys_stand_for_their_positions():
    attention = np.array([[[0.6, 0.4]] * 8])
    spread = saliency.spread_keys(attention, (2, 4), (1, 2))
    np.testing.assert_allclose(spread[0, 0].reshape(2, 4), [[0.15, 0.15, 0.1, 0.1]] * 2)
    np.testing.assert_array_equal(saliency.spread_keys(attention, (1, 2), (1, 2)), attention)


def test_rollout_through_tnt():
    """Twelve layers between 2 x 3 patches and the class token; attention between words is not among them."""
    net = TNT(32, 8, 4, num_classes=3, input_size=(32, 48)).set_train(False)
    image = RNG.standard_normal((3, 32, 48)).astype(np.float32)
    layers, logits = saliency.attention_matrices(net, image)
    assert [layer.shape for layer in layers] == [(4, 7, 7)] * 12 and logits.shape == (3,)
    np.testing.assert_allclose(np.stack(layers).sum(-1), 1, rtol=1e-5)
    found = saliency.attention_rollout(net, image)
    product = np.eye(7)
    for layer in layers:
        product = (layer.mean(0) + np.eye(7)) / 2 @ product
    np.testing.assert_allclose(found.weights, (product[0, 1:] / product[0, 1:].sum()).reshape(2, 3), rtol=1e-5)
    assert saliency.default_method(net) == "rollout"


class Graph(Backbone):
    """A graph over the pixels of an image of two channels."""

    feature_info = (FeatureInfo(4, 1, "graph"),)

    def __init__(self, pool=1):
        super().__init__()
        self.graph = DynamicGraphConv(2, 3, pool=pool)

    def construct(self, x):
        return self.graph(x).mean((2, 3))


def test_neighbours_of_known_features():
    """Pixels as unit vectors: the nearest are those of the nearest angle, the pixel itself first."""
    angles = np.array([[0.0, 1.0, 2.0], [3.0, 1.1, 2.2], [0.85, 2.9, 0.1]])
    image = np.stack([np.cos(angles), np.sin(angles)]).astype(np.float32)
    net = Graph().set_train(False)
    found, logits = saliency.chosen_neighbours(net, image)
    assert found == ((3, 3), (1, 1), (3, 3), [(1, 1), (0, 1), (2, 0)]) and logits.shape == (4,)
    assert saliency.chosen_neighbours(net, image, patch=(1, 0))[0].cells == [(1, 0), (2, 1), (1, 2)]
    assert saliency.default_method(net) == "neighbours"
    with pytest.raises(ValueError, match="no patch in row 3 and column 0 of 3x3 patches"):
        saliency.chosen_neighbours(net, image, patch=(3, 0))
    with pytest.raises(ValueError, match="Linear is no graph network; choose --method gradcam"):
        saliency.chosen_neighbours(Linear().set_train(False), np.zeros((3, 2, 2), np.float32))


def test_neighbours_on_a_pooled_map():
    angles = np.repeat(np.repeat([[0.0, 1.0], [2.0, 3.0]], 2, 0), 4, 1)
    image = np.stack([np.cos(angles), np.sin(angles)]).astype(np.float32)
    found, _ = saliency.chosen_neighbours(Graph(pool=2).set_train(False), image, patch=(3, 0))
    assert (found.grid, found.others) == ((4, 8), (2, 4))
    assert set(found.cells[:2]) == {(1, 0), (1, 1)}, "both are equally near"
    assert found.cells[2] in {(0, 2), (0, 3), (1, 2), (1, 3)}


def test_what_is_drawn():
    """Heat: shares of the largest, zero where nothing counts. Boxes: left, top, width, height in pixels."""
    heat = explain.heat_map(np.array([[0.0, 2.0]]), (3, 8))
    assert heat.shape == (3, 8) and heat[0, 0] == 0 and heat[0, -1] == 1 and (np.diff(heat[0]) >= 0).all()
    assert (explain.heat_map(np.zeros((2, 2)), (4, 4)) == 0).all()
    found = saliency.Neighbours((4, 8), (3, 0), (2, 4), [(1, 2)])
    assert explain.boxes(found, (32, 64)) == [(0, 24, 8, 8), (32, 16, 16, 16)]


def test_class_names_and_numbers():
    assert explain.class_index("cat", ["dog", "cat"]) == 1 and explain.class_index("7", ["dog"]) == 7
    assert explain.class_index(None, []) is None
    with pytest.raises(ValueError, match="no class 'catt'; did you mean 'cat'"):
        explain.class_index("catt", ["dog", "cat"])


def _families():
    cards = [model_card(name) for name in list_models()]
    return sorted(min((card for card in cards if card.family == family), key=lambda card: card.macs).name
                  for family in {card.family for card in cards})


@pytest.mark.slow
@pytest.mark.parametrize("name", _families())
def test_every_stage_of_every_family(name):
    """What is taken from the named cell is the map of the pyramid, and a gradient reaches it."""
    size = (64, 96)
    net = create_model(name, input_size=size).set_train(False)
    image = RNG.standard_normal((3, *size)).astype(np.float32)
    maps = net.forward_pyramid(Tensor(image[None]))
    for stage, (info, expected) in enumerate(zip(net.feature_info, maps)):
        output = saliency.stage_output(net, saliency.stage_cell(net, stage), Tensor(image[None]))
        found = saliency.as_map(output.asnumpy(), info.channels, expected.shape[2:])
        np.testing.assert_allclose(found, expected[0].asnumpy(), atol=1e-5, err_msg=info.name)
        cam = saliency.grad_cam(net, image, stage)
        assert cam.weights.shape == expected.shape[2:] and np.isfinite(cam.weights).all()
    method = saliency.default_method(net)
    if method == "neighbours":
        assert len(saliency.chosen_neighbours(net, image)[0].cells) >= 1
    if method == "rollout" or name.startswith(("cmt", "ptnt")):
        assert saliency.attention_rollout(net, image).weights.sum() == pytest.approx(1)


@pytest.fixture
def project(tmp_path):
    """A checkpoint of a network of two convolutions, and two pictures."""
    with registered():
        spec = Preprocessing((32, 48), 3, (0.5,) * 3, (0.5,) * 3, 1.0, "bilinear")
        save_checkpoint(Tiny(), str(tmp_path / "tiny.ckpt"), ModelSpec("tiny", {"num_classes": 4, "in_channels": 3},
                                                                         ["ant", "bee", "cow", "dog"], spec))
        for name in ("a.png", "b.jpg"):
            Image.fromarray(RNG.integers(0, 256, (40, 60, 3), np.uint8)).save(tmp_path / name)
        yield tmp_path


def test_the_command_writes_a_picture_beside_each_image(project, capsys):
    """A second call finds the same images: pictures of the first are none."""
    for _ in range(2):
        assert main(["explain", "--ckpt", str(project / "tiny.ckpt"), "--image", str(project), "--class", "cow"]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert [line.split(": ")[0] for line in lines] == [
            str(project / f"{name}_gradcam.png") for name in ("a_png", "b_jpg")]
        assert "tiny, cow " in lines[0] and "gradcam, stage 1 (stage)" in lines[0] and "of 4x6" in lines[0]
    picture = np.asarray(Image.open(project / "a_png_gradcam.png").convert("RGB"))
    assert picture.shape[1] > picture.shape[0] > 300 and picture.std() > 10
    assert main(["explain", "--ckpt", str(project / "tiny.ckpt"), "--image", str(project / "a.png"), "--stage", "0",
                 "-o", str(project / "first.png")]) == 0
    assert "stage 0 (stem)" in capsys.readouterr().out and (project / "first.png").is_file()


@pytest.mark.parametrize("argv, words", [
    (["--stage", "2"], "--stage is 2"), (["--method", "neighbours"], "is no graph network"),
    (["--method", "rollout"], "no attention between the patches"), (["--class", "elk"], "there is no class 'elk'"),
    (["--patch", "1", "1"], "--patch is for --method neighbours"), (["--class", "9"], "the class is 9"),
    (["--method", "neighbours", "--class", "ant"], "--class is for --method gradcam"),
    (["-o", "/proc/x.png"], "cannot write '/proc/x.png'")])
def test_bad_input(project, argv, words, capsys):
    assert main(["explain", "--ckpt", str(project / "tiny.ckpt"), "--image", str(project / "a.png"), *argv]) == 1
    assert words in capsys.readouterr().err
    assert sorted(path.name for path in project.iterdir()) == ["a.png", "b.jpg", "tiny.ckpt"]


def test_one_output_for_several_images(project, capsys):
    assert main(["explain", "--ckpt", str(project / "tiny.ckpt"), "--image", str(project), "-o", "x.png"]) == 1
    assert "there are 2 images" in capsys.readouterr().err
