"""A host that cannot be looked at is told by what was seen there and its likely cause: one cause, one way out."""

import pytest

from tasks.compare.unreadable import ELSE, explained

# As bash, sudo 1.9, sudo-rs, PAM and coreutils of Debian 12 and 13 say it.
SAID = [
    ("'This account is currently not available.'", "its login shell turns everybody away"),
    ("'Password change required but no TTY available.'", "its password or account has expired"),
    ("'WARNING: Your password has expired.'", "its password or account has expired"),
    ("'Your account has expired; please contact your system administrator.'", "its password or account has expired"),
    ("'sudo: sorry, you must have a tty to run sudo'", "remove `Defaults requiretty`"),
    ("'admin is not in the sudoers file.'", "let this login run commands as root"),
    (
        "'user admin is not allowed to execute sh as root on h.'",
        "let this login run commands as root",
    ),
    ("'I'm sorry admin. I'm afraid I can't do that'", "let this login run commands as root"),
    ("'sudo-rs: unexpected argument '-A' found'", "this sudo takes no password from a program"),
    ("'sudo: unable to run /tmp/pyinfra-sudo-askpass-Xy: Permission denied'", "/tmp is mounted noexec"),
    ("'mktemp: failed to create file via template '/tmp/x': Read-only file system'", "/tmp cannot be written"),
    ("'sudo: 3 incorrect password attempts'", "give sudo the right password"),
    ("'sudo: no password was provided'", "give sudo the right password"),
    ("sudo asks for a password, and there is no terminal to give it", "give sudo the right password"),
    ("'sudo-rs: interactive authentication is required'", "give sudo the right password"),
    ("'sh: 1: sudo: not found'", "install sudo there"),
    ("'bash: line 1: sudo: command not found'", "install sudo there"),
    ("'bash: fork: retry: Resource temporarily unavailable'", "the host has no process or memory left"),
    ("'base64: write error: No space left on device'", "free disk space there"),
    ("the state of its units: systemctl ended with 1 and said 'Failed to connect to bus'", "see as root there"),
    ("'sh: 1: cannot open /x: Permission denied'", "log in as root, or as a user with sudo"),
    ("'Welcome to the menu. 1) exit'", ELSE),
    ("nothing was printed", ELSE),
]


@pytest.mark.parametrize(("said", "way"), SAID)
def test_what_was_said_is_told_with_its_likely_cause(said: str, way: str) -> None:
    seen = f"look.sh: the command did not run: {said}"
    assert explained(seen).startswith(f"{seen}: {way}")


@pytest.mark.parametrize(
    "seen",
    [
        "look.sh: a command that takes a second has not ended after 120 s, expected far less: it runs on there: see",
        "look.sh: the connection broke: EOF",
        "look.sh: the host has been logged in to and starts no command within 30 s",
    ],
)
def test_what_says_by_itself_what_to_do_gets_no_other_cause(seen: str) -> None:
    assert explained(seen) == seen
