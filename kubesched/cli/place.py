# SPDX-License-Identifier: Apache-2.0
"""``kubesched place``."""

from __future__ import annotations

from pathlib import Path

import click

from kubesched.cli import inputs, output


@click.command("place")
@inputs.manifest_options
@inputs.profile_option
@click.option(
    "--seed", type=click.IntRange(min=0), help="Draw ties uniformly from this seed; default: the lowest node index."
)
@click.option("--evict", is_flag=True, help="A pod that fits nowhere takes the place of pods of lower priority.")
@inputs.driver_option
@output.format_option
def command(
    paths: tuple[Path, ...],
    ignore: tuple[str, ...],
    profile: str | None,
    config: Path | None,
    seed: int | None,
    evict: bool,
    driver: str,
    output: str,
) -> int:
    """Place the pods of manifests that do not run yet, one after another, on the nodes of the manifests.

    Workloads (Deployment, StatefulSet, Job ...) stand for their pods. Nothing is sent to any cluster.

    \b
      kubectl get nodes,pods -A -o json > cluster.json
      kubesched place -f cluster.json -f app.yaml
      kubesched place -f cluster.json -f app.yaml -o json | jq '.[] | select(.status != "Placed")'

    Exit code 1 if a pod does not fit.
    """
    decides = inputs.decides(profile, config)
    cluster = inputs.load(paths, ignore)
    plan = cluster.place(profile=decides, seed=seed, driver=driver, evict=evict)
    rows = plan.to_rows()
    shown = [{k: row[k] for k in ("pod", "node", "score", "status", "reason")} for row in rows]
    summary = f"{plan.n_placed} of {len(plan)} pods placed on {cluster.n_nodes} nodes ({plan.profile})"
    for pod, victims in plan.victims.items():
        summary += f"\n{pod} evicts {', '.join(victims)}"
    _output.write(rows, output, f"{_output.columns(shown)}\n\n{summary}" if rows else "No pods to place.")
    return 0 if plan.is_complete else 1


_output = output  # the option's name hides the module inside the command
