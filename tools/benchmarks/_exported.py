"""mIoU and time of networks exported for other runtimes, side by side: each image goes to each of them in turn.

  python tools/benchmarks/_exported.py RECORDS_DIR SPLIT VERSION_FOLDER...

VERSION_FOLDERs are what `export --format=...` wrote. Not one of the benchmarks of tools/benchmark.py, since it needs
a trained run.
"""

import json
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))

import numpy as np

import tfrecords
from kseg import iou
from kseg.data import input_pipeline
from kseg.export import portable, runtimes
from tfrecords import labels


def main(records_dir, split, *folders):
    manifest = tfrecords.info(records_dir)
    # The classes of the run, which may leave some of the records' out.
    metadata = json.loads((pathlib.Path(folders[0]) / portable.METADATA).read_text())
    table = labels.LabelTable.from_json(metadata["table"])
    k = table.num_classes
    to_target = table.encoding("ignore")
    networks = {folder: runtimes.load(folder) for folder in folders}
    matrices = {folder: np.zeros((k + 1, k + 1), np.int64) for folder in folders}
    seconds = {folder: [] for folder in folders}
    for example in input_pipeline.eval_dataset(manifest, split).as_numpy_iterator():
        truth = to_target[example["ids"]]
        labelled = truth < k
        for folder, run in networks.items():
            start = time.perf_counter()
            answer = run(example["image"][None])["class"][0]
            seconds[folder].append(time.perf_counter() - start)
            pairs = truth[labelled].astype(int) * (k + 1) + answer[labelled]
            matrices[folder] += np.bincount(pairs, minlength=(k + 1) ** 2).reshape(k + 1, k + 1)
    for folder in folders:
        low, median, high = np.percentile(seconds[folder][1:], [10, 50, 90]) * 1000
        miou = 100 * iou.mean_iou(matrices[folder])
        print(f"{folder}: mIoU {miou:.2f} %, {median:.0f} ms an image (10 to 90 %: {low:.0f} to {high:.0f})")


if __name__ == "__main__":
    main(*sys.argv[1:])
