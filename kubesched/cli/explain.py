# SPDX-License-Identifier: Apache-2.0
"""``kubesched explain``."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from kubesched.cli import inputs, output
from kubesched.framework.diagnosis import Summary


@click.command("explain")
@inputs.manifest_options
@inputs.profile_option
@click.argument("pod")
@click.option("--summary", is_flag=True, help="Numbers only: nodes by reason, feasible, best. For very large clusters.")
@click.option("--annotations", is_flag=True, help="JSON of the annotations that kube-scheduler-simulator writes.")
@output.format_option
def command(
    paths: tuple[Path, ...],
    ignore: tuple[str, ...],
    profile: str | None,
    config: Path | None,
    pod: str,
    summary: bool,
    annotations: bool,
    output: str,
) -> int:
    """Say, for every node, why it can or cannot take POD, and how the feasible ones score.

    POD is a pod of the manifests that does not run yet: NAME or NAMESPACE/NAME. The table is a summary; the other
    formats have one row a node: the first failing filter with its reason, or every plugin's normalised score.

    \b
      kubesched explain -f cluster.json -f app.yaml default/web-0
      kubesched explain -f cluster.json -f app.yaml web-0 -o csv

    Exit code 1 if no node can take it.
    """
    decides = inputs.decides(profile, config)
    cluster = inputs.load(paths, ignore)
    if summary:
        return _write_summary(cluster.summarize(pod, profile=decides), output)
    explanation = cluster.explain(pod, profile=decides)
    if annotations:
        click.echo(json.dumps(explanation.to_annotations(), indent=2))
        return 0 if explanation.best and not explanation.gate_reason else 1
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


def _write_summary(found: Summary, output: str) -> int:
    counts = sorted(found.histogram.items(), key=lambda x: (-x[1], x[0]))
    rows = [{"nodes": found.feasible, "reason": ""}, *({"nodes": n, "reason": reason} for reason, n in counts)]
    lines = [f"Feasible:  {found.feasible} of {found.n_nodes} nodes"]
    if found.feasible:
        lines.append(f"Best:      {found.n_best} node(s) with total {found.best_score}")
    if found.message:
        lines.append(f"Message:   {found.message}")
    if counts:
        lines += ["Rejected:", *(f"  {n:>7}  {reason}" for reason, n in counts)]
    _output.write(rows, output, "\n".join(lines), asdict(found))
    return 0 if found.feasible else 1


_output = output  # the option's name hides the module inside the command
