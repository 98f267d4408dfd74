"""A client of a served kseg model, over gRPC or REST, and how an image becomes a request.

Needs neither TensorFlow nor a local model. `Client` and predict.Local answer the same calls with the same bytes. What
the answers mean (classes, ids, colours, threshold) the model itself says: `about`.
"""

import base64
import copy
import io
import os
import time
import urllib.parse

import PIL.Image

from kseg.serving import messages
from kseg.serving.model import ABOUT, DETAIL, SERVING_DEFAULT, TENSOR, Detail, ServedModel, ServingError, sentence
from tfrecords import pixels

__all__ = [
    "ABOUT",
    "DETAIL",
    "SERVING_DEFAULT",
    "TENSOR",
    "Client",
    "Detail",
    "ServingError",
    "as_request_bytes",
    "is_image_name",
    "read_image",
    "sentence",
]

DEADLINE_SECONDS = 60.0
_MAX_MESSAGE_BYTES = 2**31 - 1  # gRPC's own default, 4 MiB, is less than two uint8 masks of 1024x2048
_FIRST_PAUSE_SECONDS = 0.2  # before the first retry; doubles each time
_HTTP_CODES = {
    400: "INVALID_ARGUMENT",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


class Client(ServedModel):
    """A model on a server.

    Args:
      address: "grpc://HOST:8500" or "http://HOST:8501" (grpcs and https for TLS, which a proxy provides).
      model: its name on the server.
      version: number; 0 = the highest that is served.
      label: "stable" or "canary" instead of a version.
      deadline_seconds: for one call, retries included.
      report: called with a line before a call is tried a second time.

    Calls are safe from several threads.

    Raises:
      ValueError: on another address.
    """

    def __init__(
        self, address, model="kseg", version=0, label="", deadline_seconds=DEADLINE_SECONDS, report=lambda line: None
    ):
        try:
            parts = urllib.parse.urlsplit(address)
            known = parts.scheme in _TRANSPORTS and parts.hostname and parts.port != 0  # asking checks the port
        except ValueError:
            known = False
        if not known:
            raise ValueError(f"server {address!r}: expected grpc://HOST:8500 or http://HOST:8501.")
        if version and label:
            raise ValueError("give a version or a label, not both.")
        self.address = address
        self.version = version
        self._spec = {"model": model, "version": version, "label": label}
        self._deadline_seconds = deadline_seconds
        self._report = report
        self._transport = _TRANSPORTS[parts.scheme](parts)

    def predict(self, signature, inputs):
        """Any signature: {input: list of bytes, or integers 0..255} -> {output: list of bytes or array}.

        Raises:
          ServingError: with the server's status.
          ValueError: on numbers that are no uint8, which would be cut on the way.
        """
        inputs = {name: messages.checked(value) for name, value in inputs.items()}
        return self._with_retries(lambda seconds: self._transport.predict(signature, inputs, self._spec, seconds))

    def pinned(self):
        """This client, held to the version that answers now, also where a newer one is loaded meanwhile.

        Raises:
          ServingError: where the server does not say which version that is.
        """
        if self._spec["version"]:
            return self
        clone = copy.copy(self)
        clone.version = self._with_retries(lambda seconds: self._transport.version(self._spec, seconds))
        clone._spec = {"model": self._spec["model"], "version": clone.version, "label": ""}
        return clone

    def ready(self):
        """Whether the server has the model loaded; False also where there is no server."""
        try:
            return self._with_retries(lambda seconds: self._transport.ready(self._spec, seconds), retry=False)
        except ServingError:
            return False

    def close(self):
        self._transport.close()

    def _with_retries(self, call, retry=True):
        """Repeats a call while the server is UNAVAILABLE and the deadline has not passed."""
        end = time.monotonic() + self._deadline_seconds
        pause = _FIRST_PAUSE_SECONDS
        while True:
            try:
                return call(max(end - time.monotonic(), 0.001))
            except _StatusError as error:
                if not retry or error.code != "UNAVAILABLE" or time.monotonic() + pause >= end:
                    raise ServingError(self.address, error.code, error.message) from None
            if pause == _FIRST_PAUSE_SECONDS:
                self._report(f"{self.address} is not available; trying for {self._deadline_seconds:g} s")
            time.sleep(pause)
            pause *= 2


def read_image(path, bits=0):
    """A file as request bytes.

    PNG and JPEG go as they are. A picture with an EXIF orientation is turned upright first, since TensorFlow's decoder
    ignores orientation, and other formats are converted, as conversion to records does (tfrecords/pixels.py); both
    losslessly, as PNG.

    Args:
      path: of the file.
      bits: how many of 16 bits a picture uses, as of `kseg convert-folder --bits`; 0 for all.

    Raises:
      ValueError: if Pillow cannot read the file, or nothing says how bright its pixels are.
    """
    with open(path, "rb") as file:
        contents = file.read()
    return as_request_bytes(contents, path, bits)


def as_request_bytes(contents, name="image", bits=0):
    """As `read_image`, from the bytes of a file; `name` is for the error message."""
    try:
        with PIL.Image.open(io.BytesIO(contents)) as image:
            pixels.check_depth(image, str(name), contents, bits)
            # Asking a PNG without an EXIF chunk for its EXIF would decode it whole.
            has_exif = image.format != "PNG" or "exif" in image.info
            upright = not has_exif or image.getexif().get(0x0112, 1) in (0, 1)  # orientation: 1 is upright, 0 undefined
            deep = bits and (image.mode.startswith("I") or contents[24:25] == b"\x10")
            if image.format in ("PNG", "JPEG") and upright and image.mode != "CMYK" and not deep:
                return contents
            turned = pixels.decode(contents, str(name), bits)
            buffer = io.BytesIO()
            PIL.Image.fromarray(turned).save(buffer, "PNG", compress_level=1)
            return buffer.getvalue()
    except pixels.RefusedError as error:
        raise ValueError(f"{error}.") from None
    except PIL.UnidentifiedImageError:  # its text is the address of the bytes
        raise ValueError(f"{name} is not a readable image (its format is not known).") from None
    except Exception as error:  # Pillow raises whatever its parsers meet in a damaged file, such as struct.error
        reason = (str(error) or type(error).__name__).splitlines()[0].removeprefix(f"{name} cannot be decoded: ")
        raise ValueError(f"{name} is not a readable image ({reason}).") from None


class _StatusError(Exception):
    def __init__(self, code, message):
        super().__init__(message)
        self.code = code
        self.message = message


class _Grpc:
    def __init__(self, parts):
        import grpc

        options = [
            ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
            ("grpc.max_send_message_length", _MAX_MESSAGE_BYTES),
        ]
        if parts.scheme == "grpcs":
            self._channel = grpc.secure_channel(parts.netloc, grpc.ssl_channel_credentials(), options)
        else:
            self._channel = grpc.insecure_channel(parts.netloc, options)
        self._error = grpc.RpcError
        self._predict = self._method(messages.PREDICT, messages.PredictRequest, messages.PredictResponse)
        self._status = self._method(
            messages.GET_MODEL_STATUS, messages.GetModelStatusRequest, messages.GetModelStatusResponse
        )

    def predict(self, signature, inputs, spec, seconds):
        response = self._call(self._predict, messages.predict_request(signature, inputs, **spec), seconds)
        try:
            return {name: messages.from_tensor(tensor) for name, tensor in response.outputs.items()}
        except ValueError as error:
            raise _StatusError("UNKNOWN", str(error)) from None

    def version(self, spec, seconds):
        request = messages.predict_request(ABOUT, {"query": [b""]}, **spec)
        return self._call(self._predict, request, seconds).model_spec.version.value or _no_version()

    def ready(self, spec, seconds):
        request = messages.GetModelStatusRequest(model_spec=messages.predict_request("", {}, **spec).model_spec)
        request.model_spec.signature_name = ""
        response = self._call(self._status, request, seconds)
        return any(status.state == messages.AVAILABLE for status in response.model_version_status)

    def close(self):
        self._channel.close()

    def _method(self, path, request_class, response_class):
        return self._channel.unary_unary(
            path, request_serializer=request_class.SerializeToString, response_deserializer=response_class.FromString
        )

    def _call(self, method, request, seconds):
        try:
            return method(request, timeout=seconds)
        except self._error as error:
            raise _StatusError(error.code().name, error.details() or "") from None


class _Rest:
    def __init__(self, parts):
        import requests

        self._requests = requests
        self._base = f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}/v1/models/"

    def predict(self, signature, inputs, spec, seconds):
        (name, value), *others = inputs.items()
        if others:
            raise ValueError("kseg's signatures have one input each.")
        strings = isinstance(value, list)
        rows = [{"b64": base64.b64encode(item).decode()} for item in value] if strings else value.tolist()
        body = {"signature_name": signature, "instances": [{name: row} for row in rows]}
        answer = self._request("POST", f"{self._url(spec)}:predict", "predictions", seconds, json=body)
        try:
            return {name: [_from_json(row) for row in rows] for name, rows in _columns(answer, signature).items()}
        except (KeyError, TypeError, ValueError):
            raise _StatusError("UNKNOWN", "its answer is not a kseg model's; is the model's name right?") from None

    def version(self, spec, seconds):
        answer = self._request("GET", self._url(spec), "model_version_status", seconds)
        try:
            available = [int(status["version"]) for status in answer if status["state"] == "AVAILABLE"]
        except (KeyError, TypeError, ValueError):
            available = []
        return max(available, default=0) or _no_version()

    def ready(self, spec, seconds):
        answer = self._request("GET", self._url(spec), "model_version_status", seconds)
        return any(isinstance(status, dict) and status.get("state") == "AVAILABLE" for status in answer)

    def close(self):
        pass

    def _url(self, spec):
        path = self._base + urllib.parse.quote(spec["model"], safe="")
        if spec["version"]:
            return f"{path}/versions/{spec['version']}"
        return f"{path}/labels/{spec['label']}" if spec["label"] else path

    def _request(self, method, url, key, seconds, **arguments):
        """What the answer, a JSON object, has under `key`: a list."""
        try:
            response = self._requests.request(method, url, timeout=seconds, **arguments)
        except self._requests.Timeout:
            raise _StatusError("DEADLINE_EXCEEDED", f"no answer within {seconds:.3g} s") from None
        except self._requests.RequestException as error:
            raise _StatusError("UNAVAILABLE", f"cannot reach the server ({type(error).__name__})") from None
        try:
            answer = response.json()
        except ValueError:
            answer = {"error": response.text[:200]}
        if response.status_code != 200:
            message = answer.get("error", "") if isinstance(answer, dict) else ""
            raise _StatusError(_HTTP_CODES.get(response.status_code, "UNKNOWN"), str(message))
        if not isinstance(answer, dict) or not isinstance(answer.get(key), list):
            raise _StatusError("UNKNOWN", "this is not TF-Serving's REST interface; is the port the right one?")
        return answer[key]


def _no_version():
    raise _StatusError("UNKNOWN", "it does not say which version answers; name one with version=N (--model_version).")


_TRANSPORTS = {"grpc": _Grpc, "grpcs": _Grpc, "http": _Rest, "https": _Rest}
_ONLY_OUTPUT = {SERVING_DEFAULT: "mask_png_bytes", ABOUT: "about_json"}  # REST drops the name of a single output


def _columns(rows, signature):
    if rows and isinstance(rows[0], dict) and set(rows[0]) != {"b64"}:
        return {name: [row[name] for row in rows] for name in rows[0]}
    return {_ONLY_OUTPUT.get(signature, "output"): rows}


def _from_json(value):
    if isinstance(value, dict):
        return base64.b64decode(value["b64"])
    return value.encode() if isinstance(value, str) else value


def is_image_name(name):
    """Whether a file in a folder counts as a picture, by its name."""
    return os.path.splitext(name)[1].lower() in pixels.SUFFIXES


def rgb(image):
    """uint8 [H, W, 3] of a Pillow image: what TensorFlow's decoder makes of it, 16 bits cut to their upper byte."""
    return pixels.rgb(image)
