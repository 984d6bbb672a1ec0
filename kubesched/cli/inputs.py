# SPDX-License-Identifier: Apache-2.0
"""Options that several commands share: manifests, profile, features to leave out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from kubesched.placement.cluster import Cluster
from kubesched.scheduler import encode


def manifest_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """``-f FILE...`` and ``--ignore FEATURE``."""
    ignore = click.option(
        "--ignore",
        multiple=True,
        type=click.Choice(list(encode.FEATURES)),
        metavar="FEATURE",
        help="Decide without a feature that is not implemented yet: " + ", ".join(encode.FEATURES) + ". Repeatable.",
    )
    file = click.option(
        "-f",
        "--file",
        "paths",
        multiple=True,
        required=True,
        type=click.Path(path_type=Path),
        help="YAML or JSON manifest, or a folder of them. Repeatable.",
    )
    return file(ignore(command))


def profile_option(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option("--profile", default="default-v1.36", show_default=True, help="What decides.")(command)


def load(paths: tuple[Path, ...], ignore: tuple[str, ...]) -> Cluster:
    """Build the cluster; says on standard error which features were left out."""
    cluster = Cluster.from_manifests(*paths, ignore=ignore)
    for feature, count in cluster.left_out.items():
        click.echo(f"kubesched: note: decided without {encode.FEATURES[feature]} ({count} pods)", err=True)
    return cluster
