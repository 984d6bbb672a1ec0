# SPDX-License-Identifier: Apache-2.0
"""What can be done with the objects of one kind: upstream's generic registry on our store.

Objects come in decoded and defaulted; they leave as entries of the store, or as dicts where nothing was stored (dry
run).
Source: apiserver/pkg/registry/generic/registry/store.go and pkg/registry/rest, v1.36.
"""

from __future__ import annotations

import asyncio
import datetime
import functools
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import orjson

from kubesched.api import fieldset, managed, meta, names, shared, status, stored
from kubesched.api.conversion import Conversion, printed
from kubesched.api.fieldset import Set
from kubesched.api.kinds import Kind
from kubesched.api.options import DeleteOptions
from kubesched.api.strategy import Object, Strategy, carry
from kubesched.apiserver import aside
from kubesched.apiserver.message import Bytes, Pieces
from kubesched.store import Entry, Mismatch, Store, Unavailable
from kubesched.store.interface import ABSENT

Now = Callable[[], datetime.datetime]

_REACH_S = 3.0  # as upstream
_GENERATE_ATTEMPTS = 8
_ANY_FINALIZER = ("admissionregistration.k8s.io", "apiextensions.k8s.io", "apiregistration.k8s.io")
_RESET_BY_MAIN: Set = {"f:status": fieldset.LEAF}
_UPDATE_ATTEMPTS = 50  # each lost to another writer of the same object; then the client may try again


@dataclass(slots=True, eq=False)
class Note:
    """What an object is selected by, kept beside its bytes."""

    labels: Mapping[str, str]
    fields: Mapping[str, str]


@dataclass(slots=True)
class Item:
    """One object on its way out: an entry of the store (perhaps decoded already), or an object that was not stored.

    Both are in the version that is stored. ``created`` if it is new.
    """

    entry: Entry | None = None
    object: Object | None = None
    created: bool = False


@dataclass(slots=True)
class Change:
    """One write as admission sees it: ``admit`` may change the new object, ``validate`` may refuse it.

    ``old`` is None on create, ``new`` is None on delete.
    """

    admit: Callable[[Object, Object | None], Awaitable[None]] | None = None
    validate: Callable[[Object | None, Object | None], Awaitable[None]] | None = None
    size: int = 0  # of the body that makes a new object


NO_ADMISSION = Change()


class _Writing:
    """Within it, a store that cannot write is the server's 503."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, Unavailable):
            raise status.unavailable(f"the store cannot write: {error}") from None


_WRITING = _Writing()


@functools.cache
def _new_status(kind: str, api_version: str) -> bytes:
    """The status of a new object of a built-in kind as JSON, ``{"status": …}``: what is never left out is there."""
    group, _, version = api_version.rpartition("/")
    return orjson.dumps({"status": printed({}, group, version, kind)["status"]})


@dataclass(slots=True, eq=False)
class Resource:
    """The objects of one kind in one store."""

    kind: Kind
    strategy: Strategy
    store: Store
    now: Now
    conversion: Conversion | None = None  # where objects are stored in another version than the kind's
    _head: bytes = field(init=False)  # of answers
    _kept: int = field(init=False)  # length of the head of what is stored
    _marks: stored.Marks = field(init=False)

    def __post_init__(self) -> None:
        self._head = self._opening(self.kind.api_version)
        self._kept = len(self._opening(self.kind.storage_version))
        self._marks = stored.POD if self.kind.kind == "Pod" else stored.FIELDS

    def _opening(self, api_version: str) -> bytes:
        """What the JSON of an object begins with."""
        return orjson.dumps({"kind": self.kind.kind, "apiVersion": api_version})[:-1] + b',"metadata":{'

    # ---- bytes and objects ----

    def scope(self, namespace: str) -> str:
        """What the keys of a collection begin with."""
        return f"{self.kind.prefix}{namespace}/" if namespace else self.kind.prefix

    def encode(self, obj: Object) -> bytes:
        """The bytes to store: no revision, kind and metadata first."""
        metadata = obj["metadata"]
        revision = metadata.pop("resourceVersion", None)
        rest = {name: value for name, value in obj.items() if name not in ("kind", "apiVersion", "metadata")}
        opening = {"kind": self.kind.kind, "apiVersion": self.kind.storage_version, "metadata": metadata}
        out = stored.dumps({**opening, **rest})
        if revision is not None:
            metadata["resourceVersion"] = revision
        return b"%b" % out  # orjson's own bytes keep their buffer, made for the worst case

    def decode(self, entry: Entry) -> Object:
        """A fresh object with its revision, as clients of this version see it."""
        return self._shown(self._stored(entry))

    def _stored(self, entry: Entry) -> Object:
        """The same as it is stored, which is what is judged and changed here."""
        obj = stored.loads(entry.value, self._marks)
        if self.conversion is None:
            obj["apiVersion"] = self.kind.api_version
        obj["metadata"]["resourceVersion"] = str(entry.revision)
        return obj

    def _shown(self, obj: Object) -> Object:
        return obj if self.conversion is None else self.conversion.from_stored(obj)

    def stored_of(self, obj: Object) -> Object:
        """An object of a client as it is stored."""
        return obj if self.conversion is None else self.conversion.to_stored(obj)

    def object_of(self, item: Item) -> Object:
        """An item decoded."""
        if item.object is not None:
            return self._shown(item.object)
        assert item.entry is not None  # an item has one of them
        return self.decode(item.entry)

    def whole(self, entry: Entry) -> tuple[bytes, bytes, memoryview]:
        """The JSON of a stored object, in pieces, its revision in place."""
        if self.conversion is not None:
            return orjson.dumps(self.decode(entry)), b"", memoryview(b"")
        return self._head, b'"resourceVersion":"%d",' % entry.revision, memoryview(entry.value)[self._kept :]

    def items(self, entries: Sequence[Entry]) -> Pieces:
        """The same as the items of a list: built-in kinds leave kind and apiVersion out there."""
        if self.conversion is not None:
            converted = b",".join(self._converted_item(entry) for entry in entries)
            return Pieces(len(converted), (converted,))
        each = len(self._item_head) + len(b'"resourceVersion":"",') - self._kept + len(b",")
        own = sum([len(entry.value) + len(str(entry.revision)) for entry in entries])
        return Pieces(own + each * len(entries) - bool(entries), self._items(entries))  # no comma behind the last

    def _converted_item(self, entry: Entry) -> bytes:
        shown = {name: value for name, value in self.decode(entry).items() if name not in ("kind", "apiVersion")}
        return orjson.dumps(shown)

    def _items(self, entries: Sequence[Entry]) -> Iterator[Bytes]:
        comma, head, kept = b"", self._item_head, self._kept
        for entry in entries:
            yield b'%b%b"resourceVersion":"%d",' % (comma, head, entry.revision)
            yield memoryview(entry.value)[kept:]
            comma = b","

    @property
    def _item_head(self) -> bytes:
        return self._head if self.kind.custom else b'{"metadata":{'

    def note(self, entry: Entry) -> Note:
        """What an entry is selected by; computed once."""
        if entry.note is None:
            entry.note = self._note(self._stored(entry))
        found: Note = entry.note
        return found

    def _note(self, obj: Object) -> Note:
        metadata = obj["metadata"]
        fields = {"metadata.name": metadata["name"]}
        if self.kind.namespaced:
            fields["metadata.namespace"] = metadata["namespace"]
        fields.update(self.strategy.select(obj))
        return Note(metadata.get("labels") or {}, fields)

    def reset_fields(self, subresource: str) -> Set | None:
        """Fields that a write of the object (or a subresource) leaves as they are: nobody comes to own them by it."""
        if subresource:
            part = self.strategy.part(subresource)
            return None if part is None else part.resets
        return _RESET_BY_MAIN if self.strategy.has_status else None

    # ---- errors ----

    def _missing(self, name: str) -> status.StatusError:
        return status.not_found(self.kind.group, self.kind.plural, name)

    def _conflict(self, name: str, why: str = status.MODIFIED) -> status.StatusError:
        return status.conflict(self.kind.group, self.kind.plural, name, why)

    def _invalid(self, name: str, errors: list[status.FieldError]) -> status.StatusError:
        return status.invalid(self.kind.group, self.kind.kind, name, errors)

    # ---- read ----

    async def get(self, namespace: str, name: str) -> Entry:
        """Raises StatusError 404 when it is not there."""
        entry = await self.store.get(self.kind.key(namespace, name))
        if entry is None:
            raise self._missing(name)
        return entry

    async def all(self, namespace: str = "") -> list[Object]:
        """Every object, of one namespace or of all, decoded, by key: for kinds of which there are few."""
        listing = await self.store.list(self.scope(namespace))
        return [self.decode(entry) for entry in listing.entries]

    async def reach(self, revision: int) -> None:
        """Wait for a revision that a client saw elsewhere; StatusError 504 when it does not come soon."""
        try:
            async with asyncio.timeout(_REACH_S):
                await self.store.reach(revision)
        except (TimeoutError, Unavailable):
            raise status.too_large_revision(revision, self.store.revision) from None

    # ---- create ----

    async def create(
        self, obj: Object, namespace: str, change: Change = NO_ADMISSION, *, dry_run: bool = False
    ) -> Item:
        """Store a new object; its name is generated if it has only a prefix."""
        metadata = obj["metadata"]
        if metadata.get("name") or not metadata.get("generateName"):
            return await self._create(obj, namespace, change, dry_run)
        for attempt in range(_GENERATE_ATTEMPTS):
            candidate = shared.plain(obj)
            candidate["metadata"]["name"] = meta.generate_name(metadata["generateName"])
            try:
                return await self._create(candidate, namespace, change, dry_run)
            except status.StatusError as error:
                if error.reason != "AlreadyExists":
                    raise
                if attempt == _GENERATE_ATTEMPTS - 1:
                    name = candidate["metadata"]["name"]
                    raise status.generated_name_taken(self.kind.group, self.kind.plural, name) from None
        raise AssertionError("unreachable")

    async def _create(self, obj: Object, namespace: str, change: Change, dry_run: bool) -> Item:
        obj = self.stored_of(obj)
        self._begin(obj)
        if change.admit is not None:
            await change.admit(obj, None)
        await aside.run(0 if self.kind.custom else change.size, self._check_new, obj)  # rules of others stay here
        if change.validate is not None:
            await change.validate(obj, None)
        name = obj["metadata"]["name"]
        key = self.kind.key(namespace, name)
        if dry_run:
            current = await self.store.get(key, pending=True)
            if current is not None:
                raise self._exists(name, current)
            return Item(object=obj, created=True)
        try:
            entry = await self._put(key, obj, ABSENT)
        except Mismatch as mismatch:
            raise self._exists(name, mismatch.current) from None
        return Item(entry=entry, created=True)

    def _begin(self, obj: Object) -> None:
        """What the server itself writes into a new object."""
        metadata = obj["metadata"]
        meta.fill_system_fields(metadata, meta.timestamp(self.now()))
        metadata.pop("generation", None)
        if self.strategy.has_generation:
            metadata["generation"] = 1
        if self.strategy.has_status and not self.strategy.created_with_status:
            obj.pop("status", None)
            if not self.kind.custom:
                obj.update(orjson.loads(_new_status(self.kind.kind, self.kind.storage_version)))
        self.strategy.prepare_create(obj)

    def _check_new(self, obj: Object) -> None:
        metadata = obj["metadata"]
        errors = meta.validate(metadata, namespaced=self.kind.namespaced, name_rule=self.strategy.name_rule)
        errors += self._check_finalizers(metadata)
        errors += self.strategy.validate(obj)
        if errors:
            raise self._invalid(metadata.get("name", ""), errors)

    def _check_finalizers(self, metadata: Object) -> list[status.FieldError]:
        if not metadata.get("finalizers") or self.kind.custom or self.kind.group in _ANY_FINALIZER:
            return []
        return meta.standard_finalizers(metadata)

    def _exists(self, name: str, current: Entry | None) -> status.StatusError:
        error = status.already_exists(self.kind.group, self.kind.plural, name)
        if current is not None and self._stored(current)["metadata"].get("deletionTimestamp"):
            error.message = f"object is being deleted: {error.message}"
        return error

    async def _put(self, key: str, obj: Object, expect: int) -> Entry:
        with _WRITING:
            return await self.store.put(
                key, self.encode(obj), expect=expect, note=self._note(obj), ttl=self.strategy.ttl
            )

    # ---- update ----

    async def update(
        self,
        namespace: str,
        name: str,
        renew: Callable[[Object], Object],
        change: Change = NO_ADMISSION,
        *,
        make: Callable[[], Object] | None = None,
        subresource: str = "",
        dry_run: bool = False,
    ) -> Item:
        """Replace an object by what ``renew`` makes of the live one; without one, ``make`` makes it, or it is a 404.

        ``renew`` returns the live object, changed in place, or makes another of it, which may share parts with it. If
        somebody else writes in between, both are asked again; what names the revision that was there is then a 409.
        """
        key = self.kind.key(namespace, name)
        for _ in range(_UPDATE_ATTEMPTS):
            entry = await self.store.get(key, pending=True)
            if entry is None:
                if make is None:
                    raise self._missing(name)
                try:
                    return await self._create(make(), namespace, change, dry_run)
                except status.StatusError as error:
                    if error.reason != "AlreadyExists":
                        raise
                    continue  # it appeared in between
            item = await self._update_once(key, entry, renew, change, subresource, dry_run)
            if item is not None:
                return item
        raise self._conflict(name)

    async def _update_once(
        self,
        key: str,
        entry: Entry,
        renew: Callable[[Object], Object],
        change: Change,
        subresource: str,
        dry_run: bool,
    ) -> Item | None:
        """None: somebody else was quicker; look again."""
        old = self._stored(entry)
        live = old if self.conversion is None else self.decode(entry)
        renewed = renew(live)
        if renewed is old:
            old = self._stored(entry)
        new = self.stored_of(renewed)
        self._check_revision(new, old)
        self._prepare_update(new, old, subresource)
        if change.admit is not None:
            await change.admit(new, old)
        self._check_update(new, old, subresource)
        if change.validate is not None:
            await change.validate(new, old)
        held = self.strategy.holds is not None and self.strategy.holds(new)
        if _finished(new, old) and not held:
            return await self._finish(key, entry, new, dry_run)
        if new == old or _differs_in_times_only(new, old):
            return Item(entry=await self._visible(entry))
        if dry_run:
            return Item(object=new)
        try:
            return Item(entry=await self._put(key, new, entry.revision))
        except Mismatch:
            return None

    async def _visible(self, entry: Entry) -> Entry:
        """The entry once readers see it too: it may be another writer's, still on its way to the disk."""
        with _WRITING:
            await self.store.reach(entry.revision)
        return entry

    def _check_revision(self, new: Object, old: Object) -> None:
        """Compare revisions; after it, both are the same. A patch that names none has that of the live object."""
        given, current = new["metadata"].get("resourceVersion"), old["metadata"]["resourceVersion"]
        uid = new["metadata"].get("uid")
        name = old["metadata"]["name"]
        if uid and uid != old["metadata"]["uid"]:
            raise self._conflict(name, status.other_uid(uid, old["metadata"]["uid"]))
        if not given or given == "0":
            if not self.strategy.unconditional_update:
                wrong = status.invalid_value("metadata.resourceVersion", 0, "must be specified for an update")
                raise status.invalid(self.kind.group, self.kind.plural, name, [wrong])
            new["metadata"]["resourceVersion"] = current
            return
        if given != current:
            if not given.isdigit():
                raise status.bad_request(f'strconv.ParseUint: parsing "{given}": invalid syntax')
            raise self._conflict(name)

    def _prepare_update(self, new: Object, old: Object, subresource: str) -> None:
        new_meta, old_meta = new["metadata"], old["metadata"]
        new_meta["generation"] = old_meta.get("generation", 0)
        part = self.strategy.part(subresource)
        if part is not None:
            part.prepare(new, old)
        elif not subresource:
            if self.strategy.has_status:
                carry(new, old, "status")
            self.strategy.prepare_update(new, old)
        if self.strategy.has_generation and self.strategy.is_changed(new, old):
            new_meta["generation"] += 1
        if not new_meta["generation"]:
            del new_meta["generation"]
        new_meta["uid"] = new_meta.get("uid") or old_meta["uid"]
        for name in ("creationTimestamp", "deletionTimestamp"):
            if name in old_meta:
                new_meta[name] = old_meta[name]
        if "deletionGracePeriodSeconds" in old_meta:
            new_meta.setdefault("deletionGracePeriodSeconds", old_meta["deletionGracePeriodSeconds"])

    def _check_update(self, new: Object, old: Object, subresource: str) -> None:
        errors = meta.validate_update(
            new["metadata"], old["metadata"], namespaced=self.kind.namespaced, name_rule=names.path_segment
        )
        errors += self._check_finalizers(new["metadata"])
        part = self.strategy.part(subresource)
        if part is not None:
            errors += part.validate(new, old)
        elif not subresource:
            errors += self.strategy.validate_update(new, old)
        if errors:
            raise self._invalid(new["metadata"].get("name", ""), errors)

    async def _finish(self, key: str, entry: Entry, new: Object, dry_run: bool) -> Item | None:
        """The last finalizer of an object that is to go was removed: it goes."""
        return Item(object=new) if dry_run or await self._erase(key, entry.revision) else None

    # ---- delete ----

    async def _erase(self, key: str, expect: int) -> bool:
        """False: somebody else wrote in between."""
        with _WRITING:
            try:
                await self.store.delete(key, expect=expect)
            except Mismatch:
                return False
        return True

    async def delete(
        self,
        namespace: str,
        name: str,
        options: DeleteOptions,
        validate: Callable[[Object], Awaitable[None]] | None = None,
    ) -> tuple[Item, bool]:
        """Delete, or begin to: the object as it was last, and whether it is gone."""
        key = self.kind.key(namespace, name)
        for _ in range(_UPDATE_ATTEMPTS):
            entry = await self.store.get(key, pending=True)
            if entry is None:
                raise self._missing(name)
            obj = self._stored(entry)
            self.check_preconditions(obj, options)
            if validate is not None:
                await validate(obj)
            found = await self._delete_once(key, entry, obj, options)
            if found is not None:
                return found
        raise self._conflict(name)

    def check_preconditions(self, obj: Object, options: DeleteOptions) -> None:
        """Raises StatusError 409: the object is not the one that the deleter means."""
        metadata = obj["metadata"]
        name = metadata["name"]
        if options.uid is not None and options.uid != metadata["uid"]:
            why = (
                f"the UID in the precondition ({options.uid}) does not match the UID in record ({metadata['uid']}). "
                "The object might have been deleted and then recreated"
            )
            raise status.conflict(self.kind.group, self.kind.kind, name, why)
        if options.revision is not None and options.revision != metadata["resourceVersion"]:
            why = (
                f"the ResourceVersion in the precondition ({options.revision}) does not match the ResourceVersion in "
                f"record ({metadata['resourceVersion']}). The object might have been modified"
            )
            raise status.conflict(self.kind.group, self.kind.kind, name, why)

    async def _delete_once(
        self, key: str, entry: Entry, obj: Object, options: DeleteOptions
    ) -> tuple[Item, bool] | None:
        """None: somebody else wrote in between; look again."""
        metadata = obj["metadata"]
        before = dict(metadata)  # a delete changes nothing else, and no value in place
        if self.strategy.holds is not None and self.strategy.holds(obj):
            return await self._hold(key, entry, obj, options)
        graceful = self._begin_grace(obj, options)
        if graceful is None:
            return Item(entry, obj), False
        finalizers = self._deletion_finalizers(metadata, options)
        if finalizers:
            metadata["finalizers"] = finalizers
        else:
            metadata.pop("finalizers", None)
        if finalizers and not graceful:
            self._mark(metadata)
        differs = metadata != before
        if differs and (finalizers or graceful) and not options.dry_run:
            try:
                entry = await self._put(key, obj, entry.revision)
            except Mismatch:
                return None
            differs = False
        found = Item(None if differs else entry, obj)
        if finalizers or (graceful and metadata["deletionGracePeriodSeconds"]):
            return found, False
        return (found, True) if options.dry_run or await self._erase(key, entry.revision) else None

    async def _hold(self, key: str, entry: Entry, obj: Object, options: DeleteOptions) -> tuple[Item, bool] | None:
        """Begin the end of an object that something of its own keeps (the content of a namespace)."""
        metadata = obj["metadata"]
        if metadata.get("deletionTimestamp"):
            return Item(entry, obj), False
        metadata["deletionTimestamp"] = meta.timestamp(self.now())
        if finalizers := self._deletion_finalizers(metadata, options):
            metadata["finalizers"] = finalizers
        if self.strategy.ending is not None:
            self.strategy.ending(obj)
        if options.dry_run:
            return Item(object=obj), False
        try:
            return Item(await self._put(key, obj, entry.revision), obj), False
        except Mismatch:
            return None

    def _begin_grace(self, obj: Object, options: DeleteOptions) -> bool | None:
        """Give a kind that knows grace its time to end; whether it has some, None if it ends already and stays so."""
        if self.strategy.grace is None:
            return False
        metadata = obj["metadata"]
        left = metadata.get("deletionGracePeriodSeconds")
        if metadata.get("deletionTimestamp"):
            if not left:
                return False
            if options.grace is None or options.grace >= left:
                return None
            self._shorten(metadata, left, options.grace)
            return True
        grace = self.strategy.grace(obj, options.grace)
        metadata["deletionTimestamp"] = meta.timestamp(self.now() + datetime.timedelta(seconds=grace))
        metadata["deletionGracePeriodSeconds"] = grace
        if metadata.get("generation"):
            metadata["generation"] += 1
        return True

    def _shorten(self, metadata: Object, left: int, grace: int) -> None:
        """A second delete may only shorten; the end never moves into the past."""
        ends = meta.parse_time(metadata["deletionTimestamp"]) + datetime.timedelta(seconds=grace - left)
        if ends < self.now():
            ends = self.now()
            grace = min(grace, 1)
        metadata["deletionTimestamp"] = meta.timestamp(ends)
        metadata["deletionGracePeriodSeconds"] = grace

    def _mark(self, metadata: Object) -> None:
        """Write into an object without grace that it goes as soon as its finalizers are done."""
        if "deletionTimestamp" not in metadata and metadata.get("generation"):
            metadata["generation"] += 1
        now = self.now()
        before = metadata.get("deletionTimestamp")
        if before is None or meta.parse_time(before) > now:
            metadata["deletionTimestamp"] = meta.timestamp(now)
        metadata["deletionGracePeriodSeconds"] = 0

    def _deletion_finalizers(self, metadata: Object, options: DeleteOptions) -> list[str]:
        """The finalizers with those for dependents added or removed, as the deleter or the kind wants."""
        current: list[str] = list(metadata.get("finalizers") or ())
        if not self.strategy.collectable:
            return current
        policy = options.propagation
        if options.orphan is not None:
            policy = "Orphan" if options.orphan else "Background"
        if not policy:
            if meta.ORPHAN in current:
                policy = "Orphan"
            elif meta.FOREGROUND in current:
                policy = "Foreground"
            else:
                policy = "Orphan" if self.strategy.orphan_by_default else "Background"
        kept = [name for name in current if name not in (meta.ORPHAN, meta.FOREGROUND)]
        if policy == "Orphan":
            kept.append(meta.ORPHAN)
        if policy == "Foreground":
            kept.append(meta.FOREGROUND)
        return current if set(kept) == set(current) else kept


def _finished(new: Object, old: Object) -> bool:
    """Whether an update takes the last thing away that kept a deleted object."""
    metadata = old["metadata"]
    if new["metadata"].get("finalizers") or not metadata.get("deletionTimestamp"):
        return False
    return not metadata.get("deletionGracePeriodSeconds")


def _differs_in_times_only(new: Object, old: Object) -> bool:
    """Whether managed fields were only stamped anew: that is no change."""
    plain = [{**obj, "metadata": {**obj["metadata"], "managedFields": None}} for obj in (new, old)]
    return plain[0] == plain[1] and managed.without_times(new) == managed.without_times(old)
