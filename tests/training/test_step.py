"""The compiled step by hand: losses, clipping, accumulation, loss scale, running means, counters, teachers."""
import mindspore as ms
import numpy as np
import pytest
from mindspore import Parameter, Tensor, amp, nn

from ghost_ms.config import DistillConfig, LossConfig, OptimizerConfig
from ghost_ms.data.mixing import normalize_batch
from ghost_ms.data.transforms import Preprocessing
from ghost_ms.tasks.classification.loss import LabelCriterion, create_loss
from ghost_ms.training.clip import create_clip
from ghost_ms.training.distillation import Distillation, Teacher
from ghost_ms.training.ema import Ema
from ghost_ms.training.optimizer import create_optimizer
from ghost_ms.training.step import TrainStep

SGD = dict(momentum=0.0, weight_decay=0.0)


class Linear(nn.Cell):
    """(B, 3) to two logits; small enough to compute by hand."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Dense(3, 2)

    def construct(self, x):
        return self.fc(x)


class Normed(nn.Cell):
    """(B, 3, h, w) to two logits, with a BatchNorm and a last feature map of 4 channels."""

    def __init__(self):
        super().__init__()
        self.num_features = 4
        self.conv = nn.Conv2d(3, 4, 1, has_bias=True)
        self.bn = nn.BatchNorm2d(4)
        self.fc = nn.Dense(4, 2)

    def forward_features(self, x):
        return self.bn(self.conv(x))

    def forward_last(self, x):
        return self.forward_features(x)

    def forward_head(self, x):
        return self.fc(x.mean((2, 3)))

    def construct(self, x):
        return self.forward_head(self.forward_last(x))


def _step(net, rates=(0.5,) * 8, options=None, **kwargs):
    options = OptimizerConfig(**(options or SGD))
    optimizer = create_optimizer(net, options, list(rates))
    clip = create_clip(options, optimizer.parameters, ["fc.weight", "fc.bias"])
    loss = kwargs.pop("loss", create_loss(LossConfig()))
    return TrainStep(net, LabelCriterion(loss), optimizer, clip=clip, **kwargs).set_train()


def _batch(seed, size=4):
    draw = np.random.default_rng(seed)
    return draw.standard_normal((size, 3)).astype(np.float32), draw.integers(0, 2, size).astype(np.int32)


def _softmax(x):
    e = np.exp(x - x.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def _gradients(weight, bias, x, y):
    """Of the mean cross-entropy, for labels (B,) or shares (B, 2)."""
    target = np.eye(2)[y] if y.ndim == 1 else y
    error = (_softmax(x @ weight.T + bias) - target) / len(x)
    return error.T @ x, error.sum(0)


def _run(step, *batches):
    return [step(Tensor(x), Tensor(y)) for x, y in batches]


def _values(net):
    return net.fc.weight.asnumpy().astype(np.float64), net.fc.bias.asnumpy().astype(np.float64)


@pytest.mark.parametrize("options", [
    dict(), dict(label_smoothing=0.2), dict(threshold=0.3), dict(label_smoothing=0.2, sum_classes=True)])
def test_binary_cross_entropy(options):
    """Labels are smoothed, shares are as they are."""
    logits = np.array([[3.0, -80.0], [0.5, 90.0]])
    smoothing = options.get("label_smoothing", 0)
    loss = create_loss(LossConfig("binary_cross_entropy", **options))
    for labels, targets in ((Tensor([[0.4, 0.6], [1.0, 0.0]], ms.float32), np.array([[0.4, 0.6], [1.0, 0.0]])),
                            (Tensor([1, 0], ms.int32), np.eye(2)[[1, 0]] * (1 - smoothing) + smoothing / 2)):
        if "threshold" in options:
            targets = (targets > 0.3).astype(float)
        losses = targets * np.logaddexp(0, -logits) + (1 - targets) * np.logaddexp(0, logits)
        wanted = losses.sum(1).mean() if options.get("sum_classes") else losses.mean()
        assert float(loss(Tensor(logits, ms.float32), labels).asnumpy()) == pytest.approx(wanted, rel=1e-6)


def test_cross_entropy_smooths_labels_alone():
    logits = Tensor([[3.0, -1.0], [0.5, 2.0]], ms.float32)
    loss = create_loss(LossConfig(label_smoothing=0.2))
    values = [float(loss(logits, Tensor(labels, kind)).asnumpy()) for labels, kind in (
        ([1, 1], ms.int32), ([[0.1, 0.9], [0.1, 0.9]], ms.float32))]
    assert values[0] == pytest.approx(values[1], rel=1e-6)


def test_soft_targets_and_counters(graph):
    """A step takes labels and shares alike; sums stay on the device until they are asked for."""
    net = Linear()
    weight, bias = _values(net)
    step = _step(net)
    (x, y), (x2, _) = _batch(0), _batch(1)
    shares = np.random.default_rng(2).dirichlet([1, 1], 4).astype(np.float32)
    (loss, (correct,)), (loss2, (correct2,)) = _run(step, (x, y), (x2, shares))
    for inputs, labels in ((x, y), (x2, shares)):
        move = _gradients(weight, bias, inputs, labels)
        logits = inputs @ weight.T + bias
        weight, bias = weight - 0.5 * move[0], bias - 0.5 * move[1]
    np.testing.assert_allclose(net.fc.weight.asnumpy(), weight, atol=1e-6)
    assert float(loss2.asnumpy()) == pytest.approx(-(shares * np.log(_softmax(logits))).sum() / 4, rel=1e-5)
    assert int(correct2.asnumpy()) == (logits.argmax(1) == shares.argmax(1)).sum()
    health = step.health()
    assert health.loss == pytest.approx((float(loss.asnumpy()) + float(loss2.asnumpy())) / 2)
    assert health.sums["correct"] == int(correct.asnumpy()) + int(correct2.asnumpy())
    assert (health.bad_step, health.bad_run, health.skipped) == (-1, 0, 0)
    step.begin_epoch()
    assert step.health().sums["correct"] == 0 and int(step.clock.asnumpy()) == 2


def test_bytes_are_normalised_to_the_same_bits(graph):
    pixels, labels = np.random.default_rng(0).integers(0, 256, (4, 5, 6, 3), np.uint8), np.array([0, 1, 1, 0], np.int32)
    results = []
    for images in (pixels, normalize_batch(pixels, SPEC.mean, SPEC.std)):
        ms.set_seed(3)
        step = _step(Normed(), spec=SPEC)
        loss = [loss.asnumpy() for loss, _ in _run(step, (images, labels), (images, labels))]
        results.append(loss + [step.state()[name].asnumpy() for name in sorted(step.state())])
    assert len(results[0]) > 10 and results[0][0] != results[0][1]
    for one, other in zip(*results):
        np.testing.assert_array_equal(one, other)


def test_accumulated_gradients_are_averaged(graph):
    """Two batches of 4 for one update equal one of 8; between updates nothing moves."""
    net = Linear()
    weight, bias = _values(net)
    step = _step(net, rates=(0.5, 0.25), accumulate=2)
    for update in range(2):
        first, second = _batch(2 * update), _batch(2 * update + 1)
        _run(step, first)
        np.testing.assert_array_equal(net.fc.weight.asnumpy(), weight.astype(np.float32))
        _run(step, second)
        move = _gradients(weight, bias, np.concatenate([first[0], second[0]]), np.concatenate([first[1], second[1]]))
        weight, bias = weight - (0.5, 0.25)[update] * move[0], bias - (0.5, 0.25)[update] * move[1]
        np.testing.assert_allclose(net.fc.weight.asnumpy(), weight, atol=1e-6)
        weight, bias = _values(net)
    assert int(step.optimizer.global_step.asnumpy().item()) == 2 and int(step.clock.asnumpy()) == 4


@pytest.mark.parametrize("options", [dict(clip_norm=0.05), dict(clip_value=0.03), dict(clip_agc=0.01)])
def test_clipping(options):
    draw = np.random.default_rng(0)
    gradients = [draw.standard_normal((4, 3, 1, 2)) * 0.1, draw.standard_normal(4) * 0.1, draw.standard_normal((2, 3))]
    weights = [draw.standard_normal(g.shape) for g in gradients]
    weights[0][1] = 0
    gradients[0][2] *= 1e-3
    parameters = [Parameter(Tensor(w, ms.float32), name) for w, name in zip(weights, ("a", "b", "fc.weight"))]
    clip = create_clip(OptimizerConfig(**options), parameters, ["fc.weight"])
    clipped = clip(tuple(Tensor(g, ms.float32) for g in gradients))
    if "clip_norm" in options:
        norm = np.sqrt(sum((g ** 2).sum() for g in gradients))
        wanted = [g * 0.05 / norm for g in gradients]
    elif "clip_value" in options:
        wanted = [np.clip(g, -0.03, 0.03) for g in gradients]
    else:
        rows = [0.01 * max(np.linalg.norm(w), 1e-3) / np.linalg.norm(g) for w, g in zip(weights[0], gradients[0])]
        assert rows[2] > 1 > rows[0]
        wanted = [gradients[0] * np.minimum(rows, 1)[:, None, None, None],
                  gradients[1] * min(1, 0.01 * np.linalg.norm(weights[1]) / np.linalg.norm(gradients[1])), gradients[2]]
    for have, want in zip(clipped, wanted):
        np.testing.assert_allclose(have.asnumpy(), want, rtol=1e-5, atol=1e-9)


def test_running_means_wait_for_the_update(graph):
    """A step that only accumulates, or whose update is left out, leaves the means as they are."""
    net = Linear()
    ema = Ema(net, 0.5, warmup=False)
    step = _step(net, ema=ema, accumulate=2, skip_nonfinite=True)
    wanted = ema.means()
    for index, bad in enumerate((False, False, True, False)):
        x, y = _batch(index)
        _run(step, (x * (np.inf if bad else 1), y))
        if index == 1:
            wanted = {p.name: 0.5 * wanted[p.name] + 0.5 * p.asnumpy() for p in net.get_parameters()}
        for name, mean in ema.means().items():
            np.testing.assert_allclose(mean, wanted[name], atol=1e-6, err_msg=f"{name}, step {index}")
    assert step.health().skipped == 1 and not np.allclose(wanted["fc.weight"], net.fc.weight.asnumpy(), atol=1e-4)


@pytest.mark.parametrize("limit", [0.05, 1e3])
def test_the_norm_is_limited_alike_in_vectors_and_in_tensors(limit, graph):
    """RMSProp takes the factor itself; twice its rule, on gradients of the limited norm and of a small one."""
    net = Linear()
    weight, bias = _values(net)
    step = _step(net, options=dict(name="rmsprop", momentum=0.0, weight_decay=0.0, eps=1e-3, clip_norm=limit))
    assert step.takes_factor
    squares = [1.0, 1.0]
    for seed in range(2):
        x, y = _batch(seed)
        _run(step, (x, y))
        gradients = _gradients(weight, bias, x, y)
        norm = np.sqrt(sum((g * g).sum() for g in gradients))
        gradients = [g * min(1.0, limit / norm) for g in gradients]
        squares = [0.9 * s + 0.1 * g * g for s, g in zip(squares, gradients)]
        weight, bias = (p - 0.5 * g / np.sqrt(s + 1e-3) for p, g, s in zip((weight, bias), gradients, squares))
        assert norm > 0.1
    np.testing.assert_allclose(net.fc.weight.asnumpy(), weight, atol=1e-6)
    np.testing.assert_allclose(net.fc.bias.asnumpy(), bias, atol=1e-6)


def test_running_means_of_weights_and_statistics(graph):
    """min(decay, (1 + t) / (10 + t)), BatchNorm statistics included; the network gets its own values back."""
    net = Normed()
    start = {p.name: p.asnumpy().copy() for p in net.get_parameters()}
    ema = Ema(net, 0.2)
    step = _step(net, ema=ema)
    assert {"ema", "ema_updates"} <= set(step.state()) and set(ema.means()) == set(start)
    draw = np.random.default_rng(0)
    means = dict(start)
    for t in range(1, 4):
        x = draw.standard_normal((4, 3, 2, 2)).astype(np.float32)
        _run(step, (x, np.array([0, 1, 1, 0], np.int32)))
        decay = min(0.2, (1 + t) / (10 + t))
        means = {p.name: decay * means[p.name] + (1 - decay) * p.asnumpy() for p in net.get_parameters()}
        for name, mean in ema.means().items():
            np.testing.assert_allclose(mean, means[name], atol=1e-6, err_msg=name)
    assert not np.allclose(means["bn.moving_mean"], net.bn.moving_mean.asnumpy(), atol=1e-4)
    own = {p.name: p.asnumpy().copy() for p in net.get_parameters()}
    with ema.in_place():
        np.testing.assert_array_equal(net.bn.moving_mean.asnumpy(), ema.means()["bn.moving_mean"])
    for parameter in net.get_parameters():
        np.testing.assert_array_equal(parameter.asnumpy(), own[parameter.name])


def test_overflow_skips_the_update_and_halves_the_scale(graph):
    net = Linear()
    scaler = amp.DynamicLossScaler(2.0 ** 10, 2, 2)
    step = _step(net, scaler=scaler, ema=Ema(net, 0.5, warmup=False))
    weight, bias = _values(net)
    x, y = _batch(0)
    huge = x.copy()
    huge[0, 0] = np.inf
    _run(step, (huge, y))
    np.testing.assert_array_equal(net.fc.weight.asnumpy(), weight.astype(np.float32))
    assert float(scaler.scale_value.asnumpy()) == 2 ** 9 and step.health().skipped == 1
    assert int(step.optimizer.global_step.asnumpy().item()) == 0
    loss, _ = _run(step, (x, y))[0]
    assert float(loss.asnumpy()) == pytest.approx(-np.log(_softmax(x @ weight.T + bias)[range(4), y]).mean(), rel=1e-5)
    move = _gradients(weight, bias, x, y)
    np.testing.assert_allclose(net.fc.weight.asnumpy(), weight - 0.5 * move[0], atol=1e-6)
    _run(step, (x, y))
    assert float(scaler.scale_value.asnumpy()) == 2 ** 10 and step.health().skipped == 1
    assert {id(scaler.scale_value), id(scaler.counter)} <= {id(p) for p in step.state().values()}


def test_bad_losses_are_counted_and_may_be_skipped(graph):
    net = Linear()
    step = _step(net, skip_nonfinite=True)
    good, bad = _batch(0), (np.full((4, 3), np.nan, np.float32), np.zeros(4, np.int32))
    _run(step, good, bad, bad, good, bad, good)
    assert np.isfinite(net.fc.weight.asnumpy()).all()
    health = step.health()
    assert (health.bad_step, health.bad_run, health.skipped) == (4, 2, 3) and np.isfinite(health.loss)


SPEC = Preprocessing((2, 2), 3, (0.5, 0.4, 0.3), (0.2, 0.3, 0.4), 1.0, "bilinear")


def _teach(method, student=None, teacher_net=None, **options):
    """(student, its start, teacher's output for images, step)."""
    student, teacher_net = student or Normed(), teacher_net or Normed()
    teacher_net.fc.weight.set_data(Tensor(np.array([[2, -1, 1, 3], [-2, 1, 0, 1]]), ms.float32))
    teacher = Teacher(teacher_net, Preprocessing((2, 2), 3, (0.1, 0.2, 0.3), (1.0, 0.5, 0.25), 1.0, "bilinear"), SPEC)
    config = DistillConfig("teacher", method=method, **options)
    distillation = Distillation(teacher, config, student)
    optimizer = create_optimizer(student, OptimizerConfig(**SGD), [0.1] * 4, distillation.extra_parameters())
    return student, teacher, TrainStep(student, LabelCriterion(create_loss(LossConfig())), optimizer,
                                       distillation=distillation).set_train()


@pytest.mark.parametrize("method", ["soft", "hard", "features"])
def test_the_teachers_loss(method, graph):
    student, teacher, step = _teach(method, weight=0.7, label_weight=0.3, temperature=2.0)
    before = {p.name: p.asnumpy().copy() for p in teacher.get_parameters()}
    assert all(name.startswith("teacher.") for name in before) and not set(before) & set(step.state())
    x, y = np.random.default_rng(0).standard_normal((4, 3, 2, 2)).astype(np.float32), np.array([0, 1, 1, 0], np.int32)
    images = x * np.reshape(SPEC.std, (3, 1, 1)) + np.reshape(SPEC.mean, (3, 1, 1))
    images = (images - np.reshape([0.1, 0.2, 0.3], (3, 1, 1))) / np.reshape([1.0, 0.5, 0.25], (3, 1, 1))
    weights = {name.split("teacher.")[1]: value for name, value in before.items()}
    maps = np.einsum("oi,bihw->bohw", weights["conv.weight"][:, :, 0, 0], images) + weights["conv.bias"][:, None, None]
    maps = maps / np.sqrt(1 + 1e-5)
    wanted = maps.mean((2, 3)) @ weights["fc.weight"].T + weights["fc.bias"]
    own = student.conv.weight.asnumpy()[:, :, 0, 0]
    learned = np.einsum("oi,bihw->bohw", own, x) + student.conv.bias.asnumpy()[:, None, None]
    learned = (learned - learned.mean((0, 2, 3), keepdims=True)) / np.sqrt(learned.var((0, 2, 3), keepdims=True) + 1e-5)
    logits = learned.mean((2, 3)) @ student.fc.weight.asnumpy().T + student.fc.bias.asnumpy()
    label = -np.log(_softmax(logits)[range(4), y]).mean()
    if method == "soft":
        t, s = _softmax(wanted / 2), _softmax(logits / 2)
        taught = 4 * (t * (np.log(t) - np.log(s))).sum(1).mean()
    elif method == "hard":
        taught = -np.log(_softmax(logits)[range(4), wanted.argmax(1)]).mean()
    else:
        taught = ((learned - maps) ** 2).mean()
    loss, _ = _run(step, (x, y))[0]
    assert float(loss.asnumpy()) == pytest.approx(0.3 * label + 0.7 * taught, rel=1e-4)
    for parameter in teacher.get_parameters():
        np.testing.assert_array_equal(parameter.asnumpy(), before[parameter.name])


def test_a_wider_teacher_is_matched_through_a_projection(graph):
    wide = Normed()
    wide.num_features, wide.conv, wide.bn = 6, nn.Conv2d(3, 6, 1, has_bias=True), nn.BatchNorm2d(6)
    wide.fc = nn.Dense(6, 2)
    wide.fc.weight.set_data = lambda value: None
    student, _, step = _teach("features", teacher_net=wide)
    assert step.state()["projection.weight"].shape == (6, 4, 1, 1)
    start = step.state()["projection.weight"].asnumpy().copy()
    x = np.random.default_rng(0).standard_normal((4, 3, 2, 2)).astype(np.float32)
    first, second = (float(_run(step, (x, np.zeros(4, np.int32)))[0][0].asnumpy()) for _ in range(2))
    assert second < first and abs(step.state()["projection.weight"].asnumpy() - start).max() > 1e-3


def test_a_grey_teacher_and_another_size():
    colour, grey = SPEC, Preprocessing((4, 4), 1, (0.5,), (0.25,), 1.0, "bilinear")
    x = np.random.default_rng(0).standard_normal((2, 3, 2, 2)).astype(np.float32)
    raw = x * np.reshape(SPEC.std, (3, 1, 1)) + np.reshape(SPEC.mean, (3, 1, 1))
    wanted = ((raw * np.reshape([0.299, 0.587, 0.114], (3, 1, 1))).sum(1, keepdims=True) - 0.5) / 0.25
    seen = Teacher(Linear(), grey, colour).images(Tensor(x)).asnumpy()
    assert seen.shape == (2, 1, 4, 4)
    np.testing.assert_allclose(seen[:, :, 0, 0], wanted[:, :, 0, 0], rtol=1e-4, atol=1e-5)
    between = 0.75 * wanted[:, :, 0, 0] + 0.25 * wanted[:, :, 0, 1]
    np.testing.assert_allclose(seen[:, :, 0, 1], between, rtol=1e-4, atol=1e-5)
    flat = Preprocessing((2, 2), 1, (0.5,), (0.25,), 1.0, "bilinear")
    seen = Teacher(Linear(), SPEC, flat).images(Tensor(x[:, :1])).asnumpy()
    raw = x[:, :1] * 0.25 + 0.5
    wanted = (raw - np.reshape(SPEC.mean, (3, 1, 1))) / np.reshape(SPEC.std, (3, 1, 1))
    np.testing.assert_allclose(seen, wanted, rtol=1e-4, atol=1e-5)


def test_a_network_with_two_heads_trains_both(graph):
    """The loss is the mean of the heads' losses, the mean of their logits is counted, and both heads move."""
    class TwoHeads(nn.Cell):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Dense(3, 4), nn.Dense(3, 4)

        def construct(self, x):
            return self.first(x), self.second(x)

    net, draw = TwoHeads(), np.random.default_rng(0)
    x, labels = draw.standard_normal((5, 3)).astype(np.float32), draw.integers(0, 4, 5)
    before = [p.asnumpy().copy() for p in net.get_parameters()]
    heads = [x @ before[0].T + before[1], x @ before[2].T + before[3]]
    step = TrainStep(net, LabelCriterion(create_loss(LossConfig())), nn.SGD(net.trainable_params(), 0.1)).set_train()
    loss, *_ = step(Tensor(x), Tensor(labels, ms.int32))
    expected = np.mean([-np.log(_softmax(logits)[range(5), labels]).mean() for logits in heads])
    assert float(loss.asnumpy()) == pytest.approx(expected, rel=1e-5)
    assert step.health().sums["correct"] == (sum(heads).argmax(1) == labels).sum()
    assert all((p.asnumpy() != old).any() for p, old in zip(net.get_parameters(), before))
