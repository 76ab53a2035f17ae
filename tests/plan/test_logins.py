"""Which password goes where: over whole runs of every kind, each only to the server of the role that it is for."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import yaml

from tasks.desired.host import Host
from tasks.observed.refusal import Cause, Refusal
from tasks.observed.state import Observed
from tests.plan.harness import Event, Result, Site, run
from tests.plan.hosts import PROD, bare_takes, production, takes
from tests.plan.redis import OtherRedis
from tests.plan.test_adopt import OTHER, PACKAGED, READS, SECRET, gateway
from tests.unit.builders import (
    as_desired,
    fresh,
    roles,
    stopped,
    with_file,
    with_listener,
    with_server,
    with_setting,
    with_unit,
    with_user,
)
from tests.unit.observed.test_own_server import OTHERS, Change

UNIT = "redis-crypto.service"


def endpoints() -> dict[tuple[str, int], str]:
    """The role that answers at each address and port of the tier."""
    return {(str(role.address), port): name for name, role in roles().items() for port in role.ports}


def logins(result: Result) -> list[Event]:
    return [event for event in result.events if event.password]


def owners(secrets_file: Path) -> dict[str, set[str]]:
    """password → the roles that it is for."""
    found: dict[str, set[str]] = {}
    for role, users in yaml.safe_load(secrets_file.read_text()).items():
        for password in users.values():
            found.setdefault(password, set()).add(role)
    return found


def astray(result: Result, secrets_file: Path) -> list[tuple[str, tuple[str, int]]]:
    """Real passwords that went to another server than one of their role's."""
    known, places = owners(secrets_file), endpoints()
    return [
        (event.text, event.to)
        for event in logins(result)
        if event.password in known and places.get(event.to) not in known[event.password]
    ]


State = Callable[[Host], Observed]


def crypto(*states: State, commands: Mapping[str, str] | None = None) -> dict[str, Site]:
    return production(crypto=Site(states, commands or {}))


def edited(host: Host) -> Observed:
    return with_file(as_desired(host), "/etc/redis/crypto.conf", content="hz 1\n")


def restarting(host: Host) -> Observed:
    """A host whose instance runs a binary that is gone."""
    seen = as_desired(host)
    return replace(seen, binaries={seen.pid(UNIT): "/usr/bin/redis-server (deleted)"})


@dataclass(frozen=True)
class Kind:
    """One kind of run."""

    sites: Mapping[str, Site]
    command: str = "deploy.py"
    options: tuple[str, ...] = ()
    inventory: str = "inventory/prod.py"
    old: bool = False  # the secrets file has the password of an old server
    roles: frozenset[str] = field(default_factory=lambda: frozenset(PROD.values()))  # that are logged in to


LIVE: Change = lambda seen: with_setting(seen, "crypto", "timeout", "9")  # noqa: E731
OPENED: Change = lambda seen: with_user(seen, "crypto", "default", flags=["on", "nopass"])  # noqa: E731
RESTART = f"end to restart {UNIT}"
KINDS = {
    "a first deploy": Kind({host: Site([fresh, as_desired], bare_takes(role)) for host, role in PROD.items()}),
    "nothing to do": Kind(production()),
    "five roles on one host": Kind({"redis-1": Site([as_desired])}, inventory="inventory/onebox.py"),
    "a proof": Kind(production(), "tasks/verify.py"),
    "a proof of one host": Kind({"redis-1": Site([as_desired])}, "tasks/verify.py", inventory="inventory/onebox.py"),
    "a drift check": Kind(production(), "tasks/drift.py"),
    "a change that is set live": Kind(crypto(lambda host: LIVE(as_desired(host)), as_desired)),
    "a default that was opened": Kind(
        crypto(lambda host: OPENED(as_desired(host)), as_desired, commands={"make-replayable .*": ""})
    ),
    "a restart": Kind(
        crypto(
            restarting,
            as_desired,
            commands={
                **takes(RESTART, f"systemctl is-active {UNIT}"),
                "before a restart": "99999999\nmanifest\nlooked",
            },
        )
    ),
    "an old server": Kind(
        gateway(replace(OTHER, password=SECRET)), old=True, roles=frozenset(PROD.values()) - {"gateway"}
    ),
    "an old server that is to be adopted": Kind(
        gateway(replace(OTHER, password=SECRET)),
        options=("--dry", "--data", "adopt=gateway"),
        old=True,
        roles=frozenset(PROD.values()) - {"gateway"},
    ),
}


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_no_password_goes_to_a_server_that_it_is_not_for(secrets_file: Path, kind: Kind) -> None:
    if kind.old:
        known = yaml.safe_load(secrets_file.read_text())
        known["gateway"]["default"] = SECRET
        secrets_file.write_text(yaml.safe_dump(known))
    options = kind.options or ("-y",)
    result = run(
        kind.sites,
        *options,
        secrets_file=secrets_file,
        inventory=kind.inventory,
        command=kind.command,
        unscripted_is_fine=True,
    )
    real = {event.password for event in logins(result)} & set(owners(secrets_file))
    assert {endpoints().get(event.to) for event in logins(result)} - {None} == kind.roles
    assert len(real) >= len(kind.roles)
    assert [item for item in astray(result, secrets_file) if item[1] != ("127.0.0.1", 6379)] == []
    old = [event.password for event in logins(result) if event.to == ("127.0.0.1", 6379)]
    assert old == [SECRET] * len(old)
    assert bool(old) is kind.old


# All of them are judged in tests/unit/observed/test_own_server.py.
SHARED = (
    "another has the same address and port",
    "a rule leads to another host",
    "it does not run, and another answers",
)
SHARE = [OTHERS[name][0] for name in SHARED]


@pytest.mark.parametrize("command", ["deploy.py", "tasks/verify.py", "tasks/drift.py"])
@pytest.mark.parametrize("change", SHARE, ids=SHARED)
def test_nobody_is_logged_in_where_another_may_answer_and_it_is_said(
    secrets_file: Path, change: Change, command: str
) -> None:
    sites = crypto(lambda host: change(as_desired(host)))
    options = () if command == "deploy.py" else ("-y",)
    result = run(sites, *(options or ("--dry",)), secrets_file=secrets_file, command=command)
    assert [event.text for event in logins(result) if event.host == "redis-crypto"] == []
    assert "redis-crypto" in result.output
    assert command == "deploy.py" or result.exit_code != 0
    assert "Traceback" not in result.output


@pytest.mark.parametrize("change", SHARE, ids=SHARED)
def test_nobody_is_logged_in_where_another_may_answer_since_the_plan_was_made(
    secrets_file: Path, change: Change, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second look of a deploy is that of its proof; it is saved where the first is of seconds ago."""
    monkeypatch.setattr("tasks.run.survey.FRESH", 0)
    sites = crypto(as_desired, lambda host: change(as_desired(host)))
    result = run(sites, "-y", secrets_file=secrets_file)
    sent = [number for number, event in enumerate(result.events) if event.password and event.host == "redis-crypto"]
    assert len(sent) == 1  # the plan's
    assert result.exit_code != 0


@pytest.mark.parametrize("change", SHARE, ids=SHARED)
def test_a_change_is_not_made_live_where_another_may_answer_meanwhile(secrets_file: Path, change: Change) -> None:
    sites = crypto(lambda host: LIVE(as_desired(host)))
    sites["redis-crypto"] = replace(sites["redis-crypto"], meanwhile=lambda host: change(as_desired(host)))
    result = run(sites, "-y", secrets_file=secrets_file, unscripted_is_fine=True)
    assert [event.text for event in result.events if "CONFIG SET" in event.text] == []
    assert len([event for event in logins(result) if event.host == "redis-crypto"]) == 1  # the plan's
    assert result.exit_code != 0


def test_an_old_server_that_asks_for_no_password_gets_none(secrets_file: Path) -> None:
    known = yaml.safe_load(secrets_file.read_text())
    known["gateway"]["default"] = SECRET
    secrets_file.write_text(yaml.safe_dump(known))
    result = run(gateway(), "-y", secrets_file=secrets_file)
    assert SECRET not in {event.password for event in result.events}


def test_an_old_server_whose_port_another_holds_as_well_gets_no_password(secrets_file: Path) -> None:
    known = yaml.safe_load(secrets_file.read_text())
    known["gateway"]["default"] = SECRET
    secrets_file.write_text(yaml.safe_dump(known))

    def two(host: Host) -> Observed:
        seen = with_listener(fresh(host), "0.0.0.0", 6379, "redis-server", 812)
        seen = with_listener(seen, "127.0.0.1", 6379, "python3", 4711)
        return with_unit(seen, PACKAGED, LoadState="loaded", ActiveState="active", MainPID="812")

    locked = OtherRedis(OTHER.answers, password=SECRET)
    sites = production(gateway=Site([two], READS, others={("127.0.0.1", 6379): locked}))
    result = run(sites, "-y", secrets_file=secrets_file)
    assert SECRET not in {event.password for event in result.events}
    assert "python3, pid 4711, listens on 127.0.0.1:6379 beside it" in result.output


@pytest.mark.parametrize(
    "said", ["BUSY Redis is busy running a script.", "LOADING Redis is loading", "ERR max number of clients reached"]
)
def test_a_server_that_serves_nobody_is_one_finding_that_says_why(secrets_file: Path, said: str) -> None:
    cause = {"BUSY": Cause.BUSY, "LOADING": Cause.LOADING}.get(said.split()[0], Cause.MAXCLIENTS)
    sites = crypto(lambda host: with_server(as_desired(host), "crypto", refusal=Refusal(cause, said)))
    result = run(sites, "-y", secrets_file=secrets_file, command="tasks/verify.py")
    found = [line for line in result.plan if line.startswith("redis-crypto:")]
    assert len(found) == 1, found
    assert said in found[0]


def test_a_service_without_a_known_password_is_one_finding_that_says_so(secrets_file: Path) -> None:
    known = yaml.safe_load(secrets_file.read_text())
    del known["crypto"]["crypto-service"]
    secrets_file.write_text(yaml.safe_dump(known))
    result = run(production(), "-y", secrets_file=secrets_file, command="tasks/verify.py")
    (found,) = [line for line in result.plan if line.startswith("redis-crypto:")]
    assert "the secrets file has none for crypto-service" in found
    assert not [event for event in logins(result) if event.password == ""]


def test_an_instance_that_stopped_is_its_own_finding_and_nobody_else_is_asked(secrets_file: Path) -> None:
    sites = crypto(lambda host: stopped(as_desired(host), "crypto"))
    impostor = OtherRedis(OTHER.answers, password="anything")
    role = roles()["crypto"]
    places = {(str(role.address), port): impostor for port in role.ports}
    sites["redis-crypto"] = replace(sites["redis-crypto"], others=places)
    result = run(sites, "-y", secrets_file=secrets_file, command="tasks/verify.py")
    assert [event.text for event in logins(result) if event.host == "redis-crypto"] == []
