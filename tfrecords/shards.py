"""Records <-> files: the TFRecord frame, shards that appear whole or not at all, and the reader in plain Python.

A TFRecord file is a row of frames: length (8 bytes, little-endian), masked CRC-32C of those 8 bytes, payload, masked
CRC-32C of the payload. Does not know what a payload means (example.py) nor which shards there are (manifest.py).
"""

import hashlib
import os
import struct

import google_crc32c

from tfrecords import example, files, manifest

_FRAME_BYTES = 16  # of a record besides its payload


class Writer:
    """Writes one shard: under a temporary name, which becomes `path` on a clean exit of the `with` block.

    Each writer has a temporary name of its own. So two attempts at one shard do not write into one file; Beam may start
    a second beside the first. The file is on the disk (fsync) before it is renamed. After an exception the temporary
    file is gone. After the block: `offsets` of the records, `bytes`, `sha256` in hexadecimal.
    """

    def __init__(self, path: str | os.PathLike):
        self._path = os.fspath(path)
        self._temporary = files.temporary(self._path)
        self._hash = hashlib.sha256()
        self.offsets: list[int] = []
        self.bytes = 0

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()

    def __enter__(self) -> "Writer":
        self._file = open(self._temporary, "wb")
        return self

    def write(self, record: bytes) -> None:
        """Appends one record."""
        head = struct.pack("<Q", len(record))
        self.offsets.append(self.bytes)
        try:
            for part in (head, _masked_crc(head), record, _masked_crc(record)):
                self._file.write(part)
                self._hash.update(part)
                self.bytes += len(part)
        except OSError as error:
            raise files.named(error, self._temporary) from error

    def __exit__(self, kind, value, traceback) -> None:
        try:
            try:
                if kind is None:
                    self._file.flush()
                    os.fsync(self._file.fileno())
            finally:
                self._file.close()
            if kind is None:
                os.replace(self._temporary, self._path)
        except OSError as error:
            raise files.named(error, self._temporary) from error
        finally:
            if os.path.exists(self._temporary):
                os.remove(self._temporary)


def records(path: str | os.PathLike):
    """Yields (offset, payload) of each record, both checksums checked.

    Raises:
      ValueError: a checksum is wrong or the file ends within a record.
    """
    size = os.path.getsize(path)
    with open(path, "rb") as file:
        offset = 0
        while offset < size:
            payload = _payload(file, path, offset, size)
            yield offset, payload
            offset += _FRAME_BYTES + len(payload)


def read_one(path: str | os.PathLike, offset: int) -> example.Example:
    """The example whose record begins at this byte; ValueError where none does or it is damaged."""
    with open(path, "rb") as file:
        file.seek(offset)
        payload = _payload(file, path, offset, os.path.getsize(path))
    return example.decode(payload, f"{path}, record at byte {offset}")


def read_at(path: str | os.PathLike, offset: int) -> example.Example:
    """The example that begins at this byte of a shard; ValueError if none does. Its payload is not checked."""
    with open(path, "rb") as file:
        file.seek(offset)
        head = file.read(12)
        if len(head) < 12 or _masked_crc(head[:8]) != head[8:]:
            raise ValueError(f"{path} is damaged: no record begins at byte {offset}; convert again")
        payload = file.read(struct.unpack("<Q", head[:8])[0])
    return example.decode(payload, f"{path}, record at byte {offset}")


def read(records_dir: str | os.PathLike, split: str):
    """Yields the examples of a split in record order, as `example.Example`, checked against the manifest.

    Raises:
      ValueError, FileNotFoundError: as `manifest.info`; a damaged record; a record that is not the stated one.
    """
    found = manifest.info(records_dir)
    for shard in found.split(split).shards:
        yield from read_shard(os.path.join(records_dir, shard.file), shard)


def read_shard(path: str | os.PathLike, shard: manifest.Shard):
    """Yields the examples of one shard; ValueError where they are not those that its manifest entry states."""
    number = 0
    for number, (offset, payload) in enumerate(records(path), start=1):
        one = example.decode(payload, f"{path}, record at byte {offset}")
        if number > shard.examples or (offset, one.image_id) != (
            shard.offsets[number - 1],
            shard.image_ids[number - 1],
        ):
            raise ValueError(
                f"{path}: record {number} is {one.image_id} at byte {offset}, which {manifest.FILE} does not list "
                "there; convert again"
            )
        yield one
    if number != shard.examples:
        raise ValueError(f"{path} has {number} records, {manifest.FILE} says {shard.examples}; convert again")


def _payload(file, path, offset: int, size: int) -> bytes:
    """The record that begins where `file` stands, at byte `offset` of `size`."""
    head = file.read(12)
    if len(head) < 12 or _masked_crc(head[:8]) != head[8:]:
        raise ValueError(f"{path} is damaged: no record begins at byte {offset}; convert again")
    length = struct.unpack("<Q", head[:8])[0]
    if offset + _FRAME_BYTES + length > size:  # before reading: a length may be anything
        raise ValueError(f"{path} is truncated: the record at byte {offset} is not whole; convert again")
    payload = file.read(length)
    if _masked_crc(payload) != file.read(4):
        raise ValueError(f"{path} is damaged: the record at byte {offset} has a wrong CRC; convert again")
    return payload


def _masked_crc(data: bytes) -> bytes:
    """CRC-32C, rotated and offset as TensorFlow does so that a CRC of data that hold CRCs stays useful."""
    crc = google_crc32c.value(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)
