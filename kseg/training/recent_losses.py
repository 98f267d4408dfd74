"""The losses of the steps since the last logged one, and whether training may go on with them.

Losses stay on the device until someone asks, so that no step waits for the one before.
"""

import collections

import keras
import numpy as np

_MOVING = 50  # steps of the moving mean


class RecentLosses:
    """Losses in the order of their steps.

    Args:
      before: floats, the losses since the last logged step that a checkpoint brought along.
    """

    def __init__(self, before=()):
        self._pending, self._values = [], list(before)
        self._moving = collections.deque(self._values, maxlen=_MOVING)

    def add(self, loss):
        """Takes note of one step's loss, a tensor."""
        self._pending.append(loss)

    def values(self):
        """Floats, one for each step since the last `clear`."""
        if self._pending:
            fresh = [float(loss) for loss in self._pending]
            self._pending = []
            self._values += fresh
            self._moving.extend(fresh)
        return list(self._values)

    def clear(self):
        """Forgets them, since they are logged; the moving mean goes on."""
        self.values()
        self._values = []

    def moving_mean(self):
        """Mean of the last steps' losses, at most 50 of them; those that are not finite left out."""
        self.values()
        finite = [loss for loss in self._moving if np.isfinite(loss)]
        return float(np.mean(finite)) if finite else float("nan")

    def check(self, step, optimizer):
        """Raises ValueError, in one line, if a loss up to `step` is not finite.

        Under loss scaling, which skips such steps and halves the scale, only once the scale is down to 1 and cannot be
        the reason.
        """
        finite = np.isfinite(self.values())
        if not finite.all() and (loss_scale(optimizer) or 0.0) <= 1.0:
            bad = step - len(finite) + 1 + int(np.argmin(finite))
            raise ValueError(
                f"the loss is not finite at step {bad}: lower config.optimizer.learning_rate, set "
                "config.optimizer.clip_norm, or look at the records with kseg inspect-records; "
                "the last checkpoint is from before."
            )


def loss_scale(optimizer):
    """The dynamic loss scale, None where there is none."""
    scale = getattr(optimizer, "dynamic_scale", None)
    return None if scale is None else float(keras.ops.convert_to_numpy(scale))
