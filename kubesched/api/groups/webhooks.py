# SPDX-License-Identifier: Apache-2.0
"""What is wrong with configurations of admission webhooks; expressions of match conditions are not compiled.

Source: pkg/apis/admissionregistration/validation/validation.go, apiserver/pkg/util/webhook/validation.go, v1.36.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from kubesched.api import checks, names, status
from kubesched.api.checks import Errors
from kubesched.api.status import FieldError, invalid_value
from kubesched.api.strategy import Object

_REVIEWS = ("v1", "v1beta1")
FAILURES = ("Fail", "Ignore")
MATCHES = ("Equivalent", "Exact")
_EFFECTS = ("None", "NoneOnDryRun")
REINVOCATIONS = ("IfNeeded", "Never")
_OPERATIONS = ("*", "CONNECT", "CREATE", "DELETE", "UPDATE")
_SCOPES = ("*", "Cluster", "Namespaced")
_FORM = "; desired format: https://host[/path]"
_MAX_SECONDS = 30
_MAX_CONDITIONS = 64


def validate(obj: Object) -> list[FieldError]:
    """A configuration of either kind."""
    out: Errors = []
    seen: set[str] = set()
    for i, hook in enumerate(obj.get("webhooks") or ()):
        field, name = f"webhooks[{i}]", hook.get("name") or ""
        _hook(hook, name, field, out)
        _reviews(hook.get("admissionReviewVersions") or [], f"{field}.admissionReviewVersions", out)
        if name in seen:
            out.append(status.duplicate(f"{field}.name", name))
        seen |= {name} - {""}
    return out


def _hook(hook: Object, name: str, field: str, out: Errors) -> None:
    if not name:
        out.append(status.required(f"{field}.name"))
    elif wrong := names.subdomain(name):
        out.append(invalid_value(f"{field}.name", name, ",".join(wrong)))
    elif name.count(".") < 2:
        why = "should be a domain with at least three segments separated by dots"
        out.append(invalid_value(f"{field}.name", name, why))
    for i, rule in enumerate(hook.get("rules") or ()):
        check_rule(rule, f"{field}.rules[{i}]", out)
    checks.option(hook.get("failurePolicy"), f"{field}.failurePolicy", FAILURES, out)
    checks.option(hook.get("matchPolicy"), f"{field}.matchPolicy", MATCHES, out)
    effects = hook.get("sideEffects")
    if effects is None:
        out.append(status.required(f"{field}.sideEffects", f"must specify one of {', '.join(_EFFECTS)}"))
    checks.option(effects, f"{field}.sideEffects", _EFFECTS, out)
    seconds = hook.get("timeoutSeconds")
    if seconds is not None and not 1 <= seconds <= _MAX_SECONDS:
        why = f"the timeout value must be between 1 and {_MAX_SECONDS} seconds"
        out.append(invalid_value(f"{field}.timeoutSeconds", seconds, why))
    for selector in ("namespaceSelector", "objectSelector"):
        checks.selector(hook.get(selector), f"{field}.{selector}", out)
    checks.option(hook.get("reinvocationPolicy"), f"{field}.reinvocationPolicy", REINVOCATIONS, out)
    _client(hook.get("clientConfig") or {}, f"{field}.clientConfig", out)
    match_conditions(hook.get("matchConditions") or [], f"{field}.matchConditions", out)


def match_conditions(conditions: Sequence[Object], field: str, out: Errors) -> None:
    """Expressions that have to hold, each under a name."""
    if len(conditions) > _MAX_CONDITIONS:
        out.append(status.too_many(field, len(conditions), _MAX_CONDITIONS))
    seen: set[str] = set()
    for i, condition in enumerate(conditions):
        at, name = f"{field}[{i}]", condition.get("name") or ""
        if not (condition.get("expression") or "").strip():
            out.append(status.required(f"{at}.expression"))
        checks.named(names.qualified_name, condition, "name", at, out)
        if name in seen:
            out.append(status.duplicate(f"{at}.name", name))
        seen |= {name} - {""}


# ---- what it is asked about ----


def check_rule(rule: Object, field: str, out: Errors) -> None:
    """Resources and operations that are asked about."""
    _several(rule.get("operations") or [], f"{field}.operations", "operations", out)
    for i, operation in enumerate(rule.get("operations") or ()):
        checks.option(operation, f"{field}.operations[{i}]", _OPERATIONS, out)
    _several(rule.get("apiGroups") or [], f"{field}.apiGroups", "API groups", out)
    versions = rule.get("apiVersions") or []
    _several(versions, f"{field}.apiVersions", "API versions", out)
    out += [status.required(f"{field}.apiVersions[{i}]") for i, version in enumerate(versions) if not version]
    _resources(rule.get("resources") or [], f"{field}.resources", out)
    checks.option(rule.get("scope"), f"{field}.scope", _SCOPES, out)


def _several(found: list[str], field: str, what: str, out: Errors) -> None:
    if not found:
        out.append(status.required(field))
    if len(found) > 1 and "*" in found:
        out.append(invalid_value(field, found, f"if '*' is present, must not specify other {what}"))


def _resources(found: list[str], field: str, out: Errors) -> None:
    if not found:
        out.append(status.required(field))
    whole: set[str] = set()  # resources of which all subresources are named
    every: set[str] = set()  # subresources that are named of all resources
    plain = False
    for i, text in enumerate(found):
        if not text:
            out.append(status.required(f"{field}[{i}]"))
            continue
        resource, slash, part = text.partition("/")
        if not slash:
            plain = text != "*"
            continue
        if resource in whole:
            why = f"if '{resource}/*' is present, must not specify {text}"
            out.append(invalid_value(f"{field}[{i}]", text, why))
        if part in every:
            out.append(invalid_value(f"{field}[{i}]", text, f"if '*/{part}' is present, must not specify {text}"))
        whole |= {resource} if part == "*" else set()
        every |= {part} if resource == "*" else set()
    if len(found) > 1 and "*/*" in found:
        out.append(invalid_value(field, found, "if '*/*' is present, must not specify other resources"))
    if "*" in found and plain:
        why = "if '*' is present, must not specify other resources without subresources"
        out.append(invalid_value(field, found, why))


def _reviews(versions: Sequence[str], field: str, out: Errors) -> None:
    known = ", ".join(_REVIEWS)
    if not versions:
        out.append(status.required(field, f"must specify one of {known}"))
        return
    again = checks.repeated(versions)
    for i, version in enumerate(versions):
        if i in again:
            out.append(invalid_value(f"{field}[{i}]", version, "duplicate version"))
        else:
            checks.by(names.dns_1035_label, version, f"{field}[{i}]", out)
    if not set(_REVIEWS) & set(versions):
        out.append(invalid_value(field, versions, f"must include at least one of {known}"))


# ---- where it is ----


def _client(client: Object, field: str, out: Errors) -> None:
    url, service = client.get("url"), client.get("service")
    if (url is None) == (service is None):
        out.append(status.required(field, "exactly one of url or service is required"))
    elif url is not None:
        _url(url, f"{field}.url", out)
    elif service is not None:
        _service(service, f"{field}.service", out)


def _url(text: str, field: str, out: Errors) -> None:
    try:
        url = urlsplit(text)
    except ValueError as error:
        out.append(status.required(field, f"url must be a valid URL: {error}{_FORM}"))
        return
    if url.scheme != "https":
        out.append(invalid_value(field, url.scheme, f"'https' is the only allowed URL scheme{_FORM}"))
    user, at, host = url.netloc.rpartition("@")
    if not host:
        out.append(invalid_value(field, "", f"host must be specified{_FORM}"))
    if at:
        out.append(invalid_value(field, user, "user information is not permitted in the URL"))
    for value, what in ((url.fragment, "fragments"), (url.query, "query parameters")):
        if value:
            out.append(invalid_value(field, value, f"{what} are not permitted in the URL"))


def _service(service: Object, field: str, out: Errors) -> None:
    """Upstream takes the name for the namespace here, and the other way round."""
    checks.needed(
        {"name": service.get("namespace"), "namespace": service.get("name")}, ("name", "namespace"), field, out
    )
    port, path = service.get("port", 0), service.get("path")
    if wrong := names.port_number(port):
        out.append(invalid_value(f"{field}.port", port, f"port is not valid: {', '.join(wrong)}"))
    if not path or path == "/":
        return
    if path == "//":
        out.append(invalid_value(f"{field}.path", path, "segment[0] may not be empty"))
        return
    if not path.startswith("/"):
        out.append(invalid_value(f"{field}.path", path, "must start with a '/'"))
    for i, step in enumerate(path[1:].removesuffix("/").split("/")):
        wrong = names.subdomain(step) if step else ("",)
        for why in wrong:
            text = f"segment[{i}]: {why}" if step else f"segment[{i}] may not be empty"
            out.append(invalid_value(f"{field}.path", path, text))
