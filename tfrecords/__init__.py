"""What is on disk: examples, shards, label tables. FORMAT.md is the specification.

    tfrecords.write(...)            folder of shards from pairs of files (kseg convert-... does no more)
    tfrecords.info(records_dir)     its manifest: splits, label table, where each record begins
    tfrecords.read(records_dir, split)   its examples, in plain Python
    tfrecords.parse(serialized)     one example as TensorFlow tensors, for tf.data

TensorFlow is imported by `parse` alone.
"""

from tfrecords import labels
from tfrecords.conversion.convert import Pair, write
from tfrecords.example import Example, parse
from tfrecords.labels import Label, LabelTable
from tfrecords.manifest import Manifest, Shard, Split, info
from tfrecords.shards import read

__all__ = [
    "Example",
    "Label",
    "LabelTable",
    "Manifest",
    "Pair",
    "Shard",
    "Split",
    "info",
    "labels",
    "parse",
    "read",
    "write",
]
