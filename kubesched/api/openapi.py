# SPDX-License-Identifier: Apache-2.0
"""OpenAPI documents of what is served: version 3 for each group and version, version 2 as one, in JSON and protobuf.

Built-in kinds come from the archive of tables, where they lie as OpenAPI 2 in small parts; what is asked for is put
together or converted then. Custom resources are described like a built-in kind that has the same subresources, with
names exchanged and their own schema.

Source: kube-openapi (builder, builder3, openapiconv), apiextensions-apiserver/pkg/controller/openapi, v1.36.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import orjson

from kubesched.api import gnostic, schema
from kubesched.api.kinds import Kind, Registry, api_version
from kubesched.api.proto import encode_length

Json = dict[str, Any]

V2_PROTOBUF = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
_PATHS = "openapi/paths/"
_DEFINITIONS = "openapi/definitions/"
_NAMES_2, _NAMES_3 = "#/definitions/", "#/components/schemas/"


def _member(name: str) -> Any:
    data = schema.member(name)
    return {} if data is None else orjson.loads(data)


# ---- version 3 ----


def v3_index(kinds: Registry) -> bytes:
    """``/openapi/v3``: where the documents are. Their addresses change when they do."""
    paths = {path: {"serverRelativeURL": f"/openapi/v3/{path}?hash={v3_hash(kinds, path)}"} for path in v3_paths(kinds)}
    return orjson.dumps({"paths": paths})


def v3_paths(kinds: Registry) -> list[str]:
    """Names of the documents: ``api/v1``, ``apis/apps``, ``apis/apps/v1``, ``version``."""
    found = {name.removeprefix(_PATHS).removesuffix(".json") for name in schema.members(_PATHS)}
    for kind in _custom(kinds):
        found |= {f"apis/{kind.group}", f"apis/{kind.group}/{kind.version}"}
    return sorted(found)


def v3_hash(kinds: Registry, path: str) -> str:
    """What tells a document from its earlier versions, without making it."""
    parts = [_archive_hash(), path, *(orjson.dumps(_described(kind)).decode() for kind in _custom(kinds, path))]
    return hashlib.sha512("\0".join(parts).encode()).hexdigest().upper()


@functools.cache
def _archive_hash() -> str:
    digest = hashlib.sha256()
    for name in schema.members("openapi/"):
        digest.update(schema.member(name) or b"")
    return digest.hexdigest()


def _custom(kinds: Registry, path: str | None = None) -> list[Kind]:
    """Custom kinds, all or those of one document."""
    return [
        kind
        for kind in kinds
        if kind.custom and (path is None or path in (f"apis/{kind.group}", f"apis/{kind.group}/{kind.version}"))
    ]


def _described(kind: Kind) -> list[Any]:
    """What a custom kind's description depends on."""
    names = [kind.group, kind.version, kind.plural, kind.kind, kind.list_kind, kind.namespaced]
    return [*names, sorted(kind.subresources), kind.openapi]


def v3_document(kinds: Registry, path: str) -> bytes | None:
    """One document; None if there is none of that name."""
    custom = _custom(kinds, path)
    paths: Json = _member(f"{_PATHS}{path}.json")
    if not paths and not custom:
        return None
    definitions: Json = {}
    if path.count("/") > 1:
        for kind in custom:
            paths |= custom_paths(kind)
            definitions |= custom_definitions(kind, version=3)
    elif custom:
        paths |= _group_path(custom[0].group)
    shared = _member("openapi/shared.json")
    converted = {name: _path_item(item, shared["parameters"]) for name, item in paths.items()}
    schemas = _reachable(definitions, [converted, definitions])
    _name_own_kinds(schemas, path)
    document = {
        "openapi": "3.0.0",
        "info": shared["info"],
        "paths": converted,
        "components": ({"schemas": schemas} if schemas else {}) | {"securitySchemes": shared["securityDefinitions"]},
    }
    return orjson.dumps(document)


def _reachable(known: Json, roots: Iterable[Any]) -> Json:
    """Schemas that are referred to, and what they refer to."""
    out: Json = {name: _renamed(definition) for name, definition in known.items()}
    packages: dict[str, Json] = {}  # each is read once for a document, and not kept
    waiting = [name for root in roots for name in _references(root)]
    while waiting:
        name = waiting.pop()
        if name in out:
            continue
        package = name.rpartition(".")[0]
        if package not in packages:
            packages[package] = _definitions(package)
        definition = packages[package].get(name)
        if definition is not None:
            out[name] = _of_two_types(name, _schema(definition))
            waiting += _references(definition)
    return dict(sorted(out.items()))


_TWO_TYPES = {
    "io.k8s.apimachinery.pkg.api.resource.Quantity": ("string", "number"),
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": ("integer", "string"),
}
"""What version 2 calls a string, for want of words."""


def _of_two_types(name: str, described: Json) -> Json:
    types = _TWO_TYPES.get(name)
    if types is None:
        return described
    rest = {key: value for key, value in described.items() if key != "type"}
    return {**rest, "oneOf": [{"type": type_} for type_ in types]}


def _name_own_kinds(schemas: Json, path: str) -> None:
    """What belongs to every group (DeleteOptions, WatchEvent) names core and the document's own."""
    own = {"v1", path.removeprefix("apis/").removeprefix("api/")}
    for name in ("DeleteOptions", "WatchEvent"):
        found = schemas.get(f"{schema.META}.{name}")
        if found is not None:
            kinds = found["x-kubernetes-group-version-kind"]
            kept = [gvk for gvk in kinds if api_version(gvk["group"], gvk["version"]) in own]
            found["x-kubernetes-group-version-kind"] = kept


def _definitions(package: str) -> Json:
    found: Json = _member(f"{_DEFINITIONS}{package}.json")
    return found


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        reference = value.get("$ref")
        if isinstance(reference, str):
            yield reference.rpartition("/")[2]
        for item in value.values():
            yield from _references(item)
    elif isinstance(value, list):
        for item in value:
            yield from _references(item)


def _renamed(value: Any) -> Any:
    """With references as version 3 writes them."""
    if isinstance(value, dict):
        return {name: _renamed(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_renamed(item) for item in value]
    return value.replace(_NAMES_2, _NAMES_3) if isinstance(value, str) and value.startswith(_NAMES_2) else value


def _schema(value: Any) -> Any:
    """A schema of version 2 as version 3 writes it: a reference stands alone or within allOf."""
    if isinstance(value, list):
        return [_schema(item) for item in value]
    if not isinstance(value, dict):
        return value
    out = {name: _schema(item) for name, item in value.items()}
    reference = out.get("$ref")
    if isinstance(reference, str):
        out["$ref"] = reference.replace(_NAMES_2, _NAMES_3)
        if len(out) > 1:
            return {"allOf": [{"$ref": out.pop("$ref")}], **out}
    return out


_METHODS = ("get", "put", "post", "delete", "options", "head", "patch")


def _path_item(item: Json, shared: Json) -> Json:
    out: Json = {}
    for name, value in item.items():
        if name in _METHODS:
            out[name] = _operation(value, shared)
        elif name == "parameters":
            out[name] = [_parameter(parameter, shared) for parameter in value]
        else:
            out[name] = value
    return out


def _resolved(parameter: Json, shared: Json) -> Json:
    reference = parameter.get("$ref")
    found: Json = shared[reference.rpartition("/")[2]] if isinstance(reference, str) else parameter
    return found


_OF_SCHEMA = ("type", "format", "uniqueItems", "items", "enum", "default", "minimum", "maximum", "pattern")


def _parameter(parameter: Json, shared: Json) -> Json:
    found = _resolved(parameter, shared)
    out = {name: value for name, value in found.items() if name not in _OF_SCHEMA and name != "collectionFormat"}
    out["schema"] = {name: found[name] for name in _OF_SCHEMA if name in found}
    return out


def _operation(operation: Json, shared: Json) -> Json:
    left_out = ("consumes", "produces", "parameters", "responses", "schemes")
    out = {name: value for name, value in operation.items() if name not in left_out}
    parameters = [_resolved(parameter, shared) for parameter in operation.get("parameters", ())]
    others = [_parameter(parameter, shared) for parameter in parameters if parameter["in"] != "body"]
    if others:
        out["parameters"] = others
    for parameter in parameters:
        if parameter["in"] == "body":
            content = _content(operation.get("consumes") or ("*/*",), parameter["schema"])
            required = {"required": True} if parameter.get("required") else {}
            out["requestBody"] = {"content": content, **required}
    produces = operation.get("produces") or ("*/*",)
    out["responses"] = {code: _response(value, produces) for code, value in operation["responses"].items()}
    return out


def _content(media_types: Iterable[str], described: Json) -> Json:
    converted = _schema(described)
    return {media_type: {"schema": converted} for media_type in media_types}


def _response(response: Json, produces: Iterable[str]) -> Json:
    out = {name: value for name, value in response.items() if name != "schema"}
    if "schema" in response:
        out["content"] = _content(produces, response["schema"])
    return out


# ---- version 2 ----


def v2_json(kinds: Registry) -> bytes:
    """``/openapi/v2``: everything in one document."""
    paths, definitions = _custom_parts(kinds)
    shared = schema.member("openapi/shared.json") or b"{}"
    pieces = [
        shared[:-1],
        b',"paths":',
        _joined(_PATHS, paths),
        b',"definitions":',
        _joined(_DEFINITIONS, definitions),
        b"}",
    ]
    return b"".join(pieces)


def _joined(prefix: str, more: Json) -> bytes:
    """Objects of the archive and one more as one object, without reading them."""
    bodies = [(schema.member(name) or b"{}") for name in schema.members(prefix)]
    inner = [body[1:-1] for body in (*bodies, orjson.dumps(more)) if len(body) > 2]
    return b"{" + b",".join(inner) + b"}"


def v2_protobuf(kinds: Registry) -> bytes:
    """The same as protobuf."""
    paths, definitions = _custom_parts(kinds)
    table = _member("gnostic.json")
    numbers = {row[1]: row[0] for row in table["Document"]}
    out = [schema.member("openapi/v2/shared.pb") or b""]
    for name, message, more in (("paths", "Paths", paths), ("definitions", "Definitions", definitions)):
        body = (schema.member(f"openapi/v2/{name}.pb") or b"") + gnostic.encode(message, more, table)
        out += [encode_length(numbers[name] << 3 | 2), encode_length(len(body)), body]
    return b"".join(out)


def _custom_parts(kinds: Registry) -> tuple[Json, Json]:
    paths: Json = {}
    definitions: Json = {}
    for kind in _custom(kinds):
        if kind.group not in {name.split("/")[3].removesuffix(".json") for name in schema.members(f"{_PATHS}apis/")}:
            paths |= _group_path(kind.group)
        paths |= custom_paths(kind)
        definitions |= custom_definitions(kind, version=2)
    return paths, definitions


# ---- custom resources ----


def definition_name(kind: Kind) -> str:
    """``com.example.v1.Widget``: the group backwards, the version, the kind."""
    return ".".join([*reversed(kind.group.split(".")), kind.version, kind.kind])


def custom_definitions(kind: Kind, *, version: int) -> Json:
    """Schemas of a custom resource and of its list."""
    name = definition_name(kind)
    listed = definition_name(kind).removesuffix(kind.kind) + kind.list_kind
    described = dict(kind.openapi or {"type": "object", "x-kubernetes-preserve-unknown-fields": True})
    if version == 2:
        described = _for_version_2(described)
    described["properties"] = {**described.get("properties", {}), **_type_meta(), "metadata": _meta("ObjectMeta")}
    described["x-kubernetes-group-version-kind"] = [_gvk(kind, kind.kind)]
    items = {"description": f"List of {kind.plural}.", "type": "array", "items": {"$ref": _NAMES_2 + name}}
    return {
        name: described,
        listed: {
            "description": f"{kind.list_kind} is a list of {kind.kind}",
            "type": "object",
            "required": ["items"],
            "properties": {**_type_meta(), "items": items, "metadata": _meta("ListMeta")},
            "x-kubernetes-group-version-kind": [_gvk(kind, kind.list_kind)],
        },
    }


def _gvk(kind: Kind, name: str) -> Json:
    return {"group": kind.group, "kind": name, "version": kind.version}


def _meta(name: str) -> Json:
    return {
        "description": "Standard object's metadata. More info: "
        "https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata",
        "$ref": f"{_NAMES_2}{schema.META}.{name}",
    }


@functools.cache
def _type_meta() -> Mapping[str, Any]:
    """Kind and apiVersion as every object describes them."""
    properties = _definitions("io.k8s.api.core.v1")["io.k8s.api.core.v1.ConfigMap"]["properties"]
    return {name: properties[name] for name in ("apiVersion", "kind")}


_ONLY_VERSION_3 = frozenset({"oneOf", "anyOf", "not", "nullable"})


def _for_version_2(value: Any) -> Any:
    """A schema without what version 2 has no words for; what may be null or of two types is left open."""
    if isinstance(value, list):
        return [_for_version_2(item) for item in value]
    if not isinstance(value, dict):
        return value
    open_ = (
        value.get("nullable")
        or value.get("x-kubernetes-int-or-string")
        or value.get("x-kubernetes-preserve-unknown-fields")
    )
    dropped = {*_ONLY_VERSION_3, "type", "items", "properties"} if open_ else _ONLY_VERSION_3
    return {
        name: {key: _for_version_2(item) for key, item in inner.items()}
        if name == "properties"
        else _for_version_2(inner)
        for name, inner in value.items()
        if name not in dropped
    }


_LIKE = {
    True: ("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget"),
    False: ("networking.k8s.io", "v1", "servicecidrs", "ServiceCIDR"),
}
"""Built-in kinds with a status, by whether they are in namespaces."""
_SCALE_LIKE = ("apps", "v1", "replicasets", "ReplicaSet")
_CUSTOM_MEDIA = (
    "application/json",
    "application/yaml",
    "application/json;stream=watch",
    "application/yaml;stream=watch",
)


def custom_paths(kind: Kind) -> Json:
    """Paths of a custom resource and of its subresources, as version 2 describes them."""
    like = _LIKE[kind.namespaced]
    out = {
        path: item
        for path, item in _paths_like(kind, like).items()
        if "/watch/" not in path and ("status" in kind.subresources or not path.endswith("/status"))
    }
    if "scale" in kind.subresources:
        out |= {path: item for path, item in _paths_like(kind, _SCALE_LIKE).items() if path.endswith("/scale")}
    return out


def _paths_like(kind: Kind, like: tuple[str, str, str, str]) -> Json:
    """The paths of a built-in kind with its names exchanged for a custom kind's."""
    group, version, plural, name = like
    exchange = [
        (f"/apis/{group}/{version}/", f"/apis/{kind.group}/{kind.version}/"),
        (_NAMES_2 + schema.package_of(group, version) + f".{name}List", _NAMES_2 + _list_name(kind)),
        (_NAMES_2 + schema.package_of(group, version) + f".{name}", _NAMES_2 + definition_name(kind)),
        (_operation_name(group, version), _operation_name(kind.group, kind.version)),
        (f"{_tag(group)}_{version}", f"{_tag(kind.group)}_{kind.version}"),
    ]
    items = _member(f"{_PATHS}apis/{group}/{version}.json")
    root = f"/apis/{group}/{version}/"
    found = {path: item for path, item in items.items() if path == root or plural in path.split("/")}
    exchanged = _exchanged(found, exchange, plural, kind.plural, name, kind.kind)
    return {path: _of_custom(item, kind) for path, item in exchanged.items()}


def _list_name(kind: Kind) -> str:
    return definition_name(kind).removesuffix(kind.kind) + kind.list_kind


def _tag(group: str) -> str:
    """``storage.k8s.io`` -> ``storage``, ``example.com`` -> ``exampleCom``."""
    head, *rest = group.removesuffix(".k8s.io").split(".")
    return head + "".join(part[:1].upper() + part[1:] for part in rest)


def _operation_name(group: str, version: str) -> str:
    tag = _tag(group)
    return tag[:1].upper() + tag[1:] + version[:1].upper() + version[1:]


def _exchanged(value: Any, texts: list[tuple[str, str]], plural: str, new_plural: str, name: str, new_name: str) -> Any:
    def change(text: str) -> str:
        for old, new in texts:
            text = text.replace(old, new)
        parts = [new_plural if part == plural else part for part in text.split("/")]
        return "/".join(parts).replace(name, new_name) if not text.startswith(_NAMES_2) else text

    def walk(item: Any) -> Any:
        if isinstance(item, dict):
            return {change(key): walk(inner) for key, inner in item.items()}
        if isinstance(item, list):
            return [walk(inner) for inner in item]
        return change(item) if isinstance(item, str) else item

    return walk(value)


def _of_custom(item: Json, kind: Kind) -> Json:
    """A path's item with the kind's own group and version, and media types that custom resources have."""
    out: Json = {}
    for name, value in item.items():
        if name in _METHODS:
            value = dict(value)
            gvk = value.get("x-kubernetes-group-version-kind")
            if gvk and gvk["kind"] == kind.kind:
                value["x-kubernetes-group-version-kind"] = _gvk(kind, kind.kind)
            for side in ("consumes", "produces"):
                served = [media for media in value.get(side, ()) if media in ("*/*", *_CUSTOM_MEDIA, *_CUSTOM_PATCHES)]
                value[side] = served
        out[name] = value
    return out


_CUSTOM_PATCHES = ("application/json-patch+json", "application/merge-patch+json", "application/apply-patch+yaml")


def _group_path(group: str) -> Json:
    """The path of a group's own document of discovery."""
    item = _member(f"{_PATHS}apis/policy.json")["/apis/policy/"]
    tag = _tag(group)
    name = tag[:1].upper() + tag[1:]
    exchange = [("/apis/policy/", f"/apis/{group}/"), ("getPolicyAPIGroup", f"get{name}APIGroup"), ("policy", tag)]
    found: Json = _exchanged({"/apis/policy/": item}, exchange, "", "", "\0", "")
    return found
