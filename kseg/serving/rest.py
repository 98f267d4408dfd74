"""TF-Serving's protocol over HTTP: JSON with images in base64.

Python's own HTTP client, since requests and urllib3 limit the time of each read alone: an answer that trickles would
take for ever. A time limit here is of the whole request, from the name to the last byte.
"""

import base64
import http.client
import json
import ssl
import threading
import time
import urllib.parse

from kseg.serving import model, sockets, status

_ONLY_OUTPUT = {model.SERVING_DEFAULT: "mask_png_bytes", model.ABOUT: "about_json"}  # REST drops the name of one output
# The other side has ended the connection; http.client.RemoteDisconnected is one of the first.
_GONE = (ConnectionResetError, BrokenPipeError, ConnectionAbortedError, ssl.SSLEOFError, ssl.SSLZeroReturnError)
_MOST_BYTES = 2**31 - 1  # of an answer, as over gRPC
_CLOSED = "it closed the connection without an answer"


class Rest:
    """Connections that are kept: one, or as many as there are threads that ask at once.

    Args:
      address: address.Address.

    Raises:
      ValueError: in one line, if its certificates cannot be used.
    """

    def __init__(self, address):
        self._route = sockets.Route(address)
        self._address = address
        self._prefix = address.prefix + "/v1/models/"
        self._headers = {"Content-Type": "application/json", **self._route.headers, **dict(address.headers)}
        self._hint = "" if address.tls or address.socket else "; if it wants TLS, use https://"
        self._lock = threading.Lock()
        self._idle, self._all, self._closed = [], set(), False

    def predict(self, signature, inputs, spec, seconds):
        (name, value), *others = inputs.items()
        if others:
            raise ValueError("kseg's signatures have one input each.")
        strings = isinstance(value, list)
        if not strings and not value.ndim:
            raise ValueError("REST sends rows: expected an array of images, got a single number.")
        rows = [{"b64": base64.b64encode(item).decode()} for item in value] if strings else value.tolist()
        body = {"signature_name": signature, "instances": [{name: row} for row in rows]}
        answer = self._request("POST", f"{self._path(spec)}:predict", "predictions", seconds, json.dumps(body).encode())
        try:
            return {name: [_from_json(row) for row in rows] for name, rows in _columns(answer, signature).items()}
        except (KeyError, TypeError, ValueError):
            raise status.StatusError(
                "UNKNOWN", "its answer is not a kseg model's; is the model's name right?"
            ) from None

    def version(self, spec, seconds):
        """The highest version that is available; 0 where the server does not say."""
        answer = self._request("GET", self._path(spec), "model_version_status", seconds)
        try:
            available = [int(entry["version"]) for entry in answer if entry["state"] == "AVAILABLE"]
        except (KeyError, TypeError, ValueError):
            available = []
        return max(available, default=0)

    def ready(self, spec, seconds):
        answer = self._request("GET", self._path(spec), "model_version_status", seconds)
        return any(isinstance(entry, dict) and entry.get("state") == "AVAILABLE" for entry in answer)

    def close(self):
        """Ends the connections, those at work too."""
        with self._lock:
            self._closed = True
            for connection in self._all:
                sockets.end(connection.sock)
            self._idle, self._all = [], set()

    def _path(self, spec):
        path = self._prefix + urllib.parse.quote(spec["model"], safe="")
        if spec["version"]:
            return f"{path}/versions/{spec['version']}"
        return f"{path}/labels/{urllib.parse.quote(spec['label'], safe='')}" if spec["label"] else path

    def _request(self, method, path, key, seconds, body=None):
        """What the answer, a JSON object, has under `key`: a list."""
        response, contents = self._exchange(method, path, body, seconds)
        location = response.headers.get("Location", "")
        if 300 <= response.status < 400 and location:
            if self._address.host and location.startswith("/") and not location.startswith("//"):
                location = f"{self._address.scheme}://{self._address.authority}{location}"
            raise status.redirected(response.status, location)
        try:
            answer = json.loads(contents)
        except (ValueError, RecursionError):  # the second one of JSON that is nested too deep
            answer = None
        if response.status != 200:
            said = answer.get("error") if isinstance(answer, dict) else None
            raise status.of_http(response.status, said if isinstance(said, str) else "")
        if not isinstance(answer, dict) or not isinstance(answer.get(key), list):
            raise status.StatusError("UNKNOWN", "this is not TF-Serving's REST interface; is the port the right one?")
        return answer[key]

    def _exchange(self, method, path, body, seconds):
        """(http.client.HTTPResponse, bytes); StatusError if none comes in time."""
        end = time.monotonic() + seconds
        while True:
            with self._lock:
                connection = self._idle.pop() if self._idle else None
            kept = connection is not None
            try:
                if not kept:
                    connection = self._route.connect(end)
                    with self._lock:
                        self._all.add(connection)
                        if self._closed:
                            raise status.StatusError("CANCELLED", "the client is closed")
                connection.sock.end = end
                return self._once(connection, method, path, body)
            except _GONE:
                self._drop(connection)
                if self._closed:
                    raise status.StatusError("CANCELLED", "the client is closed") from None
                if not kept:  # else the server has ended the connection while it was idle: a new one
                    refusal = self._route.refusal(min(end, time.monotonic() + 5))  # sends nothing, so hears its alert
                    raise refusal or status.StatusError("UNAVAILABLE", _CLOSED + self._hint) from None
            except Exception as error:
                self._drop(connection)
                raise self._meaning(error, seconds) from None
            except BaseException:
                self._drop(connection)
                raise

    def _once(self, connection, method, path, body):
        try:
            connection.request(method, self._route.target(path), body, self._headers)
        except (BrokenPipeError, ConnectionResetError):
            pass  # a server that refuses a large body may answer and close before it has all of it
        response = connection.getresponse()
        if (response.length or 0) > _MOST_BYTES:
            message = f"its answer would have {response.length} bytes; expected at most {_MOST_BYTES}"
            raise status.StatusError("RESOURCE_EXHAUSTED", message)
        contents = response.read()
        with self._lock:
            if response.will_close or self._closed:
                self._all.discard(connection)
                connection.close()
            else:
                self._idle.append(connection)
        return response, contents

    def _drop(self, connection):
        if connection is not None:
            with self._lock:
                self._all.discard(connection)
            connection.close()

    def _meaning(self, error, seconds):
        if isinstance(error, TimeoutError):
            return status.StatusError("DEADLINE_EXCEEDED", f"no whole answer within {seconds:.3g} s")
        if isinstance(error, ssl.SSLError):
            return sockets.tls_meaning(error, self._address)
        if isinstance(error, http.client.IncompleteRead):
            return status.StatusError("UNAVAILABLE", "the connection ended in the middle of the answer")
        if isinstance(error, http.client.HTTPException):
            return status.StatusError("UNKNOWN", "it does not speak HTTP/1.1; is this the gRPC port (grpc://)?")
        if isinstance(error, OSError):
            return status.StatusError("UNAVAILABLE", f"cannot reach the server ({error.strerror or error})")
        return error


def _columns(rows, signature):
    if rows and isinstance(rows[0], dict) and set(rows[0]) != {"b64"}:
        return {name: [row[name] for row in rows] for name in rows[0]}
    return {_ONLY_OUTPUT.get(signature, "output"): rows}


def _from_json(value):
    if isinstance(value, dict):
        return base64.b64decode(value["b64"], validate=True)
    return value.encode() if isinstance(value, str) else value
