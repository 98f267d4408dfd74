"""Losses for label maps in which some pixels do not count: exact over replicas, micro-batches and precisions.

They work in any Keras 3 model on TensorFlow, under `compile`/`fit` or in a loop of one's own; no config, no label
table. In common (symbols as in kseg/losses/terms.py):

* y_true: int [N, H, W] (or [N, H, W, 1]), any integer type. y_pred: float [N, H, W, C], any float type. Sums are
  float32 whatever the policy (float64 for float64 predictions).
* `ignore_class` (255, or None): such pixels enter no sum and no divisor; whatever is predicted there (NaN included)
  changes nothing, and its gradient is exactly 0. A label that has a channel may be ignored too: its pixels do not
  count then, but its channel still competes with the others.
* `void_class`: the label that means "no class"; its pixels have weight `void_weight`.
* `class_weights`: by label; labels beyond the list's end have 1. They multiply the pixel's weight, in the divisor
  too: losses are *weighted means*, so equal weights change nothing.
* `from_logits`: False where y_pred are probabilities.
* `jit_compile`: see kseg/losses/label_map_loss.py.
* A label that is neither a channel nor one of those is refused; where XLA compiles the caller's whole step, and
  allows no error, it makes the loss NaN.
* A batch without weight has loss 0 and gradient 0.
* sample_weight ([N] or [N, H, W]) multiplies the pixels' weights.
* ValueError, in one line: an argument out of its range (when the loss is made); shapes that do not fit, labels that
  mean nothing (when it is called).

Each class has a function beside it, `dice(y_true, y_pred, **options)` for `Dice(**options)(y_true, y_pred)`.

The value is that of the global batch (kseg/losses/global_sum_loss.py). What is not here: regularisation, and label encodings
(kseg/treatments.py).
"""

import keras
import tensorflow as tf

from kseg.losses import terms as pixel_losses
from kseg.losses.global_sum_loss import GlobalSumLoss, accumulated_gradients, all_reduce_sum
from kseg.losses.label_map_loss import CompiledSums, LabelMapLoss, at_least_zero, share, width

__all__ = [
    "Dice",
    "Entropic",
    "GlobalSumLoss",
    "InvertedDice",
    "MaskedSparseCategoricalCrossentropy",
    "OneVsAllBinaryCrossentropy",
    "VoidBinaryCrossentropy",
    "WeightedSum",
    "accumulated_gradients",
    "all_reduce_sum",
    "dice",
    "entropic",
    "inverted_dice",
    "masked_sparse_categorical_crossentropy",
    "one_vs_all_binary_crossentropy",
    "void_binary_crossentropy",
]

_serializable = keras.saving.register_keras_serializable("kseg")


class _PixelMean(LabelMapLoss):
    """Weighted mean of a per-pixel loss over the pixels that count, or over the hardest of them.

    label_smoothing: e in [0, 1]; the target is (1 - e) one_hot(y) + e / C.   focal_gamma: >= 0; 0 is off.
    top_k: share of each image's counted pixels that is kept, hardest (before weights) first; the divisor is the kept
    weight of the global batch. Source: Shrivastava et al. 2016, "Training Region-based Object Detectors with Online
    Hard Example Mining"; per image as in deeplab2.
    """

    def __init__(self, ignore_class=255, from_logits=True, label_smoothing=0.0, focal_gamma=0.0, top_k=1.0, **common):
        super().__init__(ignore_class=ignore_class, from_logits=from_logits, **common)
        self.label_smoothing = share("label_smoothing", label_smoothing)
        self.focal_gamma = at_least_zero("focal_gamma", focal_gamma)
        self.top_k = share("top_k", top_k)
        if not self.top_k:
            raise ValueError("top_k must be above 0 (1 keeps every pixel); got 0.")

    def get_config(self):
        names = ("label_smoothing", "focal_gamma", "top_k")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}

    def pixel_loss(self, labels, predictions, weights, terms):
        """The loss of every pixel, [N, H, W] in nats, whatever its weight."""
        raise NotImplementedError

    def sums_of_terms(self, labels, predictions, weights, terms):
        losses = self.pixel_loss(labels, predictions, weights, terms)
        if self.top_k < 1:
            keep = pixel_losses.hardest(tf.stop_gradient(losses), weights > 0, self.top_k)
            weights = tf.where(keep, weights, tf.zeros_like(weights))
        return tf.stack([pixel_losses.exact_sum(losses * weights), pixel_losses.exact_sum(weights)])

    def sums_of_labels(self, y_true, channels, sample_weight=None):
        if self.top_k < 1:
            return None
        labels = tf.cast(y_true, tf.int32)
        weight = pixel_losses.exact_sum(self.pixel_weights(labels, channels, sample_weight, tf.float64))
        return tf.stack([tf.zeros_like(weight), weight])

    def value(self, sums):
        return tf.math.divide_no_nan(sums[0], sums[1])

    def size(self, channels):
        return 2


@_serializable
class MaskedSparseCategoricalCrossentropy(_PixelMean):
    """Softmax cross entropy over the pixels that count: sum_i w_i l_i / sum_i w_i, in nats.

    l = (1 - p_y)^gamma * -sum_c t_c log p_c, t the smoothed target. A void_class >= C (of a head that says "void"
    elsewhere) is masked like ignore_class.

    Example:
    >>> loss = MaskedSparseCategoricalCrossentropy()
    >>> float(loss([[[0, 255]]], [[[[0.0, 0.0], [9.0, 0.0]]]]))  # log 2: the second pixel does not count
    0.6931471824645996

    Source: Lin et al. 2017, "Focal Loss for Dense Object Detection", eq. 4; Szegedy et al. 2016, "Rethinking the
    Inception Architecture", section 7.
    """

    def weights_key(self, channels):
        ignore_class, class_weights, void_class, void_weight = super().weights_key(channels)
        masked = void_class is not None and void_class >= channels
        return ignore_class, class_weights, void_class, 0.0 if masked else void_weight

    def wanted(self):
        return ("own", "uniform") if self.label_smoothing else ("own",)

    def terms_function(self):
        return pixel_losses.softmax_terms if self.from_logits else _softmax_terms_of_probabilities

    def pixel_loss(self, labels, predictions, weights, terms):
        loss = own = terms["own"]
        if self.label_smoothing:
            loss = (1.0 - self.label_smoothing) * own + self.label_smoothing * terms["uniform"]
        return pixel_losses.focus(own, self.focal_gamma) * loss


@_serializable
class Entropic(MaskedSparseCategoricalCrossentropy):
    """Cross entropy on classes, -(1/C) sum_c log p_c on void: void should look like nothing in particular.

    Void is void_class; the label C where void_class is None. Smoothing and focal factor act on classes only.
    Source: Dhamija et al. 2018, "Reducing Network Agnostophobia", eq. 1.
    """

    zero_target = True

    def weights_key(self, channels):
        return LabelMapLoss.weights_key(self, channels)

    def wanted(self):
        return ("own", "uniform")

    def pixel_loss(self, labels, predictions, weights, terms):
        void = tf.equal(labels, predictions.shape[-1] if self.void_class is None else self.void_class)
        return tf.where(void, terms["uniform"], super().pixel_loss(labels, predictions, weights, terms))


@_serializable
class OneVsAllBinaryCrossentropy(_PixelMean):
    """Binary cross entropy of every channel, summed over channels, mean over the pixels that count, in nats.

    l = sum_c (1 - q_c)^gamma [softplus(z_c) - t_c z_c], t the smoothed target, q_c the probability given to what is
    true of channel c. The label C on C channels, and a void_class that is no channel, are the zero target.
    Source: Rifkin and Klautau 2004, "In Defense of One-Vs-All Classification"; Lin et al. 2017, eq. 4.
    """

    zero_target = True

    def wanted(self):
        if self.focal_gamma:
            return ()
        return ("binary", "lead") if self.label_smoothing else ("binary",)

    def terms_function(self):
        return pixel_losses.sigmoid_terms if self.from_logits else _sigmoid_terms_of_probabilities

    def logits(self, predictions, weights):
        predictions = pixel_losses.masked(predictions, weights)
        return predictions if self.from_logits else _inverse_sigmoid(predictions)

    def pixel_loss(self, labels, predictions, weights, terms):
        if self.focal_gamma:
            logits = self.logits(predictions, weights)
            return pixel_losses.focal_binary_cross_entropy(labels, logits, self.focal_gamma, self.label_smoothing)
        if not self.label_smoothing:
            return terms["binary"]
        # Smoothing takes e z_y from sum_c t_c z_c and adds e mean(z).
        return terms["binary"] + self.label_smoothing * terms["lead"]


@_serializable
class VoidBinaryCrossentropy(OneVsAllBinaryCrossentropy):
    """Binary cross entropy of one logit that says "this pixel is void": target 1 where y is void_class, else 0.

    l = (1 - q)^gamma [softplus(z) - t z], t the target (smoothed towards 1/2), q the probability given to the truth;
    mean over the pixels that count, in nats. y_pred: [N, H, W, 1]. Every label is allowed.
    Source: as OneVsAllBinaryCrossentropy, of one channel; a head of its own as in Bevandic et al. 2019,
    "Simultaneous Semantic Segmentation and Outlier Detection".
    """

    def __init__(self, void_class, **common):
        super().__init__(void_class=void_class, **common)
        if self.void_class is None:
            raise ValueError("VoidBinaryCrossentropy needs void_class, the label that means void; got None.")

    def checked(self, labels, channels):
        if channels != 1:
            raise ValueError(f"{self.name}: y_pred must have 1 channel (is it void?); got {channels}.")
        return labels, True

    def wanted(self):
        return ()

    def pixel_loss(self, labels, predictions, weights, terms):
        logits = self.logits(predictions, weights)[..., 0]
        void = tf.equal(labels, self.void_class)
        loss = tf.nn.softplus(tf.where(void, -logits, logits))
        factor = pixel_losses.focus(loss, self.focal_gamma)
        if self.label_smoothing:
            loss += self.label_smoothing * tf.where(void, 0.5 * logits, -0.5 * logits)
        return factor * loss


@_serializable
class Dice(LabelMapLoss):
    """Dice loss (1/C) sum_c (1 - Dice_c) of the global batch, a number in [0, 1).

    Dice_c = (2 TP_c + s) / (2 TP_c + 2 alpha FP_c + 2 beta FN_c + s), soft counts in pixels over the whole batch
    (`pixel_losses.soft_counts`); alpha = beta = 1/2 is Dice, (2 sum w p y + s) / (sum w p + sum w y + s), others are
    Tversky's. A class without truth in the global batch leaves the sum, its gradient too; the divisor stays C. The
    label C on C channels, and a void_class that is no channel, are the zero target: false positives for all.

    Args:
        activation: what makes probabilities of logits, "softmax" or "sigmoid".
        alpha, beta: weights of a class's false positives and false negatives, >= 0.
        smooth: s, in pixels.
        per_image: True: the mean of each image's Dice loss, over the images with any pixel that counts.
        ignore_class, from_logits, class_weights, void_class, void_weight, jit_compile: as for every loss, see above.
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

    InvDice_c = (2 TN_c + s) / (2 TN_c + 2 alpha FP_c + 2 beta FN_c + s): a false positive is the *class's* here as
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


@_serializable
class WeightedSum(CompiledSums):
    """sum_j weight_j loss_j, each on its own channels of y_pred; what several losses need is computed once.

    Args:
        parts: list of (loss, weight, channels): a loss of this module, its factor, and None (all channels) or
            (start, stop), which channels of y_pred it sees. Labels are those of y_true, whatever the channels.

    Example: WeightedSum([(MaskedSparseCategoricalCrossentropy(), 1.0, None), (Dice(), 0.5, None)])
    """

    def __init__(self, parts, **common):
        super().__init__(**common)
        self._parts = []
        for loss, weight, channels in parts:
            if not isinstance(loss, LabelMapLoss):
                raise ValueError(f"WeightedSum adds losses of kseg.losses, itself excepted; got {type(loss).__name__}.")
            self._parts.append((loss, float(weight), None if channels is None else tuple(map(int, channels))))
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


# ---- The same as plain functions -------------------------------------------------------------------------------------


def masked_sparse_categorical_crossentropy(y_true, y_pred, sample_weight=None, **options):
    """MaskedSparseCategoricalCrossentropy(**options) of one batch, a scalar in nats."""
    return _call(MaskedSparseCategoricalCrossentropy, y_true, y_pred, sample_weight, options)


def entropic(y_true, y_pred, sample_weight=None, **options):
    """Entropic(**options) of one batch, a scalar in nats."""
    return _call(Entropic, y_true, y_pred, sample_weight, options)


def one_vs_all_binary_crossentropy(y_true, y_pred, sample_weight=None, **options):
    """OneVsAllBinaryCrossentropy(**options) of one batch, a scalar in nats."""
    return _call(OneVsAllBinaryCrossentropy, y_true, y_pred, sample_weight, options)


def void_binary_crossentropy(y_true, y_pred, void_class, sample_weight=None, **options):
    """VoidBinaryCrossentropy(void_class, **options) of one batch, a scalar in nats."""
    return _call(VoidBinaryCrossentropy, y_true, y_pred, sample_weight, {"void_class": void_class, **options})


def dice(y_true, y_pred, sample_weight=None, **options):
    """Dice(**options) of one batch, a scalar in [0, 1)."""
    return _call(Dice, y_true, y_pred, sample_weight, options)


def inverted_dice(y_true, y_pred, sample_weight=None, **options):
    """InvertedDice(**options) of one batch, a scalar in [0, 1)."""
    return _call(InvertedDice, y_true, y_pred, sample_weight, options)


def _call(loss, y_true, y_pred, sample_weight, options):
    # A function that XLA compiled would be thrown away with the loss.
    return loss(**{"jit_compile": False, **options})(y_true, y_pred, sample_weight)


def _softmax_terms_of_probabilities(labels, probabilities, weights, wanted, keep=pixel_losses.compute):
    probabilities = tf.maximum(pixel_losses.masked(probabilities, weights), keras.config.epsilon())
    return pixel_losses.softmax_terms(labels, tf.math.log(probabilities), weights, wanted, keep)


def _sigmoid_terms_of_probabilities(labels, probabilities, weights, wanted, keep=pixel_losses.compute):
    probabilities = pixel_losses.masked(probabilities, weights)
    return pixel_losses.sigmoid_terms(labels, _inverse_sigmoid(probabilities), weights, wanted, keep)


def _inverse_sigmoid(probabilities):
    epsilon = keras.config.epsilon()
    probabilities = tf.clip_by_value(probabilities, epsilon, 1.0 - epsilon)
    return tf.math.log(probabilities) - tf.math.log1p(-probabilities)
