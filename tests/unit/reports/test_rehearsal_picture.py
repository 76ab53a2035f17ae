"""Services, roles and hosts as a picture (tasks/reports/rehearsal_picture.py)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from tasks.reports.rehearsal_picture import APART, Box, Picture, draw
from tests.unit.reports.rehearsals import HOSTS, ROLES

HOST_NAMES = ["a", "b", "c"]
TIERS = st.lists(
    st.tuples(
        st.builds(Box, st.sampled_from("pqrst"), st.lists(st.just("line"), max_size=3).map(tuple)),
        st.sampled_from(HOST_NAMES),
        st.lists(st.sampled_from([f"service-{n}" for n in range(9)]), max_size=6),
    ),
    max_size=8,
)


def platform() -> Picture:
    roles = [(Box(role.name, ("address", "memory")), role.host, role.services) for role in ROLES]
    return draw(roles, [Box(host.name) for host in HOSTS])


def ends(paths: Sequence[str], left: Sequence[Box], right: Sequence[Box]) -> set[tuple[str, str]]:
    """What each line leads from and to, by where it begins and ends."""
    found = [re.findall(r"[\d.]+", path) for path in paths]
    at = {f"{box.middle:g}": box.name for box in left}, {f"{box.middle:g}": box.name for box in right}
    return {(at[0][numbers[1]], at[1][numbers[-1]]) for numbers in found}


def test_every_service_leads_to_its_roles_and_every_role_to_its_host() -> None:
    picture = platform()
    wanted = {(service, role.name) for role in ROLES for service in role.services}
    assert ends(picture.uses, picture.services, picture.roles) == wanted
    assert ends(picture.runs, picture.roles, picture.hosts) == {(role.name, role.host) for role in ROLES}


def test_a_service_of_several_roles_stands_once() -> None:
    assert len(platform().services) == len({service for role in ROLES for service in role.services})


@given(TIERS)
def test_nothing_overlaps_and_nothing_is_left_out(roles: list[tuple[Box, str, list[str]]]) -> None:
    picture = draw(roles, [Box(name, ("one",)) for name in HOST_NAMES])
    assert sorted(box.name for box in picture.roles) == sorted(box.name for box, _, _ in roles)
    assert {box.name for box in picture.services} == {name for _, _, names in roles for name in names}
    assert sorted(box.name for box in picture.hosts) == HOST_NAMES
    for column, apart in ((picture.services, 0), (picture.roles, APART), (picture.hosts, APART)):
        assert all(box.top >= 0 and box.top + box.height <= picture.height + 0.1 for box in column)
        assert all(above.top + above.height + apart <= below.top + 0.2 for above, below in pairwise(column))
    assert len(picture.runs) == len(roles)


@given(TIERS)
def test_roles_of_one_host_stand_together(roles: list[tuple[Box, str, list[str]]]) -> None:
    numbered = [(Box(str(number)), host, names) for number, (_, host, names) in enumerate(roles)]
    order = [numbered[int(box.name)][1] for box in draw(numbered, [Box(name) for name in HOST_NAMES]).roles]
    assert order == sorted(order)


def test_one_role_on_one_host_is_in_line_with_it() -> None:
    picture = platform()
    assert [box.middle for box in picture.hosts] == [box.middle for box in picture.roles]
