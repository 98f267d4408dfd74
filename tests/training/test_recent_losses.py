"""The losses of a loop: kept until logged, averaged over the last steps, and refused where they are not finite."""

import types

import pytest

from kseg.training.recent_losses import RecentLosses


def optimizer(scale=None):
    return types.SimpleNamespace(dynamic_scale=scale)


def test_losses_are_kept_until_they_are_logged_and_the_moving_mean_goes_on():
    losses = RecentLosses([4.0])  # from a checkpoint
    for loss in (2.0, 3.0):
        losses.add(loss)
    assert losses.values() == [4.0, 2.0, 3.0] and losses.moving_mean() == 3.0
    losses.clear()
    losses.add(7.0)
    assert losses.values() == [7.0] and losses.moving_mean() == 4.0


def test_the_moving_mean_is_of_the_last_fifty_steps():
    losses = RecentLosses()
    for loss in [100.0] * 10 + [1.0] * 50:
        losses.add(loss)
    assert losses.moving_mean() == 1.0


def test_a_loss_that_is_not_finite_names_its_step_and_may_come_from_the_scale_alone():
    losses = RecentLosses([1.0])
    for loss in (1.0, float("nan"), 1.0):
        losses.add(loss)
    with pytest.raises(ValueError, match="not finite at step 9:"):
        losses.check(10, optimizer())
    with pytest.raises(ValueError, match="step 9"):
        losses.check(10, optimizer(1.0))
    losses.check(10, optimizer(1024.0))  # skipped, and the scale is halved
    assert losses.moving_mean() == 1.0
