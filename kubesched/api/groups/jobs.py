# SPDX-License-Identifier: Apache-2.0
"""What is wrong with Jobs and CronJobs. Source: pkg/apis/batch/validation/validation.go, v1.36."""

from __future__ import annotations

import itertools
import re
import zoneinfo
from typing import Any

from kubesched.api import checks, cron, gotext, names, selectors, status
from kubesched.api.checks import Errors
from kubesched.api.columns import at
from kubesched.api.groups import workloads
from kubesched.api.groups.core import podrules
from kubesched.api.status import FieldError, invalid_value
from kubesched.api.strategy import Object

UID = "controller-uid"
NAME = "job-name"
PREFIX = "batch.kubernetes.io/"

_MODES = ["NonIndexed", "Indexed"]
_ACTIONS = ("Count", "FailIndex", "FailJob", "Ignore")
_OPERATORS = ("In", "NotIn")
_STATES = ("False", "True", "Unknown")
_REPLACEMENTS = ("Failed", "TerminatingOrFailed")
_CONCURRENCIES = ("Allow", "Forbid", "Replace")
_MANY = 100_000  # pods of an indexed Job, failed indexes, and completions before limits are lower
_MANY_PER_INDEX = 10_000  # beyond so many completions, with a limit of failures for each index
_MAX_RULES = 20
_MAX_CODES = 255
_MAX_MANAGER = 63
_MAX_INDEXES = 64 * 1024
_MAX_NAME = 52
_INDEXED_ONLY = "requires indexed completion mode"

_SUCCESS_RULE = gotext.Struct({"SucceededIndexes": None, "SucceededCount": None})


def _valid(values: tuple[str, ...]) -> str:
    """How a text lists what may be written; Go prints a list without commas."""
    return f"valid values: [{' '.join(gotext.quote(value) for value in values)}]"


# ---- Jobs ----


def job(obj: Object) -> list[FieldError]:
    """A new Job."""
    out: Errors = []
    spec = obj.get("spec") or {}
    _generated(obj, spec, out)
    _whole_spec(spec, out)
    completions = spec.get("completions")
    if spec.get("completionMode") == "Indexed" and completions and completions > 0:
        name = obj["metadata"].get("name") or ""
        last = f"{name}-{completions - 1}"
        if names.label(last):
            why = f"will not able to create pod with invalid DNS label: {last}"
            out.append(invalid_value("metadata.name", name, why))
    return out


def _generated(obj: Object, spec: Object, out: Errors) -> None:
    """The labels and the selector that the server itself made must still be what it made."""
    if spec.get("manualSelector") or spec.get("selector") is None:
        return
    metadata = obj["metadata"]
    labels = at(spec, "template", "metadata", "labels") or {}
    wanted = {UID: metadata.get("uid") or "", NAME: metadata.get("name") or ""}
    wanted |= {PREFIX + key: value for key, value in wanted.items()}
    for key, value in wanted.items():
        field = f"spec.template.metadata.labels[{key}]"
        if key not in labels:
            out.append(status.required(field, f"must be '{value}'"))
        elif labels[key] != value:
            out.append(invalid_value(field, dict(sorted(labels.items())), f"must be '{value}'"))
    selector = spec["selector"]
    if not selectors.validate_object(selector, "") and not selectors.of_object(selector).matches(wanted):
        out.append(invalid_value("spec.selector", selector, "`selector` not auto-generated"))


def _whole_spec(spec: Object, out: Errors) -> None:
    _spec(spec, "spec", out)
    selector, template = spec.get("selector"), spec.get("template") or {}
    if selector is None:
        out.append(status.required("spec.selector"))
    wrong = selectors.validate_object(selector, "spec.selector")
    out.extend(wrong)
    labels = at(template, "metadata", "labels") or {}
    if selector is None or (not wrong and not selectors.of_object(selector).matches(labels)):
        shown = workloads.labels_of(template)
        out.append(invalid_value("spec.template.metadata.labels", shown, "`selector` does not match template `labels`"))


_NUMBERS = (
    "parallelism",
    "completions",
    "activeDeadlineSeconds",
    "backoffLimit",
    "ttlSecondsAfterFinished",
    "backoffLimitPerIndex",
    "maxFailedIndexes",
)


def _spec(spec: Object, here: str, out: Errors) -> None:
    """What a Job and the template of a CronJob share."""
    get = spec.get
    checks.not_negative(spec, here, out, *_NUMBERS)
    if get("maxFailedIndexes") is not None and get("backoffLimitPerIndex") is None:
        out.append(status.required(f"{here}.backoffLimitPerIndex", "when maxFailedIndexes is specified"))
    if get("managedBy") is not None:
        checks.domain_path(get("managedBy") or "", f"{here}.managedBy", out)
        if len((get("managedBy") or "").encode()) > _MAX_MANAGER:
            out.append(status.too_long(f"{here}.managedBy", _MAX_MANAGER))
    mode = get("completionMode")
    checks.option(mode, f"{here}.completionMode", _MODES, out)
    if mode == "Indexed":
        _indexed(spec, here, out)
    elif mode in (None, "NonIndexed"):
        for name in ("backoffLimitPerIndex", "maxFailedIndexes"):
            if get(name) is not None:
                out.append(invalid_value(f"{here}.{name}", get(name), _INDEXED_ONLY))
    if get("podFailurePolicy") is not None:
        _failure_policy(spec, f"{here}.podFailurePolicy.rules", out)
    if get("successPolicy") is not None:
        _success_policy(spec, f"{here}.successPolicy", out)
    replaced = ("Failed",) if get("podFailurePolicy") is not None else _REPLACEMENTS
    checks.option(get("podReplacementPolicy"), f"{here}.podReplacementPolicy", replaced, out)
    podrules.check_template(get("template") or {}, f"{here}.template", out)
    _restart(spec, f"{here}.template.spec.restartPolicy", out)


def _restart(spec: Object, field: str, out: Errors) -> None:
    policy = at(spec, "template", "spec", "restartPolicy") or ""
    if policy in ("", "Always"):
        out.append(status.required(field, 'valid values: "OnFailure", "Never"'))
    elif policy not in ("OnFailure", "Never"):
        out.append(status.not_supported(field, policy, ["OnFailure", "Never"]))
    elif spec.get("podFailurePolicy") is not None and policy != "Never":
        why = 'only "Never" is supported when podFailurePolicy is specified'
        out.append(invalid_value(field, policy, why))


def _indexed(spec: Object, here: str, out: Errors) -> None:
    completions, parallelism, failed = (spec.get(name) for name in ("completions", "parallelism", "maxFailedIndexes"))
    if completions is None:
        out.append(status.required(f"{here}.completions", "when completion mode is Indexed"))
    if parallelism is not None and parallelism > _MANY:
        why = f"must be less than or equal to {_MANY} when completion mode is Indexed"
        out.append(invalid_value(f"{here}.parallelism", parallelism, why))
    if completions is not None and failed is not None and failed > completions:
        out.append(invalid_value(f"{here}.maxFailedIndexes", failed, "must be less than or equal to completions"))
    if failed is not None and failed > _MANY:
        out.append(invalid_value(f"{here}.maxFailedIndexes", failed, f"must be less than or equal to {_MANY}"))
    if completions is None or completions <= _MANY or spec.get("backoffLimitPerIndex") is None:
        return
    if failed is None:
        why = f"must be specified when completions is above {_MANY}"
        out.append(status.required(f"{here}.maxFailedIndexes", why))
    for name, value in (("parallelism", parallelism), ("maxFailedIndexes", failed)):
        if value is not None and value > _MANY_PER_INDEX:
            why = (
                f"must be less than or equal to {_MANY_PER_INDEX} when completions are above {_MANY} "
                "and used with backoff limit per index"
            )
            out.append(invalid_value(f"{here}.{name}", value, why))


# ---- policies ----


def _failure_policy(spec: Object, here: str, out: Errors) -> None:
    rules = spec["podFailurePolicy"].get("rules") or ()
    if len(rules) > _MAX_RULES:
        out.append(status.too_many(here, len(rules), _MAX_RULES))
    pod = at(spec, "template", "spec") or {}
    known = {item.get("name") for part in ("containers", "initContainers") for item in pod.get(part) or ()}
    for i, rule in enumerate(rules):
        _failure_rule(spec, rule, f"{here}[{i}]", known, out)


def _failure_rule(spec: Object, rule: Object, here: str, known: set[Any], out: Errors) -> None:
    action = rule.get("action") or ""
    if not action:
        out.append(status.required(f"{here}.action", _valid(_ACTIONS)))
    elif action == "FailIndex" and spec.get("backoffLimitPerIndex") is None:
        out.append(invalid_value(f"{here}.action", action, "requires the backoffLimitPerIndex to be set"))
    else:
        checks.option(action, f"{here}.action", _ACTIONS, out)
    codes, conditions = rule.get("onExitCodes"), rule.get("onPodConditions") or ()
    if codes is not None:
        _exit_codes(codes, f"{here}.onExitCodes", known, out)
    if len(conditions) > _MAX_RULES:
        out.append(status.too_many(f"{here}.onPodConditions", len(conditions), _MAX_RULES))
    for j, pattern in enumerate(conditions):
        where, state = f"{here}.onPodConditions[{j}]", pattern.get("status") or ""
        checks.by(names.qualified_name, pattern.get("type") or "", f"{where}.type", out)
        if not state:
            out.append(status.required(f"{where}.status", _valid(_STATES)))
        else:
            checks.option(state, f"{where}.status", _STATES, out)
    if codes is not None and conditions:
        why = "specifying both OnExitCodes and OnPodConditions is not supported"
        out.append(status.invalid_shape(here, why))
    if codes is None and not conditions:
        out.append(status.invalid_shape(here, "specifying one of OnExitCodes and OnPodConditions is required"))


def _exit_codes(codes: Object, here: str, known: set[Any], out: Errors) -> None:
    operator, values = codes.get("operator") or "", codes.get("values") or []
    if not operator:
        out.append(status.required(f"{here}.operator", _valid(_OPERATORS)))
    else:
        checks.option(operator, f"{here}.operator", _OPERATORS, out)
    name = codes.get("containerName")
    if name is not None and name not in known:
        why = "must be one of the container or initContainer names in the pod template"
        out.append(invalid_value(f"{here}.containerName", name, why))
    if not values:
        out.append(invalid_value(f"{here}.values", codes.get("values"), "at least one value is required"))
    elif len(values) > _MAX_CODES:
        out.append(status.too_many(f"{here}.values", len(values), _MAX_CODES))
    again = checks.repeated(values)
    for j, value in enumerate(values):
        if operator == "In" and value == 0:
            out.append(invalid_value(f"{here}.values[{j}]", value, "must not be 0 for the In operator"))
        if j in again:
            out.append(status.duplicate(f"{here}.values[{j}]", value))
    if any(before > after for before, after in itertools.pairwise(values)):
        out.append(invalid_value(f"{here}.values", values, "must be ordered"))


def _success_policy(spec: Object, here: str, out: Errors) -> None:
    rules = spec["successPolicy"].get("rules") or []
    if spec.get("completionMode") != "Indexed":
        shown = {"Rules": [_SUCCESS_RULE.show(rule) for rule in rules] or None}
        out.append(invalid_value(here, shown, _INDEXED_ONLY))
        return
    if not rules:
        why = "at least one rules must be specified when the successPolicy is specified"
        out.append(status.required(f"{here}.rules", why))
    if len(rules) > _MAX_RULES:
        out.append(status.too_many(f"{here}.rules", len(rules), _MAX_RULES))
    for i, rule in enumerate(rules):
        _success_rule(rule, spec.get("completions") or 0, f"{here}.rules[{i}]", out)


def _success_rule(rule: Object, completions: int, here: str, out: Errors) -> None:
    count, indexes = rule.get("succeededCount"), rule.get("succeededIndexes")
    if count is None and indexes is None:
        why = "at least one of succeededCount or succeededIndexes must be specified"
        out.append(status.required(here, why))
    total = 0
    if indexes is not None:
        if len(indexes.encode()) > _MAX_INDEXES:
            out.append(status.too_long(f"{here}.succeededIndexes", _MAX_INDEXES))
        try:
            total = _count_indexes(indexes, completions)
        except ValueError as error:
            why = f"error parsing succeededIndexes: {error}"
            out.append(invalid_value(f"{here}.succeededIndexes", indexes, why))
    if count is None:
        return
    checks.not_negative(rule, here, out, "succeededCount")
    if count > completions:
        why = f"must be less than or equal to {completions} (the number of specified completions)"
        out.append(invalid_value(f"{here}.succeededCount", count, why))
    if indexes is not None and count > total:
        why = f"must be less than or equal to {total} (the number of indexes in the specified succeededIndexes field)"
        out.append(invalid_value(f"{here}.succeededCount", count, why))


def _count_indexes(text: str, completions: int) -> int:
    """How many indexes ``1,3-5`` names; ValueError says what is wrong."""
    total, last = 0, -1
    for part in text.split(",") if text else ():
        ends = part.split("-")
        if len(ends) > 2:
            why = "violates the requirement that an index interval can have at most two parts separated by '-'"
            raise ValueError(f"the fragment {gotext.quote(part)} {why}")
        for end in ends:
            if not re.fullmatch("[+-]?[0-9]+", end):
                raise ValueError(f"cannot convert string to integer for index: {gotext.quote(end)}")
            if int(end) >= completions:
                raise ValueError(f"too large index: {gotext.quote(end)}")
        first, final = int(ends[0]), int(ends[-1])
        if len(ends) == 2 and first >= final:
            raise ValueError(f"non-increasing order, previous: {first}, current: {final}")
        if last >= first:
            raise ValueError(f"non-increasing order, previous: {last}, current: {first}")
        total, last = total + final - first + 1, final
    return total


# ---- updates of Jobs ----

_FIXED = ("completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy", "successPolicy")
_DIRECTIVES = ("nodeSelector", "tolerations", "schedulingGates")


def job_update(new: Object, old: Object) -> list[FieldError]:
    """What of a Job may change; more while it is suspended and has not begun."""
    out: Errors = []
    after, before = new.get("spec") or {}, old.get("spec") or {}
    _whole_spec(after, out)
    _completions(after, before, "spec.completions", out)
    checks.unlike(after.get("selector"), before.get("selector"), "spec.selector", out)
    idle = before.get("suspend") and not at(old, "status", "active") and not at(old, "status", "startTime")
    template, was = after.get("template") or {}, before.get("template") or {}
    if template != (_rescheduled(was, template) if idle else was):
        field = "spec.template.spec" if idle else "spec.template"
        out.append(invalid_value(field, template.get("spec") if idle else template, checks.IMMUTABLE))
    for name in _FIXED:
        checks.unlike(after.get(name), before.get(name), f"spec.{name}", out)
    return out


def _completions(after: Object, before: Object, field: str, out: Errors) -> None:
    """Of an indexed Job they change together with the parallelism."""
    new, old = after.get("completions"), before.get("completions")
    if after.get("completionMode") != "Indexed":
        checks.unlike(new, old, field, out)
    elif new not in (old, None) and new != after.get("parallelism"):
        why = "can only be modified in tandem with spec.parallelism"
        out.append(invalid_value(field, new, why))


def _rescheduled(was: Object, template: Object) -> Object:
    """The old template with what a queue may still decide as the new one has it."""
    spec, now = dict(was.get("spec") or {}), template.get("spec") or {}
    for name in _DIRECTIVES:
        _take(spec, now, name)
    affinity = dict(spec.get("affinity") or {})
    _take(affinity, now.get("affinity") or {}, "nodeAffinity")
    if affinity or now.get("affinity") is not None:
        spec["affinity"] = affinity
    else:
        spec.pop("affinity", None)
    for part in ("containers", "initContainers"):
        mine, others = spec.get(part) or [], now.get(part) or []
        if mine and [item.get("name") for item in mine] == [item.get("name") for item in others]:
            spec[part] = [dict(item) for item in mine]
            for item, other in zip(spec[part], others, strict=True):
                _take(item, other, "resources")
    metadata = dict(was.get("metadata") or {})
    for name in ("annotations", "labels"):
        _take(metadata, template.get("metadata") or {}, name)
    return {**was, "spec": spec, **({"metadata": metadata} if "metadata" in template or metadata else {})}


def _take(target: Object, source: Object, name: str) -> None:
    if source.get(name) is not None:
        target[name] = source[name]
    else:
        target.pop(name, None)


# ---- CronJobs ----


def cron_job(obj: Object) -> list[FieldError]:
    """A new CronJob."""
    out = _cron_spec(obj.get("spec") or {}, None)
    name = obj["metadata"].get("name") or ""
    if len(name) > _MAX_NAME:
        out.append(invalid_value("metadata.name", name, f"must be no more than {_MAX_NAME} characters"))
    return out


def cron_job_update(new: Object, old: Object) -> list[FieldError]:
    return _cron_spec(new.get("spec") or {}, old.get("spec") or {})


def _cron_spec(spec: Object, old: Object | None) -> list[FieldError]:
    out: Errors = []
    if not spec.get("schedule"):
        out.append(status.required("spec.schedule"))
    else:
        _schedule(spec, old, "spec.schedule", out)
    checks.not_negative(spec, "spec", out, "startingDeadlineSeconds")
    zone = spec.get("timeZone")
    if zone is not None and (old is None or old.get("timeZone") != zone):
        for why in _zone_errors(zone):
            out.append(invalid_value("spec.timeZone", zone, why))
    checks.choice(spec.get("concurrencyPolicy"), "spec.concurrencyPolicy", _CONCURRENCIES, out)
    template = at(spec, "jobTemplate", "spec") or {}
    _spec(template, "spec.jobTemplate.spec", out)
    if template.get("selector") is not None:
        why = "`selector` will be auto-generated"
        out.append(invalid_value("spec.jobTemplate.spec.selector", template["selector"], why))
    if template.get("manualSelector"):
        out.append(status.not_supported("spec.jobTemplate.spec.manualSelector", True, ["nil", "false"]))
    checks.not_negative(spec, "spec", out, "successfulJobsHistoryLimit", "failedJobsHistoryLimit")
    return out


def _schedule(spec: Object, old: Object | None, field: str, out: Errors) -> None:
    text = spec["schedule"]
    try:
        cron.check(text)
    except cron.ScheduleError as error:
        out.append(invalid_value(field, text, str(error)))
    if "TZ" not in text:
        return
    if old is None or "TZ" not in (old.get("schedule") or ""):
        why = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"
        out.append(invalid_value(field, text, why))
    elif spec.get("timeZone") is not None:
        out.append(invalid_value(field, text, "cannot use both timeZone field and TZ or CRON_TZ in schedule"))


def _zone_errors(zone: str) -> list[str]:
    if not zone:
        return ["timeZone must be nil or non-empty string"]
    for part in zone.split("/"):
        if part in (".", "..") or part.startswith("-") or not re.fullmatch(r"[A-Za-z.\-_0-9+]{1,14}", part):
            return [f"unknown time zone {zone}"]
    wrong = []
    if zone.lower() == "local":
        wrong.append("timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones")
    if zone != "Local":
        try:
            zoneinfo.ZoneInfo(zone)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
            wrong.append(f"unknown time zone {zone}")
    return wrong
