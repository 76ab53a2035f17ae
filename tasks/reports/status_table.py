"""The tier at one moment for a terminal: what is not well first, then two tables with a row a role, 80 columns wide."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from io import StringIO

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from tasks.catalogue.moments import FORM, from_utc
from tasks.catalogue.printable import printable
from tasks.observed.moment import BigKeys, Denied, Process
from tasks.reports.deploys import Deploy
from tasks.reports.status_model import Finding, HostStatus, Level, RoleRow, State, StatusReport
from tasks.reports.words import number

STYLES: Mapping[Level, str] = {"critical": "bold red", "unknown": "red", "warning": "yellow", "note": ""}
STATES: Mapping[State, str] = {"up": "green", "loading": "yellow"}
NARROWEST = 60
NOTHING = "–"
MOST_DENIED = 10  # that a role's refusals show
MOST_DEPLOYS = 20  # that a history shows


def to_status(report: StatusReport, width: int, colour: bool = False, role: str = "", history: bool = False) -> str:
    """All of it. `role`: this one whole, others left out. `history`: what deploys have changed, too."""
    console = Console(
        file=StringIO(),
        width=max(width, NARROWEST),
        color_system="standard" if colour else None,
        legacy_windows=False,
    )
    with console.capture() as captured:
        for part in _parts(report, role, history):
            console.print(part, overflow="fold")
        style = "bold green" if report.exit_code == 0 else "bold red"
        console.print(Text(summary(report), style), overflow="fold")
    return "".join(f"{line.rstrip()}\n" for line in captured.get().splitlines())


def _parts(report: StatusReport, role: str, history: bool) -> Iterator[RenderableType]:
    rows = [(item, row) for item in report.hosts for row in item.rows if role in ("", row.role)]
    found = [item for item in report.findings if not role or item.role in (role, None)]
    if found:
        yield from map(_finding, found)
        yield Text()
    unseen = [(item, RoleRow(name, "unknown")) for item in report.hosts for name in item.unseen if role in ("", name)]
    if rows or unseen:
        yield _table(LOAD, [*rows, *unseen])
        yield Text()
    if rows:
        yield _table(DATA, rows)
        yield Text()
    yield from _clients(row for _, row in rows)
    for item, row in rows:
        yield from _whole(item, row) if role else _slowest(row)
    if history:
        yield from _history(report.hosts, role)
    for note in report.notes:
        yield Text(f"note: {printable(note)}")


def summary(report: StatusReport) -> str:
    """The last line."""
    levels = [item.level for item in report.findings]
    parts = [f"{levels.count(level)} {level}" for level in STYLES if level in levels]
    roles = sum(len(item.rows) + len(item.unseen) for item in report.hosts)
    what = f"{number(roles, 'role')} on {number(len(report.hosts), 'host')}"
    said = ", ".join(parts) if parts else "all well"
    return f"{report.checked_at.strftime(FORM)}: {what}: {said}, looked at in {report.seconds:.1f} s"


def _finding(found: Finding) -> RenderableType:
    where = f"{found.role}: " if found.role else ""
    text = Text.assemble((found.level, STYLES[found.level]), " ", printable(f"{where}{found.what}"))
    return Text("\n").join([text, Text(f"    {found.read}")]) if found.read else text


Cell = Callable[[HostStatus, RoleRow], str]

LOAD: tuple[tuple[str, Cell], ...] = (
    ("role", lambda _, row: row.role),
    ("state", lambda _, row: row.state),
    ("up", lambda _, row: ago(row.up)),
    ("version", lambda _, row: row.version or NOTHING),
    ("keys", lambda _, row: count(row.keys)),
    ("memory", lambda _, row: NOTHING if row.used_percent is None else f"{row.used_percent} %"),
    ("evicted/h", lambda _, row: evicted(row)),
    ("ops/s", lambda _, row: count(row.ops)),
    ("hits", lambda _, row: NOTHING if row.hit_percent is None else f"{row.hit_percent:.0f} %"),
    ("clients", lambda _, row: f"{count(row.clients)}/{count(row.maxclients)}"),
)
DATA: tuple[tuple[str, Cell], ...] = (
    ("role", lambda _, row: row.role),
    ("log", lambda _, row: ago(row.log_rewritten)),
    ("saved", lambda _, row: ago(row.saved)),
    ("fsync", lambda _, row: count(row.pending_fsync)),
    ("copies", lambda _, row: row.replication or NOTHING),
    ("disk", lambda _, row: size(row.disk_free)),
    ("lasts", lambda _, row: ago(row.disk_lasts) if row.disk_lasts is not None else "> 1y" if row.used else NOTHING),
    ("restarts", lambda _, row: count(row.restarts)),
    ("refused", lambda _, row: refused(row)),
    ("deploy", lambda host, _: _deployed(host)),
    ("backup", lambda _, row: NOTHING if row.copied is None else f"{ago(row.copied)}/{ago(row.proved)}"),
)


LEFT = ("role", "state", "version", "copies")


def _table(columns: Sequence[tuple[str, Cell]], rows: Sequence[tuple[HostStatus, RoleRow]]) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold", collapse_padding=True)
    for name, _ in columns:
        # Where a line is too long, it is the role's name that goes on below: a number that is cut is another one.
        folds = name == "role"
        table.add_column(name, justify="left" if name in LEFT else "right", no_wrap=not folds, overflow="fold")
    for item, row in rows:
        cells = [Text(cell(item, row)) for _, cell in columns]
        if columns is LOAD:
            cells[1].stylize(STATES.get(row.state, "bold red"))
        table.add_row(*cells)
    return table


def _clients(rows: Iterable[RoleRow]) -> Iterator[RenderableType]:
    """Who is connected, by service; by address where the server does not tell."""
    for row in rows:
        if row.process is not None:
            yield Text(f"{row.role} process: {in_words(row.process)}")
        if people := row.by_user or row.by_address:
            shown = ", ".join(f"{printable(name)} {count(many)}" for name, many in list(people.items())[:8])
            yield Text(f"{row.role} clients: {shown}{' …' if len(people) > 8 else ''}")


PROCESS_STATES: Mapping[str, str] = {
    "R": "runs, or waits for a processor",
    "S": "waits for something to do, or sleeps",
    "D": "waits for its disk",
    "T": "is stopped, by a signal",
    "t": "is stopped, by a debugger",
    "Z": "has ended",
}


def in_words(process: Process) -> str:
    """What the kernel says of a process."""
    what = PROCESS_STATES.get(process.state, f"in state {process.state or 'unknown'}")
    return f"{what}; {size(process.resident)} in RAM, {size(process.swapped)} swapped out"


def _slowest(row: RoleRow) -> Iterator[RenderableType]:
    parts = []
    if row.slow:
        worst = max(row.slow, key=lambda item: item.micros)
        parts.append(f"slowest {worst.command} {milliseconds(worst.micros)}")
    if row.latency:
        event = max(row.latency, key=lambda item: item.most)
        parts.append(f"latency {event.event} {event.most} ms")
    if parts:
        yield Text(f"{row.role} {', '.join(parts)}")
    for untold in row.untold:
        yield Text(f"{row.role} does not tell {printable(untold)}")


def _whole(host: HostStatus, row: RoleRow) -> Iterator[RenderableType]:
    """One role in depth."""
    yield from _slowest(row)
    yield _list("clients by address", [f"{count(many):>6}  {printable(name)}" for name, many in row.by_address.items()])
    yield _list(
        "counted since its start, or CONFIG RESETSTAT",
        [f"{count(many):>6}  {code}" for code, many in row.counted.items() if many],
    )
    yield _list(
        "slow commands",
        [
            f"{ago(host.at - item.at if host.at else None):>6}  {milliseconds(item.micros):>9}  {item.command}, "
            f"{number(item.arguments, 'argument')}, {item.client}"
            for item in row.slow
        ],
    )
    yield _list(
        "latency events",
        [
            f"{ago(host.at - item.at if host.at else None):>6}  {item.event}: {item.latest} ms, at most {item.most} ms"
            for item in row.latency
        ],
    )
    yield _list(
        "refused",
        [
            f"{ago(item.age):>6}  {item.count} × {item.reason}, {item.user} from {item.address}{_of_proofs(item)}"
            for item in row.denied[:MOST_DENIED]
        ],
    )
    yield _big_keys(row.big_keys)
    if host.deploys:
        yield _list("last deploy", list(deploy_lines(host.deploys[0], row.role)))


def _big_keys(found: BigKeys | None) -> RenderableType:
    """How much of the role was looked at stands beside it: a sample may miss the biggest."""
    if found is None:
        return _list("big keys", ["not looked at: the server tells nothing"])
    seen = "all" if found.whole else f"a sample: {count(found.seen)} of {count(found.keys)} keys, others may be bigger"
    lines = [
        f"{size(item.size):>6}  db{item.database}  {printable(item.name) or '(empty name)'}" for item in found.biggest
    ]
    if found.unreadable:
        lines.append(f"{number(found.unreadable, 'key')} not weighed: the name is no text")
    if found.untold:
        lines.append(f"no more is told: {printable(found.untold)}")
    return _list(f"big keys ({seen})", lines)


def _list(title: str, lines: Sequence[str]) -> RenderableType:
    return Text("\n").join([Text(f"{title}:", "bold"), *(Text(f"  {line}") for line in lines or ["none"])])


def _history(hosts: Sequence[HostStatus], role: str) -> Iterator[RenderableType]:
    for host in hosts:
        if role and role not in [row.role for row in host.rows]:
            continue
        yield Text(
            f"{printable(host.report.host)}: {number(len(host.deploys), 'deploy')} that changed something", "bold"
        )
        for deploy in host.deploys[:MOST_DEPLOYS]:
            yield Padding(Text("\n".join(deploy_lines(deploy))), (0, 0, 0, 2))
        yield Text()


def deploy_lines(deploy: Deploy, role: str = "") -> Iterator[str]:
    """A deploy in words; `role`: only what concerns it."""
    result = deploy.result or "goes on, or its host went down"
    yield f"{deploy.began} {result}: {deploy.who}, commit {deploy.commit or NOTHING}"
    for item in deploy.differences:
        if not role or item.startswith(f"{role}:"):
            yield f"    {item}"
    for item in deploy.restarts:
        if not role or item.startswith(f"{role} "):
            yield f"    restarted {item}"


def _deployed(host: HostStatus) -> str:
    """How long ago the last one began that changed something."""
    then = from_utc(host.deploys[0].began) if host.deploys else 0
    return ago(host.at - then) if then else NOTHING


def evicted(row: RoleRow) -> str:
    """How many keys an hour, and whether it is more or less just now."""
    if row.evicted_per_hour is None:
        return NOTHING
    now = row.evicted_per_second
    if now is None or not (now or row.evicted_per_hour):
        return count(row.evicted_per_hour)
    sign = "↑" if now * 3600 > 1.2 * row.evicted_per_hour else "↓" if now * 3600 < 0.8 * row.evicted_per_hour else "="
    return f"{count(row.evicted_per_hour)} {sign}"


def refused(row: RoleRow) -> str:
    """Logins of others with a wrong password; `≤12` where their number is not known, `2/5h` where only since then."""
    since = "" if row.wrong_passwords_reach is None else f"/{ago(row.wrong_passwords_reach)}"
    return f"{'' if row.wrong_passwords_exact else '≤'}{count(row.wrong_passwords)}{since}"


def _of_proofs(item: Denied) -> str:
    if not item.proofs:
        return ""
    return ", this tool's proof" if item.proofs == item.count else f", {item.proofs} of them this tool's proof"


def ago(seconds: int | None) -> str:
    """`40s`, `12m`, `5h`, `3d`, `2y`."""
    if seconds is None:
        return NOTHING
    for unit, length in (("y", 365 * 86400), ("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length}{unit}"
    return f"{max(0, seconds)}s"


def count(value: int | None) -> str:
    """`950`, `1.2k`, `34k`, `5.6M`."""
    if value is None:
        return NOTHING
    for unit, length in (("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if value >= length:
            return f"{value / length:.1f}{unit}" if value < 10 * length else f"{value // length}{unit}"
    return str(value)


def size(value: int | None) -> str:
    """`512M`, `1.5G`."""
    if value is None:
        return NOTHING
    for unit, length in (("T", 1 << 40), ("G", 1 << 30), ("M", 1 << 20)):
        if value >= length:
            return f"{value / length:.1f}{unit}" if value < 10 * length else f"{value // length}{unit}"
    return f"{value >> 10}k" if value >= 1 << 10 else f"{value}B"


def milliseconds(micros: int) -> str:
    """`12.3 ms`."""
    return f"{micros / 1000:.1f} ms"
