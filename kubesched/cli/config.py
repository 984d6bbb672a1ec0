# SPDX-License-Identifier: Apache-2.0
"""``kubesched config``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from kubesched.cli import output as outputs
from kubesched.scheduler.config import configuration, schema

_FILE = click.argument("file", type=click.Path(path_type=Path))


def _format(*formats: str) -> Callable[[Callable[..., int]], Callable[..., int]]:
    return click.option(
        "-o",
        "--output",
        type=click.Choice(formats),
        default=formats[0],
        show_default=True,
        help="Format of the answer on standard output.",
    )


@click.group("config")
def command() -> None:
    """Work with KubeSchedulerConfiguration files, kube-scheduler's own, unchanged.

    \b
      kubesched config default > scheduler.yaml          what runs without a file, every default written out
      kubesched config validate scheduler.yaml           every mistake, each with its field
      kubesched config show scheduler.yaml               which plugins decide, in which order
      kubesched place --config scheduler.yaml -f cluster.json -f app.yaml

    A file lists only what differs from the defaults. This one packs nodes instead of spreading load:

    \b
      apiVersion: kubescheduler.config.k8s.io/v1
      kind: KubeSchedulerConfiguration
      percentageOfNodesToScore: 100
      profiles:
      - pluginConfig:
        - name: NodeResourcesFit
          args:
            scoringStrategy: {type: MostAllocated}

    docs/reference/configuration.md explains every field.
    """


@command.command("default")
@_format("yaml", "json")
def default(output: str) -> int:
    """Print the configuration that kube-scheduler runs with when it is given none.

    Every default is written out, so the file is a place to start from: delete what you do not change.
    """
    outputs.write([], output, whole=configuration.default().document)
    return 0


@command.command("validate")
@_FILE
@_format("table", "yaml", "json")
def validate(file: Path, output: str) -> int:
    """Say everything that is wrong with FILE: one line a mistake, with the path of its field.

    Unknown fields and plugins come with the nearest known name. What kube-scheduler takes and kubesched does not
    implement is listed, too, as "is not implemented".

    Exit code 1 if there is anything to say.
    """
    found = configuration.problems_of(configuration.read(file))
    rows = [{"field": p.path, "problem": p.text, "unsupported": p.is_unsupported} for p in found]
    text = "\n".join(str(problem) for problem in found) or f"{file}: valid"
    outputs.write(rows, output, text)
    return 1 if found else 0


@command.command("show")
@_FILE
@click.option("--document", is_flag=True, help="The whole file with every default written out, instead.")
@_format("table", "yaml", "json")
def show(file: Path, document: bool, output: str) -> int:
    """Show what FILE makes kubesched do: for each profile the plugins of each extension point, in order.

    Pods choose a profile with spec.schedulerName. Weights stand behind the plugins that score.
    """
    read = configuration.load(file)
    if document:
        outputs.write([], "yaml" if output == "table" else output, whole=read.document)
        return 0
    whole = [
        {
            "schedulerName": profile.scheduler_name,
            "percentageOfNodesToScore": profile.percentage,
            "plugins": {point: _plugins(profile, point) for point in schema.POINTS if profile.points[point]},
            "args": profile.args,
        }
        for profile in read.profiles
    ]
    outputs.write([], output, "\n\n".join(map(_text, read.profiles)), whole)
    return 0


def _plugins(profile: configuration.ProfileConfig, point: str) -> list[dict[str, Any]]:
    return [{"name": name} | ({"weight": weight} if weight else {}) for name, weight in profile.points[point]]


def _text(profile: configuration.ProfileConfig) -> str:
    lines = [f"Profile:  {profile.scheduler_name}  (percentageOfNodesToScore {profile.percentage or 'adaptive'})"]
    for point in schema.POINTS:
        listed = [f"{name}*{weight}" if weight else name for name, weight in profile.points[point]]
        if listed:
            lines.append(f"{point:<18} {', '.join(listed)}")
    return "\n".join(lines)
