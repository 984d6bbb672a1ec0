# SPDX-License-Identifier: Apache-2.0
"""What validation of many kinds asks of a value: a choice, a number, an address, a path, an amount.

Each function appends what is wrong to a list that the caller hands through, so that a good object costs no lists.
Source: pkg/apis/core/validation and apimachinery/pkg/util/validation, v1.36.
"""

from __future__ import annotations

import functools
import ipaddress
import re
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from typing import Any

from kubesched.api import names, quantity, selectors, status
from kubesched.api.gotext import quote
from kubesched.api.status import FieldError, invalid_value

Object = dict[str, Any]
Errors = list[FieldError]

IMMUTABLE = "field is immutable"
NEGATIVE = "must be greater than or equal to 0"
NOT_POSITIVE = "must be greater than zero"
NOT_INTEGER = "must be an integer"
FILE_MODE = "must be a number between 0 and 0777 (octal), both inclusive"
MAX_INT32 = 2**31 - 1
_MAX_MODE = 0o777


def within(low: int, high: int) -> str:
    """How a number outside a range reads."""
    return f"must be between {low} and {high}, inclusive"


_ID = within(0, MAX_INT32)


# ---- texts ----


def by(rule: names.Rule, text: str, field: str, out: Errors) -> None:
    """A text that a rule judges."""
    for why in rule(text):
        out.append(invalid_value(field, text, why))


def named(rule: names.Rule, obj: Mapping[str, Any], name: str, at: str, out: Errors) -> None:
    """A field that must be there, and be what a rule wants."""
    text = obj.get(name)
    if not text:
        out.append(status.required(f"{at}.{name}"))
    elif wrong := rule(text):
        out.extend(invalid_value(f"{at}.{name}", text, why) for why in wrong)


def needed(obj: Mapping[str, Any], fields: Iterable[str], at: str, out: Errors) -> None:
    """Fields that must not be empty."""
    for name in fields:
        if not obj.get(name):
            out.append(status.required(f"{at}.{name}"))


def choice(value: Any, field: str, allowed: Collection[str], out: Errors) -> None:
    """One of a closed set; being absent is an error of its own."""
    if value in allowed:
        return
    out.append(status.not_supported(field, value, allowed) if value else status.required(field))


def option(value: Any, field: str, allowed: Collection[str], out: Errors) -> None:
    """One of a closed set, if there is any."""
    if value is not None and value not in allowed:
        out.append(status.not_supported(field, value, allowed))


def repeated(values: Iterable[Hashable]) -> set[int]:
    """Positions of values that came before. O(values): strangers' lists are long."""
    first: dict[Hashable, int] = {}
    return {i for i, value in enumerate(values) if first.setdefault(value, i) != i}


def relative_path(text: str, field: str, out: Errors) -> None:
    """A path below something."""
    if text.startswith("/"):
        out.append(invalid_value(field, text, "must be a relative path"))
    no_steps_back(text, field, out)


def no_steps_back(text: str, field: str, out: Errors) -> None:
    if ".." in text and ".." in text.split("/"):
        out.append(invalid_value(field, text, "must not contain '..'"))


def file_path(text: str, field: str, out: Errors) -> None:
    """A relative path that does not begin with two dots, which volumes keep for themselves."""
    relative_path(text, field, out)
    if text.startswith("..") and not text.startswith("../"):
        out.append(invalid_value(field, text, "must not start with '..'"))


_URL_PATH = r"[A-Za-z0-9/\-._~%!$&'()*+,;=:]+"


def domain_path(text: str, field: str, out: Errors) -> None:
    """A controller's name: a domain and a path."""
    host, slash, path = text.partition("/")
    if not text:
        out.append(status.required(field))
    elif not slash or not host or not path:
        out.append(invalid_value(field, text, 'must be a domain-prefixed path (such as "acme.io/foo")'))
    else:
        by(names.subdomain, host, field, out)
        if not re.fullmatch(_URL_PATH, path):
            out.append(invalid_value(field, path, f"Invalid path (regex used for validation is '{_URL_PATH}')"))


_MAX_DOMAIN = 253
_MAX_SIGNER = _MAX_DOMAIN + (253 + 63 + 1) + 1  # a domain, and a path that has room for a name and a label


def signer_name(text: str, field: str, out: Errors) -> None:
    """Who signs certificates: a domain of at least two parts, and a path."""
    if not text:
        out.append(status.required(field))
        return
    if text.count("/") != 1:
        why = "must be a fully qualified domain and path of the form 'example.com/signer-name'"
        out.append(invalid_value(field, text, why))
        return
    domain, _, path = text.partition("/")
    if len(domain) > _MAX_DOMAIN:
        out.append(status.too_long(field, _MAX_DOMAIN))
    _labels(domain, names.label, field, out)
    if "." not in domain:
        why = "should be a domain with at least two segments separated by dots"
        out.append(invalid_value(field, domain, why))
    _labels(path, names.subdomain, field, out)
    if len(text) > _MAX_SIGNER:
        out.append(status.too_long(field, _MAX_SIGNER))


def _labels(text: str, rule: names.Rule, field: str, out: Errors) -> None:
    """The parts between dots; only the first that is wrong is told."""
    for part in text.split("."):
        if wrong := rule(part):
            out.extend(invalid_value(field, text, f"validating label {quote(part)}: {why}") for why in wrong)
            return


# ---- numbers ----


def not_negative(obj: Mapping[str, Any], at: str, out: Errors, *fields: str) -> None:
    """Numbers that may be absent."""
    for name in fields:
        value = obj.get(name)
        if value is not None and value < 0:
            out.append(invalid_value(f"{at}.{name}" if at else name, value, NEGATIVE))


def number_within(value: int | None, low: int, high: int, field: str, out: Errors) -> None:
    if value is not None and not low <= value <= high:
        out.append(invalid_value(field, value, within(low, high)))


def identity(value: int | None, field: str, out: Errors) -> None:
    """A number of a user or a group."""
    if value is not None and not 0 <= value <= MAX_INT32:
        out.append(invalid_value(field, value, _ID))


def mode(value: int | None, field: str, out: Errors) -> None:
    """Permissions of a file."""
    if value is not None and not 0 <= value <= _MAX_MODE:
        out.append(invalid_value(field, value, FILE_MODE))


def port(value: int | str | None, field: str, out: Errors) -> None:
    """A port by number or by name."""
    if isinstance(value, str):
        by(names.port_name, value, field, out)
    elif wrong := names.port_number(value or 0):
        out.extend(invalid_value(field, value or 0, why) for why in wrong)


_PERCENT = re.compile(r"[0-9]+%")


def count_or_percent(value: int | str | None, field: str, out: Errors) -> None:
    """A number of pods, or a part of them."""
    if isinstance(value, str):
        by(names.percent, value, field, out)
    elif value is not None and value < 0:
        out.append(invalid_value(field, value, NEGATIVE))


def percent_of(value: Any) -> int | None:
    """The number before a percent sign."""
    return int(value[:-1]) if isinstance(value, str) and _PERCENT.fullmatch(value) else None


def is_zero(value: Any) -> bool:
    """Whether a number or a part is none at all."""
    return value in (None, 0) or percent_of(value) == 0


def at_most_all(value: Any, field: str, out: Errors) -> None:
    found = percent_of(value)
    if found is not None and found > 100:
        out.append(invalid_value(field, value, "must not be greater than 100%"))


# ---- selectors ----


def unlike(new: Any, old: Any, field: str, out: Errors) -> None:
    """A field that stays what it was."""
    if (new or None) != (old or None):
        out.append(invalid_value(field, new, IMMUTABLE))


def selector(found: Mapping[str, Any] | None, field: str, out: Errors) -> None:
    """A label selector that may be absent."""
    if found:
        out.extend(selectors.validate_object(found, field))


# ---- conditions ----

_MAX_REASON = 1024
_MAX_MESSAGE = 32 * 1024


def conditions(found: Sequence[Mapping[str, Any]], field: str, out: Errors) -> None:
    """Conditions of the kind that all newer objects have."""
    seen: set[str] = set()
    for i, condition in enumerate(found):
        at, kind, reason = f"{field}[{i}]", condition.get("type") or "", condition.get("reason") or ""
        if kind in seen:
            out.append(status.duplicate(f"{at}.type", kind))
        seen.add(kind)
        by(names.qualified_name, kind, f"{at}.type", out)
        state = condition.get("status") or ""
        if state not in ("False", "True", "Unknown"):
            out.append(status.not_supported(f"{at}.status", state, ("False", "True", "Unknown")))
        if (condition.get("observedGeneration") or 0) < 0:
            why = "must be greater than or equal to zero"
            out.append(invalid_value(f"{at}.observedGeneration", condition["observedGeneration"], why))
        needed(condition, ("lastTransitionTime", "reason"), at, out)
        if reason:
            by(names.condition_reason, reason, f"{at}.reason", out)
        for name, most in (("reason", _MAX_REASON), ("message", _MAX_MESSAGE)):
            if len((condition.get(name) or "").encode()) > most:
                out.append(status.too_long(f"{at}.{name}", most))


# ---- addresses ----

_ADDRESS = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
_CIDR = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def address(text: str) -> Address | None:
    """An IP address as it should be written; None if it is none."""
    if "%" in text:
        return None
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _unpadded(text: str) -> str:
    """An address without the zeros that lead its numbers."""
    return re.sub(r"(?<![0-9a-fA-F:])0+(?=[0-9])", "", text)


def _sloppy(text: str) -> bool:
    """Whether an address becomes one without the zeros that lead its numbers, as very old servers took it."""
    return address(_unpadded(text)) is not None


@functools.lru_cache(maxsize=8192)
def address_errors(text: str) -> tuple[str, ...]:
    """What is wrong with an address: as a rule of `names`."""
    found = address(text)
    if found is None:
        return ("must not have leading 0s",) if "." in text and _sloppy(text) else (_ADDRESS,)
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
        return ("must not be an IPv4-mapped IPv6 address",)
    return ()


@functools.lru_cache(maxsize=8192)
def canonical_address_errors(text: str) -> tuple[str, ...]:
    """The same for newer fields, which want the one canonical form."""
    wrong = address_errors(text)
    if not wrong and (best := str(ipaddress.ip_address(text))) != text:
        return (f"must be in canonical form ({quote(best)})",)
    return wrong


@functools.lru_cache(maxsize=8192)
def cidr_errors(text: str) -> tuple[str, ...]:
    """What is wrong with a range of addresses: as a rule of `names`."""
    host, slash, length = text.partition("/")
    found = address(host)
    if not slash or not length.isascii() or not length.isdigit():
        return (_CIDR,)
    if found is None:
        return ("must not have leading 0s in IP or prefix length",) if "." in host and _sloppy(host) else (_CIDR,)
    if int(length) > found.max_prefixlen:
        return (_CIDR,)
    if length != str(int(length)):
        return ("must not have leading 0s in IP or prefix length",)
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
        return ("must not have an IPv4-mapped IPv6 address",)
    if ipaddress.ip_network(text, strict=False).network_address != found:
        return ("must not have bits set beyond the prefix length",)
    return ()


@functools.lru_cache(maxsize=1024)
def canonical_cidr_errors(text: str) -> tuple[str, ...]:
    """The same for newer fields, which want the one canonical form."""
    wrong = cidr_errors(text)
    if not wrong and (best := str(ipaddress.ip_network(text))) != text:
        return (f"must be in canonical form ({quote(best)})",)
    return wrong


def interface(text: str, field: str, out: Errors) -> None:
    """An address with the length of its network, as interfaces have them."""
    try:
        found = ipaddress.ip_interface(_unpadded(text))
    except ValueError:
        found = None
    if found is None or "/" not in text or "%" in text:
        why = "must be a valid address in CIDR form, (e.g. 10.9.8.7/24 or 2001:db8::1/64)"
        out.append(invalid_value(field, text, why))
    elif found.with_prefixlen != text:
        out.append(invalid_value(field, text, f"must be in canonical form ({quote(found.with_prefixlen)})"))


def cidr_family(text: str) -> int:
    """4 or 6; 0 if it is no range."""
    try:
        return ipaddress.ip_network(text, strict=False).version
    except ValueError:
        return 0


def two_families(addresses: Sequence[str]) -> bool:
    """Whether no family of addresses comes twice."""
    return len({":" in text for text in addresses}) == len(addresses)


# ---- resources ----

_HUGE = "hugepages-"
_QUOTA_HUGE = "requests.hugepages-"
_PLAIN = frozenset({"cpu", "memory", "ephemeral-storage"})
COUNTED = frozenset(
    {
        "pods",
        "resourcequotas",
        "services",
        "replicationcontrollers",
        "secrets",
        "configmaps",
        "persistentvolumeclaims",
        "services.nodeports",
        "services.loadbalancers",
    }
)
"""Resources of quotas that are numbers of objects."""
STANDARD = (
    _PLAIN
    | COUNTED
    | {f"{part}.{name}" for part in ("requests", "limits") for name in _PLAIN}
    | {"storage", "requests.storage"}
)
"""Resources that need no domain before their names."""


def is_huge(name: str) -> bool:
    """Whether a resource is memory in huge pages, which cannot be promised twice."""
    return name.startswith(_HUGE)


def is_native(name: str) -> bool:
    return "/" not in name or "kubernetes.io/" in name


@functools.lru_cache(maxsize=1024)
def is_extended(name: str) -> bool:
    """Whether a resource is one that devices or administrators made."""
    return not is_native(name) and not name.startswith("requests.") and not names.qualified_name(f"requests.{name}")


@functools.lru_cache(maxsize=1024)
def resource_name(text: str) -> tuple[str, ...]:
    """A name of any resource: as a rule of `names`."""
    wrong = names.qualified_name(text)
    if not wrong and "/" not in text and text not in STANDARD and not text.startswith((_HUGE, _QUOTA_HUGE)):
        return ("must be a standard resource type or fully qualified",)
    return wrong


@functools.lru_cache(maxsize=1024)
def container_resource(text: str) -> tuple[str, ...]:
    """A name of what a container may ask for."""
    wrong = resource_name(text)
    if "/" not in text:
        return wrong if text in _PLAIN or is_huge(text) else (*wrong, "must be a standard resource for containers")
    if not is_native(text) and not is_extended(text):
        return (*wrong, "doesn't follow extended resource name standard")
    return wrong


def amount(name: str, text: str, field: str, out: Errors) -> None:
    """How much of a resource: not negative, and whole where it is counted."""
    nano = quantity.parse_nano(text)
    if nano < 0:
        out.append(invalid_value(field, text, NEGATIVE))
    if name not in _PLAIN and (name in COUNTED or is_extended(name)) and nano % quantity.NANO:
        out.append(invalid_value(field, text, NOT_INTEGER))


def positive_amount(text: str, field: str, out: Errors) -> None:
    if quantity.parse_nano(text) <= 0:
        out.append(invalid_value(field, text, NOT_POSITIVE))
