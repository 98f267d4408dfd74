"""Images -> masks in official ids and overlays with a legend, by an exported model here or on a server.

Both ways give the same bytes: a local model runs in TensorFlow's C++ session under the same signatures that TF-Serving
answers, and `Local` has the calls of serving.Client. TensorFlow is loaded by `Local` alone.
"""

import concurrent.futures
import io
import os
import pathlib
import threading

import numpy as np
import PIL.Image
import tqdm

from kseg import pictures
from kseg.serving import client
from tfrecords import labels

_LEGEND_PX = 400  # the narrowest legend that can be read


def predict_files(model, paths, output_dir, void_score=False, parallel=4, progress=True):
    """Writes NAME_mask.png (official ids) and NAME_overlay.png for each image, and returns what failed.

    Once the server has been unavailable for a whole deadline, the images that are left are not tried.

    Args:
      model: Local or serving.Client.
      paths: image files; folders stand for the PNGs and JPEGs anywhere below them.
      output_dir: created; a folder's images keep their place below it.
      void_score: write NAME_void_score.png too, uint8, 128 = the threshold.
      parallel: images at work at the same time.
      progress: whether to draw a bar.

    Returns:
      [(path, one line that says what is wrong)], empty if every image was done.

    Raises:
      ValueError: before any work, if there are no images, a path does not exist, two would write the same file, or
        `output_dir` cannot be made.
    """
    jobs = _jobs(paths, output_dir)
    about = model.about()
    table = labels.LabelTable.from_json(about["table"])
    to_official = np.array(about["official_ids"], np.uint8)
    try:
        os.makedirs(output_dir, exist_ok=True)
    except OSError as error:
        raise ValueError(f"{output_dir} cannot be made a folder ({error.strerror}).") from None
    gone = threading.Event()

    def one(job):
        source, stem = job
        if gone.is_set():
            return source, "not tried, since the server is gone"
        try:
            contents = client.read_image(source)
            if void_score:
                detail = model.detail([contents])[0]
                mask_png = detail.mask_png
                _write(f"{stem}_void_score.png", detail.void_score_png)
            else:
                mask_png = model.masks([contents])[0]
            mask = decode_png(mask_png)
            _write(f"{stem}_mask.png", encode_png(to_official[mask]))
            _write(f"{stem}_overlay.png", encode_png(_overlay(contents, mask, table)))
        except (ValueError, OSError) as error:
            if isinstance(error, client.ServingError) and error.code == "UNAVAILABLE":
                gone.set()
            return source, str(error).removeprefix(f"{source} ")
        return None

    failures = []
    with concurrent.futures.ThreadPoolExecutor(max(parallel, 1)) as executor:
        results = executor.map(one, jobs)
        for failure in tqdm.tqdm(results, total=len(jobs), unit="image", disable=not progress):
            if failure:
                failures.append(failure)
    return failures


def decode_png(contents):
    """uint8 [H, W] from the bytes of a one-channel PNG."""
    with PIL.Image.open(io.BytesIO(contents)) as image:
        return np.array(image)


def encode_png(array):
    buffer = io.BytesIO()
    PIL.Image.fromarray(array).save(buffer, "PNG")
    return buffer.getvalue()


def _overlay(contents, mask, table):
    with PIL.Image.open(io.BytesIO(contents)) as image:
        pixels = np.array(image.convert("RGB"))
    drawn = pictures.overlay(pixels, mask, table)
    legend = pictures.legend(table, max(drawn.shape[1], _LEGEND_PX))
    picture = np.full((drawn.shape[0] + legend.shape[0], legend.shape[1], 3), 255, np.uint8)
    picture[: drawn.shape[0], : drawn.shape[1]] = drawn
    picture[drawn.shape[0] :] = legend
    return picture


def _jobs(paths, output_dir):
    """[(image, output path without the ending)]."""
    jobs = []
    for path in map(pathlib.Path, paths):
        if path.is_dir():
            found = sorted(p for p in path.rglob("*") if p.is_file() and client.is_image_name(p.name))
            if not found:
                raise ValueError(f"{path} has no PNG or JPEG below it.")
            jobs += [(str(p), p.relative_to(path).with_suffix("")) for p in found]
        elif path.is_file():
            jobs.append((str(path), pathlib.Path(path.stem)))
        else:
            raise ValueError(f"{path} does not exist.")
    if not jobs:
        raise ValueError("no images; name files or folders.")
    owners = {}
    for source, stem in jobs:
        if stem in owners:
            raise ValueError(
                f"{owners[stem]} and {source} would both be written to {stem}_mask.png; predict them into two folders."
            )
        owners[stem] = source
    return [(source, os.path.join(output_dir, stem)) for source, stem in jobs]


def _write(path, contents):
    """Writes a file whole or not at all."""
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    temporary = f"{path}.writing"
    try:
        with open(temporary, "wb") as file:
            file.write(contents)
        os.replace(temporary, path)
    except OSError:
        if os.path.exists(temporary):
            os.remove(temporary)
        raise
