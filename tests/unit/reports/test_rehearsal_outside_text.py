"""Whatever stands in a rehearsal is shown as text, whole, and steers neither a page nor its reader's terminal."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.catalogue.printable import printable
from tasks.reports.rehearsal_model import DrillResult, Figure, NotRun, Rehearsal, Scaled, Series, Step
from tasks.reports.rehearsal_page import to_html
from tests.unit.reports.reading import Page, whole_links
from tests.unit.reports.rehearsals import HOSTS, ROLES, full, whole
from tests.unit.reports.test_rehearsal_model import any_rehearsal, some


def hostile(text: str) -> Rehearsal:
    """A rehearsal in which every text is `text`."""
    host = replace(HOSTS[0], name=text, address=text, debian=text, kernel=text, redis=text)
    role = replace(
        ROLES[0], name=text, host=text, address=text, maxmemory_policy=text, appendfsync=text, services=(text, text)
    )
    series = (Series(text, text, ((0, 1), (1, 2)), ((0.5, text),)), Series(text, text, ((0, 3),), ()))
    result = DrillResult(text, text, text, text, False, 1, text, {text: Figure(text, text)}, series, (text,))
    return replace(
        whole(),
        inventory=text,
        commit=text,
        came_from=text,
        like=text,
        hosts=(host,),
        roles=(role,),
        scaled=(Scaled(text, text, text, text),),
        steps=(Step(text, text, 1, False, (text,)),),
        drills=(result, replace(result, role=None, passed=True)),
        not_run=(NotRun(text, text, text), NotRun("power", None, text)),
    )


MARKUP = st.text(alphabet=st.sampled_from(" <>&\"'/!-=ax%{}#\x00\x1b\n\u202e\ud800"), min_size=1)


@given(text=st.one_of(st.text(min_size=1), MARKUP))
def test_no_value_becomes_markup(text: str) -> None:
    page, harmless = Page(to_html(hostile(text))), Page(to_html(hostile("harmless")))
    assert [tag for tag in page.tags if tag not in ("span", "wbr")] == [
        tag for tag in harmless.tags if tag not in ("span", "wbr")
    ]
    assert {name for _, name, _ in page.attributes} == {name for _, name, _ in harmless.attributes}


@given(text=MARKUP)
def test_any_name_makes_links_that_lead_somewhere(text: str) -> None:
    whole_links(Page(to_html(hostile(text))))


@given(text=MARKUP)
def test_a_page_can_always_be_written_as_utf_8_and_steers_nothing(text: str) -> None:
    page = Page(to_html(hostile(text)).encode().decode())
    assert all(line.isprintable() for line in "".join(page.texts).split("\n"))


EVIL = 'x<b class="y">\x1b[2J\u202e&amp;\udcff'
SHOWN = printable(EVIL.encode(errors="backslashreplace").decode())
RESULT = full(ROLES[0])


def odd(item: Any, field: str) -> Any:
    """`item` with the field's text replaced."""
    return replace(item, **{field: EVIL})


FIGURE, SERIES, STEP = Figure(1, "s"), Series("a", "s", ((0, 1),), ((0, "b"),)), Step("a", "b", 1, True, ())
SCALED, LEFT_OUT = Scaled(None, "a", "b", "c"), NotRun("power", None, "a")
WITH_TEXT: dict[str, Rehearsal] = {
    **{name: odd(some(RESULT), name) for name in ("inventory", "commit", "came_from", "like")},
    **{
        f"host.{name}": some(RESULT, hosts=(odd(HOSTS[0], name), HOSTS[1]))
        for name in ("address", "debian", "kernel", "redis")
    },
    **{
        f"role.{name}": some(roles=(odd(ROLES[0], name), ROLES[1]))
        for name in ("name", "address", "maxmemory_policy", "appendfsync")
    },
    "role.services": some(RESULT, roles=(replace(ROLES[0], services=(EVIL,)), ROLES[1])),
    **{f"scaled.{name}": some(scaled=(odd(SCALED, name),)) for name in ("setting", "wanted", "used")},
    **{f"step.{name}": some(steps=(odd(STEP, name),)) for name in ("name", "command")},
    "step.said": some(steps=(replace(STEP, said=(EVIL,)),)),
    **{f"drill.{name}": some(odd(RESULT, name)) for name in ("drill", "promise", "proved_by")},
    "drill.said": some(replace(RESULT, said=(EVIL,))),
    "figure.name": some(replace(RESULT, figures={EVIL: FIGURE})),
    **{f"figure.{name}": some(replace(RESULT, figures={"a": odd(FIGURE, name)})) for name in ("value", "unit")},
    **{f"series.{name}": some(replace(RESULT, series=(odd(SERIES, name),))) for name in ("name", "unit")},
    "series.marks": some(replace(RESULT, series=(replace(SERIES, marks=((0, EVIL),)),))),
    **{f"not_run.{name}": some(not_run=(odd(LEFT_OUT, name),)) for name in ("drill", "why")},
}


@pytest.mark.parametrize("rehearsal", WITH_TEXT.values(), ids=WITH_TEXT)
def test_every_field_is_shown_whole_and_as_text(rehearsal: Rehearsal) -> None:
    page = Page(to_html(rehearsal))
    assert SHOWN in page.text
    assert "b" not in page.tags


@given(any_rehearsal())
def test_any_rehearsal_makes_a_whole_page(rehearsal: Rehearsal) -> None:
    page = Page(to_html(rehearsal))
    whole_links(page)
    for item in rehearsal.drills:
        assert " ".join(printable(item.promise).split()) in page.text
