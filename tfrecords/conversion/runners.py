"""Where shards are built: this process, a pool of processes, or Apache Beam's workers.

A runner takes calls that do not depend on each other and gives their results in the order of the calls. What they do is
build.py's business. The first error stops the rest.
"""

import concurrent.futures
import contextlib
import ctypes
import errno
import fcntl
import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
import threading
from concurrent.futures import process

from tfrecords.conversion import bars, build


class WorkerLostError(OSError):
    """A worker process ended by itself; what the others have finished is kept for the next run."""


class LockedError(ValueError):
    """Another process holds the folder."""


class ReimportedError(ValueError):
    """A worker has imported the script that started it, and met the call that starts workers."""


_REIMPORTED = 78  # exit status of such a worker
_REIMPORTED_MESSAGE = (
    "worker processes import the script that starts them, and this one converts while it is imported; put what it does "
    'under: if __name__ == "__main__":'
)


_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h


def get(name: str, num_workers: int, beam_options: tuple[str, ...], progress: bool):
    """The runner "local" or "beam": run(title, calls, total) -> list of results.

    `calls` are tuples (function, *arguments), called as function(*arguments, count). The function calls `count` once
    per example, which moves the progress bar; `total` is how often over all calls. Beam runs build.build; whatever else
    is called (checks that write nothing) runs locally.

    Raises:
      ValueError: unknown name, negative number of workers, Beam not installed.
    """
    # What multiprocessing itself asks, to end in a traceback of thirty lines.
    if getattr(multiprocessing.process.current_process(), "_inheriting", False):
        print(f"error: {_REIMPORTED_MESSAGE}", file=sys.stderr)
        sys.exit(_REIMPORTED)
    if num_workers < 0:
        raise ValueError(f"num_workers is {num_workers}; expected 0 (all cores) or more")
    if name == "local":
        return lambda title, calls, total: _run_local(title, calls, total, num_workers, progress)
    if name == "beam":
        try:
            from tfrecords.conversion import beam
        except ImportError as error:
            raise ValueError("Apache Beam is not installed; pip install 'kseg[beam]'") from error
        local = get("local", num_workers, (), progress)

        def run(title, calls, total):
            if all(call[0] is build.build for call in calls):
                return beam.run(calls, beam_options)
            return local(title, calls, total)

        return run
    raise ValueError(f"runner {name!r}; expected local or beam")


@contextlib.contextmanager
def lock(folder: str | os.PathLike):
    """Holds the folder's lock; LockedError where another process holds it. The lock ends with its process."""
    message = f"{os.path.dirname(folder)}: another conversion is writing into it; wait"
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                raise LockedError(message) from error
            # File systems without locks: go on without.
        if not os.path.exists(folder) or not os.path.samestat(os.stat(folder), os.fstat(descriptor)):
            raise LockedError(message)  # its last holder has removed it between the opening and the locking
        yield
    finally:
        os.close(descriptor)


def _run_local(title, calls, total, num_workers, progress) -> list:
    workers = min(num_workers or _usable_cores(), len(calls))
    with bars.bar(title, total, "image", bool(progress and calls)) as bar:
        if workers <= 1:
            return [function(*arguments, bar.update) for function, *arguments in calls]
        return _run_processes(calls, workers, bar)


def _usable_cores() -> int:
    """Cores that this process may use; where the system does not say (macOS), all of them."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _run_processes(calls, workers, bar) -> list:
    # "spawn": a forked child would inherit threads' locks (TensorFlow's, where the caller has loaded it).
    context = multiprocessing.get_context("spawn")
    # Shared without locks, which a killed worker would hold for ever: each call counts in a place of its own.
    done, stop = context.RawArray("Q", len(calls)), context.RawValue("b", 0)
    with concurrent.futures.ProcessPoolExecutor(workers, context, _start_worker, (done, stop)) as pool:
        before = set(multiprocessing.active_children())
        futures = [pool.submit(_call, place, *call) for place, call in enumerate(calls)]
        children, waiting = set(multiprocessing.active_children()) - before, set(futures)
        try:
            while waiting:
                finished, waiting = concurrent.futures.wait(
                    waiting, timeout=0.2, return_when=concurrent.futures.FIRST_EXCEPTION
                )
                bar.update(sum(done) - bar.n)
                for future in finished:
                    future.result()
            return [future.result() for future in futures]
        except process.BrokenProcessPool as error:
            for child in children:
                child.join(5)  # the pool ends and reaps them meanwhile, in a thread of its own
            if _REIMPORTED in [child.exitcode for child in children]:
                raise ReimportedError(_REIMPORTED_MESSAGE) from None
            raise WorkerLostError(
                "a worker process ended by itself (killed, or out of memory); run again to go on from here"
            ) from error
        finally:
            stop.value = 1  # after an error: the others give up at their next example
            pool.shutdown(cancel_futures=True)


class _StoppedError(Exception):
    """Another worker has failed."""


def _start_worker(done, stop) -> None:
    global _done, _stop
    _done, _stop = done, stop
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides, and sets `stop`
    _keep_freed_memory()
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _keep_freed_memory() -> None:
    """Lets glibc keep up to 256 MiB that are free: else every picture's arrays are new pages, a sixth of the time."""
    with contextlib.suppress(OSError, AttributeError):  # no such function elsewhere
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_TRIM_THRESHOLD, 256 * 2**20)
        mallopt(_M_MMAP_THRESHOLD, 32 * 2**20)  # the most that it takes


def _end_with_parent() -> None:
    """A killed parent takes its workers along: nothing writes into the folder when the next run starts."""
    multiprocessing.connection.wait([multiprocessing.parent_process().sentinel])
    os._exit(1)


def _call(place, function, *arguments):
    def count():
        if _stop.value:
            raise _StoppedError
        _done[place] += 1

    return function(*arguments, count)
