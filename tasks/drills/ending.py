"""Drills that end servers and machines under acknowledged writes: kill, power cut, reboot."""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from tasks.catalogue.roles import Role
from tasks.compare.loading import END_OF_LOG
from tasks.drills.client import DrillFailed
from tasks.drills.judge import EVERYSEC, Loss, crash_problem, loss, power_problem
from tasks.drills.load import Load, nothing_lost, writing
from tasks.drills.outcome import Outcome, Steps, count, seconds
from tasks.drills.place import Place, sh, wait_for
from tasks.observed.bounds import BACK_PATIENCE
from tasks.observed.connection import ConnectionBroken, open_command, reconnect, run_command
from tasks.reports.rehearsal_model import Figure

BOOTS_PATIENCE = 5  # times as long as its last boot took: several machines that boot at once slow each other
LATE = 20  # seconds that an address comes late
UNDER_LOAD = 3.0  # seconds of writes before something ends
BACK = "echo the addresses are back"
LATE_UNIT = "caas-drill-late-address.service"


def crash(place: Place) -> Steps:
    """kill -9 while a service writes in every way."""
    with writing([place]) as loads:
        load, saved = loads[place.name], 0
        if place.role.save and not place.role.appendonly:
            saved = _saved(place, load)
        time.sleep(UNDER_LOAD)
        place.sh(f"systemctl kill --kill-who=main --signal=KILL {place.unit}")
        away = place.wait_for("takes no write again", lambda: load.breaks > 0 and load.since_break > 0)
    gone = load.lost()
    if problem := crash_problem(place.role, [item for _, item in gone], [item for _, item in load.acknowledged], saved):
        raise DrillFailed(f"{place.name}: {problem}")
    load.remove()
    place.calm_down()
    yield from ()
    return Outcome(
        f"kill -9 of its process while {load.service} wrote plainly, in transactions, by scripts and in hashes, lists "
        "and streams; then every acknowledged write was read back; the time without a write is that of systemd's "
        "start, of the server's loading and of the client's new connection through this tool's SSH",
        {
            "lost": count(len(gone), "writes"),
            "acknowledged": count(len(load.acknowledged), "writes"),
            **({"saved before": count(saved, "writes")} if saved else {}),
            "from the last write before to the next taken": seconds(max(load.gap, away)),
        },
    )


def _saved(place: Place, load: Load) -> int:
    """How many writes had been acknowledged before a snapshot that is whole now."""
    began = int(place.info("server")["server_time_usec"]) // 1_000_000
    count = len(load.acknowledged)
    place.operator("BGSAVE", "SCHEDULE")  # where a rewrite goes on, after that

    def done() -> bool:
        info = place.info("persistence")
        return info["rdb_bgsave_in_progress"] == "0" and int(info["rdb_last_save_time"]) >= began

    place.wait_for("has not saved", done)
    return count


def power(places: Sequence[Place]) -> Generator[None, None, dict[str, Outcome]]:
    """The machine ends at once: nothing is written to its disk any more that is not there yet."""
    first = places[0]
    with writing(places) as loads:
        time.sleep(UNDER_LOAD)
        boot = _boot(first)
        ended = time.monotonic()
        # b of sysrq: reboot without sync and without unmounting.
        _order(first, "echo 1 >/proc/sys/kernel/sysrq; echo b >/proc/sysrq-trigger")
        _all_broken(loads)
    _wait_for_another_boot(first, boot)
    found = {place.name: _after_power(place, loads[place.name], ended) for place in places}
    cut = {place.name: [line for line in place.said_of_it() if END_OF_LOG in line] for place in places}
    if any(cut.values()):
        yield  # what an operator does then: the deploy has those logs written anew
    for place in places:
        found[place.name] = _left_well(place, loads[place.name], found[place.name], cut[place.name])
    return found


def _order(place: Place, command: str) -> None:
    """The machine was told to end; nobody is left to answer."""
    with suppress(ConnectionBroken):
        # Its words would meet a closed pipe, and end it before it has done anything: systemctl in a container has some.
        open_command(place.state, place.host, f"exec >/dev/null 2>&1; {command}")


def _all_broken(loads: Mapping[str, Load]) -> None:
    """Each writer has met the end of its server, and writes no more: there is no way to the machine now."""

    def gone() -> bool:
        return all(load.breaks for load in loads.values())

    wait_for("the machine was told to end, and its servers still take writes", gone, step=0.05)
    for load in loads.values():
        load.ended = True


def _after_power(place: Place, load: Load, ordered: float) -> Outcome:
    away = place.wait_until_back()
    # Writes that were acknowledged until the machine went, some tenths of a second after the order.
    before = [pair for pair in load.acknowledged if pair[0] < ordered + 5]
    ended = max((when for when, _ in before), default=ordered)
    gone = load.lost()
    found = loss([when for when, _ in gone], load.times, ended)
    if problem := power_problem(place.role, found):
        raise DrillFailed(f"{place.name}: {problem}")
    return Outcome(
        f"the machine was reset without sync while {load.service} wrote in every way; then every acknowledged "
        f"write was read back (appendfsync {place.role.appendfsync})",
        power_figures(place.role, found, away),
    )


def power_figures(role: Role, found: Loss, away: float) -> dict[str, Figure]:
    """What was lost, how old it was beside what is promised where anything was, and when it answered again. Pure."""
    promised = f" (at most {EVERYSEC:.0f} s promised)" if role.appendonly and role.appendfsync == "everysec" else ""
    oldest = {f"oldest lost before the cut{promised}": seconds(found.seconds)} if found.lost else {}
    return {
        "lost": count(found.lost, "writes"),
        "acknowledged": count(found.acknowledged, "writes"),
        **oldest,
        "answered after the boot": seconds(away),
    }


def _left_well(place: Place, load: Load, found: Outcome, cut: Sequence[str]) -> Outcome:
    """What the power cut left is in order, and the drill's keys are gone; a log whose end was cut costs no more."""
    if cut:
        place.must_be_well("the deploy")
        if len(load.lost()) > int(found.figures["lost"].value):
            raise DrillFailed(f"{place.name}: the deploy lost writes that the start had kept")
        how = "a write was cut in two, verify and drift said so, and a deploy had the log written anew"
        found = replace(found, proved_by=f"{found.proved_by}; {how}", said=tuple(cut))
    load.remove()
    place.calm_down()
    return found


def reboot(places: Sequence[Place]) -> Generator[None, None, dict[str, Outcome]]:
    """systemctl reboot under writes."""
    first = places[0]
    with writing(places) as loads:
        time.sleep(UNDER_LOAD)
        boot, began = _boot(first), time.monotonic()
        _order(first, "systemctl reboot")
        _all_broken(loads)
    _wait_for_another_boot(first, boot)
    for place in places:
        place.wait_until_back()
    away = time.monotonic() - began
    found = {}
    for place in places:
        load = loads[place.name]
        if place.role.appendonly:
            nothing_lost(load)
        found[place.name] = Outcome(
            f"systemctl reboot while {load.service} wrote in every way; nobody started anything by hand",
            {
                "lost": count(len(load.lost()), "writes"),
                "acknowledged": count(len(load.acknowledged), "writes"),
                "away": seconds(away),
            },
        )
        load.remove()
        place.calm_down()
    yield from ()
    return found


def reboot_late_address(places: Sequence[Place]) -> Generator[None, None, dict[str, Outcome]]:
    """A boot at which the roles' addresses come 20 s after the network."""
    first = places[0]
    loads = {place.name: Load(place) for place in places}
    for load in loads.values():
        load.some(10)
    sh(first.state, first.host, _late_unit(places))
    try:
        boot = _boot(first)
        _order(first, "systemctl reboot")
        _wait_for_another_boot(first, boot)
        wait_for(f"{first.host.name} has not got its addresses again", lambda: _came_late(first))
        found = {}
        for place in places:
            away = place.wait_until_back()
            nothing_lost(loads[place.name])
            tries = place.sh(f"systemctl show -P NRestarts {place.unit}").strip()
            found[place.name] = Outcome(
                f"{loads[place.name].service} wrote; then the machine was rebooted and the role's address taken away "
                f"at boot for {LATE} s, as where a network gives it late; nobody started anything by hand",
                {"answered after it came": seconds(away), "starts that failed": count(int(tries or 0))},
            )
    finally:
        remove = f"systemctl disable {LATE_UNIT}; rm -f /etc/systemd/system/{LATE_UNIT}; systemctl daemon-reload"
        wait_for(f"{first.host.name} cannot be reached", lambda: run_command(first.state, first.host, remove).succeeded)
    for place in places:
        loads[place.name].remove()
        place.calm_down()
    yield from ()
    return found


def _late_unit(places: Sequence[Place]) -> str:
    """Shell that writes a unit which takes the roles' addresses away at the next boot, and brings them back."""
    addresses = " ".join(sorted({place.instance.address for place in places}))
    units = " ".join(place.unit for place in places)
    return f"""
taken="" back=""
for address in {addresses}; do
  line=$(ip -o -4 addr show to "$address" | head -n1)
  device=$(echo "$line" | awk '{{print $2}}') network=$(echo "$line" | awk '{{print $4}}')
  [ -n "$network" ] || {{ echo "$address is on no interface"; exit 1; }}
  taken="$taken ip addr del $network dev $device;" back="$back ip addr add $network dev $device;"
done
cat >/etc/systemd/system/{LATE_UNIT} <<END
[Unit]
Description=A drill: the addresses of Redis come late
Wants=network-online.target
After=network-online.target
Before={units}
[Service]
Type=exec
ExecStartPre=/bin/sh -c '$taken'
ExecStart=/bin/sh -c 'sleep {LATE};$back {BACK}'
[Install]
WantedBy=multi-user.target
END
systemctl daemon-reload && systemctl enable --quiet {LATE_UNIT}
"""


def _came_late(place: Place) -> bool:
    journal = f"journalctl --no-pager -o cat -b -u {LATE_UNIT}"
    return "the addresses are back" in run_command(place.state, place.host, journal).stdout


@dataclass(frozen=True)
class _Boot:
    """The kernel's name for a boot, and seconds from its start until systemd had everything up; "" and 0 if unknown."""

    name: str
    took: float


def _boot(place: Place) -> _Boot:
    ask = "cat /proc/sys/kernel/random/boot_id; systemctl show -P FinishTimestampMonotonic"
    try:
        name, *microseconds = run_command(place.state, place.host, ask).stdout.split()
    except Exception:  # a connection that breaks during a reboot breaks in many ways
        return _Boot("", 0.0)
    return _Boot(name, sum(int(text) for text in microseconds if text.isdecimal()) / 1e6)


def _wait_for_another_boot(place: Place, before: _Boot) -> None:
    def came_back() -> bool:
        return reconnect(place.host) and _boot(place).name not in ("", before.name)

    patience = max(BACK_PATIENCE, BOOTS_PATIENCE * before.took)
    wait_for(f"{place.host.name} has not come back from its reboot", came_back, patience, step=1.0)
