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
      ValueError: in one line, if its certificates or the environment's proxy cannot be used.
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
            self._proxy = _parsed_proxy(f"{address.scheme.upper()}_PROXY", proxies[address.scheme])
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
        connection.auto_open = 0
        if address.socket:
            sock = _Socket(socket.AF_UNIX, socket.SOCK_STREAM)
        else:
            sock = _to_proxy(proxy, end) if proxy else _connected(address.host, address.port, end)
        sock.end = end
        try:
            if address.socket:
                sock.limit()
                sock.connect(address.socket)
            if proxy and address.tls:
                _tunnel(sock, address.authority, proxy)
            if address.tls:
                sock.limit()
                sock = self._context.wrap_socket(sock, server_hostname=address.host)
                sock.end = end
        except BaseException:
            sock.close()
            raise
        connection.sock = sock
        return connection

    def refusal(self, end):
        """The StatusError of a name that is not known, or of TLS that cannot be; None where the way is free."""
        connection, address = None, self._address
        try:
            if not address.tls:
                if not address.socket and not self._proxy:
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
        left, sock = end - time.monotonic(), None
        try:
            sock = _Socket(family, kind, protocol)  # of IPv6 there may be names and no sockets
            sock.settimeout(max(left / (len(addresses) - place), 0.001))
            sock.connect(where)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.end = end
            return sock
        except OSError:
            if sock:
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


def _parsed_proxy(variable, text):
    """The parts of a proxy's URL; ValueError in one line, without its password."""
    parts = urllib.parse.urlsplit(text if "://" in text else f"http://{text}")
    try:
        usable = parts.scheme == "http" and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        shown = status.without_password(text)
        raise ValueError(f"{variable}={shown!r}: expected http://HOST:PORT; NO_PROXY=HOST goes past a proxy.")
    return parts


def _to_proxy(proxy, end):
    where = f"the environment's proxy {proxy.hostname}:{proxy.port or 80}"
    try:
        return _connected(proxy.hostname, proxy.port or 80, end)
    except status.StatusError as error:
        raise status.StatusError(error.code, f"{where}: {error.message}", error.may_pass) from None
    except TimeoutError:
        raise
    except OSError as error:
        raise status.StatusError("UNAVAILABLE", f"cannot reach {where} ({error.strerror or error})") from None


def _proxy_headers(proxy):
    if proxy.username is None:
        return {}
    pair = f"{urllib.parse.unquote(proxy.username)}:{urllib.parse.unquote(proxy.password or '')}"
    return {"Proxy-Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}


def _tunnel(sock, authority, proxy):
    """Has the proxy connect the socket to the server."""
    headers = {"Host": authority, **_proxy_headers(proxy)}
    lines = [f"CONNECT {authority} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    sock.sendall("\r\n".join([*lines, "", ""]).encode())
    response = http.client.HTTPResponse(sock, method="CONNECT")
    where = f"the environment's proxy {proxy.hostname}:{proxy.port or 80}"
    try:
        response.begin()
    except http.client.RemoteDisconnected:
        raise status.StatusError("UNAVAILABLE", f"{where} closed the connection without an answer") from None
    except http.client.HTTPException:
        raise status.StatusError("UNAVAILABLE", f"{where} does not speak HTTP/1.1", may_pass=False) from None
    if response.status != 200:
        error = status.of_http(response.status)
        raise status.StatusError(error.code, f"{where} does not connect to it: {error.message}", error.may_pass)
