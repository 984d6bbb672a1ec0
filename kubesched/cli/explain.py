# SPDX-License-Identifier: Apache-2.0
"""``kubesched explain``."""

from __future__ import annotations

from pathlib import Path

import click

from kubesched.cli import inputs, output


@click.command("explain")
@inputs.manifest_options
@inputs.profile_option
@click.argument("pod")
@output.format_option
def command(paths: tuple[Path, ...], ignore: tuple[str, ...], profile: str, pod: str, output: str) -> int:
    """Say, for every node, why it can or cannot take POD, and how the feasible ones score.

    POD is a pod of the manifests that does not run yet: NAME or NAMESPACE/NAME. The table is a summary; the other
    formats have one row a node: the first failing filter with its reason, or every plugin's normalised score.

    \b
      kubesched explain -f cluster.json -f app.yaml default/web-0
      kubesched explain -f cluster.json -f app.yaml web-0 -o csv

    Exit code 1 if no node can take it.
    """
    explanation = inputs.load(paths, ignore).explain(pod, profile=profile)
    rows = explanation.to_rows()
    whole = {
        "pod": explanation.pod,
        "profile": explanation.profile,
        "message": explanation.message,
        "best": explanation.best,
        "histogram": explanation.diagnosis.histogram(),
        "nodes": rows,
    }
    _output.write(rows, output, str(explanation), whole)
    return 0 if explanation.best and not explanation.gate_reason else 1


_output = output  # the option's name hides the module inside the command
