"""predictions.json of an output folder: what `predict` wrote there, which is all that it may ever write over.

The file is written before the first image, with everything that will be written. So after a kill what is there is known
to be ours; it is renewed while images are done, and complete at the end.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import time

import kseg
from tfrecords import files

NAME = "predictions.json"
_SAVE_EVERY_SECONDS = 10.0


class Record:
    """The record of one folder.

    Raises:
      ValueError: if there is a predictions.json that kseg did not write, or the folder's name is empty.
    """

    def __init__(self, folder):
        self.folder = os.fspath(folder)
        if not self.folder:
            raise ValueError("the output folder's name is empty; name one, or . for this folder.")
        self._path = os.path.join(self.folder, NAME)
        self._images, self._model, self._failures, self._saved = {}, "", [], 0.0
        self._files = {}  # real path: sha256, or None where a run was cut off before it said
        self._begun = {}  # stem of an image of which nothing is written yet: what an earlier run says of it, or None
        self._lock = None
        self._contents = self._read()
        if self._contents is None:
            return
        try:
            self._images = {entry["stem"]: entry for entry in json.loads(self._contents)["images"]}
            for stem, entry in self._images.items():
                if not isinstance(stem, str):
                    raise ValueError(stem)
                for name, digest in entry["files"].items():
                    self._files[self._real(name)] = digest
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            raise self._unreadable() from None

    def wrote(self, path):
        """Whether a file is as an earlier run wrote it here."""
        real = os.path.realpath(path)
        if real not in self._files:
            return False
        digest = self._files[real]
        if digest is None:
            return True
        if not os.path.exists(real):  # removed since
            return False
        with open(real, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == digest

    def is_done(self, source, stem, kinds):
        """Whether an earlier run wrote all kinds of this image, and the image has not changed since."""
        entry = self._images.get(stem, {})
        paths = {name: os.path.join(self.folder, name) for name in (f"{stem}_{kind}.png" for kind in kinds)}
        return entry.get("input") == os.path.abspath(source) and all(
            entry["files"].get(name) and self.wrote(path) and os.path.getmtime(source) <= os.path.getmtime(path)
            for name, path in paths.items()
        )

    def by_others(self, stems, model, version, about):
        """How many of the images another model did, or another version of this one, or one that says other things of
        itself."""
        entries = [self._images[stem] for stem in stems]
        known = [entry for entry in entries if "model" in entry]  # which early records do not say
        same = os.path.normpath(model), version, about
        return sum(
            (os.path.normpath(entry["model"]), entry.get("version"), entry.get("about", about)) != same
            for entry in known
        )

    def check(self, jobs, kinds, overwrite):
        """Raises a ValueError if a file that is there would be written over and may not be."""
        if os.path.lexists(self.folder) and not os.path.isdir(self.folder):
            raise ValueError(f"{self.folder} cannot be made a folder (File exists).")
        for source, stem in jobs:
            for kind in kinds:
                path = os.path.join(self.folder, f"{stem}_{kind}.png")
                if not os.path.lexists(path):
                    continue
                if os.path.islink(path) or not os.path.isfile(path) or not self.wrote(path):
                    raise ValueError(
                        f"{path} is in the way of {source}'s {kind}, and is not as an earlier run wrote it; "
                        "give another --output_dir."
                    )
                if not overwrite:
                    raise ValueError(
                        f"{path} was written by an earlier run; --overwrite writes it again, --skip_existing leaves "
                        "out the images that are done."
                    )

    def begin(self, jobs, kinds, model):
        """Makes the folder, keeps other runs from it until `save`, and notes what will be written.

        Raises:
          ValueError: if it cannot be made, or another run writes there.
        """
        self._model = model
        try:
            os.makedirs(self.folder, exist_ok=True)
            self._keep_others_out()
            for source, stem in jobs:
                self._begun[stem] = self._images.get(stem)
                files = {**(self._begun[stem] or {}).get("files", {}), **{f"{stem}_{kind}.png": None for kind in kinds}}
                self._images[stem] = {"input": os.path.abspath(source), "stem": stem, "files": files}
            self._save()
        except OSError as error:
            self._let_others_in()
            raise ValueError(f"{self.folder} cannot be made a folder ({error.strerror}).") from None

    def write(self, source, stem, files, facts):
        """Writes {kind: bytes} of an image, each file whole or not at all, and notes what it is."""
        entry = self._images[stem]
        for kind, contents in files.items():
            name = f"{stem}_{kind}.png"
            path = os.path.join(self.folder, name)
            _write(path, contents, may_replace=self._real(name) in self._files)
            self._begun.pop(stem, None)
            entry["files"][name] = self._files[self._real(name)] = hashlib.sha256(contents).hexdigest()
        self._images[stem] = {**entry, **facts, "model": self._model}
        if time.monotonic() - self._saved > _SAVE_EVERY_SECONDS:
            self._save()

    def save(self, failures):
        """The complete record. Of an image that failed it says what it said before, and names no file of others."""
        self._failures = [{"input": os.path.abspath(source), "reason": reason} for source, reason in failures]
        for stem, earlier in self._begun.items():
            self._images[stem] = earlier or {"files": {}}
        for stem, entry in list(self._images.items()):
            names = [name for name in entry["files"] if self._real(name) in self._files]
            there = [name for name in names if os.path.exists(os.path.join(self.folder, name))]
            if there:
                entry["files"] = {name: self._files[self._real(name)] for name in there}
            else:
                del self._images[stem]
        try:
            self._save()
        finally:
            self._let_others_in()

    def _keep_others_out(self):
        """Two runs at once would each write a record without the other's files."""
        self._lock = os.open(self.folder, os.O_RDONLY)
        busy = False
        with contextlib.suppress(OSError):  # a file system without locks
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                busy = True
        if busy or self._read() != self._contents:
            self._let_others_in()
            raise ValueError(f"another run writes to {self.folder}; wait for it, or give another --output_dir.")

    def _let_others_in(self):
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _read(self):
        """Bytes of predictions.json; None where there is none."""
        if not os.path.lexists(self._path):
            return None
        try:
            with open(self._path, "rb") as file:
                return file.read()
        except OSError:
            raise self._unreadable() from None

    def _unreadable(self):
        return ValueError(f"{self._path} cannot be read as a list of predictions; choose another folder.")

    def _save(self):
        document = {
            "kseg": kseg.__version__,
            "model": self._model,
            "images": [self._images[stem] for stem in sorted(self._images)],
            "failed": self._failures,
        }
        _write(self._path, (json.dumps(document, indent=1) + "\n").encode(), may_replace=True)
        self._saved = time.monotonic()

    def _real(self, name):
        return os.path.realpath(os.path.join(self.folder, name))


def _write(path, contents, may_replace):
    """Writes a file whole or not at all; where it may not replace one, one that has come meanwhile is an error."""
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    with files.replacing(path) as partial:
        with open(partial, "wb") as file:
            file.write(contents)
        if not may_replace and os.path.lexists(path):
            raise FileExistsError(f"{path} has come to be while the image was at work; it is left as it is.")
