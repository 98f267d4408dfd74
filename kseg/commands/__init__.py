"""What `kseg NAME` and tools/NAME.py run: absl flags in, one call into the library, errors in one line.

One module a command, NAMES lists them; flags.py is what they have in common, conversion.py what the converters have.
"""

# In the order of a first use.
NAMES = {
    "make_street_scenes": "draw a small data set to try everything with",
    "convert_cityscapes": "Cityscapes -> records",
    "convert_camvid": "CamVid -> records",
    "convert_folder": "any folder of pictures and labels -> records",
    "inspect_records": "what a folder of records holds, and whether it is whole",
    "train": "train one model, or go on with it",
    "evaluate": "score a trained model on a split",
    "report": "a page for a run: curves, classes, confusion, best and worst pictures",
    "compare": "the same for several runs side by side",
    "export": "trained model -> SavedModel for a server",
    "predict": "masks and overlays for images, by an export or a server",
    "study": "compare treatments over many runs, and draw the page",
    "demo": "all of this in small, in a few minutes",
}
