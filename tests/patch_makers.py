# SPDX-License-Identifier: Apache-2.0
"""Random objects of any kind, and strategic patches that mean something to them, made from the table of types.

Names and keys come from small pools, so that a patch meets what it is about. Objects need not be valid: what a patch
does to them is asked, not whether a server would keep them.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Collection
from typing import Any

from kubesched.api.schema import Field, ListType, Shape, Type

Obj = dict[str, Any]

_POOL = {
    Shape.STRING: ("a", "b", "c", "d"),
    Shape.INTEGER: (0, 1, 2, 3),
    Shape.NUMBER: (0.5, 1.5),
    Shape.BOOLEAN: (True, False),
    Shape.BYTES: ("YQ==", "Yg=="),
    Shape.QUANTITY: ("1", "500m", "1Gi"),
    Shape.TIME: ("2026-01-02T03:04:05Z", "2026-01-02T03:04:06Z"),
    Shape.MICRO_TIME: ("2026-01-02T03:04:05.000001Z",),
    Shape.DURATION: ("1m0s",),
    Shape.INT_OR_STRING: (1, "a", "5%"),
    Shape.ANY: ({"a": 1}, {"b": {"c": [1, 2]}}),
}
_SERVER_OWNED = ("kind", "apiVersion", "managedFields")


@functools.cache
def _merges(type_: Type, within: tuple[str, ...] = ()) -> bool:
    """Whether a strategic patch of it, or of something below it, is more than JSON's."""
    if type_.name and type_.name in within:
        return False
    deeper = (*within, type_.name) if type_.name else within
    if type_.element is not None:
        return _merges(type_.element, deeper)
    return any(field.patch_strategy or _merges(field.type, deeper) for field in type_.fields.values())


class Maker:
    """Objects and patches by a seed. ``unknown`` are fields that the other side has never heard of."""

    def __init__(self, seed: int, unknown: Collection[str] = ()) -> None:
        self.rng = random.Random(seed)
        self.unknown = unknown

    def chance(self, part: float) -> bool:
        return self.rng.random() < part

    def some(self, items: Collection[Any], part: float = 0.6) -> list[Any]:
        found = [item for item in items if self.chance(part)]
        self.rng.shuffle(found)
        return found

    def fields(self, type_: Type, depth: int) -> list[Field]:
        """A few fields; those that merge in their own way more often, and fewer of them further down."""
        few = 0.4 if depth < 3 else 0.15
        return [
            field
            for field in type_.fields.values()
            if field.name not in _SERVER_OWNED and field.name not in self.unknown
            if self.chance(0.6 if field.patch_strategy or (depth < 5 and _merges(field.type)) else few)
        ]

    # ---- objects ----

    def value(self, type_: Type, depth: int = 0) -> Any:
        match type_.shape:
            case Shape.OBJECT if depth < 8:
                return {field.name: self.member(field, depth + 1) for field in self.fields(type_, depth)}
            case Shape.OBJECT:
                return {}
            case Shape.MAP:
                return {name: self.value(type_.element or type_, depth + 1) for name in self.some("abc")}
            case Shape.LIST:
                return [self.value(type_.element or type_, depth + 1) for _ in range(self.rng.randrange(3))]
            case Shape.EITHER:
                return self.rng.choice([True, {}])
        return self.rng.choice(_POOL[type_.shape])

    def member(self, field: Field, depth: int) -> Any:
        """A field's value: lists that merge have different elements, and their keys."""
        element = field.type.element
        if field.type.shape is not Shape.LIST or element is None:
            return self.value(field.type, depth)
        if field.merge_key:
            return [self.element(field, key, depth) for key in self.some(self.keys(field))]
        if element.shape in (Shape.STRING, Shape.INTEGER) and (
            "merge" in field.patch_strategy or field.type.list_type is ListType.SET
        ):
            return self.some(_POOL[element.shape])
        return self.value(field.type, depth)

    def keys(self, field: Field) -> Collection[Any]:
        element = field.type.element
        assert element is not None
        return _POOL[element.fields[field.merge_key].type.shape]

    def element(self, field: Field, key: Any, depth: int) -> Obj:
        assert field.type.element is not None
        return {**self.value(field.type.element, depth + 1), field.merge_key: key}

    # ---- strategic patches ----

    def patch(self, type_: Type, depth: int = 0, retain: bool = False) -> Obj:
        if depth and self.chance(0.04):
            return {"$patch": "delete"}
        out: Obj = {}
        for field in self.fields(type_, depth):
            out |= self.change(field, depth + 1)
        if depth and self.chance(0.04):
            out["$patch"] = "replace"
        elif self.chance(0.4 if retain else 0.02):
            own = [name for name, value in out.items() if value is not None and not name.startswith("$")]
            out["$retainKeys"] = own + self.some([name for name in type_.fields if name not in own], 0.3)
        return out

    def change(self, field: Field, depth: int) -> Obj:
        """What a patch says of a field."""
        if self.chance(0.12):
            return {field.name: None}
        shape, element = field.type.shape, field.type.element
        if shape is Shape.OBJECT and depth < 8:
            return {field.name: self.patch(field.type, depth, "retainKeys" in field.patch_strategy)}
        if shape is Shape.MAP:
            values = {
                name: None if self.chance(0.3) else self.value(element or field.type) for name in self.some("abcd")
            }
            return {field.name: {"$patch": "replace", **values} if self.chance(0.1) else values}
        if shape is Shape.LIST and element is not None and "merge" in field.patch_strategy:
            return self.keyed(field, depth) if field.merge_key else self.scalars(field)
        return {field.name: self.member(field, depth)}

    def keyed(self, field: Field, depth: int) -> Obj:
        """A list of objects: changed elements, deletions, sometimes a replacement, sometimes an order."""
        assert field.type.element is not None
        items: list[Obj] = []
        for key in self.some(self.keys(field)):
            if self.chance(0.25):
                items.append({field.merge_key: key, "$patch": "delete"})
            else:
                change = self.patch(field.type.element, depth + 1, "retainKeys" in field.patch_strategy)
                if "$patch" in change:
                    change = {}
                if "$retainKeys" in change:
                    change["$retainKeys"].append(field.merge_key)
                items.append({**change, field.merge_key: key})
        out: Obj = {}
        if self.chance(0.08):
            items.insert(0, {"$patch": "replace"})
        elif self.chance(0.4):
            own = [item[field.merge_key] for item in items if "$patch" not in item]
            order = self.woven(own, self.some(self.keys(field)))
            out[f"$setElementOrder/{field.name}"] = [{field.merge_key: key} for key in order]
            if not items and self.chance(0.5):
                return out
        return {**out, field.name: items}

    def scalars(self, field: Field) -> Obj:
        assert field.type.element is not None
        pool = _POOL[field.type.element.shape]
        match self.rng.randrange(4):
            case 0:
                return {field.name: self.some(pool)}
            case 1:
                return {f"$deleteFromPrimitiveList/{field.name}": self.some(pool)}
        own = self.some(pool)
        out: Obj = {field.name: own, f"$setElementOrder/{field.name}": self.woven(own, self.some(pool))}
        gone = [item for item in pool if item not in own]
        return {**out, f"$deleteFromPrimitiveList/{field.name}": gone} if self.chance(0.3) else out

    def woven(self, own: list[Any], more: list[Any]) -> list[Any]:
        """An order that has the patch's own elements as they stand there, and others between them."""
        out = list(own)
        for item in more:
            if item not in own:
                out.insert(self.rng.randrange(len(out) + 1), item)
        return out

    # ---- the other two kinds of patches ----

    def merge_patch(self, type_: Type) -> Obj:
        """A part of another object, with nulls."""
        return self.with_nulls(self.value(type_))

    def with_nulls(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {name: None if self.chance(0.15) else self.with_nulls(item) for name, item in value.items()}
        return [self.with_nulls(item) for item in value] if isinstance(value, list) else value

    def operations(self, obj: Obj, type_: Type) -> list[Obj]:
        """A JSON patch about places of one object, and about some that it has not."""
        places = list(_places(obj, "")) or ["/a"]
        out: list[Obj] = []
        for _ in range(self.rng.randrange(1, 4)):
            path = self.rng.choice(places) + ("/a" if self.chance(0.1) else "")
            new: Any = self.rng.choice([1, "s", {"q": "r"}, [1], None])
            match self.rng.choice(["add", "remove", "replace", "copy", "move", "test"]):
                case "copy" | "move" as op:
                    out.append({"op": op, "from": self.rng.choice(places), "path": path})
                case "remove":
                    out.append({"op": "remove", "path": path})
                case op:
                    out.append({"op": op, "path": path, "value": new})
        return out


def _places(value: Any, path: str) -> list[str]:
    """Pointers to everything below a value but what names it, and to the ends of its lists."""
    out: list[str] = []
    if isinstance(value, dict):
        for name, item in value.items():
            here = f"{path}/{name.replace('~', '~0').replace('/', '~1')}"
            if here not in ("/kind", "/apiVersion", "/metadata", "/metadata/name"):
                out.append(here)
            out += _places(item, here)
    if isinstance(value, list):
        out.append(f"{path}/-")
        for i, item in enumerate(value):
            out += [f"{path}/{i}", *_places(item, f"{path}/{i}")]
    return out
