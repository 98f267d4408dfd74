"""What a training run leaves on disk, written and read.

A workdir in; its configuration, checkpoints, metrics log and weights out. Start with workdir.open_run, and with
finished.load_run for a run that has ended.
"""
