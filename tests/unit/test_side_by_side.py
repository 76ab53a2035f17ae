"""The runner that `make test` uses misses no test and hides no failure (tests/side_by_side.py)."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.side_by_side import LONGEST, main, parts
from tests.tree import REPOSITORY


def test_every_test_file_is_in_exactly_one_part() -> None:
    paths = [Path(path) for part in parts() for path in part]
    for file in REPOSITORY.glob("tests/**/test_*.py"):
        assert sum(file.relative_to(REPOSITORY).is_relative_to(path) for path in paths) == 1, file


def test_what_begins_first_is_there() -> None:
    assert [path for part in LONGEST for path in part if not (REPOSITORY / path).exists()] == []


@pytest.mark.parametrize(
    ("body", "ends", "said"),
    [
        ("def test_a(): pass", 0, "2 passed, 0 failed"),
        ("def test_a(): assert not 1", 1, "1 passed, 1 failed"),
        ("import nothing_of_this_name", 1, "1 passed, 1 failed"),
        ("import os\ndef test_a(): os._exit(0)", 1, "1 passed, 1 failed"),
        ("import os\ndef test_a(): os.kill(os.getpid(), 9)", 1, "1 passed, 1 failed"),
        ("import pytest\n@pytest.fixture\ndef f():\n  yield\n  assert 0\ndef test_a(f): pass", 1, "1 passed, 1 failed"),
        ("import pytest\n@pytest.mark.soak\ndef test_a(): pass", 0, "1 passed, 0 failed"),
    ],
    ids=["passes", "fails", "no import", "leaves with 0", "is killed", "fails after its test", "for soak only"],
)
def test_a_part_that_fails_fails_the_whole(
    body: str, ends: int, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    good, other = tmp_path / "test_good.py", tmp_path / "test_other.py"
    good.write_text("def test_good(): pass")
    other.write_text(body)
    monkeypatch.setattr("tests.side_by_side.parts", lambda: iter([(str(good),), (str(other),)]))
    assert main(("-p", "no:cacheprovider", "-m", "not soak")) == ends
    printed = capfd.readouterr().out
    assert printed.splitlines()[-1] == said
    assert ("FAILED: " + str(other) in printed) == bool(ends)


def test_what_commands_and_other_parts_import_is_compiled_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.setenv("PYTHONPYCACHEPREFIX", str(tmp_path / "compiled"))
    test = tmp_path / "test_it.py"
    test.write_text("def test_it(): pass")
    monkeypatch.setattr("tests.side_by_side.parts", lambda: iter([(str(test),)]))
    assert main(("-p", "no:cacheprovider")) == 0
    names = {path.name.split(".")[0] for path in tmp_path.glob("compiled/**/tasks/**/*.pyc")}
    assert names == {path.stem for path in REPOSITORY.glob("tasks/**/*.py")}
    assert [*tmp_path.glob("compiled/**/test_it.*.pyc")]


def wait_for(path: Path) -> str:
    """What a program writes there, once it is there. gevent, which patches these tests, may miss the end of a child."""
    deadline = time.monotonic() + 120
    while not (path.exists() and path.read_text()):
        assert time.monotonic() < deadline, path
        time.sleep(0.05)
    return path.read_text()


def test_it_stops_its_tests_when_it_is_stopped(tmp_path: Path) -> None:
    up, cleaned, ended = (tmp_path / name for name in ("up", "cleaned", "ended"))
    (tmp_path / "test_long.py").write_text(
        "import pytest, time\n"
        "@pytest.fixture\n"
        f"def lab():\n  yield\n  open({str(cleaned)!r}, 'w')\n"
        f"def test_long(lab):\n  open({str(up)!r}, 'w').write('up')\n  time.sleep(600)\n"
    )
    program = (
        "import tests.side_by_side as it\n"
        f"it.parts = lambda: iter([({str(tmp_path / 'test_long.py')!r},)])\n"
        "try:\n  it.main(('-p', 'no:cacheprovider'))\n"
        f"except SystemExit as end:\n  open({str(ended)!r}, 'w').write(str(end.code))"
    )
    runner = subprocess.Popen([sys.executable, "-c", program], cwd=REPOSITORY)
    wait_for(up)
    runner.terminate()
    assert wait_for(ended) == "143"
    assert cleaned.exists()
