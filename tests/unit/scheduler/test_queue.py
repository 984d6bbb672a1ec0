# SPDX-License-Identifier: Apache-2.0
"""The scheduling queue, rule by rule, on a clock that the test turns."""

from __future__ import annotations

from typing import Any

import pytest

from kubesched.base import errors
from kubesched.scheduler import encode, events
from kubesched.scheduler.events import Action, Event, PodView
from kubesched.scheduler.queue import Part, SchedulingQueue, Timing
from kubesched.scheduler.queue_parts import Queued
from tests.builders import PodBuilder, make_node, make_pod


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def view(pod: PodBuilder, *claims: str) -> PodView:
    obj = pod.build()
    if claims:
        obj["spec"]["volumes"] = [{"name": c, "persistentVolumeClaim": {"claimName": c}} for c in claims]
    return events.view(obj, encode.pod_row(obj))


def make(**timing: Any) -> tuple[SchedulingQueue, Clock]:
    clock = Clock()
    return SchedulingQueue(clock, timing=Timing(**timing)), clock


def pop(queue: SchedulingQueue) -> Queued:
    item = queue.pop()
    assert item is not None
    return item


def fail(queue: SchedulingQueue, name: str = "p", *rejectors: str) -> Queued:
    """Pop the one pod and bring it back."""
    item = pop(queue)
    assert item.key == f"default/{name}"
    queue.failed(item, rejectors or ("NodeResourcesFit",))
    return item


def node_added(cpu: str = "8") -> Event:
    return Event(events.NODE, Action.ADD, None, encode.node_row(make_node("n").cpu(cpu).build()))


SMALL = make_pod("p").container(cpu="1")


def test_the_most_important_comes_first_then_the_oldest() -> None:
    queue, clock = make()
    for name, priority in (("a", 1), ("b", 5), ("c", 1), ("d", 5), ("e", 9)):
        queue.add(view(make_pod(name).priority(priority)))
        clock.now += 1
    assert [pop(queue).pod.row.name for _ in range(5)] == ["e", "b", "d", "a", "c"]
    assert queue.pop() is None
    assert queue.cycle == 5


def test_pods_of_one_moment_come_in_the_order_of_their_arrival() -> None:
    queue, _ = make()
    queue.add_all([view(make_pod(f"p{i}")) for i in range(20)])
    assert [pop(queue).pod.row.name for _ in range(20)] == [f"p{i}" for i in range(20)]


def test_a_gated_pod_waits_until_its_last_gate_is_gone() -> None:
    queue, _ = make()
    assert queue.add(view(make_pod("p").gate("a").gate("b"))) == Part.UNSCHEDULABLE
    queue.update(view(make_pod("p").gate("b")))
    queue.notify(node_added())
    queue.activate(["default/p"])
    assert queue.pop() is None
    queue.update(view(make_pod("p")))
    assert queue.part_of("default/p") == Part.ACTIVE


def test_time_does_not_open_a_gate() -> None:
    queue, clock = make()
    queue.add(view(make_pod("p").gate("a")))
    clock.now += 10_000
    queue.flush()
    assert queue.part_of("default/p") == Part.UNSCHEDULABLE


def test_the_back_off_doubles_up_to_the_longest() -> None:
    queue, clock = make(pop_from_backoff=False)
    queue.add(view(SMALL))
    lengths = []
    for _ in range(6):
        fail(queue)
        queue.notify(node_added())
        assert queue.part_of("default/p") == Part.BACKOFF
        began = clock.now
        while queue.part_of("default/p") == Part.BACKOFF:
            clock.now += 0.25
            queue.flush()
        lengths.append(clock.now - began)
    assert lengths == [1.25, 2.25, 4.25, 8.25, 10.25, 10.25]


def test_back_off_ends_after_the_second_in_which_it_ends() -> None:
    queue, clock = make()
    queue.add(view(SMALL))
    clock.now = 100.6
    fail(queue)
    queue.notify(node_added())
    assert queue.wake_at() == 102.0
    clock.now = 101.9
    queue.flush()
    assert queue.part_of("default/p") == Part.BACKOFF
    clock.now = 102.0
    queue.flush()
    assert queue.part_of("default/p") == Part.ACTIVE


def test_pods_in_back_off_are_taken_when_no_other_is_left() -> None:
    queue, _ = make()
    queue.add(view(SMALL))
    fail(queue)
    queue.notify(node_added())
    queue.add(view(make_pod("q")))
    assert [pop(queue).pod.row.name for _ in range(2)] == ["q", "p"]


def test_pods_after_errors_are_not_taken_before_their_back_off_ends() -> None:
    queue, clock = make()
    queue.add(view(SMALL))
    queue.failed(pop(queue), ())
    assert queue.part_of("default/p") == Part.BACKOFF
    assert queue.pop() is None
    clock.now += 2
    queue.flush()
    assert pop(queue).error_count == 1


def test_a_rejection_forgets_the_errors_before_it() -> None:
    queue, clock = make()
    queue.add(view(SMALL))
    for _ in range(3):
        queue.failed(pop(queue), ())
        clock.now += 20
        queue.flush()
    item = fail(queue)
    assert (item.error_count, item.unschedulable_count) == (0, 1)


def test_without_back_off_pods_are_ready_at_once() -> None:
    queue, _ = make(max_backoff=0.0)
    queue.add(view(SMALL))
    fail(queue)
    queue.notify(node_added())
    assert queue.part_of("default/p") == Part.ACTIVE


def test_an_event_moves_those_that_it_may_help() -> None:
    queue, _ = make()
    queue.add(view(make_pod("p").container(cpu="4")))
    fail(queue)
    queue.add(view(make_pod("q").container(cpu="1")))
    fail(queue, "q")
    queue.notify(node_added("2"))
    assert (queue.part_of("default/p"), queue.part_of("default/q")) == (Part.UNSCHEDULABLE, Part.BACKOFF)


def test_an_event_during_the_decision_counts_when_the_pod_comes_back() -> None:
    queue, _ = make()
    queue.add(view(SMALL))
    item = pop(queue)
    queue.notify(node_added())
    assert queue.failed(item, ["NodeResourcesFit"]) == Part.BACKOFF


def test_an_event_before_the_decision_does_not_count() -> None:
    queue, _ = make()
    queue.add(view(SMALL))
    queue.add(view(make_pod("q")))
    first = pop(queue)
    queue.notify(node_added())
    second = pop(queue)
    assert queue.failed(second, ["NodeResourcesFit"]) == Part.UNSCHEDULABLE
    assert queue.failed(first, ["NodeResourcesFit"]) == Part.BACKOFF


def test_an_event_of_a_pending_plugin_skips_the_back_off() -> None:
    queue, _ = make()
    queue.add(view(SMALL))
    queue.failed(pop(queue), (), pending=["NodeResourcesFit"])
    queue.notify(node_added())
    assert queue.part_of("default/p") == Part.ACTIVE


def test_a_pod_that_nothing_helps_is_tried_again_after_five_minutes() -> None:
    queue, clock = make()
    queue.add(view(SMALL))
    queue.flush()
    fail(queue)
    clock.now += 299
    queue.flush()
    assert queue.part_of("default/p") == Part.UNSCHEDULABLE
    clock.now += 31
    queue.flush()
    assert pop(queue).was_flushed


def test_left_over_pods_are_looked_for_every_thirty_seconds() -> None:
    queue, clock = make()
    queue.add(view(SMALL))
    fail(queue)
    clock.now += 290
    queue.flush()
    clock.now += 20
    queue.flush()
    assert queue.part_of("default/p") == Part.UNSCHEDULABLE
    clock.now += 10
    queue.flush()
    assert queue.part_of("default/p") == Part.ACTIVE


def test_a_deleted_pod_is_not_taken() -> None:
    queue, _ = make()
    queue.add(view(SMALL))
    queue.add(view(make_pod("q")))
    gone = queue.delete("default/p")
    assert gone is not None
    assert gone.row.name == "p"
    assert queue.delete("default/p") is None
    assert pop(queue).pod.row.name == "q"
    assert queue.pop() is None


def test_an_update_keeps_an_active_pods_age_and_takes_its_priority() -> None:
    queue, clock = make()
    for name in "ab":
        queue.add(view(make_pod(name)))
        clock.now += 1
    queue.update(view(make_pod("b").priority(1)))
    queue.update(view(make_pod("a").tolerate("x", "Exists")))
    assert [pop(queue).pod.row.name for _ in range(2)] == ["b", "a"]


def test_an_update_of_a_pod_in_flight_counts_when_it_comes_back() -> None:
    queue, _ = make()
    queue.add(view(make_pod("p").container(cpu="4")))
    item = pop(queue)
    queue.update(view(SMALL))
    assert queue.failed(item, ["NodeResourcesFit"]) == Part.BACKOFF
    assert item.pod.row.shape.requests == (("cpu", 1000),)


def test_an_unknown_pods_update_is_an_addition() -> None:
    queue, _ = make()
    queue.update(view(SMALL))
    assert pop(queue).key == "default/p"


def test_activating_lets_a_pod_in_whatever_it_waits_for() -> None:
    queue, _ = make()
    queue.add(view(SMALL))
    fail(queue)
    queue.activate(["default/p", "default/unknown"])
    assert queue.part_of("default/p") == Part.ACTIVE
    item = pop(queue)
    queue.activate(["default/p"])
    assert queue.failed(item, ["NodeAffinity"]) == Part.BACKOFF


def test_one_pod_is_taken_by_name_wherever_it_waits() -> None:
    queue, _ = make()
    queue.add(view(SMALL))
    fail(queue)
    queue.add(view(make_pod("q").gate("g")))
    item = queue.take_pod("default/p")
    assert item is not None
    assert item.attempts == 2
    assert queue.take_pod("default/q") is None
    assert queue.counts() == {Part.ACTIVE: 0, Part.BACKOFF: 0, Part.UNSCHEDULABLE: 1, Part.IN_FLIGHT: 0}


def test_only_the_users_of_a_claim_hear_of_it() -> None:
    queue, _ = make()
    for name, claim in (("p", "a"), ("q", "b")):
        queue.add(view(make_pod(name), claim))
        fail(queue, name, "VolumeBinding")
    claim = {"metadata": {"name": "b", "namespace": "default"}}
    queue.notify(Event(events.PERSISTENT_VOLUME_CLAIM, Action.ADD, None, claim))
    assert (queue.part_of("default/p"), queue.part_of("default/q")) == (Part.UNSCHEDULABLE, Part.BACKOFF)


def test_a_hint_is_asked_once_for_all_pods_that_it_cannot_tell_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    queue, _ = make()
    for i in range(50):
        queue.add(view(make_pod(f"p{i}").container(cpu="4")))
        fail(queue, f"p{i}")
    asked: list[object] = []
    worth = queue._worth
    monkeypatch.setattr(queue, "_worth", lambda *args, **more: (asked.append(args), worth(*args, **more))[1])
    queue.notify(node_added("2"))
    assert len(asked) == 1
    queue.notify(node_added("4"))
    assert queue.counts()[Part.BACKOFF] == 50


def test_a_pod_that_waits_cannot_fail() -> None:
    queue, _ = make()
    queue.add(view(SMALL))
    item = fail(queue)
    with pytest.raises(errors.StateError, match="waits already"):
        queue.failed(item, ["NodeResourcesFit"])


def test_times_are_not_negative() -> None:
    with pytest.raises(errors.InputError, match="queue: max_backoff: is negative"):
        Timing(max_backoff=-1.0)
