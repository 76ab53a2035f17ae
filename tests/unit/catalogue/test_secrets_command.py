"""Passwords from a command: what it prints is read as a file is, bounded, and shown nowhere whatever goes wrong."""

import os
import sys
import tempfile
import time
from pathlib import Path

import pytest

from tasks.catalogue.secrets_command import SecretsCommand, malformed_command, passwords_from

GOOD = "gateway: {gateway: 'hidden-one', operator: 'hidden-two'}"


def shell(script: str, *words: str) -> SecretsCommand:
    return SecretsCommand(("sh", "-c", script, *words))


def test_what_it_prints_is_read_as_a_file_is() -> None:
    known = {"gateway": {"gateway": "hidden-one", "operator": "hidden-two"}}
    assert passwords_from(SecretsCommand(("echo", GOOD))) == (known, [])
    assert passwords_from(SecretsCommand(("true",))) == ({}, [])
    assert passwords_from(shell('echo warning >&2; echo "$0"', GOOD)) == (known, [])


def test_no_shell_takes_a_word_for_anything_but_a_word(tmp_path: Path) -> None:
    assert passwords_from(SecretsCommand(("echo", f"a: {{b: '$(touch {tmp_path}/x); `id` > y'}}"))) == (
        {"a": {"b": f"$(touch {tmp_path}/x); `id` > y"}},
        [],
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("exit 3", "ended with 3, expected 0"),
        (
            "echo hidden-one; exit 1",
            "ended with 1, expected 0 (its own words may have a password in them): run it by hand",
        ),
        ("kill -9 $$", "was ended by signal 9, expected 0"),
        ("nowhere-to-be-found hidden-one", "ended with 127, expected 0: it does not find a program that it calls"),
        ("head -c 5000000 /dev/zero >&2; exit 1", "ended with 1"),
        ("echo 'gateway: {operator: [hidden-one'", "line 2: not readable as YAML: correct it"),
        ("printf '\\377\\376'", "not readable as YAML"),
        ("echo hidden-one", "expected ROLE: {USER: PASSWORD}, observed str"),
        ("echo 'gateway: {operator: 12345}'", "gateway: operator: expected a password in quotes"),
        ("yes hidden-one", "prints more than 1 MiB, expected ROLE: {USER: PASSWORD}"),
        ("head -c 2000000 /dev/zero", "prints more than 1 MiB"),
    ],
)
def test_whatever_goes_wrong_is_one_sentence_without_what_it_printed(script: str, said: str) -> None:
    found, (problem,) = passwords_from(shell(script))
    assert found == {}
    assert problem.startswith("redis_secrets_command (sh -c ")
    assert said in problem
    assert "hidden-one" not in problem.partition("): ")[2].replace(script, "")


NO_KEY = "it has no key for that"
NOT_THERE = "it does not find a file or an entry that it was given"
NO_TERMINAL = "it would ask for a passphrase, and has no terminal"
NOT_ENCRYPTED = "what it is to open is not encrypted for it"
# As age 1.1.1, gpg 2.2.40, pass 1.7.4 and sops 3 say them, and what they mean.
SAID = {
    "age: error: no identity matched any of the recipients": NO_KEY,
    "gpg: decryption failed: No secret key": NO_KEY,
    "Failed to get the data key required to decrypt the SOPS file.": NO_KEY,
    'age: error: failed to open input file "x": open x: no such file or directory': NOT_THERE,
    "Error: caas/prod is not in the password store.": NOT_THERE,
    "age: error: could not read passphrase: standard input is not a terminal, and /dev/tty is not available: open "
    "/dev/tty: no such device or address": NO_TERMINAL,
    "gpg: decryption failed: Inappropriate ioctl for device": NO_TERMINAL,
    'age: error: failed to read header: parsing age header: unexpected intro: "gateway: {gateway: hidden-one}"': (
        NOT_ENCRYPTED
    ),
    "gpg: no valid OpenPGP data found.": NOT_ENCRYPTED,
    "sops metadata not found": NOT_ENCRYPTED,
    "cat: secrets/prod.yaml: Permission denied": "it may not read what it was given",
}


@pytest.mark.parametrize("said", SAID)
def test_why_it_failed_is_said_in_our_own_words_for_theirs_may_have_a_password(said: str) -> None:
    script = 'echo "$0" >&2; exit 1'
    _, (problem,) = passwords_from(shell(script, said))
    why = problem.removeprefix(str(shell(script, said)))
    assert why.startswith(f": ended with 1, expected 0: {SAID[said]}"), why
    assert "hidden-one" not in why
    assert "\n" not in problem


def test_one_that_never_stops_talking_is_given_up_like_one_that_says_nothing() -> None:
    began = time.monotonic()
    _, (problem,) = passwords_from(shell("yes hidden-one >&2"), patience=0.5)
    assert problem.endswith("has not ended within 0.5 s: run it by hand and see what it waits for")
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    "script", ["sleep 60", "exec >&- 2>&-; sleep 60", "sleep 60 & exit 0", "trap '' TERM; sleep 60"]
)
def test_one_that_does_not_end_is_given_up_with_what_it_started(script: str) -> None:
    began = time.monotonic()
    marker = f"caas-test-{os.getpid()}-{time.monotonic_ns()}"
    found, problems = passwords_from(SecretsCommand(("env", f"MARK={marker}", "sh", "-c", script)), patience=0.5)
    assert time.monotonic() - began < 5
    assert found == {}
    assert "has not ended within" in problems[0]
    deadline = time.monotonic() + 5
    while any(marker in _environment(process) for process in Path("/proc").glob("[0-9]*")):
        assert time.monotonic() < deadline, "what it started still runs"
        time.sleep(0.01)


def _environment(process: Path) -> str:
    try:
        return (process / "environ").read_bytes().decode(errors="replace")
    except OSError:
        return ""


def test_one_that_is_not_there_is_said() -> None:
    _, (problem,) = passwords_from(SecretsCommand(("/nowhere/sops", "-d", "x")))
    assert problem == (
        "redis_secrets_command (/nowhere/sops -d x): cannot be run: No such file or directory: install it, or correct "
        "its path"
    )


@pytest.mark.parametrize("value", ["sops -d x", [], [1], [""], {"a": "b"}, [["sops"]], 3, True])
def test_what_is_no_list_of_words_is_refused(value: object) -> None:
    assert malformed_command(value).startswith(
        'redis_secrets_command: expected a list of words, as ["sops", "-d", "secrets/prod.sops.yaml"], observed '
    )


def test_nothing_of_it_lies_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert passwords_from(SecretsCommand((sys.executable, "-c", f"print({GOOD!r})")))[1] == []
    assert list(tmp_path.iterdir()) == []
