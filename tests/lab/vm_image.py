"""Build what the lab's virtual machines start from: a disk image, and its kernel and initrd beside it."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.lab.debian import LabError, Suite, build_once, cache_dir, mmdebstrap, recipe_key
from tests.lab.recipe import MACHINE_HOOKS, MACHINE_PACKAGES, MASKED_UNITS

VM_PACKAGES = (*MACHINE_PACKAGES, "e2fsprogs", "initramfs-tools", "linux-image-cloud-amd64", "zstd")
DISK_SIZE = "16G"  # sparse, for a machine that carries all roles: about 0.7 GB on the host

# A late address is one of the things that only a VM can show, and units order themselves after this one.
VM_MASKED_UNITS = (
    *(unit for unit in MASKED_UNITS if unit != "systemd-networkd-wait-online.service"),
    "e2scrub_reap.service",
)

SEED = "lab.seed"  # the systemd credential that carries a machine's own files: see vm_seed.py
SEED_UNIT = f"""[Unit]
Description=Write this machine's own name, address and keys
DefaultDependencies=no
After=systemd-remount-fs.service
Before=sysinit.target systemd-networkd.service
ConditionPathExists=!/var/lib/lab-seeded

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=tar --extract --file=/run/credentials/@system/{SEED} --directory=/
ExecStart=hostname --file /etc/hostname
# A power cut right after the first boot must not leave the mark without the files.
ExecStart=sync
ExecStart=touch /var/lib/lab-seeded

[Install]
WantedBy=sysinit.target
"""

# The initrd loads what leads to the disk and nothing else: under emulation every module costs.
VM_HOOK = f"""set -eu
etc=$1/etc
rm -f "$etc"/ssh/ssh_host_*
echo 'HostKey /etc/ssh/ssh_host_ed25519_key' > "$etc/ssh/sshd_config.d/lab-host-key.conf"
echo '/dev/vda / ext4 noatime 0 1' > "$etc/fstab"
printf 'MODULES=list\\nCOMPRESS=zstd\\n' > "$etc/initramfs-tools/conf.d/lab"
printf 'virtio_pci\\nvirtio_blk\\next4\\n' > "$etc/initramfs-tools/modules"
cat > "$etc/systemd/system/lab-seed.service" <<'UNIT'
{SEED_UNIT}UNIT
chroot "$1" systemctl enable lab-seed.service systemd-networkd.service systemd-networkd-wait-online.service
chroot "$1" systemctl mask {" ".join(VM_MASKED_UNITS)}
chroot "$1" update-initramfs -u
"""

# The tree passes through a temporary directory, because an unprivileged mmdebstrap cannot write into the cache.
# A tree that was all written at once leaves nothing for ext4 to initialise in the background of every machine.
MAKE_DISK = f"""set -eu
PATH=$PATH:/usr/sbin:/sbin
tree=$(mktemp --directory)
trap 'rm -rf "$tree"' EXIT
tar --extract --file "$1/tree.tar" --directory "$tree" --preserve-permissions --numeric-owner \\
    --xattrs --xattrs-include='*' --exclude='./dev/*'
cp "$tree"/boot/vmlinuz-* "$1/vmlinuz"
cp "$tree"/boot/initrd.img-* "$1/initrd"
mke2fs -q -t ext4 -m 0 -L root -N 262144 -J size=64 -E lazy_itable_init=0,lazy_journal_init=0 \\
    -d "$tree" "$1/disk.raw" {DISK_SIZE}
"""


@dataclass(frozen=True)
class Image:
    """A bootable disk and the kernel that belongs to it; never to be written to."""

    directory: Path

    @property
    def disk(self) -> Path:
        return self.directory / "disk.raw"

    @property
    def kernel(self) -> Path:
        return self.directory / "vmlinuz"

    @property
    def initrd(self) -> Path:
        return self.directory / "initrd"


def vm_image(suite: Suite) -> Image:
    """The cached image of `suite`, built when it is not there; needs no root."""
    hooks = (*MACHINE_HOOKS, VM_HOOK)
    key = recipe_key(suite, VM_PACKAGES, hooks, MAKE_DISK)

    def build(target: Path) -> None:
        target.mkdir()
        tree = target / "tree.tar"
        mmdebstrap(suite, tree, include=VM_PACKAGES, customize_hooks=hooks)
        _make_disk(target)
        tree.unlink()

    return Image(build_once(cache_dir() / "images" / f"{suite}-{key}", build))


def _make_disk(target: Path) -> None:
    """Turn `target`/tree.tar into disk, kernel and initrd, with root's own files owned by root."""
    namespace = [] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--map-auto"]
    done = subprocess.run([*namespace, "sh", "-c", MAKE_DISK, "sh", target], stderr=subprocess.PIPE, text=True)
    if done.returncode:
        raise LabError(f"disk image in {target}: mke2fs ended with {done.returncode}, expected 0:\n{done.stderr}")
    (target / "disk.raw").chmod(0o444)
