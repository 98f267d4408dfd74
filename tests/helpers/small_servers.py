"""Servers of one purpose for the tests of the client: HTTP answers by a function, bytes by hand, certificates."""

import contextlib
import http.server
import json
import socket
import socketserver
import ssl
import subprocess
import threading
from concurrent import futures

import grpc

from kseg.serving import messages

ABOUT = b'{"name": "small"}'
ROWS = {"predictions": ["small"]}


class Http:
    """A running HTTP/1.1 server.

    Attributes:
      port: its number.
      asked: (method, path, headers, body) of each request.
      connections: how many were opened.
    """

    def __init__(self, answer, server):
        self.asked, self.connections, self._answer, self._server = [], 0, answer, server
        self.port = server.server_address[1] if isinstance(server.server_address, tuple) else 0

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"


@contextlib.contextmanager
def http_server(answer=lambda number: (200, ROWS), tls=None, path=None, close=False):
    """Runs a server on 127.0.0.1, or on the UNIX socket `path`.

    Args:
      answer: f(number of the request, from 0) -> (status, body, {header: value}?); a dict is sent as JSON.
      tls: ssl.SSLContext.
      close: end each connection after its answer, without saying so.
    """

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self):
            super().setup()
            running.connections += 1

        def address_string(self):
            return ""

        def log_message(self, *unused):
            pass

        def _any(self):
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            running.asked.append((self.command, self.path, self.headers, body))
            code, contents, *headers = running._answer(len(running.asked) - 1)
            contents = json.dumps(contents).encode() if isinstance(contents, dict) else contents
            self.send_response(code)
            self.send_header("Content-Length", str(len(contents)))
            for name, value in (headers[0] if headers else {}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(contents)
            self.close_connection = self.close_connection or close

        do_GET = do_POST = _any

    class UnixServer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
        daemon_threads = True

    class TcpServer(http.server.ThreadingHTTPServer):
        def finish_request(self, request, client_address):
            if tls:
                request = tls.wrap_socket(request, server_side=True)
            super().finish_request(request, client_address)

        def handle_error(self, *unused):  # a client that gives up
            pass

    server = UnixServer(str(path), Handler) if path else TcpServer(("127.0.0.1", 0), Handler)
    running = Http(answer, server)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield running
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextlib.contextmanager
def raw_server(talk):
    """A server that does `talk(connection)` in a thread for each connection; yields its port."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def one(connection):
            with connection, contextlib.suppress(OSError):
                talk(connection)

        def accept():
            with contextlib.suppress(OSError):
                while True:
                    threading.Thread(target=one, args=(listening.accept()[0],), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        try:
            yield listening.getsockname()[1]
        finally:
            listening.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def grpc_server(where="127.0.0.1:0", credentials=None, before=lambda context: None):
    """A server whose Predict answers ABOUT, after `before(context)`; yields (port, metadata of each call)."""
    asked = []

    def predict(request, context):
        asked.append(dict(context.invocation_metadata()))
        before(context)
        response = messages.PredictResponse()
        response.model_spec.version.value = 7
        response.outputs["about_json"].CopyFrom(messages.to_tensor([ABOUT]))
        return response

    service, method = messages.PREDICT.strip("/").split("/")
    handler = grpc.unary_unary_rpc_method_handler(
        predict,
        request_deserializer=messages.PredictRequest.FromString,
        response_serializer=messages.PredictResponse.SerializeToString,
    )
    server = grpc.server(futures.ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(service, {method: handler})])
    port = server.add_secure_port(where, credentials) if credentials else server.add_insecure_port(where)
    server.start()
    try:
        yield port, asked
    finally:
        server.stop(None).wait()


def certificates(folder):
    """Makes ca.pem, and server.pem (for 127.0.0.1 alone) and client.pem with their .key, by the openssl command."""

    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    openssl("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-days", "365", "-subj", "/CN=test")
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1")
    for name in ("server", "client"):
        openssl("req", *key, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days",
                "365", "-extfile", "names", "-out", f"{name}.pem")  # fmt: skip
    return folder


def server_context(folder, wants_client=False):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem", folder / "server.key")
    if wants_client:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(folder / "ca.pem")
    return context


def grpc_credentials(folder, wants_client=False):
    pair = ((folder / "server.key").read_bytes(), (folder / "server.pem").read_bytes())
    authority = (folder / "ca.pem").read_bytes() if wants_client else None
    return grpc.ssl_server_credentials([pair], authority, wants_client)


def free_port():
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        return opened.getsockname()[1]
