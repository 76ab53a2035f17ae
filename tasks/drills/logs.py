"""Drills on a role's append-only log: its end cut off, its middle damaged, its files root's."""

from __future__ import annotations

import re

from tasks.compare.loading import END_OF_LOG
from tasks.desired.paths import log_directory, manifest_file
from tasks.drills.client import DrillFailed
from tasks.drills.load import Load, nothing_lost
from tasks.drills.outcome import Outcome, Steps, count
from tasks.drills.own_user import rewrite_ended
from tasks.drills.place import Place

CUT = 7  # bytes: in the middle of the last command
DAMAGE = 200  # bytes: longer than any key or value of a drill, in which they would harm nothing
WRITES = 30  # batches before the damage, and as many after


def log_truncated(place: Place) -> Steps:
    """Bytes are missing at its end, as after a power cut in the middle of a write."""
    load = Load(place)
    load.some(WRITES)
    place.sh(f'systemctl stop {place.unit} && {_last_file(place)} && truncate -s -{CUT} -- "$file"')
    place.sh(f"systemctl start --no-block {place.unit}")
    place.wait_until_back()
    gone = load.lost()
    said = place.said_of_it()
    if len(gone) > 1 or (gone and gone[0][1] is not load.acknowledged[-1][1]):
        raise DrillFailed(f"{place.name}: {len(gone)} acknowledged writes are gone, expected the last one at most")
    if not any(END_OF_LOG in line for line in said):
        raise DrillFailed(f"{place.name}: neither verify nor drift says that the end of its log was cut")
    yield  # the deploy has the log written anew
    place.must_be_well("the deploy")
    _must_have(load, [pair for pair in load.acknowledged if pair not in gone])
    load.remove()
    place.calm_down()
    return Outcome(
        f"{load.service} wrote, and {CUT} bytes were cut off the end of its log while it was stopped; it started with "
        "all before the cut, verify "
        "and drift said so, and a deploy had the log written anew",
        {"lost": count(len(gone), "writes"), "acknowledged": count(len(load.acknowledged), "writes")},
        said=tuple(said),
    )


def log_damaged(place: Place) -> Steps:
    """Bytes in its middle are no commands: the runbook's way is gone, with a copy and redis-check-aof."""
    before, after = Load(place), Load(place)
    before.some(WRITES)
    place.operator("BGREWRITEAOF")  # what was written before is in another file now
    rewrite_ended(place)
    after.some(WRITES)
    directory, manifest = log_directory(place.role), manifest_file(place.role)
    copy = f"/var/lib/caas-drill-{place.name}"
    place.sh(
        f"systemctl stop {place.unit} && rm -rf {copy} && cp -a {directory} {copy} && {_last_file(place)} && "
        'at=$(($(stat -c %s -- "$file") / 2)) && '
        f'printf "%0{DAMAGE}d" 0 | dd of="$file" bs=1 seek="$at" conv=notrunc status=none'
    )
    place.sh(f"systemctl start --no-block {place.unit}")
    _must_not_start(place, "with a damaged log")
    said = _said(place, place.unit, "is not said to be down, by verify or drift")
    # README, A damaged log: a copy first, which is there; then cut the log where the damage begins.
    place.sh(
        f"systemctl stop {place.unit}; cd {directory} && echo y | setpriv --reuid={place.instance.user} "
        f"--regid={place.instance.user} --init-groups redis-check-aof --fix {manifest.rpartition('/')[2]}"
    )
    yield  # the deploy starts it
    place.wait_until_back()
    place.must_be_well("the deploy")
    nothing_lost(before)
    gone = [item for _, item in after.lost()]
    order = [item for _, item in after.acknowledged]
    if gone and gone != order[len(order) - len(gone) :]:
        raise DrillFailed(f"{place.name}: writes from before the damage are gone")
    if not gone:
        raise DrillFailed(f"{place.name}: nothing was lost: the log was not damaged where it counts, nothing is proved")
    before.remove()
    after.remove()
    place.sh(f"rm -rf {copy}")
    place.calm_down()
    return Outcome(
        f"{after.service} wrote, and {DAMAGE} bytes in the middle of its log were overwritten while it was stopped; it "
        "did not start, and said "
        "why; a copy, redis-check-aof --fix and a deploy brought it back",
        {
            "lost from before the damage": count(0, "writes"),
            "lost from behind it": count(len(gone), "writes"),
            "acknowledged": count(len(before.acknowledged) + len(order), "writes"),
        },
        said=tuple(said),
    )


def log_foreign_owner(place: Place) -> Steps:
    """Its files were brought back as root."""
    load = Load(place)
    load.some(WRITES)
    place.sh(f"systemctl stop {place.unit} && chown -R root:root {log_directory(place.role)}")
    place.sh(f"systemctl start --no-block {place.unit}")
    _must_not_start(place, "without the right to its log")
    said = _said(place, "give its data back", "has a log that is not its own, which drift does not say")
    yield
    place.wait_until_back()
    place.must_be_well("the deploy")
    nothing_lost(load)
    load.remove()
    place.calm_down()
    return Outcome(
        f"{load.service} wrote, and its log was given to root while it was stopped, as a copy by hand leaves it; it "
        "did not start, and lost nothing; a deploy gave the log back and started it",
        {"lost": count(0, "writes"), "acknowledged": count(len(load.acknowledged), "writes")},
        said=tuple(said),
    )


def _last_file(place: Place) -> str:
    """Shell that sets `file` to the last file of the log; fails where there is none."""
    # By the manifest, which names it with its number; the names themselves are the role's, so they are quoted.
    return (
        f"cd {log_directory(place.role)} && file=$(awk '$6 == \"i\" {{name = $2}} END {{print name}}' *.manifest) "
        '&& [ -f "$file" ] && [ ! -L "$file" ]'
    )


def _must_not_start(place: Place, how: str) -> None:
    """It has tried to, and was started again. Raises DrillFailed when it serves."""

    def tried() -> bool:
        return re.fullmatch("[1-9][0-9]*", place.sh(f"systemctl show -P NRestarts {place.unit}").strip()) is not None

    place.wait_for("neither starts nor tries to", lambda: tried() or place.answers())
    if place.answers():
        raise DrillFailed(f"{place.name}: it started {how} and serves, expected that it does not")


def _said(place: Place, words: str, otherwise: str) -> list[str]:
    """What verify and drift say, as soon as these words are among it. Raises DrillFailed when they never are.

    One look may meet a server in the moment in which it reads its log, once more, and has not failed yet.
    """
    found: list[str] = []

    def is_said() -> bool:
        found[:] = place.said_of_it()
        return any(words in line for line in found)

    place.wait_for(otherwise, is_said)
    return found


def _must_have(load: Load, wanted: list[object]) -> None:
    if len(load.lost()) > len(load.acknowledged) - len(wanted):
        raise DrillFailed(f"{load.place.name}: the deploy lost writes that the start had kept")
