"""Dice, Tversky and inverted Dice: losses of the overlap of each class over the global batch.

Their common arguments and laws are in kseg/losses/__init__.py.
"""

import keras
import tensorflow as tf

from kseg.losses import terms as pixel_losses
from kseg.losses.label_map_loss import LabelMapLoss, at_least_zero, of_batch

_serializable = keras.saving.register_keras_serializable("kseg")


@_serializable
class Dice(LabelMapLoss):
    """Dice loss (1/C) sum_c (1 - Dice_c) of the global batch, a number in [0, 1).

    Dice_c = (2 TP_c + s) / (2 TP_c + 2 alpha FP_c + 2 beta FN_c + s). TP, FP and FN are soft counts in pixels over the
    whole batch (`soft_counts` in kseg/losses/terms.py). With alpha = beta = 1/2 this is Dice, (2 sum w p y + s) / (sum
    w p + sum w y + s). Other values make it Tversky's index. A class without truth in the global batch leaves the sum,
    and has no gradient; the divisor stays C. The label C on C channels, and a void_class that is no channel, are the
    zero target: false positives for all. One channel is binary: label 1 is the object, 0 the background
    (`kseg.losses`).

    Args:
      activation: what makes probabilities of logits, "softmax" or "sigmoid".
      alpha, beta: weights of a class's false positives and false negatives, >= 0.
      smooth: s, in pixels.
      per_image: True: the mean of each image's Dice loss, over the images with any pixel that counts.
      ignore_class, from_logits, class_weights, void_class, void_weight, jit_compile: as for every loss; see
        kseg/losses/__init__.py.
    Source: Milletari et al. 2016, "V-Net"; Salehi et al. 2017, "Tversky loss function for image segmentation".
    """

    zero_target = True

    def __init__(
        self,
        ignore_class=255,
        from_logits=True,
        activation="softmax",
        alpha=0.5,
        beta=0.5,
        smooth=1.0,
        per_image=False,
        **common,
    ):
        super().__init__(ignore_class=ignore_class, from_logits=from_logits, **common)
        if activation not in ("softmax", "sigmoid"):
            raise ValueError(f'activation must be "softmax" or "sigmoid"; got {activation!r}.')
        self.activation = activation
        self.alpha = at_least_zero("alpha", alpha)
        self.beta = at_least_zero("beta", beta)
        self.smooth = at_least_zero("smooth", smooth)
        self.per_image = bool(per_image)

    def get_config(self):
        names = ("activation", "alpha", "beta", "smooth", "per_image")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}

    @property
    def softmax(self):
        return self.from_logits and self.activation == "softmax"

    def wanted(self):
        return ("own", "excess")

    def terms_function(self):
        if not self.from_logits:
            return pixel_losses.probability_terms
        return pixel_losses.softmax_terms if self.activation == "softmax" else pixel_losses.sigmoid_terms

    def sums_of_terms(self, labels, predictions, weights, terms):
        counts = self.counts(*pixel_losses.soft_counts(labels, terms["own"], terms["excess"], weights))
        if not self.per_image:
            return tf.reshape(tf.reduce_sum(counts, 0), [-1])
        images = tf.reduce_any(weights > 0, [1, 2])
        losses = tf.where(images, self.of_counts(counts), tf.zeros((), counts.dtype))
        return tf.stack([tf.reduce_sum(losses), tf.reduce_sum(tf.cast(images, counts.dtype))])

    def counts(self, true, false_positive, false_negative, true_negative):
        """The three counts that this loss is made of, [N, 3, C]."""
        del true_negative
        return tf.stack([true, false_positive, false_negative], 1)

    def of_counts(self, counts):
        """The loss [...] from soft counts [..., 3, C]."""
        true, false_positive, false_negative = tf.unstack(counts, axis=-2)
        distance = pixel_losses.dice_distance(true, false_positive, false_negative, self.alpha, self.beta, self.smooth)
        truth = true + false_negative
        present = (truth > 0) | tf.math.is_nan(truth)
        return tf.reduce_mean(tf.where(present, distance, tf.zeros_like(distance)), -1)

    def value(self, sums):
        if self.per_image:
            return tf.math.divide_no_nan(sums[0], sums[1])
        return self.of_counts(tf.reshape(sums, [3, -1]))

    def size(self, channels):
        return 2 if self.per_image else 3 * channels


@_serializable
class InvertedDice(Dice):
    """Dice loss of the complements, (1/C) sum_c (1 - InvDice_c): as Dice, with 1 - p and 1 - y for p and y.

    InvDice_c = (2 TN_c + s) / (2 TN_c + 2 alpha FP_c + 2 beta FN_c + s). A false positive is the *class's* here as
    well, so alpha means the same in both terms. Every channel counts, present in the batch or not: this term punishes
    false positives of absent classes. Arguments as for Dice.
    Source: the definition is kseg's own; no earlier one was found.
    """

    def counts(self, true, false_positive, false_negative, true_negative):
        del true
        return tf.stack([true_negative, false_positive, false_negative], 1)

    def of_counts(self, counts):
        true, false_positive, false_negative = tf.unstack(counts, axis=-2)
        distance = pixel_losses.dice_distance(true, false_positive, false_negative, self.alpha, self.beta, self.smooth)
        return tf.reduce_mean(distance, -1)


# ---- The same as plain functions -------------------------------------------------------------------------------------


def dice(y_true, y_pred, sample_weight=None, **options):
    """Dice(**options) of one batch, a scalar in [0, 1)."""
    return of_batch(Dice, y_true, y_pred, sample_weight, options)


def inverted_dice(y_true, y_pred, sample_weight=None, **options):
    """InvertedDice(**options) of one batch, a scalar in [0, 1)."""
    return of_batch(InvertedDice, y_true, y_pred, sample_weight, options)
