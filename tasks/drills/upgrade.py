"""What a change costs: an older state is deployed first, then the working tree over it, under writes."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from pyinfra import logger

from tasks.catalogue.data_names import CAME_FROM, FROM
from tasks.catalogue.printable import printable
from tasks.drills.client import DrillFailed
from tasks.drills.load import Load, nothing_lost, writing
from tasks.drills.outcome import Outcome, count, seconds
from tasks.drills.place import Place
from tasks.run.ending import Refusal, listed
from tasks.run.older_state import REPLACED
from tasks.run.session import ROOT

NAME = "upgrade"
PROMISE = "a deploy over what ran before loses no acknowledged write; its services wait for one restart at most"
DONE = "it was deployed over the older state while a service wrote in every way"
WARM = 30  # batches in every way before the change
PATIENCE = 3600  # seconds for the deploy of the older state, to bare machines without KVM
PYINFRA = Path(sys.executable).with_name("pyinfra")


def upgrade(places: Sequence[Place], deploy: Callable[[], str]) -> Mapping[str, Outcome]:
    """The working tree is deployed while a service of every role writes in every way. Raises DrillFailed."""
    before = {place.name: _end_of_journal(place) for place in places}
    with writing(places, WARM) as loads:
        if problem := deploy():
            raise DrillFailed(problem)
    found = {}
    for place in places:
        load = loads[place.name]
        place.wait_until_back()
        nothing_lost(load)
        found[place.name] = _outcome(load, _starts(place, before[place.name]))
        load.remove()
    return found


def _outcome(load: Load, restarts: int) -> Outcome:
    return Outcome(
        f"deployed over the older state while {load.service} wrote in every way; its server was "
        f"{'restarted' if restarts else 'not restarted'}",
        {
            "lost": count(0, "writes"),
            "acknowledged": count(len(load.acknowledged), "writes"),
            "longest time without a write": seconds(load.gap),
            "restarts": count(restarts),
        },
    )


STARTED = "39f53479d3a045ac8e11786248231fbf"  # the id of systemd's message that a unit has started


def _end_of_journal(place: Place) -> str:
    """Where the host's journal ends now."""
    return place.sh("journalctl --quiet --no-pager -n 1 -o cat --show-cursor | sed -n 's/^-- cursor: //p'").strip()


def _starts(place: Place, since: str) -> int:
    """How often systemd has started the server since then."""
    after = shlex.quote(f"--after-cursor={since}")
    lines = place.sh(f"journalctl --quiet --no-pager -o cat {after} MESSAGE_ID={STARTED} UNIT={place.unit}")
    return len(lines.splitlines())


def commit_of(ref: str) -> str:
    """The commit that `from=REF` names, in whole. Raises Refusal, in a sentence, where there is none.

    Whatever a word looks like, it is no option of git's, and a range or a file of some commit is none.
    """
    words = ["git", "rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    commit = done.stdout.strip()
    if done.returncode or not re.fullmatch("[0-9a-f]{40,64}", commit):
        named = printable(ref)
        raise Refusal(f"Nothing was rehearsed: {FROM}={named}: no such commit: name a commit, tag or branch")
    return commit


def deploy_first(
    ref: str,
    commit: str,
    argv: Sequence[str],
    inventory: str,
    secrets: Path | None,
    told: Callable[[Path], tuple[list[str], list[str]]],
) -> int:
    """Deploy what `ref` names to the same hosts, then run this command again, which goes on from there; its exit code.

    `commit`: what that is; `argv`: the words of this command; `secrets`: the file with the passwords, None
    where a command has them; `told`: what the deploy in a directory is told in the place of REPLACED, and problems.
    """
    with _tree(commit) as tree:
        likeness, problems = told(tree)
        if problems:
            raise Refusal(listed(f"Nothing was rehearsed: {FROM}={ref}", problems))
        passwords = [] if secrets is None else ["--data", f"redis_secrets_file={secrets.resolve()}"]
        old = [*passwords, *likeness, *for_deploy(argv, inventory, REPLACED if likeness else ())]
        logger.info(f"--> the state of {ref} ({commit}) first: deploy.py")
        words, nothing = [str(PYINFRA), "-y", *old], subprocess.DEVNULL
        done = subprocess.run(words, cwd=tree, capture_output=True, text=True, stdin=nothing, timeout=PATIENCE)
    if done.returncode:
        last = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()][-6:]
        why = f"exit code {done.returncode}, expected 0: {' '.join(last)[-600:]}"
        raise Refusal(f"Nothing was rehearsed: deploy.py of {ref}: {why}")
    again = [word if not word.startswith(f"{FROM}=") else f"{CAME_FROM}={commit}" for word in argv]
    return subprocess.run([str(PYINFRA), *again], stdin=subprocess.DEVNULL).returncode


def for_deploy(argv: Sequence[str], inventory: str, replaced: Sequence[str] = ()) -> list[str]:
    """This command's words for the older state's deploy: without what is for a rehearsal, its inventory named whole.

    `replaced`: further names of `--data` that are left out.
    """
    words: list[str] = []
    for word in argv:
        if word.startswith(("drills=", "rehearsal_", f"{FROM}=", *(f"{name}=" for name in replaced))):
            words.pop()  # its --data
        elif word.endswith("rehearse.py"):
            words.append("deploy.py")
        elif word == inventory:
            words.append(str(Path(inventory).resolve()))
        elif word not in ("-y", "--yes"):
            words.append(word)
    return words


@contextmanager
def _tree(commit: str) -> Iterator[Path]:
    """The repository as it was at `commit`."""
    with tempfile.TemporaryDirectory(prefix="caas-redis-before-") as directory:
        tree = Path(directory) / "repository"
        tree.mkdir()
        archive = subprocess.run(["git", "archive", commit], cwd=ROOT, capture_output=True, check=True).stdout
        subprocess.run(["tar", "-x"], cwd=tree, input=archive, check=True, env={**os.environ, "TAR_OPTIONS": ""})
        yield tree
