"""The client against the stand-in, and its messages against TF-Serving's own.

What runs here is TensorFlow's C++ session behind TF-Serving's protocol (tests/helpers/serving_stand_in.py), not
TF-Serving.
"""

import base64
import http.server
import json
import pathlib
import socket
import struct
import subprocess
import sys
import threading
import time

import grpc
import numpy as np
import PIL.Image
import PIL.ImageOps
import pytest
import requests
import serving_stand_in
import small_models
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2, tensor_shape_pb2
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_pb2,
    predict_pb2,
    prediction_log_pb2,
    prediction_service_pb2_grpc,
)

from kseg.serving import client as serving
from kseg.serving import cpp_session, images, messages

ROOT = pathlib.Path(__file__).parents[2]
TRANSPORTS = ["gRPC", "REST"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return pathlib.Path(small_models.exported(tmp_path_factory.getbasetemp(), "ignore", 2.4)[0])


@pytest.fixture(scope="module")
def models(folder):
    started = serving_stand_in.Models(folder.parent, labels={"stable": 1})
    yield started
    started.close()


@pytest.fixture(scope="module")
def addresses(models):
    with serving_stand_in.serve(models) as started:
        yield dict(zip(TRANSPORTS, started))


@pytest.fixture(params=TRANSPORTS)
def client(request, addresses):
    with serving.Client(addresses[request.param]) as opened:
        yield opened


@pytest.fixture(scope="module")
def session(folder):
    with cpp_session.CppSession(str(folder)) as opened:
        yield opened


PICTURES = [small_models.picture(*size, seed=i) for i, size in enumerate([(40, 60), (31, 17), (1, 1)])]
FILES = [small_models.encode(PICTURES[0]), small_models.encode(PICTURES[1], "JPEG"), small_models.encode(PICTURES[2])]


# The client. ---------------------------------------------------------------------------------------------------------


def test_answers_come_back_byte_for_byte(client, session):
    direct = session.run("detail", image_bytes=FILES)
    assert client.masks(FILES) == direct["mask_png_bytes"].tolist()
    assert client.detail(FILES) == [
        serving.Detail(*row) for row in zip(*(direct[f"{name}_png_bytes"] for name in ("mask", "class", "void_score")))
    ]


def test_pixels_go_and_come_back_as_arrays(client, session):
    image = np.stack([PICTURES[0], 255 - PICTURES[0]])
    direct = session.run("tensor", image=image)
    served = client.predict("tensor", {"image": image})
    for name in ("mask", "class", "void_score"):
        np.testing.assert_array_equal(served[name], direct[name])
        assert np.asarray(served[name]).max() > 0


def test_about_is_read(client):
    about = client.about()
    assert about["num_classes"] == 19 and about["score_map"]["threshold"] == 2.4


def test_a_refused_request_says_why_in_one_line(client):
    with pytest.raises(serving.ServingError) as error:
        client.masks([FILES[0], b"GIF89a"])
    assert error.value.code == "INVALID_ARGUMENT"
    assert str(error.value).endswith("INVALID_ARGUMENT: image 1 of the request is neither a PNG nor a JPEG")


def test_the_decoders_own_refusal_is_one_line_too(client):
    with pytest.raises(serving.ServingError) as error:
        client.masks([FILES[0][: len(FILES[0]) // 2]])
    assert error.value.code == "INVALID_ARGUMENT" and "Invalid PNG data" in str(error.value)
    assert "\n" not in str(error.value) and "node" not in str(error.value)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_versions_and_labels_are_asked_for(addresses, transport):
    assert serving.Client(addresses[transport], version=1).ready()
    assert serving.Client(addresses[transport], label="stable").masks(FILES[:1])
    assert not serving.Client(addresses[transport], model="other").ready()
    with pytest.raises(serving.ServingError, match="NOT_FOUND"):
        serving.Client(addresses[transport], version=2).about()
    with pytest.raises(serving.ServingError, match="canary"):
        serving.Client(addresses[transport], label="canary").about()


@pytest.mark.parametrize(
    "address",
    [
        *("localhost:8500", "ftp://host", "grpc://", "", "grpc://:8500"),
        *("http://host:port", "http://host:85010", "http://[::1:8501"),
    ],
)
def test_an_address_of_another_kind_is_refused(address):
    with pytest.raises(ValueError, match="expected grpc://HOST:8500 or http://HOST:8501"):
        serving.Client(address)


@pytest.mark.parametrize("scheme", ["grpc", "http"])
def test_a_server_that_is_not_there_is_unavailable_after_the_deadline(scheme):
    address = f"{scheme}://127.0.0.1:{free_port()}"
    began = time.monotonic()
    lines = []
    client = serving.Client(address, deadline_seconds=1.0, report=lines.append)
    with pytest.raises(serving.ServingError) as error, client:
        client.about()
    assert lines == [f"{address} is not available; trying for 1 s"]  # once, though tried more often
    assert error.value.code == "UNAVAILABLE" and address in str(error.value)
    assert 0.3 < time.monotonic() - began < 3
    assert not serving.Client(address).ready()


@pytest.mark.parametrize("contents", [b"<html>", b"{}", b"[]", b"null", b'{"predictions": 1}'])
def test_a_server_of_another_kind_is_told(contents):
    class Other(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(200)
            self.send_header("Content-Length", str(len(contents)))
            self.end_headers()
            self.wfile.write(contents)

        do_GET = do_POST

        def log_message(self, *unused):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Other) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with serving.Client(f"http://127.0.0.1:{server.server_port}") as client:
            with pytest.raises(serving.ServingError, match="not TF-Serving's REST interface; is the port"):
                client.about()
            assert not client.ready()
        server.shutdown()


@pytest.mark.parametrize("scheme", ["grpc", "http"])
def test_a_server_that_starts_late_is_waited_for(models, scheme):
    port = free_port()
    ports = {"grpc_port": port} if scheme == "grpc" else {"rest_port": port}
    answers = []

    def ask():
        with serving.Client(f"{scheme}://127.0.0.1:{port}", deadline_seconds=20) as client:
            answers.append(client.about()["num_classes"])

    thread = threading.Thread(target=ask)
    thread.start()
    time.sleep(0.4)
    with serving_stand_in.serve(models, **ports):
        thread.join()
    assert answers == [19]


@pytest.mark.parametrize("transport", range(2), ids=TRANSPORTS)
def test_a_client_is_held_to_the_version_that_answers(folder, transport):
    models = serving_stand_in.Models(folder.parent, warm_up=False)
    with serving_stand_in.serve(models) as addresses, serving.Client(addresses[transport]) as client:
        assert client.version == 0 and client.pinned().version == 1
        pinned = client.pinned()
        models.versions[2] = models.versions.pop(1)
        with pytest.raises(serving.ServingError, match="NOT_FOUND"):
            pinned.about()
        assert client.pinned().version == 2 and client.about()
    models.close()


@pytest.mark.parametrize("transport", range(2), ids=TRANSPORTS)
def test_a_slow_server_ends_the_call_at_its_deadline(models, transport):
    with serving_stand_in.serve(models, delay_seconds=1.5) as slow:
        with (
            pytest.raises(serving.ServingError, match="DEADLINE_EXCEEDED"),
            serving.Client(slow[transport], deadline_seconds=0.3) as client,
        ):
            client.about()


@pytest.mark.parametrize("transport", range(2), ids=TRANSPORTS)
def test_the_session_stops_at_the_deadline_as_the_servers_does(folder, transport):
    ended = []

    class Watched(serving_stand_in.Models):
        def predict(self, *arguments, **named):
            try:
                return super().predict(*arguments, **named)
            except cpp_session.SessionError as error:
                ended.append(error.code)
                raise

    models = Watched(folder.parent, warm_up=False)
    contents = small_models.encode(np.zeros((1024, 1600, 3), np.uint8))  # takes longer than a twentieth of a second
    with serving_stand_in.serve(models, rest_seconds=0.05) as served:
        with serving.Client(served[transport], deadline_seconds=60 if transport else 0.05) as client:
            with pytest.raises(serving.ServingError, match="DEADLINE_EXCEEDED"):
                client.masks([contents])
        end = time.monotonic() + 30
        while not ended and time.monotonic() < end:
            time.sleep(0.02)
    assert ended == [4]
    models.close()


def test_an_answer_beyond_grpcs_default_of_4_mib_arrives(addresses):
    # Three maps of 1.6 MB: more than a client with gRPC's defaults accepts.
    image = np.zeros((1, 1024, 1600, 3), np.uint8)
    request = messages.predict_request("tensor", {"image": image})
    with grpc.insecure_channel(addresses["gRPC"].removeprefix("grpc://")) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        official = predict_pb2.PredictRequest.FromString(request.SerializeToString())
        with pytest.raises(grpc.RpcError) as error:
            stub.Predict(official, timeout=60)
        assert error.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    with serving.Client(addresses["gRPC"]) as client:
        assert client.predict("tensor", {"image": image})["mask"].shape == (1, 1024, 1600)


def test_tensor_content_answers_are_read_as_well(folder, session):
    models = serving_stand_in.Models(folder.parent, tensor_content=True, warm_up=False)
    with serving_stand_in.serve(models) as (address, _), serving.Client(address) as client:
        served = client.predict("tensor", {"image": PICTURES[0][None]})
    np.testing.assert_array_equal(served["mask"], session.run("tensor", image=PICTURES[0][None])["mask"])
    models.close()


def test_a_stock_client_learns_the_signatures_from_the_metadata(addresses):
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = "kseg"
    with grpc.insecure_channel(addresses["gRPC"].removeprefix("grpc://")) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        answer = stub.GetModelMetadata(request, timeout=60)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    answer.metadata["signature_def"].Unpack(signatures)
    assert set(signatures.signature_def) == {"serving_default", "detail", "tensor", "about"}


def test_the_warm_up_requests_of_the_export_were_replayed(models):
    assert models.warmed == 6


def test_a_plain_rest_client_needs_no_kseg(addresses):
    # As documented in deploy/README.md; row and column form, golden bodies.
    coded = base64.b64encode(FILES[0]).decode()
    url = f"{addresses['REST']}/v1/models/kseg:predict"
    rows = requests.post(url, data=json.dumps({"instances": [{"b64": coded}]}), timeout=60).json()
    columns = requests.post(url, data=json.dumps({"inputs": {"image_bytes": [{"b64": coded}]}}), timeout=60).json()
    assert set(rows) == {"predictions"} and set(columns) == {"outputs"}
    assert rows["predictions"][0]["b64"] == columns["outputs"][0]["b64"]
    assert small_models.decode(base64.b64decode(rows["predictions"][0]["b64"])).shape == (40, 60)


# Images. -------------------------------------------------------------------------------------------------------------


def test_png_and_jpeg_go_as_they_are(tmp_path):
    for i, contents in enumerate(FILES):
        (tmp_path / str(i)).write_bytes(contents)
        assert images.read_image(tmp_path / str(i)) == contents


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_without_loss(orientation):
    # The corners of a 2x3 picture say which way it was turned: EXIF 6 means "turn 90 degrees clockwise to see it".
    stored = np.arange(18, dtype=np.uint8).reshape(2, 3, 3) * 13
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    contents = small_models.encode(stored, "PNG", exif=exif)
    sent = images.as_request_bytes(contents)
    upright = {
        1: stored,
        2: stored[:, ::-1],
        3: stored[::-1, ::-1],
        4: stored[::-1],
        5: stored.transpose(1, 0, 2),
        6: np.rot90(stored, -1),
        7: stored[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(stored),
    }[orientation]
    np.testing.assert_array_equal(small_models.decode(sent), upright)
    assert (sent == contents) == (orientation == 1)


def test_other_formats_are_converted_without_loss():
    for image_format in ("BMP", "TIFF", "WEBP"):
        options = {"lossless": True} if image_format == "WEBP" else {}
        sent = images.as_request_bytes(small_models.encode(PICTURES[0], image_format, **options))
        assert sent[:4] == b"\x89PNG"
        np.testing.assert_array_equal(small_models.decode(sent), PICTURES[0])


def test_what_is_no_image_is_refused_by_name():
    for contents in (b"", b"hello", FILES[0][:20]):
        with pytest.raises(ValueError, match=r"cat.png is not a readable image \((?!.*0x)"):
            images.as_request_bytes(contents, "cat.png")


def test_an_image_with_damaged_exif_is_refused_by_name(monkeypatch):
    # Pillow packs the EXIF anew when it turns a picture, and a value of the wrong type is a struct.error there.
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    contents = small_models.encode(PICTURES[0], "JPEG", exif=exif)

    def pack(image):
        raise struct.error("required argument is not an integer")

    monkeypatch.setattr(PIL.ImageOps, "exif_transpose", pack)
    with pytest.raises(ValueError, match="cat.jpg is not a readable image .required argument"):
        images.as_request_bytes(contents, "cat.jpg")


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("assertion failed: [kseg: at most 64 images, got 65]\n\t [[{{node Assert}}]]", "at most 64 images, got 65"),
        ("assertion failed: [kseg: image must be [images, height, width, 3], got 0 dimensions]\n\t [[x]]",
         "image must be [images, height, width, 3], got 0 dimensions"),
        ("assertion failed: [kseg: the request has no images] [[{{node x}}]]", "the request has no images"),
        ("Invalid PNG data, size 12\n\t [[{{node y}}]]", "Invalid PNG data, size 12"),
        ("", "no message"),
    ],
)  # fmt: skip
def test_the_sentence_is_found_in_tensorflows_text(message, expected):
    assert serving.sentence(message) == expected


# The messages. --------------------------------------------------------------------------------------------------------

OFFICIAL = {
    "Dim": tensor_shape_pb2.TensorShapeProto.Dim,
    "TensorShapeProto": tensor_shape_pb2.TensorShapeProto,
    "TensorProto": tensor_pb2.TensorProto,
    "ModelSpec": model_pb2.ModelSpec,
    "PredictRequest": predict_pb2.PredictRequest,
    "PredictResponse": predict_pb2.PredictResponse,
    "PredictLog": prediction_log_pb2.PredictLog,
    "PredictionLog": prediction_log_pb2.PredictionLog,
    "GetModelStatusRequest": get_model_status_pb2.GetModelStatusRequest,
    "GetModelStatusResponse": get_model_status_pb2.GetModelStatusResponse,
    "ModelVersionStatus": get_model_status_pb2.ModelVersionStatus,
}


@pytest.mark.parametrize("name", messages._MESSAGES)
def test_every_field_has_the_official_number_and_type(name):
    official = OFFICIAL[name].DESCRIPTOR.fields_by_name
    for field in messages._classes[name].DESCRIPTOR.fields:
        theirs = official[field.name]
        types = {field.type, theirs.type}
        assert field.number == theirs.number
        # An enum is an int32 on the wire.
        assert len(types) == 1 or types == {field.TYPE_INT32, field.TYPE_ENUM}, field.name
        assert field.is_repeated == theirs.is_repeated
        assert (field.message_type is None) == (theirs.message_type is None)


def test_a_request_is_what_the_official_classes_make_of_it():
    image = np.arange(12, dtype=np.uint8).reshape(1, 2, 2, 3)
    ours = messages.predict_request("tensor", {"image": image}, model="kseg", version=3)
    official = predict_pb2.PredictRequest.FromString(ours.SerializeToString())
    expected = predict_pb2.PredictRequest()
    expected.model_spec.name, expected.model_spec.signature_name = "kseg", "tensor"
    expected.model_spec.version.value = 3
    expected.inputs["image"].CopyFrom(tf.make_tensor_proto(image))
    assert official == expected
    assert messages.PredictRequest.FromString(expected.SerializeToString(deterministic=True)) == ours


def test_a_request_has_these_bytes():
    request = messages.predict_request("about", {"query": [b"\x00"]}, label="stable")
    assert request.SerializeToString(deterministic=True) == (
        b"\x0a\x15" + b"\x0a\x04kseg" + b"\x1a\x05about" + b"\x22\x06stable"  # model_spec: name, signature, label
        + b"\x12\x14" + b"\x0a\x05query"  # one entry of inputs: its key ...
        + b"\x12\x0b" + b"\x08\x07" + b"\x12\x04\x12\x02\x08\x01" + b"\x42\x01\x00"  # ... DT_STRING, shape [1], value
    )  # fmt: skip


@pytest.mark.parametrize(
    "array",
    [
        np.array([[0, 127, 128, 255]], np.uint8),
        np.array([[-3, 2**40]], np.int64),
        np.array([1.5, -2.0], np.float32),
        np.array([-1, 7], np.int32),
        np.zeros((2, 3), np.uint8),
        np.zeros((0, 3), np.uint8),
    ],
)
def test_tensors_are_read_in_both_packings(array):
    packed = messages.TensorProto.FromString(tf.make_tensor_proto(array).SerializeToString())
    np.testing.assert_array_equal(messages.from_tensor(packed), array)
    spread = serving_stand_in._to_proto(array, tf.as_dtype(array.dtype).as_datatype_enum, tensor_content=False)
    read = messages.from_tensor(messages.TensorProto.FromString(spread.SerializeToString()))
    np.testing.assert_array_equal(read, array)
    assert read.dtype == array.dtype and read.shape == array.shape


def test_a_tensor_that_does_not_fill_its_shape_is_refused():
    tensor = messages.to_tensor(np.zeros((2, 3), np.uint8))
    tensor.tensor_content = b"12345"
    with pytest.raises(ValueError, match=r"5 values for a tensor of shape \[2, 3\]"):
        messages.from_tensor(tensor)


# Without TensorFlow. --------------------------------------------------------------------------------------------------

BLOCK = "import sys; sys.modules['tensorflow'] = sys.modules['keras'] = sys.modules['ml_collections'] = None; "


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_the_tool_predicts_where_tensorflow_cannot_be_imported(addresses, tmp_path, transport, session):
    (tmp_path / "in").mkdir()
    for i, contents in enumerate(FILES):
        (tmp_path / "in" / f"image{i}.png").write_bytes(contents)
    run = BLOCK + "sys.argv[0] = 'tools/predict.py'; import runpy; runpy.run_path(sys.argv[0], run_name='__main__')"
    flags = [
        f"--server={addresses[transport]}",
        f"--output_dir={tmp_path / 'out'}",
        "--void_score",
        str(tmp_path / "in"),
    ]
    done = subprocess.run([sys.executable, "-c", run, *flags], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    written = {path.name for path in (tmp_path / "out").iterdir()} - {"predictions.json"}
    assert written == {f"image{i}_{kind}.png" for i in range(3) for kind in ("mask", "overlay", "void_score")}
    direct = session.run("detail", image_bytes=FILES[:1])
    assert (tmp_path / "out" / "image0_void_score.png").read_bytes() == direct["void_score_png_bytes"][0]
    ids = np.array(json.loads(session.run("about", query=[b""])["about_json"][0])["official_ids"], np.uint8)
    mask = small_models.decode(direct["mask_png_bytes"][0])
    np.testing.assert_array_equal(small_models.decode((tmp_path / "out" / "image0_mask.png").read_bytes()), ids[mask])


@pytest.mark.extras
@pytest.mark.timeout(900)
def test_the_client_runs_in_an_environment_of_its_requirements_alone(addresses, tmp_path):
    environment = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    python = environment / "bin" / "python"
    install = [python, "-m", "pip", "install", "-q"]
    subprocess.run([*install, "-c", "constraints.txt", "-r", "deploy/client-requirements.txt"], cwd=ROOT, check=True)
    subprocess.run([*install, "--no-deps", ROOT], cwd=tmp_path, check=True)
    absent = subprocess.run([python, "-c", "import tensorflow"], cwd=tmp_path, capture_output=True, text=True)
    assert "No module named 'tensorflow'" in absent.stderr
    (tmp_path / "image.png").write_bytes(FILES[0])
    for transport, address in addresses.items():
        out = tmp_path / transport
        tool = [python, ROOT / "tools" / "predict.py", f"--server={address}", f"--output_dir={out}", "image.png"]
        done = subprocess.run(tool, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert {path.name for path in out.iterdir()} == {"image_mask.png", "image_overlay.png", "predictions.json"}


def free_port():
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        return opened.getsockname()[1]
