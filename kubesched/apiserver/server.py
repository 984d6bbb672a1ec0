# SPDX-License-Identifier: Apache-2.0
"""A whole API server: store, application, authentication and front, put together, started and stopped.

Stopping is graceful: /readyz fails first, then no new connections, then watches end and requests finish, then the store
is closed. A store that cannot write any more ends the server (`Server.failure`).
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from kubesched.api.kinds import Registry, built_in
from kubesched.apiserver import bootstrap, issuer
from kubesched.apiserver.accounts import ServiceAccounts
from kubesched.apiserver.app import App, system_now
from kubesched.apiserver.authentication import Authentication
from kubesched.apiserver.certificates import Authority, write_private
from kubesched.apiserver.connection import Limits
from kubesched.apiserver.front import Front
from kubesched.apiserver.tokens import Tokens
from kubesched.base import errors
from kubesched.store import Store, Unavailable

STORES = ("sqlite", "memory")
_COMPACT_S = 300.0  # upstream's: so long can a list be continued, a watch resumed


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """What a server is started with.

    ``names`` and ``addresses``: what it is called beside localhost and the service ``kubernetes``. ``ready_delay_s``:
    how long it goes on serving after /readyz began to fail, for balancers that have to notice.
    """

    data: Path
    store: str = "sqlite"
    host: str = "127.0.0.1"
    port: int = 0
    names: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    admin_token: str = ""
    ready_delay_s: float = 0.0
    drain_s: float = 60.0
    limits: Limits = Limits()  # noqa: RUF009  immutable


class Server:
    """A running API server; `running` starts one and stops it."""

    def __init__(self, config: ServerConfig, authority: Authority, app: App, front: Front, port: int) -> None:
        self.config = config
        self.authority = authority
        self.app = app
        self._front = front
        host = f"[{config.host}]" if ":" in config.host else config.host
        self.url = f"https://{host}:{port}"
        self.failure: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def kubeconfig(self) -> bytes:
        """The administrator's."""
        return self.authority.kubeconfig(self.url)

    def write_kubeconfig(self, path: Path) -> None:
        """Write it, readable by its owner alone."""
        try:
            write_private(path, self.kubeconfig())
        except OSError as error:
            raise errors.StorageError(str(path), f"cannot be written: {error.strerror}") from error

    async def drain(self) -> None:
        """Stop serving, gracefully."""
        self.app.ready = False
        await asyncio.sleep(self.config.ready_delay_s)
        await self._front.drain(self.app.close, self.config.drain_s)


@asynccontextmanager
async def running(config: ServerConfig) -> AsyncIterator[Server]:
    """Start a server; it is stopped when the block is left.

    Raises
    ------
    StorageError
        The data folder cannot be used, or its store is damaged, or the address is taken.
    """
    _make_private(config.data)
    authority = Authority.open(config.data / "pki")
    failed: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    store = await _open_store(config, failed)
    compaction = asyncio.get_running_loop().create_task(_compact_regularly(store), name="compaction")
    try:
        server = await _start(config, authority, store)
        server.failure = failed
        try:
            yield server
        finally:
            await server.drain()
    finally:
        compaction.cancel()
        await store.close()


def _endpoint(host: str) -> str:
    """The address in the endpoints of the Service ``kubernetes``: one that can be connected to."""
    try:
        address = ipaddress.IPv4Address(host)
    except ValueError:
        return "127.0.0.1"
    return "127.0.0.1" if address.is_unspecified else host


def _make_private(folder: Path) -> None:
    """Make the folder, for its owner alone; one that is there is its owner's business."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise errors.StorageError(str(folder), f"cannot be made: {error.strerror}") from error


async def _open_store(config: ServerConfig, failed: asyncio.Future[str]) -> Store:
    if config.store == "memory":
        from kubesched.store.memory import MemoryStore

        return MemoryStore()
    from kubesched.store.sqlite import SQLiteStore

    def fail(reason: str) -> None:
        if not failed.done():
            failed.set_result(reason)

    return await SQLiteStore.open(config.data / "store.db", on_failure=fail)


async def _start(config: ServerConfig, authority: Authority, store: Store) -> Server:
    kinds = Registry(built_in())
    tokens = Tokens(authority.signing_key())
    accounts = ServiceAccounts(tokens, store, kinds, system_now)
    app = App(store, kinds, accounts=accounts)
    authentication = Authentication(
        tokens,
        admin_token=config.admin_token,
        alive=accounts.alive,
        bootstrap=app.bootstrap_tokens.authenticate,
        issued=authority.issued,
    )
    tls = authority.server_context(config.names, config.addresses)
    front = Front(app, authentication, tls=tls, limits=config.limits)
    try:
        port = await front.listen(config.host, config.port)
    except OSError as error:
        where = f"{config.host}:{config.port}"
        raise errors.StorageError(where, f"cannot be listened on: {error.strerror or error}") from error
    address = _endpoint(config.host)
    app.published = issuer.documents(tokens.issuer, tokens.jwks(), f"https://{address}:{port}")
    await app.start()
    await bootstrap.prepare(app, address, port)
    await bootstrap.grant(app)
    return Server(config, authority, app, front, port)


async def _compact_regularly(store: Store) -> None:
    """Forget what is older than one interval: continued lists and resumed watches have at least that long."""
    revision = store.revision
    while True:
        await asyncio.sleep(_COMPACT_S)
        with contextlib.suppress(Unavailable):
            await store.compact(revision)
        revision = store.revision
