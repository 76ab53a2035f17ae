"""Jobs with a role's files: in the sandbox of the role's unit, and nothing of root's where the role can write."""

import re
from collections.abc import Callable

import pytest

from tasks.desired.host import Instance
from tasks.observed.state import Marker
from tasks.steps.adopt import copy_script
from tasks.steps.convert import convert_script
from tasks.steps.instances import aside_command
from tasks.steps.log import check_script, own_script
from tasks.steps.sandbox import reader_words
from tests.unit.builders import EVERY, desired
from tests.unit.scripts import call, path_of

MARKER = Marker("old", 7, "old.service", "/srv/it's/dump.rdb", "16 1.5", "111:115:115 27 ")
JOBS: dict[str, Callable[[Instance], str]] = {
    "check-log": check_script,
    "own-data": lambda instance: own_script(instance, instance.user),
    "put-aside": aside_command,
    "copy-save": lambda instance: copy_script(instance, MARKER),
    "convert-data": lambda instance: convert_script(instance, "log", 1),
}


def properties(instance: Instance, job: str) -> list[str]:
    """What systemd is told of a job."""
    return call(JOBS[job](instance)).parameters["sandbox"].splitlines()


@pytest.mark.parametrize("role", EVERY)
@pytest.mark.parametrize("job", JOBS)
def test_what_is_done_with_a_role_s_files_is_a_job_around_its_own_directory(role: str, job: str) -> None:
    instance = desired(role).instances[0]
    run = call(JOBS[job](instance))
    assert (run.name, call(run.parameters["job"]).name) == ("as-role", job)
    assert run.parameters["directory"] == f"/var/lib/redis/{role}"
    for line in (
        "TemporaryFileSystem=/var/lib/redis:ro",
        f"BindPaths=/var/lib/redis/{role}",
        f"ReadWritePaths=+/var/lib/redis/{role}",
        "ProtectSystem=strict",
        "ProtectHome=yes",
        "PrivateTmp=yes",
        "PrivateDevices=yes",
        "NoNewPrivileges=yes",
        "NoExecPaths=+/",
        "RestrictAddressFamilies=AF_INET AF_UNIX",
    ):
        assert line in properties(instance, job)


@pytest.mark.parametrize("job", JOBS)
def test_a_job_is_its_role_s_user_but_the_one_that_gives_files_to_it_and_that_one_may_do_nothing_else(job: str) -> None:
    lines = properties(desired("crypto").instances[0], job)
    rights = [line for line in lines if line.startswith(("User=", "CapabilityBoundingSet=", "PrivateUsers="))]
    if job == "own-data":
        assert rights == ["CapabilityBoundingSet=CAP_CHOWN CAP_FOWNER CAP_DAC_READ_SEARCH"]
    else:
        assert rights == ["User=redis-crypto", "PrivateUsers=yes", "CapabilityBoundingSet="]


@pytest.mark.parametrize("job", JOBS)
def test_nothing_of_the_unit_s_sandbox_is_missing_from_a_job_but_what_is_said(job: str) -> None:
    instance = desired("crypto").instances[0]
    own = ("User=", "Group=", "PrivateUsers=", "CapabilityBoundingSet=", "AmbientCapabilities=", "SystemCallFilter=")
    not_sandbox = (
        "Type=",
        "Timeout",
        "Exec",
        "Restart=",
        "RestartSec=",
        "SetCredential=",
        "RuntimeDirectory",
        "StateDirectory",
        # The server's own root has no shell in it: a job sees the host's files, of /var/lib/redis its role's.
        *("RootDirectory", "WorkingDirectory=", "MountAPIVFS=", "BindReadOnlyPaths="),
        *("BindPaths=/etc/redis", "ReadOnlyPaths=+/etc/redis"),
    )
    service = instance.unit_text.partition("[Service]\n")[2].partition("\n[Install]")[0]
    for line in service.splitlines():
        left = line.startswith(not_sandbox) or not line or line.startswith("#")
        if not left and not (job == "own-data" and line.startswith(own)):
            assert line in properties(instance, job)


def test_root_has_its_own_files_where_no_role_can_read_or_write() -> None:
    run = call(JOBS["copy-save"](desired("crypto").instances[0]))
    assert run.parameters["run"] == "/run/redis-job-crypto"
    assert run.parameters["lock"] == "/run/caas-redis/crypto.lock"
    text = path_of("as-role").read_text()
    written = re.findall(r'[0-9]?>"([^"]+)"', text)
    assert set(written) == {"$lock", "$run/job", "$run/own/in", "$run/own/said"}
    assert 'mkdir -m 0711 "$run" && mkdir "$run/own"' in text
    assert text.index("umask 077") < text.index("mkdir")


def test_what_an_old_server_saved_is_read_as_its_user_and_copied_as_the_role() -> None:
    run = call(JOBS["copy-save"](desired("crypto").instances[0]))
    assert run.parameters["source"] == "/srv/it's/dump.rdb"
    assert run.parameters["reader"] == "--reuid=111 --regid=115 --groups=115,27"
    job = call(run.parameters["job"])
    assert "rdb" not in job.parameters
    assert job.parameters["target"] == "/var/lib/redis/crypto/dump.rdb"


def test_a_user_without_groups_has_none() -> None:
    assert reader_words("0:0:") == ["--reuid=0", "--regid=0", "--clear-groups"]


@pytest.mark.parametrize("text", ["", "1", "1:2", "a:b:c", "1:2:3;reboot", "--x:1:2", "1:2:3\n4:5:6"])
def test_whoever_is_no_user_reads_nothing(text: str) -> None:
    with pytest.raises(ValueError, match="expected the numbers of a user"):
        reader_words(text)
