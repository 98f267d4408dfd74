"""What it means when a request fails on its way: gRPC's name of the status, a sentence, and whether waiting may help.

A proxy, a gateway or a wrong port answers in HTTP, whose status says the same over REST and inside gRPC's messages.
"""

import http
import re
import urllib.parse

# HTTP status: (gRPC's name of it, what it means where TF-Serving itself does not say). TF-Serving answers 400, 404,
# 429, 500, 501, 503 and 504 with a sentence of its own; the others come from what stands before it.
_HTTP = {
    400: ("INVALID_ARGUMENT", "what answers there does not understand the request; is it the model server?"),
    401: ("UNAUTHENTICATED", "it wants credentials, or others; give them with KSEG_TOKEN or --header"),
    403: ("PERMISSION_DENIED", "these credentials, or requests from here, are not allowed"),
    404: ("NOT_FOUND", "nothing is served under this path; is the address right, its prefix included?"),
    405: ("UNIMPLEMENTED", "what answers there takes no such request; is it the model server, and the prefix right?"),
    407: ("UNAUTHENTICATED", "the proxy on the way wants credentials"),
    408: ("DEADLINE_EXCEEDED", "the request took too long to arrive"),
    413: ("RESOURCE_EXHAUSTED", "the request is larger than what stands before the model server lets through (nginx: "
          "client_max_body_size); send smaller pictures or raise it"),
    429: ("RESOURCE_EXHAUSTED", "too many requests; lower --parallel"),
    500: ("INTERNAL", "the server failed"),
    501: ("UNIMPLEMENTED", "the server does not know this request"),
    502: ("UNAVAILABLE", "the proxy does not reach the model server"),
    503: ("UNAVAILABLE", "the model server is not ready"),
    504: ("DEADLINE_EXCEEDED", "the proxy waited too long for the model server"),
}  # fmt: skip
_OWN = (400, 404, 429, 500, 501, 503, 504)
_MOST_SHOWN = 500  # characters of what a server says


class StatusError(Exception):
    """A request that failed.

    Args:
      code: gRPC's name of the status.
      message: one sentence.
      may_pass: whether the same request may succeed a little later; None = where the code is UNAVAILABLE.
    """

    def __init__(self, code, message, may_pass=None):
        super().__init__(message)
        self.code, self.message = code, message
        self.may_pass = code == "UNAVAILABLE" if may_pass is None else may_pass


def of_http(number, said=""):
    """The StatusError of an HTTP status; `said` is the text of an answer in TF-Serving's form, "" for another one."""
    code, meaning = _HTTP.get(number, ("UNKNOWN", "this is no answer of a model server"))
    said = said.strip()
    if said and number in _OWN:
        return StatusError(code, said)
    try:
        phrase = f" {http.HTTPStatus(number).phrase}"
    except ValueError:
        phrase = ""
    return StatusError(code, f"HTTP {number}{phrase}: {meaning}" + (f" ({said.splitlines()[0][:200]})" if said else ""))


def redirected(number, location):
    """The StatusError of an answer that sends elsewhere; `location` is the absolute URL, which the request is not sent
    to: a browser would repeat it without its body."""
    try:
        parts = urllib.parse.urlsplit(re.sub(r"/v1/models/.*", "", location, flags=re.DOTALL))
    except ValueError:
        parts = urllib.parse.urlsplit("")
    base = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    # Behind another @ stands the rest of a password that was written with a slash.
    hint = f"; use {base}" if parts.netloc and "@" not in base else ""
    return StatusError("FAILED_PRECONDITION", f"HTTP {number}: it sends requests to another address{hint}")


def without_password(address):
    """An address that shows neither user nor password, however the password is written, and without a scheme too."""
    return re.sub(r"^([\w+.-]+://|(?:grpcs?|https?):)?.*@", r"\1", address, flags=re.DOTALL)


def shown(text):
    """What a server says as one line for a terminal: no control characters, and not endless."""
    line = (text.strip() or "no message").splitlines()[0]
    line = "".join(character if character.isprintable() else " " for character in line)
    return line if len(line) <= _MOST_SHOWN else f"{line[:_MOST_SHOWN]}..."


def unknown_name(host, reason):
    return StatusError("UNAVAILABLE", f"the name {host} cannot be resolved ({reason})", may_pass=False)


def untrusted(reason):
    """The server's certificate was refused here."""
    hint = "" if "ostname" in reason or "not valid for" in reason else "; --ca_file names the authority to trust"
    return StatusError("UNAVAILABLE", f"TLS: its certificate is not accepted ({reason.rstrip('.')}){hint}", False)


def no_tls(reason, plain):
    """The connection could not be encrypted; `plain` is the scheme for a server without TLS."""
    words = reason.upper().replace(" ", "_")
    if "WRONG_VERSION" in words or "RECORD_LAYER" in words or "HTTP_REQUEST" in words:
        reason = f"it does not speak TLS on this port; use {plain}:// or another port"
    elif "CERTIFICATE_REQUIRED" in words or "HANDSHAKE_FAILURE" in words:
        reason = f"{reason}; it may want a client certificate, --client_cert"
    elif "UNKNOWN_CA" in words or "BAD_CERTIFICATE" in words or "CERTIFICATE_UNKNOWN" in words:
        reason = f"{reason}; it does not accept the client certificate"
    return StatusError("UNAVAILABLE", f"TLS: {reason}", may_pass=False)
