# SPDX-License-Identifier: Apache-2.0
"""What pods are configured by: ConfigMaps, Secrets, ServiceAccounts, LimitRanges, ResourceQuotas, PodTemplates.

Source: pkg/apis/core/v1/defaults.go, pkg/apis/core/validation, pkg/registry/core, v1.36.
"""

from __future__ import annotations

import base64
import dataclasses
import json

from kubesched.api import columns, names, status
from kubesched.api.columns import at
from kubesched.api.groups.core import podrules, podspec, quotas
from kubesched.api.status import FieldError
from kubesched.api.strategy import STATUS, Object, Strategy, fill_empty

_MAX_SIZE = 1024 * 1024  # bytes of a Secret's or a ConfigMap's values
_REQUIRED_KEYS = {
    "kubernetes.io/dockercfg": (".dockercfg",),
    "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
}
_DOCKER = {"kubernetes.io/dockercfg": ".dockercfg", "kubernetes.io/dockerconfigjson": ".dockerconfigjson"}
_GO_KINDS = {list: "array", str: "string", int: "number", float: "number", bool: "bool"}
_IMMUTABLE_SET = "field is immutable when `immutable` is set"


def _merge_string_data(obj: Object) -> None:
    """Texts are written for convenience and kept encoded, never read back."""
    texts = obj.pop("stringData", None)
    if texts:
        data = obj.setdefault("data", {})
        for key, text in texts.items():
            data[key] = base64.b64encode(text.encode()).decode()


def _default_secret(obj: Object) -> None:
    _merge_string_data(obj)
    fill_empty(obj, "type", "Opaque")


def _validate_secret(obj: Object) -> list[FieldError]:
    data = obj.get("data") or {}
    found = [status.invalid_value(f"data[{key}]", key, why) for key in data for why in names.config_key(key)]
    if sum(_size(value) for value in data.values()) > _MAX_SIZE:
        found.append(status.too_long("data", _MAX_SIZE))
    kind = obj.get("type") or ""
    if kind == "kubernetes.io/service-account-token":
        if not (obj["metadata"].get("annotations") or {}).get("kubernetes.io/service-account.name"):
            found.append(status.required("metadata.annotations[kubernetes.io/service-account.name]"))
    elif kind == "kubernetes.io/basic-auth" and "username" not in data and "password" not in data:
        found += [status.required("data[username]"), status.required("data[password]")]
    elif kind == "kubernetes.io/ssh-auth" and not data.get("ssh-privatekey"):
        found.append(status.required("data[ssh-privatekey]"))
    found += [status.required(f"data[{key}]") for key in _REQUIRED_KEYS.get(kind, ()) if key not in data]
    return found + _validate_docker(_DOCKER.get(kind, ""), data)


def _validate_docker(key: str, data: Object) -> list[FieldError]:
    """Credentials of registries are JSON objects; what is wrong with them is said in our words, not in Go's."""
    if key not in data:
        return []
    try:
        found = json.loads(base64.b64decode(data[key] or ""))
    except ValueError as error:
        return [status.invalid_value(f"data[{key}]", "<secret contents redacted>", str(error))]
    if isinstance(found, dict):
        return []
    why = f"json: cannot unmarshal {_GO_KINDS[type(found)]} into Go value of type map[string]interface {{}}"
    return [] if found is None else [status.invalid_value(f"data[{key}]", "<secret contents redacted>", why)]


def _size(encoded: str | None) -> int:
    """Bytes of a value in base64; null stands for none."""
    return 0 if encoded is None else len(encoded) // 4 * 3 - encoded[-2:].count("=")


def _validate_secret_update(new: Object, old: Object) -> list[FieldError]:
    found: list[FieldError] = []
    if new.get("type") != old.get("type"):
        found.append(status.invalid_value("type", new.get("type"), "field is immutable"))
    return found + _validate_frozen(new, old, "data") + _validate_secret(new)


def _validate_frozen(new: Object, old: Object, *fields: str) -> list[FieldError]:
    if not old.get("immutable"):
        return []
    found = []
    if not new.get("immutable"):
        found.append(status.forbidden_field("immutable", _IMMUTABLE_SET))
    changed = (name for name in fields if (new.get(name) or {}) != (old.get(name) or {}))
    return found + [status.forbidden_field(name, _IMMUTABLE_SET) for name in changed]


def _validate_config_map(obj: Object) -> list[FieldError]:
    data, binary = obj.get("data") or {}, obj.get("binaryData") or {}
    found: list[FieldError] = []
    for field, values in (("data", data), ("binaryData", binary)):
        for key in values:
            found += [status.invalid_value(f"{field}[{key}]", key, why) for why in names.config_key(key)]
            if field == "data" and key in binary:
                found.append(status.invalid_value(f"data[{key}]", key, "duplicate of key present in binaryData"))
    size = sum(len(text.encode()) for text in data.values()) + sum(map(_size, binary.values()))
    return [*found, status.too_long("", _MAX_SIZE)] if size > _MAX_SIZE else found


def _validate_config_map_update(new: Object, old: Object) -> list[FieldError]:
    return _validate_frozen(new, old, "data", "binaryData") + _validate_config_map(new)


def _default_limit_range(obj: Object) -> None:
    for item in at(obj, "spec", "limits") or ():
        if item.get("type") != "Container":
            continue
        default = item.setdefault("default", {})
        for key, amount in (item.get("max") or {}).items():
            default.setdefault(key, amount)
        requests = item.setdefault("defaultRequest", {})
        for source in (default, item.get("min") or {}):
            for key, amount in source.items():
                requests.setdefault(key, amount)
        for name in ("default", "defaultRequest"):
            if not item[name]:
                del item[name]


def _quota_cells(obj: Object, limits: bool) -> str:
    hard, used = at(obj, "status", "hard") or {}, at(obj, "status", "used") or {}
    chosen = [name for name in sorted(hard) if (name.partition(".")[0] == "limits" and "." in name) == limits]
    return ", ".join(f"{name}: {used.get(name, '0')}/{hard[name]}" for name in chosen)


def _validate_template(obj: Object) -> list[FieldError]:
    out: list[FieldError] = []
    podrules.check_template(obj.get("template") or {}, "template", out)
    return out


STRATEGIES: dict[str, Strategy] = {
    "configmaps": Strategy(
        validate=_validate_config_map,
        validate_update=_validate_config_map_update,
        columns=(
            columns.name(),
            columns.made("Data", lambda obj: len(obj.get("data") or {}) + len(obj.get("binaryData") or {}), "integer"),
            columns.age(),
        ),
    ),
    "secrets": Strategy(
        default=_default_secret,
        validate=_validate_secret,
        validate_update=_validate_secret_update,
        select=lambda obj: {"type": obj.get("type") or ""},
        selectable=("type",),
        columns=(columns.name(), columns.text("Type", "type"), columns.count("Data", "data"), columns.age()),
    ),
    "serviceaccounts": Strategy(columns=(columns.name(), columns.age()), returns_deleted=True),
    "limitranges": Strategy(
        default=_default_limit_range,
        validate=quotas.limit_range,
        validate_update=lambda new, old: quotas.limit_range(new),
        create_on_update=True,
        columns=(columns.name(), columns.age()),
    ),
    "resourcequotas": Strategy(
        validate=quotas.quota,
        validate_update=quotas.quota_update,
        parts={"status": dataclasses.replace(STATUS, validate=quotas.quota_status)},
        has_status=True,
        returns_deleted=True,
        columns=(
            columns.name(),
            columns.made("Request", lambda obj: _quota_cells(obj, limits=False)),
            columns.made("Limit", lambda obj: _quota_cells(obj, limits=True)),
            columns.age(),
        ),
    ),
    "podtemplates": Strategy(
        default=lambda obj: podspec.default_template(obj.setdefault("template", {})),
        validate=_validate_template,
        validate_update=lambda new, old: _validate_template(new),
        returns_deleted=True,
        columns=(
            columns.name(),
            *columns.containers("template", wide=False),
            columns.made("Pod Labels", lambda obj: columns.labels(at(obj, "template", "metadata", "labels"))),
        ),
    ),
}
"""By plural."""
