"""Run the tests as several pytest processes side by side, for most of them wait for their hosts most of the time.

`python -m tests.side_by_side [PYTEST OPTION…]`. What a process prints appears whole when it ends; the exit is 1 when
one failed. Not pytest-xdist: pyinfra patches threads into greenlets (gevent), under which its workers cannot end.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from tests.tree import REPOSITORY

TESTS = Path("tests")
AT_ONCE = 3  # on two cores: a fourth makes all of them slower
# What takes longest begins first, the virtual machines one after another: so the last ones are short, and none runs
# alone for long. By measured time, all above three minutes; others begin as they are found.
LONGEST = (
    ("tests/hosts/test_kernel.py", "tests/hosts/test_lab_vms.py"),
    ("tests/hosts/test_drift.py",),
    ("tests/unit", "tests/golden", "tests/plan"),
    ("tests/copies",),
    ("tests/hosts/test_runbook_changes.py",),
    ("tests/hosts/test_interruptions.py",),
    ("tests/hosts/test_unknown.py",),
    ("tests/hosts/test_metrics.py",),
    ("tests/hosts/test_backup.py",),
    ("tests/hosts/test_tls.py",),
    ("tests/hosts/test_move.py",),
    ("tests/hosts/test_alerts.py",),
    ("tests/hosts/test_addresses.py",),
    ("tests/hosts/test_runbook_troubles.py",),
    ("tests/hosts/test_safe_change.py",),
    ("tests/hosts/test_first_deploy.py",),
    ("tests/hosts/test_drills.py",),
    ("tests/hosts/test_change_under_load.py",),
    ("tests/hosts/test_running_tier.py",),
    ("tests/hosts/test_gone_data.py",),
    ("tests/hosts/test_replay.py",),
    ("tests/hosts/test_every_write_survives.py",),
    ("tests/hosts/test_rotation.py",),
    ("tests/hosts/test_fence.py",),
)
NO_TESTS = 5  # pytest's exit when every test of a file was deselected


def environment() -> dict[str, str]:
    """Of the processes: they find what others compiled, also where PYTHONDONTWRITEBYTECODE would keep it from them.

    Reading all tests takes pytest two seconds longer without, in every process.
    """
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def compile_tasks() -> None:
    """Every run of a command finds tasks/ compiled, which pyinfra never leaves behind: half a second a run."""
    command = [sys.executable, "-m", "compileall", "-q", str(REPOSITORY / "tasks")]
    subprocess.run(command, env=environment(), check=True)


@dataclass
class Part:
    """The tests of some paths, in a process of their own."""

    paths: tuple[str, ...]
    directory: Path
    options: tuple[str, ...]
    began: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        name = self.paths[0].replace("/", "_")
        self._printed, self._results = self.directory / f"{name}.txt", self.directory / f"{name}.xml"
        command = [sys.executable, "-m", "pytest", f"--junitxml={self._results}", *self.options, *self.paths]
        with self._printed.open("wb") as out:
            # A session of its own: Ctrl-C reaches it once, by `end`.
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                cwd=REPOSITORY,
                env=environment(),
                start_new_session=True,
            )

    def end(self) -> None:
        """Let it clean up its hosts, and wait for that."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait()

    def report(self) -> str:
        """What it printed, and how long it took."""
        minutes, seconds = divmod(round(time.monotonic() - self.began), 60)
        return f"{self._printed.read_text(errors='replace')}\n{' '.join(self.paths)}: {minutes} min {seconds} s\n"

    def counts(self) -> tuple[int, int]:
        """Tests that passed and failed; a process that ended otherwise than well, or without a word, failed once."""
        passed = failed = 0
        try:
            suites = list(ElementTree.parse(self._results).iter("testsuite"))
        except (OSError, ElementTree.ParseError):
            return 0, 1
        for suite in suites:
            bad = int(suite.get("failures", 0)) + int(suite.get("errors", 0))
            failed += bad
            passed += int(suite.get("tests", 0)) - bad - int(suite.get("skipped", 0))
        return passed, max(failed, int(self.process.returncode not in (0, NO_TESTS)))


def parts() -> Iterator[tuple[str, ...]]:
    """Paths by process: every test of the repository is in one of them."""
    yield from LONGEST
    known = [Path(path) for paths in LONGEST for path in paths]
    for path in sorted(REPOSITORY.glob(f"{TESTS}/**/test_*.py")):
        file = path.relative_to(REPOSITORY)
        if not any(file.is_relative_to(other) for other in known):
            yield (str(file),)


def main(options: tuple[str, ...]) -> int:
    """Run all parts, some at a time; the exit status."""
    # In a shell's background job it is ignored, and would be in every process of tests: `end` could end none.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    compile_tasks()
    waiting, running, ended = list(parts()), list[Part](), list[Part]()
    with tempfile.TemporaryDirectory(prefix="caas-redis-tests-") as directory, ExitStack() as stack:
        while waiting or running:
            while waiting and len(running) < AT_ONCE:
                running.append(Part(waiting.pop(0), Path(directory), options))
                stack.callback(running[-1].end)
            os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
            for part in [part for part in running if part.process.poll() is not None]:
                running.remove(part)
                ended.append(part)
                print(part.report(), flush=True)
        counts = [part.counts() for part in ended]
        for part, (_, bad) in zip(ended, counts, strict=True):
            if bad:
                print(f"FAILED: {' '.join(part.paths)}")
    passed, failed = (sum(column) for column in zip(*counts, strict=True))
    print(f"{passed} passed, {failed} failed")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main(tuple(sys.argv[1:])))
