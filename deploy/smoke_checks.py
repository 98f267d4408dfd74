"""The checks of smoke_test.sh, against a server that it has started: one line each, exit 0 only if all passed.

Answers are compared with TensorFlow's C++ session on the same export; labels, reloads, metrics and CORS, which tests
without the real server cannot see, are asked for over HTTP.
"""

import io
import os
import subprocess
import sys
import time

import numpy as np
import PIL.Image
import requests
from absl import app, flags

from kseg import serving
from kseg.serving import local as serving_local

_EXPORT_DIR = flags.DEFINE_string("export_dir", None, "Folder of versions, as seen here.", required=True)
_BASE_PATH = flags.DEFINE_string("base_path", None, "The same folder, as the server sees it.", required=True)
_WRITE_CONFIG = flags.DEFINE_string(
    "write_config", "", "Only write the server's first model configuration to this file."
)
_CONFIG = flags.DEFINE_string("config", "", "The model configuration that the server polls.")
_REST = flags.DEFINE_string("rest", "", "http://HOST:PORT")
_GRPC = flags.DEFINE_string("grpc", "", "grpc://HOST:PORT")
_IMAGE = flags.DEFINE_string("image", "", "A picture to ask about; without one, noise.")
_ALIVE = flags.DEFINE_string("alive", "", "A shell command that fails once the server is no longer there.")
_START_SECONDS = float(os.environ.get("KSEG_START_SECONDS", "300"))  # loading and warm-up


def main(argv):
    del argv
    versions = sorted(int(name) for name in os.listdir(_EXPORT_DIR.value) if name.isdigit())
    if not versions:
        sys.exit(f"error: {_EXPORT_DIR.value} holds no versions.")
    if _WRITE_CONFIG.value:
        # Without labels: the server resolves them before it has loaded a version, and would not start.
        write_config(_WRITE_CONFIG.value, [versions[0]], {})
        return
    picture = _IMAGE.value and serving.read_image(_IMAGE.value) or noise(96, 128)
    base = f"{_REST.value}/v1/models/kseg"
    clients = {"gRPC": serving.Client(_GRPC.value, label="stable"), "REST": serving.Client(_REST.value, label="stable")}
    failed = 0

    def check(sentence, passed):
        nonlocal failed
        failed += not passed
        print(f"{'ok     ' if passed else 'FAILED '} {sentence}", flush=True)

    check("the model becomes AVAILABLE", wait(lambda: available(base, versions[0]), _START_SECONDS))
    if failed:
        sys.exit(1)
    write_config(_CONFIG.value, [versions[0]], {"stable": versions[0]})
    labelled = wait(lambda: clients["gRPC"].ready() and clients["REST"].ready(), 60)
    check("a loaded version takes the label stable", labelled)
    if failed:
        sys.exit(1)
    with serving_local.Local(os.path.join(_EXPORT_DIR.value, str(versions[0]))) as local:
        expected, about = local.detail([picture, noise(31, 17)]), local.about()
        pixels = np.array(PIL.Image.open(io.BytesIO(noise(31, 17))))[None]
        expected_pixels = local.predict("tensor", {"image": pixels})["mask"]
    for name, client in clients.items():
        same = client.detail([picture, noise(31, 17)]) == expected
        check(f"{name} gives the C++ session's bytes, two sizes in one request", same)
        same = np.array_equal(client.predict("tensor", {"image": pixels})["mask"], expected_pixels)
        check(f"{name} gives the same pixels", same)
        check(f"{name} describes the model", client.about() == about)
        for what, request in {
            "an image without a batch": ("tensor", {"image": np.zeros((16, 16, 3), np.uint8)}),
            "a GIF": ("serving_default", {"image_bytes": [b"GIF89a"]}),
            "an empty file": ("serving_default", {"image_bytes": [b""]}),
        }.items():
            check(f"{name} refuses {what} as INVALID_ARGUMENT", refused(client, *request))
    check("the server still answers", clients["gRPC"].detail([picture]) == expected[:1])
    answer = requests.get(f"{_REST.value}/monitoring/prometheus/metrics", timeout=10)
    check("metrics are served", answer.status_code == 200 and "tensorflow" in answer.text)
    answer = requests.get(base, headers={"Origin": "http://localhost"}, timeout=10)
    check("other origins may read answers", answer.headers.get("Access-Control-Allow-Origin") == "*")
    if len(versions) > 1:
        new = versions[1]
        write_config(_CONFIG.value, versions[:2], {"stable": versions[0]})
        check("a second version is loaded while the first serves", wait(lambda: available(base, new), _START_SECONDS))
        write_config(_CONFIG.value, versions[:2], {"stable": versions[0], "canary": new})
        canary = serving.Client(_GRPC.value, label="canary")
        with serving_local.Local(os.path.join(_EXPORT_DIR.value, str(new))) as local:
            there = local.detail([picture])
        check("the label canary reaches it", wait(lambda: answers(canary, [picture]) == there, 60))
        check("the label stable stays", clients["REST"].detail([picture]) == expected[:1])
    else:
        print("skipped canary and reload: the export has one version")
    sys.exit(1 if failed else 0)


def write_config(path, versions, labels):
    numbers = "".join(f"        versions: {version}\n" for version in versions)
    lines = "".join(f'    version_labels {{ key: "{label}" value: {version} }}\n' for label, version in labels.items())
    text = (
        "model_config_list {\n  config {\n"
        f'    name: "kseg"\n    base_path: "{_BASE_PATH.value}"\n    model_platform: "tensorflow"\n'
        f"    model_version_policy {{\n      specific {{\n{numbers}      }}\n    }}\n{lines}  }}\n}}\n"
    )
    with open(path, "w") as file:  # in place: a container sees this very file
        file.write(text)


def wait(condition, seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        if _ALIVE.value and subprocess.run(_ALIVE.value, shell=True, stdout=subprocess.DEVNULL).returncode:
            print("        the server has ended", flush=True)
            return False
        time.sleep(0.5)
    return False


def available(base, version):
    try:
        answer = requests.get(f"{base}/versions/{version}", timeout=5).json()
    except (requests.RequestException, ValueError):
        return False
    return any(status["state"] == "AVAILABLE" for status in answer.get("model_version_status", []))


def answers(client, images):
    try:
        return client.detail(images)
    except serving.ServingError:
        return None


def refused(client, signature, inputs):
    try:
        client.predict(signature, inputs)
    except serving.ServingError as error:
        return error.code == "INVALID_ARGUMENT" and "kseg: " in error.message
    return False


def noise(height, width):
    buffer = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    PIL.Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


if __name__ == "__main__":
    app.run(main)
