# SPDX-License-Identifier: Apache-2.0
"""Custom resources: from a CustomResourceDefinition to kinds that are served, and back when it goes.

Source: apiextensions-apiserver/pkg/apiserver and pkg/controller, v1.36.
"""

from __future__ import annotations

import asyncio
import dataclasses
import datetime
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from kubesched.api import jsonpath, kinds, meta, structural
from kubesched.api.columns import at, name, since
from kubesched.api.kinds import Kind, Subresource
from kubesched.api.options import DeleteOptions
from kubesched.api.status import FieldError, StatusError
from kubesched.api.strategy import STATUS, Column, Object, Scale, Strategy
from kubesched.cel import rules
from kubesched.store import Event, EventKind, Subscription

if TYPE_CHECKING:
    from kubesched.apiserver.app import App

_log = logging.getLogger(__name__)

DEFINITIONS = ("apiextensions.k8s.io", "customresourcedefinitions")
_CLEANUP = "customresourcecleanup.apiextensions.k8s.io"


class CustomResources:
    """Follows the definitions in the store and keeps the registry of kinds true to them."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._definitions = app.resource_of(DEFINITIONS[0], "v1", DEFINITIONS[1])
        self._served: dict[str, list[Kind]] = {}  # by the definition's name
        self._tasks: set[asyncio.Task[None]] = set()
        self._subscription: Subscription | None = None

    async def start(self) -> None:
        """Serve what is defined, and follow changes."""
        store = self._app.store
        listing = await store.list(self._definitions.kind.prefix)
        for entry in listing.entries:
            self._serve(self._definitions.decode(entry))
        self._subscription = store.watch(self._definitions.kind.prefix, listing.revision, self._follow)

    def close(self) -> None:
        """Stop what is under way."""
        if self._subscription is not None:
            self._subscription.cancel()
        for task in self._tasks:
            task.cancel()

    def _follow(self, events: Sequence[Event]) -> None:
        for event in events:
            definition = self._definitions.decode(event.entry)
            if event.kind is EventKind.DELETE:
                self._withdraw(definition["metadata"]["name"])
                continue
            self._serve(definition)
            if definition["metadata"].get("deletionTimestamp"):
                self._begin(self._clean_up(definition))
            elif not _condition(definition, "Established"):
                self._begin(self._establish(definition))

    def _begin(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            _log.error("a custom resource could not be brought in order", exc_info=task.exception())

    # ---- what is served ----

    def _serve(self, definition: Object) -> None:
        self._withdraw(definition["metadata"]["name"])
        if self._conflict(definition):
            return
        made = list(kinds_of(definition))
        self._served[definition["metadata"]["name"]] = made
        for kind in made:
            self._app.kinds.add(kind)
            self._app.adopt(kind, strategy_of(definition, kind.version))

    def _withdraw(self, named: str) -> None:
        for kind in self._served.pop(named, ()):
            self._app.kinds.remove(kind.group, kind.version, kind.plural)
            self._app.forget(kind)

    def _conflict(self, definition: Object) -> str:
        """Why its names cannot be served: another kind of the group has them."""
        spec = definition["spec"]
        wanted = spec["names"]
        for kind in self._app.kinds:
            if kind.group != spec["group"] or kind.plural == wanted["plural"]:
                continue
            taken = {kind.singular, kind.kind.lower(), *kind.short_names}
            mine = {wanted.get("singular"), wanted["kind"].lower(), *(wanted.get("shortNames") or ())}
            if both := taken & mine:
                return f'"{sorted(map(str, both))[0]}" is already in use'
        return ""

    # ---- its status ----

    async def _establish(self, definition: Object) -> None:
        """Say that names are accepted and the resource is there."""
        conflict = self._conflict(definition)
        now = meta.timestamp(self._app.now())

        def renew(live: Object) -> Object:
            state = live.setdefault("status", {})
            if not conflict:
                names = live["spec"]["names"]
                state["acceptedNames"] = {key: value for key, value in names.items() if value}
            ok = not conflict
            why = conflict or "no conflicts found"
            meta.set_condition(live, _made("NamesAccepted", ok, "NoConflicts" if ok else "NamesConflict", why, now))
            reason = "InitialNamesAccepted" if ok else "NotAccepted"
            why = "the initial names have been accepted" if ok else "not all names are accepted"
            meta.set_condition(live, _made("Established", ok, reason, why, now))
            finalizers = live["metadata"].setdefault("finalizers", [])
            if _CLEANUP not in finalizers:
                finalizers.append(_CLEANUP)
            return live

        await self._write(definition, renew)

    async def _write(self, definition: Object, renew: Callable[[Object], Object]) -> None:
        try:
            await self._definitions.update("", definition["metadata"]["name"], renew, subresource="status")
        except StatusError as error:
            if error.code != 404:
                raise

    async def _clean_up(self, definition: Object) -> None:
        """Delete what there is of the resource, then let the definition go."""
        if _CLEANUP not in (definition["metadata"].get("finalizers") or ()):
            return
        served = self._served.get(definition["metadata"]["name"]) or ()
        for kind in served[:1]:
            resource = self._app.resource(kind)
            while (await self._delete_all(resource)) > 0:
                await asyncio.sleep(0.05)

        def renew(live: Object) -> Object:
            metadata = live["metadata"]
            metadata["finalizers"] = [item for item in metadata.get("finalizers") or () if item != _CLEANUP]
            return live

        await self._write(definition, renew)

    @staticmethod
    async def _delete_all(resource: Any) -> int:
        listing = await resource.store.list(resource.kind.prefix)
        for entry in listing.entries:
            metadata = resource.decode(entry)["metadata"]
            try:
                await resource.delete(metadata.get("namespace", ""), metadata["name"], DeleteOptions())
            except StatusError as error:
                if error.code != 404:
                    raise
        return len(listing.entries)


def _condition(definition: Object, kind: str) -> bool:
    found = at(definition, "status", "conditions") or ()
    return any(item.get("type") == kind for item in found)


def _made(kind: str, ok: bool, reason: str, message: str, now: str) -> Object:
    return {
        "type": kind,
        "status": "True" if ok else "False",
        "lastTransitionTime": now,
        "reason": reason,
        "message": message,
    }


# ---- rules of definitions ----


def with_rules(strategy: Strategy) -> Strategy:
    """The strategy of definitions, which judges their rules too, once their schemas are right."""

    def validate(obj: Object) -> list[FieldError]:
        return strategy.validate(obj) or _check_rules(obj)

    def validate_update(new: Object, old: Object) -> list[FieldError]:
        return strategy.validate_update(new, old) or _check_rules(new)

    return dataclasses.replace(strategy, validate=validate, validate_update=validate_update)


def _check_rules(definition: Object) -> list[FieldError]:
    versions = enumerate(definition["spec"]["versions"])
    schemas = ((i, at(version, "schema", "openAPIV3Schema") or {}) for i, version in versions)
    return [
        error for i, schema in schemas for error in rules.check(schema, f"spec.versions[{i}].schema.openAPIV3Schema")
    ]


# ---- from definitions to kinds ----


def kinds_of(definition: Object) -> Iterator[Kind]:
    """The kinds that a definition serves, one for each version."""
    spec = definition["spec"]
    names, group = spec["names"], spec["group"]
    storage = next((item["name"] for item in spec["versions"] if item.get("storage")), spec["versions"][0]["name"])
    for version in spec["versions"]:
        if not version.get("served"):
            continue
        schema = at(version, "schema", "openAPIV3Schema")
        yield Kind(
            group=group,
            version=version["name"],
            plural=names["plural"],
            kind=names["kind"],
            singular=names.get("singular") or names["kind"].lower(),
            namespaced=spec["scope"] == "Namespaced",
            short_names=tuple(names.get("shortNames") or ()),
            categories=tuple(names.get("categories") or ()),
            subresources=_subresources(version),
            list_kind=names.get("listKind") or f"{names['kind']}List",
            prefix=kinds.prefix_of(group, names["plural"]),
            storage_version=kinds.api_version(group, storage),
            custom=True,
            custom_type=structural.type_of(schema),
            openapi=schema,
        )


def _subresources(version: Object) -> dict[str, Subresource]:
    found = version.get("subresources") or {}
    verbs = frozenset({"get", "patch", "update"})
    out: dict[str, Subresource] = {}
    if found.get("status") is not None:
        out["status"] = Subresource("status", verbs)
    if found.get("scale") is not None:
        out["scale"] = Subresource("scale", verbs, "autoscaling", "v1", "Scale")
    return out


def strategy_of(definition: Object, version_name: str) -> Strategy:
    """How objects of one version of a definition are defaulted, judged and printed."""
    version = next(item for item in definition["spec"]["versions"] if item["name"] == version_name)
    schema: structural.Schema = at(version, "schema", "openAPIV3Schema") or {}
    has_status = at(version, "subresources", "status") is not None
    fields = tuple(item["jsonPath"].removeprefix(".") for item in version.get("selectableFields") or ())

    asked = rules.Rules(schema)

    def validate(obj: Object, old: Object | None = None) -> list[FieldError]:
        before = () if old is None else (_body(old),)
        found = structural.validate(_body(obj), schema, "", *before)
        return found + asked.validate(obj, old, found)

    def validate_status(new: Object, old: Object) -> list[FieldError]:
        part, before = ({name: obj[name] for name in ("status",) if name in obj} for obj in (new, old))
        found = structural.validate(part, {"properties": schema.get("properties") or {}}, "", before)
        return found + asked.validate(new, old, found)

    def select(obj: Object) -> dict[str, str]:
        return {path: _selected(jsonpath.first(obj, f".{path}")) for path in fields}

    return Strategy(
        default=lambda obj: structural.default(obj, schema),
        validate=validate,
        validate_update=validate,
        parts={"status": dataclasses.replace(STATUS, validate=validate_status)} if has_status else {},
        has_status=has_status,
        has_generation=True,
        generation_of=None,
        unconditional_update=False,
        returns_deleted=False,
        scale=_scale(at(version, "subresources", "scale")),
        select=select,
        selectable=fields,
        columns=_columns(version),
    )


def _body(obj: Object) -> Object:
    return {key: value for key, value in obj.items() if key not in ("kind", "apiVersion", "metadata")}


def _selected(value: Any) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _scale(found: Object | None) -> Scale | None:
    if found is None:
        return None

    def path(field: str, default: str) -> tuple[str, ...]:
        return tuple((found.get(field) or default).lstrip(".").split("."))

    return Scale(
        path("specReplicasPath", ".spec.replicas"),
        path("statusReplicasPath", ".status.replicas"),
        path("labelSelectorPath", ".status.selector"),
    )


def _columns(version: Object) -> tuple[Column, ...]:
    found = version.get("additionalPrinterColumns")
    if not found:
        return (name(), _printed({"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}))
    return (name(), *map(_printed, found))


def _printed(column: Object) -> Column:
    path, kind = column["jsonPath"], column["type"]

    def value(obj: Object, now: datetime.datetime) -> Any:
        found = jsonpath.first(obj, path)
        if found is None:
            return None
        if kind == "date":
            return since(found, now) if isinstance(found, str) else "<invalid>"
        if kind == "string":
            return _selected(found) if not isinstance(found, dict | list) else str(found)
        return found

    return Column(
        column["name"],
        kind,
        column.get("description") or f"Custom resource definition column (in JSONPath format): {path}",
        column.get("format", ""),
        column.get("priority", 0),
        value,
    )
