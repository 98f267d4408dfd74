"""One optimizer step on every replica, the batches it takes, and the class weights of its loss."""

import numpy as np
import tensorflow as tf

from kseg import losses
from kseg.data import input_pipeline
from kseg.models import layers, recompute


def train_step(config, strategy, model, loss_function, optimizer):
    """The compiled f(distributed batch) -> loss of the global batch; updates weights and optimizer."""
    parts = config.train.accumulation_steps

    def forward(image):
        return model(image, training=True)

    if config.train.remat:
        forward = recompute.by_blocks(model)

    def forward_only(image):
        with layers.keeping_statistics():
            return model(image, training=True)

    def replica_step(batch):
        variables = model.trainable_variables
        if parts == 1:
            with tf.GradientTape() as tape:
                loss = loss_function(batch["target"], forward(batch["image"]))
                scaled = optimizer.scale_loss(loss)
            gradients = tape.gradient(scaled, variables)
        else:
            images, targets = (tf.split(batch[key], parts) for key in ("image", "target"))
            loss, gradients = losses.accumulated_gradients(
                loss_function, forward, list(zip(images, targets)), variables,
                scale_loss=optimizer.scale_loss, channels=model.output.shape[-1], first_pass=forward_only,
            )  # fmt: skip
        optimizer.apply(gradients, variables)
        return loss

    if config.train.jit_compile:
        replica_step = tf.function(replica_step, jit_compile=True)

    @tf.function
    def train_step(batch):
        return strategy.reduce("SUM", strategy.run(replica_step, args=(batch,)), axis=None)

    return train_step


def class_weights(config, manifest, table):
    """K weights from the training split's pixel counts, mean 1 over labelled pixels; None for `none`.

    `inverse_sqrt`: 1 / sqrt(share). `median_frequency`: median share / share (Eigen and Fergus 2015, over all pixels
    rather than over the images that have the class). A class without a pixel has weight 0.
    """
    kind = config.loss.class_weights
    if kind == "none":
        return None
    counted = manifest.splits[config.data.train_split].id_pixels
    pixels = np.array([sum(counted.get(i, 0) for i in ids) for ids in table.class_ids], np.float64)
    share = pixels / max(pixels.sum(), 1)
    present = share > 0
    weights = np.zeros_like(share)
    weights[present] = share[present] ** -0.5 if kind == "inverse_sqrt" else np.median(share[present]) / share[present]
    return weights / max((weights * share).sum(), 1e-12)


def distributed_batches(strategy, config, manifest, encoding, start_step):
    """Batches for strategy.run; each input pipeline reads its slice of every global batch and nothing else."""

    def pipeline(context):
        batches = input_pipeline.train_dataset(
            config, manifest, encoding, start_step,
            num_input_pipelines=context.num_input_pipelines, input_pipeline_id=context.input_pipeline_id,
        )  # fmt: skip
        batches = batches.rebatch(context.get_per_replica_batch_size(config.train.batch_size), drop_remainder=True)
        # Known to have no end: else the workers ask each other before every step whether all have a batch.
        return batches.apply(tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY))

    return strategy.distribute_datasets_from_function(pipeline)
