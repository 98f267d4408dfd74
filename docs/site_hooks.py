"""What `make docs` adds to docs/: pages that lie beside it, so that links work in the repository and on the site."""

import os
import re

from mkdocs.structure.files import File

# On the site -> in the repository.
_BESIDE = {
    "index.md": "README.md",
    "CONTRIBUTING.md": "CONTRIBUTING.md",
    "CHANGELOG.md": "CHANGELOG.md",
    "deploy/README.md": "deploy/README.md",
    "tfrecords/FORMAT.md": "tfrecords/FORMAT.md",
}


def on_files(files, config):
    root = os.path.dirname(config.config_file_path)
    for page, source in _BESIDE.items():
        files.append(File.generated(config, page, abs_src_path=os.path.join(root, source)))
    return files


def on_page_markdown(markdown, page, config, files):
    """Links from docs/ to what lies beside it, and from there into docs/; without comments, which would end a list."""
    source, markdown = page.file.src_uri, re.sub(r"<!--.*?-->", "", markdown, flags=re.DOTALL)
    if source == "index.md" or source in ("CONTRIBUTING.md", "CHANGELOG.md"):
        return markdown.replace("](docs/", "](")
    if source in _BESIDE:
        return markdown.replace("](../docs/", "](../")
    if "/" not in source:
        markdown = markdown.replace("](../README.md", "](index.md")  # the home page
        return markdown.replace("](../", "](").replace("](study/)", "](study/README.md)")
    return markdown
