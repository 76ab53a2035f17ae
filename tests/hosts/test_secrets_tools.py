"""Passwords that age and pass keep: whole runs with them, from nothing to a proved tier, and what goes wrong.

The keys, the store and what is encrypted lie in the test's own directory. `docs/secrets.md` is followed as it stands.
"""

import json
import os
import re
import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import redis
import yaml

from tests.certificates import Authority
from tests.hosts.clients import in_namespace
from tests.hosts.conftest import TABLE, Finished, layout, operations, output, overriding
from tests.lab import tools
from tests.lab.containers import ContainerLab
from tests.lab.debian import LabError
from tests.tree import REPOSITORY, copy_of_tree

pytestmark = pytest.mark.hosts

ENTRY = "caas/redis-prod"
FILL = re.search(r"^    (fill\(\) .*)$", (REPOSITORY / "docs" / "secrets.md").read_text(), re.MULTILINE)
USERS = {role: {*row["services"], "operator"} for role, row in TABLE.items()}
DEBUG = ("-vvv", "--debug")


@dataclass
class Operator:
    """Somebody with a tree of this repository, the keys of both tools, and a bare host that carries all roles."""

    lab: ContainerLab
    home: Path
    said: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.tree = copy_of_tree(self.home / "tree")
        self.key, self.file = self.home / "age.key", self.home / "prod.age"
        self.temporary = self.home / "tmp"
        for name in ("tmp", "gnupg", "other-gnupg"):
            (self.home / name).mkdir(mode=0o700)
        self.environment = {
            "GNUPGHOME": str(self.home / "gnupg"),
            "PASSWORD_STORE_DIR": str(self.home / "store"),
            "TMPDIR": str(self.temporary),
        }
        self.age = ["age", "-d", "-i", str(self.key), str(self.file)]
        self.passed = ["pass", "show", ENTRY]

    def shell(self, script: str, text: str = "", **environment: str) -> str:
        """What a bash script prints, which gets `text`; an error unless it ends with 0."""
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            input=text,
            env=os.environ | self.environment | {"KEY": str(self.key), "FILE": str(self.file)} | environment,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def keep_in(self, words: list[str]) -> None:
        """Group data says so, as a person writes it there."""
        every = self.tree / "group_data" / "all.py"
        kept = [line for line in every.read_text().splitlines() if not line.startswith("redis_secrets_command")]
        every.write_text("\n".join([*kept, f"redis_secrets_command = {json.dumps(words)}", ""]))

    def run(self, file: str, *options: str, **environment: str) -> Finished:
        """`pyinfra -y inventory/onebox.py FILE`, as production's command."""
        words = ["-y", *options, "inventory/onebox.py", file]
        done = self.lab.pyinfra(*words, env=self.environment | environment, cwd=self.tree, timeout=300)
        self.said.append(output(done))
        return done

    def passwords(self) -> dict[str, dict[str, str]]:
        """What age opens."""
        known: dict[str, dict[str, str]] = yaml.safe_load(self.shell('age -d -i "$KEY" "$FILE"'))
        return known


@pytest.fixture(scope="module")
def operator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    """Keys are made, nothing is encrypted, nothing is deployed."""
    if lacking := tools.missing_packages():
        raise LabError(f"these tests need {' '.join(lacking)}: run make system")
    with ContainerLab(layout("onebox", "bookworm")) as lab:
        operator = Operator(lab, tmp_path_factory.mktemp("tools"))
        operator.shell(
            'age-keygen -o "$KEY"; gpg --batch --passphrase "" --quick-gen-key caas@invalid default default 0'
        )
        operator.shell("pass init caas@invalid")
        try:
            yield operator
        finally:
            for name in ("gnupg", "other-gnupg"):  # its agent ends with the test
                operator.shell("gpgconf --kill all", GNUPGHOME=str(operator.home / name))


ENCRYPT = 'age -r "$(age-keygen -y "$KEY")" -o "$FILE"'
INSERT = f"pass insert -m {ENTRY}"


def pasted(done: Finished) -> str:
    """The lines that a run says are to be pasted: its last ones."""
    assert done.returncode != 0
    lines = output(done).partition(" lacks:\n")[2]
    assert {role: set(users) for role, users in yaml.safe_load(lines).items()} == USERS
    return lines


def test_a_tier_is_made_by_a_file_of_age_s_from_nothing_on(operator: Operator, tmp_path: Path) -> None:
    operator.shell(ENCRYPT, "{}")
    operator.keep_in(operator.age)
    lines = pasted(operator.run("deploy.py"))
    assert operator.lab.hosts["redis-1"].sh("ls -d /etc/redis /etc/systemd/system/redis-*", check=False) == ""

    assert FILL
    operator.shell(f"{FILL[1]}; fill | {ENCRYPT}", lines)
    hidden = [password for users in operator.passwords().values() for password in users.values()]
    assert len(set(hidden)) == sum(len(users) for users in USERS.values())
    first = operator.run("deploy.py", *DEBUG)
    assert first.returncode == 0, output(first)
    for command in ("tasks/verify.py", "tasks/drift.py"):
        done = operator.run(command)
        assert done.returncode == 0, output(done)
    second = operator.run("deploy.py")
    assert (second.returncode, operations(second)) == (0, ["Prove the tier"]), output(second)

    ways = tmp_path / "ways"
    done = operator.run("tasks/endpoints.py", *DEBUG, "--data", f"endpoints_dir={ways}")
    assert done.returncode == 0, output(done)
    url = re.search("^REDIS_CRYPTO_URL=(.*)$", (ways / "crypto-service.env").read_text(), re.MULTILINE)
    assert url
    with redis.Redis.from_url(url[1]) as service:
        assert in_namespace(operator.lab.netns, service.ping)
    assert [password for password in hidden if any(password in said for said in operator.said)] == []


def test_the_same_passwords_from_pass_change_nothing(operator: Operator, tmp_path: Path) -> None:
    operator.shell(INSERT, "{}")
    operator.keep_in(operator.passed)
    pasted(operator.run("deploy.py"))
    operator.shell(f'age -d -i "$KEY" "$FILE" | {INSERT}')
    done = operator.run("deploy.py", *DEBUG)
    assert (done.returncode, operations(done)) == (0, ["Prove the tier"]), output(done)
    for command in ("tasks/verify.py", "tasks/drift.py"):
        done = operator.run(command)
        assert done.returncode == 0, output(done)
    done = operator.run("tasks/endpoints.py", "--data", f"endpoints_dir={tmp_path / 'ways'}")
    assert done.returncode == 0, output(done)
    hidden = [password for users in operator.passwords().values() for password in users.values()]
    files = "".join(path.read_text() for path in (tmp_path / "ways").glob("*.env"))
    services = [(role, user) for role, users in USERS.items() for user in users if user != "operator"]
    assert [key for key in services if operator.passwords()[key[0]][key[1]] not in files] == []
    assert [password for password in hidden if any(password in said for said in operator.said)] == []


def test_no_password_lies_anywhere_in_clear(operator: Operator) -> None:
    hidden = [password.encode() for users in operator.passwords().values() for password in users.values()]
    places = [path for top in (operator.home, operator.lab.home) for path in top.rglob("*") if path.is_file()]
    assert len(places) > 100
    assert [path for path in places if any(password in path.read_bytes() for password in hidden)] == []
    assert list(operator.temporary.iterdir()) == []


@dataclass(frozen=True)
class Trouble:
    """What is broken before a run, by a shell, and the one sentence that is said of it."""

    tool: str
    said: str
    before: str = ":"
    words: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()


TROUBLES = {
    "age has another key": Trouble(
        "age", "ended with 1, expected 0: it has no key for that", before='rm "$KEY"; age-keygen -o "$KEY"'
    ),
    "age has no file": Trouble("age", "ended with 1, expected 0: it does not find a file", before='rm "$FILE"'),
    "age has no key at all": Trouble("age", "ended with 1, expected 0: it does not find a file", before='rm "$KEY"'),
    # It says the beginning of what it reads.
    "somebody left the file in clear": Trouble(
        "age",
        "ended with 1, expected 0: what it is to open is not encrypted for it",
        before='age -d -i "$KEY" "$FILE" >"$FILE.new"; mv "$FILE.new" "$FILE"',
    ),
    "age is not installed": Trouble(
        "age", "cannot be run: No such file or directory: install it", words=("no-age", "-d")
    ),
    "pass has another key": Trouble(
        "pass", "expected 0: it has no key for that", environment=(("GNUPGHOME", "{home}/other-gnupg"),)
    ),
    "pass has no such entry": Trouble(
        "pass", "ended with 1, expected 0: it does not find a file or an entry", words=("pass", "show", "caas/redis")
    ),
    "pass has no store": Trouble(
        "pass", "expected 0: it does not find a file or an entry", environment=(("PASSWORD_STORE_DIR", "{home}/none"),)
    ),
    "pass opens something else": Trouble(
        "pass",
        "expected ROLE: {USER: PASSWORD}, observed str",
        before="age -d -i \"$KEY\" \"$FILE\" | tr -d '{}:,' | tr '\\n' ' ' | pass insert -m caas/other",
        words=("pass", "show", "caas/other"),
    ),
}


@pytest.mark.parametrize("trouble", TROUBLES)
def test_what_goes_wrong_is_one_sentence_before_any_host_is_contacted(operator: Operator, trouble: str) -> None:
    case = TROUBLES[trouble]
    hidden = [password for users in operator.passwords().values() for password in users.values()]
    kept = {path: path.read_bytes() for path in (operator.key, operator.file)}
    operator.keep_in(list(case.words) or (operator.age if case.tool == "age" else operator.passed))
    operator.shell(case.before)
    environment = {name: value.format(home=operator.home) for name, value in case.environment}
    try:
        done = operator.run("deploy.py", *DEBUG, **environment)
        assert done.returncode != 0, output(done)
        sentences = [line for line in output(done).splitlines() if "redis_secrets_command (" in line]
        assert len(sentences) == 1, output(done)
        assert case.said in sentences[0]
        assert "Connected" not in output(done)
        assert "Traceback" not in output(done)
        assert [password for password in hidden if password in output(done)] == []
    finally:
        for path, content in kept.items():
            path.write_bytes(content)


ROLE = "crypto"
ADDRESS, PORT = TABLE[ROLE]["address"], TABLE[ROLE]["port"]
SERVICE = TABLE[ROLE]["services"][0]
SPEAKS = overriding({ROLE: {"tls": {"client_auth": "yes"}}})  # names no file
SWITCH = ("--data", f"tls_switch={ROLE}")
AUTHORITY = Authority()
CLIENTS = {user: AUTHORITY.issue(user) for user in sorted(USERS[ROLE])}


def with_certificates(passwords: dict[str, dict[str, str]], server: tuple[bytes, bytes]) -> str:
    """The YAML of before, and in it all that the role's TLS needs."""
    named = {user: _pem(pair) for user, pair in CLIENTS.items()}
    own = {**_pem(server), "ca": AUTHORITY.pem.decode(), "clients": named}
    return yaml.safe_dump({**passwords, ROLE: {**passwords[ROLE], "tls": own}})


def _pem(pair: tuple[bytes, bytes]) -> dict[str, str]:
    return dict(zip(("certificate", "key"), (text.decode() for text in pair), strict=True))


def served(operator: Operator) -> bytes:
    """The certificate that is shown to who asks."""
    get = ssl.get_server_certificate
    return in_namespace(operator.lab.netns, lambda: get((ADDRESS, PORT), timeout=5)).encode()


def gets_in(operator: Operator, directory: Path) -> bool:
    """Whether a client does that has the service's file and what that names, and nothing else."""
    lines = (directory / f"{SERVICE}.env").read_text().splitlines()
    own = dict(line.split("=", 1) for line in lines if not line.startswith("#"))
    names = {"ssl_ca_certs": "CA", "ssl_certfile": "CERTIFICATE", "ssl_keyfile": "KEY"}
    options = {option: own[f"REDIS_CRYPTO_{end}"] for option, end in names.items()}
    with redis.Redis.from_url(own["REDIS_CRYPTO_URL"], **options) as client:
        return bool(in_namespace(operator.lab.netns, client.ping))


def test_certificates_and_keys_that_both_tools_keep_are_served_shown_and_changed_and_lie_nowhere_in_clear(
    operator: Operator, tmp_path: Path
) -> None:
    first, second = (AUTHORITY.issue("a server", ADDRESS) for _ in range(2))
    passwords, tools_said = operator.passwords(), len(operator.said)
    unit = operator.lab.hosts["redis-1"].sh(f"systemctl show -p MainPID redis-{ROLE}")

    def right(*files: str) -> None:
        for file in files:
            done = operator.run(file, *SPEAKS, *DEBUG)
            assert done.returncode == 0, output(done)

    def written(name: str) -> Path:
        done = operator.run("tasks/endpoints.py", *SPEAKS, *DEBUG, "--data", f"endpoints_dir={tmp_path / name}")
        assert done.returncode == 0, output(done)
        return tmp_path / name

    operator.keep_in(operator.age)
    operator.shell(ENCRYPT, with_certificates(passwords, first))
    done = operator.run("deploy.py", *SPEAKS, *SWITCH, *DEBUG, "--diff")
    assert done.returncode == 0, output(done)
    right("tasks/verify.py", "tasks/drift.py")
    assert served(operator) == first[0]
    assert gets_in(operator, written("age"))

    # The other tool has the same, and then a new certificate.
    operator.keep_in(operator.passed)
    operator.shell(INSERT, with_certificates(passwords, first))
    done = operator.run("deploy.py", *SPEAKS, *DEBUG)
    assert (done.returncode, operations(done)) == (0, ["Prove the tier"]), output(done)
    operator.shell(INSERT, with_certificates(passwords, second))
    assert operator.run("tasks/drift.py", *SPEAKS, *DEBUG).returncode != 0
    right("deploy.py", "tasks/verify.py", "tasks/drift.py")
    assert served(operator) == second[0]
    assert gets_in(operator, written("pass"))

    assert operator.lab.hosts["redis-1"].sh(f"systemctl show -p MainPID redis-{ROLE}") == unit
    keys = [key.splitlines()[1] for _, key in (first, second, *CLIENTS.values())]
    said = "".join(operator.said[tools_said:]).encode()
    assert [key for key in keys if key in said] == []
    on_host = {"crypto.pem"}  # the host's own, which its server reads
    places = [path for top in (operator.home, operator.lab.home) for path in top.rglob("*") if path.is_file()]
    found = [path for path in places if path.name not in on_host and any(key in path.read_bytes() for key in keys)]
    assert found == []
    assert list(operator.temporary.iterdir()) == []
