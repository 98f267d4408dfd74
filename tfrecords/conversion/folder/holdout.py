"""What is held out where the folders do not say: whole sequences, or the last frames of each."""

import hashlib

FRACTION = 0.1  # where nothing says how much


def with_val(splits, options, say) -> dict[str, list]:
    """Splits by their names; one without a name, or train without val, is cut in two, by whole sequences if possible.

    Images of no split beside those of train or val are trained on.

    Splits of --train_list or --pairs are cut where --val_fraction asks for it.

    Raises:
      ValueError: a share that is none, or that is not needed.
    """
    fraction = options.val_fraction
    if fraction is not None and not 0 <= fraction < 1:
        raise ValueError(f"--val_fraction is {fraction}; expected 0 (none) to below 1")
    pairs = splits.pop("", None)
    if pairs is not None and splits.keys() & {"train", "val"}:
        say(f"train: {len(pairs)} images of no split are among them")
        splits, pairs = splits | {"train": [*splits.get("train", []), *pairs]}, None
    if pairs is None:
        if fraction and "val" in splits:
            raise ValueError("--val_fraction is given, but there is a folder of val; leave it out")
        as_they_are = fraction == 0 or (fraction is None and (options.lists or options.pairs))
        if as_they_are or "val" in splits or "train" not in splits:
            return splits
        pairs = splits.pop("train")
    fraction = FRACTION if fraction is None else fraction
    room = round(fraction * len(pairs)) or int(fraction > 0)
    by_sequence: dict[str, list] = {}
    for pair in sorted(pairs, key=lambda p: p.image_id):
        by_sequence.setdefault(pair.sequence, []).append(pair)
    held = []
    if len(by_sequence) >= 4:
        for name in sorted(by_sequence, key=lambda n: hashlib.sha256(n.encode()).digest()):
            if len(held) + len(by_sequence[name]) <= room:
                held += by_sequence[name]
    how = "whole sequences"
    if not held and room:
        how = "the last frames of each sequence"
        for members in by_sequence.values():
            count = min(max(1, round(fraction * len(members))), len(members) - 1)
            held += members[len(members) - count :] if count > 0 else []
    if not held:
        return splits | {"train": pairs}
    kept = {pair.image_id for pair in held}
    say(f"val: {len(held)} of {len(pairs)} images, {how} (--val_fraction={fraction:g})")
    return splits | {"train": [p for p in pairs if p.image_id not in kept], "val": held}
