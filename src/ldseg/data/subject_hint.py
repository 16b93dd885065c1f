"""Recognize names of cases that look like several images of one subject, e.g. 795_HC and 795_2HC."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence

from ldseg.data.cases import Case

_PATTERNS = (r"^(\d{2,})\D", r"^([A-Za-z]+[_-]?\d{2,})[_-]")
"""Beginnings that may name a subject: a number, or a word and a number. Of one digit it is rather a part."""
_FEWEST = 3
"""Subjects, below which a common beginning rather names a part of the set."""


def subject_hint(cases: Sequence[Case]) -> str | None:
    """Return a hint at cases whose names begin alike, None if there are none or the subjects are known."""
    if any(case.subject != case.name for case in cases):
        return None
    for pattern in _PATTERNS:
        groups: dict[str, list[str]] = defaultdict(list)
        for case in cases:
            match = re.search(pattern, case.name)
            groups[match[1] if match else ""].append(case.name)
        shared = [names for names in groups.values() if len(names) > 1]
        if shared and "" not in groups and len(groups) >= _FEWEST:
            many = "group of cases begins" if len(shared) == 1 else "groups of cases begin"
            first, second = shared[0][:2]
            return (
                f"{len(shared)} {many} with the same number, e.g. {first} and {second}; if those are of one "
                f"subject, --subject-pattern '{pattern}' keeps them in one part of the split"
            )
    return None
