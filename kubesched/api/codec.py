# SPDX-License-Identifier: Apache-2.0
"""Bodies to objects and back: JSON, YAML, protobuf.

Decoding walks the object by its type once and gives what a typed server would print again, with what the type does not
know reported by path.

Source: apimachinery/pkg/runtime/serializer and apiserver/pkg/endpoints/handlers, v1.36.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

import orjson
import yaml

from kubesched.api import gotext, jsontext, kinds, normal, proto, schema, shared, status, yamltext
from kubesched.api.normal import DecodeError
from kubesched.api.schema import Field, Shape, Type
from kubesched.base import errors

__all__ = [
    "DecodeError",
    "Named",
    "apply_body",
    "decode",
    "decode_options",
    "encode",
    "json_patch_body",
    "merge_patch_body",
    "normalise",
    "strategic_patch_body",
]

Object = dict[str, Any]

JSON = "application/json"
YAML = "application/yaml"
PROTOBUF = "application/vnd.kubernetes.protobuf"

_MAX_YAML_VALUES = 50_000  # half a second of reading; what is larger is sent as JSON, as kubectl does
_SCHEME = "pkg/api/legacyscheme/scheme.go:30"


class Named(Protocol):
    """Group, version and kind that a body is expected to be."""

    @property
    def group(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def kind(self) -> str: ...


# ---- objects ----


def decode(body: bytes, media_type: str, kind: Type, wanted: Named, *, strict: bool) -> tuple[Object, list[str]]:
    """An object of a type, and (if ``strict``) its unknown and duplicate fields, as upstream words them.

    Raises
    ------
    DecodeError
        It cannot be read, or is something else.
    StatusError
        It is of another version than the request's.
    """
    if media_type == PROTOBUF:
        return normalise(_from_protobuf(body, kind, wanted), kind, strict=False)
    twice: list[str] = []
    known = normal.known_specs(kind) if media_type == JSON else None
    found: Any = None if known is None else jsontext.loads_around(body, known.get)
    once = found is not None  # no key stands twice
    if not once:
        found = _yaml(body, twice) if media_type == YAML and not _is_json(body) else _json(body)
    said = _check_names(found, wanted)
    try:
        out, unknown = _normal(found, kind)
    except DecodeError as error:
        error.found, error.version = said
        raise
    out["kind"], out["apiVersion"] = wanted.kind, kinds.api_version(wanted.group, wanted.version)
    if not strict:
        return out, []
    doubled = not once and _is_json(body) and jsontext.has_duplicates(body, found)
    if doubled or unknown:
        return out, twice + _strict_errors(jsontext.pairs(body) if doubled else found, kind)
    return out, twice


def normalise(obj: Any, kind: Type, *, strict: bool) -> tuple[Object, list[str]]:
    """The object as a typed server prints it, and what the type does not know. Raises DecodeError for wrong types."""
    out, unknown = _normal(obj, kind)
    return out, _strict_errors(obj, kind) if strict and unknown else []


def _is_custom(kind: Type) -> bool:
    """Whether it is a custom resource's, which no typed server decodes: fields that are not known are pruned."""
    return not kind.go


def _normal(obj: Any, kind: Type) -> tuple[Object, bool]:
    if not isinstance(obj, dict):
        raise DecodeError(f"json: cannot unmarshal {normal.described(obj)} into Go value of type {_go(kind)}")
    return normal.prune(obj, kind) if _is_custom(kind) else normal.normalise(obj, kind)


def _go(kind: Type) -> str:
    return kind.go or "map[string]interface {}"


def _strict_errors(value: Any, kind: Type) -> list[str]:
    return normal.custom_strict_errors(value, kind) if _is_custom(kind) else normal.strict_errors(value, kind)


def _is_json(body: bytes) -> bool:
    return body.lstrip()[:1] == b"{"


_FIND_KIND = 'struct { APIVersion string "json:\\"apiVersion,omitempty\\""; Kind string "json:\\"kind,omitempty\\"" }'


def _json(body: bytes) -> Any:
    try:
        return jsontext.loads(body)
    except jsontext.Malformed as error:
        raise DecodeError(f"couldn't get version/kind; json parse error: {error}") from None


def _check_names(found: Any, wanted: Named) -> tuple[str, str]:
    """Kind and version that a body says it is; what it does not say is as wanted."""
    if not isinstance(found, dict):
        what = f"json: cannot unmarshal {normal.described(found)} into Go value of type {_FIND_KIND}"
        raise DecodeError(f"couldn't get version/kind; json parse error: {what}")
    expected = kinds.api_version(wanted.group, wanted.version)
    if found.get("kind") == wanted.kind and found.get("apiVersion") == expected:
        return wanted.kind, wanted.version
    for name in ("apiVersion", "kind"):
        if not isinstance(found.get(name) or "", str):
            what = f"json: cannot unmarshal {normal.described(found[name])} into Go struct field .{name} of type string"
            raise DecodeError(f"couldn't get version/kind; json parse error: {what}")
    return check_kind(found.get("apiVersion") or "", found.get("kind") or "", wanted)


def check_kind(api_version: str, kind: str, wanted: Named) -> tuple[str, str]:
    """Whether a body that says it is this is what the request is about; kind and version, as wanted where it says none.

    Raises
    ------
    DecodeError
        Another kind, or an apiVersion that is none.
    StatusError
        Another version.
    """
    if api_version.count("/") > 1:
        raise DecodeError(f"unexpected GroupVersion string: {api_version}")
    expected = kinds.api_version(wanted.group, wanted.version)
    kind, api_version = kind or wanted.kind, api_version or expected
    group, version = kinds.split_api_version(api_version)
    if kind != wanted.kind:
        try:
            schema.of(group, version, kind)
        except schema.UnknownType:
            what = f'no kind "{kind}" is registered for version "{api_version}" in scheme "{_SCHEME}"'
        else:
            what = f"converting (v1.{kind}) to ({wanted.group or 'core'}.{wanted.kind}): unknown conversion"
        raise DecodeError(what, kind, version)
    if api_version != expected:
        raise status.bad_request(
            f"the API version in the data ({api_version}) does not match the expected API version ({expected})"
        )
    return kind, version


def _from_protobuf(body: bytes, kind: Type, wanted: Named) -> Object:
    api_version, name, message = proto.unwrap(body)
    said = check_kind(api_version, name, wanted)
    try:
        found = proto.decode(message, kind)
    except DecodeError as error:
        error.found, error.version = said
        raise
    return {"kind": wanted.kind, "apiVersion": kinds.api_version(wanted.group, wanted.version), **found}


# ---- YAML ----


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Times stay text, as upstream's reader leaves them."""

    yaml_implicit_resolvers = {  # noqa: RUF012
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def _yaml(body: bytes, twice: list[str]) -> Any:
    """The first document of a YAML body; what stands twice in it is one more sentence in ``twice``."""
    lines: list[str] = []

    def place(line: int | None) -> str:
        return "yaml" if line is None else f"yaml: line {line}"

    def remember(key: str, line: int | None) -> None:
        lines.append(f'  line {line}: key "{key}" already set in map')

    try:
        documents = yamltext.load_all(body.decode(), place, remember, _Loader, _MAX_YAML_VALUES)
    except UnicodeDecodeError:
        raise DecodeError("error converting YAML to JSON: yaml: invalid leading UTF-8 octet") from None
    except errors.InputError as error:
        raise DecodeError(f"error converting YAML to JSON: {error}") from None
    if lines:
        twice.append("yaml: unmarshal errors:\n" + "\n".join(lines))
    return _as_json(documents[0] if documents else None)


def _as_json(value: Any) -> Any:
    """A value of YAML as JSON has it: keys are strings, numbers finite."""
    if isinstance(value, dict):
        return {_key(name): _as_json(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_as_json(item) for item in value]
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, int) and not isinstance(value, bool) and not -(2**63) <= value < 2**64:
        return float(value)
    if isinstance(value, float) and value - value != 0:
        raise DecodeError(f"error converting YAML to JSON: json: unsupported value: {value}")
    return value


def _key(name: Any) -> str:
    if isinstance(name, bool):
        return "true" if name else "false"
    if isinstance(name, str | int | float):
        return str(name)
    raise DecodeError(f"error converting YAML to JSON: unsupported map key of type: {type(name).__name__}")


# ---- patches, configurations, options ----


_TEXT = Type("", Shape.STRING, go="string")
_OPERATION = Type(
    "",
    Shape.OBJECT,
    {
        **{name: Field(name, _TEXT) for name in ("op", "path", "from")},
        "value": Field("value", Type("", Shape.ANY, go="interface {}")),
    },
    go="handlers.jsonPatchOp",
)
_OPERATIONS = Type("", Shape.LIST, element=_OPERATION, go="[]handlers.jsonPatchOp")
_GO_MAP = "map[string]interface {}"


def json_patch_body(body: bytes, *, strict: bool) -> tuple[list[Object | None], list[str]]:
    """A JSON patch's operations, and (if ``strict``) their unknown and duplicate fields. Raises StatusError 400."""
    before = "error decoding patch: " if strict else ""
    try:
        found = jsontext.loads(body)
        if not strict:
            return _operations(found), []
        _, unknown = normal.normalise(found, _OPERATIONS)
    except (jsontext.Malformed, DecodeError) as error:
        raise status.bad_request(f"{before}{error}") from None
    if not (unknown or jsontext.has_duplicates(body, found)):
        return found or [], []
    return found, [f"json patch {text}" for text in normal.strict_errors(jsontext.pairs(body), _OPERATIONS)]


def _operations(found: Any) -> list[Object | None]:
    if found is not None and not isinstance(found, list):
        raise DecodeError(f"json: cannot unmarshal {normal.described(found)} into Go value of type jsonpatch.Patch")
    for item in found or ():
        if item is not None and not isinstance(item, dict):
            what = normal.described(item)
            raise DecodeError(f"json: cannot unmarshal {what} into Go value of type jsonpatch.Operation")
    return found or []


def merge_patch_body(body: bytes, *, strict: bool) -> tuple[Any, list[str]]:
    """The JSON of a merge patch, and (if ``strict``) its duplicate fields. Raises StatusError 400."""
    try:
        found = jsontext.loads(body)
        if strict:
            _check_map(found)
    except (jsontext.Malformed, DecodeError) as error:
        raise status.bad_request(f"error decoding patch: {error}" if strict else _NO_MERGE_PATCH) from None
    if found is None:
        raise status.bad_request(_NO_MERGE_PATCH)
    return found, _twice(body, found) if strict else []


_NO_MERGE_PATCH = "Invalid JSON Patch"  # the library's words for it, whatever kind it is


def strategic_patch_body(body: bytes, *, strict: bool) -> tuple[Object, list[str]]:
    """The JSON of a strategic merge patch, and (if ``strict``) its duplicate fields. Raises StatusError 400."""
    try:
        found = jsontext.loads(body)
        _check_map(found)
    except (jsontext.Malformed, DecodeError) as error:
        raise status.bad_request(str(error)) from None
    return found or {}, _twice(body, found) if strict else []


def _check_map(found: Any) -> None:
    if found is not None and not isinstance(found, dict):
        raise DecodeError(f"json: cannot unmarshal {normal.described(found)} into Go value of type {_GO_MAP}")


def _twice(body: bytes, found: Any) -> list[str]:
    if not jsontext.has_duplicates(body, found):
        return []
    return _quoted("duplicate field", jsontext.duplicates(jsontext.pairs(body)))


def _quoted(before: str, paths: Iterable[str]) -> list[str]:
    return normal.first_of(f"{before} {gotext.quote(path)}" for path in paths)


def apply_body(body: bytes, *, strict: bool) -> tuple[Object, list[str]]:
    """The YAML (or JSON) of a configuration to apply, and its duplicate fields. Raises StatusError 400."""
    twice: list[str] = []
    try:
        found = jsontext.loads(body) if _is_json(body) else _yaml(body, twice)
    except (DecodeError, jsontext.Malformed) as error:
        raise status.bad_request(f"error decoding YAML: {error}") from None
    if not isinstance(found, dict):
        what = f"json: cannot unmarshal {normal.described(found)} into Go value of type {_GO_MAP}"
        raise status.bad_request(f"error decoding YAML: error unmarshaling JSON: while decoding JSON: {what}")
    if not strict:
        return found, []
    return found, _twice(body, found) if _is_json(body) else twice


_DELETE_OPTIONS = ("", "v1", "DeleteOptions")


def decode_options(body: bytes, media_type: str) -> Object:
    """A DeleteOptions. Raises DecodeError."""
    type_ = schema.of(*_DELETE_OPTIONS)
    if media_type == PROTOBUF:
        found: Any = proto.decode(proto.unwrap(body)[2], type_)
    else:
        found = _yaml(body, []) if media_type == YAML and not _is_json(body) else _json(body)
    said = found.get("kind") if isinstance(found, dict) else None
    if said not in (None, "", "DeleteOptions"):
        raise DecodeError("decoded object cannot be converted to DeleteOptions")
    return _normal(found, type_)[0]


# ---- to bytes ----


def encode(obj: Object, media_type: str) -> bytes:
    """An object in another form than JSON: YAML, protobuf (in its envelope), or JSON itself.

    Raises
    ------
    StatusError
        406: it is of a kind that does not travel as protobuf, such as Table.
    """
    if media_type == PROTOBUF:
        api_version, kind = obj.get("apiVersion", "v1"), obj["kind"]  # APIVersions names none
        type_ = schema.of(*kinds.split_api_version(api_version), kind)
        if not any(field.number for field in type_.fields.values()):
            what = "does not implement the protobuf marshalling interface and cannot be encoded to a protobuf message"
            raise status.StatusError(406, "NotAcceptable", f"object *{type_.go} {what}")
        return proto.wrap(api_version, kind, proto.encode(obj, type_))
    if media_type == YAML:
        dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
        return yaml.dump(shared.plain(obj), Dumper=dumper, allow_unicode=True, encoding="utf-8")
    return orjson.dumps(obj)
