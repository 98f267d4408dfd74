"""A folder of records, reviewed: what the conversion commands and inspect_records print, and the page they write."""

import os
import pathlib

from tfrecords import files, manifest
from tfrecords.review import findings, look, page, text

# What is looked at of each split where no page is asked for.
_PICTURES, _RECORDS = 40, 1000


def review(records_dir, path: str = "", num_workers: int = 0, progress: bool = False, say=print, table: bool = True):
    """Says what the records hold and what is suspicious in them, and writes a page.

    With a page everything is read. Without one, of each split at most 1000 label maps, and 40 pictures for the edges;
    pixels are the manifest's, and exact.

    Args:
      records_dir: a finished folder.
      path: HTML file to write, whole or not at all; "" for none.
      num_workers: processes; 0 = one per core.
      progress: show a bar on stderr.
      say: called with each line.
      table: say the table of classes and void, too.

    Raises:
      ValueError, OSError: a record that cannot be read, a page that cannot be written; one line.
    """
    check_path(path, records_dir)
    found = manifest.info(records_dir)
    limits = (None, None) if path else (_PICTURES, _RECORDS)
    looks = look.look(records_dir, *limits, num_workers, progress)
    suspicious = findings.find(found, looks)
    for line in (text.lines(found, looks) if table else []) + text.findings(suspicious, text.checked(looks)):
        say(line)
    if path:
        files.write_whole(path, page.page(found, looks, suspicious))
        say(f"wrote {path}")


def check_path(path: str, records_dir) -> None:
    """Refuses a page that could not be written, before there is work to lose; "" passes.

    Raises:
      ValueError: a folder, a folder that is not there, or a file that is no such page.
    """
    if not path:
        return
    place, folder = pathlib.Path(path), pathlib.Path(path).parent
    if place.is_dir():
        raise ValueError(f"--report={path} is a folder; name a file in it, such as {place / 'records.html'}")
    if folder.resolve() != pathlib.Path(records_dir).resolve() and not folder.is_dir():
        raise ValueError(f"--report={path}: there is no folder {folder}; make it, or name another place")
    if folder.is_dir() and not os.access(folder, os.W_OK):
        raise ValueError(f"--report={path}: the folder {folder} cannot be written to; name another place")
    if place.exists():
        with open(place, "rb") as file:
            if page.MARK.encode() not in file.read(1024):
                raise ValueError(f"--report={path} is there and is no such page; remove it, or name another file")
