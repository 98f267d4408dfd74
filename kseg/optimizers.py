"""Optimizers that take one step for the whole global batch: clipping, weight decay, loss scaling, schedules, averages.

Keras clips each replica's own gradients, before they are summed, and its LossScaleOptimizer looks for an overflow on
the first replica alone. Here gradients are summed over replicas first; everything after that is the same everywhere.
Works under Keras `fit` and in a loop of one's own. There, call `optimizer.apply(gradients, variables)` in replica
context, with each replica's gradients of *its share* of the loss. That share is what kseg.losses return.

Not here: gradient accumulation (kseg.losses.accumulated_gradients).
"""

import contextlib
import math

import keras
import tensorflow as tf

from kseg.distribution.collectives import all_reduce_sum

_serializable = keras.saving.register_keras_serializable("kseg")


def create(
    config, total_steps: int, precision: str = "float32", in_encoder=(), earlier_totals=()
) -> keras.optimizers.Optimizer:
    """The optimizer that `config` (kseg.config's `optimizer` block) asks for.

    Args:
      config: name (adamw | sgd | lamb), learning_rate, schedule, poly_power, warmup_steps, weight_decay, momentum,
        clip_norm, encoder_rate.
      total_steps: steps of the schedule.
      precision: under "mixed_float16" the optimizer scales the loss.
      earlier_totals: totals at which the schedule had ended before it was extended (`Schedule`).
      in_encoder: a bool for each variable that is trained, in order: whether `encoder_rate` applies to it.

    Raises:
      ValueError: for a name or schedule that does not exist, or a value out of range.
    """
    if config.name not in _MAKERS:
        raise ValueError(f"config.optimizer.name={config.name!r}: expected one of {', '.join(sorted(_MAKERS))}.")
    for key in ("weight_decay", "clip_norm", "encoder_rate"):
        if not 0 <= config[key] < math.inf:
            raise ValueError(f"config.optimizer.{key}={config[key]!r}: expected a finite number of at least 0.")
    common = {
        "learning_rate": learning_rate(config, total_steps, earlier_totals),
        # AdamW refuses None; the others do no work for it.
        "weight_decay": config.weight_decay if config.weight_decay or config.name == "adamw" else None,
        "global_clipnorm": config.clip_norm or None,
        "rate_factors": [config.encoder_rate if inside else 1.0 for inside in in_encoder]
        if config.encoder_rate != 1
        else (),
    }
    optimizer = _MAKERS[config.name](config, common)
    return LossScaleOptimizer(optimizer) if precision == "mixed_float16" else optimizer


def learning_rate(config, total_steps: int, earlier_totals=()) -> "Schedule":
    """The schedule that `config` (kseg.config's `optimizer` block) asks for."""
    return Schedule(
        config.learning_rate, total_steps, config.schedule, config.warmup_steps, config.poly_power, earlier_totals
    )


@_serializable
class Schedule(keras.optimizers.schedules.LearningRateSchedule):
    """Linear warm-up, then cosine, polynomial or no decay.

    Step k (from 0) of the first `warmup_steps` has peak (k + 1) / warmup_steps. After that, with t in [0, 1] the share
    of the remaining steps that is done: cosine peak (1 + cos pi t) / 2, poly peak (1 - t)^power, constant peak. A
    schedule that was extended decays from the peak again after each step in `earlier_totals`, without another warm-up.

    Args:
      peak: learning rate.
      total_steps: steps after which the rate stays at its end.
      kind: "cosine", "poly" or "constant".
      warmup_steps: 0 is none.
      power: of "poly", at least 0.
      earlier_totals: ascending steps, all below total_steps; () = never extended.
    """

    def __init__(self, peak, total_steps, kind="cosine", warmup_steps=0, power=0.9, earlier_totals=(), name="schedule"):
        super().__init__()
        if kind not in _DECAYS:
            raise ValueError(f"config.optimizer.schedule={kind!r}: expected one of {', '.join(sorted(_DECAYS))}.")
        if not 0 < peak < math.inf:
            raise ValueError(f"config.optimizer.learning_rate={peak!r}: expected a finite number above 0.")
        if not 0 <= power < math.inf:
            raise ValueError(f"config.optimizer.poly_power={power!r}: expected a finite number of at least 0.")
        ends = [*map(int, earlier_totals), int(total_steps)]
        if not 0 <= warmup_steps <= ends[0]:
            raise ValueError(
                f"config.optimizer.warmup_steps={warmup_steps}: expected 0 to config.train.total_steps, {ends[0]}: "
                "lower it with the total."
            )
        if ends != sorted(set(ends)):
            raise ValueError(f"earlier_totals {tuple(ends[:-1])} and the total of {ends[-1]} steps must rise.")
        self.peak, self.total_steps, self.kind = float(peak), int(total_steps), kind
        self.warmup_steps, self.power, self.name = int(warmup_steps), float(power), name
        self.earlier_totals = tuple(ends[:-1])

    def __call__(self, step):
        step = tf.cast(step, tf.float32)
        ends = [*self.earlier_totals, self.total_steps]
        rate = self._decay(step, self.warmup_steps, ends[0])
        for begin, end in zip(ends, ends[1:]):
            rate = tf.where(step < begin, rate, self._decay(step, begin, end))
        if not self.warmup_steps:
            return rate
        return tf.where(step < self.warmup_steps, self.peak * (step + 1.0) / self.warmup_steps, rate)

    def _decay(self, step, begin, end):
        done = (step - begin) / max(1, end - begin)
        return self.peak * _DECAYS[self.kind](tf.clip_by_value(done, 0.0, 1.0), self.power)

    def get_config(self):
        names = ("peak", "total_steps", "kind", "warmup_steps", "power", "earlier_totals", "name")
        return {name: getattr(self, name) for name in names}


_DECAYS = {
    "cosine": lambda done, power: 0.5 * (1.0 + tf.cos(math.pi * done)),
    "poly": lambda done, power: (1.0 - done) ** power,
    "constant": lambda done, power: tf.ones_like(done),
}


class _GlobalGradients:
    """Mixin for Keras optimizers: gradients are summed over replicas before anything else is done with them.

    rate_factors: a factor on the learning rate, and so on the decay, of each variable in order; () = 1 for all.

    Weight decay (decoupled: w -= rate * decay * w) leaves alone what has at most one dimension: biases and the scales
    and offsets of normalisation.
    """

    # True where a LossScaleOptimizer has summed the gradients already.
    gradients_are_global = False

    def __init__(self, *args, rate_factors=(), **kwargs):
        super().__init__(*args, **kwargs)
        self.rate_factors = tuple(float(factor) for factor in rate_factors)

    def build(self, variables):
        if self.rate_factors and len(self.rate_factors) != len(variables):
            raise ValueError(f"{len(self.rate_factors)} rate_factors for {len(variables)} variables.")
        super().build(variables)

    def update_step(self, gradient, variable, learning_rate):
        super().update_step(gradient, variable, learning_rate * self._rate_factor(variable))

    def apply(self, grads, trainable_variables=None):
        if not self.gradients_are_global:
            grads = _all_reduce_gradients(grads)
        return super().apply(grads, trainable_variables)

    def _all_reduce_sum_gradients(self, grads_and_vars):
        return list(grads_and_vars)

    def _use_weight_decay(self, variable):
        return len(variable.shape) > 1 and super()._use_weight_decay(variable)

    def _apply_weight_decay(self, variables):
        if self.weight_decay is None or not self.rate_factors:
            super()._apply_weight_decay(variables)
            return
        # As Keras' own, with the variable's share of the rate.

        def shrink(variable):
            if self._use_weight_decay(variable):
                rate = tf.cast(self.learning_rate * self._rate_factor(variable), variable.dtype)
                variable.assign_sub(variable * tf.cast(self.weight_decay, variable.dtype) * rate)

        def shrink_all(strategy, variables):
            for variable in variables:
                strategy.extended.update(
                    variable.value if isinstance(variable, keras.Variable) else variable, shrink, group=False
                )

        tf.__internal__.distribute.interim.maybe_merge_call(shrink_all, self._distribution_strategy, variables)

    def _rate_factor(self, variable):
        return self.rate_factors[self._get_variable_index(variable)] if self.rate_factors else 1.0

    def get_config(self):
        return {**super().get_config(), "rate_factors": self.rate_factors}


@_serializable
class SGD(_GlobalGradients, keras.optimizers.SGD):
    """keras.optimizers.SGD on the gradient of the global batch."""


@_serializable
class AdamW(_GlobalGradients, keras.optimizers.AdamW):
    """keras.optimizers.AdamW on the gradient of the global batch."""


@_serializable
class Lamb(_GlobalGradients, keras.optimizers.Lamb):
    """keras.optimizers.Lamb on the gradient of the global batch; weight decay is outside its trust ratio, as there."""


@_serializable
class LossScaleOptimizer(keras.optimizers.LossScaleOptimizer):
    """keras.optimizers.LossScaleOptimizer whose check for overflow sees every replica.

    Gradients are summed first. An inf or NaN of any replica is then in the sum on all of them, so all skip the step and
    halve the scale. `inner_optimizer` must be one of this module (or use its mixin), which then does not sum again.
    Under Keras `compile` with mixed_float16, pass it yourself: Keras would wrap the optimizer in its own.
    """

    def __init__(self, inner_optimizer, **kwargs):
        if not isinstance(inner_optimizer, _GlobalGradients):
            raise ValueError(
                "LossScaleOptimizer needs an optimizer of kseg.optimizers (SGD, AdamW, Lamb); got "
                f"{type(inner_optimizer).__module__}.{type(inner_optimizer).__name__}, which would sum gradients twice."
            )
        super().__init__(inner_optimizer, **kwargs)
        inner_optimizer.gradients_are_global = True

    def apply(self, grads, trainable_variables=None):
        return super().apply(_all_reduce_gradients(grads), trainable_variables)


_MAKERS = {
    "sgd": lambda config, common: SGD(momentum=config.momentum, **common),
    "adamw": lambda config, common: AdamW(**common),
    "lamb": lambda config, common: Lamb(**common),
}


class Ema:
    """Exponential moving average of a model's weights and of its normalisation statistics.

    average += (1 - d) (weight - average), with d = min(decay, (1 + n) / (10 + n)) at update n (from 0). So a short run
    is not averaged with its random start. Covers every floating-point weight of the model, trainable or not (not the
    states of random generators). Create it after the model, inside the strategy's scope.
    """

    def __init__(self, model: keras.Model, decay: float):
        if not 0 <= decay < 1:
            raise ValueError(f"config.optimizer.ema_decay={decay!r}: expected a number from 0 to below 1.")
        self.decay = decay
        self._strategy = tf.distribute.get_strategy()
        self._weights = [weight.value for weight in model.weights if "float" in weight.dtype]
        first = tf.VariableAggregation.ONLY_FIRST_REPLICA  # replicas have the same values
        self._updates = tf.Variable(0, dtype=tf.int64, trainable=False, aggregation=first, name="ema_updates")
        self._averages = [tf.Variable(weight, trainable=False, aggregation=first) for weight in self._weights]
        self._compiled = tf.function(self._update_everywhere)

    @property
    def variables(self) -> list:
        """The state, for checkpoints: the number of updates, then the averages."""
        return [self._updates, *self._averages]

    def update(self) -> None:
        """Moves the averages towards the model's present weights; call it after each step, outside `strategy.run`."""
        with self._strategy.scope():
            self._compiled()

    def _update_everywhere(self):
        number = tf.cast(self._updates.read_value(), tf.float32)
        rate = 1.0 - tf.minimum(self.decay, (1.0 + number) / (10.0 + number))
        for average, weight in zip(self._averages, self._weights):
            # On each device from its own copy: nothing is sent.
            self._strategy.extended.update(
                average, lambda a, w: a.assign_add(tf.cast(rate, a.dtype) * (w - a)), args=(weight,), group=False
            )
        self._updates.assign_add(1)

    @contextlib.contextmanager
    def swap(self):
        """While inside, the model has the averaged weights; afterwards its own again, bit by bit (copies, no sums)."""
        own = [weight.numpy() for weight in self._weights]
        try:
            for weight, average in zip(self._weights, self._averages):
                weight.assign(average.numpy())
            yield
        finally:
            for weight, value in zip(self._weights, own):
                weight.assign(value)


def _all_reduce_gradients(gradients):
    """Gradients summed over replicas, in one call; None stays None."""
    gradients = list(gradients)
    reduced = iter(all_reduce_sum([gradient for gradient in gradients if gradient is not None]))
    return [None if gradient is None else next(reduced) for gradient in gradients]
