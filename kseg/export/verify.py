"""Is a SavedModel what Keras computes? Asked of TensorFlow's C++ session before an export is put in its place."""

import io

import numpy as np
import PIL.Image
import tensorflow as tf

from kseg.export import signatures
from kseg.serving import client, cpp_session

# Logits: closer than this, the order of two classes is arithmetic noise.
TIES = {"float32": 1e-4, "bfloat16": 0.25}
_BYTES_APART = 16  # of a void score, of 255, in low precision


def check(folder, logits, treatment, threshold, about_json, tie=TIES["float32"], warmup=()):
    """Holds the SavedModel, run by TensorFlow's C++ session, against Keras on the same network.

    Args:
      folder: with saved_model.pb.
      logits: f(images float32 [N, H, W, 3]) -> logits of the network that was exported.
      treatment, threshold, about_json: as exported.
      tie: two logits closer than this may swap places.
      warmup: messages.PredictRequest objects that must be answered. A server does not load a model that fails one of
        its own.

    Raises:
      ValueError: if any pixel differs beyond ties, an answer differs between signatures, or a request fails.
    """
    image = picture(45, 70)
    # In a graph as well: eagerly, low precision would round between ops that a graph computes as one.
    z = tf.function(logits, autograph=False)(tf.constant(image[None], tf.float32))
    expected = {name: x.numpy() for name, x in signatures.answer(treatment, threshold, z).items()}
    png = encode(image, "PNG")
    try:
        with cpp_session.CppSession(folder) as session:
            pixels = session.run(client.TENSOR, image=image[None])
            detail = session.run(client.DETAIL, image_bytes=[png])
            masks = session.run(client.SERVING_DEFAULT, image_bytes=[png, encode(picture(1, 1), "PNG"), png])
            about = session.run(client.ABOUT, query=[b"", b""])
            for request in warmup:
                inputs = {name: tensor.SerializeToString() for name, tensor in request.inputs.items()}
                session.run(request.model_spec.signature_name, **inputs)
    except cpp_session.SessionError as error:
        raise ValueError(f"TensorFlow's C++ session refuses the export: {client.sentence(error.message)}") from None
    clear = ~near_tie(treatment, threshold, z.numpy(), tie)
    for name in ("mask", "class"):
        wrong = int(np.sum((pixels[name] != expected[name]) & clear))
        if wrong:
            raise ValueError(f"the exported `{name}` differs from Keras' in {wrong} of {clear.size} pixels.")
    served = {name: _decode(detail[f"{name}_png_bytes"][0]) for name in ("mask", "class", "void_score")}
    exact = tie <= TIES["float32"]
    for name, array in served.items():
        apart = np.abs(array.astype(int) - pixels[name][0])
        # In low precision, what a graph computes as one op and rounds once depends on what is around it.
        if not exact:
            apart = np.maximum(apart - _BYTES_APART, 0) if name == "void_score" else apart * clear[0]
        if apart.any():
            raise ValueError(f"`{name}` differs between the signatures `detail` and `tensor`.")
    abstains = pixels["void_score"] >= 128
    if not np.array_equal(pixels["mask"], np.where(abstains, treatment.num_classes, pixels["class"])):
        raise ValueError("the mask is not the class map with the abstentions of void_score >= 128.")
    first, single, second = masks["mask_png_bytes"]
    if first != detail["mask_png_bytes"][0] or second != first or _decode(single).shape != (1, 1):
        raise ValueError("images of different sizes in one request change each other's masks.")
    if list(about["about_json"]) != [about_json.encode()] * 2:
        raise ValueError("`about` does not answer what was exported.")


def near_tie(treatment, threshold, logits, tie):
    """bool [N, H, W]: pixels whose answer may change when every logit moves by up to `tie`."""
    classes = np.sort(logits[..., : treatment.num_classes], -1)
    near = classes[..., -1] - classes[..., -2] < tie if classes.shape[-1] > 1 else np.zeros(logits.shape[:-1], bool)
    rule = treatment.rule(threshold)
    if rule is not None:
        score = treatment.scores[rule.score](tf.constant(logits)).numpy()
        near |= np.abs(score - rule.threshold) < tie * logits.shape[-1]
    return near


def picture(height, width):
    """A seeded picture, smooth with a little noise: uint8 [height, width, 3]."""
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / 17 + y / 29 + phase) * 80 + 110 for phase in (0, 2, 4)]
    noise = np.random.default_rng(0).integers(0, 40, (height, width, 3))
    return np.clip(np.stack(waves, -1) + noise, 0, 255).astype(np.uint8)


def encode(image, image_format):
    buffer = io.BytesIO()
    PIL.Image.fromarray(image).save(buffer, image_format)
    return buffer.getvalue()


def _decode(png):
    return np.asarray(PIL.Image.open(io.BytesIO(png)))
