"""A warm run is what a run is (tests/lab/warm.py)."""

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.lab.warm import Warm
from tests.tree import copy_of_tree, has_our_code, tree

PYINFRA = Path(sys.executable).with_name("pyinfra")
PRINTS = """
import os, sys
print(sys.argv, sys.path, os.environ["OF"], os.getcwd(), os.path.realpath("/proc/self/fd/0"), sys.stdin.isatty())
print(__import__("tasks.run.session").run.session.ROOT, file=sys.stderr)
"""


@pytest.fixture(scope="module")
def warm() -> Iterator[Warm]:
    warm = Warm(tree())
    yield warm
    warm.close()


def environment(of: object) -> dict[str, str]:
    return {**os.environ, "OF": str(of)}


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ("--version", 0, "pyinfra: v3"),
        ("--no-such-option", 2, "No such option"),
        ("@local exec -- false", 1, "No hosts remaining"),
        ("-y @local PRINTS", 0, f"'-y', '@local', '{{}}'] ['{PYINFRA.parent}',"),
        ("-y @local FAILS", 1, "in words"),
        ("inventory/prod.py deploy.py", 1, "standard input is no terminal: add -y to apply or --dry to look"),
    ],
)
def test_it_says_what_a_run_says_and_ends_as_it_does(
    warm: Warm, words: str, code: int, said: str, tmp_path: Path
) -> None:
    for name, text in (("PRINTS", PRINTS), ("FAILS", "import sys; sys.exit('in words')")):
        (tmp_path / f"{name}.py").write_text(text)
        words = words.replace(name, str(tmp_path / f"{name}.py"))
    given = {"cwd": tree(), "env": environment(tmp_path), "stdin": subprocess.DEVNULL}
    real = subprocess.run([PYINFRA, *words.split()], capture_output=True, text=True, **given)  # type: ignore[call-overload]
    done = warm.run(words.split(), environment(tmp_path))
    assert (done.returncode, done.stdout) == (real.returncode, real.stdout) == (code, real.stdout)
    assert done.stderr == real.stderr
    assert said.format(tmp_path / "PRINTS.py") in done.stdout + done.stderr


def test_runs_at_once_have_words_and_endings_of_their_own(warm: Warm, tmp_path: Path) -> None:
    (tmp_path / "both.py").write_text(
        "import os, pathlib, sys, time\n"
        "own, other = os.environ['OF'].split()\n"
        f"here = pathlib.Path({str(tmp_path)!r})\n"
        "(here / own).touch()\n"
        "while not (here / other).exists(): time.sleep(0.05)\n"
        "print(own); sys.exit(int(own))"
    )
    words = ["-y", "@local", str(tmp_path / "both.py")]
    with ThreadPoolExecutor(2) as pool:
        begun = [pool.submit(warm.run, words, environment(of), timeout=120) for of in ("3 4", "4 3")]
        done = [run.result() for run in begun]
    assert [(run.returncode, run.stdout) for run in done] == [(3, "3\n"), (4, "4\n")]


def test_a_run_that_takes_too_long_is_gone(warm: Warm, tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    (tmp_path / "long.py").write_text(
        f"import os, pathlib, time\npathlib.Path({str(begun)!r}).write_text(str(os.getpid()))\ntime.sleep(1000)"
    )
    for seconds in (2, 8, 32, 128):
        with pytest.raises(subprocess.TimeoutExpired, match=f"timed out after {seconds} s"):
            warm.run(["-y", "@local", str(tmp_path / "long.py")], environment(tmp_path), timeout=seconds)
        if begun.exists():
            break
    assert not Path("/proc", begun.read_text()).exists()


def test_a_server_that_is_gone_is_an_error_and_closing_it_leaves_no_process() -> None:
    server = Warm(tree())
    assert server.run(["--version"], os.environ).returncode == 0
    server.close()
    assert server.ended()
    with pytest.raises(OSError):
        server.run(["--version"], os.environ)


def test_a_server_that_cannot_begin_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "broken").mkdir()
    (tmp_path / "tasks" / "broken" / "__init__.py").write_text("raise OSError('seen')")
    server = Warm(tmp_path)
    with pytest.raises(OSError, match=r"its server ended|roken pipe|eset by peer"):
        server.run(["--version"], os.environ, timeout=120)
    server.close()


@pytest.mark.parametrize("name", ["tasks/run/entry.py", "tasks/compare/redis_defaults.yaml", "templates/redis.conf.j2"])
def test_only_in_a_tree_whose_code_nobody_has_changed_a_run_may_be_warm(tmp_path: Path, name: str) -> None:
    copy = copy_of_tree(tmp_path / "copy")
    assert has_our_code(tree())
    assert has_our_code(copy)
    with (copy / name).open("a") as file:
        file.write("#")
    assert not has_our_code(copy)
