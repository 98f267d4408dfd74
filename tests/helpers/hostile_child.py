"""A child process that sends hostile requests to an export through TensorFlow's C++ session, for test_hostile_requests.

A request that ends the process must fail one test, not the run. Line by line on standard input: {"name", "signature",
"input", "tensor" (base64 of a serialized TensorProto)} or {"name", "fuzz": [first seed, count], "files": [base64]}. The
answer to each is two lines, "start NAME" before it runs and a JSON object after. {"name", "abort": true} ends the
process as a failed check of TensorFlow's would.
"""

import base64
import json
import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from kseg.serving import cpp_session


def main():
    folder = sys.argv[1]
    session = cpp_session.CppSession(folder, num_threads=2)
    for line in sys.stdin:
        job = json.loads(line)
        print(f"start {job['name']}", flush=True)
        if job.get("abort"):
            os.abort()
        answer = fuzz(session, job) if "fuzz" in job else request(session, job)
        print(json.dumps(answer), flush=True)


def request(session, job):
    try:
        outputs = session.run(job["signature"], **{job["input"]: base64.b64decode(job["tensor"])})
    except cpp_session.SessionError as error:
        return {"code": error.code, "message": error.message}
    return {"code": 0, "shapes": {name: list(array.shape) for name, array in outputs.items()}}


def fuzz(session, job):
    """Mutates the files, by seed, and counts the status codes; memory in MiB after a tenth and at the end."""
    files = [base64.b64decode(text) for text in job["files"]]
    first, count = job["fuzz"]
    codes, foreign, memory = {}, [], []
    for i in range(count):
        contents = mutate(files[i % len(files)], np.random.default_rng(first + i))
        # Named on standard error before it runs: after an abort the last line says which seed.
        print(f"seed {first + i}", file=sys.stderr, flush=True)
        try:
            session.run("detail", image_bytes=[contents])
            code = 0
        except cpp_session.SessionError as error:
            code = error.code
            if code != cpp_session.INVALID_ARGUMENT:
                foreign.append([first + i, code, error.message[:200]])
        codes[code] = codes.get(code, 0) + 1
        if i in (count // 10, count - 1):
            memory.append(resident_mib())
    return {"codes": {str(code): n for code, n in codes.items()}, "foreign": foreign, "memory": memory}


def mutate(contents, random):
    """Flips, cuts, repeats and overwrites bytes; half of the time near the start, where the headers are."""
    data = bytearray(contents)
    for _ in range(random.integers(1, 6)):
        if not data:
            break
        reach = len(data) if random.random() < 0.5 else min(len(data), 64)
        at = int(random.integers(reach))
        kind = random.integers(6)
        if kind == 0:
            data[at] ^= 1 << random.integers(8)
        elif kind == 1:
            data[at] = random.choice([0, 1, 0x7F, 0x80, 0xFE, 0xFF, 0xC0, 0xDA, 0xD9])
        elif kind == 2:
            del data[at : at + int(random.integers(1, 40))]
        elif kind == 3:
            data[at:at] = data[at : at + int(random.integers(1, 40))]
        elif kind == 4:
            data[at : at + 4] = random.bytes(4)
        else:
            del data[at:]
    return bytes(data)


def resident_mib():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


if __name__ == "__main__":
    main()
