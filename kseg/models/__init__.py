"""`config.model` and a number of outputs in, a functional Keras model from images to logits out.

Start with unet.build. What the outputs mean is not decided here but in kseg/treatments.py.
"""
