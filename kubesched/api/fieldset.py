# SPDX-License-Identifier: Apache-2.0
"""Sets of fields, and what follows from comparing, merging and cutting typed objects by them.

A set is a nested dict in the manner of FieldsV1, but uniform: ``{"f:spec": {".": True, "f:replicas": {".": True}}}``;
a path is a member if its node has ``"."``. Sets are never changed once made, so they may share parts.

Source: structured-merge-diff v6 (fieldpath, typed), as vendored by Kubernetes v1.36.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import orjson

from kubesched.api import gotext
from kubesched.api.schema import ListType, Shape, Type

Set = dict[str, Any]

LEAF: Set = {".": True}
ANY = Type("any", Shape.ANY)


class _Missing:
    """No value at all, as against null."""


MISSING: Any = _Missing()


class FieldsError(ValueError):
    """Objects or sets that cannot be walked: a list's element without its key, the same key twice."""


# ---- sets ----


def union(left: Set, right: Set) -> Set:
    if not left or not right or left is right:
        return left or right
    out = dict(left)
    for element, node in right.items():
        mine = out.get(element)
        out[element] = node if mine is None or node is True else union(mine, node)
    return out


def intersection(left: Set, right: Set) -> Set:
    out: Set = {}
    for element, node in left.items():
        other = right.get(element)
        if other is None:
            continue
        if node is True:
            out[element] = True
        elif both := intersection(node, other):
            out[element] = both
    return out


def difference(left: Set, right: Set) -> Set:
    """Members of the left that are no members of the right."""
    if not right:
        return left
    out: Set = {}
    for element, node in left.items():
        other = right.get(element)
        if other is None:
            out[element] = node
        elif node is not True and (rest := difference(node, other)):
            out[element] = rest
    return out


def recursive_difference(left: Set, right: Set) -> Set:
    """The same, and without what lies below a member of the right."""
    out: Set = {}
    for element, node in left.items():
        other = right.get(element)
        if other is None:
            out[element] = node
        elif node is not True and "." not in other and (rest := recursive_difference(node, other)):
            out[element] = rest
    return out


def has(fields: Set, path: tuple[str, ...]) -> bool:
    for element in path:
        found = fields.get(element)
        if found is None:
            return False
        fields = found
    return "." in fields


def paths(fields: Set, prefix: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Members in upstream's order: those of a level before those below it."""
    below = sorted((element for element in fields if element != "."), key=_order)
    for element in below:
        if "." in fields[element]:
            yield (*prefix, element)
    for element in below:
        yield from (path for path in paths(fields[element], (*prefix, element)) if len(path) > len(prefix) + 1)


def _order(element: str) -> tuple[int, str]:
    return "fkvi".index(element[0]), element


def show(path: tuple[str, ...]) -> str:
    """``.spec.containers[name="web"].image``."""
    return "".join(map(_show, path))


def _show(element: str) -> str:
    kind, text = element[0], element[2:]
    if kind == "f":
        return f".{text}"
    if kind == "i":
        return f"[{text}]"
    value = orjson.loads(text)
    if kind == "k":
        return "[" + ",".join(f"{name}={gotext.value(value[name])}" for name in sorted(value)) + "]"
    return f"[={gotext.value(value)}]"


def to_v1(fields: Set) -> dict[str, Any]:
    """The form of managedFields: a member without anything below is ``{}``."""
    out: dict[str, Any] = {}
    for element, node in fields.items():
        if node is True:
            out[element] = {}
        else:
            out[element] = {} if len(node) == 1 and "." in node else to_v1(node)
    return out


def from_v1(fields: Any) -> Set:
    """Raises FieldsError: not of that form."""
    if not isinstance(fields, dict):
        raise FieldsError("fieldsV1 is no mapping")
    out: Set = {}
    for element, node in fields.items():
        if element == ".":
            out[element] = True
            continue
        if len(element) < 2 or element[1] != ":" or element[0] not in "fkvi":
            raise FieldsError(f"unknown path element {element!r}")
        out[element] = from_v1(node) if node else LEAF
    return out


# ---- types ----


def _is_atomic(kind: Type) -> bool:
    if kind.shape in (Shape.LIST, Shape.ANY):
        return kind.list_type is ListType.ATOMIC
    return kind.atomic


def _child(kind: Type, name: str) -> tuple[Type, bool]:
    """Type of a field or a map's value, and whether the field is declared."""
    declared = kind.fields.get(name)
    if declared is not None:
        return declared.type, True
    return (kind.element or ANY) if kind.shape is Shape.MAP else ANY, False


def _is_map(kind: Type, *values: Any) -> bool:
    """Whether a value is walked as a map: by its type, or, where the type is open, by what it is."""
    if kind.shape in (Shape.OBJECT, Shape.MAP):
        return True
    return kind.shape is Shape.ANY and any(isinstance(value, dict) for value in values)


def _is_list(kind: Type, *values: Any) -> bool:
    return kind.shape is Shape.LIST or (kind.shape is Shape.ANY and any(isinstance(value, list) for value in values))


def element_of(kind: Type, item: Any) -> str:
    """The path element of a list's item: its keys, or in a set the item itself.

    Raises
    ------
    FieldsError
        It has none.
    """
    if kind.list_type is ListType.SET:
        if isinstance(item, dict):
            raise FieldsError("associative list without keys has an element that's a map type")
        if isinstance(item, list):
            raise FieldsError("not supported: associative list with lists as elements")
        if item is None:
            raise FieldsError("associative list without keys has an element that's an explicit null")
        return "v:" + orjson.dumps(item).decode()
    if not isinstance(item, dict):
        what = "a null element" if item is None else "non-map elements"
        raise FieldsError(f"associative list with keys may not have {what}")
    fields = kind.element.fields if kind.element is not None else {}
    keys: dict[str, Any] = {}
    for name in kind.keys:
        value = item.get(name, MISSING)
        if value is MISSING and name in fields and fields[name].default is not None:
            value = fields[name].default
        if value is not MISSING:
            keys[name] = value
    if not keys:
        listed = "[" + " ".join(gotext.quote(name) for name in kind.keys) + "]"
        raise FieldsError(
            f"associative list with keys has an element that omits all key fields {listed} "
            "(and doesn't have default values for any key fields)"
        )
    return "k:" + orjson.dumps(keys, option=orjson.OPT_SORT_KEYS).decode()


# ---- which fields an object has ----


def of(value: Any, kind: Type) -> Set:
    """All fields that an object says something about."""
    out: Set = {}
    _collect(value, kind, out)
    out.pop(".", None)
    return out


def _collect(value: Any, kind: Type, node: Set) -> None:
    if _is_map(kind, value):
        if _is_atomic(kind):
            node["."] = True
        elif isinstance(value, dict):
            _collect_map(value, kind, node)
    elif _is_list(kind, value):
        if _is_atomic(kind):
            node["."] = True
        elif isinstance(value, list):
            _collect_list(value, kind, node)
    else:
        node["."] = True


def _collect_map(value: dict[str, Any], kind: Type, node: Set) -> None:
    for name, item in value.items():
        child_type, declared = _child(kind, name)
        child: Set = {}
        _collect(item, child_type, child)
        if item is None or (isinstance(item, dict) and not item) or not declared:
            child["."] = True
        if child:
            node[f"f:{name}"] = child


def _collect_list(value: list[Any], kind: Type, node: Set) -> None:
    element = kind.element or ANY
    for item in value:
        name = element_of(kind, item)
        if name in node:
            node[name] = LEAF  # twice: the items count as one
            continue
        child: Set = {}
        _collect(item, element, child)
        child["."] = True
        node[name] = child


# ---- comparing ----


class Comparison(NamedTuple):
    """What is different on the right side."""

    removed: Set
    modified: Set
    added: Set

    def without(self, ignored: Set | None) -> Comparison:
        """Leaving fields out of account, and all below them."""
        if not ignored:
            return self
        return Comparison(*(recursive_difference(fields, ignored) for fields in self))


def compare(left: Any, right: Any, kind: Type) -> Comparison:
    """Raises FieldsError: a list's element has no key."""
    out = Comparison({}, {}, {})
    _compare(left, right, kind, out)
    for fields in out:
        fields.pop(".", None)
    return out


def _compare(left: Any, right: Any, kind: Type, out: Comparison) -> None:
    """Compare two values (one may be MISSING) into the nodes of their path."""
    if left is right and not isinstance(left, dict | list):
        return
    if _is_map(kind, left, right) and (_both(left, right, dict) or kind.shape is not Shape.ANY):
        empty = (not isinstance(left, dict) or not left) and (not isinstance(right, dict) or not right)
        if not (_is_atomic(kind) or empty):
            _compare_maps(left, right, kind, out)
            _mark_presence(left, right, out)
            return
    elif _is_list(kind, left, right) and (_both(left, right, list) or kind.shape is not Shape.ANY):
        empty = (not isinstance(left, list) or not left) and (not isinstance(right, list) or not right)
        if not (_is_atomic(kind) or empty):
            _compare_lists(left, right, kind, out)
            _mark_presence(left, right, out)
            return
    _mark_leaf(left, right, out)


def _both(left: Any, right: Any, shape: type) -> bool:
    """Whether both are of a shape, as far as they are there."""
    return all(value is MISSING or value is None or isinstance(value, shape) for value in (left, right))


def _mark_presence(left: Any, right: Any, out: Comparison) -> None:
    if left is MISSING:
        out.added["."] = True
    elif right is MISSING:
        out.removed["."] = True


def _mark_leaf(left: Any, right: Any, out: Comparison) -> None:
    if left is MISSING or right is MISSING:
        _mark_presence(left, right, out)
    elif not _equal(left, right):
        out.modified["."] = True


def _equal(left: Any, right: Any) -> bool:
    if isinstance(left, bool) is not isinstance(right, bool):
        return False
    return bool(left == right)


def _descend(out: Comparison, element: str, left: Any, right: Any, kind: Type) -> None:
    below = Comparison({}, {}, {})
    _compare(left, right, kind, below)
    for fields, node in zip(out, below, strict=True):
        if node:
            fields[element] = node


def _compare_maps(left: Any, right: Any, kind: Type, out: Comparison) -> None:
    left = left if isinstance(left, dict) else {}
    right = right if isinstance(right, dict) else {}
    for name, value in left.items():
        other = right.get(name, MISSING)
        if other is MISSING or other is not value:
            _descend(out, f"f:{name}", value, other, _child(kind, name)[0])
    for name, value in right.items():
        if name not in left:
            _descend(out, f"f:{name}", MISSING, value, _child(kind, name)[0])


def _compare_lists(left: Any, right: Any, kind: Type, out: Comparison) -> None:
    element = kind.element or ANY
    lefts = _grouped(left if isinstance(left, list) else [], kind)
    rights = _grouped(right if isinstance(right, list) else [], kind)
    for name in dict.fromkeys([*lefts, *rights]):
        mine, theirs = lefts.get(name, []), rights.get(name, [])
        if len(mine) <= 1 and len(theirs) <= 1:
            first = mine[0] if mine else MISSING
            second = theirs[0] if theirs else MISSING
            _descend(out, name, first, second, element)
        elif len(mine) > 1 and len(theirs) > 1:
            if mine != theirs:
                out.modified[name] = union(out.modified.get(name, {}), LEAF)
        elif len(mine) > 1:
            if theirs:
                _descend(out, name, MISSING, theirs[0], element)
            out.removed[name] = union(out.removed.get(name, {}), LEAF)
        else:
            if mine:
                _descend(out, name, mine[0], MISSING, element)
            out.added[name] = union(out.added.get(name, {}), LEAF)


def _grouped(items: list[Any], kind: Type) -> dict[str, list[Any]]:
    out: dict[str, list[Any]] = {}
    for item in items:
        out.setdefault(element_of(kind, item), []).append(item)
    return out


# ---- merging ----


def merge(live: Any, applied: Any, kind: Type) -> Any:
    """What an applied object makes of the live one: granular things are merged, the rest is replaced.

    Raises
    ------
    FieldsError
        A list's element has no key, or the applied list has a key twice.
    """
    if applied is MISSING or live is MISSING:
        return live if applied is MISSING else applied
    if not _is_atomic(kind):
        if _is_map(kind, live, applied) and _both(live, applied, dict) and (live or applied):
            return _merge_maps(live or {}, applied or {}, kind)
        if _is_list(kind, live, applied) and _both(live, applied, list) and (live or applied):
            return _merge_lists(live or [], applied or [], kind)
    return applied


def _merge_maps(live: dict[str, Any], applied: dict[str, Any], kind: Type) -> dict[str, Any]:
    out = {name: merge(value, applied.get(name, MISSING), _child(kind, name)[0]) for name, value in live.items()}
    return out | {name: value for name, value in applied.items() if name not in live}


def _merge_lists(live: list[Any], applied: list[Any], kind: Type) -> list[Any]:
    """The applier's order, with the live list's own items where they stood between."""
    element = kind.element or ANY
    mine = [element_of(kind, item) for item in live]
    wanted = _once(applied, kind)
    have: dict[str, Any] = {}
    for name, item in zip(mine, live, strict=True):
        have[name] = None if name in have else item  # one that stands there twice cannot be merged with
    out: list[Any] = []
    for name, at in _woven(mine, list(wanted)):
        if name in wanted:
            out.append(merge(have.get(name, MISSING), wanted[name], element))
        else:
            out.append(live[at])
    return out


def _once(items: list[Any], kind: Type) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for item in items:
        name = element_of(kind, item)
        if name in out:
            raise FieldsError(f"duplicate entries for key {_show(name)}")
        out[name] = item
    return out


def _woven(mine: list[str], theirs: list[str]) -> Iterator[tuple[str, int]]:
    """Names of both lists in the order of the merged one, with the place of those that are mine alone."""
    wanted, present = set(theirs), set(mine)
    shared = [name for name in theirs if name in present]
    done: set[str] = set()
    i = j = at = 0
    while i < len(mine) or j < len(theirs):
        while at < len(shared) and shared[at] in done:
            at += 1
        name = mine[i] if i < len(mine) else None
        differ = name is not None and j < len(theirs) and name != theirs[j]
        if differ and name in wanted and at < len(shared) and shared[at] != name:
            i += 1  # it comes later, where the applier has it
            continue
        if name is not None and name not in wanted:
            yield name, i
            i += 1
            continue
        if name is not None and (name in done or (j < len(theirs) and name == theirs[j])):
            i += 1
        if j < len(theirs):
            done.add(theirs[j])
            yield theirs[j], -1
            j += 1


# ---- cutting ----


def remove(value: Any, fields: Set, kind: Type) -> Any:
    """A value without the members of a set; MISSING when nothing is left that was."""
    if _is_map(kind, value):
        if not isinstance(value, dict) or not value:
            return MISSING
        return value if _is_atomic(kind) and kind.shape is not Shape.ANY else _remove_from_map(value, fields, kind)
    if _is_list(kind, value):
        if not isinstance(value, list) or not value:
            return MISSING
        return value if _is_atomic(kind) else _remove_from_list(value, fields, kind)
    return value


def _remove_below(item: Any, fields: Set, kind: Type) -> Any:
    rest = remove(item, fields, kind)
    if rest is MISSING:
        return {} if isinstance(item, dict) else [] if isinstance(item, list) else None
    return rest


def _remove_from_map(value: dict[str, Any], fields: Set, kind: Type) -> Any:
    out: dict[str, Any] = {}
    matched = False
    for name, item in value.items():
        node = fields.get(f"f:{name}")
        if node is None:
            out[name] = item
        elif "." not in node:
            matched = True
            out[name] = _remove_below(item, node, _child(kind, name)[0])
    return out if out or matched else MISSING


def _remove_from_list(value: list[Any], fields: Set, kind: Type) -> Any:
    element = kind.element or ANY
    out: list[Any] = []
    matched = False
    for item in value:
        node = fields.get(element_of(kind, item))
        if node is None:
            out.append(item)
        elif "." not in node:
            matched = True
            out.append(_remove_below(item, node, element))
    return out if out or matched else MISSING


def with_named_fields(fields: Set, kind: Type) -> Set:
    """The set with every declared field a member that has members below it."""
    out: Set = {}
    for element, node in fields.items():
        if node is True:
            out[element] = True
            continue
        if element[0] == "f":
            child, declared = _child(kind, element[2:])
        else:
            child, declared = kind.element or ANY, False
        below = with_named_fields(node, child)
        if declared and any(name != "." for name in node):
            below = {**below, ".": True}
        out[element] = below
    return out
