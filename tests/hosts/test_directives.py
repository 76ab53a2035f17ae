"""What a directive is for, on real servers, and what a deploy says of one that the installed Redis does not know."""

from pathlib import Path

import pytest

from tests.changed_tree import declare_directive
from tests.hosts.conftest import Tier, output, overriding, wait_for
from tests.tree import copy_of_tree

pytestmark = pytest.mark.hosts

# SADD on a key that holds a text: what a server says to it at a start decides whether the start goes on.
FAILS = r"*3\r\n\$4\r\nSADD\r\n\$4\r\ntext\r\n\$1\r\nx\r\n"


def log_a_command_that_fails(tier: Tier, role: str) -> None:
    """The last command of the role's log cannot be replayed."""
    with tier.operator(role) as client:
        client.set("text", "a text")
    logs = f"/var/lib/redis/{role}/appendonlydir/*.incr.aof"
    tier.host(role).sh(f'printf "{FAILS}" >>"$(ls -t {logs} | head -n 1)"')


def stop_after_a_failed_start(tier: Tier, role: str) -> None:
    """The unit tried and failed, and no longer keeps trying: a deploy sees a role that is down, not one in between."""
    state = f"systemctl show -P SubState redis-{role}"
    wait_for(lambda: tier.host(role).sh(state).strip() == "auto-restart", f"a start of {role} that failed")
    assert not tier.answers(role)
    tier.host(role).sh(f"systemctl stop redis-{role}")


def give_up_the_command(tier: Tier, role: str) -> None:
    """What README says for a role that does not start because of it."""
    ignoring = overriding({role: {"propagation_error_behavior": "ignore"}})
    said = output(tier.run("deploy.py", *ignoring))
    assert "WRONGTYPE" in said, said
    tier.deploy(*ignoring, "--data", f"accept_loss={role}")
    pid = tier.pid(role)
    tier.deploy()
    assert tier.pid(role) == pid
    with tier.operator(role) as client:
        assert client.config_get("propagation-error-behavior") == {"propagation-error-behavior": "panic"}
        assert client.get("text") == "a text"
        client.flushall()


def test_a_log_that_cannot_be_replayed_whole_stops_the_start_where_nothing_may_be_lost(onebox: Tier) -> None:
    host = onebox.host("crypto")
    log_a_command_that_fails(onebox, "crypto")
    host.sh("systemctl restart --no-block redis-crypto")
    stop_after_a_failed_start(onebox, "crypto")
    journal = host.sh("journalctl -u redis-crypto --no-pager")
    assert "WRONGTYPE" in journal
    assert "after processing the command 'sadd'" in journal
    give_up_the_command(onebox, "crypto")


def test_a_log_that_cannot_be_replayed_whole_is_not_converted(onebox: Tier) -> None:
    """gateway's own start would leave the command out; what makes a snapshot of its log stops, and prints no value."""
    host = onebox.host("gateway")
    log_a_command_that_fails(onebox, "gateway")
    digest = "cat /var/lib/redis/gateway/appendonlydir/* | sha256sum"
    host.sh("systemctl stop redis-gateway")
    before = host.sh(digest)
    done = onebox.run("deploy.py", *overriding({"gateway": {"appendonly": False, "save": "60 1"}}))
    assert done.returncode != 0
    assert "gateway: its data on disk could not be made a snapshot, it is not started" in output(done)
    assert "WRONGTYPE" in output(done)
    assert "argv[" not in output(done)
    assert host.sh(digest) == before
    assert "gateway: has not loaded all of its data, it said: " in output(onebox.run("deploy.py"))
    onebox.deploy("--data", "accept_loss=gateway")
    with onebox.operator("gateway") as client:
        assert client.get("text") == "a text"
        client.flushall()


def test_a_log_that_the_acl_file_would_replay_in_part_waits_for_the_deploy_that_mends_the_file(onebox: Tier) -> None:
    with onebox.operator("crypto") as client, client.pipeline() as transaction:
        transaction.set("test:one", 1).set("test:two", 2).execute()
    lamed = "sed -i '1s/.*/user default off/' /etc/redis/crypto.acl"
    onebox.host("crypto").sh(f"{lamed} && systemctl restart --no-block redis-crypto")
    stop_after_a_failed_start(onebox, "crypto")
    onebox.deploy()
    with onebox.operator("crypto") as client:
        assert client.mget("test:one", "test:two") == ["1", "2"]
        client.flushall()


def test_a_restart_that_cannot_load_the_log_fails_its_gate_with_the_line(onebox: Tier) -> None:
    gateway = onebox.pid("gateway")
    log_a_command_that_fails(onebox, "crypto")
    done = onebox.run("deploy.py", *overriding({role: {"tcp_backlog": 1000} for role in ("crypto", "gateway")}))
    assert done.returncode != 0
    assert "crypto: has not loaded all of its data, it said: " in output(done)
    assert "WRONGTYPE" in output(done)
    assert onebox.pid("gateway") == gateway
    stop_after_a_failed_start(onebox, "crypto")
    give_up_the_command(onebox, "crypto")


def test_a_cache_starts_without_the_command_that_fails(onebox: Tier) -> None:
    log_a_command_that_fails(onebox, "gateway")
    onebox.host("gateway").sh("systemctl restart redis-gateway")
    with onebox.operator("gateway") as client:
        assert client.get("text") == "a text"
        client.flushall()
    onebox.deploy("--data", "accept_loss=gateway")


def test_a_directive_that_the_installed_redis_does_not_know_is_refused_and_never_written(
    onebox: Tier, tmp_path: Path
) -> None:
    tree = copy_of_tree(tmp_path / "tree")
    line = "reply_cache_size: Annotated[Memory, Directive(NETWORK)]"
    declare_directive(tree, line, after="timeout", value="reply_cache_size: 1mb")
    done = Tier(onebox.lab, onebox.inventory, onebox.secrets, repository=tree).run("deploy.py")
    said = output(done)
    assert done.returncode != 0
    assert "Traceback" not in said
    assert "crypto: the new configuration does not come up, nothing of it is written" in said
    assert ">>> 'reply-cache-size 1048576'\nBad directive" in said
    assert "by hand: remove reply_cache_size from group_data/roles.yaml" in said
    assert "reply-cache-size" not in onebox.host("crypto").sh("cat /etc/redis/*.conf")
