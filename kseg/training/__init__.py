"""A configuration and records in, a trained model in a workdir out.

Start with train.train_and_evaluate, which reads from top to bottom.
"""
