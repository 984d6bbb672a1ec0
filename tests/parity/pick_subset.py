# SPDX-License-Identifier: Apache-2.0
"""Pick the recorded decisions that travel with the project: ``python -m tests.parity.pick_subset FROM TO [LIMIT]``.

FROM is a folder of recorded cases (``*.jsonl.gz``), TO gets the picked ones, a file for each family, and LIMIT is the
number of bytes that they may take, each compressed alone (3,000,000; in their files they take two thirds of it). The
same input gives the same bytes.

What a case can show is a set of facts: combinations of its family, something that was decided (a plugin's reason for
rejecting a node, a plugin whose scores differ, what PreFilter or eviction answered, how a sequence went), and something
of the pod that was asked for (a field, or the value of a field that has a few). Cases are taken greedily, the one with
the most facts per byte that no case of its round has shown: first for what was decided, whatever the pod, then for all
facts, then for all once more, as far as the limit goes. Families share the limit: what small ones leave goes to large
ones.
"""

from __future__ import annotations

import gzip
import heapq
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Case = dict[str, Any]
Fact = tuple[str, ...]

LIMIT = 3_000_000
ROUNDS = 3
CHOICES = {
    *("operator", "effect", "whenUnsatisfiable", "nodeAffinityPolicy", "nodeTaintsPolicy", "topologyKey", "protocol"),
    *("preemptionPolicy", "restartPolicy", "phase", "action", "allocationMode", "op", "hostIP"),
}
"""Fields whose value tells cases apart, not only that they are there."""
FREE = {"labels", "matchLabels", "nodeSelector", "annotations", "selector"}
"""Fields whose keys are anybody's."""


def parts(value: Any, path: str = "") -> Iterator[str]:
    """The fields of an object, with the values of those in CHOICES."""
    if isinstance(value, dict):
        for key, inner in value.items():
            here = f"{path}.{key}"
            yield here
            if key in CHOICES and isinstance(inner, str):
                yield f"{here}={inner}"
            elif key not in FREE or path.endswith("Affinity"):
                yield from parts(inner, here)
    elif isinstance(value, list):
        for inner in value:
            yield from parts(inner, path)


def pattern(text: str) -> str:
    """A message without its numbers and names."""
    return re.sub(r'"[^"]*"|\d+', "#", text)


def decided(expect: Case) -> Iterator[Fact]:
    """What was decided, in words that many cases share."""
    for status in expect.get("statuses") or []:
        for reason in status.get("reasons") or [""]:
            yield status["plugin"], status["code"], pattern(reason)
    for i, plugin in enumerate(expect.get("scorePlugins") or []):
        yield plugin, "prefers" if len({row[i] for row in expect["scores"]}) > 1 else "scores"
    for name in ("gated", "preFilter"):
        if name in expect:
            yield (
                name,
                expect[name]["plugin"],
                expect[name]["code"],
                pattern(" ".join(expect[name].get("reasons") or [])),
            )
    for name in ("nominatedNodeUsed", "error"):
        if name in expect:
            yield name, pattern(str(expect[name]))
    answer = expect.get("preemption") or {}
    if answer:
        for part in re.split(r": |, ", pattern(answer.get("message", ""))):
            yield "preemption", answer["code"], part.rstrip(".")
        yield "victims", str(min(3, len(answer.get("victims") or []))), str(len(answer.get("tie") or []) > 1)
        yield "budgets", str(any("pdbViolations" in c for c in answer.get("candidates") or []))


def went(expect: Case) -> Iterator[Fact]:
    """How a sequence went."""
    for node, ties in zip(expect["node"], expect["ties"], strict=True):
        yield "step", str(min(node, 0)), str(min(ties, 2))
    for name in expect.keys() - {"node", "ties", "feasible", "score"}:
        yield ("step", name)


def facts(case: Case) -> set[Fact]:
    family, expect = case["family"], case["expect"]
    kinds = {f"has {name}" for name, value in case.items() if isinstance(value, list) and value}
    if "pod" in case:
        asked, found = {"", *parts(case["pod"])}, set(decided(expect))
    else:
        steps = case.get("ops") or [{"pod": pod} for pod in case["sequence"]]
        asked = {"", *(part for step in steps for part in parts(step))}
        found = set(went(expect))
    return {(family, *what, part) for what in found for part in asked | kinds}


def read(folder: Path) -> Iterator[bytes]:
    for path in sorted(folder.glob("*.jsonl.gz")):
        with gzip.open(path, "rb") as file:
            yield from file


def pick(lines: list[bytes], limit: int) -> list[int]:
    """Numbers of the picked lines; families that need little leave more to the others."""
    families: dict[str, list[int]] = {}
    for i, line in enumerate(lines):
        families.setdefault(json.loads(line)["family"], []).append(i)
    size = [len(gzip.compress(line, 9, mtime=0)) for line in lines]
    picked: list[int] = []
    left = limit
    ordered = sorted(families.values(), key=lambda numbers: sum(size[i] for i in numbers))
    for at, numbers in enumerate(ordered):
        known = {i: facts(json.loads(lines[i])) for i in numbers}
        found = cover(known, size, left // (len(ordered) - at))
        left -= sum(size[i] for i in found)
        picked += found
    return sorted(picked)


def cover(known: dict[int, set[Fact]], size: list[int], limit: int) -> list[int]:
    """Numbers of cases, whose sizes together stay below the limit, that show every fact again and again."""
    picked: list[int] = []
    for n in range(1 + ROUNDS):
        if n == 0:
            wanted = {i: {fact for fact in found if not fact[-1]} for i, found in known.items()}
        else:
            wanted = {i: found for i, found in known.items() if i not in picked}
        shown: set[Fact] = set()
        queue = [(-len(found) / size[i], i) for i, found in wanted.items()]
        heapq.heapify(queue)
        while queue:
            worth, i = heapq.heappop(queue)
            now = -len(wanted[i] - shown) / size[i]
            if now > worth:  # others have shown some of it meanwhile: it waits for its turn
                heapq.heappush(queue, (now, i))
            elif now and size[i] <= limit:
                picked.append(i)
                shown |= wanted[i]
                limit -= size[i]
    return picked


def write(lines: list[bytes], folder: Path) -> None:
    by_family: dict[str, list[bytes]] = {}
    for line in lines:
        by_family.setdefault(json.loads(line)["family"], []).append(line)
    for path in folder.glob("*.jsonl.gz"):
        path.unlink()
    for family, found in by_family.items():
        (folder / f"{family}.jsonl.gz").write_bytes(gzip.compress(b"".join(found), 9, mtime=0))


def main(source: str, target: str, limit: str = str(LIMIT)) -> None:
    lines = list(read(Path(source)))
    picked = pick(lines, int(limit))
    write([lines[i] for i in picked], Path(target))
    total = sum(path.stat().st_size for path in Path(target).glob("*.jsonl.gz"))
    everything = set().union(*(facts(json.loads(line)) for line in lines))
    there = set().union(*(facts(json.loads(lines[i])) for i in picked))
    print(f"{len(picked)} of {len(lines)} cases, {total} bytes, {len(there)} of {len(everything)} facts")


if __name__ == "__main__":
    main(*sys.argv[1:])
