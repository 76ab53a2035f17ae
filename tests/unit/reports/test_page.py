"""The drift report as a page (tasks/reports/page.py), read with an HTML parser as a browser would."""

from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.catalogue.printable import printable
from tasks.reports import DriftReport, HostReport, to_html
from tests.unit.builders import differs
from tests.unit.reports.preview import CHECKED_AT, GATEWAY, UNREACHABLE, host, report, samples

VOID = {"meta", "wbr"}


class Page(HTMLParser):
    """Tags, attributes and texts of a page; fails on tags that do not close what was opened."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.texts.append(data)

    def values(self, name: str) -> list[str]:
        """Every value of an attribute."""
        return [value for _, attribute, value in self.attributes if attribute == name]

    @property
    def text(self) -> str:
        """All that a reader sees, with each run of white space as one space."""
        return " ".join("".join(self.texts).split())


PAGES = [pytest.param(sample, id=name) for name, sample in samples().items()]


@pytest.mark.parametrize("sample", PAGES)
def test_a_page_is_well_formed_english_and_needs_nothing_else(sample: DriftReport) -> None:
    text = to_html(sample)
    page = Page(text)
    assert text.startswith("<!doctype html>\n")
    assert ("html", "lang", "en") in page.attributes
    assert not {"script", "link", "img", "iframe", "object", "base", "form"} & set(page.tags)
    assert not [name for _, name, _ in page.attributes if name.startswith("on") or name in ("src", "style")]
    assert all(link.startswith("#") for link in page.values("href"))
    assert not [part for part in ("url(", "@import", "://") if part in text]


@pytest.mark.parametrize("sample", PAGES)
def test_every_link_leads_to_a_place_on_the_page(sample: DriftReport) -> None:
    page = Page(to_html(sample))
    places = page.values("id")
    assert len(places) == len(set(places))
    assert {link.removeprefix("#") for link in page.values("href")} <= set(places)


@pytest.mark.parametrize("sample", PAGES)
def test_every_table_has_a_caption_and_headings(sample: DriftReport) -> None:
    tags = Page(to_html(sample)).tags
    assert tags.count("caption") == tags.count("thead") == tags.count("table")


def test_a_tier_in_sync_says_so_first_and_lists_nothing_below() -> None:
    page = Page(to_html(samples()["in-sync"]))
    assert "In sync: 5 roles on 5 hosts" in page.text.split("Hosts and roles")[0]
    assert page.tags.count("table") == 1


def test_what_a_person_should_know_of_a_host_in_sync_is_said() -> None:
    text = Page(to_html(samples()["container"])).text
    assert "redis-gateway ✓ in sync vm.overcommit_memory is 0, wanted 1: the kernel belongs to" in text


def test_a_host_that_was_not_seen_is_named_with_its_reason_and_its_role_is_unknown() -> None:
    text = Page(to_html(report(host("gateway"), host("socket", "unreachable", message=UNREACHABLE)))).text
    assert "redis-socket ✕ unreachable · ? unknown" in text
    assert UNREACHABLE in text
    assert "1 of 2 hosts not in sync" in text


def test_a_check_without_a_host_does_not_look_like_success() -> None:
    text = to_html(samples()["nobody"])
    assert "No host was looked at" in text
    assert 'class="verdict error"' in text


def test_each_field_of_the_overview_has_a_symbol_and_words_beside_its_colour() -> None:
    text = Page(to_html(samples()["drifted"])).text
    assert "redis-gateway ≠ 4 differences · · ≠ 8 differences · ·" in text
    assert "redis-shared ✓ in sync · · · ✓ in sync ·" in text


def test_a_role_s_field_leads_to_the_differences_of_that_role() -> None:
    page = to_html(samples()["onebox"])
    assert '<a href="#host-redis-1/crypto">3 differences</a>' in page
    crypto = page.split('<tbody role="rowgroup" id="host-redis-1/crypto">')[1].split("</tbody>")[0]
    assert crypto.count("<tr") == 3
    assert "aof_last_write_status" in crypto


def test_every_part_of_every_difference_is_on_the_page() -> None:
    text = Page(to_html(samples()["drifted"])).text
    for item in GATEWAY:
        row = f"{item.subject} {item.name} {item.expected} {item.observed}"
        assert row in text
        assert str(item.remedy).removeprefix("by hand: ") in text.split(row)[1][:120]


def test_the_next_deploy_and_a_person_are_told_apart() -> None:
    page = Page(to_html(samples()["drifted"]))
    assert page.values("class").count("label hand") == 3
    assert "“by hand”: a person has to" in page.text


def test_a_tier_in_sync_that_is_not_well_says_so_first_and_where() -> None:
    text = to_html(samples()["unwell"])
    page = Page(text)
    assert "In sync: 5 roles on 5 hosts; 1 critical, 1 warning" in page.text.split("Hosts and roles")[0]
    assert 'class="verdict error"' in text
    assert "redis-crypto ✓ in sync · ✓ in sync ▲ MEM-FULL △ WRITES-REFUSED" in page.text
    assert '<a href="#host-redis-crypto//health/crypto">MEM-FULL</a>' in text
    row = "crypto critical MEM-FULL 99 % of maxmemory 256 MiB of 256mb used (100 %), noeviction, nothing to evict"
    assert row in page.text


def test_a_warning_alone_leaves_the_page_green() -> None:
    assert 'class="verdict in_sync"' in to_html(samples()["warned"])


def test_what_is_not_known_is_listed_and_hides_nothing() -> None:
    text = Page(to_html(samples()["not-known"])).text
    assert "1 unknown, 1 critical, 2 warnings, 5 differences (1 by hand)" in text
    assert "shared its settings, users and data BUSY Redis is busy running a script." in text
    assert "Not well at redis-1" in text
    assert "Differences of redis-1" in text


def test_forty_hosts_are_forty_rows() -> None:
    page = Page(to_html(samples()["forty"]))
    overview = page.text.split("Hosts and roles")[1].split("5 differences (2 by hand)")[0]
    assert overview.count("redis-") == 40


def hostile(text: str) -> DriftReport:
    """A report in which everything that comes from outside is `text`."""
    difference = differs("crypto", "file", text, text, text, text)
    return DriftReport(CHECKED_AT, (HostReport(text, "drifted", "", (), (difference,), 0.1),), 0.1, 1, 1)


MARKUP = st.text(alphabet=st.sampled_from(" <>&\"'/!-=ax%{}#\x00\x1b\n\u202e\ud800"), min_size=1)


@given(text=st.one_of(st.text(min_size=1), MARKUP))
def test_no_value_becomes_markup(text: str) -> None:
    page, harmless = Page(to_html(hostile(text))), Page(to_html(hostile("harmless")))
    known = [tag for tag in page.tags if tag not in ("span", "wbr")]
    assert known == [tag for tag in harmless.tags if tag not in ("span", "wbr")]
    assert "".join(page.texts).count(printable(text)) >= 5


@given(text=MARKUP)
def test_any_name_makes_links_that_lead_somewhere(text: str) -> None:
    page = Page(to_html(hostile(text)))
    places = page.values("id")
    assert [place.split() for place in places] == [[place] for place in places]
    assert {link.removeprefix("#") for link in page.values("href")} <= set(places)


@given(text=MARKUP)
def test_a_page_can_always_be_written_as_utf_8(text: str) -> None:
    to_html(hostile(text)).encode()


def test_what_concerns_the_tier_as_a_whole_stands_at_the_head_once() -> None:
    text = to_html(replace(samples()["in-sync"], notes=("shared: no host <b>carries it",)))
    assert text.count("shared: no host &lt;b&gt;carries it") == 1
