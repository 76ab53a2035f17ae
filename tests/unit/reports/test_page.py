"""The drift report as a page (tasks/reports/page.py), read with an HTML parser as a browser would."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.catalogue.printable import printable
from tasks.reports import DriftReport, HostReport, to_html
from tests.unit.builders import differs
from tests.unit.reports.preview import CHECKED_AT, GATEWAY, UNREACHABLE, host, report, samples
from tests.unit.reports.reading import Page, needs_nothing_else, whole_links

PAGES = [pytest.param(sample, id=name) for name, sample in samples().items()]


@pytest.mark.parametrize("sample", PAGES)
def test_a_page_is_well_formed_english_and_needs_nothing_else(sample: DriftReport) -> None:
    needs_nothing_else(to_html(sample))


@pytest.mark.parametrize("sample", PAGES)
def test_every_link_leads_to_a_place_on_the_page(sample: DriftReport) -> None:
    whole_links(Page(to_html(sample)))


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
    assert text.count("docs/runbook.md#host-not-seen") == 1
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


def test_beside_what_was_found_stands_its_entry_of_the_runbook() -> None:
    text = Page(to_html(samples()["not-known"])).text.replace("\u200b", "")
    for entry in ("busy", "memory-full", "disk-full", "drift-found"):
        assert f"docs/runbook.md#{entry}" in text


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
    whole_links(Page(to_html(hostile(text))))


@given(text=MARKUP)
def test_a_page_can_always_be_written_as_utf_8(text: str) -> None:
    to_html(hostile(text)).encode()


def test_what_concerns_the_tier_as_a_whole_stands_at_the_head_once() -> None:
    text = to_html(replace(samples()["in-sync"], notes=("shared: no host <b>carries it",)))
    assert text.count("shared: no host &lt;b&gt;carries it") == 1
