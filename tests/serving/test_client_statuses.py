"""What the client says when a proxy, a gateway, a wrong port or a slow server answers instead of the model."""

import struct
import time

import pytest
import small_servers

from kseg.serving import client, status

HTML = b"<html><body>secret internals</body></html>"


def about(address, seconds=5.0, **options):
    with client.Client(address, deadline_seconds=seconds, **options) as opened:
        return opened.predict("about", {"query": [b""]})["about_json"]


def refusal(address, seconds=5.0, **options):
    with pytest.raises(client.ServingError) as error:
        about(address, seconds, **options)
    assert "\n" not in str(error.value) and str(error.value).startswith(f"{address}: {error.value.code}: ")
    return error.value


@pytest.mark.parametrize(
    ("number", "code", "words"),
    [
        (401, "UNAUTHENTICATED", "HTTP 401 Unauthorized: it wants credentials"),
        (403, "PERMISSION_DENIED", "HTTP 403 Forbidden: these credentials"),
        (404, "NOT_FOUND", "HTTP 404 Not Found: nothing is served under this path"),
        (405, "UNIMPLEMENTED", "HTTP 405 Method Not Allowed: "),
        (413, "RESOURCE_EXHAUSTED", "client_max_body_size"),
        (504, "DEADLINE_EXCEEDED", "the proxy waited too long"),
        (418, "UNKNOWN", "HTTP 418 I'm a Teapot: this is no answer of a model server"),
        (599, "UNKNOWN", "HTTP 599: "),
    ],
)
def test_a_status_is_said_with_what_it_means(number, code, words):
    with small_servers.http_server(lambda _: (number, HTML)) as server:
        error = refusal(server.url)
        assert error.code == code and words in str(error) and "html" not in str(error) and len(server.asked) == 1


def test_tf_servings_own_sentence_stays_and_a_gateways_is_added():
    with small_servers.http_server(lambda _: (404, {"error": "Servable not found for request: X"})) as server:
        assert str(refusal(server.url)).endswith("NOT_FOUND: Servable not found for request: X")
    with small_servers.http_server(lambda _: (401, {"error": "token has expired\nat 0x1"})) as server:
        assert "HTTP 401 Unauthorized: " in str(refusal(server.url))
        assert str(refusal(server.url)).endswith(" (token has expired)")


@pytest.mark.parametrize("number", [502, 503])
def test_a_proxy_without_its_server_is_tried_again(number):
    lines = []
    with small_servers.http_server(lambda i: (number, HTML) if i < 2 else (200, small_servers.ROWS)) as server:
        assert about(server.url, report=lines.append) == [b"small"]
        assert len(server.asked) == 3 and len(lines) == 1
    with small_servers.http_server(lambda _: (number, HTML)) as server:
        error = refusal(server.url, 0.5)
        assert error.code == "UNAVAILABLE" and f"HTTP {number}" in str(error) and len(server.asked) > 1


@pytest.mark.parametrize("number", [301, 302, 307, 308])
def test_a_redirect_is_not_followed_but_told(number):
    location = "https://user:hidden@models.example/team/v1/models/kseg:predict"
    with small_servers.http_server(lambda _: (number, b"", {"Location": location})) as server:
        line = str(refusal(server.url))
        assert line.endswith(f"HTTP {number}: it sends requests to another address; use https://models.example/team")
        assert len(server.asked) == 1
    with small_servers.http_server(lambda _: (number, b"", {"Location": "/other/v1/models/kseg:predict"})) as server:
        assert str(refusal(server.url)).endswith(f"use {server.url}/other")


@pytest.mark.parametrize("number", [401, 403, 405, 413, 502])
def test_a_proxys_status_inside_grpc_is_said_too(number):
    # HTTP/2 by hand: SETTINGS, then for the first stream HEADERS with ":status: N" written out (RFC 7541, 6.2.2).
    def talk(connection):
        def frame(kind, flags, stream, payload):
            connection.sendall(struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + stream + payload)

        frame(4, 0, b"\0\0\0\0", b"")
        received = 0
        while received < 200:  # its preface, and the request's headers
            received += len(connection.recv(4096))
        frame(1, 5, b"\0\0\0\1", b"\x08\x03" + str(number).encode())
        while connection.recv(4096):
            pass

    with small_servers.raw_server(talk) as port:
        error = refusal(f"grpc://127.0.0.1:{port}", 0.7)
    assert f"HTTP {number}" in str(error) and error.code == status.of_http(number).code


def trickle(first, piece, pause=0.1):
    def talk(connection):
        connection.recv(65536)
        connection.sendall(first)
        while True:
            time.sleep(pause)
            connection.sendall(piece)

    return talk


@pytest.mark.parametrize(
    "talk",
    [
        trickle(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", b"x"),
        trickle(b"HTTP/1.1 200 OK\r\n", b"X-Pad: 1\r\n"),
        trickle(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
        trickle(b"", b""),
    ],
    ids=["body", "headers", "chunks", "nothing"],
)
def test_the_deadline_is_of_the_whole_answer(talk):
    with small_servers.raw_server(talk) as port:
        began = time.monotonic()
        error = refusal(f"http://127.0.0.1:{port}", 0.6)
        took = time.monotonic() - began
    assert error.code == "DEADLINE_EXCEEDED" and "no whole answer within 0.6 s" in str(error)
    assert 0.5 < took < 20


def test_the_deadline_is_of_the_whole_request_too():
    def talk(connection):  # takes a little now and then, of 40 MB
        while True:
            time.sleep(0.1)
            connection.recv(1000)

    with small_servers.raw_server(talk) as port, client.Client(f"http://127.0.0.1:{port}", deadline_seconds=0.6) as c:
        began = time.monotonic()
        with pytest.raises(client.ServingError, match="DEADLINE_EXCEEDED"):
            c.masks([b"x" * 40_000_000])
        assert time.monotonic() - began < 60  # building the request takes a while on a busy machine


def test_a_large_request_that_is_refused_early_is_told_by_its_status():
    def talk(connection):  # as nginx does: it answers after the headers, and lingers
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        connection.settimeout(0.5)
        while connection.recv(1 << 20):
            pass

    with small_servers.raw_server(talk) as port, client.Client(f"http://127.0.0.1:{port}") as opened:
        with pytest.raises(client.ServingError, match="RESOURCE_EXHAUSTED: HTTP 413"):
            opened.masks([b"x" * 20_000_000])


def test_an_answer_that_breaks_off_is_tried_again():
    answers = [
        b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{",
        b"",
        b'HTTP/1.1 200 OK\r\nContent-Length: 26\r\n\r\n{"predictions": ["small"]} ',
    ]

    def talk(connection):
        connection.recv(65536)
        connection.sendall(answers.pop(0))

    with small_servers.raw_server(talk) as port:
        assert about(f"http://127.0.0.1:{port}") == [b"small"] and not answers


@pytest.mark.parametrize("scheme", ["grpc", "grpcs", "http", "https"])
def test_an_unknown_name_is_told_at_once(scheme):
    began = time.monotonic()
    error = refusal(f"{scheme}://no-such-host.invalid:8500", 30.0)
    assert error.code == "UNAVAILABLE" and "the name no-such-host.invalid cannot be resolved (" in str(error)
    assert time.monotonic() - began < 15


def test_the_other_protocols_port_is_told_at_once():
    with small_servers.grpc_server() as (port, _):
        assert "is this the gRPC port (grpc://)?" in str(refusal(f"http://127.0.0.1:{port}", 30.0))
    with small_servers.http_server() as server:
        assert "is this the REST port (http://)?" in str(refusal(f"grpc://127.0.0.1:{server.port}", 30.0))
