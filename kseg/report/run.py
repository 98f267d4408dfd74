"""What a page needs of a run, read from its workdir without TensorFlow: settings, curves, evaluations."""

import dataclasses
import glob
import os

import ml_collections
import numpy as np

import tfrecords
from kseg import config as defaults
from kseg import errors
from kseg.runs import metrics_log, workdir

HELD_OUT = "held_out"


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """eval_<split>.json and .npz.

    Attributes:
      report: the content of the one.
      arrays: the content of the other, {name: array}.
    """

    report: dict
    arrays: dict

    @property
    def threshold(self):
        """{"score", "threshold", ...} of the calibrated decision, None where there is none."""
        return self.report.get("calibration") or self.report.get("calibrated")

    def curve(self, kinds):
        """(lost, caught): while the threshold on the primary score falls, the shares of labelled pixels and of void.

        Args:
          kinds: names among pixel_counts.REPORTED_KINDS, taken together.

        Returns:
          Two float arrays, rising; None where there is no such void.
        """
        totals = self.histogram().sum((0, 2))[:, ::-1].cumsum(1).astype(np.float64)  # [groups, bins from the highest]
        groups = list(self.arrays["groups"])
        labelled = totals[0] + totals[1]  # right ones and wrong ones
        void = sum(totals[groups.index(kind)] for kind in kinds)
        if not void[-1] or not labelled[-1]:
            return None
        return np.append(0, labelled / labelled[-1]), np.append(0, void / void[-1])

    def histogram(self):
        """Counts of the primary score, [images, groups, edges, bins]."""
        return self.arrays[f"histogram_{self.report['primary_score']}"]

    def operating_points(self):
        """{name: (share of labelled pixels lost, share of all void caught)} of decisions that abstain."""
        points = {}
        for name, block in (("native", self.report), ("calibrated", self.report.get("calibrated"))):
            if block and block["abstain_rate"] and block["void"]["all"]["leak"] is not None:
                points[name] = (block["abstain_rate"], 1 - block["void"]["all"]["leak"])
        chosen = self.report.get("calibration")
        if chosen and chosen["void_caught"] is not None:
            points["calibrated"] = (chosen["realised"], chosen["void_caught"])
        return points


@dataclasses.dataclass(frozen=True)
class Run:
    """A workdir.

    Attributes:
      folder: its path.   name: the folder's own.
      config: its ConfigDict.
      stored: the content of config.json.
      table: its LabelTable.
      lines: metrics.jsonl, a dict each.
      splits: names of its evaluations (val, val_tiled, held_out ...), the most telling one first.
      outdated: {name: steps} of evaluations from before the run was extended, which are not in `splits`.
    """

    folder: str
    name: str
    config: ml_collections.ConfigDict
    stored: dict
    table: tfrecords.LabelTable
    lines: list
    splits: tuple
    outdated: dict = dataclasses.field(default_factory=dict)

    def evaluation(self, split):
        """Its Evaluation on a split.

        Raises:
          ValueError: in one line, where there is none, or it is outdated.
        """
        if split in self.outdated:
            raise ValueError(
                f"{self.folder}/eval_{split}.json is of {self.outdated[split]} steps, and the run was extended to "
                f"{self.config.train.total_steps} since; evaluate again."
            )
        path = os.path.join(self.folder, f"eval_{split}")
        if not (os.path.exists(f"{path}.json") and os.path.exists(f"{path}.npz")):
            raise ValueError(
                f"{self.folder} has no eval_{split}.json and .npz; run kseg evaluate --workdir={self.folder} "
                f"--split={split} first."
            )
        report = workdir.read_json(f"{path}.json")
        try:
            with np.load(f"{path}.npz", allow_pickle=False) as archive:
                # Of the scores the primary one alone: the others' histograms are large, and no page shows them.
                own = (f"histogram_{report['primary_score']}", f"thresholds_{report['primary_score']}")
                arrays = {
                    name: archive[name]
                    for name in archive.files
                    if name in own or not name.startswith(("histogram_", "thresholds_"))
                }
        except Exception as error:  # whatever zipfile and NumPy trip over
            raise ValueError(f"{path}.npz cannot be read ({errors.first_line(error)}); evaluate again.") from None
        return Evaluation(report, arrays)

    def changed_settings(self):
        """[(key, value, default)] of the settings that are not at their defaults."""
        usual, own = (defaults.flatten(settings) for settings in (defaults.default(), self.config))
        return [(key, own[key], usual[key]) for key in own if key in usual and own[key] != usual[key]]

    def series(self, key):
        """(steps, values) of what metrics.jsonl has under a name; None where it has none."""
        found = [(line["step"], line[key]) for line in self.lines if line.get(key) is not None]
        return tuple(np.array(found, np.float64).T) if found else None


def read(folder):
    """A Run.

    Raises:
      ValueError: in one line, if the folder holds no readable run.
    """
    folder = os.fspath(folder)
    config, stored = workdir.read_config(folder)
    total = config.train.total_steps
    try:
        table = tfrecords.LabelTable.from_json(stored["dataset"]["table"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{folder}/config.json does not describe the data set ({error}); train again.") from None
    found = [
        os.path.basename(path)[len("eval_") : -len(".json")] for path in glob.glob(f"{glob.escape(folder)}/eval_*.json")
    ]
    found = [split for split in sorted(found) if os.path.exists(os.path.join(folder, f"eval_{split}.npz"))]
    outdated = {split: steps for split in found if (steps := _steps_of(folder, split)) not in (None, total)}
    found = [split for split in found if split not in outdated]
    # The split that the configuration means, others, ways of asking (val_tiled), the held-out images.
    found.sort(key=lambda split: (split == HELD_OUT, split != config.data.eval_split))
    name = os.path.basename(os.path.abspath(folder))
    lines = metrics_log.read(os.path.join(folder, "metrics.jsonl"))
    return Run(folder, name, config, stored, table, lines, tuple(found), outdated)


def _steps_of(folder, split):
    """The total of steps that an evaluation notes; None where it notes none, or cannot be read, as is said later."""
    try:
        return workdir.read_json(os.path.join(folder, f"eval_{split}.json")).get("total_steps")
    except (ValueError, OSError, AttributeError):
        return None
