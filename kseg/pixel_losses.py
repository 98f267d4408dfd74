"""Per-pixel terms of the losses, as plain functions: weights, cross entropies, and the four counts behind Dice.

Everything here is unreduced (or reduced within an image), knows nothing of replicas, and works on labels without
"ignored": `pixel_weights` turns a label map into weights, 0 where a pixel does not count, and callers multiply.
Symbols: N images, H x W pixels, C channels, y label, z logit, p probability, w weight. Natural logarithms (nats).
"""

import tensorflow as tf


def pixel_weights(labels, ignore_class=255, class_weights=None, void_class=None, void_weight=1.0, dtype=tf.float32):
    """Weight of each pixel: class_weights[y], times void_weight where y is void_class, 0 where y is ignore_class.

    Args:
        labels: int32 [N, H, W].
        ignore_class: label that never counts, or None.
        class_weights: sequence of float, by label; labels beyond its end have 1. None is 1 for all.
        void_class: label that means "no class", or None.
        void_weight: >= 0.
    Returns: dtype [N, H, W].
    """
    weights = tf.ones_like(labels, dtype)
    if class_weights is not None:
        table = tf.constant([*class_weights, 1.0], dtype)
        weights = tf.gather(table, tf.clip_by_value(labels, 0, len(class_weights)))
    if void_class is not None:
        weights = tf.where(tf.equal(labels, void_class), weights * tf.constant(void_weight, dtype), weights)
    if ignore_class is not None:
        weights = tf.where(tf.equal(labels, ignore_class), tf.zeros_like(weights), weights)
    return weights


def one_hot(labels, channels: int, dtype):
    """dtype [..., C]; all zero where the label is no channel. A comparison, so that XLA fuses it away."""
    return tf.cast(tf.equal(labels[..., None], tf.range(channels)), dtype)


def cross_entropy(labels, logits, label_smoothing=0.0, focal_gamma=0.0):
    """Softmax cross entropy: -sum_c t_c log p_c, t = (1 - e) one_hot(y) + e / C, times (1 - p_y)^gamma.

    Args:  labels: int32 [N, H, W] in 0..C-1.   logits: float [N, H, W, C], unnormalised.
           label_smoothing: e in [0, 1], over the C channels.   focal_gamma: >= 0; 0 is plain cross entropy.
    Returns: [N, H, W] in nats, >= 0. Finite for logits up to +-1e30.
    Source: Lin et al. 2017, "Focal Loss for Dense Object Detection", eq. 4; Szegedy et al. 2016, section 7.
    """
    log_p = tf.nn.log_softmax(logits)
    loss = -tf.reduce_sum(log_p * one_hot(labels, logits.shape[-1], logits.dtype), -1)
    focus = _focus(loss, focal_gamma)
    if label_smoothing:
        loss = (1.0 - label_smoothing) * loss - label_smoothing * tf.reduce_mean(log_p, -1)
    return focus * loss


def one_vs_all_cross_entropy(labels, logits, label_smoothing=0.0, focal_gamma=0.0):
    """Binary cross entropy of every channel, summed over channels; a label >= C is the zero target.

    sum_c [softplus(z_c) - t_c z_c], t = (1 - e) one_hot(y) + e / C; with gamma, each channel's term is multiplied by
    (1 - q_c)^gamma, q_c = sigmoid(z_c) for the label's channel and 1 - sigmoid(z_c) for the others.
    Args, limits, source: see cross_entropy. Returns: [N, H, W] in nats.
    """
    channels = logits.shape[-1]
    hot = one_hot(labels, channels, logits.dtype)
    target = (1.0 - label_smoothing) * hot + label_smoothing / channels
    terms = tf.nn.softplus(logits) - target * logits
    if focal_gamma:
        terms *= _focus(tf.nn.softplus(logits) - hot * logits, focal_gamma)
    return tf.reduce_sum(terms, -1)


def uniform_cross_entropy(logits):
    """-(1/C) sum_c log p_c: cross entropy of the softmax against "any class is as likely"; log C at best.

    Returns: [N, H, W] in nats.   Source: Dhamija et al. 2018, "Reducing Network Agnostophobia", eq. 2.
    """
    return -tf.reduce_mean(tf.nn.log_softmax(logits), -1)


def hardest(losses, counted, share: float):
    """Mask of each image's hardest pixels: the ceil(share * counted pixels) with the largest loss, and their ties.

    Args:  losses: float [N, H, W], >= 0.   counted: bool [N, H, W].   share: in (0, 1].
    Returns: bool [N, H, W]. Pixels as hard as the last one kept are all kept, so the answer depends on no order; a
        NaN is kept, so that it is seen.
    """
    # The k-th largest value, exactly and without sorting: floats >= 0 order as their bits do, and 31 halvings find
    # the largest bit pattern that at least k pixels reach.
    bits = tf.bitcast(tf.cast(tf.maximum(losses, 0.0), tf.float32) + 0.0, tf.int32)
    bits = tf.where(counted, bits, -1)
    number = tf.cast(tf.reduce_sum(tf.cast(counted, tf.int32), [1, 2]), tf.float64)
    # ceil of what is meant: 0.1 * 30 is a little above 3 in floating point.
    wanted = tf.cast(tf.math.ceil(share * number - 1e-6), tf.int32)
    threshold = tf.zeros_like(wanted)
    for bit in reversed(range(31)):
        trial = threshold + (1 << bit)
        reached = tf.reduce_sum(tf.cast(bits >= trial[:, None, None], tf.int32), [1, 2])
        threshold = tf.where(reached >= wanted, trial, threshold)
    keep = bits >= threshold[:, None, None]
    return tf.stop_gradient(tf.logical_or(keep, tf.math.is_nan(losses)) & counted)


def counts(labels, probabilities, weights, which="tp fp fn tn"):
    """Soft counts per image and channel: TP = sum w p y, FP = sum w p (1-y), FN = sum w (1-p) y, TN the rest.

    Each is summed by itself: as a difference of larger sums it would drown in their rounding.
    Args:  labels: int32 [N, H, W], a label >= C is the zero target.   probabilities: float [N, H, W, C].
           weights: float [N, H, W].   which: the counts wanted, in order.
    Returns: [N, len(which), C], in pixels.
    """
    hot = one_hot(labels, probabilities.shape[-1], probabilities.dtype)
    truth, rest = hot * weights[..., None], (1.0 - hot) * weights[..., None]
    made = {
        "tp": lambda: probabilities * truth,
        "fp": lambda: probabilities * rest,
        "fn": lambda: (1.0 - probabilities) * truth,
        "tn": lambda: (1.0 - probabilities) * rest,
    }
    # Rows first: a sum over millions of pixels, one at a time, loses digits in float32.
    return tf.stack([tf.reduce_sum(tf.reduce_sum(made[name](), 2), 1) for name in which.split()], 1)


def dice_distance(true, false_positive, false_negative, alpha=0.5, beta=0.5, smooth=1.0):
    """1 - Dice = 2 (alpha FP + beta FN) / (2 TP + 2 alpha FP + 2 beta FN + s), elementwise; in [0, 1).

    alpha = beta = 1/2 is Dice, (2 TP + s) / (2 TP + FP + FN + s); others are Tversky's index. 0 where all is 0.
    Source: Milletari et al. 2016, "V-Net"; Salehi et al. 2017, "Tversky loss function", eq. 4.
    """
    wrong = 2.0 * (alpha * false_positive + beta * false_negative)
    return tf.math.divide_no_nan(wrong, 2.0 * true + wrong + smooth)


def _focus(loss, gamma):
    """(1 - exp(-loss))^gamma. The floor keeps the slope finite at loss 0 for gamma < 1."""
    if not gamma:
        return tf.ones((), loss.dtype)
    return tf.pow(tf.maximum(-tf.math.expm1(-loss), 1e-7), gamma)
