"""Every registered network has its published recipe, and its recipe makes a training step."""
import functools
import pathlib

import mindspore as ms
import numpy as np
import pytest

from ghost_ms import config
from ghost_ms.checkpoints.checkpoint import save_checkpoint
from ghost_ms.checkpoints.spec import ModelSpec
from ghost_ms.models import list_models, model_card
from ghost_ms.tasks.classification.loss import LabelCriterion, create_loss
from ghost_ms.training.build import create_step
from ghost_ms.training.schedule import learning_rates, scaled
from tests.training.test_fit import preprocessing_of_size

FOLDER = pathlib.Path(__file__).parents[2] / "configs"
NAMES = list_models()
FULL_PRECISION = ("--precision.level", "O0", "--precision.loss_scale", "1", "--precision.dynamic", "false")
#: Recipes whose step is compiled without --slow.
COMPILED = ("ghostnet_050", "lego_vgg16")


@functools.lru_cache(maxsize=None)
def _parser():
    """One for all files: building it takes longer than reading one."""
    return config.build_parser("test", "")


def _load(name, *overrides):
    return config.parse(_parser(), ["--config", _recipe(name), *overrides])[0]


def _recipe(name):
    card = model_card(name)
    dataset = "cifar10" if name == "lego_vgg16" else "imagenet"
    return str(FOLDER / card.family / f"{name}_{dataset}.yaml")


def _step(recipe, size, teacher=None):
    """The step of a recipe at a small size, with a teacher that needs no download."""
    recipe.distill.teacher = teacher
    args = {"num_classes": 4, **recipe.model.args}
    description = ModelSpec(recipe.model.name, args, [], preprocessing_of_size(size))
    ms.set_seed(1)
    net = description.build()
    net.begin_training(recipe.train.epochs, **recipe.model.training)
    criterion = LabelCriterion(create_loss(recipe.loss))
    return net, create_step(net, recipe, [0.001] * 4, description, criterion).set_train()


@pytest.mark.parametrize("name", NAMES)
def test_there_is_a_recipe(name):
    recipe = _load(name)
    card = model_card(name)
    assert recipe.model.name == name and recipe.data.input_size in (None, card.input_size)
    # On 8 devices the published batch, and so the published rate.
    base = recipe.optimizer.base_batch
    if base is not None and name not in ("efficientnet_b0", "efficientnet_lite0", "tf_efficientnet_lite0"):
        assert base == 8 * recipe.data.batch_size
    peak, schedule = scaled(recipe.optimizer, recipe.schedule, base or recipe.data.batch_size)
    rates = learning_rates(peak, schedule, recipe.train.epochs, 10)
    assert len(rates) == 10 * recipe.train.epochs
    assert max(rates) >= recipe.optimizer.lr * (1 if recipe.schedule.name != "step" else 0.8)
    text = " ".join(pathlib.Path(_recipe(name)).read_text().replace("# ", "").split())
    assert "Not measured here" in text and _recipe(name).split("/configs/")[1] in text
    assert card.top1 is None or f"{card.top1:g} % top-1" in text


def test_the_base_recipes_hold_the_published_settings():
    """A few by hand, through their bases."""
    vig, cmt, snn = (_load(name) for name in ("pvig_s", "cmt_xs", "snnmlp_b"))
    assert (vig.optimizer.name, vig.optimizer.lr, vig.optimizer.weight_decay) == ("adamw", 2e-3, 0.05)
    assert (vig.schedule.warmup_epochs, vig.schedule.min_lr, vig.train.epochs) == (20, 1e-5, 310)
    assert vig.ema.decay == 0.99996 and vig.augment.repeated == 3
    assert vig.model.args == {"drop_path_rate": 0.1}
    assert cmt.optimizer.lr == pytest.approx(7e-4 * 2048 / 512) and cmt.schedule.min_lr == 2e-5
    assert (cmt.train.epochs, cmt.ema.decay, cmt.optimizer.weight_decay) == (410, 0.9998, 0.04)
    assert snn.optimizer.lr * snn.optimizer.group_lr["lif"] == pytest.approx(1e-4) and snn.optimizer.clip_norm == 5
    vanilla, ghost = _load("vanillanet_6"), _load("ghostnetv2_130")
    assert (vanilla.optimizer.lr, vanilla.optimizer.layer_decay) == (4.8e-3, 0.8)
    assert vanilla.model.training == {"activation_epochs": 100}
    assert (ghost.schedule.decay_epochs, ghost.schedule.decay_rate, ghost.schedule.noise) == (2.4, 0.973, [0.42, 0.9])
    assert _load("ghostnetv3_100").distill.teacher == "cmt_s"


@pytest.mark.parametrize("name", [pytest.param(name, marks=[] if name in COMPILED else [pytest.mark.slow])
                                  for name in NAMES])
def test_its_step_runs(name, graph):
    """Two images of 64 pixels; float32, since the CPU's float16 is slow and the levels have tests of their own."""
    recipe = _load(name, *FULL_PRECISION)
    size = (32, 32) if name == "lego_vgg16" else (64, 64)
    net, step = _step(recipe, size)
    before = {p.name: p.asnumpy().copy() for p in net.trainable_params()}
    x = ms.Tensor(np.random.default_rng(0).standard_normal((2, 3, *size)), ms.float32)
    loss, _ = step(x, ms.Tensor([0, 1], ms.int32))
    assert np.isfinite(float(loss.asnumpy()))
    moved = [p.name for p in net.trainable_params() if not np.array_equal(p.asnumpy(), before[p.name])]
    assert len(moved) > 0.5 * len(before)


@pytest.mark.slow
def test_the_strategy_of_ghostnetv3_runs_from_its_recipe(tmp_path):
    """Re-parameterised form, teacher, running means and LAMB together; the public code for it cannot run."""
    path = str(tmp_path / "teacher.ckpt")
    spec = preprocessing_of_size((64, 64))
    description = ModelSpec("shufflenetv2_x0_5", {"num_classes": 4}, ["a", "b", "c", "d"], spec)
    save_checkpoint(description.build(), path, description)
    recipe = _load("ghostnetv3_050", *FULL_PRECISION)
    assert recipe.optimizer.name == "lamb" and recipe.ema.decay == 0.9999
    assert not recipe.augment.mixup and not recipe.augment.cutmix
    net, step = _step(recipe, (64, 64), path)
    x = ms.Tensor(np.random.default_rng(0).standard_normal((8, 3, 64, 64)), ms.float32)
    losses = [float(step(x, ms.Tensor([0, 1, 2, 3] * 2, ms.int32))[0].asnumpy()) for _ in range(4)]
    assert losses[-1] < losses[0] and "ema" in step.state()
    before = net.set_train(False)(x).asnumpy()
    net.reparameterize()
    np.testing.assert_allclose(net(x).asnumpy(), before, rtol=1e-3, atol=1e-4)


ASCEND = sorted(FOLDER.glob("*/*_ascend.yaml"))


@pytest.mark.parametrize("path", ASCEND, ids=lambda path: path.stem)
def test_a_recipe_for_atlas_differs_in_precision_alone(path):
    recipe = config.parse(_parser(), ["--config", str(path)])[0]
    plain = config.parse(_parser(), ["--config", str(path).replace("_ascend", "")])[0]
    assert (recipe.precision.level, recipe.precision.dynamic) == ("O2", True) and plain.precision.level == "O0"
    recipe.precision, recipe.run = plain.precision, plain.run
    assert recipe == plain and str(path).split("/configs/")[1] in path.read_text()


@pytest.mark.slow
@pytest.mark.parametrize("path", ASCEND, ids=lambda path: path.stem)
def test_its_step_in_half_precision_runs(path, graph):
    recipe = config.parse(_parser(), ["--config", str(path)])[0]
    _, step = _step(recipe, (64, 64))
    x = ms.Tensor(np.random.default_rng(0).standard_normal((2, 3, 64, 64)), ms.float32)
    loss, _ = step(x, ms.Tensor([0, 1], ms.int32))
    assert np.isfinite(float(loss.asnumpy()))
    # The scale is large: an update may have been left out, and then the scale is halved.
    assert int(step.skipped.asnumpy()) in (0, 1)
    assert float(step.scaler.scale_value.asnumpy()) == 65536 / 2 ** int(step.skipped.asnumpy())
