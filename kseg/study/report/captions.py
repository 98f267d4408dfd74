"""Titles and captions of a study's figures: for each, over which pixels it counts, what its marks are, what bars span.

Words alone, the same for every study; kseg/study/report/figures.py draws what they speak of.
"""

_INTERVALS = (
    "Arm minus reference, in points; left of 0 is a cost. Thick bars: 95 % intervals from seeds and frames together. "
    "Orange diamonds: primary contrasts, with a thin line over the interval at the level that Holm's procedure gives "
    "them, by which they are judged. Blue circles: exploratory; hollow: one seed, no interval. An arrow: the interval "
    "goes on. Grey: the margin, fixed beforehand."
)
GROUP = (  # behind the caption that a study's configuration gives a group of contrasts
    "Forced mIoU over all labelled pixels; AUROC of scene void against labelled pixels, both off the edges. "
    f"{_INTERVALS}"
)
CAPTIONS = {  # name: (title, caption)
    "void_caught": (
        "What void costs to catch",
        "Up: of all void pixels of the kind, along edges too, the share that is caught. Right, logarithmic: of the "
        "pixels that the best of the K classes has right, the share given up for it (recall in the tables counts all "
        "labelled pixels, right or wrong). All frames pooled. Lines: mean over seeds while the threshold on the "
        "primary score moves; bands: lowest to highest seed; markers: the treatment's own decision rule, for those "
        "that ever abstain; dotted, chance: drawing lots. Seen: scene void, the kind that training showed. Unseen: "
        "void that was 255 in training under every treatment. Small panel, where there is one: one treatment less "
        "another in forced mIoU (abstaining not allowed, all labelled pixels), in points, by the network's width, with "
        "95 % intervals; orange: primary, with a thin line over the interval at the level that Holm's procedure gives "
        "it, by which it is judged; grey: the margin, fixed beforehand.",
    ),
    "capacity": (
        "Does the extra class waste capacity?",
        "Forced mIoU: the best of the K classes, abstaining not allowed, over all labelled pixels of all frames. "
        f"{_INTERVALS}",
    ),
    "rejection": (
        "Does it find void?",
        "AUROC of the primary void score: scene void against labelled pixels, both off the edges, all frames pooled. "
        f"{_INTERVALS}",
    ),
    "all_void": (
        "Ranking all void, and what lies at a fixed place",
        f"AUROC of the primary void score against labelled pixels, both off the edges, all frames pooled. {_INTERVALS}",
    ),
    "caught": (
        "What is caught where 5 % is lost",
        "Of the void pixels of the kind, the share above the threshold at which 5 % of the labelled pixels, right or "
        f"wrong, are lost; both off the edges, all frames pooled. {_INTERVALS}",
    ),
    "kinds": (
        "Finding each kind of void",
        "Primary score, in %: the void pixels of that kind alone against all labelled pixels, all frames pooled. "
        "Filled: both off the edges; hollow: all pixels. Marks: mean over seeds (and folds); lines: lowest to "
        "highest. AP depends on how much void of the kind there is; at 1 % it is brought to that prevalence. FPR95: "
        "share of labelled pixels lost where 95 % of the void is caught. ↑ more is better, ↓ less.",
    ),
    "leave_out": (
        "Seen and unseen void, group by group",
        "AUROC of one group's pixels against labelled pixels, off the edges, all frames pooled: the group joins void "
        "in training (filled), or is 255 in training under every treatment (hollow), by different networks. Marks: "
        "mean over seeds; lines: lowest to highest. Unseen pixels are masked in the loss but still in the input. "
        "Dotted: chance.",
    ),
    "left_out": (
        "Seen and unseen void, treatments compared",
        "AUROC of void against labelled pixels, off the edges; where folds leave classes out, the mean over them. "
        f"{_INTERVALS}",
    ),
    "left_out_caught": (
        "Seen and unseen void, caught where 5 % is lost",
        "Of the void pixels, the share above the threshold that loses 5 % of the labelled pixels, off the edges; "
        f"where folds leave classes out, the mean over them. {_INTERVALS}",
    ),
    "claimed_as": (
        "Where void goes",
        "Of all void pixels of a kind, along edges too: what the treatment's own decision rule calls them, mean over "
        "seeds. Of the classes, those that claim most are shown; a table below has all.",
    ),
    "training": (
        "Training",
        "Mean over seeds; the loss is a running mean over 5 logged steps. Losses are of different kinds and do not "
        "compare across treatments; the mIoU is that of the treatment's own decision rule over all labelled pixels of "
        "the held-out training frames.",
    ),
}
