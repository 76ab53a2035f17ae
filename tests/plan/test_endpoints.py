"""`tasks/endpoints.py`: every service's way in, in a file of its own, or no file at all."""

import hashlib
import json
import os
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from tasks.desired.host import Host
from tasks.desired.paths import acl_file
from tasks.observed.state import FileUser, Observed
from tests.plan.harness import Result, Site, run
from tests.unit.builders import FIVE, as_desired, fresh, roles, with_user

SERVICES = {name for role in FIVE for name in roles()[role].services}


def endpoints(secrets_file: Path, *options: str) -> Result:
    """The command, on hosts that are as they should be."""
    sites = {f"redis-{role}": Site([as_desired]) for role in FIVE}
    return run(sites, *options, secrets_file=secrets_file, command="tasks/endpoints.py")


def written(directory: Path) -> list[str]:
    """What lies there; nothing where it is not."""
    return sorted(path.name for path in directory.iterdir()) if directory.exists() else []


def asking(directory: Path, *more: str) -> list[str]:
    """The options that have files written there."""
    return ["-y", "--data", f"endpoints_dir={directory}", *more]


def test_every_service_gets_a_file_that_only_its_owner_reads(secrets_file: Path, tmp_path: Path) -> None:
    directory = tmp_path / "ways"
    result = endpoints(secrets_file, *asking(directory))
    assert result.exit_code == 0, result.output
    assert written(directory) == sorted([*(f"{name}.env" for name in SERVICES), "endpoints.json"])
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()} == {0o600}
    assert set(json.loads((directory / "endpoints.json").read_text())["services"]) == SERVICES


def test_a_file_has_the_passwords_of_its_service_and_no_other(secrets_file: Path, tmp_path: Path) -> None:
    endpoints(secrets_file, *asking(tmp_path / "ways"))
    known = yaml.safe_load(secrets_file.read_text())
    for name in SERVICES:
        text = (tmp_path / "ways" / f"{name}.env").read_text()
        there = {(role, user) for role, users in known.items() for user, password in users.items() if password in text}
        assert there == {(role, name) for role in FIVE if name in roles()[role].services}


def test_no_password_is_in_what_it_prints(secrets_file: Path, tmp_path: Path) -> None:
    result = endpoints(secrets_file, *asking(tmp_path / "ways"))
    assert "secret-of" not in result.output


def test_a_second_run_replaces_files_and_says_which_no_role_names_any_more(secrets_file: Path, tmp_path: Path) -> None:
    directory = tmp_path / "ways"
    endpoints(secrets_file, *asking(directory))
    (directory / "gone.env").write_text((directory / "gateway.env").read_text())
    (directory / "mine.env").write_text("A=1\n")
    (directory / "gateway.env").write_text("old\n")
    result = endpoints(secrets_file, *asking(directory, "--data", "endpoints_port=inner"))
    assert result.exit_code == 0, result.output
    assert "REDIS_SHARED_PORT=6379\n" in (directory / "gateway.env").read_text()
    gone = f"{directory}/gone.env"
    assert f"note: {gone}: no role names this service any more: once it has ended: rm -- {gone}" in result.output
    assert "mine.env" not in result.output
    assert (directory / "mine.env").read_text() == "A=1\n"


def _open(path: Path) -> None:
    path.mkdir()
    path.chmod(0o755)


def _file(path: Path) -> None:
    path.write_text("")


def _in_the_way(path: Path) -> None:
    (path / "gateway.env").mkdir(parents=True)


def _nothing(path: Path) -> None:
    """What it would be made in is not there."""


def _below_one_that_all_write(path: Path) -> None:
    path.parent.mkdir()
    path.parent.chmod(0o777)


REFUSED: dict[str, tuple[str, Callable[[Path], None]]] = {
    "open to others": ("{}: of user", _open),
    "a file": ("{}: not a directory: name another", _file),
    "in the way": ("{}/gateway.env: a directory stands in", _in_the_way),
    "below one that all write": ("none: mode is 0777, others can replace ways there", _below_one_that_all_write),
    "below nothing": ("does not exist: create it or name another directory", _nothing),
}


@pytest.mark.parametrize("case", REFUSED)
def test_where_passwords_must_not_lie_nothing_is_written(secrets_file: Path, tmp_path: Path, case: str) -> None:
    directory = tmp_path / ("none/ways" if case.startswith("below") else "ways")
    words, prepare = REFUSED[case]
    before = os.umask(0o077)
    try:
        prepare(directory)
    finally:
        os.umask(before)
    result = endpoints(secrets_file, *asking(directory))
    assert result.exit_code != 0
    assert words.format(directory) in result.output, result.output
    assert "endpoints.json" not in (written(directory) if directory.is_dir() else [])


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("endpoints_port=both", "endpoints_port: expected assigned or inner, observed 'both': correct it"),
        ("endpoint_port=inner", "endpoint_port: nothing reads host data or --data of this name"),
    ],
)
def test_a_slip_is_refused(secrets_file: Path, tmp_path: Path, data: str, words: str) -> None:
    result = endpoints(secrets_file, *asking(tmp_path / "ways", "--data", data))
    assert result.exit_code != 0
    assert words in result.output
    assert written(tmp_path / "ways") == []


def test_a_port_without_a_directory_is_a_slip_too(secrets_file: Path) -> None:
    result = endpoints(secrets_file, "-y", "--data", "endpoints_port=inner")
    assert result.exit_code != 0
    assert "endpoints_port: is for the files of endpoints_dir, which is not there: name a directory" in result.output


def test_in_a_sticky_directory_of_everybody_s_one_is_made(secrets_file: Path, tmp_path: Path) -> None:
    (tmp_path / "sticky").mkdir()
    (tmp_path / "sticky").chmod(0o1777)
    result = endpoints(secrets_file, *asking(tmp_path / "sticky" / "ways"))
    assert result.exit_code == 0, result.output
    assert len(written(tmp_path / "sticky" / "ways")) == len(SERVICES) + 1


def test_a_password_that_is_not_known_or_is_read_otherwise_keeps_all_files_from_being_written(
    secrets_file: Path, tmp_path: Path
) -> None:
    known = yaml.safe_load(secrets_file.read_text())
    del known["shared"]["gateway"]
    known["crypto"]["crypto-service"] = "a b c d e f g h i j k l m n o p q r s t u v w x y z"
    secrets_file.write_text(yaml.safe_dump(known))
    result = endpoints(secrets_file, *asking(tmp_path / "ways"))
    assert result.exit_code != 0
    assert "No file was written: not every service would have got its way in (2 problems)" in result.output
    assert written(tmp_path / "ways") == []


def test_a_file_is_not_replaced_by_one_that_lacks_roles_which_the_run_leaves_out(
    secrets_file: Path, tmp_path: Path
) -> None:
    limited = asking(tmp_path / "ways", "--limit", "redis-shared")
    result = endpoints(secrets_file, *limited)
    assert result.exit_code != 0
    assert "gateway: redis-gateway is left out, and gateway would lack that role: let it take part" in result.output
    assert written(tmp_path / "ways") == []


def test_a_run_of_some_hosts_leaves_the_list_and_the_files_of_the_others_services_as_they_were(
    secrets_file: Path, tmp_path: Path
) -> None:
    directory = tmp_path / "ways"
    endpoints(secrets_file, *asking(directory))
    before = {path.name: path.read_text() for path in directory.iterdir()}
    known = json.loads(before["endpoints.json"])
    known["services"]["compliance-service"]["compliance"]["port"] = 1  # as an earlier catalogue had it
    known["services"]["gone"] = known["services"]["crypto-service"]
    (directory / "endpoints.json").write_text(json.dumps(known))
    result = endpoints(secrets_file, *asking(directory, "--limit", "redis-crypto"))
    assert result.exit_code == 0, result.output
    del known["services"]["gone"]
    assert json.loads((directory / "endpoints.json").read_text()) == known
    assert {name: (directory / name).read_text() for name in before if name.endswith(".env")} == {
        name: text for name, text in before.items() if name.endswith(".env")
    }


def test_a_list_that_lacks_services_of_hosts_left_out_says_so(secrets_file: Path, tmp_path: Path) -> None:
    result = endpoints(secrets_file, *asking(tmp_path / "ways", "--limit", "redis-crypto"))
    assert result.exit_code == 0, result.output
    said = " ".join(result.output.split())
    assert "ways/endpoints.json: has no auth-service, compliance-service, gateway," in said
    assert "whose hosts are left out, expected every service: write it with all hosts once" in said


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"version": 2, "services": {}}', '{"version": 1, "services": {"gateway": 1}}']
)
def test_a_list_that_cannot_be_gone_on_with_is_not_written_over(secrets_file: Path, tmp_path: Path, text: str) -> None:
    directory = tmp_path / "ways"
    directory.mkdir(mode=0o700)
    (directory / "endpoints.json").write_text(text)
    result = endpoints(secrets_file, *asking(directory, "--limit", "redis-crypto"))
    assert result.exit_code != 0
    assert "ways/endpoints.json: is no list of this tool's, and has to go on naming auth-service," in " ".join(
        result.output.split()
    )
    assert written(directory) == ["endpoints.json"]
    assert (directory / "endpoints.json").read_text() == text
    assert endpoints(secrets_file, *asking(directory)).exit_code == 0


def test_what_a_service_that_left_would_be_given_again_is_named_with_how_to_remove_it(
    secrets_file: Path, tmp_path: Path
) -> None:
    known = yaml.safe_load(secrets_file.read_text())
    known["crypto"] |= {
        "old-service": "a-password-of-a-service-that-left-0123456789",
        "default": "of-an-old-server-0123456789",
    }
    secrets_file.write_text(yaml.safe_dump(known))
    result = endpoints(secrets_file, *asking(tmp_path / "ways"))
    assert result.exit_code == 0, result.output
    said = " ".join(result.output.split())
    assert (
        f"note: {secrets_file}: crypto: an entry beside those of its users (crypto-service, operator): a service that "
        "left, and one that is called so again would be handed out what it has: remove it there" in said
    )
    assert said.count("is called so again") == 1
    assert "a-password-of" not in result.output
    assert "old-service" not in result.output  # what stands in the place of a name may be a password


def test_the_table_fits_80_columns_and_names_every_user(secrets_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    result = endpoints(secrets_file, "-y")
    rows = [line for line in result.stdout.splitlines() if line.strip()]
    assert max(map(len, rows)) <= 80
    assert {row.split()[-1] for row in rows} >= SERVICES
    assert any(
        row.split() == ["every", "role", "every", "user", *"* * +@all -@admin -@dangerous +info".split()]
        for row in rows
    )


def test_the_table_says_of_each_service_what_it_may_do_with_the_overrides_of_its_host(
    secrets_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    rights = {"gateway": {"services": {"gateway": {"keys": ["session:[ab]*"], "scripts": False}, "auth-service": {}}}}
    result = endpoints(
        secrets_file, "-y", "--data", f"redis_overrides={json.dumps(rights)}", "--limit", "redis-gateway"
    )
    assert result.exit_code == 0, result.output
    own, other = (
        next(line.split() for line in result.stdout.splitlines() if line.startswith(f"gateway  {service}  "))
        for service in ("gateway     ", "auth-service")
    )
    assert own[2] == "session:[ab]*"
    assert other[2] == "*"
    assert "scripts: no," in result.stdout


def test_after_a_rotation_that_was_cut_off_the_password_that_the_server_takes_is_handed_out(
    secrets_file: Path, tmp_path: Path
) -> None:
    known = yaml.safe_load(secrets_file.read_text())
    old = known["crypto"]["crypto-service"]
    known["crypto"]["crypto-service"] = [f"new-{old}", old]
    secrets_file.write_text(yaml.safe_dump(known))

    def lacks_the_newest(host: Host) -> Observed:
        digest = hashlib.sha256(old.encode()).hexdigest()
        seen = with_user(as_desired(host), "crypto", "crypto-service", passwords=[digest])
        return replace(seen, acl_users={acl_file("crypto"): (FileUser("crypto-service", (digest[:4],)),)})

    sites = {f"redis-{role}": Site([lacks_the_newest if role == "crypto" else as_desired]) for role in FIVE}
    result = run(sites, *asking(tmp_path / "ways"), secrets_file=secrets_file, command="tasks/endpoints.py")
    assert result.exit_code == 0, result.output
    assert "crypto: crypto-service: gets the password before its newest" in " ".join(result.output.split())
    assert f"REDIS_CRYPTO_PASSWORD={old}\n" in (tmp_path / "ways" / "crypto-service.env").read_text()


def test_before_a_first_deploy_has_ended_nothing_is_handed_out(secrets_file: Path, tmp_path: Path) -> None:
    sites = {f"redis-{role}": Site([fresh if role == "crypto" else as_desired]) for role in FIVE}
    result = run(sites, *asking(tmp_path / "ways"), secrets_file=secrets_file, command="tasks/endpoints.py")
    assert result.exit_code != 0
    assert "crypto: crypto-service: its server does not take its password yet" in " ".join(result.output.split())
    assert written(tmp_path / "ways") == []
