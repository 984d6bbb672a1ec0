# SPDX-License-Identifier: Apache-2.0
"""Entry point. Commands are imported when they are called, so that ``--help`` costs no more than click."""

from __future__ import annotations

import os
import sys
from importlib import import_module

import click

from kubesched import __version__
from kubesched.base import errors

_COMMANDS: dict[str, tuple[str, str]] = {
    "place": ("place", "Place the pods of manifests on their nodes."),
    "explain": ("explain", "Say why each node can or cannot take a pod."),
    "config": ("config", "Read and check kube-scheduler configuration files."),
    "replay": ("replay", "Replay a trace under placement policies."),
    "bench": ("bench", "Measure the engine against plain NumPy."),
    "parity": ("parity", "Replay recorded kube-scheduler decisions and compare."),
    "apiserver": ("apiserver", "Serve the Kubernetes API."),
    "completion": ("completion", "Print the shell's completion script."),
}
"""Command to its module and its line in --help; the module's docstring says more."""

_EXTRA_PACKAGES = {"pyarrow", "matplotlib"}
"""Packages of the ``lab`` extra, which a plain install leaves out."""


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module = import_module(f"kubesched.cli.{_COMMANDS[cmd_name][0]}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in _COMMANDS.items()])


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="kubesched")
@click.option("--debug", is_flag=True, help="Show a traceback on errors.")
@click.pass_context
def cli(ctx: click.Context, debug: bool) -> None:
    """Exact, fast Kubernetes placement: place, explain, replay, measure.

    \b
      kubesched place -f cluster.yaml -f app.yaml      where would these pods go?
      kubesched explain -f cluster.yaml default/web-0  why not there?
      kubesched replay openb --policy all --out out    a production GPU trace under six policies

    Data goes to standard output, progress to standard error. Exit codes: 0 ok, 1 the answer is no (does not fit,
    differs), 2 wrong usage or input, 3 input/output, 4 time limit, 130 interrupted.
    """
    ctx.obj = {"debug": debug}


def main() -> None:
    """Run the command line and exit with its code."""
    debug = "--debug" in sys.argv
    code: object = 0
    try:
        code = cli.main(standalone_mode=False, prog_name="kubesched")
        sys.stdout.flush()
    except click.exceptions.Abort:
        _fail("interrupted", 130)
    except KeyboardInterrupt:
        _fail("interrupted", 130)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader left: nothing to say
        sys.exit(0)
    except errors.KubeschedError as error:
        if debug:
            raise
        _fail(str(error), error.exit_code)
    except ModuleNotFoundError as error:
        package = str(error.name).partition(".")[0]
        if debug or package not in _EXTRA_PACKAGES:
            raise
        _fail(f"needs {package}, which is not installed: pip install 'kubesched[lab]'", 2)
    except MemoryError as error:
        _fail(f"out of memory ({error})", 3)
    sys.exit(code if isinstance(code, int) else 0)


def _fail(text: str, code: int) -> None:
    line = " ".join(text.split())  # one line, whatever a library put in
    click.echo(f"kubesched: error: {line}", err=True)
    sys.exit(code)
