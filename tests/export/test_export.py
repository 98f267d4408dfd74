"""What is served is what was trained, and it is whole or not there."""

import hashlib
import io
import json
import os
import resource
import types

import keras
import numpy as np
import pytest
import small_models
import tensorflow as tf
from PIL import Image
from tensorflow.core.protobuf import saved_model_pb2

from kseg import config, treatments
from kseg.data import decoding
from kseg.export import export, folding, guards, served_model, signatures, verify
from kseg.models import full_size, unet
from kseg.serving import client, cpp_session, messages
from tfrecords import labels


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tmp_path_factory.getbasetemp()


def treatment_of(name, num_classes=3):
    settings = config.default().treatment
    settings.name = name
    return treatments.get(settings, num_classes)


# The answers, computed from logits. --------------------------------------------------------------------------------


def logits_with_ties(treatment):
    """float32 [1, 40, 50, C]: random, with many exact ties between classes, at zero and at small distances."""
    random = np.random.default_rng(0)
    values = random.choice([-2.0, -0.5, 0.0, 0.5, 2.0], (1, 40, 50, treatment.num_outputs)).astype(np.float32)
    values[0, 20:] += random.normal(0, 3, values[0, 20:].shape).astype(np.float32)
    # The last output ahead by the least that TensorFlow tells apart: one ulp, or 1e-30, since it flushes denormals.
    best = values[0, :5].max(-1)
    values[0, :5, :, -1] = np.where(best == 0, np.float32(1e-30), np.nextafter(best, np.float32(9)))
    return tf.constant(values)


@pytest.mark.parametrize("name", treatments.NAMES)
@pytest.mark.parametrize("threshold", [None, 0.7, -0.25, 0.0])
def test_the_mask_is_the_treatments_decision_and_void_exactly_where_the_score_is_128_or_more(name, threshold):
    treatment = treatment_of(name)
    logits = logits_with_ties(treatment)
    answer = {key: x.numpy() for key, x in signatures.answer(treatment, threshold, logits).items()}
    np.testing.assert_array_equal(answer["mask"], treatment.decide(logits, threshold))
    np.testing.assert_array_equal(answer["class"], treatment.forced(logits))
    abstains = answer["void_score"] >= 128
    np.testing.assert_array_equal(answer["mask"] == treatment.num_classes, abstains)
    if threshold is None and treatment.native_score is None:
        assert not abstains.any()
    elif treatment.primary == "entropy" and threshold <= 0:
        assert abstains.all()  # entropy is never negative
    else:
        assert abstains.any() and not abstains.all()
    assert all(x.dtype == np.uint8 for x in answer.values())


@pytest.mark.parametrize("name", treatments.NAMES)
@pytest.mark.parametrize("threshold", [None, 0.7])
def test_the_void_score_byte_never_falls_when_the_score_rises(name, threshold):
    treatment = treatment_of(name)
    logits = logits_with_ties(treatment)
    mapping = signatures.score_map(treatment, threshold)
    score = treatment.scores[mapping.score](tf.constant(logits)).numpy().ravel()
    byte = signatures.answer(treatment, threshold, logits)["void_score"].numpy().ravel()
    order = np.argsort(score, kind="stable")
    assert np.all(np.diff(byte[order].astype(int)) >= 0)
    assert len(np.unique(byte)) > 10  # and it tells scores apart


def test_the_score_map_is_read_off_its_knots():
    # Entropy of 3 classes, threshold 0.5: 0 -> 0, 0.5 -> 128, log 3 -> 255, straight in between.
    mapping = signatures.score_map(treatment_of("ignore"), 0.5)
    assert mapping.score == "entropy" and mapping.knots == ((0, 0), (0.5, 128), (pytest.approx(np.log(3)), 255))
    # z = (a, 0, 0) has entropy log(e^a + 2) - a e^a / (e^a + 2): at a = 0 it is log 3, at a = 50 it is 0, and at a = 4
    # e^4 = 54.598, so log(56.598) - 4 * 54.598 / 56.598 = 0.17732: byte floor(128 * 0.17732 / 0.5) = floor(45.39) = 45.
    logits = np.array([[0, 0, 0], [50, 0, 0], [4, 0, 0]], np.float32)[None, None]
    answer = signatures.answer(treatment_of("ignore"), 0.5, logits)
    assert answer["void_score"].numpy().tolist() == [[[255, 0, 45]]]
    assert answer["mask"].numpy().tolist() == [[[3, 0, 0]]]


def test_a_tie_at_the_native_threshold_is_decided_as_the_treatment_does():
    tie = np.zeros((1, 1, 1, 4), np.float32)
    extra_class = signatures.answer(treatment_of("background_class"), None, tie)
    assert extra_class["void_score"].numpy().item() == 127 and extra_class["mask"].numpy().item() == 0
    void_head = signatures.answer(treatment_of("void_head"), None, tie)
    assert void_head["void_score"].numpy().item() == 128 and void_head["mask"].numpy().item() == 3


# Folding. -----------------------------------------------------------------------------------------------------------


def test_batch_norm_folds_into_the_convolution_before_it_by_hand():
    image = keras.Input((None, None, 3), name="image")
    x = keras.layers.Conv2D(2, 1, use_bias=True, name="conv")(image)
    x = keras.layers.BatchNormalization(epsilon=0.0, name="norm")(x)
    model = keras.Model(image, x)
    model.get_layer("conv").set_weights([np.ones((1, 1, 3, 2)), np.array([1.0, 2.0])])
    # gamma (2, 3), beta (10, 20), mean (4, 5), variance (4, 16): factors 2 / 2 = 1 and 3 / 4.
    model.get_layer("norm").set_weights(list(np.array([[2.0, 3.0], [10.0, 20.0], [4.0, 5.0], [4.0, 16.0]])))
    folded = folding.fold(model)
    kernel, bias = folded.get_layer("conv").get_weights()
    np.testing.assert_array_equal(kernel[0, 0], [[1, 0.75]] * 3)
    np.testing.assert_array_equal(bias, [10 + (1 - 4) * 1, 20 + (2 - 5) * 0.75])
    assert folded.count_params() == 8


@pytest.mark.parametrize(
    "layer",
    [
        keras.layers.Conv2D(6, 3, use_bias=False, padding="same"),
        keras.layers.Conv2DTranspose(6, 2, strides=2, padding="same"),
        keras.layers.DepthwiseConv2D(3, depth_multiplier=2),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_every_kind_of_convolution_folds_to_the_same_function(layer):
    layer = layer.__class__.from_config(layer.get_config())
    image = keras.Input((None, None, 3), name="image")
    norm = keras.layers.BatchNormalization(center=False)
    model = keras.Model(image, keras.layers.Dropout(0.5)(norm(layer(image))))
    random = np.random.default_rng(0)
    norm.set_weights([random.uniform(0.5, 2, 6), random.normal(size=6), random.uniform(0.5, 2, 6)])
    x = random.normal(size=(2, 9, 8, 3)).astype(np.float32)
    folded = folding.fold(model)
    np.testing.assert_allclose(folded(x), model(x), atol=1e-5)
    assert not [x for x in folded.layers if isinstance(x, (keras.layers.BatchNormalization, keras.layers.Dropout))]


def test_batch_norm_stays_where_folding_would_change_the_function():
    image = keras.Input((None, None, 3), name="image")
    norm = keras.layers.BatchNormalization
    activated = norm(name="after_relu")(keras.layers.Conv2D(4, 1, activation="relu")(image))
    shared = keras.layers.Conv2D(4, 1)(image)
    two_readers = norm(name="read_twice")(shared) + shared  # the second reader is no layer but an operation
    model = keras.Model(image, keras.layers.Add()([activated, two_readers, keras.layers.Conv2D(4, 1)(norm()(image))]))
    for layer in model.layers:
        if isinstance(layer, norm):
            layer.set_weights([np.full(w.shape, 0.5 + i) for i, w in enumerate(layer.get_weights())])
    folded = folding.fold(model)
    assert sum(isinstance(layer, norm) for layer in folded.layers) == 3
    x = np.random.default_rng(0).normal(size=(1, 5, 6, 3)).astype(np.float32)
    np.testing.assert_allclose(folded(x), model(x), rtol=1e-6, atol=1e-6)


def test_folded_and_trained_networks_differ_only_where_two_logits_nearly_tie():
    model, treatment = small_models.network("background_class", width=8, depth=3)
    image = small_models.picture(90, 130)[None].astype(np.float32)
    trained, folded = model(image).numpy(), folding.fold(model)(image).numpy()
    differ = trained.argmax(-1) != folded.argmax(-1)
    best, second = np.sort(trained, -1)[..., -1], np.sort(trained, -1)[..., -2]
    print(
        f"{differ.sum()} of {differ.size} pixels differ; largest logit difference {np.abs(trained - folded).max():.1e}"
    )
    assert np.all((best - second)[differ] < 1e-4)
    assert 0 < np.abs(trained - folded).max() < 1e-4


def test_low_precision_starts_at_the_first_convolution_and_ends_before_the_logits():
    model, _ = small_models.network("void_head")
    dtypes = {layer.name: layer.dtype_policy.name for layer in folding.fold(model, "bfloat16").layers}
    assert dtypes["scale"] == dtypes["head"] == dtypes["logits"] == dtypes["image"] == "float32"
    assert dtypes["down0_conv0"] == dtypes["up0_act1"] == "bfloat16"


def test_the_estimated_memory_of_a_convolution_is_its_input_and_output():
    image = keras.Input((None, None, 3))
    model = keras.Model(image, keras.layers.Conv2D(8, 3, padding="same", activation="relu")(image))
    # 3 float32 in, 8 float32 out; bias and ReLU are computed in place: 12 + 32 = 44 bytes a pixel.
    assert folding.activation_bytes_per_pixel(lambda x: model(x, training=False), side=32) == pytest.approx(44)


# The SavedModel. ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "threshold", "precision", "norm"),
    [
        ("ignore", 2.4, "float32", "batch"),
        ("background_class", None, "float32", "batch"),
        ("void_head", 0.5, "bfloat16", "group"),
    ],
)
def test_the_cpp_session_answers_what_keras_computes(base, name, threshold, precision, norm):
    path, model, treatment = small_models.exported(base, name, threshold, precision, norm)
    network = folding.fold(model, precision)
    in_graph = tf.function(lambda x: network(x, training=False))
    with cpp_session.CppSession(path) as session:
        for height, width in [(64, 96), (33, 50), (1, 1)]:
            image = small_models.picture(height, width)
            logits = in_graph(image[None].astype(np.float32))
            expected = signatures.answer(treatment, threshold, logits)
            pixels = session.run("tensor", image=image[None])
            png = session.run("serving_default", image_bytes=[small_models.encode(image)])["mask_png_bytes"][0]
            differing = sum(int(np.sum(pixels[key] != expected[key].numpy())) for key in ("mask", "class"))
            print(f"{name} {precision} {height}x{width}: {differing} pixels differ")
            assert differing == 0
            np.testing.assert_array_equal(small_models.decode(png), pixels["mask"][0])


def test_the_evaluation_size_is_inside_the_graph(tmp_path):
    # config.eval.input_size: the network sees 24x40, the mask has the image's size; as kseg.evaluation computes it.
    model, treatment = small_models.network("ignore", width=2, depth=1)
    path = export.export_model(model, treatment, labels.CITYSCAPES, str(tmp_path), input_size=(24, 40), warmup_sizes=())
    image = small_models.picture(61, 90)
    network = folding.fold(model)
    in_graph = tf.function(lambda x: full_size.logits(network, x, (24, 40)))
    expected = signatures.answer(treatment, None, in_graph(image[None].astype(np.float32)))
    whole = signatures.answer(treatment, None, network(image[None].astype(np.float32)))
    with cpp_session.CppSession(path) as session:
        answer = session.run("tensor", image=image[None])
    np.testing.assert_array_equal(answer["mask"], expected["mask"])
    assert np.any(answer["mask"] != whole["mask"].numpy())


def test_images_of_many_sizes_in_one_request_do_not_touch_each_other(base):
    path, _, _ = small_models.exported(base, "ignore", 2.4)
    files = [small_models.encode(small_models.picture(h, w, seed=h)) for h, w in [(5, 9), (64, 48), (1, 70), (31, 31)]]
    with cpp_session.CppSession(path) as session:
        together = session.run("detail", image_bytes=files)
        for i, file in enumerate(files):
            alone = session.run("detail", image_bytes=[file])
            assert {name: column[i] for name, column in together.items()} == {n: c[0] for n, c in alone.items()}


def test_a_jpeg_is_decoded_as_in_training_and_evaluation(base):
    path, _, _ = small_models.exported(base, "ignore", 2.4)
    file = small_models.encode(small_models.picture(64, 96, seed=5), "JPEG", quality=60)
    seen = decoding.decode_image({"image_encoded": file, "height": 64, "width": 96, "image_id": "x"}, "jpeg")
    fast = tf.io.decode_jpeg(file, channels=3)
    assert (seen != fast).numpy().any()  # TensorFlow's default would show
    with cpp_session.CppSession(path) as session:
        served = session.run("detail", image_bytes=[file])
        pixels = session.run("tensor", image=seen[None].numpy())
    for name, key in (("class_png_bytes", "class"), ("void_score_png_bytes", "void_score")):
        np.testing.assert_array_equal(np.array(Image.open(io.BytesIO(served[name][0]))), pixels[key][0])


def test_weights_are_stored_once(tmp_path):
    model, treatment = small_models.network("ignore", width=8, depth=3)
    network = folding.fold(model)
    served = signatures.build(network, treatment, None, guards.Limits(), "{}")
    export.write_saved_model(str(tmp_path), network, served)
    stored = sum(os.path.getsize(file) for file in (tmp_path / "variables").iterdir())
    weights = 4 * network.count_params()
    assert weights <= stored < 1.1 * weights


def test_every_output_has_the_batch_first_and_every_input_keeps_its_static_shape(base):
    path, _, _ = small_models.exported(base, "ignore", 2.4)
    with cpp_session.CppSession(path) as session:
        shapes = {
            name: {
                key: (info.dtype, [d.size for d in info.tensor_shape.dim]) for key, info in definition.inputs.items()
            }
            for name, definition in session.signatures.items()
        }
        outputs = {
            name: {key: [d.size for d in info.tensor_shape.dim] for key, info in definition.outputs.items()}
            for name, definition in session.signatures.items()
        }
    assert shapes == {
        "serving_default": {"image_bytes": (tf.string.as_datatype_enum, [-1])},
        "detail": {"image_bytes": (tf.string.as_datatype_enum, [-1])},
        "tensor": {"image": (tf.uint8.as_datatype_enum, [-1, -1, -1, 3])},
        "about": {"query": (tf.string.as_datatype_enum, [-1])},
    }
    assert outputs == {
        "serving_default": {"mask_png_bytes": [-1]},
        "detail": {"mask_png_bytes": [-1], "class_png_bytes": [-1], "void_score_png_bytes": [-1]},
        "tensor": {"mask": [-1, -1, -1], "class": [-1, -1, -1], "void_score": [-1, -1, -1]},
        "about": {"about_json": [-1]},
    }


def test_string_ops_are_pinned_to_the_cpu_and_the_network_is_free(base):
    path, _, _ = small_models.exported(base, "ignore", 2.4)
    with open(os.path.join(path, "saved_model.pb"), "rb") as file:
        graph = saved_model_pb2.SavedModel.FromString(file.read()).meta_graphs[0].graph_def
    nodes = [node for function in graph.library.function for node in function.node_def]
    devices = {}
    for node in nodes:
        devices.setdefault(node.op, set()).add(node.device)
    for op in ("DecodeJpeg", "DecodePng", "EncodePng", "Substr", "StringJoin", "DecodeRaw", "StringLength"):
        assert all(device.startswith("/device:CPU:") for device in devices[op]), (op, devices[op])
    assert devices["Conv2D"] == {""}


def test_about_and_the_metadata_say_the_same_and_the_digests_are_the_files(base):
    path, model, _ = small_models.exported(base, "ignore", 2.4)
    with open(os.path.join(path, export.METADATA)) as file:
        metadata = json.load(file)
    with cpp_session.CppSession(path) as session:
        about = json.loads(session.run("about", query=[b"anything"])["about_json"][0])
    digests = metadata.pop("files")
    assert metadata.pop("origin") is None
    assert metadata == about
    present = {os.path.relpath(os.path.join(r, n), path) for r, _, names in os.walk(path) for n in names}
    assert set(digests) == present - {export.METADATA}
    for name, digest in digests.items():
        with open(os.path.join(path, name), "rb") as file:
            assert hashlib.sha256(file.read()).hexdigest() == digest
    assert about["official_ids"] == [7, 8, 11, 12, 13, 17, *range(19, 29), 31, 32, 33, 0]
    assert about["classes"][13] == {"name": "car", "color": [0, 0, 142], "id": 26}
    assert labels.LabelTable.from_json(about["table"]) == labels.CITYSCAPES
    assert about["score_map"]["threshold"] == 2.4 and about["operating_point"] == "calibrated"


def test_abstaining_writes_an_id_that_is_void_in_every_table():
    for table in (labels.CITYSCAPES, labels.CAMVID):
        treatment = treatment_of("ignore", table.num_classes)
        about = served_model.describe(table, treatment, None, None)
        assert about["official_ids"][-1] in {label.id for label in table.void_labels}
        assert about["official_ids"][-1] not in about["official_ids"][:-1]


def test_the_warm_up_requests_are_tf_servings_and_run(base):
    from tensorflow_serving.apis import prediction_log_pb2

    path, _, _ = small_models.exported(base, "ignore", 2.4)
    seen = []
    with cpp_session.CppSession(path) as session:
        for record in tf.data.TFRecordDataset(os.path.join(path, export.WARMUP)).as_numpy_iterator():
            request = prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
            assert request.model_spec.name == "kseg"
            (name, tensor), *_ = request.inputs.items()
            session.run(request.model_spec.signature_name, **{name: tensor.SerializeToString()})
            contents = tensor.string_val[0][:4] if tensor.string_val else tuple(d.size for d in tensor.tensor_shape.dim)
            seen.append((request.model_spec.signature_name, contents))
    png, jpeg = b"\x89PNG", b"\xff\xd8\xff\xe0"
    assert sorted(seen, key=str) == sorted(
        [
            ("serving_default", png),
            ("serving_default", jpeg),
            ("detail", png),
            ("detail", jpeg),
            ("tensor", (1, 32, 48, 3)),
            ("about", b""),
        ],
        key=str,
    )


@pytest.mark.soak
@pytest.mark.parametrize("precision", folding.PRECISIONS)
@pytest.mark.parametrize(
    "encoder", ["resnet50", "efficientnetv2b0", "efficientnetv2s", "convnext_tiny", "efficientnet_lite2"]
)
def test_every_encoder_can_be_served(encoder, precision, tmp_path):
    settings = config.default()
    settings.model.encoder, settings.model.width = encoder, 16
    treatment = treatments.get(settings.treatment, 19)
    model = unet.build(settings.model, treatment.num_outputs)
    path = export.export_model(  # which holds it against Keras
        model, treatment, labels.CITYSCAPES, str(tmp_path), precision=precision, warmup_sizes=()
    )
    stored = sum(os.path.getsize(os.path.join(path, "variables", name)) for name in os.listdir(f"{path}/variables"))
    network = folding.fold(model, precision)
    weights = sum(np.prod(v.shape) * (2 if v.dtype == "bfloat16" else 4) for v in network.variables)
    assert stored < 1.1 * weights
    assert not any(isinstance(layer, keras.layers.BatchNormalization) for layer in network.layers)


@pytest.mark.parametrize("other", [{}, {"decoder_block": "separable", "pyramid_pooling": (3, 7)}])
def test_a_light_decoder_on_efficientnet_lite_can_be_served(tmp_path, other):
    settings = config.default()
    settings.model.encoder, settings.model.decoder_widths = "efficientnet_lite0", (16, 8, 8, 8)
    settings.model.update(other)
    treatment = treatments.get(settings.treatment, 19)
    model = unet.build(settings.model, treatment.num_outputs)
    export.export_model(model, treatment, labels.CITYSCAPES, str(tmp_path), warmup_sizes=())  # held against Keras
    assert not any(
        isinstance(layer, keras.layers.BatchNormalization) for layer in folding.fold(model, "float32").layers
    )


def test_images_count_as_many_pixels_as_the_network_computes():
    limits = guards.Limits(max_pixels=4000, least_pixels=960)
    guards.pixels(tf.zeros([4, 1, 1, 3], tf.uint8), limits)
    with pytest.raises(tf.errors.InvalidArgumentError, match="got 5 x 1 x 1 px, which count as 4800 pixels"):
        guards.pixels(tf.zeros([5, 1, 1, 3], tf.uint8), limits)
    model, _ = small_models.network("ignore", width=2, depth=3)
    own_size = served_model.limits(model, (0, 0), 0, bytes_per_pixel=2**20)
    assert (own_size.max_pixels, own_size.stride, own_size.least_pixels) == (2048, 8, 0)
    one_size = served_model.limits(model, (64, 96), 0, bytes_per_pixel=2**20)
    assert (one_size.max_pixels, one_size.stride, one_size.least_pixels) == (6144, 1, 6144)  # one image in any case
    for max_pixels in (-1, 6143, 10**20):
        with pytest.raises(ValueError, match=f"max_pixels={max_pixels}: expected 6144 to 268435456, or 0"):
            served_model.limits(model, (64, 96), max_pixels, bytes_per_pixel=1)


# Versions and failures. ---------------------------------------------------------------------------------------------


@pytest.fixture
def quick(monkeypatch):
    """Exports without the SavedModel: only what decides about folders."""
    monkeypatch.setattr(export, "write_saved_model", lambda folder, *rest: os.mkdir(f"{folder}/network"))
    monkeypatch.setattr(verify, "check", lambda *arguments: None)
    monkeypatch.setattr(folding, "activation_bytes_per_pixel", lambda *arguments: 1.0)
    model, treatment = small_models.network("ignore", width=2, depth=1)
    return lambda folder, **options: export.export_model(
        model, treatment, labels.CITYSCAPES, str(folder), **{"warmup_sizes": (), **options}
    )


def test_versions_count_up_and_none_is_overwritten(quick, tmp_path):
    assert quick(tmp_path, version="next") == str(tmp_path / "1")
    assert quick(tmp_path, version=7) == str(tmp_path / "7")
    assert quick(tmp_path, version="next") == str(tmp_path / "8")
    with pytest.raises(FileExistsError, match="--version=next .the highest there is 8"):
        quick(tmp_path, version="7")
    for version in ("0", "-1", "v2", ""):
        with pytest.raises(ValueError, match="expected a number"):
            quick(tmp_path, version=version)
    assert sorted(os.listdir(tmp_path)) == ["1", "7", "8"]


def test_a_failed_check_leaves_nothing_behind(quick, tmp_path, monkeypatch):
    def fail(*arguments):
        assert not os.path.exists(tmp_path / "1")  # nothing where a server would look, before the check has passed
        raise ValueError("differs")

    monkeypatch.setattr(verify, "check", fail)
    with pytest.raises(ValueError, match="differs"):
        quick(tmp_path)
    assert os.listdir(tmp_path) == []


def test_a_full_disk_is_one_line_and_leaves_nothing_behind(tmp_path):
    model, treatment = small_models.network("ignore")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))  # of any file, as a disk with little left would
    try:
        with pytest.raises(OSError, match=r"writing-1 cannot be written \(.*File too large") as caught:
            export.export_model(model, treatment, labels.CITYSCAPES, str(tmp_path), warmup_sizes=())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "\n" not in str(caught.value) and "{{" not in str(caught.value)
    assert os.listdir(tmp_path) == []


def test_a_file_is_no_folder_of_versions(quick, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match="file is no folder; give the folder that holds the versions"):
        quick(tmp_path / "file")


def test_what_a_killed_export_left_is_replaced(quick, tmp_path):
    (tmp_path / ".writing-1").mkdir()
    (tmp_path / ".writing-1" / "half").touch()
    assert sorted(os.listdir(quick(tmp_path))) == ["assets.extra", "network"]
    assert os.listdir(tmp_path) == ["1"]


def test_the_check_catches_another_network(base):
    path, model, treatment = small_models.exported(base, "ignore", 2.4)
    other, _ = small_models.network("ignore", seed=1)
    with open(os.path.join(path, export.METADATA)) as file:
        metadata = json.load(file)
    del metadata["files"], metadata["origin"]
    about_json = json.dumps(metadata, separators=(",", ":"))
    verify.check(path, folding.fold(model), treatment, 2.4, about_json)
    with pytest.raises(ValueError, match="differs from Keras"):
        verify.check(path, folding.fold(other), treatment, 2.4, about_json)
    warmup = [messages.predict_request("serving_default", {"image_bytes": [b"x"]})]
    with pytest.raises(ValueError, match="refuses the export: image 0 of the request is neither a PNG nor a JPEG$"):
        verify.check(path, folding.fold(model), treatment, 2.4, about_json, warmup=warmup)


def test_infinite_weights_and_unserveable_options_are_refused(quick, tmp_path):
    with pytest.raises(ValueError, match="512x512 is beyond max_pixels=1000"):
        quick(tmp_path, warmup_sizes=[(512, 512)], max_pixels=1000)
    with pytest.raises(ValueError, match="20000x20 is beyond .* max_side=16384"):
        quick(tmp_path, warmup_sizes=[(20000, 20)])
    with pytest.raises(ValueError, match="float16.*expected one of float32, bfloat16"):
        quick(tmp_path, precision="float16")
    model, treatment = small_models.network("ignore", width=2, depth=1)
    model.get_layer("head").bias.assign(np.full(19, np.nan))
    with pytest.raises(ValueError, match="head/bias is not finite"):
        export.export_model(model, treatment, labels.CITYSCAPES, str(tmp_path))
    with pytest.raises(ValueError, match="camvid has 11 classes, the model 19"):
        export.export_model(*small_models.network("ignore", width=2, depth=1), labels.CAMVID, str(tmp_path))
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("in_config", "asked", "calibrated", "threshold"),
    [
        ("native", "", True, None),
        ("calibrated", "", True, 0.4),
        ("native", "calibrated", True, 0.4),
        ("calibrated", "native", True, None),
    ],
)
def test_the_operating_point_is_the_runs_unless_asked_otherwise(monkeypatch, in_config, asked, calibrated, threshold):
    settings = config.default()
    settings.treatment.abstain = in_config
    run = types.SimpleNamespace(
        config=settings,
        model=None,
        treatment=None,
        table=None,
        calibration={"score": "entropy", "threshold": 0.4},
        digest="d",
    )
    seen = {}
    monkeypatch.setattr(export, "export_model", lambda *arguments, **options: seen.update(options))
    export.export(run, "unused", abstain=asked)
    assert seen["threshold"] == threshold and seen["warmup_sizes"] == [tuple(settings.data.crop_size)]
    run.calibration = None
    if (asked or in_config) == "calibrated":
        with pytest.raises(ValueError, match="no calibration.json"):
            export.export(run, "unused", abstain=asked)


def test_the_served_names_are_the_clients():
    model, treatment = small_models.network("ignore", width=2, depth=1)
    served = signatures.build(model, treatment, None, guards.Limits(), "{}")
    assert set(served) == {client.SERVING_DEFAULT, client.DETAIL, client.TENSOR, client.ABOUT}
