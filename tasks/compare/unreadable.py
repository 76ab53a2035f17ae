"""Why a host could not be looked at, by the last that was said there: the likely cause and what to do. Pure."""

from __future__ import annotations

import re

# What is said → the way out. The first that is found counts.
WAYS = {
    r"has not ended|not even begun|starts no command|connection broke|says more than": "",  # says what to do itself
    r"account is currently not available|nologin": (
        "its login shell turns everybody away: give this login a shell (usermod --shell /bin/bash USER), or use "
        "another login (ssh_user)"
    ),
    r"[Pp]assword change required|required to change your password|password has expired|account has expired": (
        "its password or account has expired: log in by hand and change it, see chage -l USER"
    ),
    r"must have a tty|no tty present": "remove `Defaults requiretty` for this login from sudoers",
    r"not in the sudoers file|not allowed to (execute|run)|may not run sudo|afraid I can't do that": (
        "let this login run commands as root (sudoers), or log in as root"
    ),
    r"argument '?-A|option -- '?A|option '?-A|askpass.*(not supported|unsupported)": (
        "this sudo takes no password from a program (sudo-rs): allow this login NOPASSWD in sudoers, or log in as root"
    ),
    r"askpass.*(Permission denied|unable to run)|unable to run .*askpass": (
        "/tmp is mounted noexec there: name another directory with _temp_dir in the inventory, or allow this login "
        "NOPASSWD in sudoers"
    ),
    r"mktemp: |askpass": (
        "/tmp cannot be written there: free or mend it, or name another directory with _temp_dir in the inventory"
    ),
    r"incorrect password|try again|no password was provided|asks for a password|a password is required|"
    r"authentication is required|[Aa]uthentication fail": (
        "give sudo the right password (_sudo_password in the inventory, or --same-sudo-password), or allow this login "
        "NOPASSWD in sudoers"
    ),
    r"sudo: (command )?not found|sudo: No such file": "install sudo there, or log in as root without _sudo",
    r"No space left": "free disk space there",
    r"Read-only file system": "see with dmesg and mount why the host cannot write",
    r"[Cc]annot fork|fork: |Resource temporarily unavailable|[Cc]annot allocate memory|out of memory": (
        "the host has no process or memory left: see there what takes them"
    ),
    r"connect to bus|systemctl": "see as root there what systemctl is-system-running says",
    r"[Pp]ermission denied|not permitted": "log in as root, or as a user with sudo and _sudo = True in the inventory",
}
ELSE = (
    "log in there as this run does and see what answers: a ForceCommand, a command= before the key, or a login file "
    "that ends in something else than a shell"
)


def explained(seen: str) -> str:
    """What was seen, and what to do about its likely cause."""
    way = next((way for pattern, way in WAYS.items() if re.search(pattern, seen)), ELSE)
    return f"{seen}: {way}" if way else seen
