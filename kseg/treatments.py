"""What happens to the pixels that belong to no class: every treatment of void, in training and in decoding.

A treatment is an encoding, a head, a loss, void scores and a native decision rule. The encoding says what the target is
at void. The head says how many outputs there are, and whether they are a softmax or sigmoids. A void score is one
number a pixel, higher = more likely void. Each treatment is one entry of `_TREATMENTS`; to add one, add an entry. K is
the number of classes, z the logits, p the probabilities, v the void weight.

    name                   target at void   outputs        main loss                              abstains by itself
    ignore                 255              K softmax      cross entropy on labelled pixels       no
    background_class       K                K+1 softmax    cross entropy                          yes
    hybrid                 K; 255 geometry  K+1 softmax    cross entropy                          yes
    inverted_dice          zero target      K sigmoid      Dice + inverted Dice                   yes
    inverted_dice_softmax  zero target      K softmax      Dice + inverted Dice                   no
    one_vs_all             zero target      K sigmoid      binary cross entropy over classes      yes
    entropic               uniform          K softmax      cross entropy; (1/K) sum -log p_c      no
    void_head              ignored; 1       K softmax + 1  cross entropy + binary "is it void"    yes

Dice + inverted Dice is (1/K) sum_c [1 - 2 TP_c / (2 TP_c + FP_c + FN_c)] + [1 - 2 TN_c / (2 TN_c + FP_c + FN_c)].
Counts are soft, over the batch (kseg/losses). A void pixel, whose target is all zeros, is a false positive of every
p_c. Inverted Dice as an answer to void is the question's own, no earlier definition was found. An extra class for what
is unknown is the "background class" of Dhamija et al. 2018, who warn that it does not carry over to new objects.

Target 255 (padding, unannotated, unseen void in training) enters no sum and no divisor under any of them.
"""

import dataclasses
import math
from collections.abc import Callable

import tensorflow as tf

from kseg import heads, losses
from tfrecords.labels import ENCODINGS

# Main loss terms: f(K, void_weight, options) -> [(loss, relative weight, (first, last) output channel)]. --------------


def _cross_entropy(outputs):
    def terms(k, v, options):
        """sum_i w_i (-log p_{y_i}) / sum_i w_i; w = v at void, which is a class like any other if it has an output."""
        loss = losses.MaskedSparseCategoricalCrossentropy(void_class=k, void_weight=v, **options)
        return [(loss, 1.0, (0, k + outputs))]

    return terms


def _binary_cross_entropy(k, v, options):
    """sum_i w_i sum_c BCE(z_ic, [y_i = c]) / sum_i w_i; void is the target of all zeros.

    One classifier a class, as in Padhy et al. 2020, "Revisiting One-vs-All Classifiers for Predictive Uncertainty and
    Out-of-Distribution Detection".
    """
    return [(losses.OneVsAllBinaryCrossentropy(void_class=k, void_weight=v, **options), 1.0, (0, k))]


def _entropic(k, v, options):
    """Cross entropy on labelled pixels, (1/K) sum_c -log p_c on void.

    The entropic open-set loss of Dhamija et al. 2018, "Reducing Network Agnostophobia", eq. 1.
    """
    return [(losses.Entropic(void_class=k, void_weight=v, **options), 1.0, (0, k))]


def _cross_entropy_and_void_logit(k, v, options):
    """Cross entropy of the K classes on labelled pixels + binary cross entropy of z_K on labelled and void pixels.

    The options are for the classes. One class has no cross entropy: its softmax is 1, and void alone is to be learnt.
    After the two-head detector of Bevandic et al. 2019, "Simultaneous Semantic Segmentation and Outlier Detection".
    """
    classes = [(losses.MaskedSparseCategoricalCrossentropy(void_class=k, **options), 1.0, (0, k))] if k > 1 else []
    return [*classes, (losses.VoidBinaryCrossentropy(void_class=k, void_weight=v), 1.0, (k, k + 1))]


# The treatments. ------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class _Entry:
    """`weights`: defaults of config.loss.{main, dice, inverted_dice}_weight.

    `zero_target`: label K means "no class" to the Dice terms; otherwise they leave void out, unless it has an output.
    """

    encoding: str
    encodings: tuple[str, ...]
    head: heads.Head
    main: Callable
    weights: tuple[float, float, float] = (1.0, 0.0, 0.0)
    zero_target: bool = False


_TREATMENTS = {
    "ignore": _Entry("ignore", ("ignore",), heads.SOFTMAX, _cross_entropy(0)),
    "background_class": _Entry("background", ENCODINGS, heads.EXTRA_CLASS, _cross_entropy(1)),
    "hybrid": _Entry("hybrid", ENCODINGS, heads.EXTRA_CLASS, _cross_entropy(1)),
    "inverted_dice": _Entry(
        "background", ENCODINGS, heads.SIGMOID, _binary_cross_entropy, weights=(0.0, 1.0, 1.0), zero_target=True
    ),
    "inverted_dice_softmax": _Entry(
        "background", ENCODINGS, heads.SOFTMAX, _cross_entropy(0), weights=(0.0, 1.0, 1.0), zero_target=True
    ),
    "one_vs_all": _Entry("background", ENCODINGS, heads.SIGMOID, _binary_cross_entropy, zero_target=True),
    "entropic": _Entry("background", ("background", "hybrid"), heads.SOFTMAX, _entropic),
    "void_head": _Entry("background", ("background", "hybrid"), heads.VOID_LOGIT, _cross_entropy_and_void_logit),
}

NAMES = tuple(_TREATMENTS)


@dataclasses.dataclass(frozen=True)
class Treatment:
    """One way to treat void, for a given number of classes.

    Attributes:
      name: an entry of NAMES.
      encoding: what targets say at void; a name of ENCODINGS.
      num_classes, num_outputs: K and the channels of the logits.
      softmax_outputs: how many of the first outputs are one distribution; each of the others is one of its own.
      detached_outputs: how many of the last outputs must not train the trunk.
      loss: losses.GlobalSumLoss of targets [N, H, W] under `encoding` and logits [N, H, W, num_outputs].
      scores: {name: f(logits float32 [..., num_outputs]) -> float32 [...]}, higher = more likely void.
      primary: the score that calibration, the export and the study's headline use.
      native_score: the score whose sign decides natively, or None where the treatment never abstains by itself.
      abstains_at_zero: whether a native score of exactly 0 abstains.
      evidences: names of the scores that `with_evidences` adds up; empty where there is no void output.
    """

    name: str
    encoding: str
    num_classes: int
    num_outputs: int
    softmax_outputs: int
    detached_outputs: int
    loss: losses.GlobalSumLoss
    scores: dict[str, Callable]
    primary: str
    native_score: str | None
    abstains_at_zero: bool
    evidences: tuple[str, ...] = ()

    def with_evidences(self, moments):
        """This treatment with one more score, "evidences": sum_s (score_s - mean_s) / deviation_s over its `evidences`.

        The void output and the entropy of the classes together, after UNO (Delic et al. 2024, arXiv 2402.15374). Each
        is standardised on held-out images, so that neither outweighs the other by its unit.

        Args:
          moments: {score: (mean, standard deviation)}, floats, of each of `evidences`.

        Returns:
          A Treatment; this one where it has no void output.

        Raises:
          ValueError: moments that lack a score, are not finite, or whose deviation is not positive.
        """
        if not self.evidences:
            return self
        for name in self.evidences:
            mean, deviation = moments.get(name, (math.nan, math.nan))
            if not (math.isfinite(mean) and 0 < deviation < math.inf):
                raise ValueError(
                    f"moments of score {name!r}: expected a finite mean and a deviation above 0, "
                    f"got {moments.get(name)}."
                )

        def together(logits):
            return sum((self.scores[name](logits) - moments[name][0]) / moments[name][1] for name in self.evidences)

        return dataclasses.replace(self, scores=self.scores | {"evidences": together})

    def forced(self, logits):
        """The best of the K classes, abstaining not allowed: int32 [...]; the lowest index wins a tie."""
        return tf.argmax(logits[..., : self.num_classes], -1, output_type=tf.int32)

    def rule(self, threshold=None):
        """Where a decision abstains: heads.Rule, or None if it never does.

        Args:
          threshold: of the primary score; None = the native decision.
        """
        if threshold is not None:
            return heads.Rule(self.primary, threshold)
        return None if self.native_score is None else heads.Rule(self.native_score, 0.0, self.abstains_at_zero)

    def native(self, logits):
        """The treatment's own decision: int32 [...], 0..K-1 or K = abstain."""
        return self.decide(logits)

    def decide(self, logits, threshold=None):
        """Class map at an operating point: int32 [...], 0..K-1 or K = abstain.

        Args:
          logits: float32 [..., num_outputs].
          threshold: abstain exactly where the primary score is greater; None = the native decision.
        """
        rule, best = self.rule(threshold), self.forced(logits)
        return tf.where(rule.abstains(self.scores[rule.score](logits)), self.num_classes, best) if rule else best


def get(treatment_config, num_classes, loss_config=None, class_weights=None):
    """The treatment that `config.treatment` describes.

    Args:
      treatment_config: `config.treatment`.
      num_classes: K >= 1.
      loss_config: `config.loss`; None = every term at the treatment's default weight, without options.
      class_weights: K non-negative floats, or None for 1 each.

    Raises:
      ValueError: on an unknown name, an encoding that the head cannot train on, weights that leave no loss, or an
        option out of its range. Also for one class, where nothing would be learnt but that every pixel is of it.
    """
    name = treatment_config.name
    if name not in _TREATMENTS:
        raise ValueError(f"config.treatment.name={name!r}: expected one of {', '.join(NAMES)}.")
    entry = _TREATMENTS[name]
    encoding = treatment_config.encoding or entry.encoding
    if encoding not in entry.encodings:
        raise ValueError(
            f"config.treatment.encoding={encoding!r} with {name}: expected one of {', '.join(entry.encodings)}; "
            + ("it has no output or target for void." if encoding in ENCODINGS else "no such encoding.")
        )
    if not 0 <= treatment_config.void_weight < float("inf"):
        raise ValueError(f"config.treatment.void_weight={treatment_config.void_weight}: expected 0 or more.")
    if treatment_config.stop_gradient and name != "void_head":
        raise ValueError(f"config.treatment.stop_gradient=True: only void_head has a head to detach, not {name}.")
    k, head = num_classes, entry.head
    if k == 1:
        _check_one_class(name, entry, encoding, treatment_config.void_weight, loss_config)
    return Treatment(
        name=name,
        encoding=encoding,
        num_classes=k,
        num_outputs=k + head.extra,
        softmax_outputs=k + head.dice_channels if head.activation == "softmax" else 0,
        detached_outputs=1 if treatment_config.stop_gradient else 0,
        loss=_loss(entry, treatment_config.void_weight, k, loss_config, class_weights),
        scores={score: _bind(function, k) for score, function in head.scores.items()},
        primary=next(iter(head.scores)),
        native_score=head.native,
        abstains_at_zero=head.at_zero,
        evidences=head.evidences,
    )


def _check_one_class(name, entry, encoding, void_weight, config):
    """One class is told from void or from nothing: refuses heads and targets by which every pixel would be of it."""
    why = None
    weights = _weights(entry, config)
    if encoding == "ignore":
        why = "targets encoded as ignore have no void that it could be told from"
    elif void_weight == 0:
        why = "void that it could be told from has config.treatment.void_weight=0"
    elif (
        entry.head.activation == "softmax"
        and not entry.head.dice_channels
        and (not entry.head.extra or any(weights[1:]))
    ):
        why = "a softmax over one output is 1 everywhere"
    if why:
        raise ValueError(
            f"config.treatment.name={name!r} with one class: {why}, so every pixel would be of that class; take "
            "background_class, which has an output for void, or the sigmoid head of one_vs_all or inverted_dice."
        )


def _weights(entry, config):
    """[main, Dice, inverted Dice]: the weights of config.loss, the treatment's own where they are -1."""
    if config is None:
        return list(entry.weights)
    given = (config.main_weight, config.dice_weight, config.inverted_dice_weight)
    return [own if value == -1 else value for value, own in zip(given, entry.weights)]


def _loss(entry, void_weight, k, config, class_weights):
    weights = _weights(entry, config)
    main_options, dice_options = {}, {}
    if config is not None:
        main_options = {
            "label_smoothing": config.label_smoothing,
            "focal_gamma": config.focal_gamma,
            "top_k": config.top_k,
        }
        dice_options = {
            "alpha": config.tversky_alpha,
            "beta": config.tversky_beta,
            "per_image": config.dice_per_image,
        }
    if not all(0 <= weight < float("inf") for weight in weights) or max(weights) == 0:
        raise ValueError(
            f"config.loss.main_weight, dice_weight, inverted_dice_weight = {weights}: expected none negative and "
            "one positive (-1 = the treatment's default)."
        )
    if class_weights is not None:
        weights_per_output = [float(w) for w in class_weights] + [1.0] * entry.head.dice_channels
        main_options["class_weights"] = weights_per_output
    channels = (0, k + entry.head.dice_channels)
    # Void without an output of its own and without the zero target is left out of the Dice terms.
    dice_void_weight = void_weight if entry.zero_target or entry.head.dice_channels else 0.0
    dice_options |= {"void_class": k, "void_weight": dice_void_weight, "activation": entry.head.activation}
    terms = []
    try:
        if weights[0]:
            main = entry.main(k, void_weight, main_options)
            terms += [(loss, weights[0] * share, part) for loss, share, part in main]
        if weights[1]:
            terms.append((losses.Dice(**dice_options), weights[1], channels))
        if weights[2]:
            terms.append((losses.InvertedDice(**dice_options), weights[2], channels))
    except ValueError as error:
        text = str(error)
        for option in ("alpha", "beta"):
            text = text.replace(f"{option} must", f"tversky_{option} must")
        raise ValueError(f"config.loss: {text}") from error
    return losses.WeightedSum(terms)


def _bind(function, k):
    return lambda logits: function(logits, k)
