"""A weighted sum of losses in which what several of them need is computed once."""

import math

import keras
import tensorflow as tf

from kseg.losses.label_map_loss import LabelMapLoss, LossOfParts, width

_serializable = keras.saving.register_keras_serializable("kseg")


@_serializable
class WeightedSum(LossOfParts):
    """sum_j weight_j loss_j, each on its own channels of y_pred; what several losses need is computed once.

    Args:
      parts: list of (loss, weight, channels): a loss of this module, its factor, and None (all channels) or
        (start, stop), which channels of y_pred it sees. Labels are those of y_true, whatever the channels.

    Example: `WeightedSum([(MaskedSparseCategoricalCrossentropy(), 1.0, None), (Dice(), 0.5, None)])`
    """

    def __init__(self, parts, **common):
        super().__init__(**common)
        self._parts = []
        for loss, weight, channels in parts:
            if not isinstance(loss, LabelMapLoss):
                raise ValueError(f"WeightedSum adds losses of kseg.losses, itself excepted; got {type(loss).__name__}.")
            span = None if channels is None else tuple(map(int, channels))
            if span is not None and not (len(span) == 2 and 0 <= span[0] < span[1]):
                raise ValueError(
                    f"WeightedSum: channels must be None or (start, stop), 0 <= start < stop; got {channels}."
                )
            if not math.isfinite(weight):
                raise ValueError(f"WeightedSum: weights must be finite numbers; got {weight!r}.")
            self._parts.append((loss, float(weight), span))
        if not self._parts:
            raise ValueError("WeightedSum needs at least one (loss, weight, channels); got none.")

    def get_config(self):
        parts = [
            [keras.saving.serialize_keras_object(loss), weight, None if channels is None else list(channels)]
            for loss, weight, channels in self._parts
        ]
        return {**super().get_config(), "parts": parts}

    @classmethod
    def from_config(cls, config):
        parts = [
            (keras.saving.deserialize_keras_object(loss), weight, channels)
            for loss, weight, channels in config["parts"]
        ]
        return cls(**{**config, "parts": parts})

    def parts(self):
        return [(loss, span) for loss, _, span in self._parts]

    @property
    def weights(self) -> list:
        """The factor of each part."""
        return [weight for _, weight, _ in self._parts]

    def sums_of_labels(self, y_true, channels, sample_weight=None):
        sums = [loss.sums_of_labels(y_true, width(span, channels), sample_weight) for loss, span in self.parts()]
        return None if any(part is None for part in sums) else tf.concat(sums, 0)

    def size(self, channels):
        return sum(loss.size(width(span, channels)) for loss, span in self.parts())

    def values(self, sums) -> list:
        """The unweighted value of each part, from the sums of the global batch: for logging."""
        # Sizes are affine in the number of channels, which the sums' own length therefore tells.
        fixed, slope = self.size(0), self.size(1) - self.size(0)
        channels = (sums.shape[0] - fixed) // slope if slope else 0
        sizes = [loss.size(width(span, channels)) for loss, span in self.parts()]
        return [loss.value(part) for (loss, _), part in zip(self.parts(), tf.split(sums, sizes))]

    def value(self, sums):
        return tf.add_n([weight * value for (_, weight, _), value in zip(self._parts, self.values(sums))])
