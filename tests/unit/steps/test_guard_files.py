"""What a unit asks before a start is there before the unit, and goes behind it: a cut leaves a server that starts."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

import pytest
from pyinfra.api.command import StringCommand

from tasks.compare.host import compare
from tasks.compare.pairs import orient
from tasks.desired.guard import files_of_a_pair
from tasks.desired.host import File, Host
from tasks.desired.paths import BACKUP_TOOLS, RECORDS, guard_file, peer_file, promoted_file, served_file
from tasks.observed.state import FileState, Observed
from tasks.run.survey import Look
from tasks.steps import instances, operations
from tasks.steps.operations import write_files
from tests.unit.builders import as_desired, desired, pair_of, with_server

UNIT = "/etc/systemd/system/redis-crypto.service"


def steps(host: Host, observed: Observed, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The commands that bring the files of a host to what they are to be, in order; of a file its path."""
    done: list[str] = []

    def write(name: str, files: Sequence[File], **given: Any) -> None:
        inner: Any = write_files
        done.extend(command.get_raw_value() for command in inner._inner(files=files, **given))

    def run(name: str, commands: Collection[str]) -> None:
        done.extend(commands)

    monkeypatch.setattr(operations, "file_command", lambda file, keep: StringCommand(file.path))
    monkeypatch.setattr(instances, "write_files", write)
    monkeypatch.setattr(instances, "run_commands", run)
    look = Look(host, {}, observed, tuple(compare(host, observed)))
    instances.remove_leftovers(look)
    instances.write_instances(look, [])
    instances.remove_guards(look)
    instances.record_begun(look, set())
    return done


def serving(seen: Observed | None = None) -> Host:
    """The host that serves a pair, as a deploy takes it that did not see the other one."""
    pair = pair_of()
    hosts, _ = orient({"one": (pair["one"], seen or as_desired(pair["one"])), "other": (pair["other"], None)})
    return hosts["one"]


def alone() -> Observed:
    """A host whose role has no standby yet."""
    seen = as_desired(desired("crypto", name="one", crypto={"address": "172.28.2.1"}))
    said = {"role": "master", "connected_slaves": "0", "repl_backlog_active": "0"}
    return with_server(seen, "crypto", info={**seen.servers["crypto"].info, **said})


def test_a_role_that_gets_a_standby_has_what_its_unit_asks_before_the_unit_names_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    done = steps(serving(alone()), alone(), monkeypatch)
    unit = done.index(UNIT)
    for path in (
        BACKUP_TOOLS,
        guard_file("crypto"),
        peer_file("crypto"),
        served_file("crypto"),
        promoted_file("crypto"),
    ):
        assert done.index(path) < unit, path
    assert done.count(promoted_file("crypto")) == 1


def test_on_a_host_that_has_no_records_yet_their_directory_comes_before_what_is_noted_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bare = alone()
    bare = replace(bare, files={path: file for path, file in bare.files.items() if not path.startswith(RECORDS)})
    done = steps(serving(bare), bare, monkeypatch)
    assert done.index(RECORDS) < done.index(promoted_file("crypto")) < done.index(UNIT)


def test_a_role_whose_standby_is_taken_away_keeps_what_its_unit_asks_until_the_unit_names_it_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen, left = as_desired(serving()), FileState("file", "root", "root", "0600", "")
    seen = replace(seen, files={**seen.files, **dict.fromkeys(files_of_a_pair("crypto"), left)})
    done = steps(desired("crypto", name="one", crypto={"address": "172.28.2.1"}), seen, monkeypatch)
    loaded = next(at for at, said in enumerate(done) if at > done.index(UNIT) and "daemon-reload" in said)
    for path in files_of_a_pair("crypto"):
        (gone,) = [at for at, said in enumerate(done) if path in said.split()]
        assert gone > loaded, path


def test_a_mark_that_is_removed_stays_removed_through_a_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else an old host starts by it beside the one that was put in its place."""
    seen, left = as_desired(serving()), FileState("file", "root", "root", "0600", "")
    alone = desired("crypto", name="one", crypto={"address": "172.28.2.1"})

    def done(*paths: str) -> list[str]:
        files = {path: file for path, file in seen.files.items() if path not in files_of_a_pair("crypto")}
        return steps(alone, replace(seen, files={**files, **dict.fromkeys(paths, left)}), monkeypatch)

    ran = done(promoted_file("crypto"))
    assert ran[ran.index(f"rm -f {promoted_file('crypto')}") + 1] == f"sync {RECORDS}"
    assert f"sync {RECORDS}" not in done(guard_file("crypto"))
