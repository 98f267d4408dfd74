"""Examples to bytes and back: against TensorFlow's own, against golden bytes, and against hostile input."""

import pathlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tfrecords
from tfrecords import example
from tfrecords.example import Example

GOLDEN = pathlib.Path(__file__).parents[1] / "golden" / "example.bin"

LABELLED = Example("ulm_000001_000019", b"\x89PNG image", "png", 1024, 2048, b"ids", b"ignore", b"background")
IMAGE_ONLY = Example("berlin_000000_000019", b"\xff\xd8 image", "jpeg", 1, 300)


def _official(one: Example) -> bytes:
    """The same example by TensorFlow's classes."""
    import tensorflow as tf

    bytes_features = {
        "image/encoded": one.image_encoded,
        "image/format": one.image_format.encode(),
        "image/id": one.image_id.encode(),
        "label/ids/encoded": one.ids_png,
        "label/ignore/encoded": one.ignore_png,
        "label/background/encoded": one.background_png,
    }
    features = {
        key: tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
        for key, value in bytes_features.items()
        if value
    }
    for key, value in (("image/height", one.height), ("image/width", one.width)):
        features[key] = tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))
    message = tf.train.Example(features=tf.train.Features(feature=features))
    return message.SerializeToString(deterministic=True)


@pytest.mark.parametrize("one", [LABELLED, IMAGE_ONLY, Example("i", b"x" * 70000, "png", 127, 128)])
def test_the_bytes_are_those_of_tensorflows_own_example(one):
    assert example.encode(one) == _official(one)


def test_the_bytes_are_the_golden_ones():
    assert example.encode(LABELLED) == GOLDEN.read_bytes()


def test_tensorflows_parser_gives_the_same_fields_eagerly_in_a_function_and_in_a_dataset():
    import tensorflow as tf

    serialized = [example.encode(LABELLED), example.encode(IMAGE_ONLY)]
    in_function = tf.function(tfrecords.parse)
    in_dataset = list(tf.data.Dataset.from_tensor_slices(serialized).map(tfrecords.parse))
    for one, data, third in zip((LABELLED, IMAGE_ONLY), serialized, in_dataset):
        for parsed in (tfrecords.parse(data), in_function(tf.constant(data)), third):
            values = {key: value.numpy() for key, value in parsed.items()}
            assert values == {
                "image_encoded": one.image_encoded,
                "image_format": one.image_format.encode(),
                "image_id": one.image_id.encode(),
                "height": one.height,
                "width": one.width,
                "ids_png": one.ids_png,
                "ignore_png": one.ignore_png,
                "background_png": one.background_png,
            }


_examples = st.builds(
    Example,
    image_id=st.text(min_size=1, max_size=30),
    image_encoded=st.binary(min_size=1, max_size=300),
    image_format=st.sampled_from(["png", "jpeg"]),
    height=st.integers(0, 2**62),
    width=st.integers(0, 2**62),
)


@given(_examples, st.tuples(*[st.binary(min_size=1, max_size=300)] * 3) | st.just((b"", b"", b"")))
def test_decoding_undoes_encoding(one, maps):
    one = Example(one.image_id, one.image_encoded, one.image_format, one.height, one.width, *maps)
    assert example.decode(example.encode(one)) == one


def test_decoding_reads_fields_in_any_order_and_numbers_that_are_not_packed():
    def field(number, payload):
        return bytes([number << 3 | 2, len(payload)]) + payload

    def entry(key, feature, swapped):
        parts = [field(1, key), field(2, feature)]
        return field(1, b"".join(reversed(parts) if swapped else parts))

    features = entry(b"image/width", field(3, b"\x08\x07"), True) + entry(
        b"image/height", field(3, b"\x0a\x01\x05"), False
    )
    for key, value in ((b"image/id", b"a"), (b"image/format", b"png"), (b"image/encoded", b"xyz")):
        features = entry(key, field(1, field(1, value)), True) + features
    assert example.decode(field(1, features)) == Example("a", b"xyz", "png", 5, 7)


@pytest.mark.parametrize("length", range(len(example.encode(LABELLED))))
def test_a_truncated_example_is_refused_or_lacks_a_feature(length):
    with pytest.raises(ValueError, match="shard 7"):
        example.decode(example.encode(LABELLED)[:length], "shard 7")


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_refused_with_a_value_error(data):
    with pytest.raises(ValueError):
        example.decode(data)


@given(st.integers(0, len(example.encode(LABELLED)) * 8 - 1))
def test_a_flipped_bit_gives_an_example_or_a_value_error(bit):
    data = bytearray(example.encode(LABELLED))
    data[bit // 8] ^= 1 << bit % 8
    try:
        one = example.decode(bytes(data))
    except ValueError as error:
        assert "\n" not in str(error)
    else:
        assert isinstance(one, Example)


def test_some_but_not_all_label_maps_are_refused():
    half = Example("a", b"x", "png", 1, 1, b"ids")
    with pytest.raises(ValueError, match="some of its three label maps"):
        example.decode(example.encode(half))
