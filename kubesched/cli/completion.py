# SPDX-License-Identifier: Apache-2.0
"""``kubesched completion``."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


@click.command("completion")
@click.argument("shell", type=click.Choice(("bash", "zsh", "fish")))
@click.pass_context
def command(ctx: click.Context, shell: str) -> int:
    """Print the completion script of a shell.

    \b
      source <(kubesched completion bash)
    """
    kind = get_completion_class(shell)
    assert kind is not None  # the choice above are the shells that click knows
    click.echo(kind(ctx.find_root().command, {}, "kubesched", "_KUBESCHED_COMPLETE").source())
    return 0
