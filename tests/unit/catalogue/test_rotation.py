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
from tasks.catalogue.rotation import (
    Edit,
    edits,
    edits_to_paste,
    finished,
    in_words,
    named,
    nothing_to_undo,
    rotated,
    undone,
)
from tasks.catalogue.secret import Secret, all_of, newest
from tasks.catalogue.secrets_file import before_rotation, judge, missing, read_passwords, save_passwords
from tests.unit.builders import roles

GATEWAY = roles()["gateway"]
USERS = ("gateway", "auth-service", "operator")
OLD, NEW, OTHER = (f"a-password-{name}-0123456789-abcdefghij" for name in ("old", "new", "other"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    tmp_path.chmod(0o700)
    return tmp_path / "prod.yaml"


def written(path: Path, data: Mapping[str, object]) -> Path:
    path.write_text(yaml.safe_dump(dict(data)))
    path.chmod(0o600)
    return path


def known(path: Path) -> dict[str, dict[str, tuple[str, ...]]]:
    found, problems = read_passwords(path)
    assert problems == []
    return {role: {user: all_of(own) for user, own in users.items()} for role, users in found.items()}


# --- A list in the file


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


def step(word: str, path: Path, value: str = "gateway", make: str | None = NEW) -> list[Edit]:
    found, before = read_passwords(path)[0], read_passwords(before_rotation(path))[0]
    made = list(edits([(GATEWAY, requests({word: value}))], found, before, (lambda: make) if make else None))
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


def test_another_deploy_that_rotated_meanwhile_wins(path: Path) -> None:
    written(path, {"gateway": dict.fromkeys(USERS, OLD)})
    mine = list(edits([(GATEWAY, requests({"rotate": "gateway"}))], read_passwords(path)[0], {}, lambda: NEW))
    step("rotate", path, make=OTHER)
    before = path.read_text(), before_rotation(path).read_text()
    assert not save_passwords(path, {}, mine)
    assert (path.read_text(), before_rotation(path).read_text()) == before


def test_what_was_before_is_kept_first_and_a_repeated_write_does_not_forget_it(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(path, {"gateway": dict.fromkeys(USERS, OLD)})
    made = list(edits([(GATEWAY, requests({"rotate": "gateway"}))], read_passwords(path)[0], {}, lambda: NEW))
    with monkeypatch.context() as broken:
        rename = Path.rename

        def fails(self: Path, target: Path) -> Path:
            if target == path:
                raise OSError("cut off")
            return rename(self, target)

        broken.setattr(Path, "rename", fails)
        with pytest.raises(OSError, match="cut off"):
            save_passwords(path, {}, made)
    assert known(before_rotation(path))["gateway"] == dict.fromkeys(USERS, (OLD,))
    assert known(path)["gateway"] == dict.fromkeys(USERS, (OLD,))
    for _ in range(2):
        assert save_passwords(path, {}, made)
        assert known(before_rotation(path))["gateway"] == dict.fromkeys(USERS, (OLD,))
        assert known(path)["gateway"] == dict.fromkeys(USERS, (NEW, OLD))


def test_there_is_nothing_to_undo_where_nothing_was_rotated(path: Path) -> None:
    written(path, {"gateway": dict.fromkeys(USERS, OLD)})
    found, other = read_passwords(path)[0], {"gateway": dict.fromkeys(USERS, NEW)}
    for value in ("gateway", "gateway:operator"):
        (said,) = nothing_to_undo([(GATEWAY, requests({"rotate_undo": value}))], found, {}, path)
        assert "no rotation is kept beside" in said
    (said,) = nothing_to_undo([(GATEWAY, requests({"rotate_undo": "gateway"}))], found, other, path)
    some = {"gateway": {"operator": Secret(NEW, [OLD])}}
    assert list(nothing_to_undo([(GATEWAY, requests({"rotate_undo": "gateway"}))], found, some, path)) == []


def test_what_is_to_be_pasted_beside_a_command_has_no_password() -> None:
    found = {"gateway": {"gateway": OLD, "auth-service": Secret(NEW, [OLD])}}
    for word, form in (("rotate", "[NEW PASSWORD, PRESENT PASSWORD]"), ("rotate_finish", "FIRST PASSWORD")):
        made = list(edits([(GATEWAY, requests({word: "gateway"}))], found, {}, None))
        (said,) = edits_to_paste("a command", made)
        user = "gateway" if word == "rotate" else "auth-service"
        assert f"gateway: {{{user}: {form}}}" in said
        assert OLD not in said
        assert NEW not in said
