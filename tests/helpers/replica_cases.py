"""Trains a tiny smooth network on one, two or four replicas and writes the weights: the child of replica tests.

    python tests/helpers/replica_cases.py REPLICAS OUTPUT.npz CASE...

Logical devices must exist before TensorFlow runs anything, so each number of replicas needs a process of its own. A
case is LOOP:LOSS[:OPTION...], with
    LOOP    fit (Keras), loop (strategy.run), accumulate (strategy.run, each replica's batch in two parts)
    LOSS    a key of `losses_by_name`, or treatment=NAME
    OPTION  clip (by global norm, so that every step is clipped), group (group norm in place of synchronized batch
            norm), adamw, overflow=R (mixed_float16; an input of replica R overflows in the one step taken), late (it is
            R's gradient that does: an input's NaN reaches all replicas by the global loss alone)
For each case CASE/weights and CASE/loss are written; with overflow also CASE/scales and CASE/before. SGD, no ReLU and
no max-pooling: ties and Adam's small epsilon amplify rounding.
"""

import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import keras
import numpy as np
import tensorflow as tf

from kseg import config, losses, optimizers

CLASSES, SIZE, BATCH, STEPS = 5, 16, 8, 10
VOID_SHARES = (0.0, 0.05, 0.5, 0.9, 0.99, 0.999, 1.0, 1.0)  # by image: the last replica of four sees nothing but void


def losses_by_name(name):
    """(loss, outputs of the network)."""
    if name.startswith("treatment="):
        from kseg import treatments

        settings = config.default()
        settings.treatment.name = name.split("=")[1]
        treatment = treatments.get(settings.treatment, CLASSES, settings.loss)
        return treatment.loss, treatment.num_outputs
    void = {"void_class": CLASSES, "void_weight": 0.7}
    ce = losses.MaskedSparseCategoricalCrossentropy(**void)
    dice = losses.Dice(**void)
    three = [(ce, 1.0, None), (dice, 1.0, None), (losses.InvertedDice(**void), 1.0, None)]
    plain = {
        "stock": keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=255),
        "ce": ce,
        "ce_options": losses.MaskedSparseCategoricalCrossentropy(
            class_weights=[1, 2, 3, 4, 5], label_smoothing=0.1, focal_gamma=2.0, **void
        ),
        "ce_top_k": losses.MaskedSparseCategoricalCrossentropy(top_k=0.3, **void),
        "one_vs_all": losses.OneVsAllBinaryCrossentropy(label_smoothing=0.1, **void),
        "entropic": losses.Entropic(**void),
        "dice": dice,
        "dice_per_image": losses.Dice(per_image=True, activation="sigmoid", **void),
        "tversky": losses.Dice(alpha=0.3, beta=0.7, activation="sigmoid", **void),
        "inverted_dice": losses.InvertedDice(**void),
        "ce_dice": losses.WeightedSum(three),
        "ce_dice_compiled": losses.WeightedSum(three, jit_compile=True),
    }
    if name in plain:
        return plain[name], CLASSES
    if name == "void_logit":
        bce = losses.VoidBinaryCrossentropy(CLASSES, void_weight=0.7)
        return losses.WeightedSum([(ce, 1.0, (0, CLASSES)), (bce, 0.5, (CLASSES, CLASSES + 1))]), CLASSES + 1
    raise ValueError(f"no loss of that name: {name}")


def network(outputs, group):
    def normalised(x):
        layer = keras.layers.GroupNormalization(2) if group else keras.layers.BatchNormalization(synchronized=True)
        return keras.layers.Activation("silu")(layer(x))

    image = keras.Input((SIZE, SIZE, 3))
    fine = normalised(keras.layers.Conv2D(4, 3, padding="same", use_bias=False)(image))
    coarse = keras.layers.Conv2D(6, 3, padding="same", activation="softplus")(keras.layers.AveragePooling2D(2)(fine))
    joined = keras.layers.Concatenate()([fine, keras.layers.UpSampling2D()(coarse)])
    return keras.Model(image, keras.layers.Conv2D(outputs, 1, dtype="float32")(joined))


def data():
    """STEPS batches: images, and labels whose void is half 255, half CLASSES ("no class")."""
    random = np.random.default_rng(0)
    images = random.normal(size=(STEPS * BATCH, SIZE, SIZE, 3)).astype(np.float32)
    labels = random.integers(0, CLASSES, images.shape[:3]).astype(np.uint8)
    images += labels[..., None] * np.float32(0.3)  # something to learn
    for i, label in enumerate(labels):
        void = random.random(label.shape) < VOID_SHARES[i % BATCH]
        label[void] = random.choice([CLASSES, 255], void.sum())
    return images, labels


def run_case(strategy, loop, loss_name, options):
    overflow = next((int(option.split("=")[1]) for option in options if option.startswith("overflow=")), None)
    keras.mixed_precision.set_dtype_policy("float32" if overflow is None else "mixed_float16")
    keras.utils.set_random_seed(1)
    images, labels = data()
    if loss_name == "stock":
        labels[labels == CLASSES] = 255
    loss, outputs = losses_by_name(loss_name)
    settings = config.default().optimizer
    settings.name, settings.schedule, settings.learning_rate = "sgd", "constant", 0.2
    settings.clip_norm = 0.05 if "clip" in options else 0.0
    with strategy.scope():
        model = network(outputs, "group" in options)
        scaled = overflow is not None or "scaled" in options  # the loss; "scaled" alone: gradients stay float32
        optimizer = optimizers.create(settings, STEPS, "mixed_float16" if scaled else "float32")
        optimizer.build(model.trainable_variables)
        model.compile(optimizer, loss)
    before = [weight.numpy() for weight in model.trainable_variables]
    steps = STEPS
    late = overflow if "late" in options else None
    if overflow is not None:
        steps = 1
    if overflow is not None and late is None:
        images[overflow * BATCH // strategy.num_replicas_in_sync, 0, 0] = np.inf
    if loop == "fit":
        batches = tf.data.Dataset.from_tensor_slices((images, labels)).batch(BATCH, drop_remainder=True).take(steps)
        value = model.fit(batches, epochs=1, verbose=0, shuffle=False).history["loss"][0]
    else:
        step = _train_step(strategy, model, loss, optimizer, 2 if loop == "accumulate" else 1, late)
        batches = (tuple(array[i * BATCH : (i + 1) * BATCH] for array in (images, labels)) for i in range(steps))
        value = np.mean([step(_distributed(strategy, batch)).numpy() for batch in batches])
    variables = model.trainable_variables if overflow is not None else model.weights
    written = {"weights": np.concatenate([v.numpy().ravel() for v in variables]), "loss": value}
    if overflow is not None:
        written["before"] = np.concatenate([v.ravel() for v in before])
        scales = strategy.experimental_local_results(optimizer.dynamic_scale.value)
        written["scales"] = np.array([scale.numpy() / optimizer.initial_scale for scale in scales])
    return written


def _train_step(strategy, model, loss, optimizer, parts, late):
    def replica_step(images, labels):
        if parts > 1:
            micro_batches = list(zip(tf.split(images, parts), tf.split(labels, parts)))
            value, gradients = losses.accumulated_gradients(
                loss, lambda x: model(x, training=True), micro_batches, model.trainable_variables,
                optimizer.scale_loss, channels=model.output_shape[-1],
            )  # fmt: skip
        else:
            with tf.GradientTape() as tape:
                value = loss(labels, model(images, training=True))
                scaled = optimizer.scale_loss(value)
            gradients = tape.gradient(scaled, model.trainable_variables)
        if late is not None:
            replica = tf.distribute.get_replica_context().replica_id_in_sync_group
            gradients = [gradient + tf.where(tf.equal(replica, late), np.inf, 0.0) for gradient in gradients]
        optimizer.apply(gradients, model.trainable_variables)
        return value

    @tf.function
    def step(batch):
        return strategy.reduce("SUM", strategy.run(replica_step, args=batch), axis=None)

    return step


def _distributed(strategy, batch):
    def of_replica(context):
        size = BATCH // context.num_replicas_in_sync
        start = context.replica_id_in_sync_group * size
        return tuple(tf.constant(array[start : start + size]) for array in batch)

    return strategy.experimental_distribute_values_from_function(of_replica)


def main(replicas, output, cases):
    tf.config.threading.set_intra_op_parallelism_threads(1)
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * replicas)
    devices = [f"CPU:{i}" for i in range(replicas)]
    strategy = tf.distribute.MirroredStrategy(devices) if replicas > 1 else tf.distribute.get_strategy()
    written = {}
    for case in cases:
        loop, loss_name, *options = case.split(":")
        for key, value in run_case(strategy, loop, loss_name, options).items():
            written[f"{case}/{key}"] = value
    np.savez(output, **written)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3:])
