"""The client against servers with certificates of our own authority, over both protocols."""

import contextlib
import subprocess
import sys

import pytest
import small_servers

from kseg.serving import client

SCHEMES = ["grpcs", "https"]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return small_servers.certificates(tmp_path_factory.mktemp("certificates"))


@contextlib.contextmanager
def server(scheme, files, wants_client=False):
    """Yields its port."""
    if scheme == "grpcs":
        with small_servers.grpc_server(credentials=small_servers.grpc_credentials(files, wants_client)) as (port, _):
            yield port
    else:
        with small_servers.http_server(tls=small_servers.server_context(files, wants_client)) as running:
            yield running.port


def about(address, seconds=20.0, **options):
    options = {name: str(path) for name, path in options.items()}
    with client.Client(address, deadline_seconds=seconds, report=lines.append, **options) as opened:
        return opened.predict("about", {"query": [b""]})["about_json"]


lines = []  # what a client reports where it tries again


def refusal(*arguments, **options):
    with pytest.raises(client.ServingError) as error:
        about(*arguments, **options)
    assert error.value.code == "UNAVAILABLE" and "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_server_is_trusted_by_its_authority_alone(scheme, files):
    lines.clear()
    with server(scheme, files) as port:
        assert len(about(f"{scheme}://127.0.0.1:{port}", ca_file=files / "ca.pem")) == 1
        line = refusal(f"{scheme}://127.0.0.1:{port}")
        assert "TLS: its certificate is not accepted (unable to get local issuer certificate)" in line
        assert line.endswith("; --ca_file names the authority to trust")
        line = refusal(f"{scheme}://localhost:{port}", ca_file=files / "ca.pem")  # its certificate is 127.0.0.1's
        assert "ostname mismatch" in line and "localhost" in line and "ca_file" not in line
    assert not lines  # told at once


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_client_shows_its_certificate(scheme, files):
    with server(scheme, files, wants_client=True) as port:
        address, ca = f"{scheme}://127.0.0.1:{port}", files / "ca.pem"
        pair = {"client_cert": files / "client.pem", "client_key": files / "client.key"}
        assert len(about(address, ca_file=ca, **pair)) == 1
        both = files / "both.pem"
        both.write_bytes((files / "client.key").read_bytes() + (files / "client.pem").read_bytes())
        assert len(about(address, ca_file=ca, client_cert=both)) == 1
        # gRPC's library ends the connection without TLS' alert, which may be anything: tried again.
        assert "it may want a client certificate, --client_cert" in refusal(address, 0.7, ca_file=ca)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_server_without_tls_is_told_at_once(scheme):
    lines.clear()
    plain = small_servers.grpc_server() if scheme == "grpcs" else small_servers.http_server()
    with plain as running:
        port = running[0] if scheme == "grpcs" else running.port
        line = refusal(f"{scheme}://127.0.0.1:{port}")
    assert line.endswith(f"it does not speak TLS on this port; use {scheme[:-1]}:// or another port")
    assert not lines


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_client_without_tls_is_told_what_to_try(scheme, files):
    with server(scheme, files) as port:
        assert f"use {scheme}://" in refusal(f"{scheme[:-1]}://127.0.0.1:{port}", 0.5)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_files_that_cannot_be_used_are_refused_before_any_call(scheme, files):
    address = f"{scheme}://127.0.0.1:1"
    for options, words in [
        ({"ca_file": files / "missing.pem"}, "ca_file .*missing.pem: there is no such file"),
        ({"ca_file": files / "names"}, "names has no certificates in PEM format"),
        ({"client_cert": files / "missing.pem"}, "client_cert .*missing.pem: there is no such file"),
        ({"client_cert": files / "client.pem"}, "client.pem with key .*client.pem cannot be used"),
        ({"client_cert": files / "client.pem", "client_key": files / "server.key"}, "expected PEM files that belong"),
        ({"client_cert": files / "client.pem", "client_key": files / "missing.key"}, "No such file"),
        ({"client_key": files / "client.key"}, "client_cert, which is not given"),
    ]:
        with pytest.raises(ValueError, match=words):
            client.Client(address, **{name: str(path) for name, path in options.items()})
    for plain in (f"{scheme[:-1]}://127.0.0.1:1", "unix:/run/x.sock"):
        with pytest.raises(ValueError, match="certificates go with grpcs:// and https:// addresses alone"):
            client.Client(plain, ca_file=str(files / "ca.pem"))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_grpcs_library_writes_nothing_beside_the_error(scheme, files):
    code = "import sys; from kseg.serving import client; c = client.Client(sys.argv[1], deadline_seconds=2)\n"
    code += "try: c.about()\nexcept client.ServingError as error: print(error)"
    with server(scheme, files) as port:
        command = [sys.executable, "-c", code, f"{scheme}://127.0.0.1:{port}"]
        done = subprocess.run(command, capture_output=True, text=True)
    assert done.stderr == "" and len(done.stdout.splitlines()) == 1 and "certificate is not accepted" in done.stdout
