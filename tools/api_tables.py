# SPDX-License-Identifier: Apache-2.0
"""Make kubesched/api/tables.zip, what the API server knows of built-in types, from published descriptions of the API.

    python tools/api_tables.py SWAGGER PROTO RESOURCES TYPES

SWAGGER is the OpenAPI v2 document of a release, PROTO the numbers of protobuf fields, RESOURCES the list of served
resources (each gzipped or not), TYPES the directory k8s.io with the Go declarations of the same release.

Go declarations say most: a field's type, whether it is a pointer, when it is left out, its number, its default.
OpenAPI adds how lists and maps merge, PROTO confirms the numbers and adds those of OpenAPI's own protobuf form. The
archive holds a member for each Go package, so that a reader decompresses only what it is asked for; the format:
`kubesched.api.schema`.
"""

from __future__ import annotations

import csv
import gzip
import json
import re
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kubesched.api import gnostic

OUT = Path(__file__).parents[1] / "kubesched" / "api" / "tables.zip"
ALWAYS = (
    "api/admission/v1",  # what webhooks are sent
    "apimachinery/pkg/apis/meta/v1",
    "apimachinery/pkg/api/resource",
    "apimachinery/pkg/runtime",
    "apimachinery/pkg/types",
    "apimachinery/pkg/util/intstr",
    "apimachinery/pkg/version",
)
BY_HAND = frozenset(
    {"Time", "MicroTime", "Timestamp", "Duration", "Quantity", "IntOrString", "FieldsV1", "RawExtension", "JSON"}
)
"""Types that travel by rules of their own; `kubesched.api.schema` knows them by name."""
_STRUCT = re.compile(r"^type (\w+) struct ?\{(?:\}|\n(.*?)^\})", re.MULTILINE | re.DOTALL)
_NAMED = re.compile(r"^type (\w+) (=? ?(?:map\[|\[\]|\*)*[\w.]+(?:\][\w.]+)?)\s*(?://.*)?$", re.MULTILINE)
_FIELD = re.compile(r"^\t(?:(\w+)\s+)?([\w.\[\]*{}]+)\s+`(.*)`\s*(?://.*)?$", re.MULTILINE)
_DEFAULT = re.compile(r"^\t// \+default=(\S+)\n(?:\t//.*\n)*\t(\w+)\s", re.MULTILINE)
_IMPORT = re.compile(r"^(?:\t|import )(?:(\w+) )?\"(k8s\.io/[^\"]+)\"$", re.MULTILINE)
_ATOM = re.compile(r"[A-Za-z_][\w.]*\Z")
_BUILTIN = frozenset({"string", "bool", "int", "int32", "int64", "float64", "byte", "uint8", "error"})
_EXTENSIONS = {
    "x-kubernetes-list-type": "list",
    "x-kubernetes-list-map-keys": "keys",
    "x-kubernetes-map-type": "map",
    "x-kubernetes-patch-merge-key": "merge",
    "x-kubernetes-patch-strategy": "strategy",
}


def main(arguments: list[str]) -> None:
    swagger_path, proto_path, resources_path, types_path = map(Path, arguments)
    swagger = json.loads(_text(swagger_path))
    proto = json.loads(_text(proto_path))["messages"]
    resources = [row for row in csv.DictReader(_text(resources_path).splitlines()) if _general(row["version"])]
    packages = {
        directory: declarations(types_path / directory, directory)
        for directory in sorted({*ALWAYS, *(_directory(row["openapi_definition"]) for row in resources)})
    }
    members: dict[str, Any] = {}
    for directory, declared in packages.items():
        package = openapi_package(directory)
        _merge_openapi(package, declared, swagger["definitions"])
        _check_numbers(package, declared, proto)
        members[f"types/{package}.json"] = declared
    table = {name.removeprefix("openapi.v2."): rows for name, rows in proto.items() if name.startswith("openapi.v2.")}
    groups = {"" if row["group"] == "core" else row["group"] for row in resources}
    members |= openapi_members(swagger, {openapi_package(directory) for directory in packages}, groups)
    members |= {"gnostic.json": table, **protobuf_members(members, table)}
    write(OUT, members)


def _text(path: Path) -> str:
    data = path.read_bytes()
    return (gzip.decompress(data) if path.suffix == ".gz" else data).decode()


def _general(version: str) -> bool:
    return re.fullmatch(r"v\d+", version) is not None


def openapi_package(directory: str) -> str:
    """``api/core/v1`` -> ``io.k8s.api.core.v1``."""
    return "io.k8s." + directory.replace("/", ".")


def _directory(definition: str) -> str:
    """``io.k8s.api.core.v1.Pod`` -> ``api/core/v1``."""
    return definition.removeprefix("io.k8s.").rpartition(".")[0].replace(".", "/")


# ---- Go declarations ----


def declarations(path: Path, directory: str) -> dict[str, Any]:
    """Types of a package: a list of fields for a struct, a type expression for anything else."""
    out: dict[str, Any] = {}
    for file in sorted(path.glob("*.go")):
        if file.name.endswith("_test.go") or file.name.startswith(("zz_", "generated")):
            continue
        text = file.read_text()
        imports = {alias or path.rpartition("/")[2]: path for alias, path in _IMPORT.findall(text)}
        for name, expression in _NAMED.findall(text):
            if name[0].isupper() and not expression.endswith("interface"):
                out[name] = resolved(expression.lstrip("= "), directory, imports)
        for name, body in _STRUCT.findall(text):
            if name[0].isupper() and name not in BY_HAND:
                out[name] = {"fields": list(_fields(body, directory, imports))}
    return out


def _fields(body: str, directory: str, imports: dict[str, str]) -> Iterator[list[Any]]:
    """``[JSON name, type expression, number, flags]`` for each field that travels; flags: `kubesched.api.schema`.

    A fifth item where a comment declares a default.
    """
    defaults = {name: text for text, name in _DEFAULT.findall(body) if not text.startswith("ref(")}
    for name, expression, tag in _FIELD.findall(body):
        tags = dict(re.findall(r'(\w+):"([^"]*)"', tag))
        json_name, *options = tags.get("json", name).split(",")
        if json_name == "-":
            continue
        number = re.match(r"\w+,(\d+)", tags.get("protobuf", ""))
        flags = "".join(
            letter
            for letter, there in (
                ("i", not json_name and ("inline" in options or not name)),
                ("o", "omitempty" in options),
                ("z", "omitzero" in options),
            )
            if there
        )
        if not json_name and not flags:
            raise SystemExit(f"{directory}: field {name} has no JSON name")
        row = [json_name, resolved(expression, directory, imports), int(number[1]) if number else 0, flags]
        yield [*row, {"default": json.loads(defaults[name])}] if name in defaults else row


def resolved(expression: str, directory: str, imports: dict[str, str]) -> str:
    """A Go type expression with every name of a type as OpenAPI writes it."""

    def name_of(match: re.Match[str]) -> str:
        name = match[0]
        if name in _BUILTIN or name in ("map", "interface"):
            return name
        alias, dot, bare = name.rpartition(".")
        if not dot:
            return f"{openapi_package(directory)}.{name}"
        if alias not in imports:
            return name
        return f"{openapi_package(imports[alias].removeprefix('k8s.io/'))}.{bare}"

    return re.sub(r"[A-Za-z_][\w.]*", name_of, expression)


# ---- what else is known of them ----


def _merge_openapi(package: str, declared: dict[str, Any], definitions: dict[str, Any]) -> None:
    """Add how values merge to types and fields, as a fifth item of a field where there is any."""
    for name, found in declared.items():
        definition = definitions.get(f"{package}.{name}")
        if definition is None or not isinstance(found, dict):
            continue
        if definition.get("x-kubernetes-map-type") == "atomic":
            found["atomic"] = True
        required = definition.get("required", ())
        for field in _described(package, found, declared, definitions):
            described = definition.get("properties", {}).get(field[0], {})
            extra = {short: described[key] for key, short in _EXTENSIONS.items() if key in described}
            if field[0] in required:
                extra["required"] = True
            if extra:
                field[_PLAIN:] = [{**(field[_PLAIN] if len(field) > _PLAIN else {}), **extra}]
        missing = set(definition.get("properties", ())) - {field[0] for field in _spread(package, found, declared)}
        if missing:
            raise SystemExit(f"{package}.{name}: declared in OpenAPI only: {', '.join(sorted(missing))}")


_PLAIN = 4  # items of a field that nothing more is known of


def _described(
    package: str, found: dict[str, Any], declared: dict[str, Any], definitions: dict[str, Any]
) -> Iterator[list[Any]]:
    """Fields that a definition speaks of: a struct's own, and of embedded ones that have no definition themselves."""
    for field in found["fields"]:
        yield field
        inner = declared.get(field[1].removeprefix(f"{package}."))
        if "i" in field[3] and isinstance(inner, dict) and field[1] not in definitions:
            yield from _described(package, inner, declared, definitions)


def _spread(package: str, found: dict[str, Any], declared: dict[str, Any]) -> Iterator[list[Any]]:
    """Fields of a struct with those of its embedded structs; what TypeMeta embeds is known."""
    for field in found["fields"]:
        if "i" not in field[3]:
            yield field
        elif field[1].endswith(".TypeMeta"):
            yield from (["kind"], ["apiVersion"])
        else:
            yield from _spread(package, declared[field[1].removeprefix(f"{package}.")], declared)


def _check_numbers(package: str, declared: dict[str, Any], proto: dict[str, list[Any]]) -> None:
    """Fields must have the numbers that PROTO knows; a list that is a message there is marked as one."""
    message = "k8s.io." + package.removeprefix("io.k8s.").replace("-", "_")
    for name, found in declared.items():
        rows = proto.get(f"{message}.{name}")
        if rows is None:
            continue
        if isinstance(found, str):
            if found.startswith("[]"):
                declared[name] = {"message": found}
            continue
        numbers = {field[2] for field in found["fields"] if field[2]}
        if numbers and name != "Unknown" and numbers != (expected := {row[0] for row in rows}):
            raise SystemExit(f"{package}.{name}: numbers differ: {sorted(numbers ^ expected)}")


# ---- OpenAPI ----


def openapi_members(swagger: dict[str, Any], packages: set[str], groups: set[str]) -> dict[str, Any]:
    """The document cut up: what all share, definitions by package, paths by group and version."""
    out: dict[str, Any] = {
        "openapi/shared.json": {k: v for k, v in swagger.items() if k not in ("paths", "definitions")}
    }
    for name, definition in swagger["definitions"].items():
        package = name.rpartition(".")[0]
        if package in packages:
            out.setdefault(f"openapi/definitions/{package}.json", {})[name] = definition
    for path, item in swagger["paths"].items():
        if (member := _path_member(path, groups)) is not None:
            out.setdefault(f"openapi/paths/{member}.json", {})[path] = item
    return out


def _without_cbor(value: Any) -> Any:
    """Media types that are not served are not published."""
    if isinstance(value, dict):
        return {key: _without_cbor(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_cbor(item) for item in value if not (isinstance(item, str) and "cbor" in item)]
    return value


def _path_member(path: str, groups: set[str]) -> str | None:
    """What a path belongs to: ``api/v1``, ``apis/apps``, ``apis/apps/v1``, ``version``; None for what is not served."""
    parts = path.strip("/").split("/")
    if parts[0] == "logs":
        return None
    if parts[0] == "apis" and len(parts) > 1:
        served = parts[1] in groups and (len(parts) == 2 or _general(parts[2]))
        return "/".join(parts[:3]) if served else None
    return "/".join(parts[:2]) if parts[0] == "api" else "/".join(parts)


def protobuf_members(members: dict[str, Any], table: dict[str, Any]) -> dict[str, bytes]:
    """The document as protobuf, in the three parts that custom resources are added to."""
    joined: dict[str, dict[str, Any]] = {"paths": {}, "definitions": {}}
    for name, member in members.items():
        part = name.split("/")[1]
        if part in joined:
            joined[part] |= member
    return {
        "openapi/v2/shared.pb": gnostic.encode("Document", members["openapi/shared.json"], table),
        "openapi/v2/paths.pb": gnostic.encode("Paths", joined["paths"], table),
        "openapi/v2/definitions.pb": gnostic.encode("Definitions", joined["definitions"], table),
    }


def write(path: Path, members: dict[str, Any]) -> None:
    """The same bytes for the same members."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name in sorted(members):
            info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            info.compress_type = zipfile.ZIP_DEFLATED
            member = members[name]
            if not isinstance(member, bytes):
                member = json.dumps(member, separators=(",", ":"), ensure_ascii=False).encode()
            archive.writestr(info, member, compresslevel=9)


if __name__ == "__main__":
    if len(sys.argv) != 5:
        raise SystemExit(__doc__)
    main(sys.argv[1:])
