"""A finished training run asked like its export, without one: TensorFlow in this process under the same signatures."""

import numpy as np
import tensorflow as tf

from kseg.export import export, served_model
from kseg.serving import model


class RunModel(model.ServedModel):
    """The model of a training run, with the calls of serving.Client and the answers of its export.

    Args:
      workdir: the run's folder.
      average: views whose probabilities are averaged, such as "flip,0.75,1.25"; "" for none, None for the run's
        config.eval.average.

    Raises:
      ValueError: in one line, if the folder holds no finished run, or the views make no sense.
    """

    def __init__(self, workdir, average=None):
        self.address = workdir
        run, threshold, calibration = export.opened(workdir)
        average = run.config.eval.average if average is None else average
        options = served_model.Options(input_size=tuple(run.config.eval.input_size), average=average)
        ready = served_model.prepare(run.model, run.treatment, run.table, threshold, calibration, options)
        self._network = ready.network  # which owns the variables of the functions below
        self._functions = {
            name: tf.function(function, input_signature=specs, autograph=False)
            for name, (function, specs) in ready.signatures.items()
        }

    def ready(self):
        return True

    def close(self):
        self._functions = {}

    def _run(self, signature, inputs):
        if signature not in self._functions:
            raise ValueError(f"no signature {signature!r}; the model has {', '.join(sorted(self._functions))}.")
        (value,) = inputs.values()
        try:
            answers = self._functions[signature](tf.constant(value, tf.string if isinstance(value, list) else tf.uint8))
        except tf.errors.OpError as error:
            raise ValueError(model.sentence(error.message)) from None
        return {name: _values(answer.numpy()) for name, answer in answers.items()}


def _values(array):
    return list(array) if array.dtype == np.object_ else array
