"""Cases are opened one at a time, when they are looked at."""

from __future__ import annotations

import threading

from viewer_helpers import MakeSession

from ldseg.app.viewer.case_list import _KEPT, CaseList
from ldseg.app.viewer.session import Session
from ldseg.inference.output import OnPlanes


def test_nothing_is_opened_before_it_is_looked_at(make_session: MakeSession) -> None:
    opened: list[int] = []

    def open_case(number: int, _: OnPlanes) -> Session:
        opened.append(number)
        return session

    session = make_session()
    cases = CaseList("abcde", open_case)
    assert opened == [0]
    for number in (3, 0, 3):
        cases.open(number)
        cases.wait()
    assert opened == [0, 3]
    for number in (1, 2, 4):
        cases.open(number)
        cases.wait()
    assert [cases.find(number) is not None for number in range(5)].count(True) == _KEPT
    assert cases.find(4) is session


def test_the_latest_wish_ends_the_one_before(make_session: MakeSession) -> None:
    begun, session = threading.Event(), make_session()

    def open_case(number: int, on_planes: OnPlanes) -> Session:
        while number == 1:  # a prediction that would never end
            begun.set()
            on_planes()
        return session

    cases = CaseList("abc", open_case)
    cases.open(1)
    assert begun.wait(20)
    cases.open(2)
    cases.wait()
    assert cases.find(1) is None
    assert cases.problem(1) == ""
    assert cases.find(2) is session
    cases.open(1)
    cases.end()
    assert cases.find(1) is None
