"""Losses that are a mean over pixels: softmax, entropic and one-vs-all cross entropy, focal or of the hardest pixels.

Their common arguments and laws are in kseg/losses/__init__.py.
"""

import keras
import tensorflow as tf

from kseg import inputs
from kseg.losses import terms as pixel_losses
from kseg.losses.label_map_loss import LabelMapLoss, at_least_zero, of_batch, share

_serializable = keras.saving.register_keras_serializable("kseg")


class PixelMean(LabelMapLoss):
    """Weighted mean of a per-pixel loss over the pixels that count, or over the hardest of them.

    label_smoothing: e in [0, 1]; the target is (1 - e) one_hot(y) + e / C, e / 2 for one channel.
    focal_gamma: >= 0; 0 is off.
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
        shape = tf.TensorShape([None, None, None, channels])
        labels, _ = inputs.label_map(self.name, y_true, shape)
        factor, _ = inputs.pixel_factor(self.name, sample_weight, labels.shape)
        weight = pixel_losses.exact_sum(self.pixel_weights(labels, channels, factor, tf.float64))
        return tf.stack([tf.zeros_like(weight), weight])

    def value(self, sums):
        return tf.math.divide_no_nan(sums[0], sums[1])

    def size(self, channels):
        return 2


@_serializable
class MaskedSparseCategoricalCrossentropy(PixelMean):
    """Softmax cross entropy over the pixels that count: sum_i w_i l_i / sum_i w_i, in nats.

    l = (1 - p_y)^gamma * -sum_c t_c log p_c, t the smoothed target. A void_class >= C (of a head that says "void"
    elsewhere) is masked like ignore_class.

    Examples:
        >>> loss = MaskedSparseCategoricalCrossentropy()
        >>> float(loss([[[0, 255]]], [[[[0.0, 0.0], [9.0, 0.0]]]]))  # log 2: the second pixel does not count
        0.6931471824645996

    Source: Lin et al. 2017, "Focal Loss for Dense Object Detection", eq. 4; Szegedy et al. 2016, "Rethinking the
    Inception Architecture", section 7.
    """

    softmax = True

    def weights_key(self, channels):
        ignore_class, class_weights, void_class, void_weight = super().weights_key(channels)
        masked = void_class is not None and void_class >= channels
        return ignore_class, class_weights, void_class, 0.0 if masked else void_weight

    def wanted(self):
        return ("own", "uniform") if self.label_smoothing else ("own",)

    def terms_function(self):
        return _softmax_terms(self.from_logits)

    def pixel_loss(self, labels, predictions, weights, terms):
        return _softmax_cross_entropy(terms, self.label_smoothing, self.focal_gamma)


@_serializable
class Entropic(PixelMean):
    """Cross entropy on classes, -(1/C) sum_c log p_c on void: void should look like nothing in particular.

    Void is void_class; the label C where void_class is None. Smoothing and focal factor act on classes only.
    Source: Dhamija et al. 2018, "Reducing Network Agnostophobia", eq. 1.
    """

    softmax = True

    @property
    def zero_target(self):
        return self.void_class is None

    def weights_key(self, channels):
        ignore_class, class_weights, void_class, void_weight = super().weights_key(channels)
        return ignore_class, class_weights, channels if void_class is None else void_class, void_weight

    def wanted(self):
        return ("own", "uniform")

    def terms_function(self):
        return _softmax_terms(self.from_logits)

    def pixel_loss(self, labels, predictions, weights, terms):
        void = tf.equal(labels, predictions.shape[-1] if self.void_class is None else self.void_class)
        of_classes = _softmax_cross_entropy(terms, self.label_smoothing, self.focal_gamma)
        return tf.where(void, terms["uniform"], of_classes)


@_serializable
class OneVsAllBinaryCrossentropy(PixelMean):
    """Binary cross entropy of every channel, summed over channels, mean over the pixels that count, in nats.

    l = sum_c (1 - q_c)^gamma [softplus(z_c) - t_c z_c], t the smoothed target, q_c the probability given to what is
    true of channel c. The label C on C channels, and a void_class that is no channel, are the zero target. One channel
    is binary cross entropy: label 1 is the object, 0 the background (`kseg.losses`).
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
        # Smoothing takes e z_y from sum_c t_c z_c and adds e mean(z); of one channel, e z / 2.
        lead = terms["lead"]
        if predictions.shape[-1] == 1:
            lead += 0.5 * self.logits(predictions, weights)[..., 0]
        return terms["binary"] + self.label_smoothing * lead


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

    def is_binary(self, channels):
        return False  # the channel is that of void, whatever its label

    def checked(self, labels, channels):
        if channels != 1:
            raise ValueError(f"{self.name}: y_pred must have 1 channel (is it void?); got {channels}.")
        self.check_arguments(channels)
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


# ---- The same as plain functions -------------------------------------------------------------------------------------


def masked_sparse_categorical_crossentropy(y_true, y_pred, sample_weight=None, **options):
    """MaskedSparseCategoricalCrossentropy(**options) of one batch, a scalar in nats."""
    return of_batch(MaskedSparseCategoricalCrossentropy, y_true, y_pred, sample_weight, options)


def entropic(y_true, y_pred, sample_weight=None, **options):
    """Entropic(**options) of one batch, a scalar in nats."""
    return of_batch(Entropic, y_true, y_pred, sample_weight, options)


def one_vs_all_binary_crossentropy(y_true, y_pred, sample_weight=None, **options):
    """OneVsAllBinaryCrossentropy(**options) of one batch, a scalar in nats."""
    return of_batch(OneVsAllBinaryCrossentropy, y_true, y_pred, sample_weight, options)


def void_binary_crossentropy(y_true, y_pred, void_class, sample_weight=None, **options):
    """VoidBinaryCrossentropy(void_class, **options) of one batch, a scalar in nats."""
    return of_batch(VoidBinaryCrossentropy, y_true, y_pred, sample_weight, {"void_class": void_class, **options})


def _softmax_cross_entropy(terms, label_smoothing, focal_gamma):
    """(1 - p_y)^gamma * -sum_c t_c log p_c of every pixel, t the smoothed target, from the terms of a softmax head."""
    loss = own = terms["own"]
    if label_smoothing:
        loss = (1.0 - label_smoothing) * own + label_smoothing * terms["uniform"]
    return pixel_losses.focus(own, focal_gamma) * loss


def _softmax_terms(from_logits):
    return pixel_losses.softmax_terms if from_logits else _softmax_terms_of_probabilities


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
