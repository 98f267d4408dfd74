"""What tools/gpu_checks.py measured, beside what docs/scale.md had computed, as a section of that page.

The assumptions are that page's: convolutions at half of the dense bfloat16 peak, memory at 80 % of its bandwidth, one
after the other. Measures nothing.
"""

BEGIN = "<!-- written by tools/gpu_checks.py: begin -->"
END = "<!-- written by tools/gpu_checks.py: end -->"
NOT_MEASURED = """**Everything about GPUs on this page is computed, not measured.** `python tools/gpu_checks.py`
measures it on a machine that has one, and writes here what it found."""

# Dense bfloat16 FLOP/s and bytes/s by the makers' data sheets (SXM where there are several).
_PEAKS = {
    "A100": (312e12, 2.0e12),
    "H100": (989e12, 3.35e12),
    "H200": (989e12, 4.8e12),
}
# Of one image in a training step at 512x1024: operations and bytes moved; GiB that it takes. Counted, as the page says;
# the bytes of Lite0 are the UNet's by the ratio of their activations, 0.60 to 1.96 GiB.
_COUNTED = {"cityscapes_unet": (2.24e12, 13e9, 2.4), "cityscapes_lite0": (0.044e12, 4.0e9, 0.72)}


def computed_images_per_s(device: str, recipe: str) -> float | None:
    """What one such GPU would do; None for one whose data sheet is not in the table."""
    for name, (flops, bandwidth) in _PEAKS.items():
        if name in device:
            operations, moved, _ = _COUNTED[recipe]
            return 1 / (operations / (0.5 * flops) + moved / (0.8 * bandwidth))
    return None


def computed_gib(recipe: str, images: int) -> float:
    """Memory that a step with so many images on a GPU would take."""
    return images * _COUNTED[recipe][2]


def images_that_fit(mebibytes: int) -> int:
    """How many images a step of the UNet gets on a GPU of that size: 16, the recipe's batch, or as many as fit."""
    for images in (16, 8, 4, 2):
        if computed_gib("cityscapes_unet", images) <= 0.9 * mebibytes / 1024:
            return images
    return 1


def fill(text: str, measured: dict | None) -> str:
    """The page with its section anew; `measured` is docs/gpu.json's content, None where there is none.

    Raises:
      ValueError: where the page has no such section.
    """
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"the page lacks the lines {BEGIN} and {END}, between which the table goes.")
    return f"{head}{BEGIN}\n{section(measured) if measured else NOT_MEASURED}\n{END}{tail}"


def section(measured: dict) -> str:
    """The section's Markdown."""
    device, figures = measured["device"], measured["figures"]
    versions = ", ".join(f"{name} {version}" for name, version in device["versions"].items())
    lines = [
        f"## Measured: {device['gpus']} x {device['name']}",
        "",
        f"By `python tools/gpu_checks.py`, on made street scenes; {versions}; {device['cores']} processor cores. All "
        "figures: [gpu.json](gpu.json). The other sections are computed, not measured.",
        "",
        "| training at 512x1024, one GPU | measured | computed below |",
        "|---|---|---|",
    ]
    for recipe in _COUNTED:
        computed = computed_images_per_s(device["name"], recipe)
        for kind in ("jpeg", "png"):
            entry = figures.get(f"images_per_s_{recipe}_{kind}")
            beside = f"{computed:.0f}, without input" if computed else "not computed for this GPU"
            lines.append(f"| `{recipe}.py`, {kind.upper()} records, images/s | {_text(entry)} | {beside} |")
        entry = figures.get(f"peak_gib_{recipe}")
        beside = f"{computed_gib(recipe, measured['images_per_gpu']):.3g}"
        lines.append(f"| `{recipe}.py`, {measured['images_per_gpu']} images, peak GiB | {_text(entry)} | {beside} |")
    lines += ["", "| check | measured | goal | |", "|---|---|---|---|"]
    for name, entry in figures.items():
        if entry.get("goal"):
            verdict = "holds" if entry["holds"] else "**does not hold**"
            lines.append(f"| {name.replace('_', ' ')} | {_text(entry)} | {entry['goal']} | {verdict} |")
    return "\n".join(lines)


def _text(entry):
    if entry is None or entry["value"] is None:
        return "not measured" + (f" ({entry['note']})" if entry and entry.get("note") else "")
    return f"{entry['value']:.4g}"
