# SPDX-License-Identifier: Apache-2.0
"""Built-in objects as protobuf, by the table of types: bytes to dicts and back.

The JSON form of an object is what is kept; protobuf is only how some clients write it. `decode` gives what a client
could have sent as JSON, `kubesched.api.normal` does the rest.

Source: generated.proto and the hand-written marshallers of apimachinery, v1.36.
"""

from __future__ import annotations

import base64
import functools
import struct
from collections.abc import Callable
from typing import Any

import orjson

from kubesched.api import gotime, jsontext
from kubesched.api.normal import DecodeError
from kubesched.api.schema import Field, Shape, Type

Object = dict[str, Any]

MAGIC = b"k8s\0"
_MAX_DEPTH = 200
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


# ---- the envelope ----


def unwrap(body: bytes) -> tuple[str, str, bytes]:
    """apiVersion, kind and message of an enveloped object.

    Raises
    ------
    DecodeError
        It is no envelope.
    """
    if not body:
        raise DecodeError("empty data")
    if body[:4] != MAGIC:
        raise DecodeError(
            "provided data does not appear to be a protobuf message, expected prefix "
            + str(list(MAGIC)).replace(",", "")
        )
    names, raw = ["", ""], b""
    for number, value in fields(body, 4, len(body)):
        if number == 1 and isinstance(value, bytes):
            for inner, text in fields(value, 0, len(value)):
                if inner in (1, 2) and isinstance(text, bytes):
                    names[inner - 1] = _utf8(text)
        elif number == 2 and isinstance(value, bytes):
            raw = value
    return names[0], names[1], raw


def wrap(api_version: str, kind: str, message: bytes) -> bytes:
    """An object's message in its envelope."""
    meta = _blob(0x0A, api_version.encode()) + _blob(0x12, kind.encode())
    return MAGIC + _blob(0x0A, meta) + _blob(0x12, message) + b"\x1a\x00\x22\x00"


def watch_event(kind: str, obj: bytes) -> bytes:
    """An event of a watch, its length before it: WatchEvent with an object in its envelope as RawExtension."""
    message = _blob(0x0A, kind.encode()) + _blob(0x12, _blob(0x0A, obj))
    return len(message).to_bytes(4, "big") + message


def fields(data: bytes, at: int, end: int) -> list[tuple[int, bytes | int]]:
    """Numbers and values of a small message's fields."""
    out: list[tuple[int, bytes | int]] = []
    while at < end:
        tag, at = _varint(data, at, end)
        if tag & 7 == _BYTES:
            size, at = _varint(data, at, end)
            if size > end - at:
                raise DecodeError("unexpected EOF")
            out.append((tag >> 3, data[at : at + size]))
            at += size
        elif tag & 7 == _VARINT:
            value, at = _varint(data, at, end)
            out.append((tag >> 3, value))
        else:
            at = _skip(data, at, end, tag)
    return out


# ---- bytes to dicts ----

Store = Callable[[Object, bytes, int, int, int], int]
"""Read a field's value from ``data[at:end]`` into an object; the position after it. The last argument is the depth."""


def decode(message: bytes, type_: Type) -> Object:
    """An object of a type from its message.

    Raises
    ------
    DecodeError
        Not such a message.
    """
    out: Object = {}
    _message(type_)(out, message, 0, len(message), 0)
    return out


def _varint(data: bytes, at: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while at < end:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, at
        shift += 7
        if shift >= 64:
            raise DecodeError("proto: integer overflow")
    raise DecodeError("unexpected EOF")


def _skip(data: bytes, at: int, end: int, tag: int) -> int:
    """The position after the value of a field that nobody knows."""
    wire = tag & 7
    if tag >> 3 == 0 or wire not in (_VARINT, _FIXED64, _BYTES, _FIXED32):
        raise DecodeError(f"proto: illegal tag {tag >> 3} (wire type {wire})")
    if wire == _VARINT:
        return _varint(data, at, end)[1]
    size = 8 if wire == _FIXED64 else 4
    if wire == _BYTES:
        size, at = _varint(data, at, end)
    if size > end - at:
        raise DecodeError("unexpected EOF")
    return at + size


def _utf8(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise DecodeError("proto: invalid UTF-8 in a string") from None


@functools.cache
def _message(type_: Type) -> Store:
    """What reads a whole message of a type."""
    return _Message(list(type_.fields.values()), 0).read


_STRING, _INNER, _ITEM, _OTHER = range(4)
"""How a field is read: the three most frequent ways by the loop itself, the others by a function."""

_UNKNOWN: tuple[int, str, Any] = (_OTHER, "", None)


class _Message:
    """Fields of a message by their tags; those of an embedded message go into the same object."""

    __slots__ = ("depth", "fields", "ways")

    def __init__(self, fields: list[Field], depth: int) -> None:
        self.fields = fields
        self.depth = depth  # of embedding: how many numbers of `Field.within` lead here
        self.ways: dict[int, tuple[int, str, Any]] = {}  # made at first use: types may contain themselves

    def compile(self) -> None:
        embedded: dict[int, list[Field]] = {}
        for field in self.fields:
            if len(field.within) > self.depth:
                embedded.setdefault(field.within[self.depth], []).append(field)
            elif field.number:
                self._add(field)
        for number, fields in embedded.items():
            self.ways[number << 3 | _BYTES] = (_OTHER, "", _sub(_Message(fields, self.depth + 1).read))

    def _add(self, field: Field) -> None:
        name, type_, tag = field.name, field.type, field.number << 3 | _BYTES
        if type_.shape is Shape.STRING:
            self.ways[tag] = (_STRING, name, None)
        elif type_.shape is Shape.OBJECT:
            self.ways[tag] = (_INNER, name, _message(type_))
        elif type_.shape is Shape.LIST and type_.element is not None and type_.element.shape is Shape.OBJECT:
            self.ways[tag] = (_ITEM, name, _message(type_.element))
        else:
            wire, store = _field_store(field)
            self.ways[field.number << 3 | wire] = (_OTHER, name, store)
            if type_.shape is Shape.LIST and wire != _BYTES:
                self.ways[tag] = (_OTHER, name, _packed(name, store))

    def read(self, out: Object, data: bytes, at: int, end: int, depth: int) -> int:
        if not self.ways:
            self.compile()
        if depth > _MAX_DEPTH:
            raise DecodeError(f"exceeded max depth of {_MAX_DEPTH}")
        ways = self.ways
        while at < end:
            tag = data[at]
            at += 1
            if tag > 0x7F:
                tag, at = _varint(data, at - 1, end)
            way, name, argument = ways.get(tag) or _UNKNOWN
            if way == _OTHER:
                at = _skip(data, at, end, tag) if argument is None else argument(out, data, at, end, depth)
                continue
            at, stop = _span(data, at, end)
            if way == _STRING:
                out[name] = _utf8(data[at:stop])
            else:
                inner: Object = {}
                argument(inner, data, at, stop, depth + 1)
                if way == _INNER:
                    out[name] = inner
                else:
                    out.setdefault(name, []).append(inner)
            at = stop
        return at


def _sub(read: Store) -> Store:
    """A message with its length in front, read into the same object."""

    def store(out: Object, data: bytes, at: int, end: int, depth: int) -> int:
        at, stop = _span(data, at, end)
        return read(out, data, at, stop, depth + 1)

    return store


def _span(data: bytes, at: int, end: int) -> tuple[int, int]:
    """Where a value with its length in front begins and ends."""
    size, at = (data[at], at + 1) if at < end and data[at] < 0x80 else _varint(data, at, end)
    if size > end - at:
        raise DecodeError("unexpected EOF")
    return at, at + size


Value = Callable[[bytes, int, int, int], Any]
"""A value of ``data[at:end]``, which is all of it."""


def _field_store(field: Field) -> tuple[int, Store]:
    """The wire type of a field and what stores it."""
    name, type_ = field.name, field.type
    if type_.shape is Shape.MAP and type_.element is not None:
        return _BYTES, _map_store(name, type_.element)
    if type_.shape is Shape.LIST and type_.element is not None and not type_.wrapped:
        wire, one = _single(type_.element)

        def append(out: Object, data: bytes, at: int, end: int, depth: int) -> int:
            value, at = one(data, at, end, depth)
            out.setdefault(name, []).append(value)
            return at

        return wire, append
    wire, one = _single(type_)

    def store(out: Object, data: bytes, at: int, end: int, depth: int) -> int:
        out[name], at = one(data, at, end, depth)
        return at

    return wire, store


Single = Callable[[bytes, int, int, int], tuple[Any, int]]
"""A value at a position, and the position after it."""


def _single(type_: Type) -> tuple[int, Single]:
    if (scalar := _SCALARS.get(type_.shape)) is not None:
        wire, make = scalar
        return wire, make(type_)
    value = _values(type_)

    def one(data: bytes, at: int, end: int, depth: int) -> tuple[Any, int]:
        at, stop = _span(data, at, end)
        return value(data, at, stop, depth), stop

    return _BYTES, one


def _integer(type_: Type) -> Single:
    def one(data: bytes, at: int, end: int, depth: int) -> tuple[Any, int]:
        if at < end and data[at] < 0x80:
            return data[at], at + 1
        value, at = _varint(data, at, end)
        value &= (1 << type_.bits) - 1
        return value - (1 << type_.bits) if value >> (type_.bits - 1) else value, at

    return one


def _boolean(type_: Type) -> Single:
    def one(data: bytes, at: int, end: int, depth: int) -> tuple[Any, int]:
        value, at = _varint(data, at, end)
        return value != 0, at

    return one


def _number(type_: Type) -> Single:
    def one(data: bytes, at: int, end: int, depth: int) -> tuple[Any, int]:
        if at + 8 > end:
            raise DecodeError("unexpected EOF")
        return struct.unpack_from("<d", data, at)[0], at + 8

    return one


_SCALARS: dict[Shape, tuple[int, Callable[[Type], Single]]] = {
    Shape.INTEGER: (_VARINT, _integer),
    Shape.BOOLEAN: (_VARINT, _boolean),
    Shape.NUMBER: (_FIXED64, _number),
}


def _packed(name: str, store: Store) -> Store:
    """Numbers of a list one after another in one value."""

    def read(out: Object, data: bytes, at: int, end: int, depth: int) -> int:
        at, stop = _span(data, at, end)
        while at < stop:
            at = store(out, data, at, stop, depth)
        return at

    return read


def _map_store(name: str, element: Type) -> Store:
    _, one = _single(element)
    empty = _EMPTY.get(element.shape)

    def store(out: Object, data: bytes, at: int, end: int, depth: int) -> int:
        at, stop = _span(data, at, end)
        key, value = "", empty() if empty else {}
        while at < stop:
            tag, at = _varint(data, at, stop)
            if tag == 0x0A:
                start, at = _span(data, at, stop)
                key = _utf8(data[start:at])
            elif tag >> 3 == 2:
                value, at = one(data, at, stop, depth + 1)
            else:
                at = _skip(data, at, stop, tag)
        out.setdefault(name, {})[key] = value
        return at

    return store


_EMPTY: dict[Shape, Callable[[], Any]] = {
    Shape.STRING: str,
    Shape.BYTES: str,
    Shape.QUANTITY: lambda: "0",
    Shape.LIST: list,
    Shape.INTEGER: int,
    Shape.BOOLEAN: bool,
}


@functools.cache
def _values(type_: Type) -> Value:
    """What reads a value that has its length in front."""
    if type_.shape is Shape.OBJECT:
        read = _message(type_)

        def value(data: bytes, at: int, end: int, depth: int) -> Any:
            out: Object = {}
            read(out, data, at, end, depth + 1)
            return out

        return value
    if type_.shape is Shape.EITHER:
        return _either_value(type_)
    if type_.shape is Shape.LIST:  # wrapped
        wrapped = _Message([Field("items", _unwrapped(type_), 1)], 0).read

        def items(data: bytes, at: int, end: int, depth: int) -> Any:
            out: Object = {"items": []}
            wrapped(out, data, at, end, depth + 1)
            return out["items"]

        return items
    return _TEXTS[type_.shape]


def _unwrapped(type_: Type) -> Type:
    return Type("", Shape.LIST, element=type_.element, go=type_.go)


def _string_value(data: bytes, at: int, end: int, depth: int) -> Any:
    return _utf8(data[at:end])


def _bytes_value(data: bytes, at: int, end: int, depth: int) -> Any:
    return base64.b64encode(data[at:end]).decode()


def _numbered(data: bytes, at: int, end: int) -> dict[int, Any]:
    return dict(fields(data[at:end], 0, end - at))


def _signed(value: int, bits: int = 64) -> int:
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


def _quantity_value(data: bytes, at: int, end: int, depth: int) -> Any:
    text = _numbered(data, at, end).get(1, b"0")
    return _utf8(text) if isinstance(text, bytes) else "0"


def _time_value(printer: Callable[..., str | None]) -> Value:
    def value(data: bytes, at: int, end: int, depth: int) -> Any:
        found = _numbered(data, at, end)
        if at == end:
            return None
        try:
            return printer(gotime.from_unix(_signed(found.get(1, 0)), _signed(found.get(2, 0), 32)))
        except (ValueError, TypeError) as error:
            raise DecodeError(f"proto: {error}") from None

    return value


def _duration_value(data: bytes, at: int, end: int, depth: int) -> Any:
    found = _numbered(data, at, end).get(1, 0)
    return gotime.print_duration(_signed(found) if isinstance(found, int) else 0)


def _int_or_string_value(data: bytes, at: int, end: int, depth: int) -> Any:
    found = _numbered(data, at, end)
    if found.get(1) == 1:
        text = found.get(3, b"")
        return _utf8(text) if isinstance(text, bytes) else ""
    number = found.get(2, 0)
    return _signed(number, 32) if isinstance(number, int) else 0


def _any_value(data: bytes, at: int, end: int, depth: int) -> Any:
    raw = _numbered(data, at, end).get(1, b"")
    if not raw or not isinstance(raw, bytes):
        return None
    try:
        return jsontext.loads(raw)
    except jsontext.Malformed as error:
        raise DecodeError(str(error)) from None


_TEXTS: dict[Shape, Value] = {
    Shape.STRING: _string_value,
    Shape.BYTES: _bytes_value,
    Shape.QUANTITY: _quantity_value,
    Shape.TIME: _time_value(gotime.print_seconds),
    Shape.MICRO_TIME: _time_value(gotime.print_micros),
    Shape.DURATION: _duration_value,
    Shape.INT_OR_STRING: _int_or_string_value,
    Shape.ANY: _any_value,
}


def _choices(type_: Type) -> tuple[Field, Field]:
    """The object of an EITHER, and its other choice."""
    fields = type_.fields.values()
    object_ = next(field for field in fields if field.type.shape is Shape.OBJECT)
    return object_, next(field for field in fields if field is not object_)


def _either_value(type_: Type) -> Value:
    object_, other = _choices(type_)
    read = _message(type_)

    def value(data: bytes, at: int, end: int, depth: int) -> Any:
        out: Object = {}
        read(out, data, at, end, depth + 1)
        if object_.name in out:
            return out[object_.name]
        return out.get(other.name, False if other.type.shape is Shape.BOOLEAN else None)

    return value


# ---- dicts to bytes ----

Write = Callable[[Any], bytes]
"""A value's bytes, without its tag."""


def encode(obj: Object, type_: Type) -> bytes:
    """The message of an object as it is printed."""
    return _writer(type_)(obj)


def encode_length(value: int) -> bytes:
    """A number in front of a value: its tag, its length."""
    if value < 0x80:
        return _BYTE[value]
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


_BYTE = [bytes((i,)) for i in range(256)]


def _blob(tag: int, data: bytes) -> bytes:
    return encode_length(tag) + encode_length(len(data)) + data


class _Writer:
    """Writes messages of a type: for each field by its name what writes it with its tag."""

    __slots__ = ("type", "writes")

    def __init__(self, type_: Type) -> None:
        self.type = type_
        self.writes: dict[str, Write] = {}  # made at first use: types may contain themselves

    def write(self, obj: Object) -> bytes:
        if not self.writes:
            self.writes = {field.name: _field_write(field) for field in self.type.fields.values() if field.number}
        writes = self.writes
        return b"".join([writes[name](value) for name, value in obj.items() if value is not None and name in writes])


@functools.cache
def _writer(type_: Type) -> Write:
    if type_.shape is Shape.EITHER:
        return _either_write(type_)
    if type_.shape is Shape.LIST:  # wrapped
        return _field_write(Field("items", _unwrapped(type_), 1))
    return _Writer(type_).write if type_.shape is Shape.OBJECT else _WRITES[type_.shape]


def _field_write(field: Field) -> Write:
    write = _tagged(field.number, field.type)
    for number in reversed(field.within):  # a message may come in parts: each embedded field in one of its own
        write = _with_length(number, write)
    return write


def _with_length(number: int, write: Write) -> Write:
    tag = encode_length(number << 3 | _BYTES)

    def write_blob(value: Any) -> bytes:
        data = write(value)
        size = len(data)
        return tag + (_BYTE[size] if size < 0x80 else encode_length(size)) + data

    return write_blob


def _tagged(number: int, type_: Type) -> Write:
    """What writes a field's value, or each of its values, with the tag in front."""
    if type_.shape is Shape.MAP and type_.element is not None:
        entry = _entry(type_.element)
        one = _with_length(number, entry)
        return lambda value: b"".join([one(item) for item in sorted(value.items())])
    if type_.shape is Shape.LIST and type_.element is not None and not type_.wrapped:
        one = _tagged(number, type_.element)
        return lambda value: b"".join([one(item) for item in value])
    if (scalar := _NUMBERS.get(type_.shape)) is not None:
        wire, write = scalar
        tag = encode_length(number << 3 | wire)
        return lambda value: tag + write(value)
    return _with_length(number, _writer(type_))


def _entry(element: Type) -> Write:
    """A key of a map and its value."""
    value = _tagged(2, element)

    def write(item: tuple[str, Any]) -> bytes:
        key = item[0].encode()
        return b"\x0a" + encode_length(len(key)) + key + (b"" if item[1] is None else value(item[1]))

    return write


def _write_integer(value: Any) -> bytes:
    return encode_length(value if value >= 0 else value + (1 << 64))


_NUMBERS: dict[Shape, tuple[int, Write]] = {
    Shape.INTEGER: (_VARINT, _write_integer),
    Shape.BOOLEAN: (_VARINT, lambda value: _BYTE[bool(value)]),
    Shape.NUMBER: (_FIXED64, lambda value: struct.pack("<d", value)),
}


def _write_time(value: Any) -> bytes:
    whole, nanos = gotime.to_unix(value)
    return b"\x08" + _write_integer(whole) + b"\x10" + encode_length(nanos)


def _write_int_or_string(value: Any) -> bytes:
    if isinstance(value, str):
        return b"\x08\x01\x10\x00" + _blob(0x1A, value.encode())
    return b"\x08\x00\x10" + _write_integer(value) + b"\x1a\x00"


_WRITES: dict[Shape, Write] = {
    Shape.STRING: str.encode,
    Shape.BYTES: base64.b64decode,
    Shape.QUANTITY: lambda value: _blob(0x0A, str.encode(value)),
    Shape.TIME: _write_time,
    Shape.MICRO_TIME: _write_time,
    Shape.DURATION: lambda value: b"\x08" + _write_integer(gotime.parse_duration(value)),
    Shape.INT_OR_STRING: _write_int_or_string,
    Shape.ANY: lambda value: _blob(0x0A, orjson.dumps(value)),
}


def _either_write(type_: Type) -> Write:
    object_, other = _choices(type_)
    write_object, write_other = _field_write(object_), _field_write(other)
    allows = write_other(True) if other.type.shape is Shape.BOOLEAN else b""
    return lambda value: write_object(value) + allows if isinstance(value, dict) else write_other(value)
