"""What all losses of kseg.losses have in common: arguments, pixel weights, masking, one pass over the logits.

A loss names the terms that it needs of the predictions (kseg/losses/terms.py). `sums_of_parts` computes a term once for
all losses that see the same channels with the same weights. No loss is defined here; what a loss is called with is
checked in kseg/inputs.py.
"""

import numbers
from collections.abc import Mapping

import tensorflow as tf

from kseg import inputs
from kseg.losses import terms as pixel_losses
from kseg.losses._compiled import Compilation
from kseg.losses.global_sum_loss import GlobalSumLoss

_IGNORED_BY_DEFAULT = 255


class LossOfParts(GlobalSumLoss):
    """A loss whose sums are those of its parts, one after another.

    Args:
      jit_compile: True, False, or "auto": where height, width and channels are known and large enough. (Each new
        shape is compiled anew, so images of any size are not.)
    """

    def __init__(self, jit_compile="auto", name=None):
        super().__init__(name=name)
        self.jit_compile = jit_compile
        self._compute_sums = Compilation(self._sums, jit_compile)

    def get_config(self):
        return {**super().get_config(), "jit_compile": self.jit_compile}

    def parts(self) -> list:
        """[(loss, channels)] whose sums, one after another, are this loss's."""
        raise NotImplementedError

    @tf.autograph.experimental.do_not_convert
    def sums(self, y_true, y_pred, sample_weight=None):
        predictions = tf.convert_to_tensor(y_pred)
        labels, known = inputs.label_map(self.name, y_true, predictions.shape)
        mask = inputs.keras_mask(y_pred)
        factor, usable = inputs.pixel_factor(self.name, sample_weight, predictions.shape, mask)
        meant = [known, usable]
        for loss, span in self.parts():
            if span is not None and span[1] > predictions.shape[-1]:
                raise ValueError(
                    f"{self.name}: {loss.name} sees the channels {span}, but y_pred has {predictions.shape[-1]}."
                )
            labels, all_known = loss.checked(labels, width(span, predictions.shape[-1]))
            meant.append(all_known)
        sums = self._compute_sums(labels, predictions, factor)
        if tf.executing_eagerly():
            return sums
        return tf.where(tf.reduce_all(tf.stack(meant)), sums, tf.constant(float("nan"), sums.dtype))

    def _sums(self, labels, predictions, sample_weight, keep):
        return tf.concat(sums_of_parts(self.parts(), labels, predictions, sample_weight, keep), 0)


class LabelMapLoss(LossOfParts):
    """Base of the losses of one kind; its arguments are explained in kseg.losses."""

    # Whether the label C, on C channels, is the zero target ("none of the channels").
    zero_target = False
    # Whether channels are made one distribution, which a single channel cannot be.
    softmax = False

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
        self.class_weights = _by_label(class_weights)
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

    def is_binary(self, channels) -> bool:
        """Whether the one channel says "object": label 1 has it then, and label 0 is the zero target.

        Not where void_class is 1: void is the zero target there, and the channel is that of class 0.
        """
        return self.zero_target and channels == 1 and self.void_class != 1

    def checked(self, labels, channels: int):
        """(`labels`, whether each means something to this loss); refused if not, where errors are possible."""
        self.check_arguments(channels)
        known = (labels >= 0) & (labels < channels + self.zero_target)
        for special in (self.ignore_class, self.void_class):
            if special is not None:
                known |= tf.equal(labels, special)
        message = (
            f"{self.name}: y_true has a label that is none of the {channels} channels, nor ignore_class="
            f"{self.ignore_class}, nor void_class={self.void_class}; map it to one of them."
        )
        all_known = tf.reduce_all(known)
        return inputs.given(labels, all_known, message, lambda: [tf.boolean_mask(labels, ~known)[:3]]), all_known

    def check_arguments(self, channels: int):
        """Raises ValueError if this loss, as it was made, means nothing for predictions of so many channels."""
        if self.softmax and channels == 1:
            raise ValueError(
                f"{self.name}: a softmax over one channel is 1 whatever the logit; for one channel (label 1 the object,"
                ' 0 the background) take OneVsAllBinaryCrossentropy, or Dice or InvertedDice with activation="sigmoid".'
            )
        if channels > _IGNORED_BY_DEFAULT == self.ignore_class:
            raise ValueError(
                f"{self.name}: ignore_class=255 is one of the {channels} classes; set ignore_class to None, or to a "
                "label that is none, such as -1 (and give class 255 weight 0 if it is to be left out)."
            )
        void_weight = self.weights_key(channels)[3]
        if self.void_class is not None and self.void_class == self.ignore_class and void_weight:
            raise ValueError(
                f"{self.name}: void_class and ignore_class are both {self.void_class}, so void would not count; set "
                "ignore_class to None or to another label."
            )


def sums_of_parts(parts, labels, predictions, sample_weight, keep=pixel_losses.compute) -> list:
    """The sums of each (loss, channels); terms that several losses want of the same channels are computed once.

    `keep` stands between what makes tensors that the gradient needs again and their use (pixel_losses.compute).
    """
    dtype = tf.float64 if predictions.dtype == tf.float64 else tf.float32
    groups = {}
    for loss, span in parts:
        channels = width(span, predictions.shape[-1])
        binary = loss.is_binary(channels)
        key = (span, loss.terms_function(), loss.from_logits, loss.weights_key(channels), binary)
        group = groups.setdefault(key, {"losses": [], "names": []})
        group["losses"].append(loss)
        group["names"] += [name for name in loss.wanted() if name not in group["names"]]
    sums = {}
    for (span, terms_function, _, _, binary), group in groups.items():
        seen = predictions if span is None else predictions[..., span[0] : span[1]]
        weights = group["losses"][0].pixel_weights(labels, seen.shape[-1], sample_weight, dtype)
        targets = _first_channel_as_one(labels) if binary else labels
        terms = terms_function(targets, seen, weights, tuple(group["names"]), keep) if group["names"] else {}
        for loss in group["losses"]:
            sums[id(loss), span] = loss.sums_of_terms(targets, seen, weights, terms)
    return [sums[id(loss), span] for loss, span in parts]


def _first_channel_as_one(labels):
    """Labels of which 1 means channel 0, and 0 the zero target, as they are for several channels: 0 and 1."""
    return tf.where(tf.equal(labels, 1), 0, tf.where(tf.equal(labels, 0), 1, labels))


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


def _by_label(class_weights):
    """A list of floats by label, or None, of a sequence or of {class index: weight}; what a dict leaves out has 1."""
    if class_weights is None:
        return None
    if isinstance(class_weights, Mapping):
        for label in class_weights:
            if isinstance(label, bool) or not isinstance(label, numbers.Integral) or label < 0:
                raise ValueError(f"class_weights: expected class indices (0, 1, ...) as keys; got {label!r}.")
        size = 1 + max(map(int, class_weights), default=-1)
        class_weights = [class_weights.get(label, 1.0) for label in range(size)]
    try:
        return [at_least_zero("class_weights", weight) for weight in class_weights]
    except TypeError:
        raise ValueError(
            f"class_weights must be a list of numbers by class index, or a dict; got {class_weights!r}."
        ) from None
