"""How a process ends before its time: with one line and a status that says whether to start it again.

SIGTERM ends a program at once unless a training loop takes note of it. That is safe wherever no step is under way: all
files of a run are whole at any moment, since a kill may come at any. Ctrl-C (SIGINT) is the same from a person, who may
mean it: the second one ends at once, whatever is under way.
"""

import os
import signal
import sys
import threading

AGAIN = 75  # EX_TEMPFAIL of sysexits.h: nothing is wrong with the run, start it again
INTERRUPTED = 128 + signal.SIGINT  # what shells make of a program that Ctrl-C ended

_WORDS = {signal.SIGTERM: "stopped by SIGTERM", signal.SIGINT: "stopped by Ctrl-C"}
_STATUS = {signal.SIGTERM: AGAIN, signal.SIGINT: INTERRUPTED}
_open_notes = []
_program = []  # the signals that end this process
_noted = set()  # the signals that a Note took


def leave(message, status=1):
    """Ends the process with a status and one line, without TensorFlow's own farewell.

    That one waits up to a minute for workers that are gone.
    """
    sys.stdout.flush()
    print(message, file=sys.stderr, flush=True)
    os._exit(status)


def leave_on_sigterm(interrupt=False):
    """From now on SIGTERM ends this process with status AGAIN, except while a `Note` is open; for programs.

    With `interrupt`, Ctrl-C does so too, with status INTERRUPTED; where SIGINT is ignored, as in a shell's background
    jobs, it stays so.

    Must be called in the main thread. A thread of its own does it: a handler in Python would wait until the main thread
    is back in the interpreter. That takes long while TensorFlow compiles a step or waits for other workers.
    """
    pipe, written = os.pipe()
    os.set_blocking(written, False)
    signal.set_wakeup_fd(written, warn_on_full_buffer=False)
    _program[:] = [signal.SIGTERM]
    if interrupt and signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
        _program.append(signal.SIGINT)
    for number in _program:
        signal.signal(number, lambda *_: None)  # only a signal that has a handler is written to the pipe
    threading.Thread(target=_leave_when_told, args=(pipe,), name="sigterm", daemon=True).start()


def last_noted():
    """("stopped by SIGTERM" or "stopped by Ctrl-C", exit status) of what a Note was asked by."""
    number = signal.SIGINT if signal.SIGINT in _noted else signal.SIGTERM
    return _WORDS[number], _STATUS[number]


class Note:
    """While open, SIGTERM and a first Ctrl-C change nothing but the attribute `asked`, from False to True.

    Outside of programs, as in a notebook, a second Ctrl-C is Python's KeyboardInterrupt.
    """

    def __init__(self):
        self.asked = False
        self._before = {}

    def __enter__(self):
        _noted.clear()
        for number in _WORDS:
            try:
                if signal.getsignal(number) != signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._take)
            except ValueError:  # not in the main thread: whoever runs us there handles signals
                pass
        _open_notes.append(self)
        return self

    def __exit__(self, *_):
        _open_notes.remove(self)
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _take(self, number, _):
        if number == signal.SIGINT and number in _noted and number not in _program:
            raise KeyboardInterrupt
        _noted.add(number)
        self.asked = True


def _leave_when_told(pipe):
    interrupts = 0
    while True:
        number = os.read(pipe, 1)[0]
        if number not in _program:
            continue
        interrupts += number == signal.SIGINT
        if not _open_notes or interrupts > 1:
            leave(f"{_WORDS[number]}; start the same command again", _STATUS[number])
        if number == signal.SIGINT:
            # The step may take a while, if it is the first.
            print("\nCtrl-C: stopping after this step; once more stops at once", file=sys.stderr, flush=True)
        _noted.add(number)
        for note in list(_open_notes):  # one that was opened since the signal came
            note.asked = True
