"""Writes masks in official ids, and overlays with a legend, for images.

  kseg predict --model=E --output_dir=O IMAGE...
  kseg predict --model=W --output_dir=O [--average=flip,0.75,1.25] IMAGE...
  kseg predict --server=grpc://HOST:8500|http://HOST:8501 --output_dir=O IMAGE...

E is an export, W the folder of a finished training run, IMAGE a file or a folder of pictures. For each:
O/NAME_mask.png (ids; where the model abstains the void id, or one that no class has), O/NAME_overlay.png and, with
--void_score, O/NAME_void_score.png. O/predictions.json lists them, with the version that answered and the share
abstained. Nothing that an earlier run did not write is written over. With --server TensorFlow is
not needed; a token in the environment's KSEG_TOKEN is sent with every request.

A picture that the model does not take at once is cut into tiles that overlap. Each pixel is answered by the tile in
which it lies deepest. Where the network sees less far than half the overlap, that is the whole picture's answer.
"""

import os
import sys
import warnings

from absl import flags

import kseg
from tfrecords import files

_MODEL = flags.DEFINE_string(
    "model",
    "",
    "An export of kseg export (its folder of versions, or one version), or the --workdir of a finished run.",
)
_SERVER = flags.DEFINE_string(
    "server",
    "",
    "Address of a model server instead: grpc://HOST:8500 or http://HOST:8501[/PREFIX]; grpcs:// and https:// with TLS, "
    "unix:PATH and http+unix:PATH for sockets.",
)
_OUTPUT_DIR = flags.DEFINE_string("output_dir", None, "Where to write.", required=True)
_VOID_SCORE = flags.DEFINE_bool("void_score", False, "Also write the void score, uint8, 128 = the threshold.")
_MODEL_NAME = flags.DEFINE_string("model_name", "kseg", "The model's name on the server.")
_MODEL_LABEL = flags.DEFINE_string("model_label", "", "Version label on the server, such as stable or canary.")
_MODEL_VERSION = flags.DEFINE_integer("model_version", 0, "Version on the server; 0 = the highest.", lower_bound=0)
_HEADER = flags.DEFINE_multi_string("header", [], "NAME: VALUE to send to the server with every request; repeatable.")
_CA_FILE = flags.DEFINE_string("ca_file", "", "PEM file of the authorities to trust instead of the usual ones.")
_CLIENT_CERT = flags.DEFINE_string("client_cert", "", "PEM file of the certificate to show to the server.")
_CLIENT_KEY = flags.DEFINE_string("client_key", "", "PEM file of its key, where it is not in --client_cert.")
_TILE = flags.DEFINE_string(
    "tile",
    "auto",
    "Which pictures are predicted in tiles: auto, those that the model does not take at once; HEIGHTxWIDTH, all that "
    "are larger, in tiles of this size; off, none.",
)
_TILE_OVERLAP = flags.DEFINE_integer("tile_overlap", 256, "Pixels that neighbouring tiles share.", lower_bound=0)
_AVERAGE = flags.DEFINE_string(
    "average",
    None,
    "Views whose probabilities are averaged, such as flip,0.75,1.25; --model must be a training run, whose "
    "config.eval.average it is without the flag.",
)
_OVERWRITE = flags.DEFINE_bool("overwrite", False, "Write over what an earlier run wrote to --output_dir.")
_SKIP_EXISTING = flags.DEFINE_bool("skip_existing", False, "Leave out the images that an earlier run did.")
_DEADLINE = flags.DEFINE_float(
    "deadline_seconds", 60.0, "For one request, from its name's look-up to the last byte, retries included.",
    lower_bound=0.001,
)  # fmt: skip
_PARALLEL = flags.DEFINE_integer("parallel", 4, "Images at work at the same time.", lower_bound=1)
_BITS = flags.DEFINE_enum(
    "bits", "0", ["0", "8", "10", "12", "14", "16"], "Bits that 16-bit pictures use; 0: all 16, dark ones refused."
)
_OF_SERVERS = ("model_name", "model_label", "model_version", "header", "ca_file", "client_cert", "client_key")
_OF_SERVERS += ("deadline_seconds",)


def main(argv):
    import PIL.Image

    from kseg.serving import predict

    warnings.simplefilter("ignore", PIL.Image.DecompressionBombWarning)  # of 90 megapixels, which is no reason to warn
    try:
        if bool(_MODEL.value) == bool(_SERVER.value):
            raise ValueError("give either --model or --server.")
        files.check_folder(_OUTPUT_DIR.value, "--output_dir")
        with _opened() as model:
            failures = predict.predict_files(
                model,
                argv[1:],
                _OUTPUT_DIR.value,
                void_score=_VOID_SCORE.value,
                parallel=_PARALLEL.value,
                overwrite=_OVERWRITE.value,
                skip_existing=_SKIP_EXISTING.value,
                report=_report,
                tile=_TILE.value,
                overlap=_TILE_OVERLAP.value,
                bits=int(_BITS.value),
            )
    except predict.Interrupted as stop:
        print(stop, file=sys.stderr)
        sys.exit(130)
    except KeyboardInterrupt:
        print("stopped: no image was begun.", file=sys.stderr)
        sys.exit(130)
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
    if failures:
        # A name may have any character but a slash; one that ends the line is shown as Python writes it.
        lines = (f"error: {path if path.isprintable() else repr(path)}: {message}" for path, message in failures)
        sys.exit("\n".join(lines))


def _opened():
    """The model on a server, or in this process."""
    if not _SERVER.value:
        given = [name for name in _OF_SERVERS if flags.FLAGS[name].present]
        if given:
            raise ValueError(f"--{given[0]} is for a model on a server; leave it out, or give --server.")
    is_run = not _SERVER.value and os.path.isfile(os.path.join(_MODEL.value, "config.json"))
    if _AVERAGE.value and not is_run:
        raise ValueError(
            f"--average={_AVERAGE.value} needs probabilities, and an export answers with classes and scores; give "
            "--model the --workdir of the training run, or export with kseg export --average."
        )
    if _SERVER.value:  # asked without TensorFlow
        from kseg.serving import address, client

        return client.Client(
            _SERVER.value,
            model=_MODEL_NAME.value,
            version=_MODEL_VERSION.value,
            label=_MODEL_LABEL.value,
            deadline_seconds=_DEADLINE.value,
            report=_report,
            headers=dict(address.parse_header(text) for text in _HEADER.value),
            token=os.environ.get("KSEG_TOKEN", ""),
            ca_file=_CA_FILE.value,
            client_cert=_CLIENT_CERT.value,
            client_key=_CLIENT_KEY.value,
        )
    kseg.load_tensorflow_quietly()
    if is_run:
        from kseg.export import in_process

        return in_process.RunModel(_MODEL.value, _AVERAGE.value)
    from kseg.serving import local

    return local.Local(_MODEL.value)


def _report(line):
    print(line, file=sys.stderr)
