"""Losses for label maps in which some pixels do not count: exact over replicas, micro-batches and precisions.

They work in any Keras 3 model on TensorFlow, under `compile`/`fit` or in a loop of one's own; no config, no label
table. In common (symbols as in kseg/losses/terms.py):

* y_true: int [N, H, W] (or [N, H, W, 1]), any integer type, or floats that are integers. y_pred: float [N, H, W, C],
  any float type. Sums are float32 whatever the policy (float64 for float64 predictions).
* `ignore_class` (255, or None): such pixels enter no sum and no divisor; whatever is predicted there (NaN included)
  changes nothing, and its gradient is exactly 0. A label that has a channel may be ignored too: its pixels do not
  count then, but its channel still competes with the others. (255 itself is refused where it is a class.)
* `void_class`: the label that means "no class"; its pixels have weight `void_weight` (1).
* `class_weights`: a list by label, or {label: weight}; labels that it leaves out have 1. They multiply the pixel's
  weight, in the divisor too: losses are *weighted means*, so equal weights change nothing.
* `from_logits`: False where y_pred are probabilities.
* One channel is binary: label 1 is the object, label 0 the background. It takes a sigmoid (OneVsAllBinaryCrossentropy,
  or Dice and InvertedDice with activation="sigmoid"); a softmax over it is refused. With void_class=1 the channel is
  that of class 0, and label 1 its absence.
* `jit_compile`: see kseg/losses/label_map_loss.py.
* A label that is neither a channel nor one of those is refused, as is one between two integers. Where XLA compiles the
  caller's whole step, no error is possible: the loss is NaN then.
* A batch without weight has loss 0 and gradient 0.
* sample_weight ([N] or [N, H, W], none below 0) multiplies the pixels' weights. A mask that Keras layers left on y_pred
  multiplies them too, by 0 and 1.
* ValueError, in one line: an argument out of its range (when the loss is made); shapes that do not fit, labels that
  mean nothing (when it is called).

Each class has a function beside it, `dice(y_true, y_pred, **options)` for `Dice(**options)(y_true, y_pred)`.

The value is that of the global batch (kseg/losses/global_sum_loss.py).
What is not here: regularisation, and label encodings (kseg/treatments.py).
"""

from kseg.distribution.collectives import all_reduce_sum
from kseg.losses.accumulation import accumulated_gradients
from kseg.losses.cross_entropy import (
    Entropic,
    MaskedSparseCategoricalCrossentropy,
    OneVsAllBinaryCrossentropy,
    VoidBinaryCrossentropy,
    entropic,
    masked_sparse_categorical_crossentropy,
    one_vs_all_binary_crossentropy,
    void_binary_crossentropy,
)
from kseg.losses.dice import Dice, InvertedDice, dice, inverted_dice
from kseg.losses.global_sum_loss import GlobalSumLoss
from kseg.losses.weighted_sum import WeightedSum

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
