# SPDX-License-Identifier: Apache-2.0
"""Functions that Kubernetes adds to CEL: quantities, semantic versions, lists, regular expressions, addresses.

The library has no opaque values, so each kind travels in a shape of its own, which the type checker keeps apart: a
quantity as a map of texts, a version as a list, an IP address as a map of flags, a network as a map of numbers, each of
one entry. Source: apiserver/pkg/cel/library (quantity, semverlib, lists, regex, ip, cidr), v1.36.
"""

from __future__ import annotations

import datetime
import ipaddress
import itertools
import re
from collections.abc import Callable, Sequence
from typing import Any

from kubesched.api import quantity

NOT_IMPLEMENTED = "is of a form that is not implemented"
"""In the text of an error: not the expression is wrong."""
_NANO = "nano"
_INT64 = 1 << 63
_Overload = tuple[str, Any, list[Any], Callable[..., Any]]
"""Id, type that it returns, types of its arguments, function."""


class _Maker:
    """Declares functions with CEL's types."""

    def __init__(self, cel: Any) -> None:
        self._cel = cel
        t = self.t = cel.Type
        self.amount, self.version = t.Map(t.STRING, t.STRING), t.List(t.STRING)
        self.ip, self.net = t.Map(t.STRING, t.BOOL), t.Map(t.STRING, t.INT)
        self.made: list[Any] = []

    def member(self, name: str, *overloads: _Overload) -> None:
        self._add(name, [(one, True) for one in overloads])

    def plain(self, name: str, *overloads: _Overload) -> None:
        self._add(name, [(one, False) for one in overloads])

    def _add(self, name: str, overloads: Sequence[tuple[_Overload, bool]]) -> None:
        made = [
            self._cel.Overload(i, return_type=r, parameters=p, is_member=is_member, impl=f)
            for (i, r, p, f), is_member in overloads
        ]
        self.made.append(self._cel.FunctionDecl(name, made))

    def both(self, name: str, plain: _Overload, member: _Overload) -> None:
        self._add(name, [(plain, False), (member, True)])


def declarations(cel: Any) -> list[Any]:
    """Declarations for an environment of the library."""
    make = _Maker(cel)
    for part in (
        _declare_amounts,
        _declare_versions,
        _declare_order,
        _declare_lists,
        _declare_regex,
        _declare_addresses,
    ):
        part(make)
    return make.made


def _declare_amounts(make: _Maker) -> None:
    t, amount_ = make.t, make.amount
    make.plain("quantity", ("string_to_quantity", amount_, [t.STRING], _quantity))
    make.plain("isQuantity", ("is_quantity_string", t.BOOL, [t.STRING], _is_quantity))
    make.member("sign", ("quantity_sign", t.INT, [amount_], lambda q: _order(_nano(q), 0)))
    make.member("isInteger", ("quantity_is_integer", t.BOOL, [amount_], _is_integer))
    make.member("asInteger", ("quantity_as_integer", t.INT, [amount_], _as_integer))
    make.member("asApproximateFloat", ("quantity_float", t.DOUBLE, [amount_], lambda q: _nano(q) / quantity.NANO))
    for name, sign in (("add", 1), ("sub", -1)):
        make.member(
            name,
            (f"quantity_{name}", amount_, [amount_, amount_], _sum_of(sign)),
            (f"quantity_{name}_int", amount_, [amount_, t.INT], _sum_with_whole(sign)),
        )


def _declare_versions(make: _Maker) -> None:
    t, version = make.t, make.version
    make.plain(
        "semver",
        ("string_to_semver", version, [t.STRING], _version),
        ("string_bool_to_semver", version, [t.STRING, t.BOOL], _version),
    )
    make.plain(
        "isSemver",
        ("is_semver_string", t.BOOL, [t.STRING], _is_version),
        ("is_semver_string_bool", t.BOOL, [t.STRING, t.BOOL], _is_version),
    )
    for at, name in enumerate(("major", "minor", "patch")):
        make.member(name, (f"semver_{name}", t.INT, [version], lambda v, at=at: int(v[at])))


def _declare_order(make: _Maker) -> None:
    t = make.t
    for name, returns, of in (
        ("compareTo", t.INT, lambda order: order),
        ("isLessThan", t.BOOL, lambda order: order < 0),
        ("isGreaterThan", t.BOOL, lambda order: order > 0),
    ):
        make.member(
            name,
            (f"quantity_{name}", returns, [make.amount, make.amount], _comparing(_nano, of)),
            (f"semver_{name}", returns, [make.version, make.version], _comparing(_precedence, of)),
        )


def _declare_lists(make: _Maker) -> None:
    t = make.t
    anything = t.List(t.DYN)
    make.member("isSorted", ("list_is_sorted", t.BOOL, [anything], _is_sorted))
    make.member("sum", ("list_sum", t.DYN, [anything], _total))
    make.member("min", ("list_min", t.DYN, [anything], lambda values: _extreme("min", values)))
    make.member("max", ("list_max", t.DYN, [anything], lambda values: _extreme("max", values)))


def _declare_regex(make: _Maker) -> None:
    t = make.t
    make.member("find", ("string_find_string", t.STRING, [t.STRING, t.STRING], _find))
    make.member(
        "findAll",
        ("string_find_all_string", t.List(t.STRING), [t.STRING, t.STRING], _find_all),
        ("string_find_all_string_int", t.List(t.STRING), [t.STRING, t.STRING, t.INT], _find_all),
    )


def _declare_addresses(make: _Maker) -> None:
    t, ip, net = make.t, make.ip, make.net
    make.both(
        "ip",
        ("string_to_ip", ip, [t.STRING], lambda text: _ip_value(_parse_ip(text))),
        ("cidr_ip", ip, [net], lambda one: _ip_value(_net(one).ip)),
    )
    make.plain("isIP", ("is_ip", t.BOOL, [t.STRING], lambda text: _is_read(_parse_ip, text)))
    make.plain("ip.isCanonical", ("ip_is_canonical", t.BOOL, [t.STRING], lambda text: str(_parse_ip(text)) == text))
    make.member("family", ("ip_family", t.INT, [ip], lambda one: _ip(one).version))
    for name, of in _IP_KINDS.items():
        make.member(name, (f"ip_{name}", t.BOOL, [ip], lambda one, of=of: of(_ip(one))))
    make.plain("cidr", ("string_to_cidr", net, [t.STRING], lambda text: _net_value(_parse_net(text))))
    make.plain("isCIDR", ("is_cidr", t.BOOL, [t.STRING], lambda text: _is_read(_parse_net, text)))
    make.member("prefixLength", ("cidr_prefix_length", t.INT, [net], lambda one: _net(one).network.prefixlen))
    make.member("masked", ("cidr_masked", net, [net], lambda one: {str(_net(one).network): 1}))
    make.member(
        "containsIP",
        ("cidr_contains_ip_string", t.BOOL, [net, t.STRING], lambda one, text: _parse_ip(text) in _net(one).network),
        ("cidr_contains_ip_ip", t.BOOL, [net, ip], lambda one, other: _ip(other) in _net(one).network),
    )
    make.member(
        "containsCIDR",
        ("cidr_contains_cidr_string", t.BOOL, [net, t.STRING], lambda one, text: _holds(_net(one), _parse_net(text))),
        ("cidr_contains_cidr", t.BOOL, [net, net], lambda one, other: _holds(_net(one), _net(other))),
    )


# ---- order ----


def _order(a: Any, b: Any) -> int:
    return int(a > b) - int(a < b)


def _comparing(key: Callable[[Any], Any], of: Callable[[int], Any]) -> Callable[[Any, Any], Any]:
    return lambda a, b: of(_order(key(a), key(b)))


# ---- quantities: a map of one entry, billionths as text ----


def amount(nano: int) -> dict[str, str]:
    """A quantity of so many billionths as CEL sees it."""
    return {_NANO: str(nano)}


def _nano(value: Any) -> int:
    return int(value[_NANO])


def _quantity(text: str) -> dict[str, str]:
    return amount(quantity.parse_nano(text))


def _is_quantity(text: str) -> bool:
    try:
        quantity.parse_nano(text)
    except ValueError:
        return False
    return True


def _is_integer(value: Any) -> bool:
    nano = _nano(value)
    return nano % quantity.NANO == 0 and -_INT64 <= nano // quantity.NANO < _INT64


def _as_integer(value: Any) -> int:
    if not _is_integer(value):
        raise ValueError("cannot convert value to integer")
    return quantity.whole(_nano(value))


def _sum_of(sign: int) -> Callable[[Any, Any], dict[str, str]]:
    return lambda a, b: amount(_nano(a) + sign * _nano(b))


def _sum_with_whole(sign: int) -> Callable[[Any, int], dict[str, str]]:
    return lambda a, b: amount(_nano(a) + sign * b * quantity.NANO)


# ---- semantic versions: a list of major, minor, patch and the parts of the pre-release ----

_NUMBER = r"(0|[1-9][0-9]*)"
_PART = r"(?:0|[1-9][0-9]*|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*)"
_SEMVER = re.compile(rf"{_NUMBER}\.{_NUMBER}\.{_NUMBER}(?:-({_PART}(?:\.{_PART})*))?(?:\+[0-9A-Za-z.-]+)?\Z")


def parse_version(text: str) -> list[str] | None:
    """A semantic version as CEL sees it, or None. Build metadata is dropped: it counts for nothing."""
    match = _SEMVER.match(text)
    if match is None:
        return None
    return [match[1], match[2], match[3], *(match[4].split(".") if match[4] else [])]


def _normalized(text: str) -> str:
    """Without a leading v and leading zeros, and with three numbers."""
    text = text.removeprefix("v")
    numbers, sign, rest = text, "", ""
    for at, letter in enumerate(text):
        if letter in "-+":
            numbers, sign, rest = text[:at], letter, text[at + 1 :]
            break
    parts = [part.lstrip("0") or "0" if part else part for part in numbers.split(".")]
    return ".".join(parts + ["0"] * (3 - len(parts))) + sign + rest


def _version(text: str, normalize: bool = False) -> list[str]:
    found = parse_version(_normalized(text) if normalize else text)
    if found is None:
        raise ValueError(f"not a semantic version: {text}")
    return found


def _is_version(text: str, normalize: bool = False) -> bool:
    return parse_version(_normalized(text) if normalize else text) is not None


def _precedence(version: Any) -> Any:
    """Order of semver 2.0: a pre-release comes before its release, numbers before words."""
    release = tuple(int(part) for part in version[:3])
    parts = version[3:]
    rest = tuple((0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts)
    return (*release, not parts, rest)


# ---- lists ----


def _kind(value: Any) -> str:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return "number" if is_number else type(value).__name__


def _comparable(values: Sequence[Any]) -> list[Any]:
    found = list(values)
    if len({_kind(value) for value in found}) > 1:
        raise ValueError("no such overload")
    return found


def _returnable(name: str, values: Sequence[Any]) -> list[Any]:
    """Values of which one can be given back: the library takes no durations and times from Python."""
    found = _comparable(values)
    if found and isinstance(found[0], datetime.timedelta | datetime.datetime):
        raise ValueError(f"{name} of durations or times {NOT_IMPLEMENTED}")
    return found


def _is_sorted(values: Sequence[Any]) -> bool:
    found = _comparable(values)
    return all(a <= b for a, b in itertools.pairwise(found))


def _total(values: Sequence[Any]) -> Any:
    found = _returnable("sum", values)
    if not found:
        return 0
    if _kind(found[0]) != "number":
        raise ValueError("no such overload")
    total = sum(found[1:], start=found[0])
    if isinstance(total, int) and not -_INT64 <= total < _INT64:
        raise ValueError("integer overflow")
    return total


def _extreme(name: str, values: Sequence[Any]) -> Any:
    found = _returnable(name, values)
    if not found:
        raise ValueError(f"{name} called on empty list")
    return min(found) if name == "min" else max(found)


# ---- regular expressions ----

_ESCAPE = r"\\[dDwW.\\()\[\]{}*+?|^$/-]"
_ATOM = rf"(?:[^\\()\[\]{{}}*+?|^$.]|[.)]|{_ESCAPE}|\[\^?(?:{_ESCAPE}|[0-9A-Za-z]-[0-9A-Za-z]|[^\\\[\]&~|^-])+\])"
_REPEAT = r"(?:[*+?]|\{[0-9]{1,3}(?:,[0-9]{0,3})?\})\??(?![*+?{])"
_SAFE = re.compile(rf"(?:{_ATOM}(?:{_REPEAT})?|[|^$]|\((?:\?:)?)*\Z")
"""Expressions that RE2 and Python read alike, but for $."""


def _regex(text: str) -> re.Pattern[str]:
    if _SAFE.match(text) is None:
        raise ValueError(f"regular expression {text!r} {NOT_IMPLEMENTED}")
    at_end = re.sub(r"(\\.)|\$", lambda m: m[1] or r"\Z", text)  # $ is the end of the text, not of a line
    return re.compile(at_end, re.ASCII)


def _find(text: str, regex: str) -> str:
    found = _regex(regex).search(text)
    return found[0] if found else ""


def _find_all(text: str, regex: str, most: int = -1) -> list[str]:
    """All matches, without empty ones right behind another match."""
    out: list[str] = []
    end = -1
    for match in _regex(regex).finditer(text):
        if len(out) == most:
            break
        if match.end() > match.start() or match.start() != end:
            out.append(match[0])
        end = match.end()
    return out


# ---- addresses ----

_Ip = ipaddress.IPv4Address | ipaddress.IPv6Address
_Net = ipaddress.IPv4Interface | ipaddress.IPv6Interface
_BROADCAST = ipaddress.IPv4Address("255.255.255.255")


def _is_loopback(one: _Ip) -> bool:
    return one.is_loopback


def _is_global_unicast(one: _Ip) -> bool:
    others = one.is_unspecified or one.is_loopback or one.is_multicast or one.is_link_local
    return not others and one != _BROADCAST


def _is_link_local_multicast(one: _Ip) -> bool:
    net = ipaddress.ip_network("224.0.0.0/24") if one.version == 4 else None
    return one in net if net is not None else one.packed[0] == 0xFF and one.packed[1] & 0x0F == 2


_IP_KINDS: dict[str, Callable[[_Ip], bool]] = {
    "isUnspecified": lambda one: one.is_unspecified,
    "isLoopback": lambda one: one.is_loopback,
    "isLinkLocalMulticast": _is_link_local_multicast,
    "isLinkLocalUnicast": lambda one: one.is_link_local,
    "isGlobalUnicast": _is_global_unicast,
}


def _parse_ip(text: str) -> _Ip:
    found = ipaddress.ip_address(text)
    if isinstance(found, ipaddress.IPv6Address) and (found.ipv4_mapped is not None or found.scope_id):
        raise ValueError(f"IP address {text!r} with a zone or an IPv4 address in it is not allowed")
    return found


def _parse_net(text: str) -> _Net:
    address, slash, bits = text.partition("/")
    if not slash or re.fullmatch(r"0|[1-9][0-9]{0,2}", bits) is None:
        raise ValueError(f"network address parse error: {text!r}")
    return ipaddress.ip_interface(f"{_parse_ip(address)}/{bits}")


def _is_read(parse: Callable[[str], Any], text: str) -> bool:
    try:
        parse(text)
    except ValueError:
        return False
    return True


def _ip_value(one: _Ip) -> dict[str, bool]:
    return {str(one): True}


def _ip(value: Any) -> _Ip:
    return ipaddress.ip_address(next(iter(value)))


def _net_value(one: _Net) -> dict[str, int]:
    return {str(one): 1}


def _net(value: Any) -> _Net:
    return ipaddress.ip_interface(next(iter(value)))


def _holds(one: _Net, other: _Net) -> bool:
    return one.version == other.version and other.network.subnet_of(one.network)  # type: ignore[arg-type]
