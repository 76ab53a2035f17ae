"""What a lab machine contains: a bare Debian with ssh, and an apt repository that needs no network."""

from pathlib import Path

from tests.lab.debian import Suite, build_once, cache_dir, mmdebstrap, recipe_key

# Neither python3 nor redis nor nftables is there: a deploy has to bring what it needs.
MACHINE_PACKAGES = (
    "dbus",
    "iproute2",
    "netbase",
    "openssh-server",
    "procps",
    "sudo",
    "systemd",
    "systemd-sysv",
    "udev",
)

# Every version of Redis that the suite has is in the machine's repository, so that tests can pin and upgrade.
OFFLINE_HOOK = r"""set -eu
apt_get() { chroot "$root" apt-get -qq --no-install-recommends "$@"; }
root=$1
apt_get clean
for version in $(chroot "$root" apt-cache madison redis-server | cut -d'|' -f2 | sort -u); do
    apt_get --download-only install redis-server=$version redis-tools=$version
done
apt_get --download-only install nftables needrestart unattended-upgrades restic rclone iputils-arping \
    prometheus-redis-exporter
mkdir -p "$root/srv/apt"
mv "$root"/var/cache/apt/archives/*.deb "$root/srv/apt/"
cd "$root/srv/apt"
apt-ftparchive packages . > Packages
apt-ftparchive -o APT::FTPArchive::Release::Origin=caas-lab release . > Release.new
mv Release.new Release
rm -rf "$root"/etc/apt/sources.list.d/* "$root"/etc/apt/apt.conf.d/99mmdebstrap "$root"/var/lib/apt/lists/*
echo 'deb [trusted=yes] file:/srv/apt ./' > "$root/etc/apt/sources.list"
apt_get update
"""

# Keys only; `admin` stands for the sudo user of a usual machine.
LOGIN_HOOK = r"""set -eu
chroot "$1" useradd --create-home --shell /bin/bash admin
echo 'admin ALL=(ALL:ALL) NOPASSWD: ALL' > "$1/etc/sudoers.d/admin"
chmod 0440 "$1/etc/sudoers.d/admin"
echo 'PasswordAuthentication no' > "$1/etc/ssh/sshd_config.d/lab.conf"
"""

MACHINE_HOOKS = (LOGIN_HOOK, OFFLINE_HOOK)

# Useless in a container of a test, and paid forty times.
MASKED_UNITS = (
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "console-getty.service",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "fstrim.timer",
    "getty.target",
    "systemd-logind.service",
    "systemd-networkd-wait-online.service",
    "systemd-timesyncd.service",
)

CONTAINER_HOOK = f"""set -eu
rm -f "$1"/etc/ssh/ssh_host_*
chroot "$1" systemctl enable systemd-networkd.service
chroot "$1" systemctl mask {" ".join(MASKED_UNITS)}
"""


def container_tree(suite: Suite) -> Path:
    """The cached root tree of a container of `suite`, built when it is not there; never write to it."""
    hooks = (*MACHINE_HOOKS, CONTAINER_HOOK)
    key = recipe_key(suite, MACHINE_PACKAGES, hooks)

    def build(target: Path) -> None:
        mmdebstrap(suite, target, include=MACHINE_PACKAGES, customize_hooks=hooks)

    return build_once(cache_dir() / "trees" / f"{suite}-{key}", build)
