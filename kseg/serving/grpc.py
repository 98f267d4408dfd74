"""TF-Serving's protocol over gRPC."""

import os
import re
import time

import grpc

from kseg.serving import messages, model, sockets, status

_MOST_BYTES = 2**31 - 1  # gRPC's own default, 4 MiB, is less than two uint8 masks of 1024x2048
_OPTIONS = [
    ("grpc.max_receive_message_length", _MOST_BYTES),
    ("grpc.max_send_message_length", _MOST_BYTES),
    # Over all addresses that a name has, such as the pods of a headless service; the default keeps to the first.
    ("grpc.lb_policy_name", "round_robin"),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 5000),
]
_PROXIES = {name for word in ("grpc", "https", "http") for name in (f"{word}_proxy", f"{word}_proxy".upper())}


class Grpc:
    """One channel.

    Args:
      address: address.Address.

    Raises:
      ValueError: in one line, if its certificates or headers cannot be used.
    """

    def __init__(self, address):
        self._metadata = [(name.lower(), value) for name, value in address.headers]
        for name, _ in self._metadata:
            if name.endswith("-bin") or name.startswith("grpc-") or name == "host":
                raise ValueError(f"header {name}: gRPC has other uses for this name; give it over REST.")
            if not re.fullmatch(r"[a-z0-9_.-]+", name):
                raise ValueError(f"header {name}: names in gRPC have letters, digits, _ . and - alone; use REST.")
        if address.tls:
            address.tls_context()  # gRPC itself reports unusable files at the first call, and elsewhere
            read = {name: _contents(getattr(address, name)) for name in ("ca_file", "client_cert", "client_key")}
            credentials = grpc.ssl_channel_credentials(
                read["ca_file"],
                (read["client_key"] or read["client_cert"]) if read["client_cert"] else None,
                read["client_cert"],
            )
            self._channel = grpc.secure_channel(_target(address), credentials, _OPTIONS)
        else:
            self._channel = grpc.insecure_channel(_target(address), _OPTIONS)
        self._address = address
        self._route = sockets.Route(address)
        self._predict = self._method(messages.PREDICT, messages.PredictRequest, messages.PredictResponse)
        self._status = self._method(
            messages.GET_MODEL_STATUS, messages.GetModelStatusRequest, messages.GetModelStatusResponse
        )

    def predict(self, signature, inputs, spec, seconds):
        response = self._call(self._predict, messages.predict_request(signature, inputs, **spec), seconds)
        try:
            return {name: messages.from_tensor(tensor) for name, tensor in response.outputs.items()}
        except ValueError as error:
            raise status.StatusError("UNKNOWN", str(error)) from None

    def version(self, spec, seconds):
        """The version that answers; 0 where the server does not say."""
        request = messages.predict_request(model.ABOUT, {"query": [b""]}, **spec)
        return self._call(self._predict, request, seconds).model_spec.version.value

    def ready(self, spec, seconds):
        request = messages.GetModelStatusRequest(model_spec=messages.predict_request("", {}, **spec).model_spec)
        request.model_spec.signature_name = ""
        response = self._call(self._status, request, seconds)
        return any(entry.state == messages.AVAILABLE for entry in response.model_version_status)

    def close(self):
        self._channel.close()

    def _method(self, path, request_class, response_class):
        return self._channel.unary_unary(
            path, request_serializer=request_class.SerializeToString, response_deserializer=response_class.FromString
        )

    def _call(self, method, request, seconds):
        try:
            return method(request, timeout=seconds, metadata=self._metadata)
        except grpc.RpcError as error:
            raise self._meaning(error.code().name, error.details() or "", seconds) from None
        except ValueError:  # the channel is closed
            raise status.StatusError("CANCELLED", "the client is closed") from None

    def _meaning(self, code, details, seconds):
        """The StatusError of a failed call, with the cause where gRPC's details say little of it."""
        http_status = re.search(r"http2 header with status: (\d+)", details)
        if http_status and http_status[1].startswith("3"):
            return status.redirected(int(http_status[1]), "")
        if http_status:
            return status.of_http(int(http_status[1]))
        if code != "UNAVAILABLE":
            return status.StatusError(code, details)
        if "http1.x server" in details or "Failed parsing HTTP/2" in details:
            return status.StatusError(code, "it does not speak gRPC; is this the REST port (http://)?", False)
        # Of several addresses gRPC names the last alone, and of TLS what its library calls it: one connection more.
        refusal = None if _PROXIES & os.environ.keys() else self._route.refusal(time.monotonic() + min(seconds, 5.0))
        if refusal:
            return refusal
        untrusted = re.search(r"CERTIFICATE_VERIFY_FAILED: ([^:;\]\n]+)", details)
        if untrusted:  # by gRPC's own list of authorities, not by the system's
            return status.untrusted(untrusted[1])
        details = re.sub(r"^[A-Z_]+: ", "", details.rpartition("last error: ")[2])
        if "Socket closed" in details:
            hint = "it may want a client certificate, --client_cert" if self._address.tls else "if TLS, use grpcs://"
            details += "" if self._address.client_cert else f"; {hint}"
        return status.StatusError(code, details)


def _target(address):
    return f"unix:{address.socket}" if address.socket else address.authority


def _contents(path):
    if not path:
        return None
    with open(path, "rb") as file:
        return file.read()
