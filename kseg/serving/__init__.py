"""Images in, masks out: from a server (client), or from an export on this machine (local).

The client needs no TensorFlow. Start with client.Client; predict writes masks and overlays for folders of images.
"""

from kseg.serving.client import Client, Detail, ServingError
from kseg.serving.images import read_image

__all__ = ["Client", "Detail", "ServingError", "read_image"]
