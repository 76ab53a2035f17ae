"""Which copy of a role a restore takes, and which it refuses."""

import re
import subprocess
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from tasks.catalogue.backup import place_of, with_login
from tasks.compare.backups import Record
from tasks.compare.copies import RESERVE, Wish, choose, cut_second, manifest, passed_by, set_back, unfit_copy
from tasks.desired.backup import SOURCES
from tasks.observed.copies import Copy
from tests.unit.builders import BACKUP, as_desired, desired

HOUR = 3600
NOW = 1795800000


OLD, NEW = "a" * 16, "b" * 16  # lives
DEAD, ALIVE = "1" * 16, "2" * 16  # machines


def copy(hours: float, life: str = OLD, machine: str = DEAD, after: str = "", keys: int = 9) -> Copy:
    """One that had ended so many hours ago."""
    seconds = int(NOW - hours * HOUR)
    at = datetime.fromtimestamp(seconds, UTC)
    return Copy("crypto", f"{seconds:016x}", life, at, "redis-1", keys, "7.0.15", 1 << 20, seconds, machine, after)


BEFORE, BEGUN = [copy(5), copy(6)], [copy(1, NEW, ALIVE, keys=1), copy(2, NEW, ALIVE, keys=0)]
EMPTY = Record(failed=False, at=NOW, good=NOW, first=NOW - 2 * HOUR, life=NEW, begun="empty")
CARRIED = replace(EMPTY, begun="data")  # by hand, or by a move from a host without backups
FROM = f"{OLD}-{BEFORE[0].newest}"  # goes on with the newest of them


def newest(*copies: Copy) -> list[Copy]:
    return sorted(copies, key=lambda item: item.at, reverse=True)


def test_without_a_wish_it_is_the_newest() -> None:
    assert choose(BEFORE, "", None, NOW) == (BEFORE[0], "")
    assert choose(BEFORE, "", replace(EMPTY, life=OLD), NOW) == (BEFORE[0], "")


def test_a_new_host_in_the_place_of_a_dead_one_gets_what_was_before_it() -> None:
    chosen, why = choose(BEGUN + BEFORE, "", EMPTY, NOW)
    assert chosen == BEFORE[0]
    assert f"its own newest is of run {BEGUN[0].run}" in why


def test_a_new_host_that_was_made_of_the_same_image_as_the_dead_one_gets_what_was_before_it() -> None:
    copies = [replace(item, machine=DEAD) for item in BEGUN] + BEFORE
    assert choose(copies, "", EMPTY, NOW)[0] == BEFORE[0]


def test_once_restored_or_after_a_week_the_newest_is_its_own() -> None:
    restored = [copy(1, NEW, ALIVE, FROM), copy(2, NEW, ALIVE, FROM)]
    assert choose(restored + BEFORE, "", replace(EMPTY, after=FROM), NOW) == (restored[0], "")
    assert choose(BEGUN + BEFORE, "", replace(EMPTY, first=NOW - 8 * 24 * HOUR), NOW) == (BEGUN[0], "")


def test_a_host_that_was_restored_and_has_made_no_copy_since_goes_on_from_the_one_it_got() -> None:
    assert choose(BEFORE, "", replace(EMPTY, life="c" * 16, after=FROM), NOW) == (BEFORE[0], "")


@pytest.mark.parametrize("others", [BEFORE, [*BEFORE, copy(7, "d" * 16, "3" * 16)]])
def test_data_that_was_there_at_the_first_copy_of_a_host_is_its_own_from_then_on(others: list[Copy]) -> None:
    own = [copy(1, NEW, ALIVE), copy(2, NEW, ALIVE)]
    copies = newest(*own, *others)
    assert choose(copies, "", CARRIED, NOW) == (own[0], "")
    assert choose(copies, f"{copy(1.5).at:%Y-%m-%d %H:%M:%S}", CARRIED, NOW) == (own[1], "")
    chosen, why = choose(copies, f"{BEFORE[0].at:%Y-%m-%d %H:%M:%S}", CARRIED, NOW)
    assert chosen is None
    assert f"of other data there is one of run {BEFORE[0].run}" in why


def test_a_time_since_a_host_began_empty_takes_its_own_copies() -> None:
    for hours, taken in ((0, BEGUN[0]), (1.5, BEGUN[1]), (3, BEFORE[0]), (5.5, BEFORE[1])):
        at = f"{copy(hours).at:%Y-%m-%d %H:%M:%S}"
        assert choose(newest(*BEGUN, *BEFORE), at, EMPTY, NOW)[0] == taken, at


@pytest.mark.parametrize("begun", [""])
def test_where_it_is_not_known_how_a_host_began_a_person_says_whose_copy_is_meant(begun: str) -> None:
    record = replace(EMPTY, begun=begun)
    chosen, why = choose(newest(*BEGUN, *BEFORE), "", record, NOW)
    assert chosen is None
    assert "not known whether it began empty" in why
    assert BEGUN[0].run in why
    assert BEFORE[0].run in why
    assert choose(newest(*BEGUN, *BEFORE), f"{copy(1.5).at:%Y-%m-%d %H:%M:%S}", record, NOW)[0] == BEGUN[1]
    assert choose(BEGUN, "", record, NOW) == (BEGUN[0], "")  # there is no other


def test_data_that_came_after_an_empty_beginning_is_not_passed_over_for_what_was_before() -> None:
    own = [copy(1, NEW, ALIVE, keys=9), copy(2, NEW, ALIVE, keys=0)]
    chosen, why = choose(newest(*own, *BEFORE), "", EMPTY, NOW)
    assert chosen is None
    assert f"its own newest is of run {own[0].run}, with 9 keys" in why
    assert f"the newest from before of run {BEFORE[0].run}, with 9" in why


AHEAD = copy(-3)  # made while a clock was three hours ahead


@pytest.mark.parametrize("record", [None, replace(EMPTY, life=OLD), replace(EMPTY, life=OLD, begun="data")])
def test_a_copy_of_a_time_to_come_decides_nothing_unless_it_is_named(record: Record | None) -> None:
    chosen, why = choose(newest(AHEAD, *BEFORE), "", record, NOW)
    assert chosen == BEFORE[0]
    assert why.startswith(f"; the copy of run {AHEAD.run} is of a time to come")
    at = f"{copy(-4).at:%Y-%m-%d %H:%M:%S}"
    assert choose(newest(AHEAD, *BEFORE), at, record, NOW)[0] == BEFORE[0]
    assert choose(newest(AHEAD, *BEFORE), AHEAD.run, record, NOW)[0] == AHEAD
    chosen, why = choose([AHEAD], "", record, NOW)
    assert chosen is None
    assert f"run {AHEAD.run} is of a time to come" in why


def test_a_clock_that_is_a_moment_behind_another_hides_no_copy() -> None:
    soon = copy(-30 / HOUR)
    assert choose(newest(soon, *BEFORE), "", None, NOW) == (soon, "")


def test_how_a_host_began_whose_clock_was_ahead_then_is_not_known() -> None:
    chosen, why = choose(newest(*BEGUN, *BEFORE), "", replace(EMPTY, first=NOW + HOUR), NOW)
    assert chosen is None
    assert "not known whether it began empty" in why


STALE = [copy(0.5), copy(1.5)]  # what a dead host that came back copies: of its own old data, and newer than all else


@pytest.mark.parametrize("at", ["", f"{copy(0).at:%Y-%m-%d %H:%M:%S}"])
def test_what_a_dead_host_copies_that_came_back_is_taken_by_nobody_silently(at: str) -> None:
    own = copy(2, NEW, ALIVE, FROM)
    copies = newest(*STALE, own, *BEFORE)
    assert choose(copies, at, replace(EMPTY, after=FROM), NOW)[0] == own
    # Nor by a third host, nor before the second one has made a copy of what it got.
    assert choose(copies, at, None, NOW)[0] == own
    assert choose(newest(*STALE, *BEFORE), at, replace(EMPTY, after=FROM), NOW)[0] == BEFORE[0]
    assert choose(copies, STALE[0].run, replace(EMPTY, after=FROM), NOW)[0] == STALE[0]


def test_the_host_that_came_back_is_asked_whose_copy_is_meant() -> None:
    own = copy(2, NEW, ALIVE, FROM)
    for first in (1, NOW - HOUR):
        chosen, why = choose(newest(*STALE, own, *BEFORE), "", replace(EMPTY, life=OLD, first=first), NOW)
        assert chosen is None
        assert "was restored on another one" in why


def test_a_life_that_a_person_has_chosen_for_its_own_host_has_not_ended() -> None:
    chosen = [copy(1, NEW, ALIVE, f"{NEW}-{NOW}"), *BEGUN[1:]]
    record = replace(EMPTY, after=f"{NEW}-{NOW}")
    assert choose(chosen + BEFORE, "", record, NOW) == (chosen[0], "")
    elsewhere = copy(0.5, "c" * 16, "3" * 16, f"{NEW}-{NOW}")
    assert choose(newest(elsewhere, *chosen), "", record, NOW)[0] is None


def test_where_several_hosts_have_data_a_person_says_which() -> None:
    other = copy(3, "d" * 16, "3" * 16)
    chosen, why = choose(newest(*BEGUN, *BEFORE, other), "", EMPTY, NOW)
    assert chosen is None
    assert "of data of several hosts" in why
    # A machine has one data at a time: what it had before is not another's.
    earlier = copy(9, "d" * 16, DEAD)
    assert choose(newest(*BEGUN, *BEFORE, earlier), "", EMPTY, NOW)[0] == BEFORE[0]


def test_a_time_takes_the_last_copy_that_had_ended_by_then_of_the_same_data() -> None:
    restored = [copy(1, NEW, ALIVE, FROM), copy(2, NEW, ALIVE, FROM)]
    record = replace(EMPTY, after=FROM)
    for hours, taken in ((0, restored[0]), (1, restored[0]), (1.2, restored[1]), (3, BEFORE[0]), (5.5, BEFORE[1])):
        at = f"{copy(hours).at:%Y-%m-%d %H:%M:%S}"
        assert choose(newest(*restored, *BEFORE), at, record, NOW)[0] == taken, at


def test_a_time_without_seconds_is_the_beginning_of_its_minute() -> None:
    before = replace(copy(1), at=datetime(2026, 11, 27, 13, 0, 0, tzinfo=UTC))
    later = replace(copy(1), at=datetime(2026, 11, 27, 13, 0, 1, tzinfo=UTC))
    for at in ("2026-11-27 13:00", "2026-11-27T13:00Z", "2026-11-27 13:00:00"):
        assert choose([later, before], at, None, NOW)[0] == before
    assert choose([later, before], "2026-11-27 13:00:01", None, NOW)[0] == later


@pytest.mark.parametrize("at", ["2001-01-01 00:00", "ffffffffffffffff", "2026-99-99 00:00"])
def test_what_there_is_no_copy_of_is_said(at: str) -> None:
    chosen, why = choose(BEFORE, at, None, NOW)
    assert chosen is None
    assert at in why


AT = "2026-11-27 13:00"
SECOND = int(datetime(2026, 11, 27, 13, 0, tzinfo=UTC).timestamp())


def test_a_log_is_cut_at_the_last_second_before_a_time_that_it_reaches_back_to() -> None:
    assert cut_second(AT, str(SECOND - 1), SECOND) == SECOND - 1
    assert cut_second(f"{AT}:00", "1", SECOND + 100) == SECOND - 1
    for begins in (str(SECOND), "", "x", "-1", "1" * 13):
        assert cut_second(AT, begins, SECOND + 100) is None
    assert cut_second(AT, "1", SECOND - 1) is None  # to come
    assert cut_second("ffffffffffffffff", "1", SECOND) is None


HOST = desired("crypto", backup=BACKUP)
(CRYPTO,) = HOST.instances
SEEN = as_desired(HOST)


def test_a_copy_that_fits_is_not_refused() -> None:
    assert unfit_copy(CRYPTO, SEEN, copy(1), Wish("crypto")) == []


def test_everything_against_a_copy_is_said_at_once() -> None:
    other = replace(copy(1), role="gateway", server="8.0.2", size=1 << 50)
    assert [line.split(",")[0] for line in unfit_copy(CRYPTO, SEEN, other, Wish("crypto"))] == [
        "the copy is of Redis 8.0.2",
        "the copy is of gateway",
        "no room: /var/lib/redis/crypto has 102400.0 MiB free",
    ]


def test_another_roles_copy_takes_a_word() -> None:
    wish = Wish("crypto", anyway=True)
    assert unfit_copy(CRYPTO, SEEN, replace(copy(1), role="gateway"), wish) == []
    assert passed_by(replace(copy(1), role="gateway"), wish) == ["the copy is of gateway, expected one of crypto"]
    assert passed_by(copy(1), wish) == []


def test_a_copy_of_an_unknown_version_takes_a_word() -> None:
    odd = replace(copy(1), server="")
    (problem,) = unfit_copy(CRYPTO, SEEN, odd, Wish("crypto"))
    assert problem.startswith("the version of Redis that the copy is of is not known")
    assert unfit_copy(CRYPTO, SEEN, odd, Wish("crypto", anyway=True)) == []
    assert len(passed_by(odd, Wish("crypto", anyway=True))) == 1


def test_a_copy_that_would_fill_the_disk_is_refused() -> None:
    for free, problems in ((RESERVE + (1 << 20), 1), (RESERVE + (2 << 20), 0)):
        seen = replace(SEEN, free_of={"/var/lib/redis/crypto": free})
        assert len(unfit_copy(CRYPTO, seen, copy(1), Wish("crypto"))) == problems


HERE = f"{BACKUP.of('crypto')}"
MADE = replace(EMPTY, run=copy(0.5).run, good=NOW - HOUR // 2, where=place_of(HERE))


def test_a_repository_that_has_not_the_copy_that_was_made_here_last_was_set_back() -> None:
    words = set_back(newest(*BEGUN, *BEFORE), MADE, HERE)
    assert f"this host made a copy of run {MADE.run}" in words
    assert set_back([], MADE, HERE) == words


def test_a_repository_that_has_it_or_is_not_the_one_it_went_to_was_not_set_back() -> None:
    assert set_back(newest(*BEGUN, copy(0.5)), MADE, HERE) == ""
    assert set_back(BEGUN, MADE, "/mnt/elsewhere/crypto") == ""
    assert set_back(BEGUN, replace(MADE, run=""), HERE) == ""
    assert set_back(BEGUN, None, HERE) == ""


@pytest.mark.parametrize(
    "repository", ["/mnt/b/crypto", "rest:http://10.0.0.9:8000/b/crypto", "rest:https://h/crypto", "sftp:u@h:/b/crypto"]
)
@pytest.mark.parametrize("password", ["x", "another@/:? one", ""])
def test_where_a_copy_went_is_known_by_its_place_whoever_logs_in(repository: str, password: str) -> None:
    login = {"RESTIC_REST_USERNAME": "caas", "RESTIC_REST_PASSWORD": password}
    command = WHERE.search((SOURCES / "backup.sh").read_text())
    assert command is not None
    settings = f"RESTIC_PASSWORD=x\nRESTIC_REPOSITORY={with_login(repository, login)}\n"
    text = f'settings=/dev/stdin\n{command[0]}\nprintf %s "$where"'
    done = subprocess.run(["sh", "-c", text], input=settings, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == place_of(repository)


WHERE = re.compile(r"^  where=\$\(.*\)$", re.MULTILINE)


@pytest.mark.parametrize("value", ["", "x", "-1", "²", "1\u2028", " 1", "9" * 5000, "1\x00"])
def test_a_number_of_a_manifest_that_is_none_is_not_known(value: str) -> None:
    assert manifest(f"kind log\nlow {value}\nexpires 0\nelse 1") == {"kind": "log", "expires": "0"}
    assert manifest(f"kind {value}\nlow 5") == {"low": "5"}
