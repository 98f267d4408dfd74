"""What kseg predict's flags send to a server, and what its refusals look like."""

import base64

import in_process
import pytest
import small_models
import small_servers


def predict(tmp_path, *arguments):
    (tmp_path / "a.png").write_bytes(small_models.encode(small_models.picture(4, 6)))
    return in_process.kseg_command("predict", f"--output_dir={tmp_path / 'out'}", *arguments, tmp_path / "a.png")


def test_headers_and_the_environments_token_are_sent(tmp_path, monkeypatch):
    monkeypatch.setenv("KSEG_TOKEN", "T0")
    with small_servers.http_server(lambda _: (403, b"")) as server:
        done = predict(tmp_path, f"--server={server.url}/team", "--header=X-One: 1", "--header=X-Two: a b")
        (method, path, headers, _) = server.asked[0]
    assert (method, path) == ("GET", "/team/v1/models/kseg")
    assert (headers["X-One"], headers["X-Two"], headers["Authorization"]) == ("1", "a b", "Bearer T0")
    assert done.status == 1 and done.err.startswith(f"error: {server.url}/team: PERMISSION_DENIED: HTTP 403 Forbidden")
    assert done.err.count("\n") == 1 and not (tmp_path / "out").exists()


def test_certificates_are_given_by_flags(tmp_path):
    files = small_servers.certificates(tmp_path)
    tls = small_servers.server_context(files, wants_client=True)
    with small_servers.http_server(lambda _: (403, b""), tls=tls) as server:
        pair = [f"--client_cert={files / 'client.pem'}", f"--client_key={files / 'client.key'}"]
        address = f"--server=https://me:hidden@127.0.0.1:{server.port}"
        done = predict(tmp_path, address, f"--ca_file={files / 'ca.pem'}", *pair)
        assert "HTTP 403" in done.err and "hidden" not in done.err
        assert server.asked[0][2]["Authorization"] == "Basic " + base64.b64encode(b"me:hidden").decode()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--server=http://127.0.0.1:1", "--header=SECRET"], "one without a colon"),
        (["--server=http://127.0.0.1:1", "--ca_file=none.pem"], "certificates go with grpcs:// and https://"),
        (["--server=https://127.0.0.1:1", "--ca_file=none.pem"], "ca_file none.pem: there is no such file"),
        (["--server=grpc://me:SECRET@h:1/prefix"], "server 'grpc://h:1/prefix': gRPC has no prefix"),
        (["--server=https://no-such-host.invalid"], "the name no-such-host.invalid cannot be resolved"),
        (["--server=http://127.0.0.1:1", "--average=flip"], "export with kseg export --average"),
        (["--model=e", "--model_version=2"], "--model_version is for a model on a server"),
        (["--model=e", "--header=SECRET: x"], "--header is for a model on a server"),
        (["--model=e", "--deadline_seconds=3"], "--deadline_seconds is for a model on a server"),
    ],
)
def test_a_mistake_is_one_line_without_secrets(tmp_path, arguments, words):
    done = predict(tmp_path, *arguments)
    assert done.status == 1 and done.err.startswith("error: ") and words in done.err
    assert done.err.count("\n") == 1 and "SECRET" not in done.err and not (tmp_path / "out").exists()


def test_a_size_of_tiles_that_is_none_is_told(tmp_path):
    with small_servers.http_server() as server:
        done = predict(tmp_path, f"--server={server.url}", "--tile=big")
    assert done.err == "error: tile='big': expected auto, off or HEIGHTxWIDTH in px, such as 1024x1024.\n"
