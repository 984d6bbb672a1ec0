# SPDX-License-Identifier: Apache-2.0
"""Options of requests, from the query or (for deletes) the body, checked.

Source: apimachinery/pkg/apis/meta/v1/validation and pkg/apis/meta/internalversion/validation, v1.36.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kubesched.api import meta, selectors, status
from kubesched.api.status import FieldError, invalid_value

Query = Mapping[str, Sequence[str]]

_META_GROUP = "meta.k8s.io"
_VALIDATION = ("", "Ignore", "Strict", "Warn")
_POLICIES = ("Foreground", "Background", "Orphan")


def _first(query: Query, name: str) -> str:
    found = query.get(name)
    return found[0] if found else ""


def _flag(query: Query, name: str) -> bool | None:
    """A boolean as upstream reads one: present is true, unless it says ``false`` or ``0``."""
    found = query.get(name)
    if found is None:
        return None
    return found[0].lower() not in ("false", "0")


def integer(query: Query, name: str) -> int | None:
    """An integer of 64 bits; None: it is not there. Raises StatusError 400 with upstream's text."""
    text = _first(query, name)
    if not text:
        return None
    digits = text[1:] if text[0] in "+-" else text
    if not (digits.isascii() and digits.isdigit()):
        raise status.bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax')
    if not -(2**63) <= int(text) < 2**63:
        raise status.bad_request(f'strconv.ParseInt: parsing "{text}": value out of range')
    return int(text)


@dataclass(slots=True)
class WriteOptions:
    """Of create, update and patch."""

    dry_run: bool = False
    manager: str = ""  # as the client named it, else from its User-Agent
    validation: str = "Warn"  # Ignore, Warn or Strict
    force: bool = False  # apply takes fields from others

    @property
    def reports_unknown(self) -> bool:
        """Whether unknown and duplicate fields are to be found at all."""
        return self.validation != "Ignore"


def write_options(query: Query, kind: str, user_agent: str, patch: str = "") -> WriteOptions:
    """Options of a ``CreateOptions``, ``UpdateOptions`` or ``PatchOptions``.

    Parameters
    ----------
    query
        Of the request.
    kind
        Name of the options, for errors.
    user_agent
        Names the field manager when the query does not.
    patch
        ``apply``, or another patch type; empty for no patch.
    """
    if not query and patch != "apply":
        return WriteOptions(manager=manager_of(user_agent))
    dry_run = [value for value in query.get("dryRun", ()) if value]
    manager = _first(query, "fieldManager")
    validation = _first(query, "fieldValidation")
    wrong: list[FieldError] = []
    if patch == "apply" and not manager:
        wrong.append(status.required("fieldManager", "is required for apply patch"))
    elif patch and patch != "apply" and "force" in query:
        wrong.append(status.forbidden_field("force", "may not be specified for non-apply patch"))
    wrong += meta.validate_manager(manager, "fieldManager")
    wrong += _validate_dry_run(dry_run)
    if validation not in _VALIDATION:
        wrong.append(status.not_supported("fieldValidation", validation, _VALIDATION))
    if wrong:
        raise status.invalid(_META_GROUP, kind, "", wrong)
    return WriteOptions(
        dry_run=bool(dry_run),
        manager=manager or manager_of(user_agent),
        validation=validation or "Warn",
        force=bool(_flag(query, "force")),
    )


def _validate_dry_run(values: Sequence[str]) -> list[FieldError]:
    if any(value != "All" for value in values):
        return [status.not_supported("dryRun", list(values), ["All"])]
    return []


@functools.lru_cache(maxsize=512)
def manager_of(user_agent: str) -> str:
    """The manager that an unnamed client is: its User-Agent up to the first slash, printable, at most 128 bytes."""
    name = "".join(char for char in user_agent.partition("/")[0] if char.isprintable())
    return name.encode()[: meta.MAX_MANAGER].decode(errors="ignore")


@dataclass(slots=True)
class DeleteOptions:
    dry_run: bool = False
    grace: int | None = None  # seconds
    uid: str | None = None  # precondition
    revision: str | None = None  # precondition: resourceVersion
    propagation: str = ""  # Foreground, Background, Orphan, or as the kind does
    orphan: bool | None = None  # the old way to say it


def delete_options(query: Query, body: Mapping[str, Any] | None) -> DeleteOptions:
    """From the body if there is one, else from the query.

    Raises
    ------
    StatusError
        422 names the option.
    """
    if body is None:
        found: Mapping[str, Any] = {
            "gracePeriodSeconds": integer(query, "gracePeriodSeconds"),
            "propagationPolicy": _first(query, "propagationPolicy") or None,
            "orphanDependents": _flag(query, "orphanDependents"),
            "dryRun": list(query.get("dryRun", ())),
        }
    else:
        found = body
    policy, orphan = found.get("propagationPolicy"), found.get("orphanDependents")
    wrong: list[FieldError] = []
    if policy is not None and orphan is not None:
        why = "orphanDependents and deletionPropagation cannot be both set"
        wrong.append(invalid_value("propagationPolicy", policy, why))
    if policy is not None and policy not in _POLICIES:
        wrong.append(status.not_supported("propagationPolicy", policy, (*_POLICIES, "nil")))
    dry_run = [value for value in found.get("dryRun") or () if value]
    wrong += _validate_dry_run(dry_run)
    if wrong:
        raise status.invalid(_META_GROUP, "DeleteOptions", "", wrong)
    preconditions = found.get("preconditions") or {}
    grace = found.get("gracePeriodSeconds")
    return DeleteOptions(
        dry_run=bool(dry_run),
        grace=1 if grace is not None and grace < 0 else grace,
        uid=preconditions.get("uid"),
        revision=preconditions.get("resourceVersion"),
        propagation=policy or "",
        orphan=orphan,
    )


@dataclass(slots=True)
class ListOptions:
    """Of get-collection, watch and delete-collection."""

    labels: selectors.LabelSelector = selectors.EVERYTHING
    fields: selectors.FieldSelector = field(default_factory=selectors.FieldSelector)
    watch: bool = False
    bookmarks: bool = False
    revision: str = ""  # resourceVersion as it was written
    match: str = ""  # resourceVersionMatch
    timeout: int | None = None  # seconds
    limit: int = 0
    continue_token: str = ""
    initial_events: bool | None = None  # sendInitialEvents


def list_options(query: Query, *, watched: bool = False) -> ListOptions:
    """The options of a list or watch; ``watched``: the path says that it is one.

    Raises
    ------
    StatusError
        400 for what cannot be read, 422 for what does not fit together.
    """
    if not query and not watched:
        return ListOptions()
    out = ListOptions(
        watch=watched or bool(_flag(query, "watch")),
        bookmarks=bool(_flag(query, "allowWatchBookmarks")),
        revision=_first(query, "resourceVersion"),
        match=_first(query, "resourceVersionMatch"),
        timeout=integer(query, "timeoutSeconds"),
        limit=max(integer(query, "limit") or 0, 0),  # as upstream: a negative one is none
        continue_token=_first(query, "continue"),
        initial_events=_flag(query, "sendInitialEvents"),
    )
    try:
        out.labels = selectors.parse_labels(_first(query, "labelSelector"))
        out.fields = selectors.parse_fields(_first(query, "fieldSelector"))
    except selectors.SelectorError as error:
        raise status.bad_request(str(error)) from None
    if out.watch and out.initial_events is None and not out.match and out.revision in ("", "0"):
        out.initial_events, out.match = True, "NotOlderThan"  # the old way to ask for the state first
    wrong = _validate_watch(out) if out.watch else _validate_list(out)
    if wrong:
        raise status.invalid(_META_GROUP, "ListOptions", "", wrong)
    return out


def _validate_list(options: ListOptions) -> list[FieldError]:
    wrong: list[FieldError] = []
    name = "resourceVersionMatch"
    if options.match:
        if not options.revision:
            wrong.append(status.forbidden_field(name, f"{name} is forbidden unless resourceVersion is provided"))
        if options.continue_token:
            wrong.append(status.forbidden_field(name, f"{name} is forbidden when continue is provided"))
        if options.match not in ("Exact", "NotOlderThan"):
            wrong.append(status.not_supported(name, options.match, ["Exact", "NotOlderThan", ""]))
        if options.match == "Exact" and options.revision == "0":
            wrong.append(status.forbidden_field(name, f'{name} "exact" is forbidden for resourceVersion "0"'))
    if options.initial_events is not None:
        wrong.append(status.forbidden_field("sendInitialEvents", "sendInitialEvents is forbidden for list"))
    return wrong


def _validate_watch(options: ListOptions) -> list[FieldError]:
    wrong: list[FieldError] = []
    name = "resourceVersionMatch"
    if options.initial_events is not None and options.match != "NotOlderThan":
        wrong.append(
            status.forbidden_field(name, "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan")
        )
    if options.match:
        if options.initial_events is None:
            why = f"{name} is forbidden for watch unless sendInitialEvents is provided"
            wrong.append(status.forbidden_field(name, why))
        if options.match != "NotOlderThan":
            wrong.append(status.not_supported(name, options.match, ["NotOlderThan"]))
        if options.continue_token:
            wrong.append(status.forbidden_field(name, f"{name} is forbidden when continue is provided"))
    return wrong
