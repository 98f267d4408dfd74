"""predictions.json of an output folder: what `predict` wrote there, which is all that it may ever write over.

The file is written before the first image, with everything that will be written. So after a kill what is there is known
to be ours; it is renewed while images are done, and complete at the end.
"""

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
      ValueError: if there is a predictions.json that kseg did not write.
    """

    def __init__(self, folder):
        self.folder = os.fspath(folder)
        self._path = os.path.join(self.folder, NAME)
        self._images, self._model, self._failures, self._saved = {}, "", [], 0.0
        self._files = {}  # real path: sha256, or None where a run was cut off before it said
        if not os.path.lexists(self._path):
            return
        try:
            with open(self._path) as file:
                self._images = {entry["stem"]: entry for entry in json.load(file)["images"]}
            for entry in self._images.values():
                for name, digest in entry["files"].items():
                    self._files[self._real(name)] = digest
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            raise ValueError(f"{self._path} cannot be read as a list of predictions; choose another folder.") from None

    def wrote(self, path):
        """Whether a file is as an earlier run wrote it here."""
        real = os.path.realpath(path)
        if real not in self._files:
            return False
        digest = self._files[real]
        if digest is None:
            return True
        with open(real, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == digest

    def is_done(self, source, stem, kinds):
        """Whether an earlier run wrote all kinds of this image."""
        entry = self._images.get(stem, {})
        names = [f"{stem}_{kind}.png" for kind in kinds]
        return entry.get("input") == os.path.abspath(source) and all(
            entry["files"].get(name) and self.wrote(os.path.join(self.folder, name)) for name in names
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
        """Makes the folder, and notes what will be written."""
        self._model = model
        for source, stem in jobs:
            files = self._images.get(stem, {}).get("files", {})
            files = {**files, **{f"{stem}_{kind}.png": None for kind in kinds}}
            self._images[stem] = {"input": os.path.abspath(source), "stem": stem, "files": files}
        try:
            os.makedirs(self.folder, exist_ok=True)
            self._save()
        except OSError as error:
            raise ValueError(f"{self.folder} cannot be made a folder ({error.strerror}).") from None

    def write(self, source, stem, files, facts):
        """Writes {kind: bytes} of an image, each file whole or not at all, and notes what it is."""
        digests = {}
        for kind, contents in files.items():
            name = f"{stem}_{kind}.png"
            path = os.path.join(self.folder, name)
            _write(path, contents, may_replace=self._real(name) in self._files)
            digests[name] = hashlib.sha256(contents).hexdigest()
            self._files[self._real(name)] = digests[name]
        earlier = self._images.get(stem, {}).get("files", {})
        self._images[stem] = {
            "input": os.path.abspath(source),
            "stem": stem,
            "files": {**earlier, **digests},
            **facts,
        }
        if time.monotonic() - self._saved > _SAVE_EVERY_SECONDS:
            self._save()

    def save(self, failures):
        """The complete record; entries of which no file came to be are left out."""
        self._failures = [{"input": os.path.abspath(source), "reason": reason} for source, reason in failures]
        for stem, entry in list(self._images.items()):
            there = {name: d for name, d in entry["files"].items() if os.path.exists(os.path.join(self.folder, name))}
            if there:
                entry["files"] = there
            else:
                del self._images[stem]
        self._save()

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
