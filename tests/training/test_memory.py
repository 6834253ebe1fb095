"""A batch that does not fit into memory: the sentence names one that does."""
import pytest

from ghost_ms.training import curves, memory
from ghost_ms.training.callbacks import Callback
from ghost_ms.training.fit import fit
from ghost_ms.training.step import TrainStep
from tests.tiny import registered
from tests.training.recipes import small


@pytest.fixture(autouse=True)
def tiny_models(monkeypatch):
    monkeypatch.setattr(curves, "draw_curves", lambda *_: None)
    with registered():
        yield


@pytest.mark.parametrize("text", [
    "Device(id:0) memory isn't enough and alloc failed, kernel name: Default/Conv2D-op1, alloc size: 411041792B.",
    "Malloc memory failed: size 99999999999", "#umsg#Memory not enough:#umsg#Device(id:0)", "std::bad_alloc",
    "Allocate device memory failed!", "CUDA out of memory", "Alloc device mem failed, alloc size : 1"])
def test_what_the_runtime_says(text):
    assert memory.out_of_memory(RuntimeError(text))


def test_what_is_something_else():
    assert memory.out_of_memory(MemoryError())
    for error in (RuntimeError("The input shape is wrong"), ValueError("out of memory"), RuntimeError("")):
        assert not memory.out_of_memory(error)


def _limited(monkeypatch, most):
    """A step takes so many images."""
    call = TrainStep.__call__

    def limited(self, images, labels):
        if len(labels) > most:
            raise RuntimeError("Malloc memory failed: size 99999999999")
        return call(self, images, labels)

    monkeypatch.setattr(TrainStep, "__call__", limited)


def test_batches_that_are_no_multiples():
    assert memory.sentence(7, 3, 1).endswith(
        "--data.batch_size 3, and with --train.accumulate 3 an update still takes about as many images (only the norms "
        "see fewer at a time)")


@pytest.mark.parametrize("most, words", [
    (2, r"out of memory in a step of data.batch_size 8; 2 fits, as a trial has shown: --data.batch_size 2, and with "
        r"--train.accumulate 12 an update still takes as many images"),
    (0, r"out of memory in a step of data.batch_size 8; take half of it, with twice the train.accumulate")])
def test_the_largest_half_that_fits_is_named(most, words, tmp_path, monkeypatch):
    _limited(monkeypatch, most)
    with pytest.raises(ValueError, match=words):
        fit(small(tmp_path, accumulate=3))


def test_later_it_may_be_anything_and_nothing_is_tried(tmp_path, monkeypatch):
    """Such as another process on the device; the state before is there."""
    class Shrink(Callback):
        def on_step(self, training, loss):
            if training.progress.step == 4:
                _limited(monkeypatch, 7)

    with pytest.raises(ValueError, match="data.batch_size 8; take half of it, with twice the train.accumulate"):
        fit(small(tmp_path, checkpoint_every=3), [Shrink()])
    assert (tmp_path / "checkpoints" / "step-00000003.ckpt").exists()


def test_another_error_stays_what_it_is(tmp_path, monkeypatch):
    def fails(*_):
        raise RuntimeError("The kernel is not supported")

    monkeypatch.setattr(TrainStep, "__call__", fails)
    with pytest.raises(RuntimeError, match="The kernel is not supported"):
        fit(small(tmp_path))
