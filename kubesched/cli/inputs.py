# SPDX-License-Identifier: Apache-2.0
"""Options that several commands share: manifests, profile, driver, features to leave out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kubesched.framework import profile as profiles
from kubesched.scheduler import encode

if TYPE_CHECKING:
    from kubesched.placement.cluster import Cluster


def manifest_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """``-f FILE...`` and ``--ignore FEATURE``."""
    ignore = click.option(
        "--ignore",
        multiple=True,
        type=click.Choice(list(encode.FEATURES)),
        metavar="FEATURE",
        help="Decide without a feature: " + ", ".join(encode.FEATURES) + ". Repeatable.",
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
    return click.option("--profile", default=profiles.DEFAULT, show_default=True, help="What decides.")(command)


def driver_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """The option ``--driver``."""
    return click.option(
        "--driver",
        type=click.Choice(("auto", "dense", "indexed")),
        default="auto",
        help="The same answer at another speed.",
    )(command)


def load(paths: tuple[Path, ...], ignore: tuple[str, ...]) -> Cluster:
    """Build the cluster; says on standard error which features were left out."""
    from kubesched.placement.cluster import Cluster

    cluster = Cluster.from_manifests(*paths, ignore=ignore)
    for feature, count in cluster.left_out.items():
        click.echo(f"kubesched: note: decided without {encode.FEATURES[feature]} ({count} pods)", err=True)
    return cluster
