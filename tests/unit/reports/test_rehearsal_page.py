"""A rehearsal as a page (tasks/reports/rehearsal_page.py), read with an HTML parser as a browser would."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from tasks.reports import to_html as drift_page
from tasks.reports.rehearsal_model import Figure, NotRun, Rehearsal, Step
from tasks.reports.rehearsal_page import to_html
from tasks.reports.rehearsal_words import duration, figure_text, gaps, ran
from tests.unit.reports.preview import report
from tests.unit.reports.reading import Page, needs_nothing_else, whole_links
from tests.unit.reports.rehearsals import HOSTS, ROLES, crash, full, latency, mixed, nothing, rehearsals, whole
from tests.unit.reports.test_rehearsal_model import some

PAGES = [pytest.param(sample, id=name) for name, sample in rehearsals().items()]


def text_of(rehearsal: Rehearsal) -> str:
    return Page(to_html(rehearsal)).text


def head_of(rehearsal: Rehearsal) -> str:
    """What stands before the first heading of the body: the verdict."""
    return text_of(rehearsal).split("Not proved")[0]


def opened(rehearsal: Rehearsal) -> str:
    """What stands before the picture: the verdict and what is not proved."""
    return text_of(rehearsal).split("What was rehearsed")[0]


@pytest.mark.parametrize("sample", PAGES)
def test_a_page_is_well_formed_english_and_needs_nothing_else(sample: Rehearsal) -> None:
    needs_nothing_else(to_html(sample))


@pytest.mark.parametrize("sample", PAGES)
def test_every_link_leads_to_a_place_on_the_page(sample: Rehearsal) -> None:
    whole_links(Page(to_html(sample)))


@pytest.mark.parametrize("sample", PAGES)
def test_every_table_has_a_caption_and_headings(sample: Rehearsal) -> None:
    tags = Page(to_html(sample)).tags
    assert tags.count("caption") == tags.count("thead") == tags.count("table")


def test_it_looks_as_the_drift_page_does() -> None:
    style = drift_page(report()).split("<style>")[1].split(".list.health")[0]
    assert style in to_html(mixed())


def test_the_verdict_is_the_first_thing_on_it_and_green_only_for_a_pass() -> None:
    assert head_of(whole()).startswith("Passed: 32 promises held · Redis rehearsal Passed: 32 promises held")
    assert 'class="verdict held"' in to_html(whole())
    assert "Failed: 2 of 62 promises did not hold" in head_of(mixed())
    for bad in (mixed(), nothing()):
        assert 'class="verdict failed"' in to_html(bad)


def test_a_step_that_failed_makes_no_page_green() -> None:
    step = Step("verify", "pyinfra …", 1.0, False, ("gateway: not right", "gateway: does not answer"))
    text = to_html(some(full(ROLES[0]), steps=(step,)))
    assert 'class="verdict failed"' in text
    assert "step failed verify the rehearsal itself gateway: does not answer" in Page(text).text


def test_the_head_says_what_was_rehearsed_when_how_long_and_on_which_versions() -> None:
    head = head_of(mixed())
    assert "began 2026-03-09 04:15:07 UTC, ended 2026-03-09 04:29:39 UTC, took 14 min 32 s in all" in head
    assert "inventory inventory/staging.py commit 3a7ba16e deployed over v1.4 catalogue of inventory/prod.py" in head
    assert "Redis 8.0.2 Debian 13 kernel 6.12.48+deb13-cloud-amd64" in head
    assert "✓ 60 held ✕ 2 failed ○ 23 not tried ↓ 7 settings scaled" in head


def test_versions_that_differ_are_all_named() -> None:
    both = replace(whole(), hosts=(replace(HOSTS[0], name="redis-1"), replace(HOSTS[1], debian="12", redis="7.0.15")))
    assert "Redis 8.0.2 (1 host), 7.0.15 (1 host) Debian 13 (1 host), 12 (1 host)" in head_of(both)


def test_what_failed_was_left_out_or_scaled_is_said_before_anything_else() -> None:
    first = opened(mixed())
    found = "found: compliance: 3 acknowledged writes are gone"
    assert f"failed power cut compliance promised: A power cut loses nothing {found}" in first
    assert "not tried client stampede every role needs 4 cores to mean anything" in first
    assert "not tried tampering socket, shared, compliance, crypto drills= did not name it" in first
    assert "not tried rewrite with memory short every role not asked for: --drills all (make rehearse) has it" in first
    assert "gateway, compliance, crypto maxmemory 256mb 64mb socket, shared maxmemory 512mb 64mb" in first
    assert "every host RAM 4096 MiB 1024 MiB" in first


def test_a_rehearsal_that_left_nothing_out_says_so() -> None:
    first = opened(whole())
    assert "Nothing failed and nothing was left out: every drill was run for every role." in first
    assert "Every role was deployed with the settings that it is asked for" in first
    assert "what a drill lowered for itself is in its own words" in first
    assert "Nothing was scaled" not in first


def test_every_role_has_every_promise_with_its_proof_and_its_figures() -> None:
    text = to_html(mixed())
    for role in ROLES:
        section = Page(text.split(f'id="role-{role.name}/{role.host}">')[1].split("</section>")[0]).text
        for item in mixed().drills:
            said = f"{item.promise} {item.proved_by}"
            if item.role == role.name:
                assert said in section
                for name, figure in item.figures.items():
                    assert f"{name.replace('_', ' ')} {figure_text(figure)}" in section


def test_a_role_says_what_the_platform_s_table_promises_of_it() -> None:
    text = text_of(mixed())
    assert (
        "answers at 172.28.2.4:6382, inside the platform :6379 memory 64mb when full refuses writes (noeviction)"
        in text
    )
    assert "may lose at a power cut nothing (appendfsync always) used by compliance-service" in text
    assert "when full evicts keys with a TTL only (volatile-lru) may lose at a power cut at most two seconds" in text


def test_a_policy_that_nobody_knows_here_and_a_role_without_a_log_are_shown_as_they_are() -> None:
    other = replace(ROLES[0], maxmemory_policy="allkeys-lfu", appendonly=False, maxmemory=0, inner_port=None)
    text = text_of(some(roles=(other, ROLES[1])))
    assert "answers at 172.28.2.1:6379 memory no limit when full allkeys-lfu" in text
    assert "may lose at a power cut all of it: no log" in text


def test_the_overview_has_a_mark_for_every_drill_and_role_that_leads_to_its_proof() -> None:
    text = to_html(mixed())
    overview = text.split('class="overview matrix"')[1].split("</table>")[0]
    words = Page(overview.split(">", 1)[1]).text
    assert "power cut ✓ held ✓ held ✓ held ✕ failed ✓ held" in words
    assert "reboot ✓ held ✓ held ✓ held ✓ held ✓ held" in words
    assert "busy script ✓ held ✓ held ○ not tried ✓ held ✓ held" in words
    anchor = re.findall('href="#([^"]+)"', overview.split(">power cut</th>")[1])[3]
    assert "<h4>not kept: A power cut loses nothing</h4>" in text.split(f'id="{anchor}">')[1].split("</article>")[0]


def test_a_drill_of_an_unknown_name_is_shown_as_the_others_are() -> None:
    text = text_of(mixed())
    assert "clock jump ✓ held ○ not tried" in text
    assert "Keys do not expire early when the clock jumps date -s '+1 hour' under writes with TTL" in text


def test_what_holds_of_a_whole_host_is_shown_once_with_that_host() -> None:
    section = text_of(mixed()).split("The hosts themselves ✓ 6 held")[1].split("What was run")[0]
    assert "✓ held reboot · redis-shared · 42 s After a reboot every role is back by itself" in section


def test_of_two_results_of_one_drill_the_one_that_failed_shows() -> None:
    bad = replace(full(ROLES[0]), passed=False, promise="also this")
    assert "memory full ✕ 1 of 2 failed ○ not tried" in text_of(some(full(ROLES[0]), bad))


def test_the_picture_names_services_roles_and_hosts_and_how_each_role_fared() -> None:
    picture = to_html(mixed()).split('class="wide"')[1].split("</figure>")[0]
    for name in ("auth-service", "search-service", "gateway", "crypto", "redis-crypto", "172.28.2.5:6383"):
        assert f">{name}<" in picture
    assert ">64mb noeviction<" in picture
    assert ">✕ 1 of 11 failed<" in picture
    assert '<a href="#role-crypto/redis-crypto" class="failed">' in picture


def test_where_the_screen_is_narrow_each_role_says_its_host() -> None:
    assert ">on redis-crypto<" in to_html(mixed()).split('class="narrow"')[1]


def test_a_role_on_two_hosts_is_told_apart() -> None:
    two = tuple(replace(ROLES[0], host=host.name) for host in HOSTS[:2])
    text = text_of(some(full(two[0]), roles=two))
    assert "memory full ✓ held ○ not tried" in text
    assert "gateway on redis-socket ○ nothing proved" in text


def test_a_plot_has_its_unit_its_legend_its_axes_and_its_marks() -> None:
    text = text_of(some(latency(ROLES[0])))
    assert "ms, logarithmic p50 0.11 to 0.214 ms p99 0.42 to 4.09 ms max 1.3 to 29.4 ms 0.1 1 10 100" in text
    assert "0 10 20 30 40 50 60 s since the drill began 20 s: BGREWRITEAOF 21.1 s: fork, 11 ms" in text


def test_what_was_run_lists_the_drills_between_the_commands_before_and_after_them() -> None:
    steps = text_of(mixed()).split("What was run")[1]
    assert "passed deploy again" in steps
    assert "2 did not hold drills, one after the other, each on every role at once tasks/rehearse.py" in steps
    assert "power cut: 4 of 5 held, 1 min 11 s" in steps
    assert steps.index("tasks/rehearse.py") < steps.index("verify, after the last drill")


def test_the_page_says_who_the_services_are_and_that_roles_are_drilled_at_once() -> None:
    text = text_of(mixed())
    assert "No service itself took part: this tool asked and wrote by the services' own logins, through SSH" in text
    assert "each drill ran on all its roles at once" in text


def test_a_drill_of_several_places_took_as_long_as_the_slowest_of_them() -> None:
    slow = replace(full(ROLES[1]), seconds=50.0)
    assert ran([full(ROLES[0]), slow, crash(ROLES[0])]) == (
        "memory full: 2 of 2 held, 50 s",
        "server killed: 1 of 1 held, 47 s",
    )


@pytest.mark.parametrize("lines", [1, 9])
def test_what_a_drill_said_is_open_when_it_failed_and_folded_when_it_held_however_long_it_is(lines: int) -> None:
    many = tuple(f"line {number}" for number in range(9 - lines, 9))
    held, failed = replace(full(ROLES[0]), said=many), replace(crash(ROLES[0]), said=many, passed=False)
    text = to_html(some(held, failed))
    assert text.count('<details class="said">') == 1
    assert text.count('<details class="said" open>') == 1
    assert text.count("<li><code><span>line</span> <span>8</span></code></li>") == 2


def of_machines(*kinds: str) -> Rehearsal:
    """Roles on hosts of these kinds."""
    hosts = tuple(replace(host, machine=kind) for host, kind in zip(HOSTS, kinds, strict=True))
    return replace(some(), hosts=hosts, roles=ROLES)


def test_what_the_hosts_are_is_in_the_verdict_and_each_with_its_disk_below() -> None:
    sample = of_machines("qemu", "kvm", "systemd-nspawn", "none", "")
    head, page = head_of(sample), text_of(sample)
    assert "hosts emulated VM (1 host), VM (1 host), container (1 host), machine of its own (1 host)" in head
    assert "not seen (1 host)" in head
    assert page.count("/dev/vda1 ext4") == 5
    assert "emulated VM" in page.split("What was rehearsed")[1]


def test_words_of_a_cell_stay_together_on_a_narrow_screen() -> None:
    cells = re.findall(r'<td role="cell" data-column="Disk">(.*?)</td>', to_html(of_machines(*["kvm"] * 5)))
    assert cells == ["<span><span>/<wbr>dev/<wbr>vda1</span> <span>ext4</span></span>"] * 5


def test_hosts_that_are_alike_are_counted_in_the_verdict() -> None:
    assert "hosts 5 × emulated VM" in head_of(of_machines(*["qemu"] * 5))


DURATIONS = {
    0: "0.0 s",
    0.42: "0.4 s",
    41.2: "41 s",
    59.7: "1 min",
    60: "1 min",
    872.4: "14 min 32 s",
    3720: "1 h 02 min",
}


@pytest.mark.parametrize(("seconds", "words"), DURATIONS.items())
def test_a_duration_is_as_long_as_people_say_it(seconds: float, words: str) -> None:
    assert duration(seconds) == words


FIGURES = {
    (5, ""): "5",
    (1, "writes"): "1 write",
    (1, "s"): "1 s",
    (1, "ms"): "1 ms",
    (102_400, "keys"): "102,400 keys",
    (0.12345, "ms"): "0.123 ms",
    (25.94, "ms"): "25.9 ms",
    (268_435_456, "bytes"): "256 MiB",
    (512, "bytes"): "512 bytes",
    (1234.5, "s"): "1,234 s",
    ("BUSY", ""): "BUSY",
}


@pytest.mark.parametrize(("figure", "words"), FIGURES.items())
def test_a_figure_is_written_as_people_read_it(figure: tuple[Any, str], words: str) -> None:
    assert figure_text(Figure(*figure)) == words


def test_drills_that_were_left_out_for_one_reason_are_one_line() -> None:
    left_out = [NotRun(drill, role, "not asked for") for drill in ("power", "crash") for role in ("a", "b")]
    (gap,) = gaps([*left_out, NotRun("power", "a", "not asked for")], ["a", "b"])
    assert (gap.drill_words, gap.role_words) == ("power cut, server killed", "every role")
