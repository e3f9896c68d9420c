"""The files that docs/extending.md shows, and a tiny run of all its kinds."""

from __future__ import annotations

import re
from pathlib import Path

from tests.conftest import ROOT, TINY

PAGE = (ROOT / "docs" / "extending.md").read_text()
FILES: dict[str, str] = dict(
    re.findall(r"```(?:python|yaml|toml)\n# (\S+)\n(.*?)```", PAGE, re.DOTALL)
)
EVERY_KIND = (
    "extensions=[my_spans,my_data,my_optimizers,my_attention,my_figures]",
    "span=shared",
    "data=files",
    "data.files=[a.txt,b.txt]",
    "optimizer=lion",
    "train.attention=normed",
    *(override for override in TINY if not override.startswith("span.initial")),
)


def write_files(folder: Path) -> None:
    """The page's files, and the two texts that it names."""
    for name, content in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    for name in ("a.txt", "b.txt"):
        (folder / name).write_text("".join(f"{i} of {name}, {i % 7}\n" for i in range(200)))
