# SPDX-License-Identifier: Apache-2.0
"""Sets of fields, and what follows from comparing, merging and cutting typed objects by them.

A set is FieldsV1 itself: ``{"f:spec": {"f:replicas": {}}, "f:metadata": {".": {}, "f:labels": {}}}``. A path is a
member if its node is empty or has ``"."``. Sets are never changed once made, so they may share parts, and those that
objects carry are used as they are.

Source: structured-merge-diff v6 (fieldpath, typed), as vendored by Kubernetes v1.36.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import orjson

from kubesched.api import alike, gotext, shared
from kubesched.api.schema import ListType, Shape, Type
from kubesched.api.shared import Shared

Set = dict[str, Any]
Node = dict[str, Any]
"""What a set says of one path: empty, it is a member; with ``"."``, a member with others below it."""

LEAF: Node = {}
ANY = Type("any", Shape.ANY)


class _Missing:
    """No value at all, as against null."""


MISSING: Any = _Missing()


class FieldsError(ValueError):
    """Objects or sets that cannot be walked: a list's element without its key, the same key twice."""


# ---- sets ----


def _is_member(node: Node) -> bool:
    return not node or "." in node


def _made(member: bool, below: Set) -> Node | None:
    """The node of a path; None if nothing is in the set."""
    if below:
        return {".": LEAF, **below} if member else below
    return LEAF if member else None


def union(left: Set, right: Set) -> Set:
    if not left or not right or left is right:
        return left or right
    out = dict(left)
    for element, node in right.items():
        mine = out.get(element)
        out[element] = node if mine is None else _join(mine, node)
    return out


def _join(left: Node, right: Node) -> Node:
    if left and right:
        return union(left, right)
    below = left or right
    return below if not below or "." in below else {".": LEAF, **below}


def intersection(left: Set, right: Set) -> Set:
    out: Set = {}
    for element, node in left.items():
        other = right.get(element)
        if element == "." or other is None:
            continue
        both = _made(_is_member(node) and _is_member(other), intersection(node, other))
        if both is not None:
            out[element] = both
    return out


def difference(left: Set, right: Set) -> Set:
    """Members of the left that are no members of the right."""
    if not right:
        return left
    out: Set = {}
    for element, node in left.items():
        if element == ".":
            continue
        other = right.get(element)
        if other is None:
            out[element] = node
            continue
        rest = _made(_is_member(node) and not _is_member(other), difference(node, other) if node else {})
        if rest is not None:
            out[element] = _without_mark(rest, _is_member(node) and not _is_member(other))
    return out


def _without_mark(node: Node, member: bool) -> Node:
    """A node whose mark says what it must."""
    if member or "." not in node:
        return node
    return {element: below for element, below in node.items() if element != "."}


def recursive_difference(left: Set, right: Set) -> Set:
    """The same, and without what lies below a member of the right."""
    out: Set = {}
    for element, node in left.items():
        if element == ".":
            continue
        other = right.get(element)
        if other is None:
            out[element] = node
        elif not _is_member(other):
            rest = _made(_is_member(node), recursive_difference(node, other))
            if rest is not None:
                out[element] = rest
    return out


def has(fields: Set, path: tuple[str, ...]) -> bool:
    node: Node | None = fields
    for element in path:
        node = (node or {}).get(element)
        if node is None:
            return False
    return bool(path) and _is_member(node or {})


def paths(fields: Set, prefix: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Members in upstream's order: those of a level before those below it."""
    below = sorted((element for element in fields if element != "."), key=_order)
    for element in below:
        if _is_member(fields[element]):
            yield (*prefix, element)
    for element in below:
        yield from paths(fields[element], (*prefix, element))


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


def check(fields: Any) -> Set:
    """A set as somebody sent it.

    Raises
    ------
    FieldsError
        It is none.
    """
    if not isinstance(fields, dict):
        raise FieldsError("fieldsV1 is no mapping")
    for element, node in fields.items():
        if element != "." and (len(element) < 2 or element[1] != ":" or element[0] not in "fkvi"):
            raise FieldsError(f"unknown path element {element!r}")
        check(node)
    return fields


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
    return _below(value, kind)[1]


def _below(value: Any, kind: Type) -> tuple[bool, Set]:
    """Whether a value is a field itself, and the fields below it."""
    if _is_map(kind, value):
        if _is_atomic(kind) and kind.shape is not Shape.ANY:
            return True, {}
        return False, _of_map(value, kind) if isinstance(value, dict) else {}
    if _is_list(kind, value):
        if _is_atomic(kind):
            return True, {}
        return False, _of_list(value, kind) if isinstance(value, list) else {}
    return True, {}


def _of_map(value: dict[str, Any], kind: Type) -> Set:
    out: Set = {}
    for name, item in value.items():
        child, declared = _child(kind, name)
        member, below = _below(item, child)
        node = _made(member or item is None or item == {} or not declared, below)
        if node is not None:
            out[f"f:{name}"] = node
    return out


def _of_list(value: list[Any], kind: Type) -> Set:
    element = kind.element or ANY
    out: Set = {}
    for item in value:
        name = element_of(kind, item)
        # Items that stand there twice count as one.
        out[name] = LEAF if name in out else _made(True, _below(item, element)[1])
    return out


# ---- comparing ----


class Comparison(NamedTuple):
    """What is different on the right side."""

    removed: Set
    modified: Set
    added: Set

    def without(self, ignored: Set | None) -> Comparison:
        """Leaving fields out of account, and all below them."""
        if not ignored or ignored.keys().isdisjoint({*self.removed, *self.modified, *self.added}):
            return self
        return Comparison(*(recursive_difference(fields, ignored) for fields in self))


def compare(left: Any, right: Any, kind: Type) -> Comparison:
    """Raises FieldsError: a list's element has no key."""
    removed, modified, added = _compare(left, right, kind)
    return Comparison(removed or {}, modified or {}, added or {})


_Nodes = tuple[Node | None, Node | None, Node | None]
_SAME: _Nodes = (None, None, None)
_CHANGED: _Nodes = (None, LEAF, None)


def _compare(left: Any, right: Any, kind: Type) -> _Nodes:
    """Nodes of one path: what is removed, modified, added there and below."""
    if left is MISSING:
        return None, None, _whole(kind)(right)
    if right is MISSING:
        return _whole(kind)(left), None, None
    if left == right and (type(left) is type(right) or isinstance(left, dict | list)):  # 1 is not true; shared or not
        return _SAME
    if _is_map(kind, left, right) and _both(left, right, dict) and (left or right):
        if not _is_atomic(kind) or kind.shape is Shape.ANY:
            if type(left) is Shared and type(right) is Shared:
                return _compare_shared(left, right, kind)
            return _compare_maps(left or {}, right or {}, kind)
    elif _is_list(kind, left, right) and _both(left, right, list) and (left or right) and not _is_atomic(kind):
        return _compare_lists(left or [], right or [], kind)
    return _CHANGED


def _both(left: Any, right: Any, shape: type) -> bool:
    """Whether both are of a shape, as far as they are there."""
    return (left is None or isinstance(left, shape)) and (right is None or isinstance(right, shape))


@functools.cache
def _whole(kind: Type) -> Callable[[Any], Node]:
    """Function from a value that stands alone to its node: every path in it is a member.

    One for each type, because this is the way of every new object.
    """
    if kind.shape in (Shape.OBJECT, Shape.MAP) and not kind.atomic:
        return _whole_map(kind)
    if kind.shape is Shape.LIST and kind.list_type is not ListType.ATOMIC:
        return _whole_list(kind)
    return _whole_any if kind.shape is Shape.ANY else _whole_leaf


def _whole_leaf(value: Any) -> Node:
    return LEAF


def _whole_any(value: Any) -> Node:
    if not isinstance(value, dict) or not value:
        return LEAF
    return {".": LEAF, **{f"f:{name}": _whole_any(item) for name, item in value.items()}}


class _Members(dict[str, tuple[str, Callable[[Any], Node], Type]]):
    """Fields of a type, or entries of a map: path element, function to the node of one that stands alone, type."""

    def __init__(self, kind: Type) -> None:
        super().__init__()
        self._kind = kind

    def __missing__(self, name: str) -> tuple[str, Callable[[Any], Node], Type]:
        child, declared = _child(self._kind, name)
        found = (f"f:{name}", _whole(child), child)
        if declared:  # strangers choose the other names
            self[name] = found
        return found


_members = functools.cache(_Members)


def _whole_map(kind: Type) -> Callable[[Any], Node]:
    members, shapes, is_object = _members(kind), _flat(kind), kind.shape is Shape.OBJECT
    declared = {f"f:{name}" for name in kind.fields} | {"."}

    def whole(value: Any) -> Node:
        if not value or not isinstance(value, dict):
            return LEAF
        known: Node | None = shared.recall(value, whole)
        if known is not None:
            return known
        out: Node = {".": LEAF}
        flat = is_object
        for name, item in value.items():
            element, function, _ = members[name]
            if function is _whole_leaf:
                out[element] = LEAF
            else:
                flat = False
                out[element] = function(item)
        if flat and len(shapes) < _MOST_FLAT and out.keys() <= declared:
            shapes.setdefault(frozenset(value), out)
        if type(value) is Shared:
            out = shared.share(out)
            shared.keep(value, whole, out)
        return out

    return whole


_MOST_FLAT = 64  # of one type; people send fewer
_MOST_NAMES = 4096  # of elements of one type; arbitrary
_SHORT = 64  # characters of such a name, so that strangers cannot fill the memory


@functools.cache
def _flat(kind: Type) -> dict[frozenset[str] | None, Node]:
    """Nodes of objects in which every field is a leaf whatever its value, by the names of their fields."""
    return {}


def _whole_list(kind: Type) -> Callable[[Any], Node]:
    element = kind.element or ANY
    flat = _flat(element)
    key = kind.keys[0] if kind.list_type is ListType.MAP and len(kind.keys) == 1 else ""
    names: dict[str, str] = {}  # elements by the values of the one key: variables, volumes, conditions come again

    def quick(value: list[Any]) -> Node:
        """A list of names that all came before, and of the same fields in each; empty if it is none."""
        node = flat.get(alike.names(value))
        try:
            out = {} if node is None else dict.fromkeys([names[item[key]] for item in value], node)
        except (KeyError, TypeError):
            return {}
        return {".": LEAF, **out} if len(out) == len(value) else {}

    def remember(item: Any, name: str) -> None:
        text = item.get(key)
        if type(text) is str and len(text) < _SHORT:
            if len(names) >= _MOST_NAMES:
                names.clear()
            names[text] = name

    def whole(value: Any) -> Node:
        if not value or not isinstance(value, list):
            return LEAF
        if key and len(value) >= alike.LONG and (found := quick(value)):
            return found
        out: Node = {".": LEAF}
        function = _whole(element)
        for item in value:
            name = element_of(kind, item)
            out[name] = LEAF if name in out else function(item)
            if key:
                remember(item, name)
        return out

    return whole


def _compare_shared(left: Shared, right: Shared, kind: Type) -> _Nodes:
    """The same of two that are shared: most often what a template says takes the place of nothing."""
    known: tuple[Callable[[], Any], _Nodes] | None = shared.recall(right, _compare)
    if known is None or known[0]() is not left:
        removed, modified, added = map(shared.share, _compare_maps(left, right, kind))
        known = weakref.ref(left), (removed, modified, added)
        shared.keep(right, _compare, known)
    return known[1]


def _compare_maps(left: dict[str, Any], right: dict[str, Any], kind: Type) -> _Nodes:
    removed: Set = {}
    modified: Set = {}
    added: Set = {}
    members = _members(kind)
    for name, value in left.items():
        other = right.get(name, MISSING)
        if value is not other:
            element, _, child = members[name]
            _note(element, _compare(value, other, child), removed, modified, added)
    for name, value in right.items():
        if name not in left:
            element, whole, _ = members[name]
            added[element] = whole(value)
    return removed or None, modified or None, added or None


def _note(element: str, nodes: _Nodes, removed: Set, modified: Set, added: Set) -> None:
    gone, changed, new = nodes
    if gone is not None:
        removed[element] = gone
    if changed is not None:
        modified[element] = changed
    if new is not None:
        added[element] = new


def _compare_lists(left: list[Any], right: list[Any], kind: Type) -> _Nodes:
    element = kind.element or ANY
    removed: Set = {}
    modified: Set = {}
    added: Set = {}
    lefts, rights = _grouped(left, kind), _grouped(right, kind)
    for name in dict.fromkeys([*lefts, *rights]):
        mine, theirs = lefts.get(name, []), rights.get(name, [])
        if len(mine) > 1 and len(theirs) > 1:
            if mine != theirs:
                modified[name] = LEAF
        elif len(mine) > 1:
            removed[name] = LEAF
            if theirs:
                added[name] = _whole(element)(theirs[0])
        elif len(theirs) > 1:
            added[name] = LEAF
            if mine:
                removed[name] = _whole(element)(mine[0])
        else:
            first = mine[0] if mine else MISSING
            _note(name, _compare(first, theirs[0] if theirs else MISSING, element), removed, modified, added)
    return removed or None, modified or None, added or None


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
    if _is_map(kind, live, applied) and _both(live, applied, dict) and (live or applied):
        if not _is_atomic(kind) or kind.shape is Shape.ANY:
            return _merge_maps(live or {}, applied or {}, kind)
    elif _is_list(kind, live, applied) and _both(live, applied, list) and (live or applied) and not _is_atomic(kind):
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
    common = [name for name in theirs if name in present]
    done: set[str] = set()
    i = j = at = 0
    while i < len(mine) or j < len(theirs):
        while at < len(common) and common[at] in done:
            at += 1
        name = mine[i] if i < len(mine) else None
        differ = name is not None and j < len(theirs) and name != theirs[j]
        if differ and name in wanted and at < len(common) and common[at] != name:
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
        elif not _is_member(node):
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
        elif not _is_member(node):
            matched = True
            out.append(_remove_below(item, node, element))
    return out if out or matched else MISSING


def with_named_fields(fields: Set, kind: Type) -> Set:
    """The set with every declared field a member that has members below it."""
    out: Set = {}
    for element, node in fields.items():
        if element == ".":
            continue
        if element[0] == "f":
            child, declared = _child(kind, element[2:])
        else:
            child, declared = kind.element or ANY, False
        below = with_named_fields(node, child)
        out[element] = _made(_is_member(node) or declared, below) or LEAF
    return out
