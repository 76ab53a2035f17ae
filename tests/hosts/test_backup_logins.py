"""A login for each role: one role's opens no other role's copies, and deletes none where it only appends."""

import json
from base64 import b64encode
from collections.abc import Iterator
from hashlib import sha1
from pathlib import Path

import pytest
import yaml

from tests.hosts.conftest import Tier, layout, output, wait_for
from tests.hosts.proving import proves
from tests.lab.containers import ContainerLab
from tests.lab.layouts import HostSpec

pytestmark = [pytest.mark.hosts, pytest.mark.soak]

STORE = "172.28.2.250"
ROLES = ("compliance", "crypto")
PLAN = {"repository": f"rest:http://{STORE}:8000/{{role}}/redis", "roles": ROLES, "keep": None}
LOGINS = {role: {"RESTIC_REST_USERNAME": role, "RESTIC_REST_PASSWORD": f"in-the-way-of-{role}"} for role in ROLES}


@pytest.fixture(scope="module")
def tier(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tier]:
    """Five roles on one host; two have copies behind rclone, which lets each login into its own place only."""
    with ContainerLab((*layout("onebox", "bookworm"), HostSpec("store", (STORE,)))) as lab:
        store = lab.hosts["store"]
        store.sh("apt-get -qq install --no-install-recommends rclone >/dev/null; mkdir -p /srv/rest")
        for role, login in LOGINS.items():
            hashed = b64encode(sha1(login["RESTIC_REST_PASSWORD"].encode()).digest()).decode()
            store.sh("cat >>/srv/logins", input=f"{role}:{{SHA}}{hashed}\n")
        serve = (
            f"rclone serve restic /srv/rest --addr {STORE}:8000 --htpasswd /srv/logins --private-repos --append-only"
        )
        store.sh(f"systemd-run --quiet --unit=rest {serve}")
        wait_for(lambda: ":8000" in store.sh("ss -Hltn"), "the REST server listens")
        secrets: Path = tmp_path_factory.mktemp("logins") / "secrets.yaml"
        secrets.write_text(yaml.safe_dump({f"RESTIC-{role}": login for role, login in LOGINS.items()}))
        secrets.chmod(0o600)
        tier = Tier(lab, "inventory/onebox.py", secrets, ("--data", f"redis_backup={json.dumps(PLAN)}"))
        tier.deploy()
        yield tier


def restic(tier: Tier, user: str, role: str, words: str) -> tuple[int, str]:
    """What a role's repository answers to the login of a user, with the role's password."""
    password = yaml.safe_load(tier.secrets.read_text())[role]["backup"]
    login = f"{user}:{LOGINS[user]['RESTIC_REST_PASSWORD']}"
    where = f"rest:http://{login}@{STORE}:8000/{role}/redis"
    done = tier.host(role).call(f"RESTIC_PASSWORD={password} timeout 60 restic -q -r {where} {words}")
    return done.returncode, done.stdout + done.stderr


def test_each_role_is_copied_and_proved_by_its_own_login(tier: Tier) -> None:
    done = tier.run("tasks/backup.py")
    assert done.returncode == 0, output(done)
    host = tier.host("crypto")
    for role in ROLES:
        assert proves(host, role)
    for own, other in (ROLES, ROLES[::-1]):
        told = host.sh(f"cat /etc/redis/{own}.backup")
        assert f"in-the-way-of-{own}" in told
        assert f"in-the-way-of-{other}" not in told
        assert yaml.safe_load(tier.secrets.read_text())[other]["backup"] not in told
    assert "in-the-way" not in output(done) + host.sh("journalctl -q --no-pager -o cat; ps -eo args")


def test_the_login_of_one_role_opens_no_other_roles_copies_and_deletes_none(tier: Tier) -> None:
    for own, other in (ROLES, ROLES[::-1]):
        assert restic(tier, own, own, "snapshots")[0] == 0
        assert restic(tier, other, own, "snapshots")[0] != 0
        count = tier.lab.hosts["store"].sh(f"ls /srv/rest/{own}/redis/snapshots | wc -l")
        restic(tier, own, own, "forget --keep-last=1 --group-by ''")
        assert tier.lab.hosts["store"].sh(f"ls /srv/rest/{own}/redis/snapshots | wc -l") == count


def test_what_is_wrong_with_a_login_is_refused_without_it(tier: Tier, tmp_path: Path) -> None:
    secrets = tmp_path / "secrets.yaml"
    secrets.write_text(yaml.safe_dump(yaml.safe_load(tier.secrets.read_text()) | {"RESTIC-crypt": LOGINS["crypto"]}))
    secrets.chmod(0o600)
    done = Tier(tier.lab, tier.inventory, secrets, tier.options).run("deploy.py", "--dry", yes=False)
    assert done.returncode != 0
    assert "RESTIC-crypt: no such role, expected RESTIC or RESTIC-ROLE of one of" in output(done)
    assert "in-the-way" not in output(done)
