"""An export's answers to a few requests, in whatever TensorFlow is installed: EXPORT_DIR OUT.npz [COMPARE_WITH.npz].

Runs in the environments of check_runtimes.sh, which have TensorFlow and NumPy alone.
"""

import os
import struct
import sys
import zlib

import numpy as np
import tensorflow as tf

from kseg.serving import cpp_session


def main(export_dir, output, other=""):
    versions = [name for name in os.listdir(export_dir) if name.isdigit()]
    folder = os.path.join(export_dir, max(versions, key=int)) if versions else export_dir
    image = np.random.default_rng(0).integers(0, 256, (1, 67, 90, 3), dtype=np.uint8)
    image = np.repeat(np.repeat(image[:, ::8, ::8], 8, 1), 8, 2)[:, :67, :90]
    with cpp_session.CppSession(folder) as session:
        answers = session.run("tensor", image=image)
        detail = session.run("detail", image_bytes=[png(image[0])])
        answers["sizes"] = np.array([len(column[0]) for column in detail.values()]) > 60
        answers["about"] = np.frombuffer(session.run("about", query=[b""])["about_json"][0], np.uint8)
        for shape in [(), (3,), (16, 16, 3), (1, 1, 16, 16, 3), (0, 4, 4, 3)]:
            try:
                session.run("tensor", image=np.zeros(shape, np.uint8))
                sys.exit(f"an image of shape {shape} was answered")
            except cpp_session.SessionError as error:
                assert error.code == cpp_session.INVALID_ARGUMENT and "kseg: " in error.message, error
    np.savez(output, **answers)
    if other:
        here = np.load(other)
        assert np.array_equal(here["about"], answers["about"])
        differ = {name: int(np.sum(here[name] != answers[name])) for name in ("mask", "class", "void_score")}
        pixels = answers["mask"].size
        print(f"TensorFlow {tf.__version__}: pixels that differ, of {pixels}: {differ}; 5 hostile shapes refused")
        assert differ["mask"] + differ["class"] <= pixels // 1000, "more than ties differ"


def png(image):
    """PNG bytes, without Pillow."""
    height, width, _ = image.shape
    rows = b"".join(b"\0" + row.tobytes() for row in image)

    def chunk(name, contents):
        return struct.pack(">I", len(contents)) + name + contents + struct.pack(">I", zlib.crc32(name + contents))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


if __name__ == "__main__":
    main(*sys.argv[1:])
