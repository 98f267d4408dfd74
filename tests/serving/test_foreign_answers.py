"""Answers that no kseg model gives: each ends in one line of printable characters, over both protocols."""

import json

import numpy as np
import pytest
import small_servers

from kseg.serving import client, messages, model
from tfrecords import labels

ABOUT = {
    "num_classes": 19,
    "official_ids": [int(number) for number in labels.CITYSCAPES.official_ids(abstain=0)],
    "classes": [{} for _ in range(19)],
    "table": labels.CITYSCAPES.to_json(),
}


def refusal(call):
    with pytest.raises(client.ServingError) as error:
        call()
    line = str(error.value)
    assert line.isprintable() and len(line) < 700
    return line


def over_rest(*answer, ask=model.ServedModel.about):
    with small_servers.http_server(lambda _: answer) as server:
        with client.Client(server.url, deadline_seconds=5) as opened:
            return refusal(lambda: ask(opened))


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((200, b"[" * 200_000), "not TF-Serving's REST interface"),
        ((500, b'{"error":' * 200_000), "HTTP 500 Internal Server Error: the server failed"),
        ((200, {"predictions": ["[" * 200_000]}), "what it says about itself is not a kseg model's"),
        ((400, {"error": "\x1b[2J\x1b[31mred\u202e"}), "INVALID_ARGUMENT: "),
        ((400, {"error": " \n "}), "HTTP 400 Bad Request: "),
        ((500, {"error": "A" * 100_000}), "INTERNAL: AAAA"),
        ((304, b""), "HTTP 304 Not Modified: this is no answer of a model server"),
        ((302, b""), "HTTP 302 Found: this is no answer of a model server"),
        ((302, b"", {"Location": "http://[bad/v1/models/kseg"}), "it sends requests to another address"),
        ((302, b"", {"Location": "https://me:SEC'RET\" x@host/a/v1/models/kseg"}), "; use https://host/a"),
        ((302, b"", {"Location": "https://me:SEC/RET@host/v1/models/kseg"}), "it sends requests to another address"),
    ],
)
def test_rest(answer, words):
    line = over_rest(*answer)
    assert words in line and "SEC" not in line and "RET" not in line


def test_base64_that_is_none_is_no_mask():
    line = over_rest(200, {"predictions": [{"b64": "%%%"}]}, ask=lambda opened: opened.masks([b"x"]))
    assert "is not a kseg model's" in line


def test_a_length_beyond_every_answers_is_refused_before_it_is_read():
    def talk(connection):
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n{}")

    with small_servers.raw_server(talk) as port, client.Client(f"http://127.0.0.1:{port}") as opened:
        assert "RESOURCE_EXHAUSTED: its answer would have 99999999999999999999 bytes" in refusal(opened.about)


@pytest.mark.parametrize(
    ("dtype", "shape", "values"),
    [
        (4, [1], {"int_val": [300]}),
        (4, [2], {"int_val": [-1, 2]}),
        (4, [-1, -1], {"int_val": [1]}),
        (4, [2**40, 2**40], {"int_val": [1]}),
        (4, [2**20, 2**21], {"int_val": [1]}),
        (9, [1], {"tensor_content": b"123"}),
        (2, [1], {}),
    ],
)
def test_a_tensor_that_cannot_be(dtype, shape, values):
    tensor = messages.TensorProto(dtype=dtype, **values)
    for size in shape:
        tensor.tensor_shape.dim.add(size=size)
    with pytest.raises(ValueError) as error:
        messages.from_tensor(tensor)
    assert str(error.value).isprintable()


def test_a_number_alone_is_no_batch_over_rest_and_is_the_servers_to_refuse_over_grpc():
    with client.Client("http://127.0.0.1:1") as opened, pytest.raises(ValueError, match="an array of images"):
        opened.predict("tensor", {"image": np.uint8(5)})
    assert messages.to_tensor(np.uint8(5)).tensor_content == b"\x05"


class Says(model.ServedModel):
    def __init__(self, **about):
        self._about = {**ABOUT, **about}

    def _run(self, signature, inputs):
        return {"about_json": [json.dumps(self._about).encode()]}


def test_what_tiling_counts_with_is_checked_before_it_counts():
    whole = {"max_pixels": 10, "max_side": 10}
    for good in ({}, {"limits": None}, {"limits": whole}, {"limits": {**whole, "stride": 4}, "input_size": [0, 0]}):
        assert Says(**good).about()["num_classes"] == 19
    for bad in (
        *({"limits": limits} for limits in ("x", [], {}, {"max_pixels": 5}, {**whole, "stride": 0})),
        *({"limits": {**whole, name: value}} for name in whole for value in ("9", 0, True, 1.5)),
        *({"input_size": size} for size in (None, 5, ["a", "b"], [-1, 5])),
        *({"activation_bytes_per_pixel": number} for number in (0, -1.5, "1", None)),
        *({"num_classes": k, "classes": [{}], "official_ids": [0, 0]} for k in (True, 1.0)),
        {"num_classes": 300, "classes": [{}] * 300, "official_ids": [0] * 301},
        {"num_classes": 0, "classes": [], "official_ids": [0]},
    ):
        assert "what it says about itself is not a kseg model's" in refusal(Says(**bad).about)
