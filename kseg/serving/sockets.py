"""Connections for HTTP whose every step ends by one time: looking up the name, connecting, TLS, sending, reading."""

import base64
import http.client
import queue
import socket
import ssl
import threading
import time
import urllib.parse
import urllib.request

from kseg.serving import status


class Route:
    """The way to a server: direct, through a UNIX socket, or through the proxy that the environment names.

    HTTP_PROXY, HTTPS_PROXY and NO_PROXY are followed as curl does.

    Args:
      address: address.Address; with "grpc" and "grpcs" connections are good for `refusal` alone.

    Raises:
      ValueError: in one line, if its certificates cannot be used.
    """

    def __init__(self, address):
        self._address = address
        self._context = None
        if address.tls:
            self._context = address.tls_context()
            self._context.sslsocket_class = _TlsSocket
            if address.scheme == "grpcs":
                self._context.set_alpn_protocols(["h2"])
        self._proxy = None
        proxies = {} if address.socket else urllib.request.getproxies()
        if address.scheme in proxies and not urllib.request.proxy_bypass(address.host):
            self._proxy = urllib.parse.urlsplit(proxies[address.scheme])
            if not self._proxy.hostname:
                self._proxy = urllib.parse.urlsplit(f"http://{proxies[address.scheme]}")
        through = self._proxy and not address.tls
        self.headers = _proxy_headers(self._proxy) if through else {}  # to send with every request

    def connect(self, end):
        """An open http.client.HTTPConnection; its `sock.end` may be set anew for each request.

        Args:
          end: of time.monotonic().

        Raises:
          OSError, status.StatusError: if there is none by then.
        """
        address, proxy = self._address, self._proxy
        connection = http.client.HTTPConnection(address.host or "localhost", address.port or None)
        connection.default_port = 443 if address.tls else 80
        if address.socket:
            sock = _Socket(socket.AF_UNIX, socket.SOCK_STREAM)
            sock.end = end
            sock.limit()
            sock.connect(address.socket)
        else:
            host, port = (proxy.hostname, proxy.port or 80) if proxy else (address.host, address.port)
            sock = _connected(host, port, end)
        if proxy and address.tls:
            _tunnel(sock, address.authority, _proxy_headers(proxy))
        if address.tls:
            sock.limit()
            sock = self._context.wrap_socket(sock, server_hostname=address.host)
            sock.end = end
        connection.sock = sock
        connection.auto_open = 0
        return connection

    def refusal(self, end):
        """The StatusError of a name that is not known, or of TLS that cannot be; None where the way is free."""
        connection, address = None, self._address
        try:
            if not address.tls:
                if not address.socket:
                    _resolved(address.host, address.port, end)
                return None
            connection = self.connect(end)
            connection.sock.end = min(end, time.monotonic() + 1)
            connection.sock.recv_into(bytearray(1))  # with TLS 1.3 a certificate is refused when the handshake is over
        except status.StatusError as error:
            return error
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
            return None
        except ssl.SSLError as error:
            return tls_meaning(error, address)
        except OSError:
            return None
        finally:
            if connection:
                connection.close()

    def target(self, path):
        """What a request asks for: a path, or a whole URL where a proxy is asked."""
        return f"http://{self._address.authority}{path}" if self._proxy and not self._address.tls else path


def tls_meaning(error, address):
    """The StatusError of an ssl.SSLError."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return status.untrusted(error.verify_message)
    return status.no_tls(error.reason or str(error), address.scheme.rstrip("s"))


def end(sock):
    """Ends a connection, waking the thread that waits for it."""
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except (OSError, AttributeError):
        pass


class _Timed:
    """Each operation takes the time that is left until `end`."""

    end = float("inf")

    def limit(self):
        left = self.end - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        self.settimeout(left if left < 1e6 else None)

    def recv_into(self, *arguments, **named):
        self.limit()
        return super().recv_into(*arguments, **named)

    def send(self, *arguments, **named):
        self.limit()
        return super().send(*arguments, **named)

    def sendall(self, *arguments, **named):
        self.limit()
        return super().sendall(*arguments, **named)


class _Socket(_Timed, socket.socket):
    pass


class _TlsSocket(_Timed, ssl.SSLSocket):  # whose sendall calls send again and again
    pass


def _connected(host, port, end):
    """A socket to the first address of a name that answers; each gets its share of the time."""
    addresses = _resolved(host, port, end)
    for place, (family, kind, protocol, _, where) in enumerate(addresses):
        left = end - time.monotonic()
        sock = _Socket(family, kind, protocol)
        try:
            sock.settimeout(max(left / (len(addresses) - place), 0.001))
            sock.connect(where)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.end = end
            return sock
        except OSError:
            sock.close()
            if place == len(addresses) - 1:
                raise
    raise status.unknown_name(host, "it has no address")


def _resolved(host, port, end):
    """socket.getaddrinfo, which knows no time limit, in a thread that may be left behind."""
    answers = queue.SimpleQueue()

    def ask():
        try:
            answers.put(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            answers.put(error)

    threading.Thread(target=ask, daemon=True).start()
    try:
        answer = answers.get(timeout=max(end - time.monotonic(), 0.001))
    except queue.Empty:
        raise TimeoutError(f"looking up {host} timed out") from None
    if isinstance(answer, Exception):
        raise status.unknown_name(host, getattr(answer, "strerror", None) or "no name of a host")
    return answer


def _proxy_headers(proxy):
    if proxy.username is None:
        return {}
    pair = f"{urllib.parse.unquote(proxy.username)}:{urllib.parse.unquote(proxy.password or '')}"
    return {"Proxy-Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}


def _tunnel(sock, authority, headers):
    """Has the proxy connect the socket to the server."""
    lines = [f"CONNECT {authority} HTTP/1.1", f"Host: {authority}", *(f"{n}: {v}" for n, v in headers.items())]
    sock.sendall("\r\n".join([*lines, "", ""]).encode())
    response = http.client.HTTPResponse(sock, method="CONNECT")
    response.begin()
    if response.status != 200:
        raise status.of_http(response.status)
