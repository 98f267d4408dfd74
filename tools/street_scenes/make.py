"""A set of street scenes in Cityscapes' exact folder layout, so that everything runs without Cityscapes.

`make_set` writes

    D/leftImg8bit/{train,val}/<city>/<city>_<sequence>_<frame>_leftImg8bit.png    8-bit RGB
    D/gtFine/{train,val}/<city>/<city>_<sequence>_<frame>_gtFine_labelIds.png     8-bit grey, Cityscapes' ids 0..33
    D/scenes/{train,val}.json      per scene: layout, light, and which family of void object is where
    D/street_scenes.json           the options, and a digest of every file above

The folder is built beside its final name and appears whole or not at all. Asked again with the same options, it checks
the folder. The package's docstring says how a scene is made.
"""

import concurrent.futures
import dataclasses
import hashlib
import json
import multiprocessing
import os
import pathlib
import shutil

import tqdm
from PIL import Image

from street_scenes.options import CITIES, Options
from street_scenes.scene import draw_scene

FRAME = 19  # each sequence shows one frame, the 20th, as most of Cityscapes does
FORMAT_VERSION = 1


def make_set(output_dir: str | os.PathLike, options: Options, num_workers: int = 0, progress: bool = True) -> bool:
    """Writes the whole set, or nothing.

    Args:
      output_dir: folder to create; an empty folder is taken, a finished set of the same options is checked.
      options: what to draw.
      num_workers: processes; 0 = one per core, but none besides this one for a small set. Changes no byte.
      progress: whether to show a progress bar on stderr.

    Returns:
      True where the set was written, False where it was there already and every file of it is as it was written.

    Raises:
      ValueError: for bad options, or where the folder holds anything else; one line that says what to do.
    """
    options.check()
    if num_workers < 0:
        raise ValueError(f"--num_workers={num_workers}: expected at least 0")
    output = pathlib.Path(os.path.abspath(output_dir))
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        _check_finished(output, options)
        return False
    # A fixed name, so that what a killed run left is cleared by the next one and never piles up.
    partial = output.parent / f".{output.name}.street_scenes_partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        _write_set(partial, options, num_workers, progress)
        os.replace(partial, output)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return True


def scene_name(split: str, number: int) -> str:
    """Cityscapes' name of a scene, without the suffix: city_sequence_frame. Cities take turns."""
    cities = CITIES[split]
    return f"{cities[number % len(cities)]}_{number // len(cities):06d}_{FRAME:06d}"


def _write_set(folder: pathlib.Path, options: Options, num_workers: int, progress: bool) -> None:
    scenes = [("train", n) for n in range(options.num_train)] + [("val", n) for n in range(options.num_val)]
    for split, number in scenes:
        for kind in ("leftImg8bit", "gtFine"):
            (folder / kind / split / scene_name(split, number).split("_")[0]).mkdir(parents=True, exist_ok=True)
    jobs = [(str(folder), options, split, number) for split, number in scenes]
    pixels = len(jobs) * options.height * options.width
    workers = num_workers or (1 if pixels < 2_000_000 else os.cpu_count() or 1)
    bar = tqdm.tqdm(total=len(jobs), desc="scenes", unit="scene", disable=None if progress else True)
    results = []
    with bar:
        if workers == 1:
            for job in jobs:
                results.append(_write_scene(job))
                bar.update()
        else:
            # Spawned, not forked: a caller may have threads.
            context = multiprocessing.get_context("spawn")
            with concurrent.futures.ProcessPoolExecutor(workers, mp_context=context) as pool:
                for result in pool.map(_write_scene, jobs, chunksize=4):
                    results.append(result)
                    bar.update()
    (folder / "scenes").mkdir()
    for split in ("train", "val"):
        told = [result for (_, _, which, _), result in zip(jobs, results) if which == split]
        _write_json(folder / "scenes" / f"{split}.json", told)
    summary = {"format_version": FORMAT_VERSION, "options": dataclasses.asdict(options), "sha256": _digest(folder)}
    _write_json(folder / "street_scenes.json", summary)


def _write_scene(job: tuple) -> dict:
    folder, options, split, number = job
    image, ids, told = draw_scene(options, split, number)
    name = scene_name(split, number)
    city = name.split("_")[0]
    root = pathlib.Path(folder)
    Image.fromarray(image).save(root / "leftImg8bit" / split / city / f"{name}_leftImg8bit.png", compress_level=4)
    Image.fromarray(ids).save(root / "gtFine" / split / city / f"{name}_gtFine_labelIds.png", compress_level=6)
    return {"name": name, **told}


def _write_json(path: pathlib.Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def _digest(folder: pathlib.Path) -> str:
    """sha256 over names and contents of every file of the set, in sorted order."""
    digest = hashlib.sha256()
    for part in ("gtFine", "leftImg8bit", "scenes"):
        for path in sorted(p for p in (folder / part).rglob("*") if p.is_file()):
            name = path.relative_to(folder).as_posix()
            digest.update(f"{name}\n{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()


def _check_finished(output: pathlib.Path, options: Options) -> None:
    """Raises ValueError unless `output` is a finished, undamaged set of these options."""
    summary = output / "street_scenes.json"
    other = "choose another --output_dir, or remove this one"
    if not summary.is_file():
        raise ValueError(f"{output} exists and is no set of street scenes; {other}")
    try:
        found = json.loads(summary.read_text(encoding="utf-8"))
        there, digest, version = dict(found["options"]), found["sha256"], found["format_version"]
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"{summary} cannot be read as the summary of a set; {other}") from None
    wanted = dataclasses.asdict(options)
    if version != FORMAT_VERSION:
        raise ValueError(f"{output} holds a set of version {version}, this program draws {FORMAT_VERSION}; {other}")
    if there != wanted:
        names = [name for name in wanted if there.get(name) != wanted[name]]
        differ = ", ".join(f"{name} is {there.get(name)}, not {wanted[name]}" for name in names)
        raise ValueError(f"{output} holds a set of other options ({differ}); {other}")
    if _digest(output) != digest:
        raise ValueError(f"{output} holds this set, but files were changed, added or lost since; {other}")
