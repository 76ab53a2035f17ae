"""What a directive is for, on real servers, and what a deploy says of one that the installed Redis does not know."""

from pathlib import Path

import pytest

from tests.changed_tree import copied, declare_directive
from tests.hosts.conftest import Tier, output, overriding, wait_for

pytestmark = pytest.mark.hosts

# SADD on a key that holds a text: what a server says to it at a start decides whether the start goes on.
FAILS = r"*3\r\n\$4\r\nSADD\r\n\$4\r\ntext\r\n\$1\r\nx\r\n"


def log_a_command_that_fails(tier: Tier, role: str) -> None:
    """The role is stopped, and the last command of its log cannot be replayed."""
    with tier.operator(role) as client:
        client.set("text", "a text")
    tier.host(role).sh(
        f"systemctl stop redis-{role} && cd /var/lib/redis/{role}/appendonlydir && "
        f'printf "{FAILS}" >>"$(ls -t *.incr.aof | head -n 1)"'
    )


def test_a_log_that_cannot_be_replayed_whole_stops_the_start_where_nothing_may_be_lost(onebox: Tier) -> None:
    host = onebox.host("crypto")
    log_a_command_that_fails(onebox, "crypto")
    host.sh("systemctl start --no-block redis-crypto")
    wait_for(lambda: int(host.sh("systemctl show -P NRestarts redis-crypto")) >= 1, "a start that failed")
    assert not onebox.answers("crypto")
    journal = host.sh("journalctl -u redis-crypto --no-pager")
    assert "WRONGTYPE" in journal
    assert "after processing the command 'sadd'" in journal
    # What README says: without that command, when somebody decided so.
    onebox.deploy(*overriding({"crypto": {"propagation_error_behavior": "ignore"}}))
    with onebox.operator("crypto") as client:
        assert client.get("text") == "a text"
        client.bgrewriteaof()
        wait_for(lambda: client.info("persistence")["aof_rewrite_in_progress"] == 0, "the log is rewritten")
    pid = onebox.pid("crypto")
    onebox.deploy()
    assert onebox.pid("crypto") == pid
    with onebox.operator("crypto") as client:
        assert client.config_get("propagation-error-behavior") == {"propagation-error-behavior": "panic"}
        client.flushall()


def test_a_cache_starts_without_the_command_that_fails(onebox: Tier) -> None:
    log_a_command_that_fails(onebox, "gateway")
    onebox.host("gateway").sh("systemctl start redis-gateway")
    with onebox.operator("gateway") as client:
        assert client.get("text") == "a text"
        client.flushall()


def test_a_directive_that_the_installed_redis_does_not_know_is_refused_and_never_written(
    onebox: Tier, tmp_path: Path
) -> None:
    tree = copied(tmp_path / "tree")
    declare_directive(
        tree, "reply_cache_size: Annotated[Memory, Directive(NETWORK)]", "timeout", "reply_cache_size: 1mb"
    )
    done = Tier(onebox.lab, onebox.inventory, onebox.secrets, repository=tree).run("deploy.py")
    said = output(done)
    assert done.returncode != 0
    assert "Traceback" not in said
    assert "crypto: the new configuration does not come up, nothing of it is written" in said
    assert ">>> 'reply-cache-size 1048576'\nBad directive" in said
    assert "by hand: remove reply_cache_size from group_data/roles.yaml" in said
    assert "reply-cache-size" not in onebox.host("crypto").sh("cat /etc/redis/*.conf")
