"""How a process ends before its time: with one line and a status that says whether to start it again.

SIGTERM ends a program at once unless a training loop takes note of it. At once is safe wherever no step is under way:
all files of a run are whole at any moment, since a kill may come at any.
"""

import os
import signal
import sys
import threading

AGAIN = 75  # EX_TEMPFAIL of sysexits.h: nothing is wrong with the run, start it again

_open_notes = []


def leave(message, status=1):
    """Ends the process with a status and one line, without TensorFlow's own farewell.

    That one waits up to a minute for workers that are gone.
    """
    sys.stdout.flush()
    print(message, file=sys.stderr, flush=True)
    os._exit(status)


def leave_on_sigterm():
    """From now on SIGTERM ends this process with status AGAIN, except while a `Note` is open; for programs.

    Must be called in the main thread. A thread of its own does it: a handler in Python would wait until the main thread
    is back in the interpreter, which takes long while TensorFlow compiles a step or waits for other workers.
    """
    pipe, written = os.pipe()
    os.set_blocking(written, False)
    signal.set_wakeup_fd(written, warn_on_full_buffer=False)
    signal.signal(signal.SIGTERM, lambda *_: None)  # only a signal that has a handler is written to the pipe
    threading.Thread(target=_leave_when_told, args=(pipe,), name="sigterm", daemon=True).start()


class Note:
    """While open, SIGTERM changes nothing but the attribute `asked`, from False to True."""

    def __init__(self):
        self.asked = False
        self._before = None

    def __enter__(self):
        try:
            self._before = signal.signal(signal.SIGTERM, self._take)
        except ValueError:  # not in the main thread: whoever runs us there handles signals
            pass
        _open_notes.append(self)
        return self

    def __exit__(self, *_):
        _open_notes.remove(self)
        if self._before is not None:
            signal.signal(signal.SIGTERM, self._before)

    def _take(self, *_):
        self.asked = True


def _leave_when_told(pipe):
    while True:
        if os.read(pipe, 1)[0] != signal.SIGTERM:
            continue
        if not _open_notes:
            leave("stopped by SIGTERM; start the same command again", AGAIN)
        for note in list(_open_notes):  # one that was opened since the signal came
            note.asked = True
