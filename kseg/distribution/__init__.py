"""Where a run computes: one device, several, or several processes.

`config.train` in; a tf.distribute strategy, sums over its replicas and the handling of SIGTERM out.
Start with strategy.make_strategy.
"""
