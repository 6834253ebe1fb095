"""Every schedule against its formula, update by update."""
import dataclasses

import numpy as np
import pytest

from ghost_ms.config import OptimizerConfig, ScheduleConfig
from ghost_ms.training.schedule import learning_rates, scaled


def test_cosine_after_a_linear_warm_up():
    rates = learning_rates(1.0, ScheduleConfig(warmup_epochs=1, warmup_lr=0.2, min_lr=0.1), 3, 4)
    np.testing.assert_allclose(rates[:5], [0.2, 0.4, 0.6, 0.8, 1.0])
    assert rates[8] == pytest.approx(0.55) and len(rates) == 12
    assert rates[11] == pytest.approx(0.1 + 0.45 * (1 + np.cos(np.pi * 7 / 8)))


def test_cool_down_stays_at_the_end():
    rates = learning_rates(1.0, ScheduleConfig(min_lr=0.1, cooldown_epochs=2), 4, 5)
    np.testing.assert_allclose(rates[10:], [0.1] * 10)
    assert rates[9] == pytest.approx(0.1 + 0.45 * (1 + np.cos(np.pi * 9 / 10))) and rates[5] == pytest.approx(0.55)


def test_step_decays_every_2_4_epochs_from_the_start():
    """GhostNetV2's: 5 updates an epoch, so a decay every 12; the warm-up of 3 epochs hides the first."""
    schedule = ScheduleConfig("step", warmup_epochs=3, warmup_lr=0.01, decay_epochs=2.4, decay_rate=0.973)
    rates = learning_rates(0.064, schedule, 10, 5)
    np.testing.assert_allclose(rates[:15], 0.01 + 0.054 * np.arange(15) / 15)
    np.testing.assert_allclose(rates[15:], [0.064 * 0.973 ** (update // 12) for update in range(15, 50)])
    assert rates[23] > rates[24] == rates[35] > rates[36]


def test_multi_step():
    schedule = ScheduleConfig("multi_step", milestones=[3, 1.5], decay_rate=0.1)
    np.testing.assert_allclose(learning_rates(1.0, schedule, 4, 2), [1, 1, 1, 0.1, 0.1, 0.1, 0.01, 0.01])


def test_polynomial_and_constant():
    schedule = ScheduleConfig("polynomial", warmup_epochs=1, warmup_lr=0.0, min_lr=0.2, power=2)
    rates = learning_rates(1.0, schedule, 3, 2)
    np.testing.assert_allclose(rates, [0, 0.5] + [0.2 + 0.8 * (1 - t / 4) ** 2 for t in range(4)])
    assert learning_rates(0.3, ScheduleConfig("constant"), 2, 3) == [0.3] * 6


def test_one_cycle_equals_pytorch():
    """OneCycleLR(max_lr=1, total_steps=20, pct_start=0.3, div_factor=25, final_div_factor=100) of torch 2.13.0."""
    torch = [0.04, 0.1316718427, 0.3716718427, 0.6683281573, 0.9083281573, 1.0, 0.9874689705, 0.9505042402,
             0.8909593749, 0.811820203, 0.7170550928, 0.6114159628, 0.5002, 0.3889840372, 0.2833449072, 0.188579797,
             0.1094406251, 0.0498957598, 0.0129310295, 0.0004]
    schedule = ScheduleConfig("one_cycle", warmup_epochs=5, warmup_lr=0.04, min_lr=0.0004)
    np.testing.assert_allclose(learning_rates(1.0, schedule, 20, 1), torch, atol=1e-9)


def test_noise_is_bounded_seeded_and_constant_in_an_epoch():
    schedule = ScheduleConfig("constant", noise=[0.4, 0.9])
    rates = np.array(learning_rates(2.0, schedule, 10, 3, seed=5)).reshape(10, 3)
    assert (rates == rates[:, :1]).all()
    noise = rates[:, 0] / 2 - 1
    assert (noise[[0, 1, 2, 3, 9]] == 0).all()
    assert (noise[4:9] != 0).all() and (abs(noise) < 0.67).all() and len(set(noise[4:9])) == 5
    draw = np.random.default_rng([5, 6])
    wanted = next(n for n in iter(draw.standard_normal, None) if abs(n) < 0.67)
    assert noise[6] == pytest.approx(wanted)
    assert rates.ravel().tolist() == learning_rates(2.0, schedule, 10, 3, seed=5)
    assert rates.ravel().tolist() != learning_rates(2.0, schedule, 10, 3, seed=6)


def test_accumulation_leaves_fewer_updates():
    """7 steps an epoch, 2 accumulated: 3.5 updates an epoch, 10 in 3 epochs."""
    rates = learning_rates(1.0, ScheduleConfig("multi_step", milestones=[2]), 3, 7 / 2)
    assert rates == [1.0] * 7 + [0.1] * 3


def test_rates_scale_with_the_global_batch():
    schedule = ScheduleConfig(warmup_lr=5e-7, min_lr=5e-6)
    peak, bigger = scaled(OptimizerConfig(lr=5e-4, base_batch=512), schedule, 1024)
    assert peak == pytest.approx(1e-3)
    assert (bigger.warmup_lr, bigger.min_lr) == (pytest.approx(1e-6), pytest.approx(1e-5))
    assert scaled(OptimizerConfig(lr=0.1), schedule, 4096) == (0.1, dataclasses.replace(schedule))


def test_a_schedule_that_does_not_fit():
    with pytest.raises(ValueError, match="schedule.warmup_epochs is 3"):
        learning_rates(1.0, ScheduleConfig(warmup_epochs=3), 3, 4)
    with pytest.raises(ValueError, match="leave nothing"):
        learning_rates(1.0, ScheduleConfig(warmup_epochs=1, cooldown_epochs=2), 3, 4)
