"""The first lines of a run say what decides its result."""
import types

import mindspore as ms
import numpy as np
import pytest
from mindspore import Parameter

from ghost_ms.config import Config, EmaConfig, PrecisionConfig
from ghost_ms.core import device
from ghost_ms.tasks.classification.words import classes_line
from ghost_ms.training import curves
from ghost_ms.training.ema import Ema
from ghost_ms.training.facts import (device_line, ema_line, initial_share, precision_line, rate_line,
                                     steps_line)
from ghost_ms.training.fit import Job, fit
from ghost_ms.training.schedule import peak_rate
from tests.tiny import Tiny, registered
from tests.training.recipes import small


def _recipe(lr=0.4, batch=16, base=None, accumulate=1):
    config = Config()
    config.optimizer.lr, config.optimizer.base_batch = lr, base
    config.data.batch_size, config.train.accumulate = batch, accumulate
    return config


def test_the_peak_rate_and_how_it_came_about():
    assert rate_line(_recipe(), 8) == "peak learning rate 0.4 = optimizer.lr as it stands"
    assert rate_line(_recipe(base=1024, batch=128), 1) == (
        "peak learning rate 0.05 = optimizer.lr 0.4 x 128 / 1024 (images of an update / optimizer.base_batch)")
    assert rate_line(_recipe(base=1024, accumulate=2), 4) == (
        "peak learning rate 0.05 = optimizer.lr 0.4 x 128 / 1024 (images of an update, 16 images x 4 devices x 2 "
        "steps, / optimizer.base_batch)")
    assert peak_rate(_recipe(0.04, 16, 4096), 1)[0] == pytest.approx(0.00015625)


def test_steps_and_the_images_that_are_left_out():
    assert steps_line(_recipe(batch=16), 4, 64, 1) == "4 steps per epoch, of 16 images"
    assert steps_line(_recipe(batch=16), 1, 37, 2) == (
        "1 step per epoch, of 32 images (16 on each of 2 devices); 5 images left out of each, others every time")


def test_the_device_and_what_was_passed_over():
    """A laptop's user is not told of libraries; whoever has a card is."""
    cards = {"Ascend": ["/dev/davinci0", "/dev/davinci1"], "GPU": []}
    assert device_line("CPU", {}, cards) == "device CPU, as run.device says"
    assert device_line("Ascend", {}, cards) == "device Ascend"
    assert device_line("CPU", {"Ascend": "no driver", "GPU": "not built for it"}, cards) == (
        "device CPU (/dev/davinci0, /dev/davinci1 unused: no driver; this machine has no GPU)")
    assert device_line("GPU", {"Ascend": "no driver"}, {"Ascend": [], "GPU": []}) == (
        "device GPU (this machine has no Ascend)")
    assert set(device.cards()) == {"Ascend", "GPU"}


@pytest.fixture
def only_cpu(monkeypatch):
    """As on a machine whose accelerator has no driver."""
    take = device._fault
    monkeypatch.setattr(device, "_fault",
                        lambda target, number: take(target, number) if target == "CPU" else "no driver")
    monkeypatch.setattr(device, "cards", lambda: {"Ascend": ["/dev/davinci0"], "GPU": []})


def test_why_a_device_cannot_be_taken(only_cpu):
    """MindSpore's page names a missing library of Ascend's also where a GPU was asked for."""
    page = ("Unsupported device target {}. This process only supports one of the ['CPU']. Please check ...\n\n----\n"
            "- Device load error message:\n----\nLoad dynamic library: libmindspore_ascend.so.2 failed. "
            "libge_runner.so: cannot open shared object file: No such file or directory\n")
    assert device._reason("Ascend", page.format("Ascend")) == \
        "libge_runner.so: cannot open shared object file: No such file or directory"
    assert "as installed is not built for it" in device._reason("GPU", page.format("GPU"))
    assert device._reason("GPU", "\n---\n cudaErrorNoDevice \n") == "cudaErrorNoDevice"
    assert device.setup("auto") == "CPU" and device.passed_over() == {"Ascend": "no driver", "GPU": "no driver"}
    assert device.setup("CPU") == "CPU" and device.passed_over() == {}


def test_precision():
    assert precision_line(PrecisionConfig()) == "precision float32"
    assert precision_line(PrecisionConfig("O2", loss_scale=1024, dynamic=True)) == (
        "mixed precision O2, float16, loss scale 1024, dynamic")
    assert precision_line(PrecisionConfig("O3", "bfloat16")) == "mixed precision O3, bfloat16, no loss scale"


def test_whether_running_means_can_matter():
    assert ema_line(EmaConfig(0.9999, warmup=False), 100) == (
        "EMA weights, decay 0.9999, 100 updates: at the end they still hold 99 % of the "
        "initial weights and will hardly be better; lower ema.decay or set ema.warmup")
    assert ema_line(EmaConfig(0.9999, warmup=False), 100000) == (
        "EMA weights, decay 0.9999, 100,000 updates")
    assert "hardly" not in ema_line(EmaConfig(0.9999), 100)


@pytest.mark.parametrize("warmup", [False, True])
def test_the_share_of_the_initial_weights_is_that_of_the_mean(warmup):
    """A weight that is 1 at the start and 0 ever after: its mean is the share."""
    net = Tiny()
    weight, updates = net.head.weight, Parameter(ms.Tensor([0], ms.int32), name="updates")
    weight.set_data(ms.Tensor(np.ones(weight.shape, np.float32)))
    ema = Ema(net, 0.6, warmup)
    ema.follow(updates)
    weight.set_data(ms.Tensor(np.zeros(weight.shape, np.float32)))
    for update in range(1, 5):
        updates.set_data(ms.Tensor([update], ms.int32))
        ema()
    assert ema.means()["head.weight"].mean() == pytest.approx(initial_share(EmaConfig(0.6, warmup), 4), rel=1e-5)


def test_images_of_the_classes():
    names = ["cat", "dog\x1b[2J", "fox", "gnu", "hen", "owl"]
    assert classes_line(names[:2], np.repeat([0, 1], 7)) == "7 training images of every class"
    assert classes_line(names[:2], np.repeat([0, 1], [10, 25])) == (
        "training images of each class: cat 10, dog\\x1b[2J 25; the largest has 2.5 times as many")
    assert classes_line(names, np.repeat(np.arange(6), [4, 5, 6, 7, 8, 1])) == (
        "training images of a class: from 1 (owl) to 8 (hen), 8.0 times as many")


def test_a_run_says_all_this_before_its_first_step(only_cpu, tmp_path, monkeypatch):
    monkeypatch.setattr(curves, "draw_curves", lambda *_: None)
    recipe = small(tmp_path, data=dict(synthetic_size=42), run=dict(device="auto"))
    recipe.run.kernels = "off"
    recipe.optimizer.base_batch, recipe.ema = 32, EmaConfig(0.99, warmup=False)
    with registered():
        fit(recipe)
    lines = (tmp_path / "log.txt").read_text().splitlines()
    assert lines[0].startswith("tiny: 708 parameters; 42 training and 42 test images, 4 classes; CPU, pynative mode")
    assert lines[1] == "device CPU (/dev/davinci0 unused: no driver; this machine has no GPU)"
    assert lines[2] == "CPU kernels off: MindSpore's own operators, as asked"
    assert lines[3:7] == [
        "peak learning rate 0.00125 = optimizer.lr 0.005 x 8 / 32 (images of an update / optimizer.base_batch)",
        "5 steps per epoch, of 8 images; 2 images left out of each, others every time", "precision float32",
        "EMA weights, decay 0.99, 5 updates: at the end they still hold 95 % of the initial "
        "weights and will hardly be better; lower ema.decay or set ema.warmup"]
    assert lines[7] == ("training images of each class: class 0 11, class 1 11, class 2 10, class 3 10; the largest "
                        "has 1.1 times as many")
    assert lines[8].startswith("epoch 1/1 5/5")


def test_the_peak_rate_is_that_of_the_steps():
    """What is told is what the optimizer is given."""
    config = _recipe(0.4, 16, 64)
    job = types.SimpleNamespace(config=config, world=device.World(0, 2), steps=10)
    assert max(Job.rates(job, 5)) == pytest.approx(peak_rate(config, 2)[0])
