"""Somebody who answers in a server's place on a lab host: he takes what he is told, and says what a test wants."""

from collections.abc import Iterator
from contextlib import contextmanager

from tests.lab.container import Container

PROGRAM = "/usr/local/lib/impostor.pl"
REPLY = "/usr/local/lib/impostor.reply"  # that each connection gets
SAID = "/run/impostor.said"  # all that he was told
# A bare host has neither Python nor netcat, but perl-base.
CODE = r"""
use IO::Socket::INET;
my ($address, $port, $said) = @ARGV;
my $listener = IO::Socket::INET->new(LocalAddr => $address, LocalPort => $port, Listen => 9, ReuseAddr => 1) or die $!;
while (my $client = $listener->accept) {
  if (sysread($client, my $told, 65536) and $said) {
    open my $file, '>>', $said; print {$file} $told; close $file;
  }
  if (open my $file, '<', '/usr/local/lib/impostor.reply') { local $/; print {$client} <$file>; }
  close $client;
}
"""
DROP_IN = f"""[Service]
Type=exec
ExecStart=
ExecStart=/usr/bin/perl {PROGRAM} %s %s
ExecPaths=/usr/bin/perl
"""


RULE = "tcp dport {port} redirect to :7999"
TAKINGS = {
    "of IPv4": ("ip", RULE),
    "of both kinds": ("inet", "ip daddr {address} " + RULE),
    "by a chain of its own": ("ip", "ip daddr {address} jump taken"),
}
ODD = {
    "HTTP": b"HTTP/1.1 400 Bad Request\r\n\r\n400",
    "lists in lists": b"*1\r\n" * 50 + b":1\r\n",
    "more than it was asked": b"+OK\r\n" * 99,
    "out of memory": b"-OOM command not allowed when used memory > 'maxmemory'.\r\n" * 9,
    "garbage": bytes(range(256)),
}


def taking(family: str, rule: str, address: str, port: int, **_: object) -> str:
    """A table of rules that lead a role's connections to his port."""
    where = {"address": address, "port": port}
    chains = (
        f"chain taken {{ {RULE.format(**where)}; }}\n",
        f"type nat hook output priority -90; {rule.format(**where)};",
    )
    return f"table {family} theirs {{\n{chains[0]}chain out {{ {chains[1]} }}\n}}\n"


def install(host: Container, reply: bytes = b"+OK\r\n") -> None:
    """His program is there; from now on he says this."""
    host.path(PROGRAM).write_text(CODE)
    host.path(REPLY).write_bytes(reply)


@contextmanager
def listening(host: Container, address: str, port: int) -> Iterator[None]:
    """He listens there by himself, and what he is told is known afterwards."""
    install(host)
    host.sh(f"rm -f {SAID}; touch {SAID}")
    host.sh(f"systemd-run --quiet --unit=impostor /usr/bin/perl {PROGRAM} {address} {port} {SAID}")
    wait_for(host, address, port)
    try:
        yield
    finally:
        host.sh("systemctl stop impostor")


def wait_for(host: Container, address: str, port: int) -> None:
    """Somebody listens there."""
    host.sh(f"timeout 30 sh -c 'until ss -Hltn | grep -q {address}:{port}; do sleep 0.1; done'")


def told(host: Container) -> str:
    """All that was said to him."""
    return host.path(SAID).read_text(errors="replace")


@contextmanager
def as_unit(host: Container, unit: str, address: str, port: int) -> Iterator[None]:
    """He is the main process of a unit: somebody who has captured a role."""
    install(host)
    directory = f"/run/systemd/system/{unit}.d"
    host.sh(f"mkdir -p {directory} && cat >{directory}/impostor.conf", input=DROP_IN % (address, port))
    host.sh(f"systemctl daemon-reload && systemctl restart {unit}")
    wait_for(host, address, port)
    try:
        yield
    finally:
        host.sh(f"rm -r {directory}; systemctl daemon-reload; systemctl restart {unit}")
