"""The layers that the UNet is made of and Keras does not have, or not fast and exact enough.

Import this module (kseg.models.unet does) before loading a model that holds them.
"""

import contextlib
import threading

import keras
import tensorflow as tf

from kseg.distribution.collectives import all_reduce_sum, num_replicas

_this_thread = threading.local()


@keras.saving.register_keras_serializable("kseg")
class GlobalBatchNormalization(keras.layers.BatchNormalization):
    """Batch normalisation by the mean and variance of the global batch; weights and results of Keras' own layer.

    keras.layers.BatchNormalization(synchronized=True) does the same in three all-reduces forward and two for the moving
    statistics, and from float32 copies of the input. Here: one all-reduce each way, and with one replica TensorFlow's
    fused kernel, which reads half-precision inputs as they are. Replicas must have equally many pixels.
    """

    def __init__(self, momentum=0.9, **kwargs):
        # 0.9, not Keras' 0.99: the moving statistics of a run of a few hundred steps must be its own.
        super().__init__(momentum=momentum, **{**kwargs, "synchronized": True})

    def add_weight(self, *args, trainable=True, **kwargs):
        # Replicas compute the same statistics: taking the first one's spares an all-reduce.
        aggregation = {} if trainable else {"aggregation": "only_first_replica"}
        return super().add_weight(*args, trainable=trainable, **kwargs, **aggregation)

    def call(self, x, training=None, mask=None):
        plain = self.axis not in (-1, 3) or len(x.shape) != 4 or not (self.scale and self.center)
        if not training or not self.trainable or plain:
            return super().call(x, training=training, mask=mask)
        if num_replicas() == 1 or tf.distribute.get_replica_context() is None:
            y, mean, variance = tf.compat.v1.nn.fused_batch_norm(
                x, self.gamma.value, self.beta.value, epsilon=self.epsilon, is_training=True
            )
            pixels = tf.cast(tf.size(x) // x.shape[-1], tf.float32)
            variance *= tf.maximum(pixels - 1.0, 1.0) / pixels  # the kernel's is the unbiased estimate
        else:
            y, mean, variance = _normalize_over_replicas(x, self.gamma.value, self.beta.value, self.epsilon)
        if not getattr(_this_thread, "statistics_are_kept", False):
            for moving, value in ((self.moving_mean, mean), (self.moving_variance, variance)):
                after = moving * self.momentum + tf.stop_gradient(value) * (1.0 - self.momentum)
                # A step that overflows in float16 is skipped; it must not stay in the statistics either.
                moving.assign(tf.where(tf.math.is_finite(value), after, moving))
        return y


@contextlib.contextmanager
def keeping_statistics():
    """While inside (in this thread), normalisation by the batch leaves the moving statistics as they are."""
    before = getattr(_this_thread, "statistics_are_kept", False)
    _this_thread.statistics_are_kept = True
    try:
        yield
    finally:
        _this_thread.statistics_are_kept = before


@tf.custom_gradient
def _normalize_over_replicas(x, gamma, beta, epsilon):
    """(gamma (x - mean) / sqrt(variance + epsilon) + beta, mean, variance), moments over all replicas, in float32.

    Gradients of gamma and beta are this replica's share; no gradient flows through the returned moments.
    Source: Ioffe and Szegedy 2015, "Batch Normalization", section 3.
    """
    replicas = tf.cast(num_replicas(), tf.float32)
    wide = tf.cast(x, tf.float32)
    moments = tf.stack([tf.reduce_mean(wide, [0, 1, 2]), tf.reduce_mean(tf.square(wide), [0, 1, 2])])
    mean, squares = tf.unstack(all_reduce_sum(moments) / replicas)
    variance = tf.maximum(squares - tf.square(mean), 0.0)
    scale = tf.math.rsqrt(variance + epsilon)
    y = tf.cast(wide * (gamma * scale) + (beta - mean * gamma * scale), x.dtype)

    def gradient(dy, *_):
        dy = tf.cast(dy, tf.float32)
        normal = (tf.cast(x, tf.float32) - mean) * scale
        local = tf.stack([tf.reduce_sum(dy, [0, 1, 2]), tf.reduce_sum(dy * normal, [0, 1, 2])])
        pixels = tf.cast(tf.size(x) // x.shape[-1], tf.float32)
        dy_mean, slope = tf.unstack(all_reduce_sum(local) / (replicas * pixels))
        dx = gamma * scale * (dy - dy_mean - normal * slope)
        return tf.cast(dx, x.dtype), local[1], local[0], None

    return (y, mean, variance), gradient


@keras.saving.register_keras_serializable("kseg")
class PadToStride(keras.layers.Layer):
    """Zeros below and to the right, so that both sides become multiples of `stride`: [N, H, W, C] -> [N, H', W', C]."""

    def __init__(self, stride, **kwargs):
        super().__init__(**kwargs)
        self.stride = stride

    def call(self, x):
        shape = tf.shape(x)
        y = tf.pad(x, [[0, 0], [0, _missing(shape[1], self.stride)], [0, _missing(shape[2], self.stride)], [0, 0]])
        # TensorFlow Lite takes no convolution whose channels it cannot read off the graph, and padding hides them.
        after = tf.shape(y)
        y = tf.reshape(y, [after[0], after[1], after[2], x.shape[3]])
        return _with_shape(y, self.compute_output_shape(x.shape))

    def compute_output_shape(self, shape):
        up = [None if side is None else side + -side % self.stride for side in shape[1:3]]
        return (shape[0], *up, shape[3])

    def get_config(self):
        return {**super().get_config(), "stride": self.stride}


@keras.saving.register_keras_serializable("kseg")
class CropLike(keras.layers.Layer):
    """The top left part of the first input that has the second one's height and width."""

    def call(self, inputs):
        x, like = inputs
        shape = tf.shape(like)
        return _with_shape(x[:, : shape[1], : shape[2]], self.compute_output_shape([x.shape, like.shape]))

    def compute_output_shape(self, shapes):
        x, like = shapes
        return (x[0], like[1], like[2], x[3])


@keras.saving.register_keras_serializable("kseg")
class Upsample2x(keras.layers.Layer):
    """Bilinear interpolation to twice the height and width, half-pixel centres, computed in float32.

    Equal to keras.layers.UpSampling2D(interpolation="bilinear"), which in Keras 3.15 cannot be traced with unknown
    sides and cannot be compiled by XLA under mixed precision.
    """

    def call(self, x):
        shape = tf.shape(x)
        y = tf.image.resize(tf.cast(x, tf.float32), [2 * shape[1], 2 * shape[2]])
        return tf.cast(_with_shape(y, self.compute_output_shape(x.shape)), self.compute_dtype)

    def compute_output_shape(self, shape):
        return (shape[0], *(None if side is None else 2 * side for side in shape[1:3]), shape[3])


@keras.saving.register_keras_serializable("kseg")
class ResizeLike(keras.layers.Layer):
    """Bilinear interpolation of the first input, padded to `stride`, to the second one's height and width."""

    def __init__(self, stride=32, **kwargs):
        super().__init__(**kwargs)
        self.stride = stride

    def call(self, inputs):
        x, like = inputs
        height, width = tf.shape(like)[1], tf.shape(like)[2]
        padded = [side + _missing(side, self.stride) for side in (height, width)]
        y = tf.image.resize(tf.cast(x, tf.float32), padded)[:, :height, :width]
        return tf.cast(_with_shape(y, self.compute_output_shape([x.shape, like.shape])), self.compute_dtype)

    def compute_output_shape(self, shapes):
        x, like = shapes
        return (x[0], like[1], like[2], x[3])

    def get_config(self):
        return {**super().get_config(), "stride": self.stride}


@keras.saving.register_keras_serializable("kseg")
class StopGradient(keras.layers.Layer):
    """The identity forward, nothing backward."""

    def call(self, x):
        return tf.stop_gradient(x)

    def compute_output_shape(self, shape):
        return shape


@keras.saving.register_keras_serializable("kseg")
class SubtractMeanBGR(keras.layers.Layer):
    """RGB 0..255 to the channel order and means that ResNet50's published weights were trained with."""

    def call(self, x):
        return x[..., ::-1] - tf.constant([103.939, 116.779, 123.68], x.dtype)

    def compute_output_shape(self, shape):
        return shape


@keras.saving.register_keras_serializable("kseg")
class EachOutputsOwnUniform(keras.initializers.Initializer):
    """LeCun's uniform initialisation, +-sqrt(3 / fan_in), the weights of each output drawn from a seed of its own.

    Layers that differ in their number of outputs alone start with the same weights for the outputs both have.

    Args:
      seeds: a non-negative int for each output, the last axis of the kernel.
    """

    def __init__(self, seeds):
        self.seeds = [int(seed) for seed in seeds]

    def __call__(self, shape, dtype=None):
        if shape[-1] != len(self.seeds):
            raise ValueError(f"{len(self.seeds)} seeds for a kernel of {shape[-1]} outputs.")
        draws = [keras.initializers.LecunUniform(seed)((*shape[:-1], 1), dtype) for seed in self.seeds]
        return keras.ops.concatenate(draws, axis=-1)

    def get_config(self):
        return {"seeds": self.seeds}


def _missing(side, stride):
    """What `side` lacks to a multiple of `stride`. No negative dividend: its remainder has another sign in ONNX."""
    return (stride - side % stride) % stride


def _with_shape(x, shape):
    """`x` with its static shape made known; no op of the graph, since TensorFlow Lite has none for it."""
    x.set_shape(shape)
    return x
