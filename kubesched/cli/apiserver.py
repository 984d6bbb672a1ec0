# SPDX-License-Identifier: Apache-2.0
"""``kubesched apiserver``."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
from pathlib import Path

import click

from kubesched.base import errors

_SWITCH_S = 0.001
"""How long the event loop may keep the store's thread from acknowledging a commit; Python's own 5 ms would be most of
the time of a write on a quick disk."""
_COLLECT_AFTER = 50_000
"""New objects between two collections. Requests leave few cycles, and a collection looks at all that is under way: 64
writes of pods hold more than 10,000 objects."""


@click.command("apiserver")
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Where certificates and objects are kept; made if missing.",
)
@click.option(
    "--kubeconfig-out", type=click.Path(path_type=Path, dir_okay=False), help="Write the administrator's here."
)
@click.option(
    "--store",
    type=click.Choice(["sqlite", "memory"]),
    default="sqlite",
    show_default=True,
    help="memory forgets all when it ends.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    default=6_443,
    show_default=True,
    help="Port to listen on; 0: one that is free.",
)
@click.option("--name", "names", multiple=True, help="Another DNS name of the server, for its certificate.")
@click.option("--address", "addresses", multiple=True, help="Another IP address of the server, for its certificate.")
@click.option(
    "--admin-token-file",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="File with a bearer token that may do everything; only its owner may read it.",
)
@click.option(
    "--shutdown-delay",
    type=click.FloatRange(min=0),
    default=0.0,
    show_default=True,
    help="Seconds between /readyz failing and the end of serving.",
)
def command(
    data_dir: Path,
    kubeconfig_out: Path | None,
    store: str,
    host: str,
    port: int,
    names: tuple[str, ...],
    addresses: tuple[str, ...],
    admin_token_file: Path | None,
    shutdown_delay: float,
) -> int:
    """Serve the Kubernetes API.

    Prints its address when it is ready. Ends on SIGTERM or SIGINT, after requests that are under way.

    \b
      kubesched apiserver --data-dir data --kubeconfig-out admin.conf
      kubectl --kubeconfig admin.conf get namespaces

    Exit code 3 if the data cannot be read or written.
    """
    import uvloop

    from kubesched.apiserver.server import ServerConfig

    os.umask(0o077)
    token = _token(admin_token_file) if admin_token_file else ""
    config = ServerConfig(data_dir, store, host, port, names, addresses, token, shutdown_delay)
    uvloop.run(_serve(config, kubeconfig_out))
    return 0


async def _serve(config: object, kubeconfig: Path | None) -> None:
    from kubesched.apiserver.server import ServerConfig, running

    assert isinstance(config, ServerConfig)
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with running(config) as server:
        _tune()
        if kubeconfig is not None:
            server.write_kubeconfig(kubeconfig)
        click.echo(server.url)
        server.failure.add_done_callback(lambda _: stop.set())
        await stop.wait()
        click.echo("apiserver: stopping", err=True)
    if server.failure.done():
        raise errors.StorageError(str(config.data), server.failure.result())


def _tune() -> None:
    """Set what holds for the whole process, which is why it is not the server's to set."""
    sys.setswitchinterval(_SWITCH_S)
    gc.collect()
    gc.freeze()  # what was loaded stays: no collection needs to look at it again
    gc.set_threshold(_COLLECT_AFTER, 20, 100)


def _token(path: Path) -> str:
    try:
        if path.stat().st_mode & 0o077:
            raise errors.InputError(str(path), "may be read by others", expected="mode 0600")
        token = path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise errors.StorageError(str(path), f"cannot be read: {error.strerror}") from error
    if not token or not token.isprintable() or " " in token:
        raise errors.InputError(str(path), "holds no token", expected="one line without spaces")
    return token
