"""Where a model server is, and what goes with every request to it: headers, and the certificates of TLS.

What is shown of an address has no password.
"""

import base64
import dataclasses
import os
import re
import ssl
import urllib.parse

from kseg.serving import status

_EXPECTED = "expected grpc://HOST:8500 or http://HOST:8501"
_MOST_PATH_BYTES = 107  # of a UNIX socket: sockaddr_un
_PORTS = {"grpc": 8500, "grpcs": 443, "http": 80, "https": 443}
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110: a header's name


@dataclasses.dataclass(frozen=True)
class Address:
    """A parsed address.

    Attributes:
      scheme: "grpc", "grpcs", "http" or "https".
      host, port: str and int; "" and 0 for a socket.
      socket: path of a UNIX socket, "" for none.
      prefix: of every path (REST), "" or "/like/this".
      headers: ((name, value), ...) sent with every request.
      ca_file, client_cert, client_key: paths of PEM files, "" for none.
      shown: the address for messages.
    """

    scheme: str
    host: str
    port: int
    socket: str
    prefix: str
    headers: tuple
    ca_file: str
    client_cert: str
    client_key: str
    shown: str

    @property
    def tls(self):
        return self.scheme in ("grpcs", "https")

    @property
    def authority(self):
        """HOST:PORT."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def tls_context(self):
        """ssl.SSLContext with the files; it also finds out whether they can be used.

        Raises:
          ValueError: in one line, if a file cannot.
        """
        for flag, path in (("ca_file", self.ca_file), ("client_cert", self.client_cert)):
            if path and not os.path.isfile(path):
                raise ValueError(f"{flag} {path}: there is no such file.")
        try:
            context = ssl.create_default_context(cafile=self.ca_file or None)
        except OSError as error:
            raise ValueError(f"ca_file {self.ca_file} has no certificates in PEM format ({_reason(error)}).") from None
        if self.client_cert:
            try:
                # A key that is encrypted is refused instead of a password being asked for on the terminal.
                context.load_cert_chain(self.client_cert, self.client_key or None, password="")
            except OSError as error:
                files = f"{self.client_cert} with key {self.client_key or self.client_cert}"
                raise ValueError(
                    f"client_cert {files} cannot be used ({_reason(error)}); expected PEM files that belong together, "
                    "the key without a password."
                ) from None
        return context


def parse(text, headers=None, token="", ca_file="", client_cert="", client_key=""):
    """An Address.

    Args:
      text: grpc://HOST[:PORT], grpcs://..., http://HOST[:PORT][/PREFIX], https://...; unix:PATH is gRPC over a UNIX
        socket, http+unix:PATH is REST over one. USER:PASSWORD@ before HOST is sent as basic authentication.
      headers: {name: value} to send; they come before what the other arguments say.
      token: sent as "Authorization: Bearer TOKEN", where neither `headers` nor the address say otherwise.
      ca_file: certificates to trust instead of the system's.
      client_cert, client_key: of this client; without `client_key` the key is in `client_cert`.

    Raises:
      ValueError: in one line; it never shows a password, a token or a header's value.
    """
    headers = dict(headers or {})
    files = {"ca_file": ca_file, "client_cert": client_cert, "client_key": client_key}
    for name, value in headers.items():
        _check_header(name, value)
    scheme, colon, rest = text.partition(":")
    if scheme in ("unix", "http+unix") and colon and rest.lstrip("/"):
        path = os.path.abspath(re.sub("^///*", "/", rest))
        if len(os.fsencode(path)) > _MOST_PATH_BYTES:
            raise ValueError(f"server {scheme}:{path}: a socket's path has at most {_MOST_PATH_BYTES} bytes.")
        if any(files.values()):
            raise ValueError(f"server {scheme}:{path}: certificates go with grpcs:// and https:// addresses alone.")
        protocol = "grpc" if scheme == "unix" else "http"
        sent = _with_credentials(headers, None, token)
        return Address(protocol, "", 0, path, "", sent, "", "", "", f"{scheme}:{path}")
    shown = status.without_password(text)
    if " " in text or not text.isprintable():
        raise ValueError(f"server {shown!r}: an address has no spaces or control characters; write a space as %20.")
    try:
        parts = urllib.parse.urlsplit(text)
        known = parts.scheme in _PORTS and parts.hostname and parts.port != 0  # asking checks the port
    except ValueError:
        known = False
    if not known:
        raise ValueError(f"server {shown!r}: {_EXPECTED}.")
    if "@" in parts.path + parts.query + parts.fragment:
        raise ValueError(f"server {shown!r}: in a password, write @ / ? # as %40 %2F %3F %23.")
    prefix = parts.path.rstrip("/")
    if prefix and parts.scheme.startswith("grpc"):
        raise ValueError(f"server {shown!r}: gRPC has no prefix {prefix}; {_EXPECTED}/PREFIX.")
    if parts.query or parts.fragment:
        raise ValueError(f"server {shown!r}: {_EXPECTED}, with nothing behind the path.")
    if any(files.values()) and parts.scheme in ("grpc", "http"):
        raise ValueError(f"server {shown!r}: certificates go with grpcs:// and https:// addresses alone.")
    if client_key and not client_cert:
        raise ValueError("client_key is the key of client_cert, which is not given.")
    sent = _with_credentials(headers, parts, token)
    prefix = urllib.parse.quote(prefix, safe="/%!$&'()*+,;=:@~")
    port = parts.port or _PORTS[parts.scheme]
    return Address(parts.scheme, parts.hostname, port, "", prefix, sent, **files, shown=shown)


def parse_header(text):
    """(name, value) of "NAME: VALUE"; ValueError, without showing the value, on anything else."""
    name, colon, value = text.partition(":")
    if not colon:
        raise ValueError("header: expected NAME: VALUE, such as X-Api-Key: KEY; there is one without a colon.")
    _check_header(name.strip(), value.strip())
    return name.strip(), value.strip()


def _check_header(name, value):
    if not _TOKEN.fullmatch(name):
        raise ValueError(f"header {name!r}: this is no name of a header; expected NAME: VALUE.")
    if not (isinstance(value, str) and value.isascii() and value.isprintable()):
        raise ValueError(f"header {name}: its value has other characters than printable ASCII.")
    if name.lower() in ("content-length", "transfer-encoding", "connection", "te"):
        raise ValueError(f"header {name}: this one is the connection's own and cannot be set.")


def _with_credentials(headers, parts, token):
    if not any(name.lower() == "authorization" for name in headers):
        if parts is not None and parts.username is not None:
            pair = f"{urllib.parse.unquote(parts.username)}:{urllib.parse.unquote(parts.password or '')}"
            headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        elif token:
            if not (token.isascii() and token.isprintable() and " " not in token):
                raise ValueError("the token has other characters than printable ASCII, or spaces.")
            headers["Authorization"] = f"Bearer {token}"
    return tuple(headers.items())


def _reason(error):
    return getattr(error, "reason", None) or error.strerror or type(error).__name__
