"""The study's grid of pictures: image, truth, and per treatment its mask and its void score, on the same images.

`save` runs in a run's own process and keeps what a few images came out as; `sheets` puts the runs' side by side. Only
for data whose pictures may be shown (a study's `publish_pictures`).
"""

import json
import os

import numpy as np
from PIL import Image

import tfrecords
from kseg import pictures
from kseg.serving.images import encode_png
from tfrecords import files

_IMAGES = 3


def save(folder: str, run, manifest, split: str) -> None:
    """Writes pictures.npz into `folder`: the images of a split with most scene and unseen void, as a run sees them.

    Args:
      run: runs.finished.Run.
    """
    from kseg.data import input_pipeline
    from kseg.models import full_size

    truth_of = run.table.encoding("background")
    wanted = [label.id for label in run.table.void_labels if label.kind == "scene" or not label.seen]
    examples = list(input_pipeline.eval_dataset(manifest, split).as_numpy_iterator())
    shares = [np.isin(example["ids"], wanted).mean() for example in examples]
    chosen = [examples[place] for place in sorted(np.argsort(shares, kind="stable")[::-1][:_IMAGES])]
    masks, scores = [], []
    for example in chosen:
        z = full_size.logits(run.model, example["image"][None], run.config.eval.input_size)
        masks.append(run.treatment.native(z)[0].numpy().astype(np.uint8))
        scores.append(run.treatment.scores[run.treatment.primary](z)[0].numpy())
    # One scale for a run's scores: its middle 98 %.
    low, high = np.quantile(np.concatenate([score.ravel() for score in scores]), [0.01, 0.99])
    levels = [np.clip(255 * (score - low) / max(high - low, 1e-12), 0, 255).astype(np.uint8) for score in scores]
    content = {"table": np.array(json.dumps(run.table.to_json())), "treatment": np.array(run.treatment.name)}
    for place, example in enumerate(chosen):
        content |= {f"image_{place}": example["image"], f"truth_{place}": truth_of[example["ids"]]}
        content |= {f"mask_{place}": masks[place], f"score_{place}": levels[place]}
    files.write_whole(os.path.join(folder, "pictures.npz"), lambda file: np.savez_compressed(file, **content))


def sheets(paths: list[str]) -> dict[str, tuple[str, bytes]]:
    """{title: (caption, PNG bytes)}: one sheet of masks and one of scores; a column per file, {} without files."""
    if not paths:
        return {}
    runs = [dict(np.load(path)) for path in paths]
    table = tfrecords.LabelTable.from_json(json.loads(str(runs[0]["table"])))
    count = sum(name.startswith("image_") for name in runs[0])
    images, truths = ([runs[0][f"{name}_{place}"] for place in range(count)] for name in ("image", "truth"))
    titles = [str(run["treatment"]) for run in runs]
    masks = {title: [run[f"mask_{place}"] for place in range(count)] for title, run in zip(titles, runs)}
    rows = []
    for place, image in enumerate(images):
        void = np.repeat((truths[place] == table.num_classes)[..., None] * np.uint8(255), 3, -1)
        heats = [pictures.heat_map(run[f"score_{place}"].astype(float), low=0, high=255) for run in runs]
        rows.append([_fit(picture) for picture in (image, void, *heats)])
    scores = pictures.grid(rows, ["image", "void (white)", *titles])
    return {
        "Masks": (
            "The treatments' own decisions on the test images with most void; under each, the share of true void that "
            "is claimed as a class.",
            encode_png(pictures.comparison(images, truths, masks, table), optimize=True),
        ),
        "Void scores": (
            "The primary void score of each treatment, dark low, bright high; each on its own scale.",
            encode_png(scores, optimize=True),
        ),
    }


def _fit(picture, width=400):
    height = round(picture.shape[0] * width / picture.shape[1])
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BILINEAR))
