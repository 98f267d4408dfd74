"""Losses for label maps in which some pixels do not count: exact over replicas, micro-batches and precisions.

They work in any Keras 3 model on TensorFlow, under `compile`/`fit` or in a loop of one's own; no config, no label
table. In common (symbols as in kseg/pixel_losses.py):

* y_true: int [N, H, W] (or [N, H, W, 1]), any integer type. y_pred: float [N, H, W, C], any float type. Sums are
  float32 whatever the policy (float64 for float64 predictions).
* `ignore_class` (255): such pixels enter no sum and no divisor; whatever is predicted there (NaN included) changes
  nothing, and its gradient is exactly 0. A label that is a channel may be ignored too; its channel still competes.
* `void_class`: the label that means "no class"; its pixels have weight `void_weight`.
* `class_weights`: by label; labels beyond the list's end have 1. They multiply the pixel's weight, in the divisor
  too: losses are *weighted means*, so equal weights change nothing.
* A label that is neither a channel nor one of those is refused.
* A batch without weight has loss 0 and gradient 0.
* sample_weight ([N] or [N, H, W]) multiplies the pixels' weights.

The value is that of the global batch (kseg/global_sums.py). What is not here: regularisation, and label encodings
(kseg/treatments.py).
"""

import keras
import tensorflow as tf

from kseg import pixel_losses
from kseg.global_sums import GlobalSumLoss, accumulated_gradients, all_reduce_sum

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
]

_serializable = keras.saving.register_keras_serializable("kseg")


class _LabelMapLoss(GlobalSumLoss):
    """What the losses below share: the common arguments, pixel weights, masking, the check of labels."""

    # Whether the label C, on C channels, is the zero target ("none of the channels").
    zero_target = False

    def __init__(
        self,
        ignore_class=255,
        from_logits=True,
        class_weights=None,
        void_class=None,
        void_weight=1.0,
        name=None,
    ):
        super().__init__(name=name)
        self.ignore_class = _integer("ignore_class", ignore_class)
        self.from_logits = bool(from_logits)
        self.class_weights = _weights("class_weights", class_weights)
        self.void_class = _integer("void_class", void_class)
        self.void_weight = _at_least_zero("void_weight", void_weight)

    def get_config(self):
        return {
            **super().get_config(),
            "ignore_class": self.ignore_class,
            "from_logits": self.from_logits,
            "class_weights": self.class_weights,
            "void_class": self.void_class,
            "void_weight": self.void_weight,
        }

    def sums(self, y_true, y_pred, sample_weight=None):
        labels, predictions = _as_labels(y_true, y_pred), tf.convert_to_tensor(y_pred)
        labels = self.checked(labels, predictions.shape[-1])
        return self.local_sums(labels, predictions, sample_weight)

    def local_sums(self, labels, predictions, sample_weight):
        """`sums` of checked int32 labels."""
        dtype = _sum_dtype(predictions)
        weights = self.pixel_weights(labels, predictions.shape[-1], sample_weight, dtype)
        counted = weights > 0
        # Masked before anything else: 0 * NaN is NaN.
        predictions = tf.where(counted[..., None], tf.cast(predictions, dtype), tf.zeros((), dtype))
        return self.masked_sums(labels, predictions, weights)

    def masked_sums(self, labels, predictions, weights):
        """Sums [M] of labels int32 [N, H, W], predictions that are 0 where the weight is 0, weights [N, H, W]."""
        raise NotImplementedError

    def size(self, channels: int) -> int:
        """M, the number of sums, for predictions of so many channels."""
        raise NotImplementedError

    def pixel_weights(self, labels, channels, sample_weight=None, dtype=tf.float32):
        """Weight of every pixel, [N, H, W]."""
        del channels
        weights = pixel_losses.pixel_weights(
            labels, self.ignore_class, self.class_weights, self.void_class, self.void_weight, dtype
        )
        if sample_weight is None:
            return weights
        sample_weight = tf.cast(sample_weight, dtype)
        if sample_weight.shape.rank == 4:
            sample_weight = tf.squeeze(sample_weight, -1)
        if sample_weight.shape.rank == 1:
            sample_weight = sample_weight[:, None, None]
        # Not a product: an ignored pixel's own weight may be NaN.
        return tf.where(weights > 0, weights * sample_weight, weights)

    def checked(self, labels, channels: int):
        """`labels`, refused if one of them means nothing to this loss."""
        known = (labels >= 0) & (labels < channels + self.zero_target)
        for special in (self.ignore_class, self.void_class):
            if special is not None:
                known |= tf.equal(labels, special)
        message = (
            f"{self.name}: y_true has a label that is none of the {channels} channels, nor ignore_class="
            f"{self.ignore_class}, nor void_class={self.void_class}; map it to one of them."
        )
        if tf.executing_eagerly():
            if not tf.reduce_all(known):
                raise ValueError(message)
            return labels
        check = tf.debugging.Assert(tf.reduce_all(known), [message, tf.boolean_mask(labels, ~known)[:3]])
        with tf.control_dependencies([check] if check is not None else []):
            return tf.identity(labels)


class _PixelMean(_LabelMapLoss):
    """Weighted mean of a per-pixel loss over the pixels that count, or over the hardest of them.

    top_k: share of each image's counted pixels that is kept, hardest (before weights) first; the divisor is the kept
    weight of the global batch. Source: Shrivastava et al. 2016, "Training Region-based Object Detectors with Online
    Hard Example Mining"; per image as in deeplab2.
    """

    def __init__(self, label_smoothing=0.0, focal_gamma=0.0, top_k=1.0, **common):
        super().__init__(**common)
        self.label_smoothing = _share("label_smoothing", label_smoothing)
        self.focal_gamma = _at_least_zero("focal_gamma", focal_gamma)
        self.top_k = _share("top_k", top_k)
        if not self.top_k:
            raise ValueError("top_k must be above 0 (1 keeps every pixel); got 0.")

    def get_config(self):
        return {
            **super().get_config(),
            "label_smoothing": self.label_smoothing,
            "focal_gamma": self.focal_gamma,
            "top_k": self.top_k,
        }

    def pixel_loss(self, labels, logits):
        """The loss of every pixel, [N, H, W] in nats, whatever its weight."""
        raise NotImplementedError

    def logits(self, predictions):
        if self.from_logits:
            return predictions
        return tf.math.log(tf.clip_by_value(predictions, keras.config.epsilon(), 1.0))

    def masked_sums(self, labels, predictions, weights):
        losses = self.pixel_loss(labels, self.logits(predictions))
        if self.top_k < 1:
            keep = pixel_losses.hardest(tf.stop_gradient(losses), weights > 0, self.top_k)
            weights = tf.where(keep, weights, tf.zeros_like(weights))
        return tf.stack([_sum(losses * weights), _sum(weights)])

    def sums_of_labels(self, y_true, channels, sample_weight=None):
        if self.top_k < 1:
            return None
        weight = _sum(self.pixel_weights(_as_labels(y_true), channels, sample_weight))
        return tf.stack([tf.zeros_like(weight), weight])

    def value(self, sums):
        return tf.math.divide_no_nan(sums[0], sums[1])

    def size(self, channels):
        return 2


@_serializable
class MaskedSparseCategoricalCrossentropy(_PixelMean):
    """Softmax cross entropy over the pixels that count: sum_i w_i l_i / sum_i w_i, in nats.

    l = -log p_y, with label smoothing and focal factor as in `pixel_losses.cross_entropy`. With from_logits=False,
    y_pred are probabilities. A void_class >= C (a head that says "void" elsewhere) is masked like ignore_class.

    Example:
    >>> loss = MaskedSparseCategoricalCrossentropy()
    >>> float(loss([[[0, 255]]], [[[[0.0, 0.0], [9.0, 0.0]]]]))  # log 2: the second pixel does not count
    0.6931471824645996
    """

    def pixel_weights(self, labels, channels, sample_weight=None, dtype=tf.float32):
        weights = super().pixel_weights(labels, channels, sample_weight, dtype)
        if self.void_class is None or self.void_class < channels:
            return weights
        return tf.where(tf.equal(labels, self.void_class), tf.zeros_like(weights), weights)

    def pixel_loss(self, labels, logits):
        return pixel_losses.cross_entropy(labels, logits, self.label_smoothing, self.focal_gamma)


@_serializable
class OneVsAllBinaryCrossentropy(_PixelMean):
    """Binary cross entropy of every channel, summed over channels, mean over the pixels that count, in nats.

    The label C on C channels, and void_class where it is no channel, are the zero target ("none of them").
    Formula: `pixel_losses.one_vs_all_cross_entropy`. With from_logits=False, y_pred are probabilities.
    """

    zero_target = True

    def logits(self, predictions):
        if self.from_logits:
            return predictions
        return _inverse_sigmoid(predictions)

    def pixel_loss(self, labels, logits):
        return pixel_losses.one_vs_all_cross_entropy(labels, logits, self.label_smoothing, self.focal_gamma)


@_serializable
class Entropic(_PixelMean):
    """Cross entropy on classes, -(1/C) sum_c log p_c on void: void should look like nothing in particular.

    Void is void_class; the label C where void_class is None. Smoothing and focal factor act on classes only.
    Source: Dhamija et al. 2018, "Reducing Network Agnostophobia", eq. 2.
    """

    zero_target = True

    def pixel_loss(self, labels, logits):
        void = labels == (logits.shape[-1] if self.void_class is None else self.void_class)
        known = pixel_losses.cross_entropy(tf.where(void, 0, labels), logits, self.label_smoothing, self.focal_gamma)
        return tf.where(void, pixel_losses.uniform_cross_entropy(logits), known)


@_serializable
class VoidBinaryCrossentropy(_PixelMean):
    """Binary cross entropy of one logit that says "this pixel is void": target 1 where y is void_class, else 0.

    y_pred: [N, H, W, 1]. Every label but ignore_class is allowed. Label smoothing is towards 1/2.
    """

    def __init__(self, void_class, **common):
        super().__init__(void_class=void_class, **common)
        if self.void_class is None:
            raise ValueError("VoidBinaryCrossentropy needs void_class, the label that means void; got None.")

    def checked(self, labels, channels):
        if channels != 1:
            raise ValueError(f"{self.name}: y_pred must have 1 channel (is it void?); got {channels}.")
        return labels

    def logits(self, predictions):
        if self.from_logits:
            return predictions
        return _inverse_sigmoid(predictions)

    def pixel_loss(self, labels, logits):
        # As one of two channels, the target with smoothing e is (1 - e) t + e / 2.
        target = tf.where(labels == self.void_class, 0, 1)
        terms = pixel_losses.one_vs_all_cross_entropy(target, logits, 0.0, self.focal_gamma)
        if self.label_smoothing:
            hot = tf.cast(labels == self.void_class, logits.dtype)
            terms += self.label_smoothing * (hot - 0.5) * logits[..., 0]
        return terms


@_serializable
class Dice(_LabelMapLoss):
    """Dice loss (1/C) sum_c (1 - Dice_c) of the global batch, a number in [0, 1).

    Dice_c = (2 TP_c + s) / (2 TP_c + 2 alpha FP_c + 2 beta FN_c + s), soft counts in pixels over the whole batch
    (`pixel_losses.counts`); alpha = beta = 1/2 is Dice, (2 sum w p y + s) / (sum w p + sum w y + s), others are
    Tversky's. A class without truth in the global batch leaves the sum, its gradient too; the divisor stays C. The
    label C on C channels, and void_class where it is no channel, are the zero target: false positives for all.

    Args:
        activation: what makes probabilities of logits, "softmax" or "sigmoid".
        alpha, beta: weights of a class's false positives and false negatives, >= 0.
        smooth: s, in pixels.
        per_image: True: the mean of each image's Dice loss over the images with any pixel that counts.
    Source: Milletari et al. 2016, "V-Net"; Salehi et al. 2017, "Tversky loss function for image segmentation".
    """

    zero_target = True
    counts = "tp fp fn"

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
        self.alpha = _at_least_zero("alpha", alpha)
        self.beta = _at_least_zero("beta", beta)
        self.smooth = _at_least_zero("smooth", smooth)
        self.per_image = bool(per_image)

    def get_config(self):
        names = ("activation", "alpha", "beta", "smooth", "per_image")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}

    def masked_sums(self, labels, predictions, weights):
        if not self.from_logits:
            probabilities = predictions
        elif self.activation == "softmax":
            probabilities = tf.nn.softmax(predictions)
        else:
            probabilities = tf.nn.sigmoid(predictions)
        counts = pixel_losses.counts(labels, probabilities, weights, self.counts)
        if not self.per_image:
            return tf.reshape(tf.reduce_sum(counts, 0), [-1])
        images = tf.reduce_any(weights > 0, [1, 2])
        loss = tf.where(images, self.of_counts(counts), tf.zeros((), counts.dtype))
        return tf.stack([tf.reduce_sum(loss), tf.reduce_sum(tf.cast(images, counts.dtype))])

    def of_counts(self, counts):
        """The loss [...] from soft counts [..., 3, C]."""
        true, false_positive, false_negative = tf.unstack(counts, axis=-2)
        distance = pixel_losses.dice_distance(true, false_positive, false_negative, self.alpha, self.beta, self.smooth)
        present = true + false_negative > 0
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

    counts = "tn fp fn"

    def of_counts(self, counts):
        true, false_positive, false_negative = tf.unstack(counts, axis=-2)
        return tf.reduce_mean(
            pixel_losses.dice_distance(true, false_positive, false_negative, self.alpha, self.beta, self.smooth),
            -1,
        )


@_serializable
class WeightedSum(GlobalSumLoss):
    """sum_j weight_j loss_j, each on its own channels of y_pred.

    Args:
        parts: list of (loss, weight, channels): a loss of this module, its factor, and None (all channels) or
            (start, stop), which channels of y_pred it sees. Labels are those of y_true, whatever the channels.
    """

    def __init__(self, parts, name=None):
        super().__init__(name=name)
        self.parts = []
        for part in parts:
            loss, weight, channels = part
            if not isinstance(loss, GlobalSumLoss):
                raise ValueError(f"WeightedSum adds losses of kseg.losses; got {type(loss).__name__}.")
            self.parts.append((loss, float(weight), None if channels is None else tuple(map(int, channels))))
        if not self.parts:
            raise ValueError("WeightedSum needs at least one (loss, weight, channels); got none.")

    def get_config(self):
        parts = [
            [keras.saving.serialize_keras_object(loss), weight, None if channels is None else list(channels)]
            for loss, weight, channels in self.parts
        ]
        return {**super().get_config(), "parts": parts}

    @classmethod
    def from_config(cls, config):
        config = dict(config)
        config["parts"] = [
            (keras.saving.deserialize_keras_object(loss), weight, channels)
            for loss, weight, channels in config["parts"]
        ]
        return cls(**config)

    def sums(self, y_true, y_pred, sample_weight=None):
        labels, predictions = _as_labels(y_true, y_pred), tf.convert_to_tensor(y_pred)
        labels = self.checked(labels, predictions.shape[-1])
        return self.local_sums(labels, predictions, sample_weight)

    def checked(self, labels, channels):
        for loss, _, span in self.parts:
            labels = loss.checked(labels, _width(span, channels))
        return labels

    def local_sums(self, labels, predictions, sample_weight):
        """`sums` of checked int32 labels."""
        sums = []
        for loss, _, span in self.parts:
            seen = predictions if span is None else predictions[..., span[0] : span[1]]
            sums.append(loss.local_sums(labels, seen, sample_weight))
        return tf.concat(sums, 0)

    def sums_of_labels(self, y_true, channels, sample_weight=None):
        sums = [loss.sums_of_labels(y_true, _width(span, channels), sample_weight) for loss, _, span in self.parts]
        return None if any(part is None for part in sums) else tf.concat(sums, 0)

    def size(self, channels):
        return sum(loss.size(_width(span, channels)) for loss, _, span in self.parts)

    def values(self, sums) -> list:
        """The unweighted value of each part, from the sums of the global batch: for logging."""
        # Sizes are affine in the number of channels, which the sums' own length therefore tells.
        fixed, slope = self.size(0), self.size(1) - self.size(0)
        channels = (sums.shape[0] - fixed) // slope if slope else 0
        sizes = [loss.size(_width(span, channels)) for loss, _, span in self.parts]
        return [loss.value(part) for (loss, _, _), part in zip(self.parts, tf.split(sums, sizes))]

    def value(self, sums):
        return tf.add_n([weight * value for (_, weight, _), value in zip(self.parts, self.values(sums))])


def _width(span, channels):
    return channels if span is None else span[1] - span[0]


def _as_labels(y_true, y_pred=None):
    """int32 [N, H, W] of y_true, whose shape must be that of y_pred without channels."""
    labels = tf.convert_to_tensor(y_true)
    if labels.shape.rank == 4 and labels.shape[-1] == 1:
        labels = tf.squeeze(labels, -1)
    if y_pred is not None:
        shape = tf.convert_to_tensor(y_pred).shape
        if shape.rank != 4 or labels.shape.rank != 3 or not labels.shape.is_compatible_with(shape[:3]):
            raise ValueError(
                "Expected y_true [N, H, W] of integers and y_pred [N, H, W, C] of the same N, H, W; got "
                f"{tuple(labels.shape)} and {tuple(shape)}."
            )
    return tf.cast(labels, tf.int32)


def _sum_dtype(predictions):
    return tf.float64 if predictions.dtype == tf.float64 else tf.float32


def _sum(values):
    """Sum over [N, H, W], rows first: one by one, float32 would lose digits over millions of pixels."""
    return tf.reduce_sum(tf.reduce_sum(values, -1))


def _inverse_sigmoid(probabilities):
    epsilon = keras.config.epsilon()
    probabilities = tf.clip_by_value(probabilities, epsilon, 1.0 - epsilon)
    return tf.math.log(probabilities) - tf.math.log1p(-probabilities)


def _integer(name, value):
    if value is not None and int(value) != value:
        raise ValueError(f"{name} must be a label (an integer) or None; got {value!r}.")
    return None if value is None else int(value)


def _at_least_zero(name, value):
    if not float(value) >= 0 or float(value) == float("inf"):
        raise ValueError(f"{name} must be a finite number >= 0; got {value!r}.")
    return float(value)


def _share(name, value):
    if not 0 <= float(value) <= 1:
        raise ValueError(f"{name} must be between 0 and 1; got {value!r}.")
    return float(value)


def _weights(name, values):
    return None if values is None else [_at_least_zero(name, value) for value in values]
