"""A client of a served kseg model, over gRPC or REST.

Needs neither TensorFlow nor a local model. `Client` and local.Local answer the same calls with the same bytes. What
the answers mean (classes, ids, colours, threshold) the model itself says: `about`. The protocols are rest.py's and
grpc.py's; addresses, headers and certificates address.py's; how a picture becomes a request is images.py's.
"""

import copy
import os
import time

from kseg.serving import address as addresses
from kseg.serving import status
from kseg.serving.model import ABOUT, DETAIL, SERVING_DEFAULT, TENSOR, Detail, ServedModel, ServingError, sentence

__all__ = [
    "ABOUT",
    "DETAIL",
    "SERVING_DEFAULT",
    "TENSOR",
    "Client",
    "Detail",
    "ServingError",
    "sentence",
]

DEADLINE_SECONDS = 60.0
_FIRST_PAUSE_SECONDS = 0.2  # before the first retry; doubles each time


class Client(ServedModel):
    """A model on a server.

    Args:
      address: "grpc://HOST:8500" or "http://HOST:8501[/PREFIX]"; grpcs and https for TLS, which a proxy provides;
        "unix:PATH" (gRPC) and "http+unix:PATH" (REST) for UNIX sockets.
      model: its name on the server.
      version: number; 0 = the highest that is served.
      label: "stable" or "canary" instead of a version.
      deadline_seconds: for one call, from the look-up of the name to the last byte, retries included.
      report: called with a line before a call is tried a second time.
      headers: {name: value} to send with every request (gRPC: metadata).
      token: sent as "Authorization: Bearer TOKEN"; user and password in the address are sent as basic authentication.
      ca_file: PEM file of the certificates to trust, instead of the system's (REST) or gRPC's own.
      client_cert, client_key: PEM files of this client's certificate and its key; without the second it is in the
        first.

    A call is repeated while the server is UNAVAILABLE. A name that is not known, or a certificate that is not accepted,
    is told at once. Calls are safe from several threads. Connections are kept; over gRPC requests go to all addresses
    of the name in turn.

    Raises:
      ValueError: on another address, or on files or headers that cannot be used; in one line without any secret.
    """

    def __init__(
        self,
        address,
        model="kseg",
        version=0,
        label="",
        deadline_seconds=DEADLINE_SECONDS,
        report=lambda line: None,
        headers=None,
        token="",
        ca_file="",
        client_cert="",
        client_key="",
    ):
        parsed = addresses.parse(address, headers, token, ca_file, client_cert, client_key)
        if version and label:
            raise ValueError("give a version or a label, not both.")
        if not 0 <= version < 2**63:
            raise ValueError(f"version {version}: expected a number from 1, or 0 for the highest that is served.")
        self.address = parsed.shown
        self.version = version
        self._spec = {"model": model, "version": version, "label": label}
        self._deadline_seconds = deadline_seconds
        self._report = report
        self._transport = _transport(parsed)

    def _run(self, signature, inputs):
        return self._with_retries(lambda seconds: self._transport.predict(signature, inputs, self._spec, seconds))

    def pinned(self):
        """This client, held to the version that answers now, also where a newer one is loaded meanwhile.

        Raises:
          ServingError: where the server does not say which version that is.
        """
        if self._spec["version"]:
            return self
        version = self._with_retries(lambda seconds: self._transport.version(self._spec, seconds))
        if not version:
            message = "it does not say which version answers; name one with version=N (--model_version)."
            raise ServingError(self.address, "UNKNOWN", message)
        clone = copy.copy(self)
        clone.version = version
        clone._spec = {"model": self._spec["model"], "version": version, "label": ""}
        return clone

    def ready(self):
        """Whether the server has the model loaded; False also where there is no server."""
        try:
            return self._with_retries(lambda seconds: self._transport.ready(self._spec, seconds), retry=False)
        except ServingError:
            return False

    def close(self):
        """Ends its connections; a call that is under way in another thread fails."""
        self._transport.close()

    def _with_retries(self, call, retry=True):
        """Repeats a call while the server is UNAVAILABLE and the deadline has not passed."""
        end = time.monotonic() + self._deadline_seconds
        pause, earlier = _FIRST_PAUSE_SECONDS, None
        while True:
            try:
                return call(max(end - time.monotonic(), 0.001))
            except status.StatusError as error:
                if earlier and error.code == "DEADLINE_EXCEEDED":  # of the rest of the time: the cause is the earlier
                    error = earlier
                if not retry or not error.may_pass or time.monotonic() + pause >= end:
                    raise ServingError(self.address, error.code, error.message) from None
                earlier = error
            if pause == _FIRST_PAUSE_SECONDS:
                self._report(f"{self.address} is not available; trying for {self._deadline_seconds:g} s")
            time.sleep(pause)
            pause *= 2


def _transport(parsed):
    if parsed.scheme.startswith("grpc"):
        # gRPC's library writes what goes wrong on stderr by itself, beside the error that it raises.
        os.environ.setdefault("GRPC_VERBOSITY", "NONE")
        from kseg.serving import grpc

        return grpc.Grpc(parsed)
    from kseg.serving import rest

    return rest.Rest(parsed)
