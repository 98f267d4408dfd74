"""What losses on label maps are made of, as plain functions: weights, per-pixel terms, soft counts, Dice.

Nothing here is averaged over pixels, or knows of replicas: `pixel_weights` turns labels into weights, 0 where a pixel
does not count, and callers multiply. `softmax_terms` and `sigmoid_terms` give everything that the losses need of the
logits in one go, with closed-form gradients. They keep nothing of the logits' size for the backward pass but the logits
themselves; autodiff of the same formulas keeps four such tensors. They store no one-hot tensor once XLA has fused the
comparison; compiled, the forward pass works in strips (`compute` says how that is told). Pixels of weight 0 are masked
by that weight after the exponential: 0 * NaN is NaN, and a mask on the logits keeps XLA from vectorising it. A NaN
where a pixel counts stays one, in value and gradient: training must see it.

Symbols: N images, H x W pixels, C channels, y label, z logit, p probability, w weight; natural logarithms (nats).
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

    Returns:
      dtype [N, H, W].
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


def masked(predictions, weights):
    """`predictions` in the type of `weights`, 0 where the weight is 0."""
    return _only(tf.cast(predictions, weights.dtype), (weights > 0)[..., None])


def compute(function, *maps):
    """function(*maps): the plain way to come by what a gradient needs again.

    Others work in strips, note the results down, or give what was noted. maps: [N, H, W, ...]; function's results are
    a tuple of maps and of sums [N, C] over an image.
    """
    return function(*maps)


def softmax_terms(labels, logits, weights, wanted, keep=compute) -> dict:
    """Terms of a softmax head, differentiable in `logits` alone.

    Args:
      labels: int32 [N, H, W]; a label outside 0..C-1 is the zero target (own is then meaningless).
      logits: float [N, H, W, C]; anything, NaN included, where the weight is 0.
      weights: float [N, H, W] of the type to compute in; 0 masks a pixel (terms 0, gradient 0).
      wanted: names of the terms to return, each of the weights' type:
        own: [N, H, W], -log p_y.
        uniform: [N, H, W], -(1/C) sum_c log p_c, the cross entropy against "any class is as likely".
        excess: [N, C], sum over an image of w p_c where y is not c: soft false positives, in pixels.
      keep: how what the gradient needs again is come by; see `compute`.
    Source: gradients from d p_c / d z_k = p_c ([c = k] - p_k).
    """

    @tf.custom_gradient
    def terms(logits):
        counted = weights > 0
        z = tf.cast(logits, weights.dtype)

        def normalised(z, labels, weights):
            top = tf.reduce_max(z, -1)
            own_logit = tf.gather(z, tf.clip_by_value(labels, 0, z.shape[-1] - 1), batch_dims=3)
            exponentials = _exponentials_of_others(z, labels, weights, top)
            rest = tf.reduce_sum(exponentials, -1)
            total = rest + _only(tf.exp(own_logit - top), _is_channel(labels, z) & (weights > 0))
            # Where y is the likeliest class, total is 1 + rest, and rest may be far below the rounding of 1.
            own = tf.where(own_logit >= top, tf.math.log1p(rest), top - own_logit + tf.math.log(total))
            excess = tf.zeros([tf.shape(z)[0], z.shape[-1]], z.dtype)
            if "excess" in wanted:
                excess = _weighted_sum(tf.math.divide_no_nan(weights, total), exponentials)
            return top, total, _only(own, weights > 0), excess

        top, total, own, excess = keep(normalised, z, labels, weights)
        made = {
            "own": lambda: own,
            "uniform": lambda: _only(tf.math.log(total) - tf.reduce_mean(z - top[..., None], -1), counted),
            "excess": lambda: excess,
        }

        def gradient(*upstream):
            of = dict(zip(wanted, upstream))
            own_slope, uniform = (of.get(name, tf.zeros_like(weights)) for name in ("own", "uniform"))
            exponentials = _exponentials_of_others(z, labels, weights, top)  # again, rather than kept
            inverse = tf.math.reciprocal_no_nan(total)
            along_p, at_others = own_slope + uniform, 0.0
            if "excess" in of:
                excess = of["excess"][:, None, None]
                along_p -= weights * inverse * tf.reduce_sum(exponentials * excess, -1)
                at_others = weights[..., None] * excess
            at_own = _only(tf.exp(-own), _is_channel(labels, z)) * along_p - own_slope
            p = exponentials * inverse[..., None]
            slope = tf.where(_hot(labels, z), at_own[..., None], p * (along_p[..., None] + at_others))
            if "uniform" in of:
                slope -= uniform[..., None] / z.shape[-1]
            return tf.cast(slope, logits.dtype)

        return [made[name]() for name in wanted], gradient

    return dict(zip(wanted, terms(logits)))


def sigmoid_terms(labels, logits, weights, wanted, keep=compute) -> dict:
    """Terms of a head of independent sigmoids, differentiable in `logits` alone. Arguments as for softmax_terms.

    wanted:
        own: [N, H, W], -log p_y.
        binary: [N, H, W], sum_c [softplus(z_c) - [y = c] z_c], the binary cross entropies of all channels.
        lead: [N, H, W], z_y - mean_c z_c; z_y is 0 for the zero target.
        excess: [N, C], sum over an image of w p_c where y is not c.
    Source: gradients from d p_c / d z_c = p_c (1 - p_c).
    """

    @tf.custom_gradient
    def terms(logits):
        counted = weights > 0
        z = tf.cast(logits, weights.dtype)
        hot = _hot(labels, z)
        probabilities = tf.nn.sigmoid(z)
        p = _only(probabilities, counted[..., None])
        own_logit = tf.gather(z, tf.clip_by_value(labels, 0, z.shape[-1] - 1), batch_dims=3)
        own_logit = _only(own_logit, _is_channel(labels, z))
        made = {
            "own": lambda: tf.nn.softplus(-own_logit),
            "binary": lambda: tf.reduce_sum(tf.nn.softplus(z), -1) - own_logit,
            "lead": lambda: own_logit - tf.reduce_mean(z, -1),
            "excess": lambda: _weighted_sum(weights, _only(p, ~hot)),
        }

        def gradient(*upstream):
            of = {name: slope if name == "excess" else slope[..., None] for name, slope in zip(wanted, upstream)}
            own, binary, lead = (of.get(name, 0.0) for name in ("own", "binary", "lead"))
            at_others = binary * p
            if "excess" in of:
                at_others += p * (1.0 - p) * weights[..., None] * of["excess"][:, None, None]
            at_own = (own + binary) * (p - 1.0) + lead
            return tf.cast(tf.where(hot, at_own, at_others) - lead / z.shape[-1], logits.dtype)

        values = {name: made[name]() for name in wanted}
        return [value if name == "excess" else _only(value, counted) for name, value in values.items()], gradient

    return dict(zip(wanted, terms(logits)))


def probability_terms(labels, probabilities, weights, wanted, keep=compute) -> dict:
    """The terms "own" and "excess" of given probabilities [N, H, W, C], as they are (not normalised)."""
    p = masked(probabilities, weights)
    hot = _hot(labels, p)
    made = {
        # log 0 is -inf, whose exp has no gradient: a floor far below any probability that matters.
        "own": lambda: -tf.math.log(tf.maximum(tf.reduce_sum(_only(p, hot), -1), 1e-30)),
        "excess": lambda: _weighted_sum(weights, _only(p, ~hot)),
    }
    return {name: made[name]() for name in wanted}


def focus(losses, gamma):
    """The focal factor (1 - q)^gamma of losses = -log q; 1 for gamma 0.

    Source: Lin et al. 2017, "Focal Loss for Dense Object Detection", eq. 4.
    """
    # The floor keeps the slope finite at loss 0 for gamma < 1.
    return tf.pow(tf.maximum(-tf.math.expm1(-losses), 1e-7), gamma) if gamma else tf.ones((), losses.dtype)


def focal_binary_cross_entropy(labels, logits, gamma, label_smoothing=0.0):
    """sum_c (1 - q_c)^gamma [softplus(z_c) - t_c z_c], t = (1 - e) [y = c] + e / max(C, 2), by autodiff; [N, H, W].

    q_c = sigmoid(z_c) for the label's channel, 1 - sigmoid(z_c) for the others. In nats.
    Arguments as for sigmoid_terms.
    """
    signed = tf.where(_hot(labels, logits), logits, -logits)
    target = tf.cast(_hot(labels, logits), logits.dtype) * (1.0 - label_smoothing)
    target += label_smoothing / max(logits.shape[-1], 2)
    return tf.reduce_sum(focus(tf.nn.softplus(-signed), gamma) * (tf.nn.softplus(logits) - target * logits), -1)


def hardest(losses, counted, share: float):
    """Mask of each image's hardest pixels: the ceil(share * counted pixels) with the largest loss, and their ties.

    Args:
      losses: float [N, H, W], >= 0.
      counted: bool [N, H, W].
      share: in (0, 1].

    Returns:
      bool [N, H, W]. Pixels as hard as the last one kept are all kept, so the order of pixels does not matter. A NaN is
      kept, so that training sees it.
    """
    # The k-th largest value, exactly and without sorting: floats >= 0 order as their bits do, and 31 halvings find
    # the largest bit pattern that at least k pixels reach.
    bits = tf.bitcast(tf.cast(tf.maximum(losses, 0.0), tf.float32) + 0.0, tf.int32)
    bits = tf.where(counted, bits, -1)
    number = tf.cast(tf.reduce_sum(tf.cast(counted, tf.int32), [1, 2]), tf.float64)
    # ceil of what is meant: 0.1 * 30 is a little above 3 in floating point.
    wanted = tf.cast(tf.maximum(tf.math.ceil(share * number - 1e-6), tf.minimum(number, 1.0)), tf.int32)
    threshold = tf.zeros_like(wanted)
    for bit in reversed(range(31)):
        trial = threshold + (1 << bit)
        reached = tf.reduce_sum(tf.cast(bits >= trial[:, None, None], tf.int32), [1, 2])
        threshold = tf.where(reached >= wanted, trial, threshold)
    keep = bits >= threshold[:, None, None]
    return tf.stop_gradient(tf.logical_or(keep, tf.math.is_nan(losses)) & counted)


def exact_sum(values, axis=None):
    """Sum in float64, in the type of `values`: one by one, a million equal float32 numbers end 1e-5 off."""
    return tf.cast(tf.reduce_sum(tf.cast(values, tf.float64), axis), values.dtype)


def sum_by_label(values, labels, channels: int):
    """Sum of values [N, H, W] over each image's pixels of each label: [N, C]; other labels are left out."""
    if _on_gpu():
        hot = tf.equal(labels[..., None], tf.range(channels))
        return tf.reduce_sum(_only(values[..., None], hot), [1, 2])
    images = tf.shape(labels)[0]
    is_channel = (labels >= 0) & (labels < channels)
    segments = tf.where(is_channel, tf.range(images)[:, None, None] * channels + labels, -1)

    @tf.custom_gradient
    def sums(values):
        made = tf.math.unsorted_segment_sum(tf.cast(values, tf.float64), segments, images * channels)

        def gradient(upstream):  # autodiff would gather in float64
            return _only(tf.gather(tf.reshape(upstream, [-1]), tf.maximum(segments, 0)), is_channel)

        return tf.cast(tf.reshape(made, [images, channels]), values.dtype), gradient

    return sums(values)


def soft_counts(labels, own, excess, weights) -> tuple:
    """(TP, FP, FN, TN) of each image and channel, each [N, C], in pixels.

    TP = sum w p y, FP = sum w p (1-y), FN = sum w (1-p) y, TN = sum w (1-p) (1-y).

    Args:
      labels: int32 [N, H, W]; others than 0..C-1 are the zero target.
      own, excess: terms of that name.
      weights: float [N, H, W].
    """
    channels = excess.shape[-1]
    true = sum_by_label(weights * tf.exp(-own), labels, channels)
    missed = sum_by_label(weights * -tf.math.expm1(-own), labels, channels)
    # Pixels of other labels, counted as such: as a difference of soft counts TN would drown in their rounding.
    truth = sum_by_label(weights, labels, channels)
    others = exact_sum(weights, [1, 2])[:, None] - truth
    return true, excess, missed, others - excess


def dice_distance(true, false_positive, false_negative, alpha=0.5, beta=0.5, smooth=1.0):
    """1 - Dice = 2 (alpha FP + beta FN) / (2 TP + 2 alpha FP + 2 beta FN + s), elementwise; in [0, 1).

    alpha = beta = 1/2 is Dice, (2 TP + s) / (2 TP + FP + FN + s); others are Tversky's index. 0 where all is 0.
    Source: Milletari et al. 2016, "V-Net"; Salehi et al. 2017, "Tversky loss function", eq. 4.
    """
    wrong = 2.0 * (alpha * false_positive + beta * false_negative)
    return tf.math.divide_no_nan(wrong, 2.0 * true + wrong + smooth)


def _only(values, mask):
    """values where mask, else 0, also where they are not finite."""
    return tf.where(mask, values, tf.zeros((), values.dtype))


def _exponentials_of_others(logits, labels, weights, top):
    """exp(z_c - top) where c is not y; 0 at y, and where the weight is 0."""
    channel = tf.range(logits.shape[-1])
    # No channel is as high as C. As a comparison of channels, not a mask of its own, it leaves the loop vectorised.
    lowest = tf.where(weights > 0, 0, logits.shape[-1])[..., None]
    return _only(tf.exp(logits - top[..., None]), (channel >= lowest) & (channel != labels[..., None]))


def _hot(labels, logits):
    """bool [N, H, W, C]: a comparison, which XLA fuses into its users."""
    return tf.equal(labels[..., None], tf.range(logits.shape[-1]))


def _is_channel(labels, logits):
    return (labels >= 0) & (labels < logits.shape[-1])


def _weighted_sum(weights, values):
    """sum over an image's pixels of weights [N, H, W] times values [N, H, W, C]: [N, C]."""
    if _on_gpu():
        return tf.reduce_sum(weights[..., None] * values, [1, 2])
    # Products of blocks of at most 64 pixels, so that what float32 rounds is short (see exact_sum).
    images, height, width, channels = (n or tf.shape(values)[axis] for axis, n in enumerate(values.shape))
    block = max(n for n in range(1, 65) if width % n == 0) if isinstance(width, int) else width
    blocks = height * width // block
    sums = tf.matmul(
        tf.reshape(weights, [images, blocks, 1, block]), tf.reshape(values, [images, blocks, block, channels])
    )
    return exact_sum(sums, [1, 2])


def _on_gpu() -> bool:
    """Where matrix products may round to ten bits (TF32) and additions come in any order; on a CPU they are faster."""
    return bool(tf.config.list_logical_devices("GPU"))
