"""What asks the other one of a pair before a start is there for roles of pairs, and for no other."""

from dataclasses import replace

import pytest

from tasks.compare.difference import Remedy
from tasks.compare.host import compare
from tasks.desired.guard import files_of_a_pair, peer_text
from tasks.desired.paths import guard_file, peer_file
from tasks.observed.state import FileState
from tests.unit.builders import as_desired, desired, pair_of, password


def test_both_hosts_of_a_pair_ask_the_other_one_before_a_start() -> None:
    for name, host in pair_of().items():
        files = {file.path: file for file in host.files}
        there, own = ("172.28.2.2", "172.28.2.1") if name == "one" else ("172.28.2.1", "172.28.2.2")
        text = files[guard_file("crypto")].content or ""
        assert f"host={there}\nport=6383\nown_host={own}\nown_port=6383\n" in text
        assert f"ExecStartPre=+/bin/sh {guard_file('crypto')}\n" in host.instances[0].unit_text
        assert files[peer_file("crypto")].mode == "0600"
        assert files[peer_file("crypto")].owner == "root"


def test_no_password_is_in_what_anybody_may_read() -> None:
    secret = password("crypto", "replication")
    for host in pair_of().values():
        readers = [file.path for file in host.files if secret in (file.content or "")]
        assert peer_file("crypto") in readers
        assert all(file.secret for file in host.files if file.path in readers)


def test_a_role_of_no_pair_asks_nobody() -> None:
    host = desired("crypto")
    assert "guard" not in host.instances[0].unit_text
    assert not {file.path for file in host.files} & set(files_of_a_pair("crypto"))


def test_a_pair_restarts_no_server_that_runs() -> None:
    """What its process was started from is the same text."""
    assert pair_of()["one"].instances[0].unit_digest == desired("crypto").instances[0].unit_digest


@pytest.mark.parametrize("path", files_of_a_pair("crypto"))
def test_what_is_left_of_a_pair_goes(path: str) -> None:
    host = desired("crypto")
    seen = as_desired(host)
    seen = replace(seen, files={**seen.files, path: FileState("file", "root", "root", "0600", "")})
    (found,) = compare(host, seen)
    assert (found.name, found.remedy) == (path, Remedy.REMOVE)


def test_passwords_are_asked_with_the_newest_first() -> None:
    assert peer_text(["new", "old"]).splitlines()[1:] == ["new", "old"]
    assert peer_text([]) == ""
