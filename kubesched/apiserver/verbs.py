# SPDX-License-Identifier: Apache-2.0
"""The verbs: from a routed request to a resource and back.

Each function decodes what it is given, lets the resource do it, and renders the outcome. Source:
apiserver/pkg/endpoints/handlers, v1.36.
"""

from __future__ import annotations

import base64
import binascii
import posixpath
import random
from collections.abc import Awaitable, Callable
from typing import Any

import orjson

from kubesched.api import codec, jsontext, managed, meta, status
from kubesched.api.options import (
    DeleteOptions,
    ListOptions,
    WriteOptions,
    delete_options,
    list_options,
    write_options,
)
from kubesched.api.schema import Type
from kubesched.api.selectors import FieldSelector, FieldTerm
from kubesched.api.strategy import Object
from kubesched.apiserver import aside, negotiate, patches, render
from kubesched.apiserver.endpoint import Endpoint, GroupVersionKind
from kubesched.apiserver.message import Answer, Request, report
from kubesched.apiserver.resource import Change, Item, Resource
from kubesched.apiserver.watch import parse_revision
from kubesched.store import Compacted, Entry, Listing

Verb = Callable[[Request, Endpoint], Awaitable[Answer]]

MIN_WATCH = 1800.0  # seconds; a watch without a time-out ends after once to twice this
_LONGEST_ECHO = 300  # characters; arbitrary: an error need not repeat all that was sent
_PAGE = 10_000  # entries looked at at once when a selector may leave few


def _include(request: Request) -> str:
    return request.query.get("includeObject", [""])[0] if request.query else ""


def form_of(request: Request, endpoint: Endpoint, *, streams: bool = False) -> negotiate.Format:
    """The form of the answer."""
    offered = endpoint.media_types
    if streams:
        offered = tuple(media_type for media_type in offered if media_type != negotiate.NOT_STREAMED)
    return negotiate.choose(request.headers.get("accept", ""), offered)


# ---- read ----


async def get(request: Request, endpoint: Endpoint) -> Answer:
    """GET of one object."""
    form = form_of(request, endpoint)
    revision = request.query.get("resourceVersion", [""])[0] if request.query else ""
    if revision:
        await endpoint.resource.reach(parse_revision(revision))
    entry = await endpoint.resource.get(endpoint.namespace, endpoint.name)
    return render.item(endpoint.resource, Item(entry=entry), form, _include(request))


async def list_or_watch(request: Request, endpoint: Endpoint) -> Answer:
    """GET of a collection."""
    form = form_of(request, endpoint)
    streams = request.method != "HEAD"  # which has no body, and so no end
    options = list_options(request.query, watched=endpoint.watch and streams)
    watch = options.watch and streams
    _check_fields(endpoint, options)
    if endpoint.name:
        _select_name(endpoint.name, options)
    if watch:
        form = form_of(request, endpoint, streams=True)
        timeout = float(options.timeout or 0) or MIN_WATCH * (1 + random.random())
        return await endpoint.watchers.open(endpoint.namespace, options, form, _include(request), timeout)
    entries, metadata = await _page(endpoint.resource, endpoint.namespace, options)
    return render.listing(endpoint.resource, entries, metadata, form, _include(request))


def _check_fields(endpoint: Endpoint, options: ListOptions) -> None:
    known = {"metadata.name", "metadata.namespace", *endpoint.resource.strategy.selectable}
    for term in options.fields.terms:
        if term.field not in known:
            if endpoint.resource.strategy.selectable and not endpoint.resource.kind.custom:
                raise status.bad_request(f"field label not supported: {term.field}")
            raise status.bad_request(
                f'"{term.field}" is not a known field selector: only "metadata.name", "metadata.namespace"'
            )
    if endpoint.resource.conversion is not None:
        options.fields = endpoint.resource.conversion.renamed(options.fields)


def _select_name(name: str, options: ListOptions) -> None:
    """A watch of one object by its path."""
    if options.fields and options.fields.exact("metadata.name") != name:
        raise status.bad_request("fieldSelector metadata.name doesn't match requested name")
    options.fields = FieldSelector((FieldTerm("metadata.name", name, True),))


async def _page(resource: Resource, namespace: str, options: ListOptions) -> tuple[list[Entry], Object]:
    """One page of a collection, and its metadata."""
    start, revision = await _where(resource, namespace, options)
    selective = bool(options.labels or options.fields)
    found: list[Entry] = []
    while True:
        listing = await _list(resource, namespace, options, start, revision, selective)
        if not selective:
            found = list(listing.entries)
            break
        note = resource.note
        for entry in listing.entries:
            noted = note(entry)
            if options.labels.matches(noted.labels) and options.fields.matches(noted.fields):
                found.append(entry)
                if options.limit and len(found) == options.limit:
                    break
        if not listing.more or (options.limit and len(found) >= options.limit):
            break
        start, revision = listing.entries[-1].key + "\0", listing.revision
    more = bool(found) and (listing.more or (selective and found[-1].key != listing.entries[-1].key))
    metadata: Object = {"resourceVersion": str(listing.revision)}
    if more and options.limit:
        metadata["continue"] = _token(listing.revision, resource.scope(namespace), found[-1].key + "\0")
        if not selective:
            metadata["remainingItemCount"] = listing.remaining
    return found, metadata


async def _list(
    resource: Resource, namespace: str, options: ListOptions, start: str, revision: int, selective: bool
) -> Listing:
    limit = (_PAGE if options.limit else 0) if selective else options.limit
    try:
        return await resource.store.list(resource.scope(namespace), start=start, limit=limit, revision=revision)
    except Compacted as error:
        if options.continue_token:
            raise _token_expired(resource, namespace, start) from None
        raise status.expired(f"The resourceVersion for the provided list is too old. ({error})") from None


def _token_expired(resource: Resource, namespace: str, start: str) -> status.StatusError:
    """410 with a token that goes on in the present, at the price of consistency."""
    error = status.expired(
        "The provided continue parameter is too old to display a consistent list result. You can start a new list "
        "without the continue parameter, or use the continue token in this response to retrieve the remainder of the "
        "results. Continuing with the provided token results in an inconsistent list - objects that were created, "
        "modified, or deleted between the time the first chunk was returned and now may show up in the list."
    )
    error.metadata = {"continue": _token(-1, resource.scope(namespace), start)}
    return error


async def _where(resource: Resource, namespace: str, options: ListOptions) -> tuple[str, int]:
    """Where a list starts, and as of which revision (0: the newest)."""
    if options.continue_token:
        if options.revision and options.revision != "0":
            raise status.bad_request("specifying resource version is not allowed when using continue")
        start, revision = _read_token(options.continue_token, resource.scope(namespace), resource.store.revision)
        return start, max(revision, 0)
    revision = parse_revision(options.revision)
    await resource.reach(revision)
    exact = options.match == "Exact" or (not options.match and options.limit and revision)
    return "", revision if exact else 0


def _token(revision: int, scope: str, key: str) -> str:
    body = {"v": "meta.k8s.io/v1", "rv": revision, "start": key.removeprefix(scope)}
    return base64.urlsafe_b64encode(orjson.dumps(body)).rstrip(b"=").decode()


def _read_token(token: str, scope: str, newest: int) -> tuple[str, int]:
    try:
        text = base64.b64decode(token.encode() + b"=" * (-len(token) % 4), altchars=b"-_", validate=True)
        found = jsontext.loads(text)
        version, revision, start = found.get("v", ""), found.get("rv", 0), found.get("start", "")
        if type(revision) is not int or not isinstance(start, str):
            raise ValueError(f"{found}")
    except (ValueError, AttributeError, UnicodeEncodeError, binascii.Error) as error:
        raise _bad_token(f": {error}") from None
    if version != "meta.k8s.io/v1":
        raise _bad_token(f": server does not recognize this encoded version {version}")
    if not revision:
        raise _bad_token(": incorrect encoded start resourceVersion (version meta.k8s.io/v1)")
    if not start:
        raise _bad_token(": encoded start key empty (version meta.k8s.io/v1)")
    if posixpath.normpath("/" + start.lstrip("/")) != "/" + start.removeprefix("/") or revision > newest:
        raise _bad_token(f": {start}")
    return scope + start.removeprefix("/"), revision


def _bad_token(why: str) -> status.StatusError:
    return status.bad_request(f"invalid continue token: continue key is not valid{why}"[:_LONGEST_ECHO])


# ---- write ----


async def create(request: Request, endpoint: Endpoint) -> Answer:
    """POST to a collection."""
    form = form_of(request, endpoint)
    options = options_of(request, "CreateOptions")
    obj = await read_object(request, endpoint, options)
    metadata = obj["metadata"]
    meta.wipe_system_fields(metadata)
    fit_namespace(metadata, endpoint)
    warn_of_owners(request, metadata)
    if endpoint.name and not metadata.get("name"):
        metadata["name"] = endpoint.name
    await aside.run(request.size, managed.update, None, obj, options.manager, endpoint.fields_context())
    change = endpoint.admission(request, options)
    item = await endpoint.resource.create(obj, endpoint.namespace, change, dry_run=options.dry_run)
    warn(request, endpoint, item)
    return render.item(endpoint.resource, item, form)


async def update(request: Request, endpoint: Endpoint) -> Answer:
    """PUT of one object."""
    form = form_of(request, endpoint)
    options = options_of(request, "UpdateOptions")
    obj = await read_object(request, endpoint, options)
    fit_namespace(obj["metadata"], endpoint)
    check_name(obj["metadata"], endpoint)
    warn_of_owners(request, obj["metadata"])
    encoded = orjson.dumps(obj)
    fresh = [obj]

    def renew(live: Object | None) -> Object:
        new: Object = fresh.pop() if fresh else orjson.loads(encoded)
        if live is None:
            meta.wipe_system_fields(new["metadata"])
        managed.update(live, new, options.manager, endpoint.fields_context())
        return new

    make = (lambda: renew(None)) if endpoint.resource.strategy.create_on_update else None
    return await _save(request, endpoint, form, options, renew, make)


async def patch_object(request: Request, endpoint: Endpoint) -> Answer:
    """PATCH of one object, in any of the four ways."""
    media_type = patches.media_type_of(request, (*patches.plain(endpoint), patches.APPLY))
    form = form_of(request, endpoint)
    body = await request.read()
    if media_type != patches.APPLY:
        options = options_of(request, "PatchOptions", media_type)
        return await _save(request, endpoint, form, options, _patcher(body, media_type, request, endpoint, options))
    options = options_of(request, "PatchOptions", "apply")
    apply = _applier(body, request, endpoint, options)
    return await _save(request, endpoint, form, options, apply, lambda: apply(None))


async def _save(
    request: Request,
    endpoint: Endpoint,
    form: negotiate.Format,
    options: WriteOptions,
    renew: Callable[[Object], Object],
    make: Callable[[], Object] | None = None,
) -> Answer:
    """Replace an object or a part of it, and show it; parts are never made."""
    item = await endpoint.resource.update(
        endpoint.namespace,
        endpoint.name,
        renew,
        endpoint.admission(request, options),
        make=None if endpoint.subresource else make,
        subresource=endpoint.subresource,
        dry_run=options.dry_run,
    )
    warn(request, endpoint, item)
    return render.item(endpoint.resource, item, form)


def _patcher(
    body: bytes, media_type: str, request: Request, endpoint: Endpoint, options: WriteOptions
) -> Callable[[Object], Object]:
    """A patch of the endpoint's object: from the live one to what an update would send."""
    change = patches.changer(body, media_type, request, endpoint.type, options, endpoint.subresource)
    return lambda live: _ready(request, live, change(live), endpoint, options)


def _ready(request: Request, live: Object, new: Object, endpoint: Endpoint, options: WriteOptions) -> Object:
    """A patched object as an update sends it."""
    metadata = new.setdefault("metadata", {})
    fit_namespace(metadata, endpoint)
    check_name(metadata, endpoint)
    endpoint.resource.strategy.default(new)
    managed.update(live, new, options.manager, endpoint.fields_context())
    for uid in meta.dedup_owners(metadata):
        request.warn(f".metadata.ownerReferences contains duplicate entries after mutating admission happens; {uid}")
    return new


def _applier(
    body: bytes, request: Request, endpoint: Endpoint, options: WriteOptions
) -> Callable[[Object | None], Object]:
    """Server-side apply: what a configuration makes of the live object, or of none."""
    applied, doubled = codec.apply_body(body, strict=options.reports_unknown)
    kind = endpoint.resource.kind
    if (applied.get("apiVersion"), applied.get("kind")) != (kind.api_version, kind.kind):
        group, _, version = str(applied.get("apiVersion", "")).rpartition("/")
        shown = f"{group}/{version}, Kind={applied.get('kind', '')}"
        raise status.bad_request(f"invalid object type: {shown}")
    context = endpoint.fields_context()
    metadata = applied.get("metadata") or {}
    if not isinstance(metadata, dict):
        raise status.bad_request(f"failed to create typed patch object: .metadata: expected map, got &{{{metadata}}}")
    applied["metadata"] = metadata
    metadata.setdefault("name", endpoint.name)
    if kind.namespaced:
        metadata.setdefault("namespace", endpoint.namespace)
    check_name(metadata, endpoint)

    def renew(live: Object | None) -> Object:
        out = managed.apply(live, applied, options.manager, options.force, context)
        kept = out["metadata"].pop("managedFields", None)
        try:
            new, unknown = codec.normalise(out, endpoint.type, strict=options.reports_unknown)
        except codec.DecodeError as error:
            raise status.bad_request(f"failed to create typed patch object: {error}") from None
        report(request, options, [*doubled, *unknown], _apply_error)
        if kept is not None:
            new["metadata"]["managedFields"] = kept
        if live is None:
            if new["metadata"].get("uid"):
                uid = new["metadata"]["uid"]
                why = f"uid mismatch: the provided object specified uid {uid}, and no existing object was found"
                raise status.conflict(kind.group, kind.plural, endpoint.name, why)
            meta.wipe_system_fields(new["metadata"])
        fit_namespace(new["metadata"], endpoint)
        endpoint.resource.strategy.default(new)
        return new

    return renew


def _apply_error(text: str) -> status.StatusError:
    return status.bad_request(f"error strict decoding YAML: {text}")


# ---- what writes share ----


async def read_object(request: Request, endpoint: Endpoint, options: WriteOptions) -> Object:
    """The object in a request's body: decoded, of the right kind, defaulted."""
    obj = await read_body(request, endpoint.type, endpoint.gvk, options, endpoint.media_types)
    if not isinstance(obj.get("metadata"), dict):
        obj["metadata"] = {}
    endpoint.resource.strategy.default(obj)
    return obj


async def read_body(
    request: Request,
    type_: Type,
    gvk: GroupVersionKind,
    options: WriteOptions,
    media_types: tuple[str, ...] = negotiate.BUILT_IN,
) -> Object:
    """A request's body, decoded as one kind; unknown fields are told."""
    media_type = negotiate.body_type(request.headers.get("content-type", ""), media_types)
    body = await request.read()
    request.size = len(body)
    try:
        strict = options.reports_unknown
        obj, unknown = await aside.run(len(body), codec.decode, body, media_type, type_, gvk, strict=strict)
    except codec.DecodeError as error:
        raise status.bad_request(error.explain(gvk.kind, body)) from None
    where = f'{gvk.kind} in version "{gvk.version}" cannot be handled as a {gvk.kind}: '
    report(request, options, unknown, lambda text: status.bad_request(where + text))
    return obj


def options_of(request: Request, kind: str, patch: str = "") -> WriteOptions:
    """The options of a write; see `write_options`."""
    return write_options(request.query, kind, request.headers.get("user-agent", ""), patch)


def fit_namespace(metadata: Object, endpoint: Endpoint) -> None:
    """The object's namespace is the request's."""
    wanted = endpoint.namespace if endpoint.resource.kind.namespaced else ""
    given = metadata.get("namespace", "")
    if given and wanted and given != wanted:
        raise status.bad_request(
            "the namespace of the provided object does not match the namespace sent on the request"
        )
    if wanted:
        metadata["namespace"] = wanted
    else:
        metadata.pop("namespace", None)


def check_name(metadata: Object, endpoint: Endpoint) -> None:
    """The object's name is the path's."""
    name = metadata.get("name", "")
    if not name:
        raise status.bad_request(
            f"the name of the object ({endpoint.name} based on URL) was undeterminable: name must be provided"
        )
    if name != endpoint.name:
        raise status.bad_request(
            f"the name of the object ({name}) does not match the name on the URL ({endpoint.name})"
        )


def warn_of_owners(request: Request, metadata: Object) -> None:
    dropped = meta.dedup_owners(metadata)
    if dropped:
        request.warn(
            ".metadata.ownerReferences contains duplicate entries; API server dedups owner references in 1.20+, "
            "and may reject such requests as early as 1.24; please fix your requests; duplicate UID(s) observed: "
            + ", ".join(dropped)
        )


def warn(request: Request, endpoint: Endpoint, item: Item) -> None:
    """What the kind has to say about an object that was written."""
    warnings = endpoint.resource.strategy.warnings
    if warnings is not None:
        for text in warnings(endpoint.resource.object_of(item)):
            request.warn(text)


# ---- delete ----


async def _delete_options(request: Request, endpoint: Endpoint) -> DeleteOptions:
    body = await request.read()
    if not body:
        return delete_options(request.query, None)
    media_type = negotiate.body_type(request.headers.get("content-type", ""))
    try:
        return delete_options(request.query, codec.decode_options(body, media_type))
    except codec.DecodeError as error:
        raise status.bad_request(str(error)) from None


async def delete(request: Request, endpoint: Endpoint) -> Answer:
    """DELETE of one object."""
    form = form_of(request, endpoint)
    options = await _delete_options(request, endpoint)
    resource = endpoint.resource
    change = endpoint.admission(request, WriteOptions(dry_run=options.dry_run))
    item, gone = await resource.delete(endpoint.namespace, endpoint.name, options, _validator(change))
    if gone and not resource.strategy.returns_deleted:
        kind, metadata = resource.kind, resource.object_of(item)["metadata"]
        outcome = status.success(name=metadata["name"], group=kind.group, kind=kind.plural, uid=metadata["uid"])
        return render.plain(outcome, form)
    code = 202 if not gone and options.orphan is False else 200
    answer = render.item(resource, item, form)
    answer.status = code
    return answer


def _validator(change: Change) -> Callable[[Object], Any] | None:
    check = change.validate
    if check is None:
        return None
    return lambda old: check(None, old)


async def delete_collection(request: Request, endpoint: Endpoint) -> Answer:
    """DELETE of what a selector finds: one after the other, each as if it were deleted alone."""
    form = form_of(request, endpoint)
    options = list_options(request.query)
    _check_fields(endpoint, options)
    delete = await _delete_options(request, endpoint)
    resource = endpoint.resource
    options.limit = 0
    entries, metadata = await _page(resource, endpoint.namespace, options)
    change = endpoint.admission(request, WriteOptions(dry_run=delete.dry_run))
    for entry in entries:
        obj = resource.decode(entry)["metadata"]
        try:
            await resource.delete(obj.get("namespace", ""), obj["name"], delete, _validator(change))
        except status.StatusError as error:
            if error.code != 404:  # somebody else deleted it
                raise
    return render.listing(resource, entries, metadata, form)
