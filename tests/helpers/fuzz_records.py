"""Coverage-guided fuzzing of everything that reads untrusted bytes: pictures, examples, manifests.

    pip install atheris
    python tests/helpers/fuzz_records.py -max_total_time=600 [other libFuzzer options] [CORPUS_FOLDER]

The first byte chooses the reader. Any error but a ValueError of one line is a finding, and so is an input that takes
longer than 5 s or more than 1 GB. tests/records/test_hostile_records.py is what runs by itself; this is for a long
night.
"""

import sys

import atheris

with atheris.instrument_imports(include=["tfrecords"]):
    from tfrecords import example, images, manifest

_READERS = (
    lambda data: images.check(data, "picture"),
    lambda data: images.decode_map(data, "label map"),
    lambda data: images.decode_fully(data, "picture"),
    lambda data: example.decode(data, "record"),
    lambda data: manifest.from_bytes(data, "folder"),
)


def read(data: bytes) -> None:
    if data:
        try:
            _READERS[data[0] % len(_READERS)](data[1:])
        except ValueError as error:
            assert "\n" not in str(error)


if __name__ == "__main__":
    atheris.Setup([sys.argv[0], "-timeout=5", "-rss_limit_mb=1024", *sys.argv[1:]], read)
    atheris.Fuzz()
