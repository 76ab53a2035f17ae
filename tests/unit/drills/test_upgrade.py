"""The older state is deployed to the same hosts by the same words, and nothing else of them."""

import subprocess
from pathlib import Path

import pytest

from tasks.catalogue.printable import printable
from tasks.drills import upgrade
from tasks.drills.tampering import not_found, of_role
from tasks.drills.upgrade import commit_of, for_deploy
from tasks.run.ending import Refusal
from tests.unit.builders import desired

HERE = Path("inventory/own.py").resolve()


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["-y", "--data", "from=v1", "inventory/own.py", "tasks/rehearse.py"], [str(HERE), "deploy.py"]),
        (
            [
                *("--data", "drills=crash", "--data", "redis_rehearsal=true", "-y", "inventory/own.py"),
                "x/rehearse.py",
            ],
            ["--data", "redis_rehearsal=true", str(HERE), "deploy.py"],
        ),
        (
            ["--data", "rehearsal_page=a.html", "-vv", "inventory/own.py", "tasks/rehearse.py", "--limit", "a"],
            ["-vv", str(HERE), "deploy.py", "--limit", "a"],
        ),
    ],
)
def test_the_older_state_is_deployed_by_the_words_of_this_run(argv: list[str], words: list[str]) -> None:
    assert for_deploy(argv, "inventory/own.py") == words


def test_what_the_older_state_may_not_know_is_left_out_where_it_is_told_otherwise() -> None:
    argv = ["--data", "like=a.py", "-y", "--data", "scale=0.5", "--data", "drills=full", "i.py", "tasks/rehearse.py"]
    assert for_deploy(argv, "i.py", ("like", "scale")) == [str(Path("i.py").resolve()), "deploy.py"]


REFS = {"HEAD": True, "HEAD~1": True, "nobody": False, "--all": False, "-1": False, "": False, "HEAD:tasks": False}
REFS |= {
    "HEAD~1..HEAD": False,
    "HEAD^@": False,
    "--output=x": False,
    "HEAD --all": False,
    "0" * 40: False,
    "a\nb": False,
}


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One of two commits."""
    directory = tmp_path_factory.mktemp("repository")
    git = ("git", "-c", "user.name=test", "-c", "user.email=test@example.com", "-c", "init.defaultBranch=main")
    (directory / "tasks").write_text("x")
    for words in (["init", "-q"], ["add", "tasks"], *[["commit", "-q", "--allow-empty", "-m", "x"]] * 2):
        subprocess.run([*git, *words], cwd=directory, check=True)
    return directory


@pytest.mark.parametrize("ref", REFS)
def test_a_commit_is_named_or_refused_in_a_sentence(
    repository: Path, monkeypatch: pytest.MonkeyPatch, ref: str
) -> None:
    monkeypatch.setattr(upgrade, "ROOT", repository)
    if REFS[ref]:
        assert len(commit_of(ref)) == 40
        return
    with pytest.raises(Refusal) as refused:
        commit_of(ref)
    assert str(refused.value) == (
        f"Nothing was rehearsed: from={printable(ref)}: no such commit: name a commit, tag or branch"
    )


def test_a_change_by_hand_that_drift_does_not_name_is_said() -> None:
    class Place:
        instance = desired("crypto").instances[0]
        role, name, unit = instance.role, instance.name, instance.unit

    done = of_role(Place(), "secret")  # type: ignore[arg-type]
    assert [item.what for item in done] == ["a setting, live", "its file", "a user, live", "its unit"]
    lines = [f"crypto: {word}: other" for item in done for word in item.shows]
    assert not_found(done, lines) == []
    for number, item in enumerate(done):
        assert not_found(done, lines[:number] + lines[number + 1 :]) == [item.what]
    assert "secret" not in repr(done)
