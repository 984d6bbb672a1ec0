# SPDX-License-Identifier: Apache-2.0
"""Reading manifests: YAML, JSON or JSON Lines, several documents, List kinds, gzip by suffix, folders.

YAML is looked at event by event before anything is built, so that aliases, depth and size have a budget: a document
that would grow when its aliases are followed is refused, not loaded. Duplicate keys and custom tags are errors.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
import yaml

from kubesched.base import errors

MAX_BYTES = 512 * 1024 * 1024  # of one file, after gzip
MAX_DEPTH = 200
MAX_ALIASES = 1000  # a budget, not a habit: real manifests use a handful
MAX_EXPANDED = 10_000_000  # values of a file after following its aliases
MAX_YAML_SCALAR = 16 * 1024 * 1024  # one value or one line of that size is a mistake
_SUFFIXES = (".yaml", ".yml", ".json", ".jsonl")
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_PLAIN_TAGS = frozenset(
    "tag:yaml.org,2002:" + t
    for t in ["null", "bool", "int", "float", "str", "seq", "map", "timestamp", "merge", "binary"]
)


class Sourced(dict[str, Any]):
    """An object that remembers where it was read, so that later errors can say it."""

    __slots__ = ("source",)

    def __init__(self, data: Mapping[str, Any], source: str) -> None:
        super().__init__(data)
        self.source = source


def like(data: Mapping[str, Any], original: Mapping[str, Any]) -> dict[str, Any]:
    """``data`` with the source of ``original``."""
    return Sourced(data, original.source) if isinstance(original, Sourced) else dict(data)


def load(paths: Sequence[Path]) -> list[dict[str, Any]]:
    """Objects of files and folders, in order; Lists are flattened. Each knows its source.

    Raises
    ------
    InputError
        Names the file, the document and the line.
    """
    out: list[dict[str, Any]] = []
    for path in paths:
        for file in _files(path):
            out.extend(_objects(file))
    return out


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    found = sorted(p for p in path.iterdir() if p.name.removesuffix(".gz").endswith(_SUFFIXES))
    if not found:
        raise errors.InputError(str(path), "holds no manifests", None, ", ".join(_SUFFIXES))
    return found


def _read(path: Path) -> bytes:
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise errors.InputError(str(path), "does not exist", None, "a manifest") from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise errors.InputError(str(path), f"is damaged ({error})", None, "whole gzip data") from None
    except OSError as error:
        raise errors.InputError(str(path), f"cannot be read ({error.strerror or error})") from None
    if len(data) > MAX_BYTES:
        raise errors.InputError(str(path), "is too large", f"over {MAX_BYTES} bytes", "a smaller file")
    return data


def _objects(path: Path) -> Iterator[dict[str, Any]]:
    for number, document in enumerate(documents(path), 1):
        if document is not None:
            where = f"{path}, document {number}"
            for obj in _flatten(document, where):
                yield Sourced(obj, where)


def documents(path: Path) -> Iterator[Any]:
    """Documents of a file as they are, objects or not.

    Raises
    ------
    InputError
        It cannot be read, or is not what its name says.
    """
    data = _read(path)
    name = path.name.removesuffix(".gz")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        where = f"{path}, byte {error.start}"
        raise errors.InputError(where, "is not UTF-8", hex(data[error.start]), "UTF-8 text") from None
    if name.endswith(".jsonl"):
        lines = enumerate(text.splitlines(), 1)
        yield from (_json(line, f"{path}, line {i}") for i, line in lines if line.strip())
    elif name.endswith(".json"):
        yield _json(text, str(path))
    else:
        yield from _yaml(text, path)


def _json(text: str, where: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise errors.InputError(where, f"is not JSON ({error})") from None


# ---- YAML ----


def _yaml(text: str, path: Path) -> list[Any]:
    for number, line in enumerate(text.splitlines(), 1):
        if len(line) > MAX_YAML_SCALAR:
            where = f"{path}, line {number}"
            raise errors.InputError(where, "is too long", f"{len(line)} characters", f"up to {MAX_YAML_SCALAR}")
    try:
        _guard(text, path)
        return list(yaml.load_all(text, Loader=_LOADER))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        line = f", line {mark.line + 1}" if mark is not None else ""
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise errors.InputError(f"{path}{line}", f"is not YAML ({problem})") from None
    except (RecursionError, ValueError) as error:
        raise errors.InputError(str(path), f"cannot be read ({str(error)[:100]})", None, "plain YAML") from None


class _Level:
    """A mapping or sequence that is open; of a mapping, the keys seen; ``size`` counts values, aliases followed."""

    __slots__ = ("anchor", "is_key", "keys", "size")

    def __init__(self, keys: set[str] | None, anchor: str | None) -> None:
        self.keys = keys
        self.is_key = keys is not None
        self.anchor = anchor
        self.size = 1


def _guard(text: str, path: Path) -> None:
    """Look at the events of all documents and refuse what should not be built."""
    levels: list[_Level] = []
    sizes: dict[str, int] = {}
    aliases = 0
    for event in yaml.parse(text, Loader=_LOADER):
        mark = event.start_mark
        where = str(path) if mark is None else f"{path}, line {mark.line + 1}"
        if isinstance(event, yaml.AliasEvent):
            aliases += 1
            if aliases > MAX_ALIASES:
                raise errors.InputError(where, "has too many aliases", f"over {MAX_ALIASES}", "a plain manifest")
            if any(level.anchor == event.anchor for level in levels):
                raise errors.InputError(where, "refers to itself", f"*{event.anchor}", "no cyclic alias")
        tag = getattr(event, "tag", None)
        if tag is not None and tag not in _PLAIN_TAGS:
            raise errors.InputError(where, "has a custom tag", tag, "plain YAML")
        if isinstance(event, yaml.ScalarEvent):
            _guard_scalar(event, levels, where)
        _measure(event, levels, sizes, where)
        _step(event, levels, where)


def _measure(event: Any, levels: list[_Level], sizes: dict[str, int], where: str) -> None:
    """Count values as if every alias were written out: a small file must not stand for billions of them."""
    if isinstance(event, yaml.CollectionEndEvent):
        closed = levels[-1]
        size, anchor = closed.size, closed.anchor
        above = levels[-2] if len(levels) > 1 else None
    elif isinstance(event, yaml.ScalarEvent | yaml.AliasEvent):
        size = sizes.get(event.anchor or "", 1) if isinstance(event, yaml.AliasEvent) else 1
        anchor = event.anchor if isinstance(event, yaml.ScalarEvent) else None
        above = levels[-1] if levels else None
    else:
        return
    if anchor is not None:
        sizes[anchor] = size
    if above is not None:
        above.size += size
        if above.size > MAX_EXPANDED:
            raise errors.InputError(
                where, "grows without bound when its aliases are followed", None, "a plain manifest"
            )


def _guard_scalar(event: yaml.ScalarEvent, levels: list[_Level], where: str) -> None:
    if len(event.value) > MAX_YAML_SCALAR:
        raise errors.InputError(where, "has a huge value", f"{len(event.value)} characters", f"up to {MAX_YAML_SCALAR}")
    if levels and levels[-1].keys is not None and levels[-1].is_key:
        if event.value in levels[-1].keys and event.value != "<<":
            raise errors.InputError(where, "has a key twice", event.value, "each key once")
        levels[-1].keys.add(event.value)


def _step(event: Any, levels: list[_Level], where: str) -> None:
    """Follow nesting; in a mapping, keys and values alternate."""
    if isinstance(event, yaml.CollectionEndEvent):
        levels.pop()
    if isinstance(event, yaml.ScalarEvent | yaml.AliasEvent | yaml.CollectionEndEvent):
        if levels and levels[-1].keys is not None:
            levels[-1].is_key = not levels[-1].is_key
    elif isinstance(event, yaml.CollectionStartEvent):
        if len(levels) >= MAX_DEPTH:
            raise errors.InputError(where, "is nested too deeply", f"over {MAX_DEPTH} levels", "a plain manifest")
        levels.append(_Level(set() if isinstance(event, yaml.MappingStartEvent) else None, event.anchor))


# ---- objects ----


def _flatten(document: Any, where: str) -> Iterator[dict[str, Any]]:
    if not isinstance(document, dict):
        raise errors.InputError(where, "is not an object", type(document).__name__, "a mapping with kind and metadata")
    kind = document.get("kind")
    if not isinstance(kind, str) or not kind:
        raise errors.InputError(f"{where}: kind", "is missing", kind, "a kind such as Pod")
    if kind.endswith("List") and isinstance(document.get("items"), list):
        for i, item in enumerate(document["items"]):
            inner = {"kind": kind.removesuffix("List"), **item} if isinstance(item, dict) and kind != "List" else item
            yield from _flatten(inner, f"{where}: items[{i}]")
        return
    metadata = document.get("metadata")
    if not isinstance(metadata, dict) or not isinstance(metadata.get("name"), str) or not metadata["name"]:
        raise errors.InputError(f"{where}: metadata.name", "is missing", metadata, "a name")
    yield document
