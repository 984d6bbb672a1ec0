# SPDX-License-Identifier: Apache-2.0
"""Objects and collections as bytes, in the form that was negotiated.

What is stored goes out without being decoded wherever the form allows: as JSON, alone or in a list.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import orjson

from kubesched.api import codec, status
from kubesched.api.codec import JSON, PROTOBUF
from kubesched.api.strategy import Object
from kubesched.apiserver import printing
from kubesched.apiserver.message import Pieces, Response
from kubesched.apiserver.negotiate import Format
from kubesched.apiserver.resource import Item, Resource
from kubesched.store import Entry


def item(resource: Resource, found: Item, form: Format, include: str = "") -> Response:
    """One object."""
    code = 201 if found.created else 200
    if found.entry is not None and form.media_type == JSON and not form.convert:
        return Response(code, resource.whole(found.entry))
    obj = convert(resource, resource.object_of(found), form, include)
    return Response(code, codec.encode(obj, form.media_type), form.media_type)


def plain(obj: Object, form: Format, code: int = 200) -> Response:
    """An object that belongs to no resource, a Status for example; never converted."""
    return Response(code, codec.encode(obj, form.media_type), form.media_type)


def check_stream(form: Format, include: str) -> None:
    """Whether events can be shown in a form.

    Raises
    ------
    StatusError
        406: they are no lists, and a Table does not travel as protobuf; 400: a bad includeObject.
    """
    if form.convert == "Table":
        _embedding(include, form.version)
        if form.media_type == PROTOBUF:
            codec.encode({"kind": "Table", "apiVersion": f"meta.k8s.io/{form.version}"}, PROTOBUF)
    elif form.convert not in ("", "PartialObjectMetadata"):
        raise status.not_acceptable((JSON,))


def convert(resource: Resource, obj: Object, form: Format, include: str = "") -> Object:
    """An object as it is, as a Table of one row, or its metadata alone."""
    if not form.convert:
        return obj
    if form.convert == "Table":
        metadata = {"resourceVersion": obj["metadata"].get("resourceVersion", "")}
        return table(resource, [obj], metadata, form, include)
    if form.convert != "PartialObjectMetadata":
        raise status.not_acceptable((JSON,))
    return partial(obj, form.version)


def partial(obj: Object, version: str) -> Object:
    """An object's metadata alone."""
    return {"kind": "PartialObjectMetadata", "apiVersion": f"meta.k8s.io/{version}", "metadata": obj["metadata"]}


def table(
    resource: Resource,
    objects: Iterable[Object],
    metadata: Object,
    form: Format,
    include: str = "",
    headers: bool = True,
) -> Object:
    """A Table: the kind's columns and a row for each object."""
    columns, cells = printing.columns(resource)
    embed = _embedding(include, form.version)
    rows = []
    for obj in objects:
        row: Object = {"cells": cells(obj)}
        embedded = embed(obj)
        if embedded is not None:
            row["object"] = embedded
        rows.append(row)
    return {
        "kind": "Table",
        "apiVersion": f"meta.k8s.io/{form.version}",
        "metadata": metadata,
        "columnDefinitions": columns if headers else None,
        "rows": rows,
    }


def _embedding(include: str, version: str) -> Callable[[Object], Object | None]:
    match include:
        case "" | "Metadata":
            return lambda obj: partial(obj, version)
        case "Object":
            return lambda obj: obj
        case "None":
            return lambda obj: None
    why = f"includeObject: Invalid value: \"{include}\": must be 'Metadata', 'Object', 'None', or empty"
    raise status.bad_request(f"Unable to convert to Table as requested: {why}")


def listing(
    resource: Resource, entries: Sequence[Entry], metadata: Object, form: Format, include: str = ""
) -> Response:
    """A collection; ``metadata`` has its resourceVersion, and how to go on."""
    if form.media_type == JSON and not form.convert:
        return Response(200, _list_pieces(resource, entries, metadata))
    return objects(resource, (resource.decode(entry) for entry in entries), metadata, form, include)


def objects(resource: Resource, found: Iterable[Object], metadata: Object, form: Format, include: str = "") -> Response:
    """A collection of decoded objects."""
    if form.convert == "Table":
        body = table(resource, found, metadata, form, include)
    elif form.convert == "PartialObjectMetadataList":
        body = {
            "kind": "PartialObjectMetadataList",
            "apiVersion": f"meta.k8s.io/{form.version}",
            "metadata": metadata,
            "items": [partial(obj, form.version) for obj in found],
        }
    elif form.convert:
        raise status.not_acceptable((JSON,))
    else:
        body = {**_list_head(resource), "metadata": metadata, "items": list(found)}
    return Response(200, codec.encode(body, form.media_type), form.media_type)


def _list_head(resource: Resource) -> dict[str, Any]:
    return {"kind": resource.kind.list_kind, "apiVersion": resource.kind.api_version}


def _list_pieces(resource: Resource, entries: Sequence[Entry], metadata: Object) -> Pieces:
    head = orjson.dumps({**_list_head(resource), "metadata": metadata})[:-1] + b',"items":['
    end = b"]}\n"
    items = resource.items(entries)
    return Pieces(len(head) + items.size + len(end), itertools.chain((head,), items, (end,)))
