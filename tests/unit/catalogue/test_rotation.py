"""What the words of a rotation make of a secrets file (catalogue/rotation.py, secrets_file.py)."""

from __future__ import annotations

import stat
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tasks.catalogue.requested import ROTATIONS, malformed, requests
from tasks.catalogue.roles import Role
from tasks.catalogue.rotation import (
    NOTHING_KEPT,
    RECENT,
    Edit,
    Kept,
    edits,
    edits_to_paste,
    finished,
    in_words,
    named,
    rotated,
    rotation_notes,
    undo_problems,
    undone,
)
from tasks.catalogue.secret import Secret, all_of, newest
from tasks.catalogue.secrets_file import before_rotation, judge, missing, read_kept, read_passwords, save_passwords
from tests.unit.builders import roles

GATEWAY = roles()["gateway"]
USERS = ("gateway", "auth-service", "operator")
OLD, NEW, OTHER = (f"a-password-{name}-0123456789-abcdefghij" for name in ("old", "new", "other"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    tmp_path.chmod(0o700)
    return tmp_path / "prod.yaml"


def kept_in(path: Path) -> dict[str, dict[str, tuple[str, ...]]]:
    found, problems = read_kept(path)
    assert problems == []
    return {role: {user: all_of(own) for user, own in users.items()} for role, users in found.passwords.items()}


def written(path: Path, data: Mapping[str, object]) -> Path:
    path.write_text(yaml.safe_dump(dict(data)))
    path.chmod(0o600)
    return path


def known(path: Path) -> dict[str, dict[str, tuple[str, ...]]]:
    found, problems = read_passwords(path)
    assert problems == []
    return {role: {user: all_of(own) for user, own in users.items()} for role, users in found.items()}


# --- A list in the file


@pytest.mark.parametrize("backed", [False, True])
@pytest.mark.parametrize("asked", [["crypto"], ["crypto:backup"], ["crypto", "crypto:backup"], ["gateway:backup"]])
def test_a_repository_is_rotated_only_where_it_is_named(asked: list[str], backed: bool) -> None:
    role = roles()["crypto"].model_copy(update={"backed_up": backed})
    assert ("backup" in named(asked, role)) == (backed and "crypto:backup" in asked)
    assert ("operator" in named(asked, role)) == ("crypto" in asked)
    assert ("reader" in named(asked, role)) == (backed and "crypto" in asked)


def test_the_first_of_a_list_is_handed_out_and_all_are_known(path: Path) -> None:
    found, problems = read_passwords(written(path, {"gateway": {"gateway": [NEW, OLD], "operator": OTHER}}))
    assert problems == []
    assert found["gateway"]["gateway"] == NEW
    assert all_of(found["gateway"]["gateway"]) == (NEW, OLD)
    assert all_of(newest(found["gateway"]["gateway"])) == (NEW,)
    assert all_of(found["gateway"]["operator"]) == (OTHER,)
    assert missing(found, [GATEWAY]) == [("gateway", "auth-service")]
    own = found["gateway"]["gateway"]
    assert [secret for secret in (NEW, OLD) if secret in f"{own} {own!r} {all_of(own)} {str(own)!r}"] == []


def test_an_older_password_that_can_be_guessed_is_noted_and_a_newest_one_refused() -> None:
    strong = dict.fromkeys(USERS, OTHER)
    weak, notes = judge("a source", {"gateway": {**strong, "operator": Secret(NEW, ["abc"])}}, [GATEWAY])
    assert weak == []
    assert ["operator: an older password of its list has fewer than 128 bits" in note for note in notes] == [True]
    weak, _ = judge("a source", {"gateway": {**strong, "operator": Secret("abc", [OLD])}}, [GATEWAY])
    assert len(weak) == 1
    assert "abc" not in "".join([*weak, *notes])


# --- What is asked for


@pytest.mark.parametrize(
    ("value", "users"),
    [
        ("gateway", list(USERS)),
        ("gateway:auth-service", ["auth-service"]),
        ("gateway:operator, gateway:gateway", ["gateway", "operator"]),
        (["gateway:operator", "gateway"], list(USERS)),
        ("socket", []),
    ],
)
def test_a_word_names_a_role_or_one_of_its_users(value: object, users: list[str]) -> None:
    asked = requests({"rotate": value})
    assert sorted(named(asked.rotate, GATEWAY)) == sorted(users)


@pytest.mark.parametrize(
    "value", ["gateway:", ":gateway", "gateway:a b", "gateway:-x", "gateway:a:b", "a/b:c", 5, True, "gateway:a\nb"]
)
@pytest.mark.parametrize("word", ROTATIONS)
def test_what_no_user_can_be_called_is_refused(word: str, value: object) -> None:
    (said,) = malformed("host-1", {word: value})
    assert f"host-1: {word}: expected ROLE or ROLE:USER" in said


def test_two_steps_in_one_run_are_refused() -> None:
    (said,) = malformed("host-1", {"rotate": "gateway", "rotate_finish": "crypto"})
    assert "two steps of a rotation, expected one in a run" in said


def test_a_user_is_no_name_for_what_concerns_a_whole_role() -> None:
    assert len(list(malformed("host-1", {"new_passwords": "gateway:operator"}))) == 1


# --- The steps

LISTS = st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=5, unique=True).map(tuple)


@given(LISTS, LISTS)
def test_a_step_done_twice_is_done_once_and_only_a_finish_drops_any(
    had: tuple[str, ...], before: tuple[str, ...]
) -> None:
    once = rotated(had, "new")
    assert rotated(once, "newer") == once
    assert set(once) >= set(had)
    assert finished(finished(had)) == finished(had) == had[:1]
    back = undone(had, before)
    assert undone(back, before) == back
    assert len(back) == len(set(back))
    if set(had) & set(before):
        assert set(back) == {*had, *before}
        assert back[0] == before[0]
    else:  # somebody has replaced them all since
        assert back == had


NOW = 1_800_000_000


def step(
    word: str, path: Path, value: str = "gateway", make: str | None = NEW, now: int = NOW, role: Role = GATEWAY
) -> list[Edit]:
    found, (kept, problems) = read_passwords(path)[0], read_kept(path)
    assert problems == []
    made = list(edits([(role, requests({word: value}))], found, kept, (lambda: make) if make else None, now))
    if make:
        assert save_passwords(path, {}, made)
    return made


def test_rotate_finish_and_undo_in_the_file(path: Path) -> None:
    written(path, {"gateway": dict.fromkeys(USERS, OLD), "crypto": {"operator": OTHER}})
    step("rotate", path, "gateway:gateway")
    both = {"gateway": (NEW, OLD), "auth-service": (OLD,), "operator": (OLD,)}
    assert known(path) == {"gateway": both, "crypto": {"operator": (OTHER,)}}
    assert step("rotate", path, "gateway:gateway", OTHER) == []
    step("rotate_finish", path)
    assert known(path)["gateway"]["gateway"] == (NEW,)
    assert step("rotate_finish", path) == []
    step("rotate_undo", path, "gateway:gateway")
    assert known(path)["gateway"] == both
    assert step("rotate_undo", path, "gateway:gateway") == []
    for file in (path, before_rotation(path)):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_rotation_that_nobody_has_finished_is_undone_by_handing_the_old_one_out(path: Path) -> None:
    written(path, {"gateway": dict.fromkeys(USERS, OLD)})
    step("rotate", path)
    step("rotate_undo", path)
    assert known(path)["gateway"] == dict.fromkeys(USERS, (OLD, NEW))
    step("rotate_finish", path)
    assert known(path)["gateway"] == dict.fromkeys(USERS, (OLD,))


def test_a_run_that_only_plans_makes_up_none_and_says_which_it_would(path: Path) -> None:
    written(path, {"gateway": dict.fromkeys(USERS, OLD)})
    made = step("rotate", path, make=None)
    assert {(item.user, item.awaits, item.after) for item in made} == {(user, True, (OLD,)) for user in USERS}
    (said,) = in_words(path, made)
    assert said.endswith("a new password is put first, the old one stays valid")
    assert OLD not in said
    assert OLD not in repr(made)


def rotating(path: Path) -> list[Edit]:
    asked = [(GATEWAY, requests({"rotate": "gateway"}))]
    return list(edits(asked, read_passwords(path)[0], NOTHING_KEPT, lambda: NEW, NOW))


def test_another_deploy_that_rotated_meanwhile_wins(path: Path) -> None:
    written(path, {"gateway": dict.fromkeys(USERS, OLD)})
    mine = list(
        edits([(GATEWAY, requests({"rotate": "gateway"}))], read_passwords(path)[0], NOTHING_KEPT, lambda: NEW, NOW)
    )
    step("rotate", path, make=OTHER)
    before = path.read_text(), before_rotation(path).read_text()
    assert not save_passwords(path, {}, mine)
    assert (path.read_text(), before_rotation(path).read_text()) == before


def test_what_was_before_is_kept_first_and_a_repeated_write_does_not_forget_it(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(path, {"gateway": dict.fromkeys(USERS, OLD)})
    made = list(
        edits([(GATEWAY, requests({"rotate": "gateway"}))], read_passwords(path)[0], NOTHING_KEPT, lambda: NEW, NOW)
    )
    with monkeypatch.context() as broken:
        rename = Path.rename

        def fails(self: Path, target: Path) -> Path:
            if target == path:
                raise OSError("cut off")
            return rename(self, target)

        broken.setattr(Path, "rename", fails)
        with pytest.raises(OSError, match="cut off"):
            save_passwords(path, {}, made)
    assert kept_in(path)["gateway"] == dict.fromkeys(USERS, (OLD,))
    assert known(path)["gateway"] == dict.fromkeys(USERS, (OLD,))
    for _ in range(2):
        assert save_passwords(path, {}, made)
        assert kept_in(path)["gateway"] == dict.fromkeys(USERS, (OLD,))
        assert known(path)["gateway"] == dict.fromkeys(USERS, (NEW, OLD))


def test_there_is_nothing_to_undo_where_nothing_was_rotated(path: Path) -> None:
    written(path, {"gateway": dict.fromkeys(USERS, OLD)})
    found, other = read_passwords(path)[0], {"gateway": dict.fromkeys(USERS, NEW)}
    for value in ("gateway", "gateway:operator"):
        (said,) = undo_problems([(GATEWAY, requests({"rotate_undo": value}))], found, NOTHING_KEPT, path, NOW)
        assert "no rotation is kept beside" in said
    (said,) = undo_problems([(GATEWAY, requests({"rotate_undo": "gateway"}))], found, Kept(other), path, NOW)
    some = Kept({"gateway": {"operator": Secret(NEW, [OLD])}}, {"gateway": {"operator": NOW}})
    assert list(undo_problems([(GATEWAY, requests({"rotate_undo": "gateway"}))], found, some, path, NOW)) == []


# --- What an undo does not bring back


def undo(path: Path, value: str = "gateway", now: int = NOW) -> tuple[list[str], list[str]]:
    """Why it is refused, and what is said of users that it leaves as they are."""
    asked, found, kept = [(GATEWAY, requests({"rotate_undo": value}))], read_passwords(path)[0], read_kept(path)[0]
    said = [list(say(asked, found, kept, path, now)) for say in (undo_problems, rotation_notes)]
    return said[0], said[1]


def test_an_undo_of_a_role_brings_back_only_what_its_last_step_dropped(path: Path) -> None:
    written(path, {"gateway": dict.fromkeys(USERS, OLD)})
    step("rotate", path, "gateway:operator", now=NOW - 100)
    step("rotate_finish", path, "gateway:operator", now=NOW - 90)
    step("rotate", path, "gateway:gateway", OTHER, now=NOW - 20)
    step("rotate_finish", path, "gateway:gateway", now=NOW - 10)
    refused, left = undo(path)
    assert refused == []
    assert [text.partition(": its last step was on 2027-01-15")[0] for text in left] == ["gateway: operator"]
    assert "name the user: --data rotate_undo=gateway:operator" in left[0]
    (made,) = step("rotate_undo", path)
    assert made.user == "gateway"
    assert "before the last step, of 2027-01-15 07:59:50 UTC, is put first again" in in_words(path, [made])[0]
    assert known(path)["gateway"] == {"gateway": (OTHER, OLD), "auth-service": (OLD,), "operator": (NEW,)}
    step("rotate_undo", path, "gateway:operator")
    assert known(path)["gateway"]["operator"] == (NEW, OLD)


def test_what_a_finish_dropped_long_ago_comes_back_only_for_a_user_that_is_named(path: Path) -> None:
    written(path, {"gateway": dict.fromkeys(USERS, OLD)})
    step("rotate", path)
    step("rotate_finish", path, now=NOW)
    late = NOW + RECENT + 1
    refused, _ = undo(path, now=late)
    assert len(refused) == len(USERS)
    assert "its last step was on 2027-01-15 08:00:00 UTC, expected the role's last one, of at most 7 days" in refused[0]
    assert step("rotate_undo", path, now=late) == []
    assert undo(path, "gateway:operator", late) == ([], [])
    assert [item.user for item in step("rotate_undo", path, "gateway:operator", now=late)] == ["operator"]


def test_a_step_of_which_nobody_knows_when_it_was_counts_as_one_of_long_ago(path: Path) -> None:
    written(path, {"gateway": dict.fromkeys(USERS, NEW)})
    written(before_rotation(path), {"gateway": {user: [NEW, OLD] for user in USERS}})
    refused, _ = undo(path)
    assert all("its last step was nobody knows when" in text for text in refused)
    assert len(refused) == len(USERS)


def test_an_undo_that_would_write_more_passwords_than_a_user_may_have_is_refused(path: Path) -> None:
    several = [f"{name}-{OLD}" for name in "abcdefgh"]
    written(path, {"gateway": {**dict.fromkeys(USERS, OLD), "gateway": several}})
    step("rotate_finish", path, "gateway:gateway")
    mine = [several[0], *(f"{name}-{OTHER}" for name in "abcd")]
    written(path, {"gateway": {**dict.fromkeys(USERS, OLD), "gateway": mine}})
    (refused,), _ = undo(path)
    assert "rotate_undo=gateway: gateway: would have 12 passwords, expected 8 at most" in refused
    assert not any(text in refused for text in (*several, *mine))


def test_a_rotation_that_makes_up_none_because_several_are_there_says_so(path: Path) -> None:
    written(path, {"gateway": {**dict.fromkeys(USERS, OLD), "operator": [NEW, OLD]}})
    asked = [(GATEWAY, requests({"rotate": "gateway"}))]
    (said,) = rotation_notes(asked, read_passwords(path)[0], NOTHING_KEPT, "FILE", NOW)
    assert said.startswith("FILE: gateway: operator: more than one password already: rotate goes on with")


@pytest.mark.parametrize("when", ["yesterday", 5, None, "2027-13-15 08:00:00 UTC"])
def test_a_moment_that_is_none_is_one_of_long_ago(path: Path, when: object) -> None:
    written(before_rotation(path), {"gateway": {"operator": OLD}, "STEPS": {"gateway": {"operator": when}}})
    kept, problems = read_kept(path)
    assert (kept.when, problems) == ({"gateway": {"operator": 0}}, [])


def test_what_is_to_be_pasted_beside_a_command_has_no_password() -> None:
    found = {"gateway": {"gateway": OLD, "auth-service": Secret(NEW, [OLD])}}
    for word, form in (("rotate", "[NEW PASSWORD, PRESENT PASSWORD]"), ("rotate_finish", "FIRST PASSWORD")):
        made = list(edits([(GATEWAY, requests({word: "gateway"}))], found, NOTHING_KEPT, None, NOW))
        (said,) = edits_to_paste("a command", made)
        user = "gateway" if word == "rotate" else "auth-service"
        assert f"gateway: {{{user}: {form}}}" in said
        assert OLD not in said
        assert NEW not in said
