"""The same shards through Apache Beam (extra `beam`): on this machine, Spark, Flink or Dataflow.

One element = one shard; its worker reads the files, writes the shard and its note, as the local runner's do, hence the
same bytes. Data set and records folder must be paths that every worker sees: a shared file system or a mounted bucket.
"""

import apache_beam as beam
from apache_beam.options import pipeline_options

from tfrecords import build, runners


def run(calls, options: tuple[str, ...] = ()) -> list[dict]:
    """Builds all shards; the notes in order.

    Args:
        calls: tuples (build.build, job).
        options: as on a Beam command line, such as ("--runner=FlinkRunner", "--flink_master=host:8081"); empty is
            Beam's runner on this machine.

    Raises:
        ValueError: what went wrong with a file, one line, whichever runner it came through.
    """
    jobs = [job for _, job in calls]
    try:
        with beam.Pipeline(options=pipeline_options.PipelineOptions(list(options))) as pipeline:
            _ = pipeline | beam.Create(jobs) | beam.Reshuffle() | beam.Map(_build)
    except Exception as error:  # runners wrap a worker's error in classes of their own
        raise ValueError(_reason(error)) from error
    return [runners.read_note(job) for job in jobs]


def _build(job: build.Job) -> str:
    build.build(job)
    return job.file


def _reason(error: BaseException) -> str:
    """The first line of the innermost error: the one that names the file."""
    while error.__cause__ is not None:
        error = error.__cause__
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
