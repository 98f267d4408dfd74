"""Makes tests/golden/example.bin and tests/golden/records/ anew: run by hand when the format changes on purpose.

python tests/golden/make_records.py
"""

import pathlib
import shutil
import sys
import tempfile

_HERE = pathlib.Path(__file__).parent
for _folder in ("helpers", "conversion", "records"):
    sys.path.insert(0, str(_HERE.parent / _folder))

import test_convert  # noqa: E402
import test_example  # noqa: E402

from tfrecords import example  # noqa: E402

if __name__ == "__main__":
    (_HERE / "example.bin").write_bytes(example.encode(test_example.LABELLED))
    shutil.rmtree(_HERE / "records", ignore_errors=True)
    with tempfile.TemporaryDirectory() as scratch:
        test_convert.write_golden(pathlib.Path(scratch), _HERE / "records")
