"""A digest of what Python executes of a file: the same whatever its comments, docstrings and
formatting are, and whichever version of Python reads it.
"""

from __future__ import annotations

import ast
import hashlib
import json
import sys
from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from adaspan.files import replacing

_DIGITS = 12
_MOST_KEPT = 10_000  # digests, in under a megabyte


@cache
def digest_of(source: bytes) -> str:
    """Of a file's syntax tree; of its bytes if it cannot be parsed."""
    try:
        parts = list[str]()
        _add(ast.parse(source), parts)
        executed = "\0".join(parts).encode(errors="surrogatepass")
    except (SyntaxError, ValueError):  # null bytes
        executed = source
    return hashlib.sha256(executed).hexdigest()[:_DIGITS]


def digests_of(paths: Iterable[Path], kept: Path) -> list[str]:
    """`digest_of` each file. Parsing all of a package takes a quarter of a second, so what was
    found is kept, as Python keeps what it compiles.

    Args:
        paths: of the files.
        kept: folder for what was found; without it, or the right to write there, all are parsed.
    """
    own = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:_DIGITS]
    file = kept / f"syntax-{own}.json"
    known = _read(file)
    contents = [path.read_bytes() for path in paths]
    keys = [hashlib.sha256(content).hexdigest() for content in contents]
    found = {
        key: known.get(key) or digest_of(content)
        for key, content in zip(keys, contents, strict=True)
    }
    if found.keys() - known.keys() and not sys.dont_write_bytecode:
        with suppress(OSError), replacing(file) as written:
            earlier = known if len(known) < _MOST_KEPT else {}
            written.write(json.dumps({**earlier, **found}).encode())
    return [found[key] for key in keys]


def _read(file: Path) -> dict[str, str]:
    """What was found before; nothing if the file is damaged."""
    with suppress(OSError, ValueError):
        known = json.loads(file.read_text())
        return known if isinstance(known, dict) else {}
    return {}


def _add(node: Any, parts: list[str]) -> None:
    """Add what a node is. Parts that are empty are left out: newer Pythons have more of them."""
    if isinstance(node, ast.AST):
        parts.append(type(node).__name__)
        for name in node._fields:
            value = getattr(node, name, None)
            if value is not None and value != []:
                parts.append(name)
                _add(value, parts)
        parts.append(")")
    elif isinstance(node, list):
        for one in node:
            if not _is_text(one):
                _add(one, parts)
        parts.append("]")
    else:
        parts.append(repr(node))


def _is_text(node: Any) -> bool:
    """Whether it is a statement that is only a string: a docstring, or as good as a comment."""
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )
