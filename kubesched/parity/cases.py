# SPDX-License-Identifier: Apache-2.0
"""Reading recorded cases: JSON Lines, plain or gzip, one case a line."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from kubesched.base import errors

MAX_LINE_BYTES = 64 * 1024 * 1024  # arbitrary: the largest recorded case has under 1 MiB
Case = dict[str, Any]

KINDS: dict[str, str] = {
    "namespaces": "Namespace",
    "services": "Service",
    "replicationcontrollers": "ReplicationController",
    "replicasets": "ReplicaSet",
    "statefulsets": "StatefulSet",
    "pdbs": "PodDisruptionBudget",
    "pvs": "PersistentVolume",
    "pvcs": "PersistentVolumeClaim",
    "storageclasses": "StorageClass",
    "csinodes": "CSINode",
    "csidrivers": "CSIDriver",
    "csistoragecapacities": "CSIStorageCapacity",
    "volumeattachments": "VolumeAttachment",
    "deviceclasses": "DeviceClass",
    "resourceslices": "ResourceSlice",
    "resourceclaims": "ResourceClaim",
}
"""Lists of a case that matter to encoding beside nodes and pods, and their kind."""


def files_of(paths: list[Path]) -> list[Path]:
    """The case files of files and directories, sorted by name."""
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            found += sorted(p for p in path.iterdir() if p.name.endswith((".jsonl", ".jsonl.gz")))
        else:
            found.append(path)
    if not found:
        raise errors.InputError(", ".join(map(str, paths)), "holds no recorded cases", None, "*.jsonl or *.jsonl.gz")
    return found


def read(path: Path) -> Iterator[Case]:
    """The cases of a file.

    Raises
    ------
    InputError
        Names file, line, what was wrong and what was expected.
    """
    opener = gzip.open if path.name.endswith(".gz") else open
    number = 0
    try:
        with opener(path, "rb") as file:
            while line := file.readline(MAX_LINE_BYTES + 1):
                number += 1
                yield _parse(path, number, line)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise errors.InputError(
            f"{path}, line {number + 1}", f"is damaged ({error})", None, "whole gzip data"
        ) from None
    except OSError as error:
        raise errors.InputError(str(path), f"cannot be read ({error.strerror or error})") from None


def _parse(path: Path, number: int, line: bytes) -> Case:
    where = f"{path}, line {number}"
    if len(line) > MAX_LINE_BYTES:
        raise errors.InputError(where, "is too long", f"over {MAX_LINE_BYTES} bytes", "one case a line")
    try:
        case = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise errors.InputError(where, f"is not JSON ({error})") from None
    if not isinstance(case, dict):
        raise errors.InputError(where, "is not a case", type(case).__name__, "a JSON object")
    for name, kind in (("id", str), ("family", str), ("nodes", list), ("expect", dict)):
        if not isinstance(case.get(name), kind):
            raise errors.InputError(f"{where}: {name}", "is missing or of another type", case.get(name), kind.__name__)
    if not any(name in case for name in ("pod", "sequence", "ops")):
        raise errors.InputError(where, "has nothing to decide", sorted(case), "pod, sequence or ops")
    return case
