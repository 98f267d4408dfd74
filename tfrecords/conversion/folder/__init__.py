"""Own data: a folder of pictures and one of labels, whatever made them -> pairs, a label table, records.

In: folders and options. Out: what `tfrecords.write` takes, and a count of everything that was passed over.
Start reading in convert.py. Reads and writes no flags; never imports TensorFlow.
"""
