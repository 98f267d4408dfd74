"""Addresses, credentials, proxies and connections: what goes over the wire, seen by the server."""

import base64
import concurrent.futures
import contextlib
import socket
import threading

import pytest
import small_servers

from kseg.serving import address as addresses
from kseg.serving import client
from kseg.serving import grpc as over_grpc


def about(opened):
    return opened.predict("about", {"query": [b""]})["about_json"]


@contextlib.contextmanager
def either(scheme):
    """Yields (address without its scheme, what was asked: a list of {header in small letters: value})."""
    if scheme == "grpc":
        with small_servers.grpc_server() as (port, asked):
            yield f"127.0.0.1:{port}", asked
    else:
        asked = []
        with small_servers.http_server() as server:

            class Seen(list):
                def __getitem__(self, place):
                    return {name.lower(): value for name, value in server.asked[place][2].items()}

            asked = Seen()
            yield f"127.0.0.1:{server.port}", asked


BASIC = "Basic " + base64.b64encode(b"me:p@ss/w").decode()


@pytest.mark.parametrize("scheme", ["grpc", "http"])
@pytest.mark.parametrize(
    ("user", "options", "sent"),
    [
        ("", {"token": "T0"}, {"authorization": "Bearer T0"}),
        ("me:p%40ss%2Fw@", {}, {"authorization": BASIC}),
        ("me:p%40ss%2Fw@", {"token": "T0"}, {"authorization": BASIC}),
        ("me:x@", {"token": "T0", "headers": {"AUTHORIZATION": "Key k"}}, {"authorization": "Key k"}),
        ("", {"headers": {"X-Api-Key": "k", "x-team": "a b"}}, {"x-api-key": "k", "x-team": "a b"}),
        ("", {}, {"authorization": None}),
    ],
)
def test_credentials_and_headers_go_with_every_request(scheme, user, options, sent):
    with either(scheme) as (where, asked):
        with client.Client(f"{scheme}://{user}{where}", **options) as opened:
            about(opened)
            about(opened)
            assert opened.address == f"{scheme}://{where}"
        for place in range(2):
            assert {name: asked[place].get(name) for name in sent} == sent


@pytest.mark.parametrize(
    "address",
    [
        "http://me:SECRET@127.0.0.1:1",
        "grpc://me:SECRET@127.0.0.1:1",
        "http://me:SECRET@no-such-host.invalid",
        "http://me:SECRET@127.0.0.1:99999",
        "htp://me:SECRET@host",
        "http://me:SEC/RET@host:8501",
        "http://me:SEC@RET@127.0.0.1:1",
        "http://me:SEC?RET@host",
        "grpc://me:SECRET@host:1/prefix",
        "https://SECRET@127.0.0.1:1",
        "me:SECRET@host:8501",
        "http:me:SECRET@host:8501",
        "http://me:SEC RET@host:8501",
        "http://me:SEC'\"RET@127.0.0.1:1",
        "http://me:SEC\nRET@host",
    ],
)
def test_no_message_shows_a_password(address):
    lines = []
    with pytest.raises((ValueError, client.ServingError)) as error:
        with client.Client(address, deadline_seconds=0.3, report=lines.append) as opened:
            about(opened)
    for line in [str(error.value), *lines]:
        assert "SEC" not in line and "RET" not in line and "\n" not in line


@pytest.mark.parametrize(
    ("header", "words"),
    [("SECRET", "without a colon"), ("a b: SECRET", "no name of a header"), ("X: SECRET\r\nY: 1", "printable ASCII"),
     ("Content-Length: 5", "connection's own"), ("X: sécret", "printable ASCII")],
)  # fmt: skip
def test_headers_that_cannot_be_sent_are_refused_without_their_value(header, words):
    with pytest.raises(ValueError, match=words) as error:
        client.Client("http://127.0.0.1:1", headers=dict([addresses.parse_header(header)]))
    assert "SECRET" not in str(error.value)
    with pytest.raises(ValueError, match="token has other characters") as error:
        client.Client("http://127.0.0.1:1", token="SECRET\n")
    assert "SECRET" not in str(error.value)
    with pytest.raises(ValueError, match="gRPC has other uses"):
        client.Client("grpc://127.0.0.1:1", headers={"x-bin": "1"})
    with pytest.raises(ValueError, match="names in gRPC have letters"):  # which the library refuses at the first call
        client.Client("grpc://127.0.0.1:1", headers={"X!Y": "1"})


def test_a_prefix_is_for_rest_alone():
    with small_servers.http_server() as server:
        with client.Client(f"{server.url}/team/models/", model="a/b", label="stable") as opened:
            about(opened)
        assert server.asked[0][:2] == ("POST", "/team/models/v1/models/a%2Fb/labels/stable:predict")
    with pytest.raises(ValueError, match="gRPC has no prefix /team; expected grpc://HOST:8500 or http://HOST:8501/PRE"):
        client.Client("grpc://host:8500/team/")
    with pytest.raises(ValueError, match="nothing behind the path"):
        client.Client("http://host:8501/team?x=1")


def test_a_path_is_sent_in_ascii_whatever_it_is_made_of():
    with small_servers.http_server() as server:
        with client.Client(f"{server.url}/prä%20fix", label="a b/../c") as opened:
            about(opened)
        assert server.asked[0][1] == "/pr%C3%A4%20fix/v1/models/kseg/labels/a%20b%2F..%2Fc:predict"
    for address in ("http://my host:1", "http://host:1/my prefix", "grpc://my host:1", "http://ho\nst:1"):
        with pytest.raises(ValueError, match="an address has no spaces or control characters"):
            client.Client(address)
    for version in (-1, 2**70):
        with pytest.raises(ValueError, match="expected a number from 1"):
            client.Client("grpc://host:1", version=version)


def test_unix_sockets_of_both_protocols(tmp_path):
    path = tmp_path / "kseg.sock"
    with small_servers.grpc_server(f"unix:{path}"), client.Client(f"unix:{path}") as opened:
        assert about(opened) == [small_servers.ABOUT] and opened.address == f"unix:{path}"
    path = tmp_path / "rest.sock"
    with small_servers.http_server(path=path) as server, client.Client(f"http+unix://{path}", token="T") as opened:
        assert about(opened) == [b"small"] and about(opened) == [b"small"]
        assert server.connections == 1 and server.asked[0][2]["Authorization"] == "Bearer T"
    with pytest.raises(client.ServingError, match="UNAVAILABLE: cannot reach the server .No such file"):
        with client.Client(f"http+unix:{tmp_path}/none", deadline_seconds=0.1) as opened:
            about(opened)
    for scheme in ("unix", "http+unix"):
        with pytest.raises(ValueError, match="a socket's path has at most 107 bytes"):
            client.Client(f"{scheme}:/{'x' * 107}")
        client.Client(f"{scheme}:/{'x' * 106}").close()
    for address in ("unix:", "http+unix://", "https+unix:/x"):
        with pytest.raises(ValueError, match="expected grpc://HOST:8500"):
            client.Client(address)


def test_one_connection_is_kept():
    with small_servers.http_server() as server, client.Client(server.url) as opened:
        for _ in range(5):
            about(opened)
        assert server.connections == 1 and len(server.asked) == 5
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda _: about(opened), range(40)))
        assert server.connections <= 4 and len(server.asked) == 45


def test_a_kept_connection_that_the_server_has_ended_is_made_anew():
    lines = []
    with small_servers.http_server(close=True) as server, client.Client(server.url, report=lines.append) as opened:
        for _ in range(3):
            assert about(opened) == [b"small"]
        assert server.connections == 3 and len(server.asked) == 3 and not lines


def test_a_refused_request_leaves_the_connection_usable():
    with small_servers.http_server(lambda i: (403, b"no") if i == 0 else (200, small_servers.ROWS)) as server:
        with client.Client(server.url) as opened:
            with pytest.raises(client.ServingError, match="PERMISSION_DENIED"):
                about(opened)
            assert about(opened) == [b"small"] and server.connections == 1


@pytest.mark.parametrize("scheme", ["grpc", "http"])
def test_closing_ends_a_call_that_is_under_way(scheme):
    arrived, leave = threading.Event(), threading.Event()

    def wait(*unused):
        arrived.set()
        leave.wait(20)
        return 200, small_servers.ROWS

    slow = small_servers.grpc_server(before=wait) if scheme == "grpc" else small_servers.http_server(wait)
    with slow as running, concurrent.futures.ThreadPoolExecutor(1) as pool:
        opened = client.Client(f"{scheme}://127.0.0.1:{running[0] if scheme == 'grpc' else running.port}")
        call = pool.submit(about, opened)
        assert arrived.wait(10)
        opened.close()
        try:
            assert call.exception(timeout=10).code == "CANCELLED"
        finally:
            leave.set()
        with pytest.raises(client.ServingError, match="CANCELLED"):
            about(opened)


def test_grpc_asks_all_addresses_of_a_name_in_turn(monkeypatch):
    with small_servers.grpc_server() as (one, asked_one), small_servers.grpc_server() as (two, asked_two):
        # What a name with two addresses is to gRPC once it is looked up.
        both = f"ipv4:127.0.0.1:{one},127.0.0.1:{two}"
        monkeypatch.setattr(over_grpc, "_target", lambda address: both)
        with client.Client("grpc://pods:8500") as opened:
            for _ in range(20):
                about(opened)
    assert len(asked_one) >= 5 and len(asked_two) >= 5


@contextlib.contextmanager
def proxy():
    """An HTTP proxy that forwards bytes; yields (its port, the heads of the requests that it got)."""
    asked = []

    def talk(connection):
        head = b""
        while b"\r\n\r\n" not in head:
            head += connection.recv(65536)
        asked.append(head.split(b"\r\n\r\n")[0].decode())
        method, target, _ = head.split(b" ", 2)
        where = target.decode().removeprefix("http://").split("/")[0]
        with socket.create_connection(where.rsplit(":", 1)) as server:
            if method == b"CONNECT":
                connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            else:
                server.sendall(head)

            def back():
                with contextlib.suppress(OSError):
                    while piece := server.recv(65536):
                        connection.sendall(piece)

            threading.Thread(target=back, daemon=True).start()
            while piece := connection.recv(65536):
                server.sendall(piece)

    with small_servers.raw_server(talk) as port:
        yield port, asked


def test_the_environments_proxy_is_asked(monkeypatch, tmp_path):
    files = small_servers.certificates(tmp_path)
    monkeypatch.setenv("NO_PROXY", "")
    with proxy() as (port, asked):
        for name in ("HTTP_PROXY", "HTTPS_PROXY"):
            monkeypatch.setenv(name, f"http://who:pass@127.0.0.1:{port}")
            monkeypatch.delenv(name.lower(), raising=False)
        login = "Proxy-Authorization: Basic " + base64.b64encode(b"who:pass").decode()
        with small_servers.http_server() as server, client.Client(server.url) as opened:
            assert about(opened) == [b"small"] and about(opened) == [b"small"]
            assert len(asked) == 1 and asked[0].startswith(f"POST {server.url}/v1/models/kseg:predict ")
            assert login in asked[0]
        with small_servers.http_server(tls=small_servers.server_context(files)) as server:
            with client.Client(f"https://127.0.0.1:{server.port}", ca_file=str(files / "ca.pem"), token="T") as opened:
                assert about(opened) == [b"small"]
            assert asked[1].startswith(f"CONNECT 127.0.0.1:{server.port} ") and login in asked[1]
            assert "Bearer" not in asked[1] and "Proxy-Authorization" not in server.asked[0][2]
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        with small_servers.http_server() as server, client.Client(server.url) as opened:
            assert about(opened) == [b"small"] and len(asked) == 2


def test_what_goes_wrong_at_the_proxy_is_said_of_the_proxy(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "")
    for name in ("HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name.lower(), raising=False)

    def line(scheme, proxy):
        monkeypatch.setenv(f"{scheme.upper()}_PROXY", proxy)
        with pytest.raises((ValueError, client.ServingError)) as error:
            with client.Client(f"{scheme}://models.invalid:1", deadline_seconds=0.5) as opened:
                about(opened)
        return str(error.value)

    for proxy in ("http://me:SECRET@host:port", "socks5://me:SECRET@127.0.0.1:1", "https://me:SECRET@127.0.0.1:1"):
        for scheme in ("http", "https"):
            said = line(scheme, proxy)
            assert said.startswith(f"{scheme.upper()}_PROXY=") and "expected http://HOST:PORT" in said
            assert "SECRET" not in said
    for scheme in ("http", "https"):
        said = line(scheme, "http://me:SECRET@127.0.0.1:1")
        assert said.endswith("cannot reach the environment's proxy 127.0.0.1:1 (Connection refused)")
        assert "the environment's proxy none.invalid:80: the name none.invalid can" in line(scheme, "none.invalid")
    with small_servers.raw_server(lambda connection: connection.recv(1000)) as port:
        # The server's name is the proxy's to look up.
        assert "closed the connection without an answer" in line("http", f"127.0.0.1:{port}")
        assert f"proxy 127.0.0.1:{port} closed the connection" in line("https", f"127.0.0.1:{port}")
    with small_servers.http_server(lambda _: (403, b"no")) as server:
        server_lines = line("https", server.url)
    assert "does not connect to it: HTTP " in server_lines and f"127.0.0.1:{server.port}" in server_lines


def test_a_name_with_an_address_of_a_kind_that_this_machine_lacks_is_reached_by_its_other(monkeypatch):
    import errno

    from kseg.serving import sockets

    class OnlyIpv4(sockets._Socket):
        def __init__(self, family, *rest):
            if family == socket.AF_INET6:  # as where IPv6 is off: names have such addresses all the same
                raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
            super().__init__(family, *rest)

    with small_servers.http_server() as server:
        both = [(socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", server.port, 0, 0))]
        both += [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", server.port))]
        monkeypatch.setattr(sockets, "_resolved", lambda *unused: both)
        monkeypatch.setattr(sockets, "_Socket", OnlyIpv4)
        with client.Client(f"http://pods:{server.port}") as opened:
            assert about(opened) == [b"small"]
