# SPDX-License-Identifier: Apache-2.0
"""Jobs and CronJobs. Source: pkg/apis/batch/v1/defaults.go, pkg/registry/batch, v1.36."""

from __future__ import annotations

import datetime

from kubesched.api import columns, meta
from kubesched.api.columns import at
from kubesched.api.groups import jobs
from kubesched.api.groups.core import podspec
from kubesched.api.strategy import Column, Object, Strategy, fill, fill_empty


def _default_job_spec(spec: Object) -> None:
    podspec.default_template(spec.setdefault("template", {}))
    for policy in (spec.get("podFailurePolicy") or {}).get("rules") or ():
        for pattern in policy.get("onPodConditions") or ():
            fill_empty(pattern, "status", "True")


def _default_job(obj: Object) -> None:
    spec: Object = obj.setdefault("spec", {})
    if spec.get("completions") is None and spec.get("parallelism") is None:
        spec["completions"] = 1
    fill(spec, "parallelism", 1)
    fill(spec, "backoffLimit", 2**31 - 1 if spec.get("backoffLimitPerIndex") is not None else 6)
    labels = at(spec, "template", "metadata", "labels")
    if labels and not obj["metadata"].get("labels"):
        obj["metadata"]["labels"] = dict(labels)
    fill(spec, "completionMode", "NonIndexed")
    fill(spec, "suspend", False)
    fill(spec, "podReplacementPolicy", "Failed" if spec.get("podFailurePolicy") else "TerminatingOrFailed")
    fill(spec, "manualSelector", False)
    _default_job_spec(spec)


def _prepare_job(obj: Object) -> None:
    """Without a selector of its own, a Job's pods carry its UID and name, and are selected by the UID."""
    spec = obj["spec"]
    if spec.get("manualSelector"):
        return
    uid, name = obj["metadata"]["uid"], obj["metadata"].get("name", "")
    labels = spec.setdefault("template", {}).setdefault("metadata", {}).setdefault("labels", {})
    for key, value in ((jobs.UID, uid), (jobs.NAME, name)):
        labels.setdefault(key, value)
        labels.setdefault(jobs.PREFIX + key, value)
    if not spec.get("selector"):
        spec["selector"] = {"matchLabels": {}}
    spec["selector"].setdefault("matchLabels", {}).setdefault(jobs.PREFIX + jobs.UID, uid)


def _default_cron_job(obj: Object) -> None:
    spec: Object = obj.setdefault("spec", {})
    fill_empty(spec, "concurrencyPolicy", "Allow")
    fill(spec, "suspend", False)
    fill(spec, "successfulJobsHistoryLimit", 3)
    fill(spec, "failedJobsHistoryLimit", 1)
    _default_job_spec(spec.setdefault("jobTemplate", {}).setdefault("spec", {}))


def _completions(obj: Object) -> str:
    done = at(obj, "status", "succeeded") or 0
    wanted = at(obj, "spec", "completions")
    if wanted is not None:
        return f"{done}/{wanted}"
    parallel = at(obj, "spec", "parallelism") or 0
    return f"{done}/1 of {parallel}" if parallel > 1 else f"{done}/1"


def _job_status(obj: Object) -> str:
    true = {item.get("type") for item in at(obj, "status", "conditions") or () if item.get("status") == "True"}
    for kind in ("Complete", "Failed"):
        if kind in true:
            return kind
    if obj["metadata"].get("deletionTimestamp"):
        return "Terminating"
    return next((kind for kind in ("Suspended", "FailureTarget", "SuccessCriteriaMet") if kind in true), "Running")


def _duration(obj: Object, now: datetime.datetime) -> str:
    started, ended = at(obj, "status", "startTime"), at(obj, "status", "completionTime")
    if not started:
        return ""
    end = meta.parse_time(ended) if ended else now
    return columns.human((end - meta.parse_time(started)).total_seconds())


def _last_schedule(obj: Object, now: datetime.datetime) -> str:
    last = at(obj, "status", "lastScheduleTime")
    return columns.since(last, now) if last else "<none>"


STRATEGIES: dict[str, Strategy] = {
    "jobs": Strategy(
        default=_default_job,
        prepare_create=_prepare_job,
        validate=jobs.job,
        validate_update=jobs.job_update,
        has_status=True,
        has_generation=True,
        orphan_by_default=True,
        select=lambda obj: {"status.successful": str(at(obj, "status", "succeeded") or 0)},
        selectable=("status.successful",),
        columns=(
            columns.name(),
            columns.made("Status", _job_status, description="Status of the job."),
            columns.made("Completions", _completions),
            Column("Duration", description="Time required to complete the job.", value=_duration),
            columns.age(),
            *columns.containers("spec", "template"),
            columns.made("Selector", lambda obj: columns.selector(at(obj, "spec", "selector")), wide=True),
        ),
    ),
    "cronjobs": Strategy(
        default=_default_cron_job,
        validate=jobs.cron_job,
        validate_update=jobs.cron_job_update,
        has_status=True,
        has_generation=True,
        columns=(
            columns.name(),
            columns.text("Schedule", "spec", "schedule"),
            columns.text("Timezone", "spec", "timeZone", empty="<none>"),
            columns.made("Suspend", lambda obj: str(bool(at(obj, "spec", "suspend"))).capitalize(), "boolean"),
            columns.count("Active", "status", "active"),
            Column("Last Schedule", value=_last_schedule),
            columns.age(),
            *columns.containers("spec", "jobTemplate", "spec", "template"),
            columns.made(
                "Selector", lambda obj: columns.selector(at(obj, "spec", "jobTemplate", "spec", "selector")), wide=True
            ),
        ),
    ),
}
"""By plural."""
