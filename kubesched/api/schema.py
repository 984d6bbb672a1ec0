# SPDX-License-Identifier: Apache-2.0
"""Types of objects: what fields there are, how lists and maps merge, how they travel.

Built-in types come from the compressed tables beside this module (made by `tools/api_tables.py`); a custom resource's
schema becomes the same classes. Everything that walks objects walks these.

The archive holds for each Go package a member ``types/PACKAGE.json``: name of a type -> a type expression, or for a
struct ``{"fields": [[name, type expression, number, flags, {what else is known}], ...], "atomic": true}``, or for a
list that travels as a message ``{"message": type expression}``. Type expressions are Go's, with names as OpenAPI writes
them. Flags: ``i`` embedded, ``o`` omitempty, ``z`` omitzero.
"""

from __future__ import annotations

import enum
import functools
import re
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import orjson


class Shape(enum.Enum):
    """What a value is in JSON, and which hand-written rule applies to it."""

    OBJECT = "object"
    MAP = "map"  # string keys, one element type
    LIST = "list"
    STRING = "string"
    INTEGER = "integer"  # 64 bits; `Type.bits` says 32 where it is
    NUMBER = "number"
    BOOLEAN = "boolean"
    BYTES = "bytes"  # base64 text
    QUANTITY = "quantity"
    TIME = "time"
    MICRO_TIME = "micro_time"
    DURATION = "duration"
    INT_OR_STRING = "int_or_string"
    ANY = "any"  # RawExtension, JSON, FieldsV1: kept as it is
    EITHER = "either"  # a value of one of the types of `Type.fields`, told apart by what it is in JSON


class ListType(enum.Enum):
    ATOMIC = "atomic"
    SET = "set"
    MAP = "map"


@dataclass(slots=True, eq=False)
class Field:
    """One field of an object type."""

    name: str
    type: Type
    number: int = 0  # on the wire; 0: not on the wire (custom resources)
    within: tuple[int, ...] = ()  # numbers of the embedded messages it travels in; in JSON it is the object's own
    embedded: tuple[str, ...] = ()  # names in Go of what it is embedded in, which error texts show
    pointer: bool = False  # zero is a value: never left out when it is set
    omit_empty: bool = False  # zero, "", [] and {} are left out; what is an OBJECT or TIME and no pointer never is
    omit_zero: bool = False  # an OBJECT or TIME that is no pointer is left out too when it is zero
    merge_key: str = ""  # strategic merge
    patch_strategy: tuple[str, ...] = ()  # "merge", "replace", "retainKeys"
    default: object = None  # of a built-in type: what stands for it in the key of a list's element
    required: bool = False


@dataclass(slots=True, eq=False)
class Type:
    """One type. ``name`` is its OpenAPI name where it has one; types may refer to themselves."""

    name: str
    shape: Shape
    fields: Mapping[str, Field] = field(default_factory=dict)  # OBJECT, by JSON name in printing order
    element: Type | None = None  # MAP and LIST
    list_type: ListType = ListType.ATOMIC
    keys: tuple[str, ...] = ()  # of a list of type MAP
    atomic: bool = False  # a MAP or OBJECT that apply treats as one value
    bits: int = 64
    preserve_unknown: bool = False  # an OBJECT that keeps fields it does not know
    go: str = ""  # its name in Go, which error texts show
    wrapped: bool = False  # a LIST that travels as a message with the one field 1


class UnknownType(LookupError):
    """There is no built-in type of that name."""


META = "io.k8s.apimachinery.pkg.apis.meta.v1"
_GROUP_PACKAGES = {
    "": "io.k8s.api.core",
    "meta.k8s.io": "io.k8s.apimachinery.pkg.apis.meta",
    "apiextensions.k8s.io": "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions",
    "apiregistration.k8s.io": "io.k8s.kube-aggregator.pkg.apis.apiregistration",
}
_BY_HAND = {
    f"{META}.Time": Shape.TIME,
    f"{META}.MicroTime": Shape.MICRO_TIME,
    f"{META}.Duration": Shape.DURATION,
    f"{META}.FieldsV1": Shape.ANY,
    "io.k8s.apimachinery.pkg.api.resource.Quantity": Shape.QUANTITY,
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": Shape.INT_OR_STRING,
    "io.k8s.apimachinery.pkg.runtime.RawExtension": Shape.ANY,
    "io.k8s.apimachinery.pkg.runtime.Object": Shape.ANY,
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSON": Shape.ANY,
}
_EITHER = re.compile(r"JSONSchemaPropsOr\w+\Z")
_SCALARS = {
    "string": Type("", Shape.STRING, go="string"),
    "bool": Type("", Shape.BOOLEAN, go="bool"),
    "int": Type("", Shape.INTEGER, go="int"),
    "int32": Type("", Shape.INTEGER, bits=32, go="int32"),
    "int64": Type("", Shape.INTEGER, go="int64"),
    "float64": Type("", Shape.NUMBER, go="float64"),
    "[]byte": Type("", Shape.BYTES, go="[]uint8"),
    "interface{}": Type("", Shape.ANY, go="interface {}"),
}


def package_of(group: str, version: str) -> str:
    """The Go package of a group and version, as OpenAPI writes it: ``io.k8s.api.core.v1``."""
    return f"{_GROUP_PACKAGES.get(group) or 'io.k8s.api.' + group.partition('.')[0]}.{version}"


@functools.cache
def of(group: str, version: str, kind: str) -> Type:
    """The type of a built-in kind; kinds that all groups share (Status, DeleteOptions, Table) are found in any.

    Raises
    ------
    UnknownType
        No such kind.
    """
    for package in (package_of(group, version), META):
        if kind in declared(package):
            return named(f"{package}.{kind}")
    raise UnknownType(f"no kind {kind!r} in version {version!r} of group {group!r}")


_archive = functools.cache(lambda: zipfile.ZipFile(Path(__file__).with_name("tables.zip")))


def member(name: str) -> bytes | None:
    """A member of the archive of tables, decompressed; None if there is none of that name."""
    try:
        return _archive().read(name)
    except KeyError:
        return None


def members(prefix: str) -> list[str]:
    """Names of the members that begin with ``prefix``."""
    return [name for name in _archive().namelist() if name.startswith(prefix)]


def declared(package: str) -> Mapping[str, Any]:
    """Rows of a package: the name of each of its types, and what the archive says of it."""
    return _rows(package) if f"types/{package}.json" in _archive().NameToInfo else {}


@functools.cache
def _rows(package: str) -> Mapping[str, Any]:
    """Kept for the packages that there are only: strangers ask for others."""
    found: Mapping[str, Any] = orjson.loads(_archive().read(f"types/{package}.json"))
    return found


@functools.cache
def named(name: str) -> Type:
    """The type of an OpenAPI name.

    Raises
    ------
    UnknownType
        No such type.
    """
    package, _, bare = name.rpartition(".")
    go = f"{package.rpartition('.')[2]}.{bare}"
    if (by_hand := _BY_HAND.get(name)) is not None:
        return Type(name, by_hand, go=go, atomic=by_hand is Shape.ANY)
    found = declared(package).get(bare)
    if found is None:
        raise UnknownType(f"no type {name!r}")
    if isinstance(found, str):
        return expression(found) if found.startswith(package) else replace(expression(found), name=name, go=go)
    if "message" in found:
        return replace(expression(found["message"]), name=name, go=go, wrapped=True)
    shape = Shape.EITHER if _EITHER.match(bare) else Shape.OBJECT
    return Type(name, shape, fields=_Fields(found["fields"]), go=go, atomic=found.get("atomic", False))


@functools.cache
def expression(text: str) -> Type:
    """The type that a type expression means; pointers are the business of fields."""
    text = text.removeprefix("*")
    if text in _SCALARS:
        return _SCALARS[text]
    if text.startswith("[]"):
        element = expression(text[2:])
        return Type("", Shape.LIST, element=element, go=f"[]{element.go}")
    if text.startswith("map["):
        key, _, value = text[4:].partition("]")
        element = expression(value)
        return Type("", Shape.MAP, element=element, go=f"map[{expression(key).go}]{element.go}")
    return named(text)


class _Fields(Mapping[str, Field]):
    """Fields of a struct, made when one is asked for: a type is known before the types it leads to, and itself, are."""

    __slots__ = ("_made", "_rows")

    def __init__(self, rows: list[list[Any]]) -> None:
        self._rows: list[list[Any]] | None = rows
        self._made: dict[str, Field] = {}

    def _all(self) -> dict[str, Field]:
        rows = self._rows
        if rows is not None:  # large bodies are read in threads: two may come here at once
            self._made = {found.name: found for row in rows for found in _fields(*row)}
            self._rows = None
        return self._made

    def __getitem__(self, name: str) -> Field:
        return self._all()[name]

    def get(self, name: str, default: Any = None) -> Any:
        return self._all().get(name, default)

    def __contains__(self, name: object) -> bool:
        return name in self._all()

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())


_ZEROS: dict[Shape, object] = {Shape.STRING: "", Shape.INTEGER: 0, Shape.BOOLEAN: False}


def _fields(name: str, text: str, number: int, flags: str, extra: Mapping[str, Any] | None = None) -> Iterator[Field]:
    """The field of a row, or the fields of the struct that it embeds."""
    if "i" in flags:
        name = text.rpartition(".")[2]
        for inner in expression(text).fields.values():
            wire = {"within": (number, *inner.within)} if number else {"number": 0}
            yield replace(inner, embedded=(name, *inner.embedded), **wire)
        return
    extra = extra or {}
    type_ = _merging(expression(text), extra)
    yield Field(
        name,
        type_,
        number,
        pointer=text.startswith("*"),
        omit_empty="o" in flags,
        omit_zero="z" in flags,
        merge_key=extra.get("merge", ""),
        patch_strategy=tuple(extra["strategy"].split(",")) if "strategy" in extra else (),
        default=extra.get("default", None if text.startswith("*") or "o" in flags else _ZEROS.get(type_.shape)),
        required=extra.get("required", False),
    )


def _merging(type_: Type, extra: Mapping[str, Any]) -> Type:
    """The type with what its field says about merging."""
    if "list" in extra:
        return replace(type_, list_type=ListType(extra["list"]), keys=tuple(extra.get("keys", ())))
    return replace(type_, atomic=True) if extra.get("map") == "atomic" else type_
