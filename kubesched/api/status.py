# SPDX-License-Identifier: Apache-2.0
"""What the API answers when it says no: Status objects, their reasons and texts, and what is wrong with a field.

Texts, reasons and codes are upstream's to the letter, because clients show and parse them.
Source: apimachinery/pkg/api/errors and pkg/util/validation/field, v1.36.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import orjson

from kubesched.api import gotext


class Cause(enum.Enum):
    """Why a field is wrong: the reason of a cause, and how it reads."""

    NOT_FOUND = ("FieldValueNotFound", "Not found")
    REQUIRED = ("FieldValueRequired", "Required value")
    DUPLICATE = ("FieldValueDuplicate", "Duplicate value")
    INVALID = ("FieldValueInvalid", "Invalid value")
    NOT_SUPPORTED = ("FieldValueNotSupported", "Unsupported value")
    FORBIDDEN = ("FieldValueForbidden", "Forbidden")
    TOO_LONG = ("FieldValueTooLong", "Too long")
    TOO_SHORT = ("FieldValueTooShort", "Too short")
    TOO_MANY = ("FieldValueTooMany", "Too many")
    TOO_FEW = ("FieldValueTooFew", "Too few")
    TYPE_INVALID = ("FieldValueTypeInvalid", "Invalid value")
    INTERNAL = ("InternalError", "Internal error")

    def __init__(self, reason: str, text: str) -> None:
        self.reason = reason
        self.text = text


_NO_VALUE = object()
_WITHOUT_VALUE = frozenset({Cause.REQUIRED, Cause.FORBIDDEN, Cause.TOO_LONG, Cause.TOO_SHORT, Cause.INTERNAL})


class FieldError(NamedTuple):
    """One thing that is wrong with one field, for example ``spec.replicas: Invalid value: -1: must be ...``."""

    cause: Cause
    field: str
    value: Any = _NO_VALUE
    detail: str = ""

    def body(self) -> str:
        """The text without the field."""
        text = self.cause.text
        if self.value is not _NO_VALUE and self.cause not in _WITHOUT_VALUE:
            text = f"{text}: {gotext.value(self.value)}"
        return f"{text}: {self.detail}" if self.detail else text

    def __str__(self) -> str:
        return f"{self.field}: {self.body()}"


def invalid_value(field: str, value: Any, detail: str) -> FieldError:
    return FieldError(Cause.INVALID, field, value, detail)


def invalid_shape(field: str, detail: str) -> FieldError:
    """What is wrong is not a value, but how values stand together."""
    return FieldError(Cause.INVALID, field, detail=detail)


def required(field: str, detail: str = "") -> FieldError:
    return FieldError(Cause.REQUIRED, field, "", detail)


def duplicate(field: str, value: Any) -> FieldError:
    return FieldError(Cause.DUPLICATE, field, value)


def forbidden_field(field: str, detail: str) -> FieldError:
    return FieldError(Cause.FORBIDDEN, field, "", detail)


def value_not_found(field: str, value: Any) -> FieldError:
    return FieldError(Cause.NOT_FOUND, field, value)


def not_supported(field: str, value: Any, supported: Iterable[str]) -> FieldError:
    """A value outside a closed set; ``supported`` in the order in which it is to be named."""
    names = ", ".join(gotext.quote(name) for name in supported)
    return FieldError(Cause.NOT_SUPPORTED, field, value, f"supported values: {names}" if names else "")


def too_long(field: str, maximum: int) -> FieldError:
    return FieldError(Cause.TOO_LONG, field, "", f"may not be more than {maximum} bytes")


def too_many(field: str, count: int, maximum: int) -> FieldError:
    return FieldError(Cause.TOO_MANY, field, count, f"must have at most {maximum} items")


def type_invalid(field: str, value: Any, detail: str) -> FieldError:
    return FieldError(Cause.TYPE_INVALID, field, value, detail)


def qualified(group: str, name: str) -> str:
    """``deployments.apps``; core resources have no group."""
    return f"{name}.{group}" if group else name


class StatusError(Exception):
    """An answer of the API that is not success.

    Parameters
    ----------
    code
        HTTP status.
    reason
        Machine-readable, from upstream's closed list; empty where upstream leaves it out.
    message
        For people; clients print it.
    details
        Body of ``details``: name, group, kind, causes, retryAfterSeconds.
    """

    def __init__(self, code: int, reason: str, message: str, details: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details
        self.metadata: dict[str, Any] = {}  # of an expired list: how to go on

    @property
    def retry_after(self) -> int:
        """Seconds for the header Retry-After; 0 is none."""
        return int((self.details or {}).get("retryAfterSeconds", 0))

    def status(self) -> dict[str, Any]:
        """The Status object."""
        out: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": self.metadata,
            "status": "Failure",
            "message": self.message,
        }
        if self.reason:
            out["reason"] = self.reason
        if self.details is not None:
            out["details"] = self.details
        out["code"] = self.code
        return out

    def encode(self) -> bytes:
        return orjson.dumps(self.status())


def success(code: int = 200, **details: Any) -> dict[str, Any]:
    """The Status of something done; ``details`` without empty values."""
    out: dict[str, Any] = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
    kept = {name: value for name, value in details.items() if value}
    if kept:
        out["details"] = kept
    if code != 200:
        out["code"] = code
    return out


def _details(group: str, kind: str, name: str = "", **more: Any) -> dict[str, Any]:
    out = {"name": name, "group": group, "kind": kind, **more}
    return {key: value for key, value in out.items() if value}


def not_found(group: str, resource: str, name: str) -> StatusError:
    message = f"{qualified(group, resource)} {gotext.quote(name)} not found"
    return StatusError(404, "NotFound", message, _details(group, resource, name))


def no_such_path() -> StatusError:
    """The path leads nowhere: no resource, no version, no subresource of that name."""
    return StatusError(404, "NotFound", "the server could not find the requested resource", {})


def already_exists(group: str, resource: str, name: str) -> StatusError:
    message = f"{qualified(group, resource)} {gotext.quote(name)} already exists"
    return StatusError(409, "AlreadyExists", message, _details(group, resource, name))


def generated_name_taken(group: str, resource: str, name: str) -> StatusError:
    message = (
        f"{qualified(group, resource)} {gotext.quote(name)} already exists, "
        "the server was not able to generate a unique name for the object"
    )
    return StatusError(409, "AlreadyExists", message, _details(group, resource, name, retryAfterSeconds=1))


def unauthorized(message: str = "Unauthorized") -> StatusError:
    return StatusError(401, "Unauthorized", message)


def forbidden(group: str, resource: str, name: str, why: str, **more: Any) -> StatusError:
    """Not allowed: by an authorizer, an admission plugin or a quota."""
    what = qualified(group, resource)
    if not what:
        message = f"forbidden: {why}"
    elif not name:
        message = f"{what} is forbidden: {why}"
    else:
        message = f"{what} {gotext.quote(name)} is forbidden: {why}"
    return StatusError(403, "Forbidden", message, _details(group, resource, name, **more))


MODIFIED = "the object has been modified; please apply your changes to the latest version and try again"


def conflict(group: str, resource: str, name: str, why: str = MODIFIED) -> StatusError:
    message = f"Operation cannot be fulfilled on {qualified(group, resource)} {gotext.quote(name)}: {why}"
    return StatusError(409, "Conflict", message, _details(group, resource, name))


def other_uid(wanted: str, found: str) -> str:
    """Why a write that names an object's UID meets another object of its name."""
    return f"Precondition failed: UID in precondition: {wanted}, UID in object meta: {found}"


def apply_conflict(message: str, causes: list[dict[str, str]]) -> StatusError:
    return StatusError(409, "Conflict", message, {"causes": causes})


def expired(message: str) -> StatusError:
    return StatusError(410, "Expired", message)


def invalid(group: str, kind: str, name: str, errors: Sequence[FieldError]) -> StatusError:
    """What is wrong with the fields of an object; each distinct text once in the message, every error as a cause."""
    causes = [{"reason": e.cause.reason, "message": e.body(), "field": e.field} for e in errors]
    texts = list(dict.fromkeys(str(error) for error in errors))
    message = f"{qualified(group, kind)} {gotext.quote(name)} is invalid"
    if texts:
        message += ": " + (texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]")
    return StatusError(422, "Invalid", message, _details(group, kind, name, causes=causes))


def unprocessable(
    field: str = "", message: str = "the server rejected our request due to an error in our request"
) -> StatusError:
    """A patch that cannot be applied."""
    causes = [{"reason": "FieldValueInvalid", "message": message, "field": field}] if field else []
    return StatusError(422, "Invalid", message, {"causes": causes} if causes else {})


def bad_request(message: str) -> StatusError:
    return StatusError(400, "BadRequest", message)


def method_not_allowed() -> StatusError:
    message = "the server does not allow this method on the requested resource"
    return StatusError(405, "MethodNotAllowed", message, {})


def method_not_supported(group: str, resource: str, action: str) -> StatusError:
    message = f"{action} is not supported on resources of kind {gotext.quote(qualified(group, resource))}"
    return StatusError(405, "MethodNotAllowed", message, _details(group, resource))


def not_acceptable(accepted: Sequence[str]) -> StatusError:
    message = f"only the following media types are accepted: {', '.join(accepted)}"
    return StatusError(406, "NotAcceptable", message)


def unsupported_media_type(accepted: Sequence[str]) -> StatusError:
    message = f"the body of the request was in an unknown format - accepted media types include: {', '.join(accepted)}"
    return StatusError(415, "UnsupportedMediaType", message)


def too_large(message: str) -> StatusError:
    return StatusError(413, "RequestEntityTooLarge", f"Request entity too large: {message}")


def too_many_requests(message: str, retry_after: int, causes: Sequence[dict[str, str]] = ()) -> StatusError:
    details: dict[str, Any] = {"causes": list(causes)} if causes else {}
    if retry_after:
        details["retryAfterSeconds"] = retry_after
    return StatusError(429, "TooManyRequests", message, details)


def internal(message: str) -> StatusError:
    details = {"causes": [{"message": message}]}
    return StatusError(500, "InternalError", f"Internal error occurred: {message}", details)


def unavailable(message: str) -> StatusError:
    return StatusError(503, "ServiceUnavailable", message)


def timeout(message: str, retry_after: int = 0, causes: Sequence[dict[str, str]] = ()) -> StatusError:
    details: dict[str, Any] = {"causes": list(causes)} if causes else {}
    if retry_after:
        details["retryAfterSeconds"] = retry_after
    return StatusError(504, "Timeout", f"Timeout: {message}", details)


def too_large_revision(asked: int, current: int) -> StatusError:
    """The client has seen a revision that this server has not (yet)."""
    causes = [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]
    return timeout(f"Too large resource version: {asked}, current: {current}", 1, causes)
