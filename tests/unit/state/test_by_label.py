# SPDX-License-Identifier: Apache-2.0
"""Things found by labels."""

from __future__ import annotations

from kubesched.state.by_label import ByLabel

WEB, DB, RED = ("app", "web"), ("app", "db"), ("team", "red")


def test_what_shares_a_label_is_found_once_and_by_number() -> None:
    filed = ByLabel[str]()
    filed.add(7, "both", (WEB, RED))
    filed.add(3, "web", (WEB,))
    filed.add(5, "any", None)
    filed.add(1, "nobody", ())
    assert filed.find((RED, WEB)) == [(3, "web"), (5, "any"), (7, "both")]
    assert filed.find((DB,)) == filed.find(()) == [(5, "any")]
    assert filed.find(None) == list(filed) == [(7, "both"), (3, "web"), (5, "any"), (1, "nobody")]
    assert filed.count((WEB, DB)) == 2


def test_what_was_removed_leaves_nothing_behind() -> None:
    filed = ByLabel[str]()
    for number, labels in enumerate(((WEB, WEB), None, ())):
        filed.add(number, "gone", labels)
    for number in range(3):
        filed.remove(number)
    assert filed.find((WEB,)) == list(filed) == []
    assert filed.count((WEB,)) == 0
    filed.add(0, "again", (DB,))
    assert filed.find((WEB,)) == []
