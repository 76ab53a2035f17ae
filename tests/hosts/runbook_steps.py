"""docs/runbook.md's commands, each run where an operator would run it, word for word."""

import re
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import redis

from tests.hosts.conftest import TABLE, Finished, Tier, output
from tests.runbook import entries, fragments

ROLE = "crypto"  # of the page's examples

CONTROLLER = re.compile(r"(pyinfra|git|cp|cat|ssh-keyscan) |ssh-keygen (?!.* /etc/)")
AUTHOR = {"GIT_AUTHOR_NAME": "o", "GIT_AUTHOR_EMAIL": "o@o", "GIT_COMMITTER_NAME": "o", "GIT_COMMITTER_EMAIL": "o@o"}


def service(tier: Tier, role: str = ROLE) -> "redis.Redis":
    """redis-py of the first service of a role."""
    return tier.client(role, TABLE[role]["services"][0])


def sees(done: Finished, quote: str) -> None:
    """The words are printed, in their order."""
    printed = " ".join(output(done).split())
    assert re.search(".*?".join(map(re.escape, fragments(quote))), printed), printed


def follow(
    tier: Tier,
    name: str,
    role: str = ROLE,
    commands: Sequence[str] | None = None,
    places: Mapping[str, str | Path] | None = None,
    ends: Mapping[str, int] | None = None,
) -> list[Finished]:
    """What each command of the entry printed, or of those `commands` of it, in order; all have to end well.

    `places`: what an operator puts for words of the page, as `/BACKUP`. `ends`: the exit of those that end in a word.
    """
    done = []
    for command in entries()[name].commands if commands is None else commands:
        for word, place in (places or {}).items():
            command = command.replace(word, str(place))
        if CONTROLLER.match(command):
            done.append(run(tier, command))
        else:
            asked = f"{tier.passwords[role]['operator']}\n"  # what asks for nothing does not read it
            done.append(tier.host(role).call(command, input=asked))
        expected = next((code for end, code in (ends or {}).items() if command.endswith(end)), 0)
        assert done[-1].returncode == expected, f"{command}\n{output(done[-1])}"
    return done


def run(tier: Tier, command: str) -> Finished:
    """How a command of the controller ended, in the tier's repository and the lab's network.

    Word for word but for where the inventory and the secrets are, where those are elsewhere.
    """
    words = shlex.split(command)
    if words[0] == "pyinfra":
        at = words.index(PROD)
        return tier.run(words[at + 1], *words[1:at], *words[at + 2 :], yes="--dry" not in words)
    # It takes ~ from the user's entry, not from $HOME.
    command = command.replace("ssh-keygen -R", f"ssh-keygen -f {tier.lab.home}/.ssh/known_hosts -R")
    command = command.replace("secrets/prod.yaml", str(tier.secrets))
    return tier.lab.run(["bash", "-c", command], cwd=tier.repository, timeout=60, env=AUTHOR)


PROD = "inventory/prod.py"


def committed(tier: Tier, message: str) -> str:
    """The commit that has the repository as it is now, made if it was not there."""
    git = ["git", "-C", str(tier.repository)]
    environment = {"PATH": "/usr/bin:/bin", **AUTHOR}
    subprocess.run([*git, "add", "--all"], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", message], check=True, env=environment)
    return subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()


__all__ = ["ROLE", "committed", "follow", "run", "sees", "service"]
