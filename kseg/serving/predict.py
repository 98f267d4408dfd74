"""Images -> masks in official ids and overlays with a legend, by an exported model here or on a server.

Both ways give the same bytes: a local model runs in TensorFlow's C++ session under the same signatures that TF-Serving
answers. TensorFlow is loaded by `Local` alone. What may be written over, and what was done, is predictions.py's.
"""

import concurrent.futures
import contextlib
import hashlib
import io
import json
import math
import os
import pathlib
import threading

import numpy as np
import PIL.Image
import tqdm

from kseg import pictures
from kseg.serving import client, images, predictions, tiles
from tfrecords import files, labels

_LEGEND_PX = 400  # the narrowest legend that can be read
_LARGE_PX = 16_000_000  # pictures from here on are worked on one at a time: their pixels take the memory


class Interrupted(Exception):
    """Ctrl-C; `done` of `total` images are written."""

    def __init__(self, done, total):
        super().__init__(f"stopped: {done} of {total} images are done; --skip_existing goes on from there.")
        self.done, self.total = done, total


class _Answering:
    """The version that is asked, and what it says about itself. Masks are read by the table of their own version."""

    def __init__(self, model):
        self.model = model.pinned()
        about = self.model.about()
        try:
            self.table = labels.LabelTable.from_json(about["table"])
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise client.ServingError(model.address, "UNKNOWN", f"its label table cannot be read ({error})") from None
        if self.table.num_classes != about["num_classes"]:
            message = f"it has {about['num_classes']} classes, its label table {self.table.num_classes}"
            raise client.ServingError(model.address, "UNKNOWN", message)
        ids = about["official_ids"]
        self.official_ids = bytes(ids) + bytes(256 - len(ids))  # of each byte of a mask
        self.abstain = about["num_classes"]
        # What predictions.json tells models apart by where address and version do not: a run, or an export made again.
        self.said = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:16]


def predict_files(
    model,
    paths,
    output_dir,
    void_score=False,
    parallel=4,
    progress=True,
    overwrite=False,
    skip_existing=False,
    report=lambda line: None,
    tile="auto",
    overlap=tiles.OVERLAP,
    bits=0,
):
    """Writes NAME_mask.png (official ids) and NAME_overlay.png for each image, and returns what failed.

    `output_dir`/predictions.json lists what was written, with size, model version and share abstained. Only files that
    it lists as written by an earlier call are ever written over, and they are not taken as images.

    A server's version is fixed at the start. Where it is taken off line meanwhile, the version that follows is asked,
    and its masks are written by its own table. Once the server has been unavailable for a whole deadline, the images
    that are left are not tried.

    Args:
      model: Local or serving.Client.
      paths: image files; folders stand for the pictures anywhere below them, through symbolic links too.
      output_dir: created; a folder's images keep their place below it.
      void_score: write NAME_void_score.png too, uint8, 128 = the threshold.
      parallel: images at work at the same time.
      progress: whether to draw a bar, if stderr is a terminal.
      overwrite: write over what an earlier call wrote.
      skip_existing: leave out images that an earlier call did.
      report: called with lines about what is passed over or cut.
      tile, overlap: size and overlap of tiles.Tiled: which pictures are asked for piece by piece.
      bits: how many of 16 bits a picture uses, as of images.read_image.

    Returns:
      [(path, one line that says what is wrong)], empty if every image was done.

    Raises:
      ValueError: before any work, if there are no images, a path does not exist, or two would write the same file. Also
        if a file that is there would be written over, `output_dir` cannot be made, or `tile` is no size.
      Interrupted: on Ctrl-C.
    """
    model = tiles.Tiled(model, tile, overlap, report)
    kinds = ("mask", "overlay", "void_score") if void_score else ("mask", "overlay")
    record = predictions.Record(output_dir)
    jobs = _jobs(paths, record, report)
    done = [job for job in jobs if skip_existing and record.is_done(*job, kinds)]
    if done:
        report(f"{len(done)} images were done by an earlier run")
        is_left = set(jobs) - set(done)
        jobs = [job for job in jobs if job in is_left]
    record.check([(source, stem) for source, stem in jobs], kinds, overwrite or skip_existing)
    answering = _Answering(model)
    others = record.by_others([stem for _, stem in done], model.address, answering.model.version, answering.said)
    if others:
        report(f"{others} of them by another model or version; --overwrite does them again")
    record.begin(jobs, kinds, model.address)
    state = {"answering": answering, "done": 0}
    gone, stopped, lock, large = threading.Event(), threading.Event(), threading.Lock(), threading.Lock()

    def renewed(used):
        """What answers now that the version of `used` is off line."""
        with lock:
            if state["answering"] is used:
                state["answering"] = _Answering(model)
                old, new = used.model.version, state["answering"].model.version
                report(f"version {old} is no longer served; from here on version {new} answers")
            return state["answering"]

    def one(job):
        source, stem = job
        if gone.is_set() or stopped.is_set():
            return source, "not tried, since the server is gone"
        try:
            with large if _pixels(source) >= _LARGE_PX else contextlib.nullcontext():
                contents = images.read_image(source, bits)
                used = state["answering"]
                try:
                    files, facts = _answer(used, contents, void_score)
                except client.ServingError as error:
                    if error.code != "NOT_FOUND" or used.model is model:
                        raise
                    used = renewed(used)
                    files, facts = _answer(used, contents, void_score)
                del contents
            with lock:
                if stopped.is_set():
                    return source, "stopped"
                record.write(source, stem, files, {**facts, "version": used.model.version, "about": used.said})
                state["done"] += 1
        except (ValueError, OSError) as error:
            if isinstance(error, client.ServingError) and error.code == "UNAVAILABLE":
                gone.set()
            return source, str(error).removeprefix(f"{source} ")
        return None

    failures = []
    executor = concurrent.futures.ThreadPoolExecutor(max(parallel, 1))
    try:
        results = executor.map(one, jobs)
        for failure in tqdm.tqdm(results, total=len(jobs), unit="image", disable=None if progress else True):
            if failure:
                failures.append(failure)
    except KeyboardInterrupt:
        with lock:  # whatever is being written is finished, nothing else begun
            stopped.set()
        raise Interrupted(state["done"], len(jobs)) from None
    finally:
        executor.shutdown(wait=not stopped.is_set(), cancel_futures=True)
        record.save(failures)
    return failures


def _answer(answering, contents, void_score):
    """({kind: PNG bytes}, what predictions.json says) of one image."""
    with PIL.Image.open(io.BytesIO(contents)) as image:
        size = image.size[::-1]
    if void_score:
        detail = answering.model.detail([contents])[0]
        mask_png = detail.mask_png
    else:
        mask_png = answering.model.masks([contents])[0]
    mask = _checked_map(answering, mask_png, size, answering.abstain)
    files = {
        "mask": images.encode_png(
            np.frombuffer(mask.tobytes().translate(answering.official_ids), np.uint8).reshape(size)
        ),
        "overlay": images.encode_png(_overlay(contents, mask, answering.table)),
    }
    if void_score:
        _checked_map(answering, detail.void_score_png, size, 255)
        files["void_score"] = detail.void_score_png
    return files, {
        "height": size[0],
        "width": size[1],
        "abstained": round(np.count_nonzero(mask == answering.abstain) / mask.size, 6),
    }


def _pixels(source):
    """Height times width by a file's header; 0 where Pillow cannot read it, which read_image tells."""
    try:
        with PIL.Image.open(source) as image:
            return math.prod(image.size)
    except Exception:
        return 0


def _checked_map(answering, png, size, most):
    try:
        array = images.decode_png(png)
    except Exception:  # whatever Pillow meets in what is no PNG
        array = None
    if array is None or array.dtype != np.uint8 or array.shape != size or array.max(initial=0) > most:
        got = "no PNG" if array is None else f"{array.dtype} {list(array.shape)} up to {array.max(initial=0)}"
        message = f"its answer is {got}; expected uint8 {list(size)} up to {most}. Is it an export of kseg?"
        raise client.ServingError(answering.model.address, "UNKNOWN", message)
    return array


def _overlay(contents, mask, table):
    with PIL.Image.open(io.BytesIO(contents)) as image:
        pixels = images.rgb(image)
    drawn = pictures.overlay(pixels, mask, table)
    legend = pictures.legend(table, max(drawn.shape[1], _LEGEND_PX))
    picture = np.full((drawn.shape[0] + legend.shape[0], legend.shape[1], 3), 255, np.uint8)
    picture[: drawn.shape[0], : drawn.shape[1]] = drawn
    picture[drawn.shape[0] :] = legend
    return picture


def _jobs(paths, record, report):
    """[(image, output path without the ending, below the output folder)]."""
    jobs, passed = [], {}

    def passes(reason):
        passed[reason] = passed.get(reason, 0) + 1

    for path in map(pathlib.Path, paths):
        if path.is_dir():
            found, files_below = [], _files_below(path)
            others = _records(files_below)
            for file in files_below:
                if file.name.startswith("."):
                    passes("hidden")
                elif not images.is_image_name(file.name):
                    passes("no pictures by their names")
                elif record.wrote(file) or any(other.wrote(file) for other in others):
                    passes("written by an earlier run")
                else:
                    found.append(file)
            if not found:
                raise ValueError(f"{path} has no picture below it (PNG, JPEG, TIFF, BMP or WebP).")
            jobs += [(str(p), str(p.relative_to(path).with_suffix(""))) for p in found]
        elif path.is_file() and record.wrote(path):  # named by a pattern such as masks/*.png
            passes("written by an earlier run")
        elif path.is_file():
            jobs.append((str(path), path.stem))
        else:
            raise ValueError(f"{files.place(path)} does not exist.")
    counts = ", ".join(f"{number} {reason}" for reason, number in sorted(passed.items()))
    if not jobs:
        raise ValueError(f"no images; name files or folders{counts and f' (passed over: {counts})'}.")
    if passed:
        report(f"passed over: {counts}")
    owners = {}
    for source, stem in jobs:
        if stem in owners:
            raise ValueError(
                f"{owners[stem]} and {source} would both be written to {stem}_mask.png; predict them into two folders."
            )
        owners[stem] = source
    return jobs


def _records(paths):
    """The records of other output folders that lie among the files."""
    found = []
    for path in paths:
        if path.name == predictions.NAME:
            with contextlib.suppress(ValueError):  # a file of this name that is none of ours
                found.append(predictions.Record(path.parent))
    return found


def _files_below(folder):
    """Every file, sorted; through symbolic links, though no folder twice."""
    seen, found = set(), []
    for root, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(root)
        if real in seen:
            folders[:] = []
            continue
        seen.add(real)
        found += [pathlib.Path(root, name) for name in names if os.path.isfile(os.path.join(root, name))]
    return sorted(found)
