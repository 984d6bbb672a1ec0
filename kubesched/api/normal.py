# SPDX-License-Identifier: Apache-2.0
"""Objects as a typed server would print them again.

A server with typed objects drops what its types do not know, refuses what they cannot hold, leaves empty values out and
prints others that nobody sent; times, quantities and numbers come back in one form. Here the objects stay dicts: one
walk by the type does the same. A type is compiled to closures when it is first met.

Source: encoding/json of Go, sigs.k8s.io/json and the marshallers of apimachinery, v1.36.
"""

from __future__ import annotations

import base64
import binascii
import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any, cast

import orjson

from kubesched.api import gotext, gotime, quantity, shared
from kubesched.api.gotext import quote
from kubesched.api.jsontext import Pairs, duplicates
from kubesched.api.schema import Field, Shape, Type
from kubesched.api.shared import Shared

Object = dict[str, Any]
Unknown = list[str]
Read = Callable[[Any, Unknown], Any]
"""A JSON value that is not null, as it is printed; names of unknown fields are added to the list."""

MAX_REPORTED = 100  # unknown and duplicate fields of one object
_DROP = object()


class DecodeError(Exception):
    """A body that cannot be read; ``str()`` is upstream's text. ``found`` is the kind that it says it is."""

    def __init__(self, message: str, found: str = "", version: str = "") -> None:
        super().__init__(message)
        self.found = found
        self.version = version

    def explain(self, wanted: str, body: bytes) -> str:
        """The message of the 400 for a body that should have been a ``wanted``."""
        if self.found:
            return f'{self.found} in version "{self.version}" cannot be handled as a {wanted}: {self}'
        return f"the object provided is unrecognized (must be of type {wanted}): {self} ({_summary(body)})"


def _summary(body: bytes) -> str:
    if not body:
        return "<empty>"
    text = body[:30].decode(errors="replace") if body[:1] == b"{" else body[:30].hex()
    return f"{text} ..." if len(body) > 30 else text


class _MismatchError(DecodeError):
    """A value that its type cannot hold. On its way up it learns where it is."""

    def __init__(self, value: str, go: str) -> None:
        super().__init__("")
        self.value, self.go = value, go
        self.struct = ""
        self.path: list[str] = []

    def __str__(self) -> str:
        if not self.path:
            return f"json: cannot unmarshal {self.value} into Go value of type {self.go}"
        where = f"{self.struct}.{'.'.join(reversed(self.path))}"
        return f"json: cannot unmarshal {self.value} into Go struct field {where} of type {self.go}"


def normalise(obj: Any, type_: Type) -> tuple[Object, bool]:
    """The object as it is printed, and whether there were fields that the type does not know.

    Raises
    ------
    DecodeError
        A value is not of its type.
    """
    unknown: Unknown = []
    out: Object = _reader(type_)(obj, unknown)
    return out, bool(unknown)


def strict_errors(value: Any, type_: Type) -> list[str]:
    """Unknown and duplicate fields in the order of the document, as upstream words them.

    Parameters
    ----------
    value
        Read by `jsontext.pairs`; plain dicts have no duplicate fields.
    type_
        Of the value.
    """
    return first_of(f"{what} field {quote(path)}" for what, path in _strict(value, type_, ""))


def first_of(texts: Iterable[str]) -> list[str]:
    """Each text once, and no more of them than are reported."""
    out: dict[str, None] = {}
    for text in texts:
        out[text] = None
        if len(out) == MAX_REPORTED:
            break
    return list(out)


def _strict(value: Any, type_: Type, path: str) -> Iterator[tuple[str, str]]:
    if type_.shape is Shape.LIST and isinstance(value, list) and type_.element is not None:
        for i, item in enumerate(value):
            yield from _strict(item, type_.element, f"{path}[{i}]")
    elif type_.shape in (Shape.OBJECT, Shape.MAP) and isinstance(value, Pairs | dict):
        seen: set[str] = set()
        for name, item in value if isinstance(value, Pairs) else value.items():
            inner = f"{path}.{name}" if path else name
            known = type_.element
            if type_.shape is Shape.OBJECT:
                found = type_.fields.get(name)
                known = None if found is None else found.type
            if known is None:
                yield "unknown", inner
                continue
            if name in seen:
                yield "duplicate", inner
            seen.add(name)
            yield from _strict(item, known, inner)


def custom_strict_errors(value: Any, type_: Type) -> list[str]:
    """The same for a custom resource: first what stands twice, anywhere, then what is pruned."""
    out = first_of(f"duplicate field {quote(path)}" for path in duplicates(value))
    out += [f"unknown field {quote(path)}" for path in sorted(_pruned(_plain(value), type_, ""))]
    return first_of(out)


def _plain(value: Any) -> Any:
    if isinstance(value, Pairs):
        return {name: _plain(item) for name, item in value}
    return [_plain(item) for item in value] if isinstance(value, list) else value


# ---- custom resources ----


def prune(obj: Any, type_: Type) -> tuple[Any, bool]:
    """A custom resource without the fields that its schema does not know, and whether there were any.

    Its metadata is that of every kind, and read as such.

    Raises
    ------
    DecodeError
        A value of the metadata is not of its type.
    """
    found = any(True for _ in _pruned(obj, type_, ""))
    out = _prune(obj, type_) if found else obj
    if "metadata" in out:
        metadata, _ = normalise(out["metadata"] or {}, type_.fields["metadata"].type)
        out = {**out, "metadata": metadata}
    return out, found


def _pruned(value: Any, type_: Type, path: str) -> Iterator[str]:
    """Paths of what is pruned."""
    if isinstance(value, dict) and type_.shape in (Shape.OBJECT, Shape.MAP):
        for name, item in value.items():
            inner = f"{path}.{name}" if path else name
            known = _known(type_, name)
            if known is not None:
                yield from _pruned(item, known, inner)
            elif not type_.preserve_unknown:
                yield inner
    elif isinstance(value, list) and type_.element is not None:
        for i, item in enumerate(value):
            yield from _pruned(item, type_.element, f"{path}[{i}]")


def _prune(value: Any, type_: Type) -> Any:
    if isinstance(value, dict) and type_.shape in (Shape.OBJECT, Shape.MAP):
        known = {name: _known(type_, name) for name in value}
        return {
            name: item if (inner := known[name]) is None else _prune(item, inner)
            for name, item in value.items()
            if known[name] is not None or type_.preserve_unknown
        }
    if isinstance(value, list) and type_.element is not None:
        return [_prune(item, type_.element) for item in value]
    return value


def _known(type_: Type, name: str) -> Type | None:
    found = type_.fields.get(name)
    return type_.element if found is None else found.type


# ---- readers of values ----


@functools.cache
def _reader(type_: Type) -> Read:
    """What reads values of a type; recursive types find themselves here again."""
    read = _READERS[type_.shape](type_)
    return _sharing(read, _memo(type_)) if type_.name in _SHARED else read


_SHARED = frozenset({"io.k8s.api.core.v1.PodSpec", "io.k8s.api.core.v1.Container"})
"""Names of types whose values come again and again, from templates; see `shared`."""


@functools.cache
def _memo(type_: Type) -> shared.Memo:
    return shared.Memo()


@functools.cache
def known_specs(type_: Type) -> shared.Memo | None:
    """The specifications of objects of a type by their text, as they are printed; None where they are not shared."""
    spec = type_.fields.get("spec")
    return _memo(spec.type) if spec is not None and spec.type.name in _SHARED else None


def _sharing(read_any: Read, memo: shared.Memo) -> Read:
    """The same, which looks first whether the value came before."""

    def read(value: Any, unknown: Unknown) -> Any:
        if type(value) is not dict:
            return value if type(value) is Shared else read_any(value, unknown)
        try:
            key = orjson.dumps(value)
        except TypeError:  # a text of YAML that is no UTF-8
            return read_any(value, unknown)
        found = memo.get(key)
        if found is not None:
            return found
        before = len(unknown)
        out = read_any(value, unknown)
        return memo.put(key, out) if len(unknown) == before else out

    return read


def described(value: Any) -> str:
    """A JSON value as errors name it."""
    names = {dict: "object", list: "array", str: "string", bool: "bool", type(None): "null"}
    return names.get(type(value), "number")


def _string(type_: Type) -> Read:
    def read(value: Any, unknown: Unknown) -> Any:
        if type(value) is not str:
            raise _MismatchError(described(value), type_.go)
        return value

    return read


def _boolean(type_: Type) -> Read:
    def read(value: Any, unknown: Unknown) -> Any:
        if type(value) is not bool:
            raise _MismatchError(described(value), type_.go)
        return value

    return read


def _integer(type_: Type) -> Read:
    bound = 1 << (type_.bits - 1)

    def read(value: Any, unknown: Unknown) -> Any:
        if type(value) is int and -bound <= value < bound:
            return value
        if type(value) is int or type(value) is float:
            raise _MismatchError(f"number {gotext.number(value)}", type_.go)
        raise _MismatchError(described(value), type_.go)

    return read


def _number(type_: Type) -> Read:
    def read(value: Any, unknown: Unknown) -> Any:
        if type(value) is float:
            return int(value) if value.is_integer() and abs(value) < 1e15 else value
        if type(value) is not int:
            raise _MismatchError(described(value), type_.go)
        return value

    return read


def _bytes(type_: Type) -> Read:
    def read(value: Any, unknown: Unknown) -> Any:
        if type(value) is not str:
            raise _MismatchError(described(value), type_.go)
        try:
            data = base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            return _lenient_base64(value)
        canonical = base64.b64encode(data).decode()
        return value if value == canonical else canonical

    return read


def _lenient_base64(text: str) -> str:
    """Line ends within are passed over; anything else ends it."""
    joined = text.replace("\r", "").replace("\n", "")
    try:
        return base64.b64encode(base64.b64decode(joined, validate=True)).decode()
    except (binascii.Error, ValueError):
        at = next(
            (i for i, char in enumerate(text) if not (char.isalnum() and char.isascii()) and char not in "+/"), -1
        )
        where = len(text) if at < 0 else at
        raise DecodeError(f"illegal base64 data at input byte {where}") from None


def _text_of(value: Any) -> str:
    if type(value) is not str:
        raise DecodeError(f"json: cannot unmarshal {described(value)} into Go value of type string")
    return value


def _by_rule(rule: Callable[[str], str | None]) -> Callable[[Type], Read]:
    """Values whose text has a form of its own; what they say when they are wrong stands without a path."""

    def read(value: Any, unknown: Unknown) -> Any:
        try:
            return rule(value if type(value) is str else _text_of(value))
        except ValueError as error:
            raise DecodeError(str(error)) from None

    return lambda type_: read


def _quantity(type_: Type) -> Read:
    canonical = quantity.canonical

    def read(value: Any, unknown: Unknown) -> Any:
        if type(value) is float or type(value) is int:
            value = gotext.number(value)
        try:
            return canonical(value if type(value) is str else "?")
        except ValueError as error:
            raise DecodeError(str(error)) from None

    return read


def _int_or_string(type_: Type) -> Read:
    def read(value: Any, unknown: Unknown) -> Any:
        if type(value) is str or (type(value) is int and -(2**31) <= value < 2**31):
            return value
        what = f"number {gotext.number(value)}" if type(value) in (int, float) else described(value)
        raise DecodeError(f"json: cannot unmarshal {what} into Go value of type int32")

    return read


def _any(type_: Type) -> Read:
    return lambda value, unknown: value


def _either(type_: Type) -> Read:
    """One of two: an object is of the first type, a value of the other JSON type is of the second."""
    object_ = next(field.type for field in type_.fields.values() if field.type.shape is Shape.OBJECT)
    other = next(field.type for field in type_.fields.values() if field.type.shape is not Shape.OBJECT)
    read_object, read_other = _reader(object_), _reader(other)

    def read(value: Any, unknown: Unknown) -> Any:
        if type(value) is dict:
            return read_object(value, [])
        if type(value) is list and other.shape is Shape.LIST:
            return read_other(value, []) or None
        if other.shape is Shape.BOOLEAN:
            if type(value) is not bool:
                raise DecodeError("boolean or JSON schema expected")
            return value
        return None

    return read


_ONLY_STRINGS = {str}


def _or_zero(element: Type) -> Read:
    """What reads an item of a list or a map, where null is the zero value."""
    read, zero = _reader(element), _zero(element)
    return lambda value, unknown: zero() if value is None else read(value, unknown)


def _list(type_: Type) -> Read:
    element = _element(type_)
    read_element, read_any = _reader(element), _or_zero(element)
    strings = element.shape is Shape.STRING

    def read(value: Any, unknown: Unknown) -> Any:
        if type(value) is not list:
            raise _MismatchError(described(value), type_.go)
        if strings and {*map(type, value)} == _ONLY_STRINGS:
            return value[:]
        one = read_any if None in value else read_element
        return [one(item, unknown) for item in value]

    return read


def _map(type_: Type) -> Read:
    element = _element(type_)
    read_element, read_any = _reader(element), _or_zero(element)
    strings = element.shape is Shape.STRING

    def read(value: Any, unknown: Unknown) -> Any:
        if type(value) is not dict:
            raise _MismatchError(described(value), type_.go)
        if strings and {*map(type, value.values())} == _ONLY_STRINGS:
            return value.copy()
        one = read_any if None in value.values() else read_element
        return {name: one(item, unknown) for name, item in value.items()}

    return read


def _element(type_: Type) -> Type:
    if type_.element is None:
        raise TypeError(f"{type_.go} has no element type")
    return type_.element


class _Struct:
    """Reads objects of one type.

    Objects of a kind look alike: the same fields in the same order. For fields that have come together often a function
    is written that reads just them, in a third of the time; it leaves everything out of the ordinary (nulls, empty
    values, wrong types) to the general way.
    """

    __slots__ = ("fast", "handlers", "seen", "type")

    def __init__(self, type_: Type) -> None:
        self.type = type_
        self.handlers: dict[str, Read] = {}  # made when the first object comes: types may contain themselves
        self.seen: dict[tuple[str, ...], int] = {}
        self.fast: dict[tuple[str, ...], Read] = {}

    def read(self, value: Any, unknown: Unknown) -> Any:
        if type(value) is not dict:
            raise _MismatchError(described(value), self.type.go)
        fast = self.fast.get(tuple(value))
        return self.read_any(value, unknown) if fast is None else fast(value, unknown)

    def read_any(self, value: Object, unknown: Unknown) -> Object:
        """The general way."""
        if not self.handlers:
            self.handlers = {field.name: _field(field) for field in self.type.fields.values()}
        out: Object = {}
        name = ""
        try:
            for name, item in value.items():
                handler = self.handlers.get(name)
                if handler is None:
                    unknown.append(name)
                elif (read := handler(item, unknown)) is not _DROP:
                    out[name] = read
        except _MismatchError as error:
            self.locate(error, name)
            raise
        out.update((field.name, _zero_of(field)()) for field in self._missing(out))
        self._learn(value)
        return out

    def locate(self, error: _MismatchError, name: str) -> None:
        """Tell an error on its way up that it was in a field."""
        field = self.type.fields[name]
        if not error.struct:
            error.struct = self.type.go.rpartition(".")[2]
        error.path += [field.name, *reversed(field.embedded)]

    def _missing(self, present: Iterable[str]) -> list[Field]:
        """Fields that are printed though nobody sent them."""
        fields = self.type.fields.values()
        return [field for field in fields if field.name not in present and not _left_out(field)]

    def _learn(self, value: Object) -> None:
        if not self.handlers.keys() >= value.keys():
            return
        names = tuple(value)
        count = self.seen.get(names, 0) + 1
        if count == _OFTEN:
            self.fast[names] = _written(self, [self.type.fields[name] for name in names], self._missing(names))
        elif count < _OFTEN and (count > 1 or len(self.seen) < _MAX_SEEN):
            self.seen[names] = count


_OFTEN = 8
_MAX_SEEN = 64  # of one type; people send fewer, and whoever sends more shall not fill the memory
_CLASSES = {
    Shape.STRING: "str",
    Shape.INTEGER: "int",
    Shape.BOOLEAN: "bool",
    Shape.OBJECT: "dict",
    Shape.MAP: "dict",
    Shape.LIST: "list",
}
_INNER = frozenset({Shape.OBJECT, Shape.MAP, Shape.LIST, Shape.QUANTITY, Shape.INT_OR_STRING, Shape.EITHER})
"""What is read further, and is printed whatever comes of it."""


def _written(struct: _Struct, fields: list[Field], missing: list[Field]) -> Read:
    """A function that reads an object with exactly these fields. Values are ``v0``, ``v1``, ...; readers ``r0``, ..."""
    names: dict[str, Any] = {"general": struct.read_any, "locate": struct.locate}
    names |= {"Mismatch": _MismatchError, "DROP": _DROP}
    values = [f"v{i}" for i in range(len(fields))]
    checks: list[str] = []
    leaves: list[str] = []
    inner: list[str] = []
    for i, field in enumerate(fields):
        checks += _checks(field, f"v{i}")
        if field.type.shape in _INNER:
            inner.append(f"        name = {field.name!r}; v{i} = {_read_inner(field.type, i, names)}")
        elif field.type.shape not in _CLASSES:
            names[f"r{i}"] = struct.handlers[field.name]
            leaves += [f"        name = {field.name!r}; v{i} = r{i}(v{i}, unknown)"]
            leaves += [f"        if v{i} is DROP: return general(value, unknown)"]
    items = [f"{field.name!r}: v{i}" for i, field in enumerate(fields)]
    items += [f"{field.name!r}: {_zero_of(field)()!r}" for field in missing]
    lines = [
        "def read(value, unknown):",
        f"    {', '.join(values)}, = value.values()" if values else "",
        f"    if not ({' and '.join(checks) or True}): return general(value, unknown)",
        "    name = ''",
        "    try:",
        *leaves,
        *inner,
        f"        return {{{', '.join(items)}}}",
        "    except Mismatch as error:",
        "        locate(error, name)",
        "        raise",
    ]
    exec("\n".join(lines), names)
    return cast(Read, names["read"])


def _read_inner(type_: Type, i: int, names: dict[str, Any]) -> str:
    """An expression that reads the value ``v{i}``, without a call in between where its own function is known."""
    if type_.shape is Shape.OBJECT and type_.name not in _SHARED:
        struct = _struct(type_)
        names |= {f"f{i}": struct.fast.get, f"r{i}": struct.read_any}
        return f"(f{i}(tuple(v{i})) or r{i})(v{i}, unknown)"
    names[f"r{i}"] = _reader(type_)
    element = type_.element
    if element is not None and element.shape is Shape.STRING:
        names["strings"] = _ONLY_STRINGS
        items, copy = ("v{}.values()", "v{}.copy()") if type_.shape is Shape.MAP else ("v{}", "v{}[:]")
        return f"{copy.format(i)} if {{*map(type, {items.format(i)})}} == strings else r{i}(v{i}, unknown)"
    if (
        type_.shape is Shape.LIST
        and element is not None
        and element.shape is Shape.OBJECT
        and element.name not in _SHARED
    ):
        struct = _struct(element)
        names |= {f"f{i}": struct.fast.get, f"g{i}": struct.read_any, f"r{i}": _or_zero(element)}
        one = f"(f{i}(tuple(x)) or g{i})(x, unknown) if type(x) is dict else r{i}(x, unknown)"
        return f"[{one} for x in v{i}]"
    return f"r{i}(v{i}, unknown)"


def _checks(field: Field, value: str) -> list[str]:
    """Conditions under which a value is nothing out of the ordinary."""
    shape = field.type.shape
    class_ = None if field.type.name in _SHARED else _CLASSES.get(shape)
    out = [f"type({value}) is {class_}" if class_ else f"{value} is not None"]
    if shape is Shape.INTEGER:
        bound = 1 << (field.type.bits - 1)
        out.append(f"{-bound} <= {value} < {bound}")
    if not field.pointer and shape not in _STRUCTS and (_left_out(field) or shape in (Shape.LIST, Shape.MAP)):
        out.append(value)  # not empty
    return out


@functools.cache
def _struct(type_: Type) -> _Struct:
    return _Struct(type_)


def _object(type_: Type) -> Read:
    return _struct(type_).read


_READERS: dict[Shape, Callable[[Type], Read]] = {
    Shape.OBJECT: _object,
    Shape.MAP: _map,
    Shape.LIST: _list,
    Shape.STRING: _string,
    Shape.INTEGER: _integer,
    Shape.NUMBER: _number,
    Shape.BOOLEAN: _boolean,
    Shape.BYTES: _bytes,
    Shape.QUANTITY: _quantity,
    Shape.TIME: _by_rule(gotime.seconds),
    Shape.MICRO_TIME: _by_rule(gotime.micros),
    Shape.DURATION: _by_rule(gotime.duration),
    Shape.INT_OR_STRING: _int_or_string,
    Shape.ANY: _any,
    Shape.EITHER: _either,
}


# ---- fields: null, empty and absent values ----

_STRUCTS = frozenset(
    {
        Shape.OBJECT,
        Shape.QUANTITY,
        Shape.TIME,
        Shape.MICRO_TIME,
        Shape.DURATION,
        Shape.INT_OR_STRING,
        Shape.ANY,
        Shape.EITHER,
    }
)
"""What is a struct in Go: never empty, so printed even where empty values are left out."""

_ZEROS: dict[Shape, Any] = {
    Shape.STRING: "",
    Shape.INTEGER: 0,
    Shape.NUMBER: 0,
    Shape.BOOLEAN: False,
    Shape.QUANTITY: "0",
    Shape.INT_OR_STRING: 0,
    Shape.DURATION: "0s",
}


def _zero(type_: Type, *, pointer: bool = False) -> Callable[[], Any]:
    """What is printed for a value that is not there."""
    if pointer or type_.shape is not Shape.OBJECT:
        value = None if pointer else _ZEROS.get(type_.shape)
        return lambda: value
    return lambda: _reader(type_)({}, [])


def _zero_of(field: Field) -> Callable[[], Any]:
    return _zero(field.type, pointer=field.pointer)


def _left_out(field: Field) -> bool:
    """Whether a field that is not there is not printed."""
    if field.omit_zero:
        return True
    return field.omit_empty and (field.pointer or field.type.shape not in _STRUCTS or field.type.go == "interface {}")


def _field(field: Field) -> Read:
    """What reads a field: `_DROP` for a value that is not printed."""
    shape = field.type.shape
    omitted = _left_out(field)
    read = _reader(field.type)
    zero = _zero(field.type, pointer=field.pointer)
    empties = not field.pointer and shape not in _STRUCTS  # a nil list and an empty one are the same when stored
    omit_zero = field.omit_zero

    def handle(value: Any, unknown: Unknown) -> Any:
        if value is None:
            return _DROP if omitted else zero()
        value = read(value, unknown)
        if empties and not value:
            return _DROP if omitted else zero()
        return _DROP if omit_zero and value is None else value

    return handle
