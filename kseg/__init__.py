"""Semantic segmentation on TensorFlow and Keras 3 that knows what it does with pixels of no class.

Importing this package loads neither TensorFlow nor Keras; its modules do.
"""

__version__ = "0.1.0"
