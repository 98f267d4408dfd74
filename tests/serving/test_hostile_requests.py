"""No request ends the server's process, and each bad one is refused as INVALID_ARGUMENT in kseg's own words.

The requests go through TensorFlow's C++ session in a child process (tests/helpers/hostile_child.py). It says which case
it is about to run, and is started again after an abort, which fails that case's test alone.
"""

import base64
import json
import os
import pathlib
import struct
import subprocess
import sys
import zlib

import numpy as np
import PIL.Image
import pytest
import small_models
import tensorflow as tf

from kseg.serving import cpp_session

OK, INVALID = 0, cpp_session.INVALID_ARGUMENT
CHILD = pathlib.Path(__file__).parents[1] / "helpers" / "hostile_child.py"


class Child:
    """The child process, started when first needed and again whenever it died."""

    def __init__(self, folder, errors):
        self._folder, self._errors, self._process = folder, errors, None

    def run(self, job):
        """The answer, or {"died": exit status, "last": the last line of its errors}."""
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, str(CHILD), self._folder],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=open(self._errors, "w"),
                text=True,
                cwd=CHILD.parents[2],
            )
        try:
            self._process.stdin.write(json.dumps(job) + "\n")
            self._process.stdin.flush()
            started, answer = self._process.stdout.readline(), self._process.stdout.readline()
        except BrokenPipeError:
            started = answer = ""
        if answer:
            assert started == f"start {job['name']}\n"
            return json.loads(answer)
        status = self._process.wait()
        self._process = None
        return {"died": status, "last": self._errors.read_text().strip().splitlines()[-1:]}

    def close(self):
        if self._process is not None:
            self._process.stdin.close()
            self._process.wait(timeout=60)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return small_models.exported(tmp_path_factory.getbasetemp(), "ignore", 2.4)[0]


@pytest.fixture(scope="module")
def child(folder, tmp_path_factory):
    started = Child(folder, tmp_path_factory.mktemp("child") / "errors.txt")
    yield started
    started.close()


def request(name, signature, tensor):
    """A job for the child. `tensor`: an array, or a list of bytes (nested lists for other ranks)."""
    if not isinstance(tensor, np.ndarray):
        tensor = np.array(tensor, dtype=object)
    proto = tf.make_tensor_proto(tensor).SerializeToString()
    inputs = {"tensor": "image", "about": "query"}
    return {
        "name": name,
        "signature": signature,
        "input": inputs.get(signature, "image_bytes"),
        "tensor": base64.b64encode(proto).decode(),
    }


def png_header(width, height):
    """The 33 bytes that open a PNG of that size, checksum included; what follows them is up to the caller."""
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))


def jpeg_with_size(jpeg, width, height):
    """The same JPEG whose frame header claims another size."""
    at = jpeg.index(b"\xff\xc0") + 5
    return jpeg[:at] + struct.pack(">HH", height, width) + jpeg[at + 4 :]


def jpeg_with_scans(jpeg, count):
    """The same progressive JPEG with its last scan repeated."""
    scan = jpeg[jpeg.rindex(b"\xff\xda") : -2]
    return jpeg[:-2] + scan * count + jpeg[-2:]


IMAGE = small_models.picture(40, 60)
PILLOW = PIL.Image.fromarray(IMAGE)
PNG, JPEG = small_models.encode(IMAGE), small_models.encode(IMAGE, "JPEG")
PROGRESSIVE = small_models.encode(IMAGE, "JPEG", progressive=True)
EXIF = PIL.Image.Exif()
EXIF[0x0112] = 6


def zeros(*shape, dtype=np.uint8):
    return np.zeros(shape, dtype)


# name: (signature, tensor, code, words of the message or None where TensorFlow's own decoder or type check speaks)
REFUSED = {
    "a scalar": ("tensor", zeros(), "got 0 dimensions"),
    "rank 1": ("tensor", zeros(3), "got 1 dimensions"),
    "rank 2": ("tensor", zeros(5, 5), "got 2 dimensions"),
    "rank 3, an image without a batch": ("tensor", zeros(16, 16, 3), "got 3 dimensions"),
    "rank 5": ("tensor", zeros(1, 1, 16, 16, 3), "got 5 dimensions"),
    "rank 8": ("tensor", zeros(1, 1, 1, 1, 1, 1, 1, 3), "got 8 dimensions"),
    "four channels": ("tensor", zeros(1, 16, 16, 4), "3 channels, got 4"),
    "no channels": ("tensor", zeros(1, 16, 16, 0), "3 channels, got 0"),
    "an empty batch": ("tensor", zeros(0, 16, 16, 3), "no images"),
    "an empty image": ("tensor", zeros(1, 0, 16, 3), "empty: 0 x 16 px"),
    "too many images": ("tensor", zeros(65, 1, 1, 3), "at most 64 images, got 65"),
    "too wide": ("tensor", zeros(1, 1, 16385, 3), "at most 16384 px"),
    "too many pixels": ("tensor", zeros(2, 1024, 801, 3), "at most 1638400 pixels"),
    # A million pixels, which the network pads to four million.
    "too many narrow images": ("tensor", zeros(64, 16384, 1, 3), "64 x 16384 x 1 px, which count as 4194304 pixels"),
    "a file of odd sides": ("serving_default", [png_header(1283, 1277) + PNG[33:]], "which count as 1643520 pixels"),
    "floats": ("tensor", zeros(1, 16, 16, 3, dtype=np.float32), None),
    "strings for pixels": ("tensor", [b"x"], None),
    "pixels for strings": ("serving_default", zeros(1), None),
    "no strings": ("serving_default", [], "no images"),
    "a string without a batch": ("serving_default", np.array(PNG, dtype=object), "got 0 dimensions"),
    "strings of rank 2": ("serving_default", [[PNG]], "got 2 dimensions"),
    "65 files": ("serving_default", [PNG] * 65, "at most 64"),
    "an empty file": ("serving_default", [b""], "image 0 of the request is empty"),
    "one byte": ("serving_default", [b"\x89"], "neither a PNG nor a JPEG"),
    "text": ("serving_default", [b"hello"], "neither a PNG nor a JPEG"),
    "a GIF": ("serving_default", [small_models.encode(PILLOW, "GIF")], "neither a PNG nor a JPEG"),
    "a BMP": ("serving_default", [small_models.encode(PILLOW, "BMP")], "neither a PNG nor a JPEG"),
    "a WebP": ("serving_default", [small_models.encode(PILLOW, "WEBP")], "neither a PNG nor a JPEG"),
    "a TIFF": ("serving_default", [small_models.encode(PILLOW, "TIFF")], "neither a PNG nor a JPEG"),
    "a PNG cut in its header": ("serving_default", [PNG[:20]], "neither a PNG nor a JPEG"),
    "a JPEG of two bytes": ("serving_default", [JPEG[:2]], "neither a PNG nor a JPEG"),
    "a JPEG of three bytes": ("serving_default", [JPEG[:3]], "without a usable frame header"),
    "a JPEG cut before its frame": ("serving_default", [JPEG[:100]], "without a usable frame header"),
    "a JPEG of fill bytes": ("serving_default", [b"\xff\xd8" + b"\xff" * 5000], "without a usable frame header"),
    "a JPEG with endless segments": (
        "serving_default",
        [b"\xff\xd8" + b"\xff\xfe\x00\x02" * 5000 + JPEG[2:]],
        "without a usable frame header",
    ),
    "a JPEG whose segment is longer than the file": (
        "serving_default",
        [b"\xff\xd8\xff\xe0\xff\xff" + JPEG[2:]],
        "without a usable frame header",
    ),
    "a lossless JPEG": (
        "serving_default",
        [JPEG.replace(b"\xff\xc0", b"\xff\xc3", 1)],
        "without a usable frame header",
    ),
    "a PNG of 30000 x 30000": ("serving_default", [png_header(30000, 30000) + PNG[33:]], "got 30000 x 30000 px"),
    "a PNG of 16000 x 16000": ("serving_default", [png_header(16000, 16000) + PNG[33:]], "at most 1638400 pixels"),
    "a PNG of 2^31 columns": ("serving_default", [png_header(2**31, 1) + PNG[33:]], "got 1 x 2147483648 px"),
    "a PNG of 2^32-1 squared": ("serving_default", [png_header(2**32 - 1, 2**32 - 1)], "got 4294967295 x 4294967295"),
    "a PNG without columns": ("serving_default", [png_header(0, 5) + PNG[33:]], "empty: 5 x 0 px"),
    "a JPEG of 65500 x 65500": ("serving_default", [jpeg_with_size(JPEG, 65500, 65500)], "got 65500 x 65500 px"),
    "a JPEG of 16000 x 16000": ("serving_default", [jpeg_with_size(JPEG, 16000, 16000)], "at most 1638400 pixels"),
    "a JPEG without rows": ("serving_default", [jpeg_with_size(JPEG, 60, 0)], "empty: 0 x 60 px"),
    "a JPEG of 3000 scans": ("serving_default", [jpeg_with_scans(PROGRESSIVE, 3000)], "scans; at most 2000"),
    "a good file, then a bad one": ("serving_default", [PNG, JPEG, b"x"], "image 2 of the request"),
    "a truncated PNG": ("serving_default", [PNG[: len(PNG) // 2]], None),
    "a truncated JPEG": ("serving_default", [JPEG[: len(JPEG) // 2]], None),
    "a PNG whose body is text": ("serving_default", [PNG[:60] + b"hello" * 100], None),
    "a PNG with a wrong checksum": ("serving_default", [PNG[:29] + b"abcd" + PNG[33:]], None),
    "an empty question": ("about", [], "query is empty"),
    "65 questions": ("about", [b""] * 65, "at most 64"),
    "a question of rank 2": ("about", [[b""]], "got 2 dimensions"),
}

# Unusual requests that must be answered.
ACCEPTED = {
    "one pixel": ("tensor", zeros(1, 1, 1, 3)),
    "one row": ("tensor", zeros(1, 1, 77, 3)),
    "odd sides": ("tensor", zeros(2, 13, 7, 3)),
    "the most pixels": ("tensor", zeros(1, 100, 16384, 3)),
    "one pixel as PNG": ("serving_default", [small_models.encode(IMAGE[:1, :1])]),
    "one pixel as JPEG": ("serving_default", [small_models.encode(IMAGE[:1, :1], "JPEG")]),
    "mixed sizes and formats": ("serving_default", [PNG, JPEG, small_models.encode(IMAGE[:9, :33])]),
    "RGBA": ("serving_default", [small_models.encode(PILLOW.convert("RGBA"))]),
    "gray": ("serving_default", [small_models.encode(PILLOW.convert("L"))]),
    "gray with alpha": ("serving_default", [small_models.encode(PILLOW.convert("LA"))]),
    "a palette": ("serving_default", [small_models.encode(PILLOW.convert("P"))]),
    "one bit": ("serving_default", [small_models.encode(PILLOW.convert("1"))]),
    "16 bits": ("serving_default", [small_models.encode(PIL.Image.fromarray(IMAGE[..., 0].astype(np.uint16) * 256))]),
    "an interlaced PNG's neighbour, an optimized one": (
        "serving_default",
        [small_models.encode(PILLOW, optimize=True)],
    ),
    "a gray JPEG": ("serving_default", [small_models.encode(PILLOW.convert("L"), "JPEG")]),
    "a CMYK JPEG": ("serving_default", [small_models.encode(PILLOW.convert("CMYK"), "JPEG")]),
    "a progressive JPEG": ("serving_default", [PROGRESSIVE]),
    "a JPEG of many scans": ("serving_default", [jpeg_with_scans(PROGRESSIVE, 500)]),
    "a JPEG with EXIF, ICC profile and comment": (
        "serving_default",
        [small_models.encode(PILLOW, "JPEG", exif=EXIF, icc_profile=b"p" * 70000, comment=b"c" * 60000)],
    ),
    "a JPEG with restart markers": ("serving_default", [small_models.encode(PILLOW, "JPEG", restart_marker_rows=1)]),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_bad_request_is_refused_as_an_invalid_argument(child, name):
    signature, tensor, words = REFUSED[name]
    answer = child.run(request(name, signature, tensor))
    assert answer.get("code") == INVALID, answer
    if words is not None:
        assert "kseg: " in answer["message"] and words in answer["message"]


@pytest.mark.parametrize("name", ACCEPTED)
def test_an_unusual_request_is_answered(child, name):
    signature, tensor = ACCEPTED[name]
    answer = child.run(request(name, signature, tensor))
    assert answer.get("code") == OK, answer
    if signature == "tensor":
        assert answer["shapes"]["mask"] == list(tensor.shape[:3])
    else:
        assert answer["shapes"]["mask_png_bytes"] == [len(tensor)]


def test_a_huge_real_png_is_refused_before_it_is_decoded(child):
    # 0.5 MB that would take 768 MB of memory.
    rows = zlib.compress(b"\0" * (16000 * 3 + 1) * 16000, 1)
    chunk = b"IDAT" + rows
    body = struct.pack(">I", len(rows)) + chunk + struct.pack(">I", zlib.crc32(chunk)) + b"\0\0\0\0IEND\xaeB`\x82"
    answer = child.run(request("16000 x 16000", "serving_default", [png_header(16000, 16000) + body]))
    assert answer.get("code") == INVALID and "at most 1638400 pixels" in answer["message"]


def test_the_child_survived_all_of_it(child):
    # Not the same as the tests above: an abort whose test was not run, or a restart, would show here.
    assert child.run(request("a last one", "serving_default", [PNG]))["code"] == OK


def test_mutated_files_are_answered_or_refused_and_never_end_the_process(child):
    answer = child.run(fuzz_job(first=0, count=400))
    assert "died" not in answer, answer
    assert answer["foreign"] == []
    assert set(answer["codes"]) == {
        str(OK),
        str(INVALID),
    }  # both happen: the mutations are neither too mild nor too wild


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_ten_thousand_mutated_files_leave_memory_flat(child):
    answer = child.run(fuzz_job(first=10_000, count=int(os.environ.get("KSEG_FUZZ_REQUESTS", "10000"))))
    assert "died" not in answer, answer
    assert answer["foreign"] == []
    after_a_tenth, at_the_end = answer["memory"]
    print(answer)
    assert at_the_end - after_a_tenth < 32, f"{after_a_tenth} -> {at_the_end} MiB"


def fuzz_job(first, count):
    small = PILLOW.resize((24, 16))
    files = [
        small_models.encode(small),
        small_models.encode(small, "JPEG"),
        small_models.encode(small.convert("P")),
        small_models.encode(small, "JPEG", progressive=True, comment=b"c" * 40),
    ]
    return {"name": "fuzz", "fuzz": [first, count], "files": [base64.b64encode(file).decode() for file in files]}


def test_an_abort_fails_its_case_and_the_child_is_started_again(folder, tmp_path):
    # Aborts by itself: which requests end TensorFlow depends on its version and on its kernels (a rank-3 image does so
    # with oneDNN and is an ordinary error without), and the harness must hold for any of them.
    started = Child(folder, tmp_path / "errors.txt")
    try:
        assert started.run({"name": "abort", "abort": True})["died"] < 0
        assert started.run(request("after it", "tensor", zeros(1, 16, 16, 3)))["code"] == OK
    finally:
        started.close()
