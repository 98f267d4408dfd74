"""What all losses of kseg.losses have in common: arguments, pixel weights, masking, checks, one pass over the logits.

A loss names the terms it needs of the predictions (kseg.losses.terms); `sums_of_parts` computes each term once for all
losses that see the same channels with the same weights, inside one XLA program where shapes allow it. No loss is
defined here.
"""

import tensorflow as tf

from kseg.losses import terms as pixel_losses
from kseg.losses.global_sum_loss import GlobalSumLoss

# Elements of y_pred from which compiling (a third of a second for each shape) pays.
_WORTH_COMPILING = 1 << 17
_STRIP_PIXELS = 1 << 16


class CompiledSums(GlobalSumLoss):
    """A loss whose sums are one function of (labels, predictions, sample_weight), compiled by XLA where it pays.

    Args:
        jit_compile: True, False, or "auto": where height, width and channels are known and large enough. (Each new
            shape is compiled anew, so images of any size are not.)
    """

    def __init__(self, jit_compile="auto", name=None):
        super().__init__(name=name)
        if jit_compile not in (True, False, "auto"):
            raise ValueError(f'jit_compile must be True, False or "auto"; got {jit_compile!r}.')
        self.jit_compile = jit_compile
        self._compiled = None

    def get_config(self):
        return {**super().get_config(), "jit_compile": self.jit_compile}

    def parts(self) -> list:
        """[(loss, channels)] whose sums, one after another, are this loss's."""
        raise NotImplementedError

    @tf.autograph.experimental.do_not_convert
    def sums(self, y_true, y_pred, sample_weight=None):
        labels, predictions = _as_labels(y_true, y_pred), tf.convert_to_tensor(y_pred)
        known = []
        for loss, span in self.parts():
            labels, all_known = loss.checked(labels, width(span, predictions.shape[-1]))
            known.append(all_known)
        if sample_weight is not None:
            sample_weight = _as_pixel_factor(sample_weight)
        sums = self._compute_sums(labels, predictions, sample_weight)
        if tf.executing_eagerly():
            return sums
        return tf.where(tf.reduce_all(tf.stack(known)), sums, tf.constant(float("nan"), sums.dtype))

    def _compute_sums(self, labels, predictions, sample_weight):
        if not self._compiles(predictions.shape):
            return self._sums(labels, predictions, sample_weight)
        if self._compiled is None:
            with tf.init_scope():
                self._compiled = [
                    tf.function(function, jit_compile=True, autograph=False)
                    for function in (self._sums_and_kept, self._gradient)
                ]
        forward, backward = self._compiled

        # Left to itself, TensorFlow keeps every tensor that the gradient mentions: copies of the logits among them.
        @tf.custom_gradient
        def sums(predictions):
            value, kept = forward(labels, tf.stop_gradient(predictions), sample_weight)
            return value, lambda upstream: backward(labels, predictions, sample_weight, kept, upstream)

        return sums(predictions)

    def _sums(self, labels, predictions, sample_weight, keep=pixel_losses.compute):
        return tf.concat(sums_of_parts(self.parts(), labels, predictions, sample_weight, keep), 0)

    def _sums_and_kept(self, labels, predictions, sample_weight):
        kept = []

        def keep(function, *maps):
            kept.append(_in_strips(function, *maps))
            return kept[-1]

        return self._sums(labels, predictions, sample_weight, keep), kept

    def _gradient(self, labels, predictions, sample_weight, kept, upstream):
        """That of `_sums` in the predictions; what it need not compute again XLA leaves out."""
        remaining = list(kept)
        with tf.GradientTape() as tape:
            tape.watch(predictions)
            value = self._sums(labels, predictions, sample_weight, lambda *_: remaining.pop(0))
        return tape.gradient(value, predictions, upstream, unconnected_gradients=tf.UnconnectedGradients.ZERO)

    def _compiles(self, shape):
        if self.jit_compile != "auto":
            return self.jit_compile
        inner = shape[1:].num_elements()
        return inner is not None and inner * (shape[0] or 1) >= _WORTH_COMPILING


class LabelMapLoss(CompiledSums):
    """Base of the losses of one kind; its arguments are explained in kseg.losses."""

    # Whether the label C, on C channels, is the zero target ("none of the channels").
    zero_target = False

    def __init__(
        self,
        ignore_class=255,
        from_logits=True,
        class_weights=None,
        void_class=None,
        void_weight=1.0,
        **common,
    ):
        super().__init__(**common)
        self.ignore_class = _integer("ignore_class", ignore_class)
        self.from_logits = bool(from_logits)
        self.class_weights = None
        if class_weights is not None:
            self.class_weights = [at_least_zero("class_weights", weight) for weight in class_weights]
        self.void_class = _integer("void_class", void_class)
        self.void_weight = at_least_zero("void_weight", void_weight)

    def get_config(self):
        return {
            **super().get_config(),
            "ignore_class": self.ignore_class,
            "from_logits": self.from_logits,
            "class_weights": self.class_weights,
            "void_class": self.void_class,
            "void_weight": self.void_weight,
        }

    def parts(self):
        return [(self, None)]

    # What subclasses define. ------------------------------------------------------------------------------------------

    def wanted(self) -> tuple:
        """Names of the terms that `sums_of_terms` needs."""
        raise NotImplementedError

    def terms_function(self):
        """f(labels, predictions, weights, names, keep) -> {name: term}; equal functions may share their work."""
        raise NotImplementedError

    def sums_of_terms(self, labels, predictions, weights, terms):
        """Sums [M]. Predictions are anything where the weight is 0; a loss with all its terms need not look."""
        raise NotImplementedError

    def size(self, channels: int) -> int:
        """M, the number of sums, for predictions of so many channels."""
        raise NotImplementedError

    # What they share. -------------------------------------------------------------------------------------------------

    def weights_key(self, channels) -> tuple:
        """Arguments of pixel_losses.pixel_weights: losses with equal keys give every pixel equal weight."""
        del channels
        class_weights = None if self.class_weights is None else tuple(self.class_weights)
        return self.ignore_class, class_weights, self.void_class, self.void_weight

    def pixel_weights(self, labels, channels, sample_weight=None, dtype=tf.float32):
        """Weight of every pixel, [N, H, W]."""
        weights = pixel_losses.pixel_weights(labels, *self.weights_key(channels), dtype)
        if sample_weight is None:
            return weights
        # Not a product alone: an ignored pixel's own factor may be NaN.
        return tf.where(weights > 0, weights * tf.cast(sample_weight, dtype), weights)

    def checked(self, labels, channels: int):
        """(`labels`, whether each means something to this loss); refused if not, where errors are possible."""
        known = (labels >= 0) & (labels < channels + self.zero_target)
        for special in (self.ignore_class, self.void_class):
            if special is not None:
                known |= tf.equal(labels, special)
        message = (
            f"{self.name}: y_true has a label that is none of the {channels} channels, nor ignore_class="
            f"{self.ignore_class}, nor void_class={self.void_class}; map it to one of them."
        )
        all_known = tf.reduce_all(known)
        if tf.executing_eagerly():
            if not all_known:
                raise ValueError(message)
            return labels, all_known
        check = tf.debugging.Assert(all_known, [message, tf.boolean_mask(labels, ~known)[:3]])
        with tf.control_dependencies([check] if check is not None else []):
            return tf.identity(labels), all_known


def sums_of_parts(parts, labels, predictions, sample_weight, keep=pixel_losses.compute) -> list:
    """The sums of each (loss, channels); terms that several losses want of the same channels are computed once.

    `keep` stands between what makes tensors that the gradient needs again and their use (pixel_losses.compute).
    """
    dtype = tf.float64 if predictions.dtype == tf.float64 else tf.float32
    groups = {}
    for loss, span in parts:
        channels = width(span, predictions.shape[-1])
        key = (span, loss.terms_function(), loss.from_logits, loss.weights_key(channels))
        group = groups.setdefault(key, {"losses": [], "names": []})
        group["losses"].append(loss)
        group["names"] += [name for name in loss.wanted() if name not in group["names"]]
    sums = {}
    for (span, terms_function, _, _), group in groups.items():
        seen = predictions if span is None else predictions[..., span[0] : span[1]]
        weights = group["losses"][0].pixel_weights(labels, seen.shape[-1], sample_weight, dtype)
        terms = terms_function(labels, seen, weights, tuple(group["names"]), keep) if group["names"] else {}
        for loss in group["losses"]:
            sums[id(loss), span] = loss.sums_of_terms(labels, seen, weights, terms)
    return [sums[id(loss), span] for loss, span in parts]


def _in_strips(function, *maps):
    """function(*maps) of maps [N, H, W, ...], strip by strip: what it needs meanwhile is of a strip's size."""
    images, height, pixels_of_row, *_ = maps[0].shape
    if None in (images, height, pixels_of_row):
        return function(*maps)
    rows = max(n for n in range(1, height + 1) if height % n == 0 and (n == 1 or n * pixels_of_row <= _STRIP_PIXELS))
    strips = height // rows

    # Slices of the whole, over numbers of strips: mapping over the tensors, or a reshape, would copy them.
    def strip(number):
        begin = [number // strips, number % strips * rows]
        return function(*(tf.slice(x, begin + [0] * (x.shape.rank - 2), [1, rows, *x.shape[2:]]) for x in maps))

    made = tf.map_fn(strip, tf.range(images * strips), fn_output_signature=(maps[0].dtype,) * 4)
    joined = []
    for tensor in made:
        if tensor.shape.rank == 4:  # [strips, 1, rows, W]
            joined.append(tf.reshape(tensor, [images, height, pixels_of_row]))
        else:  # sums [strips, 1, C]
            joined.append(tf.reduce_sum(tf.reshape(tensor, [images, strips, tensor.shape[-1]]), 1))
    return tuple(joined)


def width(span, channels):
    """Number of channels in span: None (all) or (start, stop)."""
    return channels if span is None else span[1] - span[0]


def of_batch(loss, y_true, y_pred, sample_weight, options):
    """`loss(**options)` of one batch: what the functions beside the loss classes do."""
    # A function that XLA compiled would be thrown away with the loss.
    return loss(**{"jit_compile": False, **options})(y_true, y_pred, sample_weight)


def at_least_zero(name, value) -> float:
    if not 0 <= float(value) < float("inf"):
        raise ValueError(f"{name} must be a finite number >= 0; got {value!r}.")
    return float(value)


def share(name, value) -> float:
    if not 0 <= float(value) <= 1:
        raise ValueError(f"{name} must be between 0 and 1; got {value!r}.")
    return float(value)


def _integer(name, value):
    if value is not None and int(value) != value:
        raise ValueError(f"{name} must be a label (an integer) or None; got {value!r}.")
    return None if value is None else int(value)


def _as_labels(y_true, y_pred):
    """int32 [N, H, W] of y_true, whose shape must be that of y_pred without channels."""
    labels = tf.convert_to_tensor(y_true)
    if labels.shape.rank == 4 and labels.shape[-1] == 1:
        labels = tf.squeeze(labels, -1)
    shape = tf.convert_to_tensor(y_pred).shape
    if shape.rank != 4 or labels.shape.rank != 3 or not labels.shape.is_compatible_with(shape[:3]):
        raise ValueError(
            "Expected y_true [N, H, W] of integers and y_pred [N, H, W, C] of the same N, H, W; got "
            f"{tuple(labels.shape)} and {tuple(shape)}."
        )
    return tf.cast(labels, tf.int32)


def _as_pixel_factor(sample_weight):
    """sample_weight [N], [N, H, W] or [N, H, W, 1], so that it broadcasts over [N, H, W]."""
    sample_weight = tf.convert_to_tensor(sample_weight)
    if sample_weight.shape.rank is None:  # Keras traces a function anew with any shape when it has seen two
        factor = tf.reshape(sample_weight, tf.concat([tf.shape(sample_weight), [1, 1]], 0)[:3])
        return tf.ensure_shape(factor, [None, None, None])
    if sample_weight.shape.rank == 4:
        return tf.squeeze(sample_weight, -1)
    return sample_weight[:, None, None] if sample_weight.shape.rank == 1 else sample_weight
