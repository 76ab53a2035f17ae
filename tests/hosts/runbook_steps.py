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
    role: str,
    commands: Sequence[str] | None = None,
    places: Mapping[str, str | Path] | None = None,
) -> list[Finished]:
    """What each command of the entry printed, or of those `commands` of it, in order; all have to end well.

    `places`: what an operator puts for words of the page, as `/BACKUP`.
    """
    done = []
    for command in entries()[name].commands if commands is None else commands:
        for word, place in (places or {}).items():
            command = command.replace(word, str(place))
        done.append(run(tier, command) if CONTROLLER.match(command) else tier.host(role).call(command))
        assert done[-1].returncode == 0, f"{command}\n{output(done[-1])}"
    return done


def run(tier: Tier, command: str) -> Finished:
    """How a command of the controller ended, in the tier's repository and the lab's network."""
    words = shlex.split(command)
    if words[0] == "pyinfra":
        answer = [] if "--dry" in words else ["-y"]  # without a terminal nobody answers a deploy's question
        return tier.lab.pyinfra(*answer, *words[1:], cwd=tier.repository, timeout=300)
    # It takes ~ from the user's entry, not from $HOME.
    command = command.replace("ssh-keygen -R", f"ssh-keygen -f {tier.lab.home}/.ssh/known_hosts -R")
    return tier.lab.run(["bash", "-c", command], cwd=tier.repository, timeout=60, env=AUTHOR)


def committed(tier: Tier, message: str) -> str:
    """The commit that has the repository as it is now, made if it was not there."""
    git = ["git", "-C", str(tier.repository)]
    environment = {"PATH": "/usr/bin:/bin", **AUTHOR}
    subprocess.run([*git, "add", "--all"], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", message], check=True, env=environment)
    return subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()


__all__ = ["ROLE", "committed", "follow", "run", "sees", "service"]
