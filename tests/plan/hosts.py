"""The production hosts and what they take: the commands that a bare one is prepared with."""

from __future__ import annotations

import re
from collections.abc import Mapping

from tests.plan.harness import Site, State
from tests.unit.builders import FIVE, as_desired
from tests.unit.builders import roles as all_roles

PROD = {f"redis-{role}": role for role in FIVE}
READ_STAMP = r"! \(test -e /var/lib/apt/periodic/update-success-stamp .*"
READ_PACKAGES = r"if command -v dpkg .*"
FILES = (
    "/etc/apt/apt.conf.d/60-redis",
    "/etc/needrestart/conf.d/60-redis.conf",
    "/etc/sysctl.d/60-redis.conf",
    "/etc/tmpfiles.d/60-redis-thp.conf",
)


def install_command(packages: str) -> str:
    """The one apt-get that installs."""
    return (
        'DEBIAN_FRONTEND=noninteractive apt-get -y -o Dpkg::Options::="--force-confdef" '
        '-o Dpkg::Options::="--force-confold" install --no-install-recommends --allow-downgrades '
        f"-o DPkg::Lock::Timeout=300 {packages}"
    )


def first_deploy(*roles: str) -> list[str]:
    """Every command that makes a bare host carry these roles, in order, the reading ones of apt left out."""
    led = [role for role in roles if all_roles()[role].forwarded_port]
    started = sorted(roles)
    unit_of = "/etc/systemd/system/redis-{}.service".format
    written = {f"/etc/redis/{role}.{kind}": f"root:redis-{role} 0640" for role in roles for kind in ("acl", "conf")}
    written |= {unit_of(role): "root:root 0644" for role in roles}
    begun = [f"caas-redis-begun-{role}" for role in started if not all_roles()[role].appendonly]
    written |= {
        f"/etc/systemd/system/{unit}.{kind}": "root:root 0644" for unit in begun for kind in ("path", "service")
    }
    written |= {"/etc/redis/inner-port.nft": "root:root 0644", unit_of("inner-port"): "root:root 0644"} if led else {}
    steps = {path: f"write {path} {mode}" for path, mode in written.items()}
    steps |= {f"/var/lib/redis/{role}": data_directory(role) for role in roles}
    steps |= {"/etc/redis": directory("root", "root", "0711", "/etc/redis")}
    saved = [f"{unit}.path" for unit in begun]
    own = [f"redis-{role}.service" for role in started]
    units = " ".join([*saved, *(["redis-inner-port.service"] if led else []), *own])
    first = " ".join(f"redis-{role}.service" for role in started)
    return [
        "systemctl mask --now redis-server.service",
        f"write {FILES[0]} root:root 0644",
        directory("root", "root", "0755", "/etc/needrestart"),
        directory("root", "root", "0755", "/etc/needrestart/conf.d"),
        f"write {FILES[1]} root:root 0644",
        "apt-get update",
        "touch /var/lib/apt/periodic/update-success-stamp",
        install_command("nftables redis-server redis-tools" if led else "redis-server redis-tools"),
        directory("root", "root", "0755", "/etc/sysusers.d"),
        *(f"write /etc/sysusers.d/redis-{role}.conf root:root 0644" for role in started),
        f"systemd-sysusers {' '.join(f'/etc/sysusers.d/redis-{role}.conf' for role in started)}",
        "dpkg-statoverride --force-statoverride-add --update --add root root 711 /etc/redis",
        "dpkg-statoverride --force-statoverride-add --add root root 711 /var/lib/redis",
        f"write {FILES[2]} root:root 0644",
        f"write {FILES[3]} root:root 0644",
        f"sysctl --quiet --load={FILES[2]}",
        f"systemd-tmpfiles --create {FILES[3]}",
        "own-root /var/lib/redis",
        *(steps[path] for path in sorted(steps) if path.startswith("/etc/systemd/")),
        "systemctl daemon-reload",
        *(steps[path] for path in sorted(steps) if not path.startswith("/etc/systemd/")),
        f"systemctl unmask --quiet {units}",
        f"systemctl enable --quiet {units}",
        *(["systemctl reload-or-restart redis-inner-port.service"] if led else []),
        f"timeout 900 systemctl start {first} && systemctl reset-failed {first}",
        *(forget(role) for role in started),
        directory("root", "root", "0700", "/var/lib/caas-redis"),
        # Without a log there is no data on disk yet, which a start could lack.
        *(f"write /var/lib/caas-redis/{role} root:root 0644" for role in started if all_roles()[role].appendonly),
        *([f"systemctl start {' '.join(saved)}"] if saved else []),
    ]


def forget(role: str) -> str:
    """The command after an instance has passed its gate."""
    return f"rm -f /etc/redis/{role}.conf.previous /etc/redis/redis-{role}.service.previous"


def directory(owner: str, group: str, mode: str, path: str) -> str:
    """The command that makes a directory."""
    return f"install -d -o {owner} -g {group} -m 0{mode} {path}"


def data_directory(role: str) -> str:
    """The command that makes a role's directory."""
    return f"make-directory /var/lib/redis/{role} redis-{role} redis-{role} 0750"


def takes(*commands: str) -> Mapping[str, str]:
    """A script in which exactly these commands succeed, silently."""
    return {re.escape(command): "" for command in commands}


def bare_takes(*roles: str) -> Mapping[str, str]:
    """The script of a bare host: what it is prepared with, and what apt asks of it."""
    return {**takes(*first_deploy(*roles)), READ_STAMP: "", READ_PACKAGES: ""}


def changing(commands: list[str]) -> list[str]:
    """The commands without those that apt only reads with."""
    return [item for item in commands if not re.fullmatch(f"{READ_STAMP}|{READ_PACKAGES}", item, re.DOTALL)]


def production(**others: Site) -> dict[str, Site]:
    """The five production hosts, all right; others by role name."""
    return {host: others.get(role, Site([as_desired])) for host, role in PROD.items()}


def drifted(role: str, state: State, *commands: str) -> dict[str, Site]:
    """The five production hosts of which one is in another state, and right after these commands."""
    return production(**{role: Site([state, as_desired], takes(*commands))})
