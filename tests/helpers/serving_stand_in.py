"""A stand-in for tensorflow_model_server in tests: its protocol over kseg.serving.cpp_session. It is NOT TF-Serving.

What is the same: the loader and session (TensorFlow's C++), the protobuf messages (tensorflow-serving-api), and the
rules that TF-Serving's predict_util.cc and json_tensor.cc follow for names, shapes, base64, row and column answers and
status codes; and ServerCore::ReloadConfig's order, at the start as at each reload: labels are resolved first, against
the versions that are AVAILABLE by then, and only then are versions loaded and unloaded. A gRPC client's deadline and
--rest_api_timeout_in_ms end a session's run as RunOptions.timeout_in_ms does in TF-Serving.

What it does not do, and where it is kinder than the server:
- batching (BatchingSession), and the threads, retries and back-off of loads; a load that fails is a Python exception;
- metrics, TLS, --grpc_socket_path, --enable_grpc_healthcheck_service, TFRT, GPUs;
- evhttp's parsing: chunked and gzipped request bodies, "Expect: 100-continue", its limit on headers and its refusal of
  other methods are Python's http.server's; a body of any size is read whole into memory, as in the server;
- 413 it never answers, as TF-Serving does not: that is a proxy's, see small_servers.py;
- numbers in JSON: TF-Serving wraps a uint8 of 300 to 44 silently, this refuses nothing either; NaN and Infinity are
  written as Python does;
- REST answers wait for nothing but the session; the server queues beyond its --rest_api_num_threads;
- the model's state is AVAILABLE or absent: no LOADING, UNLOADING, END, nor their errors;
- GetModelStatus of a version that is gone says NOT_FOUND; the server remembers it for a while as END.
So a test that passes here was passed by TensorFlow's session and by the protocol, not by the server.

  python tests/helpers/serving_stand_in.py --model_config_file=F [--rest_api_port=8501 --port=8500]

takes the flags of tensorflow_model_server that deploy/smoke_test.sh gives, so that the script itself can be tested.
"""

import base64
import contextlib
import http.server
import json
import os
import re
import sys
import threading
import time
from concurrent import futures

import grpc
import numpy as np
from tensorflow.core.framework import tensor_pb2, tensor_shape_pb2, types_pb2
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_log_pb2,
    prediction_service_pb2_grpc,
)

from kseg.serving.cpp_session import CppSession, SessionError

MAX_WARMUP_RECORDS = 1000
_CODES = {code.value[0]: code for code in grpc.StatusCode}
_HTTP = {3: 400, 4: 504, 5: 404, 6: 409, 7: 403, 8: 429, 9: 400, 10: 409, 11: 400, 12: 501, 13: 500, 14: 503, 16: 401}
_FIELDS = {
    types_pb2.DT_FLOAT: "float_val",
    types_pb2.DT_DOUBLE: "double_val",
    types_pb2.DT_INT32: "int_val",
    types_pb2.DT_UINT8: "int_val",
    types_pb2.DT_INT64: "int64_val",
    types_pb2.DT_BOOL: "bool_val",
    types_pb2.DT_STRING: "string_val",
}
_PATH = re.compile(
    r"/v1/models/([^/:]+)(?:/versions/(\d+)|/labels/([A-Za-z0-9_]+))?(?:/(metadata))?(?::(predict|classify|regress))?$"
)


class Models:
    """Every version below a base path, answering PredictRequests.

    Args:
      base_path: folder of version folders.
      name: of the model.
      labels: {label: version}.
      tensor_content: as --enable_serialization_as_tensor_content.
      versions: those to load; () for all, None for none yet.
      warm_up: replay each version's warm-up requests; one that fails fails the load, as in TF-Serving.
    """

    def __init__(self, base_path, name="kseg", labels=None, tensor_content=False, warm_up=True, versions=()):
        self.name, self.labels, self.tensor_content = name, labels or {}, tensor_content
        self.warmed = 0
        self.versions = {}
        self._base_path, self._warms_up = base_path, warm_up
        if versions is None:
            return
        for version in versions or sorted(int(v) for v in os.listdir(base_path) if v.isdigit()):
            self.load(version)

    def load(self, version):
        folder = os.path.join(self._base_path, str(version))
        session = CppSession(folder)
        if self._warms_up:
            self._warm_up(folder, session)
        self.versions[version] = session

    def close(self):
        for session in self.versions.values():
            session.close()

    def version_of(self, spec):
        choice = spec.WhichOneof("version_choice")
        if spec.name != self.name:
            raise SessionError(5, f"Servable not found for request: Latest({spec.name})")
        if choice == "version_label":
            if spec.version_label not in self.labels:
                raise SessionError(3, f"Unrecognized servable version label: {spec.version_label}")
            version = self.labels[spec.version_label]
            if version not in self.versions:
                raise SessionError(5, f"Servable not found for request: Specific({spec.name}, {version})")
            return version
        if choice != "version":
            return max(self.versions)
        if spec.version.value not in self.versions:
            raise SessionError(5, f"Servable not found for request: Specific({spec.name}, {spec.version.value})")
        return spec.version.value

    def asked(self, spec):
        """The versions that a question for the model's state is about: one where a version or a label is named."""
        version = self.version_of(spec)
        return [version] if spec.WhichOneof("version_choice") else list(self.versions)

    def configure(self, model, labels_for_unavailable=False):
        """Takes a ModelConfig as ServerCore::ReloadConfig does; a refused one changes nothing."""
        wanted = tuple(model.model_version_policy.specific.versions)
        if not wanted:  # the policy `latest`
            wanted = (max(int(v) for v in os.listdir(model.base_path) if v.isdigit()),)
        labels = dict(model.version_labels)
        for label, version in labels.items():
            if version not in self.versions and not labels_for_unavailable:
                raise SessionError(
                    9,
                    f"Request to assign label {label} to version {version} of model {model.name}, which is not "
                    "currently available for inference",
                )
        self.labels = labels
        for version in set(wanted) - set(self.versions):
            self.load(version)
        for version in set(self.versions) - set(wanted):
            self.versions.pop(version).close()

    def predict(self, request, version=None, seconds=None):
        version = version or self.version_of(request.model_spec)
        return self._predict(self.versions[version], version, request, seconds)

    def _predict(self, session, version, request, seconds=None):
        name = request.model_spec.signature_name or "serving_default"
        if name not in session.signatures:
            raise SessionError(9, f'Serving signature key "{name}" not found.')
        definition = session.signatures[name]
        # Names and their number are all that the server compares; shapes and types are left to the session.
        if len(request.inputs) != len(definition.inputs) or set(request.inputs) != set(definition.inputs):
            raise SessionError(3, "input size does not match signature")
        wanted = list(request.output_filter) or list(definition.outputs)
        for output in wanted:
            if output not in definition.outputs:
                raise SessionError(3, f"output tensor alias not found in signature: {output}")
        feeds = {definition.inputs[key].name: value.SerializeToString() for key, value in request.inputs.items()}
        arrays = session.run_tensors(feeds, [definition.outputs[output].name for output in wanted], seconds)
        response = predict_pb2.PredictResponse()
        response.model_spec.name, response.model_spec.signature_name = self.name, name
        response.model_spec.version.value = version
        for output, array in zip(wanted, arrays):
            dtype = definition.outputs[output].dtype
            response.outputs[output].CopyFrom(_to_proto(array, dtype, self.tensor_content))
        return response

    def _warm_up(self, folder, session):
        path = os.path.join(folder, "assets.extra", "tf_serving_warmup_requests")
        if not os.path.exists(path):
            return
        import tensorflow as tf

        for count, record in enumerate(tf.data.TFRecordDataset(path).as_numpy_iterator(), 1):
            if count > MAX_WARMUP_RECORDS:
                raise SessionError(3, f"Number of warmup records exceeds the maximum ({MAX_WARMUP_RECORDS})")
            log = prediction_log_pb2.PredictionLog.FromString(record)
            if log.WhichOneof("log_type") != "predict_log":
                raise SessionError(12, "Unsupported log_type for warmup")
            self._predict(session, 0, log.predict_log.request)
            self.warmed += 1


@contextlib.contextmanager
def serve(models, rest_port=0, grpc_port=0, delay_seconds=0.0, rest_seconds=30.0):
    """Runs both servers on this machine: yields (gRPC address, REST address) as serving.Client takes them."""
    options = [("grpc.max_receive_message_length", 2**31 - 1), ("grpc.max_send_message_length", 2**31 - 1)]
    grpc_server = grpc.server(futures.ThreadPoolExecutor(4), options=options)
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(_Prediction(models, delay_seconds), grpc_server)
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(_Status(models), grpc_server)
    grpc_port = grpc_server.add_insecure_port(f"127.0.0.1:{grpc_port}")
    grpc_server.start()
    rest_server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", rest_port), _rest_handler(models, delay_seconds, rest_seconds)
    )
    thread = threading.Thread(target=rest_server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"grpc://127.0.0.1:{grpc_port}", f"http://127.0.0.1:{rest_server.server_address[1]}"
    finally:
        rest_server.shutdown()
        rest_server.server_close()
        grpc_server.stop(None).wait()
        thread.join()


class _Prediction(prediction_service_pb2_grpc.PredictionServiceServicer):
    def __init__(self, models, delay_seconds):
        self._models, self._delay_seconds = models, delay_seconds

    def Predict(self, request, context):
        time.sleep(self._delay_seconds)
        try:
            return self._models.predict(request, seconds=context.time_remaining())
        except SessionError as error:
            context.abort(_CODES[error.code], error.message)

    def GetModelMetadata(self, request, context):
        try:
            version = self._models.version_of(request.model_spec)
        except SessionError as error:
            context.abort(_CODES[error.code], error.message)
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        response.model_spec.name, response.model_spec.version.value = self._models.name, version
        signatures = get_model_metadata_pb2.SignatureDefMap()
        for key, definition in self._models.versions[version].signatures.items():
            signatures.signature_def[key].CopyFrom(definition)
        response.metadata["signature_def"].Pack(signatures)
        return response


class _Status(model_service_pb2_grpc.ModelServiceServicer):
    def __init__(self, models):
        self._models = models

    def GetModelStatus(self, request, context):
        try:
            versions = self._models.asked(request.model_spec)
        except SessionError as error:
            context.abort(_CODES[error.code], error.message)
        response = get_model_status_pb2.GetModelStatusResponse()
        for version in versions:
            response.model_version_status.add(version=version, state=get_model_status_pb2.ModelVersionStatus.AVAILABLE)
        return response


def _rest_handler(models, delay_seconds, rest_seconds):
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *unused):
            pass

        def do_OPTIONS(self):
            self._answer(200, b"")

        def do_GET(self):
            if self.path == "/monitoring/prometheus/metrics":
                self._answer(200, b"# tensorflow's metrics would be here")
            else:
                self._handle(None)

        def do_POST(self):
            self._handle(self.rfile.read(int(self.headers["Content-Length"])))

        def _handle(self, body):
            time.sleep(delay_seconds)
            try:
                code, answer = 200, self._respond(body)
            except SessionError as error:
                code, answer = _HTTP.get(error.code, 500), {"error": error.message}
            self._answer(code, json.dumps(answer, separators=(", ", ": ")).encode())

        def _respond(self, body):
            match = _PATH.match(self.path)
            if not match or (match[5] is None) != (body is None):
                raise SessionError(3, f"Malformed request: {self.command} {self.path}")
            request = predict_pb2.PredictRequest()
            request.model_spec.name = match[1]
            if match[2]:
                request.model_spec.version.value = int(match[2])
            if match[3]:
                request.model_spec.version_label = match[3]
            version = models.version_of(request.model_spec)
            if body is None:
                return {
                    "model_version_status": [
                        {"version": str(v), "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
                        for v in models.asked(request.model_spec)
                    ]
                }
            by_row = _parse_json(body, models.versions[version].signatures, request)
            return _to_json(models.predict(request, version, rest_seconds), by_row)

        def _answer(self, code, contents):
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Access-Control-Allow-Origin", "*")  # as --rest_api_enable_cors_support
            self.send_header("Access-Control-Allow-Headers", "*")
            self.send_header("Content-Length", str(len(contents)))
            self.end_headers()
            self.wfile.write(contents)

    return Handler


def _to_proto(array, dtype, tensor_content):
    proto = tensor_pb2.TensorProto(dtype=dtype, tensor_shape=_shape(array.shape))
    if tensor_content and dtype != types_pb2.DT_STRING:
        proto.tensor_content = array.tobytes()
    else:
        getattr(proto, _FIELDS[dtype]).extend(array.ravel().tolist())
    return proto


def _shape(sizes):
    return tensor_shape_pb2.TensorShapeProto(dim=[tensor_shape_pb2.TensorShapeProto.Dim(size=s) for s in sizes])


# The rules of json_tensor.cc. ----------------------------------------------------------------------------------------


def _parse_json(body, signatures, request):
    """Fills the request's inputs; returns whether the answer is by row ("instances") or by column ("inputs")."""
    try:
        document = json.loads(body)
    except ValueError as error:
        raise SessionError(3, f"JSON Parse error: {error}") from None
    if not isinstance(document, dict):
        raise SessionError(3, "JSON Value: is not object")
    request.model_spec.signature_name = document.get("signature_name", "")
    name = document.get("signature_name") or "serving_default"
    if name not in signatures:
        raise SessionError(3, f'Serving signature name: "{name}" not found in signature def')
    inputs = signatures[name].inputs
    if ("instances" in document) == ("inputs" in document):
        raise SessionError(3, "Not formatted correctly expecting exactly one of 'inputs' or 'instances'")
    if "inputs" in document:
        columns = document["inputs"]
        if not _is_named(columns):
            columns = {next(iter(inputs)): columns}
        for key in inputs:
            if key not in columns:
                raise SessionError(3, f"Missing named input: {key} in 'inputs' object.")
            request.inputs[key].CopyFrom(_json_tensor(columns[key], inputs[key].dtype))
        return False
    rows = document["instances"]
    if not isinstance(rows, list) or not rows:
        raise SessionError(3, "No values in 'instances' array")
    values = {}
    for i, row in enumerate(rows):
        if _is_named(row) != _is_named(rows[0]):
            raise SessionError(3, f"Expecting object but got list at item {i} of input list")
        row = row if _is_named(row) else {next(iter(inputs)): row}
        if set(row) != set(inputs):
            raise SessionError(3, f"Failed to process element: {i}: keys must be equal to: {','.join(inputs)}")
        for key, value in row.items():
            shape, flat = _flatten(value, inputs[key].dtype)
            if key in values and values[key][0] != shape:
                raise SessionError(3, f"Failed to process element: {i}: Expecting tensor size: but got: {len(flat)}")
            values.setdefault(key, (shape, []))[1].extend(flat)
    for key, (shape, flat) in values.items():
        proto = tensor_pb2.TensorProto(dtype=inputs[key].dtype, tensor_shape=_shape([len(rows), *shape]))
        getattr(proto, _FIELDS[inputs[key].dtype]).extend(flat)
        request.inputs[key].CopyFrom(proto)
    return True


def _is_named(value):
    return isinstance(value, dict) and set(value) != {"b64"}


def _json_tensor(value, dtype):
    shape, flat = _flatten(value, dtype)
    proto = tensor_pb2.TensorProto(dtype=dtype, tensor_shape=_shape(shape))
    getattr(proto, _FIELDS[dtype]).extend(flat)
    return proto


def _flatten(value, dtype):
    shape, probe = [], value
    while isinstance(probe, list):
        shape.append(len(probe))
        probe = probe[0] if probe else None
    flat = []

    def walk(node, level):
        if not isinstance(node, list):
            if level != len(shape):
                raise SessionError(3, "found at incorrect level in the JSON DOM")
            flat.append(_leaf(node, dtype))
            return
        if level >= len(shape) or len(node) != shape[level]:
            raise SessionError(3, f"Encountered list at unexpected size: {len(node)} at level: {level}")
        for child in node:
            walk(child, level + 1)

    walk(value, 0)
    return shape, flat


def _leaf(value, dtype):
    if isinstance(value, dict):
        if dtype != types_pb2.DT_STRING or set(value) != {"b64"} or not isinstance(value["b64"], str):
            raise SessionError(3, "JSON Value: Type: Object is not of expected type")
        try:
            return base64.b64decode(value["b64"], validate=True)
        except ValueError:
            raise SessionError(3, "Unable to base64 decode") from None
    if dtype == types_pb2.DT_STRING:
        if not isinstance(value, str):
            raise SessionError(3, f"JSON Value: {value} Type: Number is not of expected type: string")
        return value.encode()
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise SessionError(3, f"JSON Value: {value} is not of expected type")
    if dtype != types_pb2.DT_FLOAT and not isinstance(value, int):
        raise SessionError(3, f"JSON Value: {value} Type: Number is not of expected type")
    return value


def _to_json(response, by_row):
    columns = {}
    for name, proto in response.outputs.items():
        values = list(getattr(proto, _FIELDS[proto.dtype]))
        if proto.tensor_content:
            values = np.frombuffer(proto.tensor_content, np.uint8).tolist()
        if proto.dtype == types_pb2.DT_STRING:
            # Bytes are base64 only where the output's name ends in _bytes.
            coded = name.endswith("_bytes")
            values = [{"b64": base64.b64encode(v).decode()} if coded else v.decode() for v in values]
        array = np.empty(len(values), dtype=object)
        array[:] = values
        columns[name] = array.reshape([dim.size for dim in proto.tensor_shape.dim]).tolist()
    alone = len(columns) == 1
    if not by_row:
        return {"outputs": next(iter(columns.values())) if alone else columns}
    counts = {name: len(c) if isinstance(c, list) else None for name, c in columns.items()}
    if None in counts.values() or len(set(counts.values())) != 1:
        raise SessionError(3, f"Tensors have inconsistent batch sizes: {counts}")
    if alone:
        return {"predictions": next(iter(columns.values()))}
    return {"predictions": [dict(zip(columns, row)) for row in zip(*columns.values())]}


def _main():
    from absl import app, flags
    from google.protobuf import text_format
    from tensorflow_serving.config import model_server_config_pb2

    config_file = flags.DEFINE_string("model_config_file", None, "As the server's.", required=True)
    rest_port = flags.DEFINE_integer("rest_api_port", 8501, "")
    grpc_port = flags.DEFINE_integer("port", 8500, "")
    rest_milliseconds = flags.DEFINE_integer("rest_api_timeout_in_ms", 30000, "As the server's.")
    for name in ("monitoring_config_file", "model_config_file_poll_wait_seconds"):
        flags.DEFINE_string(name, "", "Accepted, without effect.")
    labels_for_unavailable = flags.DEFINE_bool("allow_version_labels_for_unavailable_models", False, "As the server's.")
    for name in ("rest_api_enable_cors_support", "enable_serialization_as_tensor_content", "enable_batching"):
        flags.DEFINE_bool(name, False, "Accepted, without effect.")

    def read():
        with open(config_file.value) as file:
            config = text_format.Parse(file.read(), model_server_config_pb2.ModelServerConfig())
        (model,) = config.model_config_list.config
        return model

    def main(argv):
        del argv
        model = read()
        models = Models(model.base_path, model.name, versions=None)
        try:
            models.configure(model, labels_for_unavailable.value)
        except SessionError as error:
            sys.exit(f"Failed to start server. Error: {_CODES[error.code].name}: {error.message}")
        print(f"stand-in, not TF-Serving: {models.warmed} warmup requests run", flush=True)
        with serve(models, rest_port.value, grpc_port.value, rest_seconds=rest_milliseconds.value / 1000):
            while True:
                time.sleep(0.3)
                try:
                    models.configure(read(), labels_for_unavailable.value)
                except (text_format.ParseError, ValueError):  # half written
                    continue
                except SessionError as error:  # the old configuration stays
                    print(f"ReloadConfig: {error.message}", flush=True)

    app.run(main)


if __name__ == "__main__":
    _main()
