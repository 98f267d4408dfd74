"""Integer arrays as JSON values, small: what a result holds its counts in."""

import base64
import lzma

import numpy as np


def pack(array) -> dict:
    """An integer array as a JSON value: shape, the smallest dtype that holds it, xz bytes in base64."""
    array = np.asarray(array)
    if array.dtype.kind not in "iu":
        raise ValueError(f"pack: expected integers, got {array.dtype}")
    low, high = (int(array.min()), int(array.max())) if array.size else (0, 0)
    dtype = np.result_type(np.min_scalar_type(low), np.min_scalar_type(high))
    if dtype.kind == "f":  # of int64 and uint64
        dtype = np.dtype(np.int64)
    data = np.ascontiguousarray(array, dtype.newbyteorder("<"))
    # Bytes of equal weight side by side: most high bytes are 0.
    planes = data.reshape(-1).view(np.uint8).reshape(-1, dtype.itemsize).T.tobytes()
    return {
        "dtype": dtype.name,
        "shape": list(array.shape),
        "xz": base64.b64encode(lzma.compress(planes, preset=6)).decode("ascii"),
    }


def unpack(packed: dict) -> np.ndarray:
    """The int64 array that `pack` packed, or that kseg/study/archive.py read ("values" in place of "xz")."""
    if "values" in packed:
        return packed["values"].astype(np.int64)
    dtype = np.dtype(packed["dtype"]).newbyteorder("<")
    planes = np.frombuffer(lzma.decompress(base64.b64decode(packed["xz"])), np.uint8)
    data = np.ascontiguousarray(planes.reshape(dtype.itemsize, -1).T).view(dtype)
    return data.reshape(packed["shape"]).astype(np.int64)
