"""Deploys that are broken at every point, one point a run, and what must hold after each of them."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.hosts import figures
from tests.hosts.conftest import Finished, Tier, output, wait_for
from tests.lab.container import Container

PROGRAM = "tests.hosts.faulty_controller"
KINDS = ("kill before", "kill during", "drop", "fail")
FAULTS = "faults injected"
FORGIVEN = "Refresh the lists of packages"  # its failure is said, and the deploy goes on
AT_MOST = 100  # points of one deploy; a run that never gets through would go on for ever
MANAGED = "/etc/redis /etc/systemd/system /etc/apt/apt.conf.d /etc/apt/preferences.d /etc/needrestart"


@dataclass(frozen=True)
class Fault:
    """One broken run: where it was broken (empty when it got through), and how it ended."""

    kind: str
    label: str
    done: Finished
    seconds: float

    def __str__(self) -> str:
        return f"{self.kind} at {self.label}: exit {self.done.returncode} after {self.seconds:.1f} s"

    @property
    def operation(self) -> str:
        """The operation that was broken."""
        return self.label.partition(":")[0]


def argv(tier: Tier, *options: str) -> list[str]:
    """The production command, with the breakable controller instead of pyinfra."""
    data = ("--data", f"redis_secrets_file={tier.secrets}")
    return [sys.executable, "-m", PROGRAM, "-y", *tier.options, *data, *options, tier.inventory, "deploy.py"]


def environment(kind: str, report: Path, past: Sequence[str] = (), at: str = "") -> dict[str, str]:
    """What tells the controller where to break."""
    return {"FAULT": json.dumps({"kind": kind, "past": list(past), "at": at, "report": str(report)})}


def break_once(tier: Tier, kind: str, *options: str, past: Sequence[str] = (), at: str = "") -> Fault:
    """One deploy, broken at its first point that is not in `past`; when `at` is given, of that operation."""
    with TemporaryDirectory() as directory:
        report = Path(directory) / "report"
        report.touch()
        began = time.monotonic()
        done = tier.lab.run(
            argv(tier, *options), env=environment(kind, report, past, at), cwd=tier.repository, timeout=180
        )
        fault = Fault(kind, report.read_text().strip(), done, time.monotonic() - began)
    print(fault, flush=True)
    return fault


def every_fault(tier: Tier, kind: str, scenario: str, *options: str) -> Iterator[Fault]:
    """The same deploy again and again, each time broken at the next point, until one gets through and succeeds.

    So each run has to pass the point where the one before was broken, or it does not reach its own.
    """
    past: list[str] = [FORGIVEN] if kind == "fail" else []
    while len(past) < AT_MOST:
        fault = break_once(tier, kind, *options, past=past)
        where = f"after {kind} at {past[-1] if past else 'nothing'}"
        if not fault.label:
            assert fault.done.returncode == 0, f"{where}: {output(fault.done)}"
            figures.add(FAULTS, f"{len(past):3} × {kind}: {scenario}")
            return
        _assert_broken(fault, where)
        past.append(fault.label)
        yield fault
    raise AssertionError(f"{kind}: {AT_MOST} runs were broken and none got through: {past}")


def some_faults(tier: Tier, kind: str, scenario: str, *options: str, operations: Sequence[str]) -> Iterator[Fault]:
    """The same deploy again and again, broken at each of these operations in turn, then once to its end."""
    for operation in operations:
        fault = break_once(tier, kind, *options, at=operation)
        assert fault.operation == operation, f"{kind}: not broken at {operation}:\n{output(fault.done)}"
        _assert_broken(fault, operation)
        yield fault
    tier.deploy(*options)
    figures.add(FAULTS, f"{len(operations):3} × {kind}: {scenario}, at some operations")


def _assert_broken(fault: Fault, where: str) -> None:
    code = fault.done.returncode
    expected = code == -signal.SIGKILL if fault.kind.startswith("kill") else code > 0
    assert expected, f"{where}: {fault}\n{output(fault.done)}"


def share_of(kind: str, plan: Sequence[str]) -> list[str]:
    """Every fourth operation, for each kind another: together the four kinds break every operation once."""
    return list(plan[KINDS.index(kind) :: len(KINDS)])


@dataclass
class Running:
    """A deploy that is under way while the test does something else."""

    process: "subprocess.Popen[str]"
    report: Path

    def go_on(self) -> None:
        """A deploy that stands still goes on."""
        with self.report.open("a") as report:
            report.write("go on\n")

    def finish(self, timeout: float = 60) -> Finished:
        """How it ended; TimeoutExpired when it does not."""
        said, complained = self.process.communicate(timeout=timeout)
        return Finished(self.process.args, self.process.returncode, said, complained)


@contextmanager
def broken_off(tier: Tier, kind: str, operation: str, *options: str) -> Iterator[Running]:
    """A deploy that has just been broken at an operation; nothing of it runs any more afterwards."""
    with TemporaryDirectory() as directory:
        report = Path(directory) / "report"
        report.touch()
        process = subprocess.Popen(
            ["nsenter", f"--net={tier.lab.record.netns}", "--", *argv(tier, *options)],
            env=os.environ | {"HOME": str(tier.lab.home)} | environment(kind, report, at=operation),
            cwd=tier.repository,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            wait_for(lambda: report.read_text() or process.poll() is not None, f"the deploy comes to {operation}")
            yield Running(process, report)
        finally:
            process.kill()
            process.communicate()


def planned(tier: Tier, *options: str) -> list[str]:
    """Names of the operations that a deploy would run, as its plan says."""
    done = tier.run("deploy.py", "--dry", "--json", *options, yes=False)
    assert done.returncode == 0, output(done)
    return [row["name"] for row in json.loads(done.stdout)["plan"]]


def assert_nothing_left(tier: Tier, *options: str) -> None:
    """A deploy has nothing to do, and nothing unfinished lies on any host."""
    assert tier.deploy_json(*options)["results"]["totals"]["success"] == 0
    for host in tier.lab.hosts.values():
        assert unfinished(host) == {}


def digests(host: Container) -> dict[str, str]:
    """Files below the directories that the tool writes to, with their digests."""
    return _found(host, "! -name '*.new'")


def unfinished(host: Container) -> dict[str, str]:
    """Files that were written beside their place and not moved there."""
    return _found(host, "-name '*.new'")


def _found(host: Container, which: str) -> dict[str, str]:
    text = host.sh(f"find {MANAGED} -type f {which} -exec sha256sum {{}} + 2>/dev/null || true")
    return {path: digest for digest, _, path in (line.partition("  ") for line in text.splitlines())}


@dataclass
class Whole:
    """Watches the managed files of a host: at any time each is as before the deploy or as after it, whole."""

    host: Container
    before: dict[str, str] = field(init=False)
    between: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    halves: int = 0  # unfinished files seen beside their places

    def __post_init__(self) -> None:
        self.before = digests(self.host)

    def look(self, when: str) -> None:
        """Remember the files as they are now."""
        self.between.append((when, digests(self.host)))
        self.halves += len(unfinished(self.host))

    def check(self) -> None:
        """Raises when a file was ever seen in a state that is neither the old nor the new one."""
        after = digests(self.host)
        for when, seen in self.between:
            half = [path for path in after if seen.get(path) not in (self.before.get(path), after[path])]
            assert half == [], f"{when}: neither as before nor as after: {half}"
