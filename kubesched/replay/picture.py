# SPDX-License-Identifier: Apache-2.0
"""Pictures of a sweep: allocation and fragmentation against arrived demand, and a heat map of the devices."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from kubesched.replay import report
from kubesched.state import files

# One color a policy, the same in every picture (Okabe-Ito: told apart with any color vision).
_COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#000000", "#999999")


def figure(width: float, height: float) -> tuple[Any, Any]:
    """An empty figure of so many inches, and its axes; the same bytes from the same data."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    mpl.rcParams["svg.hashsalt"] = "kubesched"
    made = Figure(figsize=(width, height), dpi=130, layout="constrained")
    FigureCanvasAgg(made)
    return made, made.add_subplot()


def save(drawn: Any, path: Path) -> Path:
    """Write a figure as PNG; it appears whole or not at all."""
    with files.atomic(path) as temporary:
        drawn.savefig(temporary, format="png", metadata={"Software": None})
    return path


def draw_all(found: report.Report, folder: Path) -> list[Path]:
    """Draw every picture that the sweep has data for: none without devices."""
    if all(np.isnan(result.alloc_pct).all() for result in found.results):
        return []
    return [
        draw_curves(found, "alloc_pct", "Allocated devices (% of all)", folder / "allocation.png"),
        draw_curves(found, "frag_pct", "Fragmented devices (% of all)", folder / "fragmentation.png"),
        draw_heat(found, folder / "heatmap.png"),
    ]


def draw_curves(found: report.Report, curve: str, label: str, path: Path) -> Path:
    """One line a policy, the range over the seeds as a band, published means as markers."""
    drawn, axes = figure(8.5, 5.2)
    known = report.published(found.variant) if found.trace == "openb" and found.mode == "inflate" else {}
    x = np.arange(len(found.results[0].alloc_pct))
    low = 100.0
    for color, policy in zip(_COLORS * 2, found.policies, strict=False):
        runs = np.vstack([getattr(r, curve) for r in found.of(policy)])
        mean = runs.mean(axis=0)
        axes.plot(x, mean, color=color, linewidth=1.8, label=policy)
        axes.fill_between(x, runs.min(axis=0), runs.max(axis=0), color=color, alpha=0.15, linewidth=0)
        if policy in known and curve == "alloc_pct":
            axes.plot(
                [100, 130],
                [known[policy].alloc_at_100, known[policy].alloc_at_130],
                "o",
                color=color,
                ms=4.5,
                markerfacecolor="white",
                clip_on=False,
                zorder=5,
            )
        elif policy in known:
            axes.plot(
                [100],
                [known[policy].frag_at_100],
                "o",
                color=color,
                ms=4.5,
                markerfacecolor="white",
                zorder=5,
            )
        if curve == "alloc_pct" and not np.isnan(mean[75:]).all():
            low = min(low, float(np.nanmin(mean[75:])))
    _frame(found, axes, curve, low, bool(known))
    axes.set_ylabel(label)
    return save(drawn, path)


def _frame(found: report.Report, axes: Any, curve: str, low: float, with_published: bool) -> None:
    n_seeds = len({r.seed for r in found.results})
    note = "  ·  ○ published means" if with_published else ""
    axes.set_title(
        f"{found.trace}, {found.variant}  ·  {n_seeds} seed(s), band: range{note}",
        fontsize=10,
        loc="left",
    )
    axes.set_xlabel("Arrived demand (% of all devices)")
    if curve == "alloc_pct" and found.mode == "inflate":
        axes.set_xlim(70, 130)
        axes.set_ylim(min(70.0, np.floor(low)), 100)
    else:
        axes.set_xlim(0, 130)
        axes.set_ylim(bottom=0)
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(
        frameon=False,
        fontsize=9,
        loc="lower right" if curve == "alloc_pct" else "upper right",
        ncols=2,
    )


def draw_heat(found: report.Report, path: Path) -> Path:
    """The first run of the last policy: every device of every node, grouped by model, used thousandths."""
    from matplotlib.colors import ListedColormap

    result = found.results[-1]
    chosen = found.of(found.policies[-1])[0] if found.results else result
    count = chosen.device_count
    models = np.array(chosen.device_model)
    rows = np.flatnonzero(count > 0)
    order = rows[np.lexsort((_used(chosen)[rows], -count[rows], models[rows]))]
    used = 1000 - chosen.device_free[order].astype(np.float64)
    used[np.arange(used.shape[1])[None, :] >= count[order][:, None]] = np.nan
    drawn, axes = figure(11, 3.6)
    from matplotlib import colormaps

    cmap = ListedColormap(colormaps["viridis"](np.linspace(0.08, 1, 256))).with_extremes(bad="#eeeeee")
    image = axes.imshow(
        used.T,
        aspect="auto",
        cmap=cmap,
        vmin=0,
        vmax=1000,
        interpolation="nearest",
        origin="lower",
    )
    drawn.colorbar(image, ax=axes, label="Used (thousandths of a device)", pad=0.01)
    _mark_models(axes, models[order])
    axes.set_ylabel("Device of the node")
    axes.set_yticks(range(used.shape[1]))
    axes.set_title(
        f"{found.trace}, {found.variant}  ·  {chosen.policy}, seed {chosen.seed}, at the end  ·  gray: no device",
        fontsize=10,
        loc="left",
    )
    return save(drawn, path)


def _used(result: report.Result) -> Any:
    return result.device_count * 1000 - result.device_free.sum(axis=1)


def _mark_models(axes: Any, models: Any) -> None:
    """Label each group of nodes with its model at its middle."""
    starts = np.flatnonzero(np.r_[True, models[1:] != models[:-1]])
    ends = np.r_[starts[1:], len(models)]
    for start in starts[1:]:
        axes.axvline(start - 0.5, color="white", linewidth=1)
    wide = [(s, e) for s, e in zip(starts, ends, strict=True) if e - s > 0.02 * len(models)]
    labels = []
    close, last = False, -np.inf
    for start, end in wide:  # a label close to the one before it goes one line down
        close = not close and (start + end) / 2 - last < 0.07 * len(models)
        last = (start + end) / 2
        labels.append(("\n\n" if close else "") + f"{models[start] or 'unknown'}\n{end - start} nodes")
    axes.set_xticks([(s + e) / 2 for s, e in wide], labels, fontsize=8)
