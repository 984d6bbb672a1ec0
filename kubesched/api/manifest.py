# SPDX-License-Identifier: Apache-2.0
"""Reading manifests: YAML, JSON or JSON Lines, several documents, List kinds, gzip by suffix, folders.

Duplicate keys are errors, and so is whatever `kubesched.api.yamltext` refuses.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from kubesched.api import yamltext
from kubesched.base import errors

MAX_BYTES = 512 * 1024 * 1024  # of one file, after gzip
_SUFFIXES = (".yaml", ".yml", ".json", ".jsonl")


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
    def place(line: int | None) -> str:
        return str(path) if line is None else f"{path}, line {line}"

    def twice(key: str, line: int | None) -> None:
        raise errors.InputError(place(line), "has a key twice", key, "each key once")

    return yamltext.load_all(text, place, twice)


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
