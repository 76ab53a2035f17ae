"""What the one reading command says of a host is what the host's own tools say of it."""

import shlex

import pytest

from tasks.observed.look import parameters
from tasks.observed.reader import UNREADABLE, parse_look
from tasks.observed.records import LIMIT, new_mark, unframe
from tasks.observed.script import prepared, script
from tasks.observed.state import FileState, Observed
from tests.hosts.conftest import Tier, output
from tests.lab.container import Container

ODD = "/etc/redis/odd"

pytestmark = pytest.mark.hosts


@pytest.fixture
def host(onebox: Tier) -> Container:
    return onebox.host("gateway")


def look(host: Container) -> Observed:
    """What the command says, printed as pyinfra would run it."""
    mark = new_mark()
    asked = parameters(
        files=[ODD], secrets=[], directories=[], units=["redis-gateway.service"], sysctls=["net.core.somaxconn"]
    )
    command = prepared(script("look", mark=mark, limit=LIMIT, **asked))
    printed = host.sh(f"timeout 20 sh -c {shlex.quote(command)}")
    return parse_look(unframe(printed.splitlines(), mark), mark)


ADDRESSES = (
    ("172.28.2.77/24", "host0"),  # secondary
    ("10.9.0.1/16", "host0"),
    ("10.8.0.9/32", "host0"),
    ("10.7.0.1 peer 10.7.0.2/32", "host0"),
    ("10.6.0.0/31", "host0"),
    ("127.0.0.53/8", "lo"),
)


def test_its_addresses_are_those_that_ip_lists(host: Container) -> None:
    try:
        for address, interface in ADDRESSES:
            host.sh(f"ip address add {address} dev {interface}")
        listed = {line.split()[3].split("/")[0] for line in host.sh("ip -o -4 address show").splitlines()}
        assert len(listed) == 5 + 1 + len(ADDRESSES)
        assert look(host).addresses == listed
    finally:
        for address, interface in ADDRESSES:
            host.sh(f"ip address delete {address} dev {interface}", check=False)


def installed(host: Container) -> dict[str, str]:
    """What dpkg calls installed of the packages that matter."""
    shown = host.sh(r"dpkg-query -W -f '${db:Status-Status} ${Package} ${Version}\n' redis-server redis-tools nftables")
    rows = [line.split() for line in shown.splitlines()]
    return {row[1]: row[2] for row in rows if row[0] == "installed"}


def test_its_packages_are_those_that_dpkg_calls_installed(host: Container) -> None:
    assert len(installed(host)) == 3
    assert look(host).packages == installed(host)


def test_a_package_that_dpkg_was_interrupted_with_is_not_installed(host: Container) -> None:
    journal = "/var/lib/dpkg/updates/0000"
    stanza = (
        r"Package: redis-tools\nStatus: install reinstreq half-installed\nArchitecture: amd64\nVersion: 5:7.0.15-1\n"
    )
    stanza += r"Maintainer: nobody\nDescription: none\n"
    host.sh(f"printf '{stanza}' > {journal}")
    try:
        assert "redis-tools" not in installed(host)
        assert look(host).packages == installed(host)
    finally:
        host.sh(f"rm {journal}")


@pytest.mark.parametrize(
    ("make", "kind", "content"),
    [
        (r"printf 'no end' >", "file", "no end"),
        (r"printf '\n\n* \\ $HOME ä\n\n' >", "file", "\n\n* \\ $HOME ä\n\n"),
        (r": >", "file", ""),
        (r"printf 'a\n\344\nb\n' >", "file", f"a\nb\n{UNREADABLE}"),
        (r"printf 'a\n\0\n' >", "file", UNREADABLE),
        ("ln -s /etc/passwd", "link", "/etc/passwd"),
        ("mkfifo", "other", ""),
        ("mkdir", "directory", ""),
    ],
)
def test_a_file_is_read_as_what_it_is(host: Container, make: str, kind: str, content: str) -> None:
    host.sh(f"{make} {ODD}; chown --no-dereference 54321:redis {ODD}; [ -L {ODD} ] || chmod 2640 {ODD}")
    try:
        modified, changed = (int(at) for at in host.sh(f"stat -c '%Y %Z' {ODD}").split())
        mode = "0777" if kind == "link" else "2640"
        asked = {path: state for path, state in look(host).files.items() if not path.startswith("/var/lib/redis/")}
        assert asked == {ODD: FileState(kind, "54321", "redis", mode, content, modified, changed)}
    finally:
        host.sh(f"rm -r {ODD}")


FORGED = "x\n@@ matches\n/etc/systemd/system/redis-$(touch forged).service:# CAAS Redis repository\n@@ end\n"


def test_the_names_that_a_role_gives_its_files_are_read_as_names(onebox: Tier, host: Container) -> None:
    """The role's own sandbox may make them: a name with line breaks once forged a unit, whose name then ran as root."""
    before = look(host)
    here = "cd /var/lib/redis/gateway"
    try:
        host.sh(f'{here}; name=$(cat; echo .); mkdir -p "${{name%/*}}" && touch "$name"', input=FORGED)
        host.sh(f"{here}; ln -s \"$(printf 'a\\nb')\" \"$(printf 'c\\nd')\"; touch \"$(printf '\\377\\033[2J')\"")
        seen = look(host)
        assert (seen.our_units, seen.units) == (before.our_units, before.units)
        done = onebox.run("deploy.py", "--dry", yes=False)
        assert done.returncode == 0, output(done)
        assert "1 difference on 1 host, 0 instances will restart" in output(done)
        said = r"also 'c\nd' (a link of root), 'x\n@@ matches\n' (a directory of root), '�\x1b[2J' (a file of root)"
        assert said in output(done)
    finally:
        host.sh(f"{here}; rm -rf x* c*d \"$(printf '\\377\\033[2J')\"")
    assert host.sh("find / -xdev -name forged") == ""
