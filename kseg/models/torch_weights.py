"""Reads a state dict that PyTorch saved in its old format (`.pth`, before version 1.6), without PyTorch.

Such a file begins with three pickles: a magic number, the protocol, a description of the machine. Then comes the state
dict as a pickle, whose tensors refer to storages by key. A pickled list of the keys follows. Last are the storages in
that order, each an int64 count and its raw little-endian numbers. A pickle can call whatever it names, so names are
allowed one by one. While the pickle runs they make tuples. Arrays are made afterwards, of sizes that have been checked.
"""

import collections
import hashlib
import io
import math
import pickle
import struct

import numpy as np

from kseg import errors

_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
_STORAGES = {
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
}

_Storage = collections.namedtuple("_Storage", "dtype key count")
_Tensor = collections.namedtuple("_Tensor", "storage offset shape strides")


def read(path: str, sha256: str | None = None) -> dict[str, np.ndarray]:
    """The state dict of a file: name -> array, C-ordered, in the order of the file.

    Args:
      path: a `.pth` file.
      sha256: hex digest that the file must have, or None for any; it is compared before anything is read.

    Raises:
      ValueError: if the file is another one, damaged, or anything but a plain state dict; one line.
      OSError: if it cannot be opened.
    """
    with open(path, "rb") as file:
        contents = file.read()
    if sha256 is not None:
        found = hashlib.sha256(contents).hexdigest()
        if found != sha256:
            raise ValueError(f"{path}: its sha256 is {found}, expected {sha256}; install the package again.")
    if contents[:4] == b"PK\x03\x04":
        raise ValueError(f"{path} is in PyTorch's zip format; expected the one of before PyTorch 1.6.")
    try:
        return _parse(io.BytesIO(contents))
    except _Refused as error:
        raise ValueError(f"{path} is no plain state dict: {error}.") from None
    except Exception as error:  # whatever a damaged pickle makes the unpickler raise
        reason = errors.one_line(error)
        raise ValueError(f"{path} is not a readable .pth file of PyTorch's old format ({reason}).") from None


class _Refused(Exception):
    """The file asks for something that a state dict does not need."""


class _Unpickler(pickle.Unpickler):
    def find_class(self, module, name):
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            # A new function each time: nothing that the pickle does to it outlives the file.
            return lambda storage, offset, shape, strides, *_: _Tensor(storage, offset, shape, strides)
        if module == "torch" and name in _STORAGES:
            return name
        raise _Refused(f"it asks for {module}.{name}")

    def persistent_load(self, reference):
        kind, storage, key, _, count, view = reference
        if kind != "storage" or storage not in _STORAGES or view is not None:
            raise _Refused(f"it refers to {reference!r}")
        return _Storage(_STORAGES[storage], key, count)


def _parse(file):
    magic, protocol, machine = (_Unpickler(file).load() for _ in range(3))
    if magic != _MAGIC or protocol != _PROTOCOL:
        raise _Refused("the file does not begin with the format's magic number and protocol 1001")
    if machine.get("little_endian") is not True:
        raise _Refused("it was written on a big-endian machine")
    state = _Unpickler(file).load()
    keys = _Unpickler(file).load()
    if not isinstance(state, dict) or not all(type(value) is _Tensor for value in state.values()):
        raise _Refused("it holds other things than tensors by name")
    wanted = {tensor.storage.key: tensor.storage for tensor in state.values()}
    if len(set(keys)) != len(keys) or set(keys) != set(wanted):
        raise _Refused("its list of storages is not that of its tensors")
    storages = {key: _storage(file, wanted[key]) for key in keys}
    if file.read(1):
        raise _Refused("bytes follow the last storage")
    return {name: _array(name, tensor, storages[tensor.storage.key]) for name, tensor in state.items()}


def _storage(file, storage):
    (count,) = struct.unpack("<q", file.read(8))
    if count != storage.count or count < 0:
        raise _Refused(f"storage {storage.key} has {count} numbers, expected {storage.count}")
    size = count * np.dtype(storage.dtype).itemsize
    data = file.read(size)
    if len(data) != size:
        raise _Refused(f"the file ends within storage {storage.key}")
    return np.frombuffer(data, storage.dtype)


def _array(name, tensor, storage):
    offset, shape, strides = tensor.offset, tuple(tensor.shape), tuple(tensor.strides)
    numbers = (offset, *shape, *strides)
    if len(shape) != len(strides) or not all(type(number) is int and number >= 0 for number in numbers):
        raise _Refused(f"{name} has shape {shape} and strides {strides}")
    last = offset + sum((side - 1) * stride for side, stride in zip(shape, strides))
    # Strides of zero would make an array of any size from one number.
    if math.prod(shape) > len(storage) or (math.prod(shape) and last >= len(storage)):
        raise _Refused(f"{name} reaches beyond its storage")
    if not math.prod(shape):
        return np.zeros(shape, storage.dtype)
    steps = [stride * storage.itemsize for stride in strides]
    # A copy, in C order: the file may have an axis order of its own.
    return np.array(np.lib.stride_tricks.as_strided(storage[offset:], shape, steps), order="C")
