"""Which epoch is the best, and what is said of it."""
import math

import pytest

from ghost_ms.tasks.classification.task import Classification

FIGURES = Classification.figures


def _row(epoch, top1=None, loss=1.0, ema=None, ema_loss=1.0, **more):
    row = {"epoch": epoch, **more}
    if top1 is not None:
        row.update(test_top1=top1, test_top5=top1 + 5, test_loss=loss)
    if ema is not None:
        row.update(ema_top1=ema, ema_top5=ema + 6, ema_loss=ema_loss)
    return row


def test_the_accuracy_of_what_the_checkpoint_holds():
    assert FIGURES.best(_row(1, 70.0, ema=82.0)) == {"top1": 82.0, "top5": 88.0, "loss": 1.0}
    assert FIGURES.best(_row(1, 70.0, ema=60.0)) == {"top1": 70.0, "top5": 75.0, "loss": 1.0}
    assert FIGURES.best(_row(1, 70.0)) == {"top1": 70.0, "top5": 75.0, "loss": 1.0}
    # What the checkpoint says of itself counts.
    assert FIGURES.best({**_row(1, 70.0, ema=82.0), "ema": 0.0})["top1"] == 70.0


def test_equal_accuracies_go_to_the_lower_loss():
    assert FIGURES.holds_ema(_row(1, 70.0, 0.5, ema=70.0, ema_loss=0.4))
    assert not FIGURES.holds_ema(_row(1, 70.0, 0.5, ema=70.0, ema_loss=0.5))
    rows = [_row(1, 70.0, 0.5), _row(2, 70.0, 0.3), _row(3, 70.0, 0.3), _row(4, 60.0, 0.1)]
    assert FIGURES.best_row(rows)["epoch"] == 2
    assert FIGURES.best_row([_row(1, 70.0, 0.5, ema=60.0), _row(2, 10.0, ema=70.0, ema_loss=0.4)])["epoch"] == 2


def test_the_best_of_weights_and_means_over_all_epochs():
    assert FIGURES.best_row([_row(1, 50.0, ema=80.0), _row(2, 79.0, ema=79.5)])["epoch"] == 1


@pytest.mark.parametrize("bad", [dict(), dict(top1=math.nan), dict(top1=math.nan, loss=math.nan)])
def test_an_epoch_without_figures_is_no_best(bad):
    assert FIGURES.best_row([_row(1, **bad), _row(2, 0.0, 9.0)])["epoch"] == 2
    assert FIGURES.best_row([_row(1, **bad)]) is None
    assert FIGURES.holds_ema(_row(1, **bad, ema=5.0)) and FIGURES.best_row([_row(1, **bad, ema=5.0)])["epoch"] == 1


def test_half_learned_activations_are_never_the_best_of_all():
    rows = [_row(1, 90.0, activation_slope=0.5), _row(2, 10.0, activation_slope=1.0)]
    assert FIGURES.best_row(rows)["epoch"] == 2 and FIGURES.best_row(rows[:1])["epoch"] == 1
