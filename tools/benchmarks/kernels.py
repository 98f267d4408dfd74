"""How much of this processor a training step uses, under settings that are read when a process starts.

    share   the speed of a training step, convolutions counted, over that of the best float32 matmul found

Every setting is a process of its own, in turn, a few rounds; a share is of the fastest step and the fastest matmul of
any setting, so that shares can be compared with each other. Batches of two 256x512 crops, depth 4, as in train.py.
"""

import json
import os
import subprocess
import sys
import time

_ROUNDS, _STEPS = 3, 3
_WIDTHS = (16, 32)
_SETTINGS = {
    "onednn": {"TF_ENABLE_ONEDNN_OPTS": "1"},
    "no_onednn": {"TF_ENABLE_ONEDNN_OPTS": "0"},
    "one_thread": {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"},
    # Freed memory is kept instead of given back to the system, which would have to clear every page of it again.
    "kept_memory": {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**33)},
    "bfloat16": {"KSEG_BENCHMARK_PRECISION": "mixed_bfloat16"},
}


def run() -> dict[str, dict]:
    """The figures: {name: {"value", "goal", "unit", "note"}}."""
    best, failed = {name: {} for name in _SETTINGS}, {}
    for _ in range(_ROUNDS):
        for name, setting in _SETTINGS.items():
            done = subprocess.run([sys.executable, __file__], capture_output=True, text=True, env=os.environ | setting)
            if done.returncode:  # such as bfloat16 where oneDNN has no kernel for it
                said = [line for line in done.stderr.splitlines() if line and not line[0].isspace()]
                failed[name] = f"fails: {said[-1] if said else f'exit status {done.returncode}'}"
                continue
            for part, speed in json.loads(done.stdout).items():
                best[name][part] = max(speed, best[name].get(part, 0))
    if len(failed) == len(_SETTINGS):
        sys.exit(f"error: kernels: no setting could be measured; as kseg runs it {failed['onednn']}")
    peak = max(found["matmul"] for name, found in best.items() if name not in failed)
    figures = {"peak": {"value": peak / 1e9, "goal": "", "unit": "GFLOP/s", "note": "float32 matmul, best setting"}}
    for name, found in best.items():
        note = failed.get(name) or " ".join(f"{key}={value}" for key, value in _SETTINGS[name].items())
        for width in _WIDTHS:
            goal = f">= {_goal()}" if name == "onednn" else ""
            value = None if name in failed else found[f"width{width}"] / peak
            entry = {"value": value, "goal": goal, "unit": "ratio", "note": note}
            figures[f"width{width}_share_of_peak_{name}"] = entry
    return figures


def _goal():
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        return 0.65 if "avx512f" in file.read() else 0.5


def _print_speeds():
    """Floating-point operations per second of the steps and of a matmul, in this process."""
    import train  # tools/benchmarks/train.py

    precision = os.environ.get("KSEG_BENCHMARK_PRECISION", "float32")
    calls = {f"width{width}": train._step(width, precision) for width in _WIDTHS} | {"matmul": train._matmul()}
    speeds = {}
    for name, (call, work) in calls.items():
        seconds = []
        for _ in range(_STEPS):
            begin = time.perf_counter()
            call()
            seconds.append(time.perf_counter() - begin)
        speeds[name] = work / min(seconds)
    print(json.dumps(speeds))


if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
    _print_speeds()
