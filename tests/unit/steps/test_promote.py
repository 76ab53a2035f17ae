"""A primary whose host is there, down and without its data: it is fenced and lets its address go before all else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tasks.observed.connection import CommandResult
from tasks.observed.state import Observed
from tasks.run.survey import Look
from tasks.steps import handover, promote
from tasks.steps.handover import MoveFailed
from tasks.steps.promote import Place, _fence, _given_by_its_network, _unfence
from tests.unit.builders import as_desired, pair_of, stopped, with_unit
from tests.unit.scripts import read_call

FENCE = "/etc/systemd/system/redis-crypto.service.d/handed-over.conf"
UNIT = "redis-crypto.service"
KEEPER = "caas-redis-address-crypto.service"
DONE = CommandResult(True, "", "")
Answer = Callable[[str], CommandResult]


def old_host(along: bool = True) -> Place:
    """The host that served, as it was seen: its server does not run, and it has nothing."""
    host = pair_of(along=along)["one"]
    seen = stopped(as_desired(host), "crypto")
    seen = replace(seen, data_files={})
    named = cast(Any, SimpleNamespace(name="one", log_styled=lambda *_, **__: None))
    return Place(named, host.instances[0], host.pairs[0], Look(host, {}, seen, ()))


def ran(monkeypatch: pytest.MonkeyPatch, old: Place, answer: Answer = lambda _: DONE) -> list[str]:
    """What runs on the host: a script by its name, else the command; `answer`: what comes of it."""
    done: list[str] = []

    def run(state: object, host: object, command: str, *_: object, **__: object) -> CommandResult:
        found = read_call(command)
        done.append(found.name if found else command)
        return answer(done[-1])

    def look(*_: object) -> dict[str, Look]:
        done.append("look")
        return {"one": replace(old.seen, observed=with_unit(old.observed, UNIT, DropInPaths=FENCE))}

    for module in (promote, handover):
        monkeypatch.setattr(module, "run_command", run)
    monkeypatch.setattr(promote, "look_at_all", look)
    return done


NOTHING = cast(Any, None)


@pytest.mark.parametrize("along", [True, False])
def test_its_address_leaves_it_behind_its_fence_and_that_is_seen(monkeypatch: pytest.MonkeyPatch, along: bool) -> None:
    old = old_host(along)
    done = ran(monkeypatch, old)
    _fence(NOTHING, NOTHING, old)
    assert done == ["fence-start", *(["release-address"] if along else []), "look"]


def test_one_whose_address_stays_is_as_before_and_nothing_is_promoted(monkeypatch: pytest.MonkeyPatch) -> None:
    old = old_host()
    stays = CommandResult(False, "", "10.0.0.1 is still here")
    done = ran(monkeypatch, old, lambda name: stays if name == "release-address" else DONE)
    with pytest.raises(MoveFailed, match=r"one: 10\.0\.0\.1 is still here: nothing was promoted$"):
        _fence(NOTHING, NOTHING, old)
    assert (done[:2], done[-1]) == (["fence-start", "release-address"], "keep-address")
    assert done[2].startswith(f"rm -f {FENCE};")


def test_what_is_not_undone_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    old = old_host()
    failed = CommandResult(False, "", "another machine\x1b[2J answers for it")
    ran(monkeypatch, old, lambda name: failed if name == "keep-address" else DONE)
    said = _unfence(NOTHING, old)
    assert said.endswith("is not there again: another machine\\x1b[2J answers for it")
    assert ran(monkeypatch, old_host(False)) == []
    assert _unfence(NOTHING, old_host(False)) == ""


def without_keeper(seen: Observed, address: bool) -> Observed:
    files = {path: it for path, it in seen.files.items() if not path.endswith(KEEPER)}
    units = {name: it for name, it in seen.units.items() if name != KEEPER}
    return replace(seen, files=files, units=units, addresses=seen.addresses if address else frozenset())


def test_an_address_that_its_network_gives_it_is_refused_before_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    old = old_host()
    ran(monkeypatch, old)
    assert _given_by_its_network(NOTHING, None) == []
    assert _given_by_its_network(NOTHING, old_host(False)) == []
    assert _given_by_its_network(NOTHING, old) == []
    for has, words in ((True, f"(no {KEEPER})"), (False, "")):
        bare = replace(old, seen=replace(old.seen, observed=without_keeper(old.observed, has)))
        assert [words in item for item in _given_by_its_network(NOTHING, bare)] == ([True] if has else [])
    ran(monkeypatch, old, lambda _: CommandResult(True, "2: eth0 inet 10.0.0.1/24 \x1b[2J", ""))
    (said,) = _given_by_its_network(NOTHING, old)
    assert said.startswith("one has ")
    assert "by its network's configuration (2: eth0 inet 10.0.0.1/24 \\x1b[2J)" in said
    ran(monkeypatch, old, lambda _: CommandResult(False, "", "no ip"))
    (said,) = _given_by_its_network(NOTHING, old)
    assert "is not known: no ip" in said
