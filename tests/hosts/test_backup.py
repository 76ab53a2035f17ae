"""Backups on real hosts: what is copied, what proves it, and what comes back, with restic as Debian has it."""

import json
import re
import shlex
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import redis
import yaml

from tests.hosts.conftest import ROLES, Finished, Tier, layout, operations, output, wait_for
from tests.hosts.proving import proves
from tests.hosts.runbook_steps import sees
from tests.lab.containers import ContainerLab
from tests.runbook import entries

pytestmark = pytest.mark.hosts

REPOSITORY = "/srv/backups"
PLAN: dict[str, Any] = {"repository": REPOSITORY, "keep": {"hourly": 24, "daily": 14}}
ROLE = "compliance"  # nothing of it may be lost: with a log, never evicted
FEW = ("compliance", "crypto")


def with_backups(**changes: Any) -> tuple[str, ...]:
    return ("--data", f"redis_backup={json.dumps(PLAN | changes)}")


@pytest.fixture(scope="module")
def tier(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tier]:
    """All five roles on one Debian 12 host, two of them with backups in a directory."""
    with ContainerLab(layout("onebox", "bookworm")) as lab:
        secrets = tmp_path_factory.mktemp("backup") / "secrets.yaml"
        lab.hosts["redis-1"].sh(f"mkdir -m 0700 {REPOSITORY}")
        tier = Tier(lab, "inventory/onebox.py", secrets, options=with_backups(roles=FEW))
        tier.deploy()
        yield tier


def copied(tier: Tier, *options: str) -> Finished:
    """A copy of ROLE made by a person."""
    done = tier.run("tasks/backup.py", "--data", f"backup={ROLE}", *options)
    assert done.returncode == 0, output(done)
    return done


def runs(tier: Tier, role: str = ROLE) -> list[str]:
    """The runs of a role's copies as they are listed, the newest first."""
    done = tier.run("tasks/backup.py", "--data", "list=true", "--data", f"backup={role}")
    assert done.returncode == 0, output(done)
    return re.findall(rf"^{role} .* ([0-9a-f]{{16}}) ", done.stdout, re.MULTILINE)


def restic(tier: Tier, words: str, role: str = ROLE) -> str:
    """What restic itself says of a role's repository, called as a person on the host would."""
    password = yaml.safe_load(tier.secrets.read_text())[role]["backup"]
    return tier.host(role).sh(f"RESTIC_PASSWORD={password} restic -r {REPOSITORY}/{role} {words}")


def proof(tier: Tier, role: str = ROLE) -> tuple[int, str]:
    """How the unit that proves ended, and what it said last."""
    host = tier.host(role)
    ended = not proves(host, role)
    said = host.sh(f"journalctl -q --no-pager -o cat -n 12 -u caas-redis-proof-{role}.service")
    return int(ended), said


class Pairs:
    """A client that counts two keys up in each transaction: in any one moment they are equal."""

    def __init__(self, tier: Tier, role: str) -> None:
        self.acknowledged = 0
        self._client = tier.client(role, f"{role}-service")
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._write)

    def _write(self) -> None:
        while not self._ends.is_set():
            try:
                with self._client.pipeline(transaction=True) as both:
                    both.incr("pair:one")
                    both.set(f"pair:{self.acknowledged % 500}", "x" * 200)
                    both.incr("pair:two")
                    self.acknowledged = both.execute()[0]
            except redis.exceptions.RedisError:
                pass

    def __enter__(self) -> "Pairs":
        self._thread.start()
        wait_for(lambda: self.acknowledged > 100, "writes are acknowledged")
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        self._thread.join()


def served(tier: Tier, directory: str, role: str = ROLE) -> dict[str, str]:
    """All strings of a restored directory, by a plain server of the host."""
    host = tier.host(role)
    options = f"--port 0 --unixsocket {directory}/s --dir {directory} --appendonly yes --appenddirname log --save ''"
    host.sh(f"redis-server {options} --daemonize yes >/dev/null")
    wait_for(lambda: "PONG" in host.sh(f"redis-cli -s {directory}/s PING || true"), "the server has loaded")
    try:
        keys = host.sh(f"redis-cli -s {directory}/s KEYS 'pair:*'").split()
        values = host.sh(f"redis-cli -s {directory}/s MGET {' '.join(keys)}").splitlines()
        return dict(zip(keys, values, strict=True))
    finally:
        host.sh(f"redis-cli -s {directory}/s SHUTDOWN NOSAVE || true")


def test_a_deploy_makes_the_first_copies_and_a_second_one_does_nothing(tier: Tier) -> None:
    for role in FEW:
        assert len(runs(tier, role)) == 1
    again = tier.deploy()
    assert operations(again) == ["Prove the tier"]
    done = tier.run("tasks/drift.py")
    assert done.returncode == 0, output(done)


def test_verify_says_which_roles_have_no_backup(tier: Tier) -> None:
    done = tier.run("tasks/verify.py")
    assert done.returncode == 0, output(done)
    others = ", ".join(sorted(set(ROLES) - set(FEW)))
    assert f"no backup off the host: {others}:" in output(done)


def test_a_copy_under_transactions_is_one_moment(tier: Tier) -> None:
    with Pairs(tier, ROLE) as pairs:
        before = pairs.acknowledged
        copied(tier)
    done = tier.run("tasks/restore.py", "--data", f"restore={ROLE}", "--data", "into=/srv/beside")
    assert done.returncode == 0, output(done)
    found = served(tier, "/srv/beside")
    tier.host(ROLE).sh("rm -rf /srv/beside")
    assert int(found["pair:one"]) == int(found["pair:two"]) >= before
    assert proof(tier)[0] == 0


def test_passwords_stand_in_no_unit_argument_or_environment_of_the_role(tier: Tier) -> None:
    known = yaml.safe_load(tier.secrets.read_text())[ROLE]
    host = tier.host(ROLE)
    for user in ("backup", "reader"):
        assert known[user] not in host.sh(
            "systemctl show 'caas-redis-*' ; cat /etc/systemd/system/caas-redis-*; journalctl -q --no-pager"
        )
    assert host.sh(f"stat -c '%U %a' /etc/redis/{ROLE}.backup").strip() == "root 600"


LARGEST = f"find {REPOSITORY}/{ROLE}/data -type f -printf '%s %p\\n' | sort -n | tail -n 1 | cut -d' ' -f2"
DAMAGES = {
    "cut": f"truncate -s -200 $({LARGEST})",
    "changed in one byte": (
        f"file=$({LARGEST}); at=$(($(stat -c %s $file) / 3)); "
        "byte=$(dd if=$file bs=1 skip=$at count=1 status=none | od -An -tu1); "
        'printf "\\\\$(printf %03o $((byte ^ 1)))" | dd of=$file bs=1 seek=$at conv=notrunc status=none'
    ),
    "made with another password": (
        f"echo another >/root/new; RESTIC_PASSWORD=$(sed -n 's/^RESTIC_PASSWORD=//p' /etc/redis/{ROLE}.backup) "
        f"restic -q -r {REPOSITORY}/{ROLE} key passwd --new-password-file /root/new"
    ),
    "gone": f"rm -rf {REPOSITORY}/{ROLE}",
}


@pytest.fixture
def kept(tier: Tier) -> Iterator[None]:
    """A repository of one copy, so that the proof has to read all of it; afterwards it is what it was."""
    host = tier.host(ROLE)
    host.sh(f"rm -rf {REPOSITORY}/{ROLE} /var/lib/caas-redis/{ROLE}.backup")
    copied(tier)
    host.sh(f"rm -rf /srv/kept; cp -a {REPOSITORY}/{ROLE} /srv/kept; chmod -R u+w {REPOSITORY}/{ROLE}")
    assert proof(tier)[0] == 0, proof(tier)[1]
    yield
    host.sh(f"rm -rf {REPOSITORY}/{ROLE}; cp -a /srv/kept {REPOSITORY}/{ROLE}")
    assert proof(tier)[0] == 0, proof(tier)[1]


SHARE = "changed in one byte"


@pytest.mark.parametrize(
    "damage", [pytest.param(name, marks=[] if name == SHARE else pytest.mark.soak) for name in DAMAGES]
)
def test_the_proof_of_a_backup_goes_red_when_it_is(tier: Tier, kept: None, damage: str) -> None:
    tier.host(ROLE).sh(DAMAGES[damage])
    ended, said = proof(tier)
    assert ended != 0
    assert f"{ROLE}: " in said
    done = tier.run("tasks/verify.py")
    assert done.returncode == 1
    assert f"{ROLE}: critical PROOF-FAILED: " in output(done)
    assert "(docs/runbook.md#backup-not-proved)" in output(done)


def keys(tier: Tier, role: str = ROLE) -> set[str]:
    with tier.operator(role) as client:
        return set(client.scan_iter("pair:*"))


def test_a_restore_brings_back_what_was_copied_and_keeps_what_was_there(tier: Tier) -> None:
    with tier.client(ROLE, f"{ROLE}-service") as client:
        client.set("pair:restored", "as it was")
        copied(tier)
        client.set("pair:restored", "a mistake")
        client.set("pair:later", "of after the copy")
        run = runs(tier)[0]
        asked = tier.run("tasks/restore.py", "--data", f"restore={ROLE}", yes=False)
        assert asked.returncode != 0
        assert "nobody to confirm" in output(asked)
        done = tier.run("tasks/restore.py", "--data", f"restore={ROLE}", "--data", f"at={run}")
        assert done.returncode == 0, output(done)
        assert client.get("pair:restored") == "as it was"
        assert client.get("pair:later") is None
    assert f"run {run}" in output(done)
    aside = tier.host(ROLE).sh(f"ls /var/lib/redis/{ROLE}")
    assert re.search(r"appendonlydir\.replaced-[0-9]{14}", aside)
    assert "of after the copy" in tier.host(ROLE).sh(f"cat /var/lib/redis/{ROLE}/appendonlydir.replaced-*/*.incr.aof")
    assert tier.run("tasks/drift.py").returncode == 0
    assert operations(tier.deploy()) == ["Prove the tier"]


REFUSED = {
    "at=2001-01-01 00:00": "no copy is of 2001-01-01 00:00 UTC or before: the oldest is of",
    "at=0123456789abcdef": "no copy is of run 0123456789abcdef",
    "at=yesterday": "at: expected a time in UTC",
    "into=/etc/../x": "into: expected a directory of the role's host",
}


@pytest.mark.parametrize("words", REFUSED)
def test_a_restore_that_cannot_be_is_refused_in_words(tier: Tier, words: str) -> None:
    pid = tier.pid(ROLE)
    done = tier.run("tasks/restore.py", "--data", f"restore={ROLE}", "--data", words)
    assert done.returncode != 0
    assert REFUSED[words] in output(done)
    assert "Traceback" not in output(done)
    assert tier.pid(ROLE) == pid


def test_a_role_without_backups_is_not_restored(tier: Tier) -> None:
    done = tier.run("tasks/restore.py", "--data", "restore=gateway")
    assert done.returncode != 0
    assert "gateway: no host of this run has backups of it: set redis_backup" in output(done)


def test_a_backup_that_is_no_longer_wanted_leaves_no_file_and_no_timer(tier: Tier) -> None:
    without = Tier(tier.lab, tier.inventory, tier.secrets)
    pid = tier.pid(ROLE)
    without.deploy()
    host = tier.host(ROLE)
    assert "caas-redis" not in host.sh("systemctl list-timers --all; ls /etc/systemd/system")
    assert host.sh("ls /etc/redis/*.backup /usr/local/lib/caas-redis/* 2>/dev/null || true") == ""
    assert operations(without.deploy()) == ["Prove the tier"]
    tier.deploy()
    assert operations(tier.deploy()) == ["Prove the tier"]
    assert tier.pid(ROLE) == pid


def test_backup_failed(tier: Tier) -> None:
    """docs/runbook.md, Backup failed: the repository is not mounted for a while."""
    host = tier.host("crypto")
    host.sh(f"mv {REPOSITORY}/crypto /srv/away")
    failed = tier.run("tasks/backup.py", "--data", "backup=crypto")
    assert failed.returncode == 1
    host.sh("sed -i 's/^good .*/good 1/' /var/lib/caas-redis/crypto.backup")
    sees(tier.run("tasks/verify.py"), entries()["backup-failed"].quotes[0])
    host.sh(f"mv /srv/away {REPOSITORY}/crypto")
    follow(tier, "backup-failed", "crypto")


def test_backup_not_proved(tier: Tier) -> None:
    """docs/runbook.md, Backup not proved: another repository takes the place of a damaged one."""
    host = tier.host("crypto")
    host.sh(DAMAGES["cut"].replace(ROLE, "crypto"))
    assert proof(tier, "crypto")[0] != 0
    sees(tier.run("tasks/verify.py"), entries()["backup-not-proved"].quotes[0])
    host.sh(f"mv {REPOSITORY}/crypto /srv/damaged")
    follow(tier, "backup-not-proved", "crypto")


def opens(tier: Tier, password: str) -> bool:
    done = tier.host("crypto").call(f"RESTIC_PASSWORD={password} restic -q -r {REPOSITORY}/crypto cat config")
    return done.returncode == 0


def passwords(tier: Tier) -> list[str]:
    """Of crypto's repository in the secrets file, the newest first."""
    found = yaml.safe_load(tier.secrets.read_text())["crypto"]["backup"]
    return [found] if isinstance(found, str) else list(found)


def test_rotate_a_backup_password(tier: Tier) -> None:
    """docs/runbook.md, Rotate a backup password: its repository is away first, and steps of it are cut off."""
    host, note = tier.host("crypto"), "/var/lib/caas-redis/crypto.key"
    (old,) = passwords(tier)
    host.sh(f"mv {REPOSITORY}/crypto /srv/away")
    begun = tier.run("deploy.py", "--data", "rotate=crypto:backup")
    assert len(passwords(tier)) == 2, output(begun)
    new, before = passwords(tier)
    assert before == old
    refused = tier.run("deploy.py", "--data", "rotate_finish=crypto:backup")
    assert refused.returncode != 0
    sees(refused, entries()["rotate-a-backup-password"].quotes[0])
    host.sh(f"mv /srv/away {REPOSITORY}/crypto")
    # Until a copy was made, all that reads opens it by the old one.
    assert not opens(tier, new)
    assert proof(tier, "crypto")[0] == 0
    assert runs(tier, "crypto")
    assert tier.run("tasks/restore.py", "--data", "restore=crypto", "--data", "into=/srv/rotated").returncode == 0
    done = tier.run("tasks/backup.py", "--data", "backup=crypto")
    assert done.returncode == 0, output(done)
    assert opens(tier, new)
    assert opens(tier, old)
    # Cut off before the old key was noted: the next copy notes it.
    noted = host.sh(f"cat {note}")
    host.sh(f"rm {note}")
    follow(tier, "rotate-a-backup-password", "crypto")
    assert passwords(tier) == [new]
    assert opens(tier, new)
    assert not opens(tier, old)
    assert host.call(f"test -e {note}").returncode == 1
    # Cut off before that was forgotten.
    host.sh(f"echo '{noted.strip()}' >{note}")
    assert tier.run("tasks/backup.py", "--data", "backup=crypto").returncode == 0
    assert host.call(f"test -e {note}").returncode == 1
    assert proof(tier, "crypto")[0] == 0
    assert operations(tier.deploy()) == ["Prove the tier"]
    said = host.sh("journalctl -q --no-pager -o cat -u 'caas-redis-*'; ps -eo args; ls -R /run/caas-redis")
    assert new not in said
    assert old not in said


def follow(tier: Tier, name: str, role: str) -> None:
    """The entry's commands, in order; each ends well."""
    for command in entries()[name].commands:
        words = shlex.split(command)
        if words[0] == "pyinfra":
            done = tier.run(words[2], *words[3:])
            assert done.returncode == 0, f"{command}\n{output(done)}"
        else:
            tier.host(role).sh(command)
