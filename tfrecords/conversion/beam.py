"""The same shards through Apache Beam (extra `beam`): on this machine, Spark, Flink or Dataflow.

One element = one shard. Its worker reads the files and writes the shard and its note, as the local runner's do, hence
the same bytes. In the end each shard is held against its note, since Beam may have had two workers at it. Every worker
needs this package, and must see data set and records folder under the paths given: a shared file system or a mounted
bucket.
"""

import os
import pathlib

import apache_beam as beam
from apache_beam.options import pipeline_options

from tfrecords.conversion import build


def run(calls, options: tuple[str, ...] = ()) -> list[dict]:
    """Builds all shards; the notes in order.

    Args:
      calls: tuples (build.build, job).
      options: as on a Beam command line, such as ("--runner=FlinkRunner", "--flink_master=host:8081"); empty is
        Beam's runner on this machine.

    Raises:
      ValueError: a file is bad or cannot be read or written; one line.
    """
    jobs = [job for _, job in calls]
    for job in jobs:
        _error_file(job).unlink(missing_ok=True)
    with beam.Pipeline(options=pipeline_options.PipelineOptions(list(options))) as pipeline:
        _ = pipeline | beam.Create(jobs) | beam.Reshuffle() | beam.Map(_build)
    for job in jobs:
        if _error_file(job).exists():
            raise ValueError(_error_file(job).read_text())
    return [build.read_note(job) for job in jobs]


def _build(job: build.Job) -> str:
    """Builds one shard. What is wrong with a file is no failure to Beam, which would try it again and log its ways."""
    try:
        build.build(job)
    except (ValueError, OSError) as error:
        _error_file(job).write_text(str(error))
    return job.file


def _error_file(job: build.Job) -> pathlib.Path:
    return pathlib.Path(os.path.join(job.work_dir, job.file + ".error"))
