"""The scripts of throw-away servers: what they may reach, and what they never contain."""

import re
import subprocess

import pytest

from tasks.steps.convert import Form, convert_script
from tasks.steps.trial import try_inner_port_script, try_script
from tests.unit.builders import EVERY, TLS, desired, pair_of, password, roles, secrets_of
from tests.unit.scripts import Call, call, path_of

SCRIPTS = {
    **{f"trial of {role}": try_script(desired(role).instances[0]) for role in EVERY},
    **{
        f"{role} to {form}": convert_script(desired(role).instances[0], form, 1)
        for role in EVERY
        for form in ("log", "snapshot")
    },  # type: ignore[arg-type]
    "inner port": try_inner_port_script(desired("socket")),
}
SERVERS = [name for name in SCRIPTS if name != "inner port"]


def job(script: str) -> Call:
    """What a script does in the end: itself, or the job that it runs in a sandbox."""
    run = call(script)
    return call(run.parameters["job"]) if run.name == "as-role" else run


def directives(script: str) -> dict[str, str]:
    """The configuration that a script gives its server, by directive; the last one counts, as for Redis."""
    text = job(script).parameters["config"]
    return dict(line.partition(" ")[::2] for line in text.splitlines() if line and not line.startswith(("#", "user ")))


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_script_is_one_that_a_posix_shell_can_read(name: str) -> None:
    subprocess.run(["dash", "-n"], input=SCRIPTS[name], text=True, check=True)


@pytest.mark.parametrize("name", SERVERS)
def test_nobody_but_root_on_the_host_can_reach_the_server(name: str) -> None:
    config = directives(SCRIPTS[name])
    assert config["port"] == "0"
    assert config["unixsocketperm"] == "700"
    if call(SCRIPTS[name]).name == "as-role":  # in a /tmp of its own
        assert config["unixsocket"] == "/tmp/convert/socket"
        assert "PrivateTmp=yes" in call(SCRIPTS[name]).parameters["sandbox"].splitlines()
    else:
        assert config["unixsocket"].startswith("/run/redis-trial-")
        assert 'install -d -m 0700 -o "$user" -g "$user" "$work"' in SCRIPTS[name]
        assert call(SCRIPTS[name]).parameters["user"] == name.replace("trial of ", "redis-")


@pytest.mark.parametrize("name", SCRIPTS)
def test_no_password_and_no_hash_of_one_is_in_the_script(name: str) -> None:
    hidden = secrets_of(*roles().values())
    assert password("crypto", "operator") in hidden
    assert [secret for secret in hidden if secret in SCRIPTS[name]] == []


@pytest.mark.parametrize("role", EVERY)
def test_a_trial_writes_into_its_own_directory_only(role: str) -> None:
    assert directives(SCRIPTS[f"trial of {role}"])["dir"] == f"/run/redis-trial-{role}/work"


@pytest.mark.parametrize("role", EVERY)
def test_a_trial_has_the_role_s_own_settings_and_users(role: str) -> None:
    instance = desired(role).instances[0]
    config = directives(SCRIPTS[f"trial of {role}"])
    replaced = {"dir", "port", "aclfile", "supervised", "pidfile", "save", "client-output-buffer-limit", "logfile"}
    for name, value in instance.settings.items():
        if name not in replaced:
            assert config[name] == (value or '""'), name
    for user in instance.users:
        assert (
            f"user {user.name} on #{'0' * 64} {user.rules}\n" in call(SCRIPTS[f"trial of {role}"]).parameters["config"]
        )


def test_a_throw_away_server_reads_no_certificate_which_may_not_be_there_yet() -> None:
    pair = pair_of(tls=TLS)
    for instance in (
        desired("crypto", crypto={"tls": TLS}).instances[0],
        *(host.instances[0] for host in pair.values()),
    ):
        for script in (try_script(instance), convert_script(instance, "log", 1)):
            config = directives(script)
            assert (config["tls-port"], config.get("tls-replication", "no")) == ("0", "no")


@pytest.mark.parametrize("form", ["log", "snapshot"])
def test_a_conversion_loads_everything_whatever_the_limit_of_the_role(form: Form) -> None:
    config = directives(convert_script(desired("gateway").instances[0], form, 1))
    assert (config["maxmemory"], config["maxmemory-policy"]) == ("0", "noeviction")
    assert config["save"] == '""'


@pytest.mark.parametrize("form", ["log", "snapshot"])
def test_a_conversion_leaves_nothing_out_and_prints_nothing_of_it(form: Form) -> None:
    config = directives(convert_script(desired("gateway").instances[0], form, 1))
    assert config["propagation-error-behavior"] == "panic"
    assert config["crash-log-enabled"] == "no"


def test_a_conversion_loads_the_form_that_the_data_is_in() -> None:
    config = {form: directives(SCRIPTS[f"crypto to {form}"]) for form in ("log", "snapshot")}
    assert config["log"]["appendonly"] == "no"
    assert config["snapshot"]["appendonly"] == "yes"


def test_a_log_is_built_beside_and_takes_its_name_when_it_is_complete() -> None:
    script = job(SCRIPTS["crypto to log"])
    assert directives(SCRIPTS["crypto to log"])["appenddirname"] == "appendonlydir.new"
    assert script.parameters["new_log"] == "/var/lib/redis/crypto/appendonlydir.new"
    aside = call(script.parameters["put_aside"])
    log = "/var/lib/redis/crypto/appendonlydir"
    assert (aside.name, aside.parameters) == ("put-aside", {"log": log, "old_log": f"{log}.old"})
    tasks = path_of(script.name).read_text().rpartition("case $task in")[2]
    log = tasks[tasks.index("log)") : tasks.index("snapshot)")]
    order = [log.index(f"\n  {step}") for step in ("begin", "refuse_too_much", "write_log", "end", "mv -T")]
    assert order == sorted(order)


@pytest.mark.parametrize("form", ["log", "snapshot"])
def test_a_conversion_never_removes_a_snapshot_or_a_finished_log(form: Form) -> None:
    script = job(SCRIPTS[f"crypto to {form}"])
    removed = re.findall(r"rm -rf? (\S+)", path_of(script.name).read_text())
    assert set(removed) == {'"$new_log"'}
    assert script.parameters["new_log"] == "/var/lib/redis/crypto/appendonlydir.new"


def test_the_rules_of_the_inner_ports_are_tried_under_a_name_that_nobody_owns() -> None:
    rules = call(SCRIPTS["inner port"]).parameters["rules"]
    assert "\ntable ip redis_inner_port_trial {\n" in rules
    assert "table ip redis_inner_port {" not in rules


def test_a_trial_has_the_sandbox_of_the_role_s_unit_but_for_its_directories() -> None:
    lines = call(SCRIPTS["trial of crypto"]).parameters["sandbox"].splitlines()
    unit = desired("crypto").instances[0].unit_text.splitlines()
    assert lines[-1] == "ReadWritePaths=/run/redis-trial-crypto/work"
    assert [line for line in lines[:-1] if line not in unit] == []
    for name in ("User=redis-crypto", "PrivateUsers=yes", "NoExecPaths=+/", "SystemCallFilter=~@privileged @resources"):
        assert name in lines
    assert [line for line in lines if "/var/lib/redis/" in line or line.startswith(("ExecStart", "Restart="))] == []
