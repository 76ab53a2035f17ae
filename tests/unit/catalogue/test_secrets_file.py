"""The secrets file (catalogue/secrets_file.py): complete, private, written whole, and silent about its content."""

import os
import stat
import time
from pathlib import Path

import hypothesis
import pytest
import yaml
from hypothesis import strategies as st

from tasks.catalogue.secrets_file import bits, generate, judge, missing, read_passwords, save_passwords
from tasks.catalogue.users import users_of
from tests.unit.builders import roles


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A secrets file that does not exist yet, in a directory that does not either."""
    return tmp_path / "secrets" / "prod.yaml"


def written(path: Path, text: str, mode: int = 0o600) -> Path:
    """`path` with this text and mode."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    return path


def mode_of(path: Path) -> int:
    """The permission bits of a file."""
    return stat.S_IMODE(path.stat().st_mode)


def test_no_file_means_no_passwords_and_no_problem(path: Path) -> None:
    assert read_passwords(path) == ({}, [])


def test_saved_passwords_are_read_back(path: Path) -> None:
    save_passwords(path, {("gateway", "operator"): "one", ("gateway", "gateway"): "two"})
    assert read_passwords(path) == ({"gateway": {"operator": "one", "gateway": "two"}}, [])


def test_only_its_owner_can_read_the_file_and_its_directory(path: Path) -> None:
    save_passwords(path, {("gateway", "operator"): "one"})
    assert (mode_of(path), mode_of(path.parent)) == (0o600, 0o700)


def test_a_saved_file_says_that_it_must_not_be_committed(path: Path) -> None:
    save_passwords(path, {("gateway", "operator"): "one"})
    assert "never commit" in path.read_text().splitlines()[0]


def test_a_password_that_is_there_is_never_overwritten(path: Path) -> None:
    assert save_passwords(path, {("gateway", "operator"): "first"})
    assert not save_passwords(path, {("gateway", "operator"): "second", ("gateway", "gateway"): "new"})
    assert read_passwords(path)[0] == {"gateway": {"operator": "first", "gateway": "new"}}


def test_passwords_of_roles_that_this_run_does_not_know_stay(path: Path) -> None:
    written(path, "elsewhere: {somebody: 'kept'}")
    save_passwords(path, {("gateway", "operator"): "one"})
    assert read_passwords(path)[0]["elsewhere"] == {"somebody": "kept"}


def test_a_write_that_fails_leaves_the_old_file_and_nothing_beside_it(path: Path) -> None:
    save_passwords(path, {("gateway", "operator"): "one"})
    before = path.read_bytes()
    unwritable = object()  # YAML has no word for it
    with pytest.raises(yaml.YAMLError):
        save_passwords(path, {("gateway", "gateway"): unwritable})  # type: ignore[dict-item]
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_a_file_that_cannot_be_used_is_not_written_over(path: Path) -> None:
    written(path, "gateway: {operator: ''}")
    with pytest.raises(OSError, match="expected a password"):
        save_passwords(path, {("gateway", "operator"): "one"})
    assert path.read_text() == "gateway: {operator: ''}"


def test_a_generated_password_has_at_least_128_bits_and_needs_no_quotes() -> None:
    made = [generate() for _ in range(200)]
    assert len(set(made)) == len(made)
    alphabet = {mark for text in made for mark in text}
    assert alphabet <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
    assert min(map(len, made)) * 6 >= 128  # 6 bits a letter
    assert len(alphabet) >= 60  # all of the alphabet is in use


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_file_that_others_can_read_is_refused_with_the_command_that_mends_it(path: Path, mode: int) -> None:
    written(path, "gateway: {operator: 'one'}", mode)
    assert read_passwords(path) == ({}, [f"{path}: mode is {mode:04o}, expected 0600: run chmod 600 {path}"])


SECRET = "s3cr3t-Value"


@pytest.mark.parametrize(
    "text",
    [
        f"gateway: {{operator: {SECRET}",
        f"gateway:\n  operator: {SECRET}: more",
        f"gateway:\n\toperator: {SECRET}",
        f"gateway: {{operator: '{SECRET}}}",
        f"gateway: {{operator: @{SECRET}}}",
        f"gateway: {{operator: *{SECRET}}}",
        f"gateway: {{operator: !{SECRET} x}}",
        f"gateway: {{operator: [[{SECRET}]]}}",
        f"gateway: {{operator: [{SECRET}, {SECRET}]}}",
        f"gateway: {{operator: [{SECRET}, 5]}}",
        f"gateway: {{operator: [{', '.join(f'{SECRET}{number}' for number in range(9))}]}}",
        "gateway: {operator: []}",
        f"gateway: {{operator: new, {SECRET}}}",
        f"gateway:\n  operator: new\n  {SECRET}:",
        f"gateway: {{operator: {{x: {SECRET}}}}}",
        f"gateway: {SECRET}",
        f"gateway: {{operator: '', gateway: {SECRET}}}",
        f'gateway: {{operator: "{SECRET}\\n"}}',
        f"[{SECRET}]",
        SECRET,
    ],
)
def test_a_malformed_file_is_refused_without_showing_a_secret(path: Path, text: str) -> None:
    passwords, problems = read_passwords(written(path, text))
    assert passwords == {}
    assert problems
    assert all(str(path) in line for line in problems)
    assert not [line for line in problems if SECRET in line]


def test_a_malformed_file_is_refused_with_the_line_to_look_at(path: Path) -> None:
    _, problems = read_passwords(written(path, "gateway:\n  operator: 'one'\n  gateway: 'two\n"))
    assert problems == [f"{path}, line 4: not readable as YAML: correct it"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            f"crypto: {{operator: {SECRET}}}\ngateway: {{}}\ncrypto: {{crypto-service: {SECRET}}}",
            ", line 3: a name stands",
        ),
        (f"crypto:\n  operator: {SECRET}\n  operator: {SECRET}", ", line 3: a name stands there that its block has"),
        (f"crypto: {{operator: {SECRET}, operator: {SECRET}x}}", ", line 1: a name stands there that its block has"),
        ("[" * 100_000, ": more than 8 levels, expected ROLE: {USER: PASSWORD}"),
        ("- " * 20_000, ": more than 8 levels"),
        (f"crypto: {{operator: !!timestamp {SECRET}}}", ": not readable as YAML"),
        ('crypto: {operator: "\\ud800"}', ", line 1: not readable as YAML"),
        ("crypto: {operator: PASSWORD}", ": crypto: operator: expected a password in the place of PASSWORD"),
    ],
)
def test_what_yaml_would_take_without_a_word_or_break_at_is_refused(path: Path, text: str, words: str) -> None:
    passwords, (problem,) = read_passwords(written(path, text))
    assert passwords == {}
    assert problem.startswith(f"{path}{words}")
    assert SECRET not in problem


def test_a_large_file_is_read_in_no_time(path: Path) -> None:
    text = "".join(f"role-{number}: {{operator: '{SECRET}', service: '{SECRET}'}}\n" for number in range(10_000))
    began = time.process_time()
    passwords, problems = read_passwords(written(path, text))
    assert (len(passwords), problems) == (10_000, [])
    assert time.process_time() - began < 10


def test_all_problems_of_the_file_are_named_at_once(path: Path) -> None:
    _, problems = read_passwords(written(path, "gateway: {operator: 5, gateway: ''}\nsocket: x\n"))
    assert [line.removeprefix(f"{path}: ").split(":")[:2] for line in problems] == [
        ["gateway", " operator"],
        ["gateway", " gateway"],
        ["socket", " expected {USER"],
    ]


def test_a_password_that_looks_like_an_impossible_date_is_refused_in_words(path: Path) -> None:
    _, problems = read_passwords(written(path, "gateway: {operator: 2024-13-45}"))
    assert problems


def test_a_directory_in_the_place_of_the_file_is_refused_in_words(path: Path) -> None:
    path.mkdir(parents=True, mode=0o700)
    _, problems = read_passwords(path)
    assert problems


def test_a_file_that_is_no_text_is_refused_in_words(path: Path) -> None:
    written(path, "").write_bytes(b"gateway: {operator: '\xff\xfe'}")
    _, problems = read_passwords(path)
    assert problems


def test_every_service_of_a_role_and_the_operator_need_a_password() -> None:
    assert users_of(roles()["socket"]) == ("socket-service-1", "socket-service-2", "operator")


def test_what_is_missing_is_what_the_roles_need_and_the_file_has_not() -> None:
    carried = [roles()["socket"], roles()["crypto"]]
    assert missing({"socket": {"socket-service-1": "x", "operator": "y"}, "shared": {}}, carried) == [
        ("crypto", "crypto-service"),
        ("crypto", "operator"),
        ("socket", "socket-service-2"),
    ]


# Who else could read or replace it

ME = os.geteuid()
OTHER = 54321


def given(path: Path, uid: int) -> None:
    """The file or directory belongs to this user; only root can do that."""
    os.chown(path, uid, -1)


@pytest.mark.parametrize("exists", [True, False])
@pytest.mark.parametrize(
    ("mode", "gid", "fine"),
    [
        (0o700, ME, True),
        (0o755, ME, True),
        (0o775, os.getegid(), True),
        (0o777, ME, False),
        (0o1777, ME, False),
        (0o703, ME, False),
        (0o770, OTHER, False),
    ],
)
def test_a_directory_in_which_others_can_replace_the_file_is_refused(
    path: Path, mode: int, gid: int, fine: bool, exists: bool
) -> None:
    path.parent.mkdir()
    if exists:
        save_passwords(path, {("gateway", "operator"): "one"})
    if gid == OTHER:
        needs_root()
        os.chown(path.parent, -1, OTHER)
    path.parent.chmod(mode)
    _, problems = read_passwords(path)
    words = f"{path.parent}: mode is {mode:04o}, others can replace prod.yaml there: run chmod 700 {path.parent}"
    assert problems == ([] if fine else [words])


def needs_root() -> None:
    """Skip where files cannot be given to others."""
    if ME != 0:
        pytest.skip("only root can give files to others")


@pytest.mark.parametrize("what", ["file", "directory"])
def test_a_file_or_directory_of_another_user_is_refused(path: Path, what: str) -> None:
    needs_root()
    save_passwords(path, {("gateway", "operator"): "one"})
    given(path if what == "file" else path.parent, OTHER)
    passwords, problems = read_passwords(path)
    assert passwords == {}
    [problem] = problems
    assert f"it belongs to the user with the number {OTHER}, expected {ME}, who can" in problem
    assert f"run chown {ME} {path if what == 'file' else path.parent}" in problem


@pytest.mark.parametrize("what", ["file", "directory"])
def test_who_became_root_by_sudo_may_own_it(path: Path, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    needs_root()
    monkeypatch.setenv("SUDO_UID", str(OTHER))
    save_passwords(path, {("gateway", "operator"): "one"})
    given(path if what == "file" else path.parent, OTHER)
    assert read_passwords(path)[1] == []


def test_a_link_to_a_file_of_another_user_is_refused(path: Path, tmp_path: Path) -> None:
    needs_root()
    elsewhere = written(tmp_path / "elsewhere.yaml", "gateway: {operator: 'one'}")
    given(elsewhere, OTHER)
    path.parent.mkdir(mode=0o700)
    path.symlink_to(elsewhere)
    assert f"it belongs to the user with the number {OTHER}" in read_passwords(path)[1][0]


def test_what_a_link_leads_to_is_written_and_the_link_stays(path: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    path.parent.mkdir(mode=0o700)
    path.symlink_to(elsewhere / "prod.yaml")
    assert save_passwords(path, {("gateway", "operator"): "one"})
    assert path.is_symlink()
    assert "operator: one" in (elsewhere / "prod.yaml").read_text()
    elsewhere.chmod(0o777)
    assert "others can replace prod.yaml there" in read_passwords(path)[1][0]


# How good a password is


@pytest.mark.parametrize(
    ("password", "at_least", "below"),
    [
        ("", 0, 1),
        ("x", 4, 5),
        ("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 4, 5),
        ("secret", 28, 29),
        ("12345678", 26, 27),
        ("correct horse battery", 110, 128),
        ("pässwort", 48, 49),
        ("0123456789abcdef0123456789abcdef", 128, 200),
    ],
)
def test_the_bits_of_a_password_follow_from_its_length_and_its_kinds_of_characters(
    password: str, at_least: float, below: float
) -> None:
    assert at_least <= bits(password) < below


@hypothesis.given(password=st.text(max_size=60), more=st.text(max_size=5))
def test_more_of_a_password_is_never_less(password: str, more: str) -> None:
    assert 0 <= bits(password) <= bits(password + more)


def judged(password: str) -> tuple[list[str], list[str]]:
    """What is said of gateway's operator with this password; the others have good ones."""
    role = roles()["gateway"]
    known = {"gateway": {user: generate() for user in users_of(role)} | {"operator": password, "default": "x"}}
    return judge(Path("secrets/prod.yaml"), known, [role])


@pytest.mark.parametrize(
    ("password", "refused", "noted"),
    [("x", 1, 0), ("secret", 1, 0), ("aaaaaaaaaaaa", 1, 0), ("longer-secret", 0, 1), (generate(), 0, 0)],
)
def test_a_password_that_can_be_guessed_is_refused_and_a_doubtful_one_is_noted(
    password: str, refused: int, noted: int
) -> None:
    weak, notes = judged(password)
    assert (len(weak), len(notes)) == (refused, noted)
    for text in (*weak, *notes):
        assert text.startswith("secrets/prod.yaml: gateway: operator: its password has fewer than ")
        assert "[NEW, PRESENT]" in text
        assert password not in text.removeprefix("secrets/prod.yaml: ") or len(password) == 1


@hypothesis.given(st.integers(0, 1000))
def test_what_this_tool_makes_is_never_doubted(seed: int) -> None:
    assert judged(generate()) == ([], [])
