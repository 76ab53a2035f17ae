"""The secrets file (catalogue/secrets_file.py): complete, private, written whole, and silent about its content."""

import stat
from pathlib import Path

import pytest
import yaml

from tasks.catalogue.secrets_file import generate, missing, read_passwords, save_passwords, users_of
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
        f"gateway: {{operator: [{SECRET}]}}",
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
