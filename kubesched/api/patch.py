# SPDX-License-Identifier: Apache-2.0
"""JSON patch (RFC 6902), merge patch (RFC 7386) and strategic merge patch, as functions from object to object.

None of them changes what it is given. Source of the strategic one: apimachinery/pkg/util/strategicpatch, v1.36. Where
upstream answers a bad strategic patch with a bare 500 we answer 400 with the same text.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

from kubesched.api import status
from kubesched.api.schema import Field, Shape, Type

Object = dict[str, Any]

MAX_OPERATIONS = 10_000
MAX_COPIED = 3 * 1024 * 1024  # bytes that all copy operations of a patch may add

_EMPTY = Type("", Shape.OBJECT)


def _copy(value: Any) -> Any:
    return orjson.loads(orjson.dumps(value))  # ten times as quick as copy.deepcopy


# ---- merge patch ----


def merge(target: Any, patch: Any) -> Any:
    """RFC 7386: objects are merged, null deletes, everything else replaces."""
    if not isinstance(patch, dict):
        return patch
    out = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            out.pop(name, None)
        else:
            out[name] = merge(out.get(name), value)
    return out


# ---- JSON patch ----


class _NotApplicable(Exception):
    """An operation that the document does not allow; the client hears 422 without the reason, as from upstream."""


def json_patch(target: Any, operations: Any) -> Any:
    """RFC 6902.

    Raises
    ------
    StatusError
        400: no patch; 413: too many operations or too much copied; 422: an operation does not apply.
    """
    if not isinstance(operations, list) or not all(isinstance(item, dict) for item in operations):
        raise status.bad_request(
            "error decoding patch: json: cannot unmarshal object into Go value of type jsonpatch.Patch"
        )
    if len(operations) > MAX_OPERATIONS:
        count = len(operations)
        raise status.too_large(f"The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {count}")
    document = [_copy(target)]  # in a box: the root can be replaced
    copied = 0
    for operation in operations:
        try:
            if operation.get("op") == "copy":
                copied += len(orjson.dumps(_get(document, _pointer(operation, "from"))))
                if copied > MAX_COPIED:
                    raise status.unprocessable()
            _apply(document, operation)
        except _NotApplicable:
            raise status.unprocessable() from None
    return document[0]


def _pointer(operation: Object, name: str) -> list[str]:
    text = operation.get(name)
    if not isinstance(text, str) or (text and not text.startswith("/")):
        raise _NotApplicable
    return [part.replace("~1", "/").replace("~0", "~") for part in text.split("/")[1:]]


def _apply(document: list[Any], operation: Object) -> None:
    path = _pointer(operation, "path")
    match operation.get("op"):
        case "add":
            _add(document, path, _value(operation))
        case "remove":
            _remove(document, path)
        case "replace":
            _get(document, path)
            if path:
                parent, key = _parent(document, path)
                parent[_index(parent, key, len(parent)) if isinstance(parent, list) else key] = _value(operation)
            else:
                document[0] = _value(operation)
        case "move":
            source = _pointer(operation, "from")
            if path[: len(source)] == source and path != source:
                raise _NotApplicable
            value = _get(document, source)
            _remove(document, source)
            _add(document, path, value)
        case "copy":
            _add(document, path, _copy(_get(document, _pointer(operation, "from"))))
        case "test":
            _test(document, path, operation.get("value"))
        case _:
            raise _NotApplicable


def _value(operation: Object) -> Any:
    if "value" not in operation:
        raise _NotApplicable
    return _copy(operation["value"])


def _test(document: list[Any], path: list[str], wanted: Any) -> None:
    try:
        found = _get(document, path)
    except _NotApplicable:
        if wanted is None:  # an absent value equals null
            return
        raise
    if not same(found, wanted):
        raise _NotApplicable


def same(left: Any, right: Any) -> bool:
    """Equality of JSON: true is not 1."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(left[name], right[name]) for name in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    return bool(left == right)


def _parent(document: list[Any], path: list[str]) -> tuple[Any, str]:
    parent = _get(document, path[:-1])
    if not isinstance(parent, dict | list):
        raise _NotApplicable
    return parent, path[-1]


def _index(items: list[Any], key: str, end: int) -> int:
    """An index of a list below ``end``; negative ones count from the end."""
    digits = key.removeprefix("-")
    if not (digits.isascii() and digits.isdigit()) or (len(digits) > 1 and digits[0] == "0"):
        raise _NotApplicable
    at = int(key)
    if at < 0:
        at += end
    if not 0 <= at < end:
        raise _NotApplicable
    return at


def _get(document: list[Any], path: list[str]) -> Any:
    found = document[0]
    for key in path:
        if isinstance(found, dict) and key in found:
            found = found[key]
        elif isinstance(found, list):
            found = found[_index(found, key, len(found))]
        else:
            raise _NotApplicable
    return found


def _add(document: list[Any], path: list[str], value: Any) -> None:
    if not path:
        document[0] = value
        return
    parent, key = _parent(document, path)
    if isinstance(parent, dict):
        parent[key] = value
    elif key == "-":
        parent.append(value)
    else:
        parent.insert(_index(parent, key, len(parent) + 1), value)


def _remove(document: list[Any], path: list[str]) -> None:
    if not path:
        raise _NotApplicable
    parent, key = _parent(document, path)
    if isinstance(parent, list):
        del parent[_index(parent, key, len(parent))]
    elif key in parent:
        del parent[key]
    else:
        raise _NotApplicable


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
    return _merge_map(_copy(target), _copy(patch), kind)


def _merge_map(original: Object | None, patch: Object, kind: Type) -> Object:
    if _MARKER in patch:
        directive = patch.pop(_MARKER)
        if directive == "replace":
            return patch
        if directive == "delete":
            return {}
        raise _bad_directive(directive, patch)
    original = {} if original is None else original
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
        original[name] = value if strategy == "replace" else _merge_map(current, value, _type(field))
    elif strategy == "merge" or deleting:
        original[name] = _merge_list(current or [], value, field, deleting)
    else:
        original[name] = value


def _put_new(original: Object, name: str, value: Any) -> None:
    _drop_nulls(value)
    value, keep = _without_directives(value)
    if keep:
        original[name] = value
    else:
        original.pop(name, None)


def _drop_nulls(value: Any) -> None:
    if isinstance(value, dict):
        for name in [name for name, item in value.items() if item is None]:
            del value[name]
        for item in value.values():
            _drop_nulls(item)
    elif isinstance(value, list):
        for item in value:
            _drop_nulls(item)


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


def _field(kind: Type, name: str) -> Field | None:
    """The field of a type; maps have the same for every key. None: unknown, merged as JSON is."""
    if kind.shape is Shape.MAP and kind.element is not None:
        return Field(name, kind.element)
    return kind.fields.get(name)


def _type(field: Field | None) -> Type:
    return _EMPTY if field is None else field.type


def _strategy(field: Field | None) -> str:
    if field is None:
        return ""
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
        key = field.merge_key if field else ""
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
        else:
            merged = _list(wanted)
        theirs, ours = _partition(merged, order, key)
        original[name] = _in_order(theirs, ours, order, before, key)
        patch.pop(name, None)


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
        raise status.bad_request(f"map: {_go_map(item)} does not contain declared merge key: {key}")
    return item[key]


def _go_map(item: Any) -> str:
    """A value as Go prints one inside a text."""
    if isinstance(item, dict):
        return "map[" + " ".join(f"{name}:{_go_map(item[name])}" for name in sorted(item)) + "]"
    if isinstance(item, list):
        return "[" + " ".join(map(_go_map, item)) + "]"
    if item is None:
        return "<nil>"
    return str(item).lower() if isinstance(item, bool) else str(item)


def _bad_directive(directive: Any, patch: Object) -> status.StatusError:
    return status.bad_request(f"unknown patch type: {directive} in map: {_go_map(patch)}")


def _merge_list(original: list[Any], patch: list[Any], field: Field | None, deleting: bool) -> list[Any]:
    if not original and not patch:
        return original
    maps = any(isinstance(item, dict) for item in [*original, *patch])
    key = field.merge_key if field is not None and maps else ""
    if not maps:
        if deleting:
            return [item for item in original if item not in patch]
        merged = list(dict.fromkeys([*original, *patch])) if _hashable(original, patch) else [*original, *patch]
        order: list[Any] = patch
    else:
        if not key:
            raise status.bad_request(f"cannot merge lists without merge key for {field.name if field else ''}")
        original, order = _follow_directives(original, patch, key)
        element = field.type.element if field is not None and field.type.element is not None else _EMPTY
        merged = _merge_elements(list(original), order, key, element)
    theirs, ours = _partition(merged, order, key)
    return _in_order(theirs, ours, order, original, key)


def _hashable(*lists: list[Any]) -> bool:
    return not any(isinstance(item, dict | list) for items in lists for item in items)


def _follow_directives(original: list[Any], patch: list[Any], key: str) -> tuple[list[Any], list[Any]]:
    """Carry out ``$patch`` elements: deletions, or the replacement of the whole list."""
    plain: list[Any] = []
    replace = False
    for item in patch:
        if not isinstance(item, dict):
            raise status.bad_request(f"expected a map[string]interface {{}}, but received a {type(item).__name__}")
        directive = item.get(_MARKER)
        if _MARKER not in item:
            plain.append(item)
        elif directive == "delete":
            gone = _identity(item, key)
            original = [old for old in original if not (isinstance(old, dict) and old.get(key, _EMPTY) == gone)]
        elif directive == "replace":
            replace = True
        elif directive == "merge":
            raise status.bad_request("merging lists cannot yet be specified in the patch")
        else:
            raise _bad_directive(directive, item)
    return (plain, []) if replace else (original, plain)


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
    named = [_identity(item, key) for item in order]
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
    """Insertion sort, because upstream's order of elements without a place is what its comparison does in one."""

    def before(left: Any, right: Any) -> bool:
        first, second = places.get(_identity(left, key)), places.get(_identity(right, key))
        return True if first is None or second is None else first < second

    return _insertion_sorted(list(items), before)


def _insertion_sorted(items: list[Any], before: Callable[[Any, Any], bool]) -> list[Any]:
    for i in range(1, len(items)):
        at = i
        while at > 0 and before(items[at], items[at - 1]):
            items[at], items[at - 1] = items[at - 1], items[at]
            at -= 1
    return items
