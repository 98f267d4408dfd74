"""What a served model answers, wherever it runs: the calls that Client and Local share, and what is checked of answers.

A server may answer for another model, or with nothing: each call says so in one line instead of handing it on.
"""

import dataclasses
import json
import re

from kseg.serving import messages, status

SERVING_DEFAULT = "serving_default"
DETAIL = "detail"
TENSOR = "tensor"
ABOUT = "about"

_DETAIL_OUTPUTS = ("mask_png_bytes", "class_png_bytes", "void_score_png_bytes")


class ServingError(OSError):
    """The server, or the way to it, refused a request. `code` is gRPC's name of the status."""

    def __init__(self, address, code, message):
        super().__init__(f"{address}: {code}: {sentence(message)}")
        self.code = code
        self.message = message


@dataclasses.dataclass(frozen=True)
class Detail:
    """PNG bytes, uint8, one channel: class index or K = abstain; best class; void score, 128 = the threshold."""

    mask_png: bytes
    class_png: bytes
    void_score_png: bytes


class ServedModel:
    """A model that answers the signatures of kseg/export/signatures.py.

    A subclass gives `_run(signature, inputs)`, `ready()`, `close()` and, where versions change, `pinned()`.

    Attributes:
      address: where it is, for messages.
      version: number, 0 where it is not known or not fixed.
    """

    address = ""
    version = 0

    def predict(self, signature, inputs):
        """Any signature: {input: list of bytes, or integers 0..255} -> {output: list of bytes or array}.

        Raises:
          ServingError: with the server's status; of a model in this process a ValueError.
          ValueError: on numbers that are no uint8, which would be cut on the way.
        """
        return self._run(signature, {name: messages.checked(value) for name, value in inputs.items()})

    def masks(self, images):
        """PNG bytes of the mask of each encoded image, class index or K = abstain.

        Args:
          images: list of bytes, each a PNG or JPEG, of any mix of sizes.
        """
        images = list(images)
        answer = self.predict(SERVING_DEFAULT, {"image_bytes": images})
        return self._strings(answer, "mask_png_bytes", len(images))

    def detail(self, images):
        """A Detail for each encoded image."""
        images = list(images)
        answer = self.predict(DETAIL, {"image_bytes": images})
        return [Detail(*parts) for parts in zip(*(self._strings(answer, n, len(images)) for n in _DETAIL_OUTPUTS))]

    def about(self):
        """What the model says about itself: classes, ids, colours, threshold, limits (see deploy/README.md)."""
        text = self._strings(self.predict(ABOUT, {"query": [b""]}), "about_json", 1)[0]
        try:
            about = json.loads(text)
            k = about["num_classes"]
            ids = about["official_ids"]
            whole = isinstance(about["table"], dict) and len(about["classes"]) == k and len(ids) == k + 1
            whole = whole and all(type(number) is int and 0 <= number <= 255 for number in ids)
            whole = whole and type(k) is int and 0 < k < 256 and _can_be_planned_by(about)
        except (ValueError, TypeError, KeyError, RecursionError):  # the last one of JSON that is nested too deep
            whole = False
        if not whole:
            raise self._wrong("what it says about itself is not a kseg model's")
        return about

    def pinned(self):
        """This model, held to the version that answers now."""
        return self

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()

    def _strings(self, answer, name, count):
        """An output of `count` byte strings."""
        values = answer.get(name) if isinstance(answer, dict) else None
        if values is None or not hasattr(values, "__len__"):
            raise self._wrong(f"its answer has no {name}")
        if len(values) != count or not all(isinstance(value, bytes) for value in values):
            raise self._wrong(f"{name} of its answer is not {count} byte string(s)")
        return list(values)

    def _wrong(self, what):
        return ServingError(self.address, "UNKNOWN", f"{what}; is it an export of kseg?")


def sentence(message):
    """The line a person needs from TensorFlow's text: kseg's own sentence where there is one, else the first line."""
    ours = re.search(r"kseg: ([^\n]*?)\](?:\n|\s*$|\s*\[)", message + "\n")
    return status.shown(ours[1] if ours else message)


def _can_be_planned_by(about):
    """Whether what is said about size, where something is, is what tiles.py counts with."""
    limits = about.get("limits")
    if limits is not None:
        numbers = [limits["max_pixels"], limits["max_side"], limits.get("stride", 1)]
        if not all(type(number) is int and number > 0 for number in numbers):
            return False
    input_size, activations = about.get("input_size", []), about.get("activation_bytes_per_pixel", 1)
    whole = isinstance(input_size, list) and all(type(side) is int and side >= 0 for side in input_size)
    return whole and type(activations) in (int, float) and activations > 0
