"""The harness itself: what nobody scripted must fail a test, and what happened must be recorded."""

from dataclasses import replace
from pathlib import Path

import pytest

from tasks.desired.host import File, Host
from tasks.observed.state import Observed
from tasks.steps.operations import file_command
from tests.plan.harness import Site, run, short
from tests.plan.hosts import PROD, bare_takes, production
from tests.unit.builders import as_desired, fresh, stopped
from tests.unit.scripts import bare


def test_a_command_that_nobody_scripted_fails_the_test(secrets_file: Path) -> None:
    sites = production(crypto=Site([lambda host: stopped(as_desired(host), "crypto"), as_desired]))
    with pytest.raises(AssertionError, match=r"nobody scripted: .*systemctl start redis-crypto.service"):
        run(sites, "-y", secrets_file=secrets_file)


@pytest.mark.parametrize(
    "word", ["systemctl mask", "dpkg-statoverride", "write /etc/redis/crypto.conf", "apt-get update"]
)
def test_a_first_deploy_without_one_of_its_commands_scripted_fails_the_test(secrets_file: Path, word: str) -> None:
    sites = {host: Site([fresh, as_desired], bare_takes(role)) for host, role in PROD.items()}
    known = {pattern: said for pattern, said in bare_takes("crypto").items() if word not in pattern.replace("\\", "")}
    sites["redis-crypto"] = Site([fresh, as_desired], known)
    with pytest.raises(AssertionError, match="nobody scripted"):
        run(sites, "-y", secrets_file=secrets_file)


def test_a_redis_command_that_nobody_scripted_fails_the_test(secrets_file: Path) -> None:
    def without_info(host: Host) -> Observed:
        seen = as_desired(host)
        server = replace(seen.servers["crypto"], categories={})  # ACL CAT has no answer then
        return replace(seen, servers={"crypto": server})

    with pytest.raises(AssertionError, match=r"nobody scripted: .*ACL CAT"):
        run(production(crypto=Site([without_info])), "-y", secrets_file=secrets_file)


def test_the_writing_of_a_file_is_shortened_only_in_its_one_known_form() -> None:
    written = file_command(File("/a", "x\n", "root", "redis", "0640")).get_raw_value()
    assert short(written) == "write /a root:redis 0640"
    for step in ("umask 077\n", 'mv -fT "$path.new" "$path"\n'):
        assert step in written
        assert short(written.replace(step, "")) == bare(written.replace(step, ""))
