# SPDX-License-Identifier: Apache-2.0
"""Patches that requests hold: of which kind, what is wrong with them, what they make of an object.

A patch is read when there is an object to change: one of an object that is not there is 404, whatever it says.

Source: apiserver/pkg/endpoints/handlers/patch.go, v1.36.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

from kubesched.api import codec, gotext, patch, restoring, status
from kubesched.api.options import WriteOptions
from kubesched.api.schema import Type
from kubesched.api.strategy import Object
from kubesched.apiserver.endpoint import Endpoint
from kubesched.apiserver.message import Request, report

APPLY = "application/apply-patch+yaml"
JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"


def plain(endpoint: Endpoint) -> tuple[str, ...]:
    """The media types of the patches of a resource, but for apply."""
    return (JSON_PATCH, MERGE_PATCH) if endpoint.resource.kind.custom else (JSON_PATCH, MERGE_PATCH, STRATEGIC)


def media_type_of(request: Request, accepted: tuple[str, ...]) -> str:
    """The kind of a patch; StatusError 415 if it is none of those."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip()
    if media_type not in accepted:
        raise status.unsupported_media_type(accepted)
    return media_type


def changer(
    body: bytes, media_type: str, request: Request, type_: Type, options: WriteOptions, subresource: str = ""
) -> Callable[[Object], Object]:
    """JSON, merge and strategic merge patches: what they make of an object, decoded as if it had been sent.

    Of a status, what the patch leaves as it is stays the live object's own: the rest is put back afterwards anyway.
    It raises StatusError: 400 for what is no patch, 413 and 422 for what cannot be applied, or makes no object.
    """
    strict = options.reports_unknown

    def change(live: Object) -> Object:
        found: Any = None
        if media_type == JSON_PATCH:
            operations, twice = codec.json_patch_body(body, strict=strict)
            changed = patch.json_patch(live, operations)
        elif media_type == MERGE_PATCH:
            found, twice = codec.merge_patch_body(body, strict=strict)
            changed = patch.merge(live, found)
        else:
            found, twice = codec.strategic_patch_body(body, strict=strict)
            changed = patch.strategic(live, found, type_)

        def refuse(text: str) -> status.StatusError:
            shown = gotext.printed(found) if media_type == STRATEGIC else orjson.dumps(changed).decode()
            return status.invalid("", "", "", [status.invalid_value("patch", shown, text)])

        same = _untouched(changed, live) if subresource == "status" else {}
        rest = {name: value for name, value in changed.items() if name not in same} if same else changed
        try:
            new, unknown = codec.normalise(rest, type_, strict=strict)
        except codec.DecodeError as error:
            told = restoring.refusal(rest, type_) if media_type == STRATEGIC else ""
            raise refuse(told or str(error)) from None
        report(request, options, [*twice, *unknown], refuse)
        return dict.fromkeys(name for name in changed if name in new) | new | same if same else new

    return change


def _untouched(changed: Any, live: Object) -> Object:
    """The fields that a patch left alone; of metadata a copy, for the server writes into it."""
    if not isinstance(changed, dict):
        return {}
    same = {name: value for name, value in changed.items() if value is live.get(name)}
    if "metadata" in same:
        same["metadata"] = dict(live["metadata"])
    return same
