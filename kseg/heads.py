"""Heads of networks that may say "no class": which outputs are what, and the void scores that they offer.

A void score is one number a pixel, higher = more likely void, from logits z of K classes. Which treatment has which
head is in kseg/treatments.py.
"""

import dataclasses
from collections.abc import Callable

import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class Head:
    """`extra` outputs beyond the K classes; `scores` maps a name to f(logits, K), the first being the primary one.

    `native` names the score whose sign decides natively (None: never abstains); `at_zero`: a score of 0 abstains too.
    `dice_channels`: outputs that Dice terms see, beyond the K classes. `evidences`: the scores that
    `Treatment.with_evidences` adds up.
    """

    extra: int
    activation: str
    scores: dict[str, Callable]
    native: str | None
    at_zero: bool = False
    dice_channels: int = 0
    evidences: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Rule:
    """Where a pixel is of no class: where the score named `score` is above `threshold`, or equals it if `inclusive`."""

    score: str
    threshold: float
    inclusive: bool = False

    def abstains(self, values):
        """bool of the shape of `values`, the float32 values of the score."""
        return values >= self.threshold if self.inclusive else values > self.threshold


def _entropy(z, k):
    """H(softmax(z_<K)) = -sum_c p_c log p_c, in nats."""
    log_p = tf.nn.log_softmax(z[..., :k])
    return -tf.reduce_sum(tf.exp(log_p) * log_p, -1)


def _max_softmax(z, k):
    """-log max_c p_c: ranks as 1 - max p (Hendrycks and Gimpel 2017), and keeps its precision near p = 1."""
    return -tf.reduce_max(tf.nn.log_softmax(z[..., :k]), -1)


def _max_logit(z, k):
    """-max_c z_c (Hendrycks et al. 2022, "Scaling Out-of-Distribution Detection for Real-World Settings")."""
    return -tf.reduce_max(z[..., :k], -1)


def _energy(z, k):
    """-logsumexp_c z_c (Liu et al. 2020, "Energy-based Out-of-distribution Detection")."""
    return -tf.reduce_logsumexp(z[..., :k], -1)


def _void_log_odds(z, k):
    """z_K - logsumexp(z_<K) = log p_K / (1 - p_K)."""
    return z[..., k] - tf.reduce_logsumexp(z[..., :k], -1)


def _void_margin(z, k):
    """z_K - max z_<K: positive exactly where the argmax over K + 1 outputs is void."""
    return z[..., k] - tf.reduce_max(z[..., :k], -1)


def _negative_softplus(z, k):
    """-sum_c softplus(z_c) = sum_c log(1 - p_c): the log probability that no sigmoid fires."""
    return -tf.reduce_sum(tf.nn.softplus(z[..., :k]), -1)


def _void_logit(z, k):
    """z_K, the logit of "is it void"."""
    return z[..., k]


def _void_logit_and_max_softmax(z, k):
    """z_K - log max_c p_c: either evidence raises it."""
    return z[..., k] + _max_softmax(z, k)


SOFTMAX = Head(
    extra=0,
    activation="softmax",
    scores={"entropy": _entropy, "max_softmax": _max_softmax, "max_logit": _max_logit, "energy": _energy},
    native=None,
)
EXTRA_CLASS = Head(
    extra=1,
    activation="softmax",
    scores={"void_log_odds": _void_log_odds, "void_margin": _void_margin, "entropy": _entropy},
    native="void_margin",
    dice_channels=1,
    evidences=("void_log_odds", "entropy"),
)
SIGMOID = Head(
    extra=0,
    activation="sigmoid",
    scores={"max_logit": _max_logit, "negative_softplus": _negative_softplus},
    native="max_logit",  # the most likely class has p < 1/2
)
VOID_LOGIT = Head(
    extra=1,
    activation="softmax",
    scores={"void_logit": _void_logit, "with_max_softmax": _void_logit_and_max_softmax, "entropy": _entropy},
    native="void_logit",
    at_zero=True,
    evidences=("void_logit", "entropy"),
)
