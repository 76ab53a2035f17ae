"""A healthy server that cannot be looked at is left alone, and said to be unknown, by deploy, drift and verify."""

import json
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.hosts import impostor
from tests.hosts.conftest import ROLES, TABLE, Finished, Tier, output, overriding, wait_for

pytestmark = pytest.mark.hosts

ROLE = "crypto"
RESTARTS = overriding({role: {"databases": 17} for role in ROLES})  # a change that needs a restart of every instance


@pytest.fixture(scope="module")
def kept(onebox: Tier) -> Iterator[Tier]:
    """The tier, whose roles hold a key each."""
    for role in ROLES:
        with onebox.operator(role) as operator:
            operator.set("test:kept", role)
    yield onebox


@pytest.fixture
def untouched(kept: Tier) -> Iterator[Tier]:
    """Whatever the test did: no process is another one, no key is gone, no password has changed."""
    before = {role: kept.pid(role) for role in ROLES}
    secrets, files = kept.secrets.read_text(), acl_files(kept)
    yield kept
    assert {role: kept.pid(role) for role in ROLES} == before
    assert (kept.secrets.read_text(), acl_files(kept)) == (secrets, files)
    for role in ROLES:
        with kept.operator(role) as operator:
            assert operator.get("test:kept") == role
    kept.deploy()  # also back to 16 databases, without a restart: nothing had been changed
    assert {role: kept.pid(role) for role in ROLES} == before


def acl_files(tier: Tier) -> str:
    return str(tier.host(ROLE).sh("cat /etc/redis/*.acl"))


def said(done: Finished) -> str:
    """What a run printed that had to end badly, without a traceback."""
    assert done.returncode != 0, output(done)
    assert "Traceback" not in output(done)
    return output(done)


def unknown(tier: Tier, tmp_path: Path) -> list[dict[str, Any]]:
    """What drift does not know; it has to say so by its status and exit code."""
    report = tmp_path / "drift.json"
    assert tier.run("tasks/drift.py", "--data", f"drift_report={report}").returncode != 0
    host = json.loads(report.read_text())["hosts"]["redis-1"]
    assert host["status"] == "error"
    assert [item for item in host["differences"] if item["remedy"] == "restart"] == []
    found: list[dict[str, Any]] = host["unknown"]
    return found


def all_three(tier: Tier, tmp_path: Path, words: str) -> None:
    """Deploy, verify and drift each say `words` and change nothing; so does a deploy that would have to restart."""
    assert words in said(tier.run("deploy.py"))
    assert words in said(tier.run("tasks/verify.py"))
    assert any(words in item["because"] for item in unknown(tier, tmp_path))


# --- The way is shut


@contextmanager
def sshd(tier: Tier, line: str) -> Iterator[None]:
    host = tier.host(ROLE)
    host.sh(f"printf '%s\\n' '{line}' >/etc/ssh/sshd_config.d/00-test.conf && systemctl reload ssh")
    try:
        yield
    finally:
        host.sh("rm /etc/ssh/sshd_config.d/00-test.conf && systemctl reload ssh")


NO_TUNNELS = ["AllowTcpForwarding no", "DisableForwarding yes", "PermitOpen 127.0.0.1:1"]
CARRIED = "sshd forbids tunnels to this login: a command there carries what is said to its instances"


@pytest.mark.parametrize("line", NO_TUNNELS)
def test_where_sshd_forbids_tunnels_a_command_carries_what_is_said(untouched: Tier, tmp_path: Path, line: str) -> None:
    report = tmp_path / "drift.json"
    with sshd(untouched, line):
        for done in (
            untouched.run("deploy.py"),
            untouched.run("tasks/verify.py"),
            untouched.run("tasks/drift.py", "--data", f"drift_report={report}"),
        ):
            assert done.returncode == 0, output(done)
            assert CARRIED in " ".join(output(done).split())
    host = json.loads(report.read_text())["hosts"]["redis-1"]
    assert (host["status"], host["unknown"], host["differences"]) == ("in_sync", [], [])
    assert no_carrier_is_left(untouched)


def no_carrier_is_left(tier: Tier) -> bool:
    """Whether no process carries bytes for nobody any more."""
    wait_for(lambda: tier.host(ROLE).call("pgrep -f '[/]dev/tcp/'").returncode == 1, "what carried has ended", 5)
    return True


@pytest.mark.parametrize("options", [(), ("--ssh-user", "admin", "--sudo")], ids=["root", "sudo"])
def test_a_change_with_restarts_is_made_without_tunnels_and_shows_no_password(
    kept: Tier, options: tuple[str, ...]
) -> None:
    host = kept.host(ROLE)
    look = (
        "while [ -e /run/sampling ]; do cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ; done >/run/sampled 2>/dev/null"
    )
    with sshd(kept, NO_TUNNELS[0]):
        host.sh(f"touch /run/sampling; systemd-run -q --collect sh -c '{look}'")
        try:
            done = kept.run("deploy.py", *options, *overriding({ROLE: {"databases": 17}}))
            back = kept.run("deploy.py", *options)
        finally:
            host.sh("rm /run/sampling")
    for run in (done, back):
        assert run.returncode == 0, output(run)
        assert f"restarted {ROLE} on redis-1" in output(run)
    with kept.operator(ROLE) as operator:
        assert operator.get("test:kept") == ROLE
    sampled = host.sh("cat /run/sampled")
    assert "/dev/tcp" in sampled
    words = {word for users in kept.passwords.values() for word in users.values()}
    assert [word for word in words if word in sampled + output(done)] == []
    assert no_carrier_is_left(kept)


def test_where_neither_a_tunnel_nor_a_command_leads_to_a_server_nothing_is_done(
    untouched: Tier, tmp_path: Path
) -> None:
    host = untouched.host(ROLE)
    # A bash that runs scripts, and cannot connect; /usr/sbin comes first.
    bash = '#!/bin/sh\ncase "$*" in */dev/tcp/*) exit 1 ;; esac\nexec /usr/bin/bash "$@"\n'
    host.sh("cat >/usr/sbin/bash; chmod +x /usr/sbin/bash", input=bash)
    try:
        with sshd(untouched, NO_TUNNELS[0]):
            all_three(
                untouched, tmp_path, "sshd forbids TCP forwarding (AllowTcpForwarding), and no command carries it"
            )
            assert "left as it is: crypto: file /etc/redis/crypto.conf" in said(untouched.run("deploy.py", *RESTARTS))
            assert "databases 17" not in host.sh("cat /etc/redis/*.conf")
    finally:
        host.sh("rm /usr/sbin/bash")


# --- The server does not answer


@contextmanager
def crowded(tier: Tier) -> Iterator[list["redis.Redis"]]:
    """No connection is left for anybody; yields those who are in."""
    operator = tier.operator(ROLE)
    allowed = str(operator.config_get("maxclients")["maxclients"])
    operator.config_set("maxclients", 12)
    clients = [operator]
    try:
        while len(clients) < 20:
            client = tier.client(ROLE, TABLE[ROLE]["services"][0])
            client.ping()
            clients.append(client)
    except redis.RedisError:
        pass
    yield clients
    operator.config_set("maxclients", allowed)
    for client in clients:
        client.connection_pool.disconnect()


def test_a_server_without_a_free_connection_is_not_restarted(untouched: Tier, tmp_path: Path) -> None:
    with crowded(untouched) as clients:
        connected = [client.client_id() for client in clients]
        all_three(untouched, tmp_path, "max number of clients reached")
        assert [client.client_id() for client in clients] == connected  # nobody was cut off


@contextmanager
def looping(tier: Tier) -> Iterator[None]:
    """A script of a service runs for as long as the body."""
    with tier.client(ROLE, TABLE[ROLE]["services"][0]) as service:
        connection = service.connection_pool.get_connection()
        connection.send_command("EVAL", "while true do end", 0)
        try:
            wait_for(lambda: tier.is_busy(ROLE), "the script runs for longer than busy-reply-threshold")
            yield
        finally:
            with tier.client(ROLE, "operator") as operator:
                operator.script_kill()
        with pytest.raises(redis.exceptions.ResponseError):
            connection.read_response()


def test_a_server_that_runs_a_script_is_not_restarted(untouched: Tier, tmp_path: Path) -> None:
    with looping(untouched):
        all_three(untouched, tmp_path, "BUSY")


def test_a_server_whose_clients_are_paused_is_not_restarted(untouched: Tier) -> None:
    with untouched.operator(ROLE) as operator:
        operator.client_pause(40_000)  # nobody can end it before, the operator neither
        assert "no answer" in said(untouched.run("deploy.py"))
    wait_for(lambda: untouched.answers(ROLE), "the pause has ended", 60)


def test_a_stopped_process_is_not_restarted(untouched: Tier, tmp_path: Path) -> None:
    pid = untouched.pid(ROLE)
    untouched.host(ROLE).sh(f"kill -STOP {pid}")
    try:
        all_three(untouched, tmp_path, "no answer")
    finally:
        untouched.host(ROLE).sh(f"kill -CONT {pid}")


def test_a_password_that_the_server_does_not_take_restarts_nothing(untouched: Tier, tmp_path: Path) -> None:
    right = untouched.secrets.read_text()
    wrong = re.sub(r"(crypto:\n(?: +.*\n)*? +operator: )\S+", r"\1not-the-password-of-crypto-operator", right)
    assert wrong != right
    untouched.secrets.write_text(wrong)
    try:
        assert "WRONGPASS" in said(untouched.run("tasks/verify.py"))
        assert any("WRONGPASS" in item["because"] for item in unknown(untouched, tmp_path))
        said(untouched.run("deploy.py"))
    finally:
        untouched.secrets.write_text(right)


# --- A server does not end


@contextmanager
def when_it_is_about_to_stop(tier: Tier, *command: str | int) -> Iterator[None]:
    """A service sends a command when the gate has written its witnesses, right before the server is told to end."""
    stop, service = threading.Event(), tier.client(ROLE, TABLE[ROLE]["services"][0])
    connection = service.connection_pool.get_connection()
    for left in service.scan_iter("caas-verify:*"):  # of a restart that ended otherwise; they would go by themselves
        service.unlink(left)

    def watch() -> None:
        while not stop.is_set():
            if any(service.scan_iter("caas-verify:gate:*")):
                connection.send_command(*command)  # type: ignore[no-untyped-call]
                break
        while not stop.wait(0.1):  # others go on asking, and are told BUSY
            with suppress(redis.exceptions.RedisError):
                service.ping()

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        stop.set()
        watcher.join()
        connection.disconnect()  # type: ignore[no-untyped-call]


RESTART = overriding({ROLE: {"databases": 17}})
LOOP = "redis.call('SET', 'test:half', 'x') while true do end"


def test_a_server_whose_script_has_written_does_not_end_and_is_not_killed(kept: Tier) -> None:
    pid = kept.pid(ROLE)
    with when_it_is_about_to_stop(kept, "EVAL", LOOP, 0):
        done = said(kept.run("deploy.py", *RESTART))
        assert re.search("was told to end [12][0-9] s ago and neither saves nor ends, its process is R", done)
        assert "(UNKILLABLE)" in done
        assert kept.pid(ROLE) == pid
        assert "it is being stopped, and its process has not ended" in said(kept.run("tasks/verify.py", *RESTART))
        assert kept.pid(ROLE) == pid
        with kept.operator(ROLE) as operator, suppress(redis.exceptions.ConnectionError):
            operator.shutdown(nosave=True)
    wait_for(lambda: kept.answers(ROLE), "it has started by itself")
    with kept.operator(ROLE) as operator:
        assert (operator.get("test:kept"), operator.exists("test:half")) == (ROLE, 0)
    kept.deploy(*RESTART)
    kept.deploy()


def test_a_script_that_has_written_nothing_is_ended_with_its_server(kept: Tier) -> None:
    with when_it_is_about_to_stop(kept, "EVAL", "while true do end", 0):
        done = output(kept.deploy(*RESTART))
        assert "ended a script that had written nothing" in done
    kept.deploy()


def test_a_server_that_saves_is_waited_for(kept: Tier) -> None:
    with kept.operator(ROLE) as operator:
        before = operator.info("server")["run_id"]
        operator.mset({f"test:slow:{number}": "x" for number in range(200)})
        operator.config_set("rdb-key-save-delay", 100_000)  # microseconds: 20 s in all
    done = kept.deploy(*RESTART)
    assert "crypto: restarted in 2" in output(done)
    with kept.operator(ROLE) as operator:
        assert operator.info("server")["run_id"] != before
        assert operator.delete(*(f"test:slow:{number}" for number in range(200))) == 200
    kept.deploy()


# --- The host does not say


def test_a_host_without_ss_is_unknown(untouched: Tier, tmp_path: Path) -> None:
    host = untouched.host(ROLE)
    host.sh("mv $(command -v ss) /root/ss.kept")
    try:
        assert "who listens on the host: unknown" in said(untouched.run("deploy.py"))
        assert "who listens on the host: unknown" in said(untouched.run("deploy.py", "--dry", yes=False))
        assert "who listens on the host" in [item["what"] for item in unknown(untouched, tmp_path)]
    finally:
        host.sh("mv /root/ss.kept /usr/bin/ss")


BROKEN = {
    "ss": ("/usr/bin/ss", "echo usage", "ss says 'usage', expected a socket that listens"),
    "df": ("/usr/bin/df", "echo full", "what df says of the free disk space is 'full', expected numbers and paths"),
    "nft": ("/usr/sbin/nft", "true", "nft printed nothing, not even of what it always knows"),
}


@contextmanager
def replaced(tier: Tier, programs: Mapping[str, str]) -> Iterator[None]:
    """These programs of the host do something else, by path."""
    host = tier.host(ROLE)
    for path, does in programs.items():
        host.sh(f"mv {path} {path}.kept && printf '#!/bin/sh\\n%s\\n' '{does}' >{path} && chmod 755 {path}")
    try:
        yield
    finally:
        for path in programs:
            host.sh(f"mv {path}.kept {path}")


def test_programs_that_say_something_else_leave_their_part_unknown_and_hide_nothing(
    untouched: Tier, tmp_path: Path
) -> None:
    host = untouched.host(ROLE)
    host.sh("chmod 600 /etc/redis/gateway.conf")
    with replaced(untouched, {path: does for path, does, _ in BROKEN.values()}):
        found = unknown(untouched, tmp_path)
        report = json.loads((tmp_path / "drift.json").read_text())["hosts"]["redis-1"]
        plan = untouched.run("deploy.py", "--dry", yes=False)
    host.sh("chmod 640 /etc/redis/gateway.conf")
    parts = {item["because"] for item in found if item["role"] is None}
    assert parts == {because for _, _, because in BROKEN.values()}
    assert not any("install" in item["remedy"] for item in found)
    assert [(item["subject"], item["name"]) for item in report["differences"]] == [("file", "/etc/redis/gateway.conf")]
    assert "inner-port" not in output(plan)


def test_a_program_that_hangs_leaves_its_part_unknown(untouched: Tier, tmp_path: Path) -> None:
    with replaced(untouched, {"/usr/bin/ss": "exec sleep 1000"}):
        found = [item["because"] for item in unknown(untouched, tmp_path) if item["role"] is None]
    assert found == ["ss has not ended within 20 s"]


# --- The server is under way


def test_a_server_that_loads_is_waited_for_not_started(onebox: Tier, tmp_path: Path) -> None:
    ballast(onebox, "redis.call('SET','test:ballast:'..n,n)")
    unit = f"redis-{ROLE}.service"
    host = onebox.host(ROLE)
    # Slowly, by a setting of Redis' own tests: about every fourth key takes a rest.
    start = f"/usr/bin/redis-server /etc/redis/{ROLE}.conf --key-load-delay -4"
    drop_in = f"/run/systemd/system/{unit}.d"
    host.sh(f"mkdir -p {drop_in} && cat >{drop_in}/slow.conf", input=f"[Service]\nExecStart=\nExecStart={start}\n")
    host.sh(f"systemctl daemon-reload && systemctl restart --no-block {unit}")
    try:
        wait_for(lambda: "loading:1" in str(info(onebox)), "it loads")
        pid = onebox.pid(ROLE)
        assert any("it loads its data" in item["because"] for item in unknown(onebox, tmp_path))
        assert onebox.pid(ROLE) == pid
    finally:
        host.sh(f"rm -r {drop_in} && systemctl daemon-reload")
    wait_for(lambda: onebox.answers(ROLE), "it has loaded", 120)
    with onebox.operator(ROLE) as operator:
        assert operator.dbsize() >= 1_000_000
    ballast(onebox, "redis.call('UNLINK','test:ballast:'..n)")


def ballast(tier: Tier, command: str) -> None:
    """Run `command` for each of a million keys; some at a time, for a server answers nobody meanwhile."""
    with tier.operator(ROLE) as operator:
        for first in range(1, 1_000_001, 20_000):
            operator.execute_command("EVAL", f"for n={first},{first + 19_999} do {command} end", 0)


def info(tier: Tier) -> str:
    try:
        with tier.operator(ROLE) as operator:
            return f"loading:{operator.info('persistence')['loading']}"
    except redis.RedisError:
        return ""


# --- Another answers in its place


def nobody_logs_in(tier: Tier, tmp_path: Path, words: str) -> None:
    """Plan, deploy, proof and drift say `words`, and whoever answered was told no password, by anybody."""
    told = []
    for file, *options in (("deploy.py", "--dry"), ("tasks/verify.py",), ("tasks/drift.py",)):
        done = tier.run(file, *options, yes=not options)
        assert words in output(done), output(done)
        assert "Traceback" not in output(done)
        told.append(impostor.told(tier.host(ROLE)))
    secrets = {word for users in tier.passwords.values() for word in users.values()}
    assert [secret for secret in secrets if secret in "".join(told)] == []
    assert "AUTH" not in "".join(told)


def test_whoever_answers_for_a_stopped_unit_is_told_no_password(kept: Tier, tmp_path: Path) -> None:
    host, row = kept.host(ROLE), TABLE[ROLE]
    host.sh(f"systemctl stop redis-{ROLE}")
    try:
        with impostor.listening(host, row["address"], row["port"]):
            nobody_logs_in(kept, tmp_path, "perl, pid")
    finally:
        host.sh(f"systemctl start redis-{ROLE}")


@pytest.mark.parametrize(("family", "rule"), impostor.TAKINGS.values(), ids=impostor.TAKINGS)
def test_whoever_a_rule_leads_to_is_told_no_password(untouched: Tier, tmp_path: Path, family: str, rule: str) -> None:
    host, row = untouched.host(ROLE), TABLE[ROLE]
    host.sh("nft -f -", input=impostor.taking(family, rule, **row))
    try:
        with impostor.listening(host, "127.0.0.1", 7999):
            nobody_logs_in(untouched, tmp_path, "redirect to :7999")
    finally:
        host.sh(f"nft delete table {family} theirs")


# --- It answers what no Redis does


@pytest.fixture(scope="module")
def captured(kept: Tier) -> Iterator[Tier]:
    """The tier, of which one role's own unit runs something else."""
    with impostor.as_unit(kept.host(ROLE), f"redis-{ROLE}.service", TABLE[ROLE]["address"], TABLE[ROLE]["port"]):
        yield kept


@pytest.mark.parametrize("reply", impostor.ODD.values(), ids=impostor.ODD)
def test_an_odd_reply_is_that_roles_and_hides_no_other(captured: Tier, tmp_path: Path, reply: bytes) -> None:
    impostor.install(captured.host(ROLE), reply)
    report, page = tmp_path / "drift.json", tmp_path / "drift.html"
    drift = captured.run("tasks/drift.py", "--data", f"drift_report={report}", "--data", f"drift_page={page}")
    verify = captured.run("tasks/verify.py")
    host = json.loads(report.read_text())["hosts"]["redis-1"]
    assert [(item["role"], item["what"]) for item in host["unknown"]] == [(ROLE, "its settings, users and data")]
    assert page.exists()
    secrets = {word for users in captured.passwords.values() for word in users.values()}
    for done in (drift, verify):
        assert ROLE in said(done)
        assert "fault of this program" not in output(done)
        assert [secret for secret in secrets if secret in output(done)] == []
