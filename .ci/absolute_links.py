"""Let a page's links and pictures lead to the repository, where its other files are not at hand.

    python .ci/absolute_links.py README.md https://HOST/OWNER/REPOSITORY v1.0.0

The package index and the napari hub show the README; beside it there is nothing.
"""

import re
import sys
from pathlib import Path


def absolute(text: str, repository: str, version: str) -> str:
    """Make the relative targets of a Markdown text absolute: pictures as files, others as pages."""

    def lead(link: re.Match[str]) -> str:
        kind = "raw" if link["picture"] else "blob"
        return f"{link['picture']}{link['words']}({repository}/{kind}/{version}/{link['target']})"

    return re.sub(r"(?P<picture>!?)(?P<words>\[[^\]]*\])\((?P<target>(?!\w+:|#)[^)\s]+)\)", lead, text)


if __name__ == "__main__":
    page, repository, version = sys.argv[1:]
    Path(page).write_text(absolute(Path(page).read_text("utf-8"), repository, version), "utf-8")
