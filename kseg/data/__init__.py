"""Records in, augmented batches of images and targets out.

A batch is a pure function of (seed, step): nothing else is remembered between steps.
Start with input_pipeline.train_dataset; splits says which frames are trained on and which are held out.
"""
