"""Scripts that run on hosts: parameters stay data, a strange login does not matter, and shellcheck reads every file."""

import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.observed import script as module
from tasks.observed.script import DIRECTORY, between, marked, prepared, script

TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))


@pytest.fixture(autouse=True)
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two scripts that print what they were given."""
    (tmp_path / "say.sh").write_text('#!/bin/sh\nprintf "%s|" "$a" "$@"\n')
    (tmp_path / "say-bash.sh").write_text('#!/bin/bash\nprintf "%s|" "$a" "${@}" "${BASH_VERSION:+bash}"\n')
    monkeypatch.setattr(module, "DIRECTORY", tmp_path)
    module._code.cache_clear()


def run(command: str, shell: str = "sh", **options: object) -> str:
    """What a command prints."""
    done = subprocess.run([shell, "-c", command], capture_output=True, check=True, **options)  # type: ignore[call-overload]
    printed: bytes = done.stdout
    return printed.decode()


@pytest.mark.parametrize("text", ["$(id)", "`id`", "a'b", 'a"b', "a\nb", "; id", "-n", "\\", "ä", ""])
def test_a_parameter_is_never_code(text: str) -> None:
    assert run(script("say", text, a=text)) == f"{text}|{text}|"
    assert run(script("say-bash", text, a=text)) == f"{text}|{text}|bash|"


@given(text=TEXT)
def test_any_text_arrives_as_it_is(text: str) -> None:
    assert run(script("say", text, a=text)) == f"{text}|{text}|"


def test_a_list_arrives_as_words() -> None:
    assert run(script("say", a=["/etc/redis/x", "b=1"])) == "/etc/redis/x b=1|"


@pytest.mark.parametrize("word", ["a b", "*", "a\nb", "$x", "", "a;b", "[a]", "~"])
def test_what_the_shell_would_split_or_match_is_no_word_of_a_list(word: str) -> None:
    with pytest.raises(ValueError, match="cannot be a word of a list"):
        script("say", a=["fine", word])


def test_neither_the_path_nor_the_umask_nor_the_language_of_a_login_matters(tmp_path: Path) -> None:
    command = prepared('umask; pwd; echo "$PATH $LC_ALL"')
    said = run(f"umask 077; {command}", "/bin/sh", cwd=tmp_path, env={"PATH": "/nowhere", "LC_ALL": "de_DE.UTF-8"})
    assert said == "0022\n/\n/usr/sbin:/usr/bin:/sbin:/bin C\n"


@pytest.mark.parametrize("path", sorted(DIRECTORY.glob("*.sh")), ids=lambda path: path.stem)
def test_a_script_says_which_shell_and_what_it_is_for(path: Path) -> None:
    first, second, *_ = path.read_text().splitlines()
    assert first in ("#!/bin/sh", "#!/bin/bash")
    assert second.startswith("# ")
    subprocess.run([first.rpartition("/")[2], "-n", path], check=True)


@pytest.mark.parametrize("printed", ["", "a", "a\\n", "a\\n\\n", "\\n", "\\na", "a\\nb", "0f"])
@pytest.mark.parametrize("ends", ["", "exit 3", "false", "exec sh -c 'exit 3'"])
def test_what_a_command_prints_is_what_stands_between_its_marks_whatever_is_printed_around_it(
    printed: str, ends: str
) -> None:
    command = marked(f"printf '{printed}'\n{ends}", "0f0f")
    done = subprocess.run(
        ["sh", "-c", f"printf 'welcome\\nno end'; ( {command}\n); ended=$?; echo bye; exit $ended"],
        capture_output=True,
        text=True,
        check=False,
    )
    found = between(done.stdout.split("\n"), "0f0f")
    text = printed.replace("\\n", "\n")
    assert found is not None
    assert "\n".join(found) == text.removesuffix("\n")
    assert done.returncode == {"": 0, "false": 1}.get(ends, 3)


@pytest.mark.parametrize("lines", [[], ["0f"], ["a", "b"], ["x0f", "a"], ["0f", "a", "0fb"], ["a0", "f"]])
def test_what_has_not_begun_or_not_ended_is_nothing(lines: list[str]) -> None:
    assert between(lines, "0f") is None
