# SPDX-License-Identifier: Apache-2.0
"""JSON patch (RFC 6902), merge patch (RFC 7386) and strategic merge patch, as functions from object to object.

None of them changes what it is given. Source of the strategic one: apimachinery/pkg/util/strategicpatch, v1.36. Where
upstream answers a bad strategic patch with a bare 500 we answer 400 with the same text.
"""

from __future__ import annotations

import bisect
import itertools
import operator
from typing import Any

import orjson

from kubesched.api import gotext, shared, status
from kubesched.api.schema import Field, Shape, Type

Object = dict[str, Any]

MAX_OPERATIONS = 10_000
MAX_COPIED = 3 * 1024 * 1024  # bytes that all copy operations of a patch may add

_NOTHING = object()


# ---- merge patch ----


def merge(target: Any, patch: Any) -> Any:
    """RFC 7386: objects are merged, null deletes, everything else replaces.

    As in upstream's library, nulls vanish from objects in a list that replaces something, unless that was an object.
    """
    if not isinstance(patch, dict):
        return patch
    out = shared.copy(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            out.pop(name, None)
        elif isinstance(out.get(name), dict):
            out[name] = merge(out[name], value)
        else:
            out[name] = _without_nulls(value)
    return out


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nulls(item) for name, item in value.items() if item is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value


# ---- JSON patch ----


class _NotApplicable(Exception):
    """An operation that the document does not allow; the client hears 422 without the reason, as from upstream."""


def json_patch(target: Any, operations: list[Object | None]) -> Any:
    """RFC 6902, with the liberties of upstream's library: a member of an object that is not there reads as null.

    Raises
    ------
    StatusError
        413: too many operations; 422: an operation does not apply, or too much is copied.
    """
    if len(operations) > MAX_OPERATIONS:
        limit = f"The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {len(operations)}"
        raise status.too_large(limit)
    document = _Document(shared.plain(target))
    try:
        for operation in operations:
            document.apply(operation or {})
    except _NotApplicable:
        raise status.unprocessable() from None
    return document.root


class _Document:
    """What a patch works on. Operations find the container of their path, then do something to its key."""

    def __init__(self, root: Any) -> None:
        self.root = root
        self.copied = 0

    def apply(self, operation: Object) -> None:
        path = _pointer(operation, "path")
        match operation.get("op"):
            case "add":
                _add(*self._place(path), shared.plain(operation.get("value")))
            case "remove":
                _remove(*self._place(path))
            case "replace":
                self._replace(path, shared.plain(operation.get("value")))
            case "move":
                value = _remove(*self._place(_pointer(operation, "from")))
                _add(*self._place(path), value)
            case "copy":
                value = _get(*self._place(_pointer(operation, "from")))
                place = self._place(path)
                self.copied += len(orjson.dumps(value))
                if self.copied > MAX_COPIED:
                    raise _NotApplicable
                _add(*place, shared.plain(value))
            case "test":
                if not same(_get(*self._place(path)) if path else self.root, operation.get("value")):
                    raise _NotApplicable
            case _:
                raise _NotApplicable

    def _place(self, path: str) -> tuple[Any, str]:
        """The container of a path, and the key in it."""
        parts = [part.replace("~1", "/").replace("~0", "~") for part in path.split("/")]
        if len(parts) < 2:
            raise _NotApplicable
        found = self.root
        for part in parts[1:-1]:
            found = _get(found, part)
            if not isinstance(found, dict | list):
                raise _NotApplicable
        return found, parts[-1]

    def _replace(self, path: str, value: Any) -> None:
        if not path:
            if not isinstance(value, dict | list):
                raise _NotApplicable
            self.root = value
            return
        container, key = self._place(path)
        if isinstance(container, dict):
            container[key] = value
        else:
            container[_index(key, len(container))] = value


def _pointer(operation: Object, name: str) -> str:
    text = operation.get(name)
    if not isinstance(text, str):
        raise _NotApplicable
    return text


def _index(key: str, end: int) -> int:
    """An index below ``end``; negative ones count from there."""
    digits = key[1:] if key[:1] in ("+", "-") else key
    if not (digits.isascii() and digits.isdigit()) or len(digits) > 18:
        raise _NotApplicable
    at = int(key)
    if not -end <= at < end:
        raise _NotApplicable
    return at + end if at < 0 else at


def _get(container: Any, key: str) -> Any:
    if isinstance(container, dict):
        return container.get(key)
    return container[_index(key, len(container))]


def _add(container: Any, key: str, value: Any) -> None:
    if isinstance(container, dict):
        container[key] = value
    elif key == "-":
        container.append(value)
    else:
        container.insert(_index(key, len(container) + 1), value)


def _remove(container: Any, key: str) -> Any:
    if isinstance(container, list):
        return container.pop(_index(key, len(container)))
    if key not in container:
        raise _NotApplicable
    return container.pop(key)


def same(left: Any, right: Any) -> bool:
    """Equality of JSON: true is not 1."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(left[name], right[name]) for name in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    return bool(left == right)


# ---- strategic merge patch ----

_MARKER = "$patch"
_RETAIN = "$retainKeys"
_DELETE_FROM = "$deleteFromPrimitiveList"
_ORDER = "$setElementOrder"
_BAD_PRIMITIVE = "invalid patch format of primitive list"
_BAD_RETAIN = "invalid patch format of retainKeys"
_BAD_ORDER = "invalid patch format of setElementOrder list"


def strategic(target: Object, patch: Object, kind: Type) -> Object:
    """Merge lists by their keys where the type says so, follow the patch's directives.

    Raises
    ------
    StatusError
        400 for a patch that makes no sense, 422 for one whose parts do not fit together.
    """
    return _merge_map(target, shared.plain(patch), kind)


def _merge_map(original: Object | None, patch: Object, kind: Type) -> Object:
    """The original stays as it is, and what the patch does not touch is in both; the patch is used up."""
    if _MARKER in patch:
        directive = patch.pop(_MARKER)
        if directive == "replace":
            return patch
        if directive == "delete":
            return {}
        raise _bad_directive(directive, patch)
    original = shared.copy(original or {})
    _retain_keys(original, patch)
    _merge_ordered(original, patch, kind)
    for name, value in patch.items():
        deleting = name.startswith(_DELETE_FROM)
        _merge_field(original, _suffix(name, _DELETE_FROM) if deleting else name, value, kind, deleting)
    return original


def _merge_field(original: Object, name: str, value: Any, kind: Type, deleting: bool) -> None:
    """Merge one field's value in, or take it (a list of scalars) away from the list that is there."""
    if value is None:
        original.pop(name, None)
        return
    current = original.get(name)
    alike = (isinstance(current, dict) and isinstance(value, dict)) or (
        isinstance(current, list) and isinstance(value, list)
    )
    if not alike:
        if not deleting:
            _put_new(original, name, value)
        return
    field = _field(kind, name)
    strategy = _strategy(field)
    if isinstance(value, dict):
        original[name] = value if strategy == "replace" else _merge_map(current, value, field.type)
    elif strategy == "merge" or deleting:
        original[name] = _merge_list(current or [], value, field, deleting)
    else:
        original[name] = value


def _put_new(original: Object, name: str, value: Any) -> None:
    value, keep = _without_directives(_without_nulls(value))
    if keep:
        original[name] = value
    else:
        original.pop(name, None)


def _without_directives(value: Any) -> tuple[Any, bool]:
    """A value that meets nothing to merge with: what was a directive only is dropped (False)."""
    if isinstance(value, dict):
        if _MARKER in value:
            return None, False
        pairs = {name: _without_directives(item) for name, item in value.items()}
        return {name: item for name, (item, keep) in pairs.items() if keep}, True
    if isinstance(value, list):
        return [item for item, keep in map(_without_directives, value) if keep], True
    return value, True


def _field(kind: Type, name: str) -> Field:
    """The field of a type, asked where two values meet; within maps and free JSON nothing may.

    Raises
    ------
    StatusError
        400, with upstream's text.
    """
    if kind.shape is Shape.MAP:
        raise status.bad_request("merging an object in json but data type is not struct, instead is: map")
    field = kind.fields.get(name)
    if field is None:
        struct = kind.name.rpartition(".")[2]
        raise status.bad_request(f"unable to find api field in struct {struct} for the json field {gotext.quote(name)}")
    return field


def _strategy(field: Field) -> str:
    return next((name for name in field.patch_strategy if name != "retainKeys"), "")


def _suffix(name: str, prefix: str) -> str:
    found = name.removeprefix(prefix + "/")
    if found == name:
        raise status.bad_request(_BAD_PRIMITIVE if prefix == _DELETE_FROM else _BAD_ORDER)
    return found


def _retain_keys(original: Object, patch: Object) -> None:
    if _RETAIN not in patch:
        return
    keys = patch.pop(_RETAIN)
    if not isinstance(keys, list):
        raise status.bad_request(_BAD_RETAIN)
    for name, value in patch.items():
        if value is not None and not name.startswith((_DELETE_FROM, _ORDER)) and name not in keys:
            raise status.bad_request(_BAD_RETAIN)
    for name in [name for name in original if name not in keys]:
        del original[name]


def _merge_ordered(original: Object, patch: Object, kind: Type) -> None:
    """Lists whose order the patch gives: merged, then put in that order, the server's own elements between."""
    for directive in [name for name in patch if name.startswith(_ORDER)]:
        order = _list(patch.pop(directive))
        name = _suffix(directive, _ORDER)
        field = _field(kind, name)
        key = field.merge_key
        current, wanted = original.get(name), patch.get(name)
        before = [] if current is None else list(_list(current))
        _check_order(_list(wanted) if wanted is not None else [], order, key)
        if current is None and wanted is None:
            continue
        if wanted is None:
            merged = list(before)
        elif current is None:
            merged = _without_directives(wanted)[0]
        elif _strategy(field) == "merge":
            merged = _merge_list(_list(current), _list(wanted), field, False)
            if key:
                before = _old_order(before, _list(wanted), key)
        else:
            merged = _list(wanted)
        theirs, ours = _partition(merged, order, key)
        _element(_list(current or []), _list(wanted or []))
        original[name] = _in_order(theirs, ours, order, before, key)
        patch.pop(name, None)


def _old_order(before: list[Any], patch: list[Any], key: str) -> list[Any]:
    """The old list as upstream still sees it when it puts the new one in order.

    It deletes and appends in the array of the old list: deleted elements move the later ones up, and new elements stand
    in the places that became free at its end.
    """
    if any(isinstance(item, dict) and item.get(_MARKER) == "replace" for item in patch):
        return before
    places: dict[Any, list[int]] = {}
    for at, item in enumerate(before):
        places.setdefault(item.get(key), []).append(at)
    there = [True] * len(before)
    last, freed = len(before) - 1, list[Any]()  # what stood at the end of the list when it became shorter
    for item in patch:
        if isinstance(item, dict) and item.get(_MARKER) == "delete" and not isinstance(item.get(key), dict | list):
            for at in reversed(places.pop(item.get(key), ())):
                while not there[last]:
                    last -= 1
                freed.append(before[last])
                there[at] = False
    out = [item for at, item in enumerate(before) if there[at]]
    present, size = {item.get(key) for item in out}, len(out)
    out += reversed(freed)
    for item in patch:
        if _MARKER not in item and item.get(key) not in present and size < len(out):
            out[size] = item
            size += 1
    return out


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise status.bad_request(_BAD_ORDER)
    return value


def _check_order(patch: list[Any], order: list[Any], key: str) -> None:
    """The patch's own elements must stand in the order that it gives."""
    if not patch or not order:
        return
    own = [item for item in patch if not (isinstance(item, dict) and _MARKER in item)]
    at = 0
    for item in own:
        while at < len(order) and _identity(order[at], key) != _identity(item, key):
            at += 1
        if at == len(order):
            raise status.bad_request(f"The order in patch list:\n{patch}\n doesn't match {_ORDER} list:\n{order}\n")
        at += 1


def _identity(item: Any, key: str) -> Any:
    """What tells elements of a list apart: the value of their merge key, or they themselves."""
    if not key:
        if isinstance(item, dict | list):
            raise status.bad_request("cannot merge lists without merge key")
        return item
    if not isinstance(item, dict):
        raise status.bad_request(f"expected a map[string]interface {{}}, but received a {type(item).__name__}")
    if key not in item:
        raise status.bad_request(f"map: {gotext.printed(item)} does not contain declared merge key: {key}")
    if isinstance(item[key], dict | list):  # upstream panics
        raise status.bad_request(f"map: {gotext.printed(item)} has no plain value of merge key: {key}")
    return item[key]


def _bad_directive(directive: Any, patch: Object) -> status.StatusError:
    return status.bad_request(f"unknown patch type: {directive} in map: {gotext.printed(patch)}")


def _merge_list(original: list[Any], patch: list[Any], field: Field, deleting: bool) -> list[Any]:
    if not original and not patch:
        return original
    maps = _element(original, patch) is dict
    key = field.merge_key if maps else ""
    if not maps:
        if deleting:
            gone = {item for item in patch if not isinstance(item, list)}  # no list holds lists
            return [item for item in original if item not in gone]
        merged = list(dict.fromkeys([*original, *patch]))
        order: list[Any] = patch
    else:
        if not key:
            raise status.bad_request(f"cannot merge lists without merge key for {field.name}")
        original, order = _follow_directives(original, patch, key)
        assert field.type.element is not None  # only lists have merge keys
        merged = _merge_elements(list(original), order, key, field.type.element)
    theirs, ours = _partition(merged, order, key)
    return _in_order(theirs, ours, order, original, key)


def _element(*lists: list[Any]) -> type:
    """What the elements of lists are, all of them."""
    found = {dict if isinstance(item, dict) else type(item) for items in lists for item in items}
    if list in found:
        raise status.bad_request("lists of lists are not supported")
    if len(found) > 1:
        raise status.bad_request(f"list element types are not identical: {gotext.printed(list(lists))}")
    if not found:
        raise status.bad_request("no elements in any of the given slices")
    return found.pop()


def _follow_directives(original: list[Any], patch: list[Any], key: str) -> tuple[list[Any], list[Any]]:
    """Carry out ``$patch`` elements: deletions, or the replacement of the whole list."""
    plain: list[Any] = []
    gone: set[Any] = set()
    replace = False
    for item in patch:
        if not isinstance(item, dict):
            raise status.bad_request(f"expected a map[string]interface {{}}, but received a {type(item).__name__}")
        directive = item.get(_MARKER)
        if _MARKER not in item:
            plain.append(item)
        elif directive == "delete":
            identity = _identity(item, key)
            if not isinstance(identity, dict | list):  # which no key of an object is
                gone.add(identity)
        elif directive == "replace":
            replace = True
        elif directive == "merge":
            raise status.bad_request("merging lists cannot yet be specified in the patch")
        else:
            raise _bad_directive(directive, item)
    if replace:
        return plain, []
    return [
        old for old in original if not (isinstance(old, dict) and old.get(key, _NOTHING) in gone)
    ] if gone else original, plain


def _merge_elements(original: list[Any], patch: list[Any], key: str, element: Type) -> list[Any]:
    places: dict[Any, int] = {}
    for i, item in enumerate(original):
        if isinstance(item, dict) and key in item:
            places.setdefault(item[key], i)
    for item in patch:
        identity = _identity(item, key)
        at = places.get(identity)
        if at is None:
            places[identity] = len(original)
            original.append(item)
        else:
            original[at] = _merge_map(original[at], dict(item), element)
    return original


def _partition(merged: list[Any], order: list[Any], key: str) -> tuple[list[Any], list[Any]]:
    """Elements that the order names, and the rest."""
    named = {_identity(item, key) for item in order}
    theirs: list[Any] = []
    ours: list[Any] = []
    for item in merged:
        (theirs if _identity(item, key) in named else ours).append(item)
    return theirs, ours


def _in_order(theirs: list[Any], ours: list[Any], order: list[Any], before: list[Any], key: str) -> list[Any]:
    """Those of the patch in its order, the server's in theirs, woven as far as the old list tells who was first."""
    old = _places(before, key)
    theirs = _sorted(theirs, _places(order, key), key)
    ours = _sorted(ours, old, key)
    out: list[Any] = []
    i = j = 0
    while i < len(ours) and j < len(theirs):
        left, right = old.get(_identity(ours[i], key)), old.get(_identity(theirs[j], key))
        if left is not None and right is not None and left < right:
            out.append(ours[i])
            i += 1
        else:
            out.append(theirs[j])
            j += 1
    return out + ours[i:] + theirs[j:]


def _places(items: list[Any], key: str) -> dict[Any, int]:
    out: dict[Any, int] = {}
    for i, item in enumerate(items):
        out.setdefault(_identity(item, key), i)
    return out


def _sorted(items: list[Any], places: dict[Any, int], key: str) -> list[Any]:
    """What an insertion sort does with upstream's comparison, for which whatever has no place is before the others.

    So an element without a place goes to the front, and one with a place to behind the last that is not after it; what
    had no place and stood there stands behind it then. Done by places, because strangers' lists are long.
    """
    found = [places.get(_identity(item, key)) for item in items]
    if None not in found:
        return [item for _, item in sorted(zip(found, items, strict=True), key=operator.itemgetter(0))]
    first: list[Any] = []  # without a place, the newest last
    known: list[int] = []
    groups: list[list[Any]] = []  # each that has a place, with those without one behind it
    for item, place in zip(items, found, strict=True):
        if place is None:
            first.append(item)
            continue
        at = bisect.bisect_right(known, place)
        behind = groups[at - 1][1:] if at else first[::-1]
        if at:
            del groups[at - 1][1:]
        else:
            first.clear()
        known.insert(at, place)
        groups.insert(at, [item, *behind])
    return [*first[::-1], *itertools.chain.from_iterable(groups)]
