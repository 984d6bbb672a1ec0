# SPDX-License-Identifier: Apache-2.0
"""Options that several commands share: manifests, profile, driver, features to leave out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kubesched.base import errors
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
    """``--profile NAME`` or ``--config FILE``; see `decides`."""
    config = click.option(
        "--config",
        type=click.Path(path_type=Path),
        help="A KubeSchedulerConfiguration: pods choose a profile with spec.schedulerName. See kubesched config -h.",
    )
    profile = click.option("--profile", help=f"What decides.  [default: {profiles.DEFAULT}]")
    return profile(config(command))


def decides(profile: str | None, config: Path | None) -> str | profiles.ProfileMap:
    """What the options of `profile_option` name."""
    if config is None:
        return profile or profiles.DEFAULT
    if profile is not None:
        raise errors.InputError("--profile", "cannot stand beside --config", profile, "one of them")
    from kubesched.scheduler.config import configuration

    return configuration.load(config).decides


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
