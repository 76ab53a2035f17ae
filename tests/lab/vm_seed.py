"""What makes a virtual machine itself (name, addresses, keys): written on this machine, unpacked by its first boot."""

import subprocess
import tarfile
from io import BytesIO
from pathlib import Path
from time import time

from tests.lab.vm_layouts import VmSpec

ADMIN = 1000  # uid and gid of the sudo user: the first one that the image's useradd gave


def make_key(path: Path, comment: str) -> Path:
    """An ed25519 key pair is at `path` and `path`.pub; one that exists stays."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not path.exists():
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", path], check=True)
    return path


def public(key: Path) -> str:
    return Path(f"{key}.pub").read_text()


def write_seed(path: Path, spec: VmSpec, *, login_key: Path, host_key: Path) -> None:
    """The tar file `path` holds the machine's own files, with their owners; it needs no root to write."""
    path.touch(mode=0o600)
    with tarfile.open(path, "w") as seed:
        _add(seed, "etc/hostname", f"{spec.name}\n")
        _add(seed, "etc/hosts", f"127.0.0.1 localhost\n127.0.1.1 {spec.name}\n")
        _add(seed, "etc/systemd/network/10-lab.network", _network(spec.addresses))
        _add(seed, "etc/ssh/ssh_host_ed25519_key", host_key.read_text(), mode=0o600)
        _add(seed, "etc/ssh/ssh_host_ed25519_key.pub", public(host_key))
        for home, owner in (("root", 0), ("home/admin", ADMIN)):
            _add(seed, f"{home}/.ssh", None, mode=0o700, owner=owner)
            _add(seed, f"{home}/.ssh/authorized_keys", public(login_key), mode=0o600, owner=owner)


def _add(seed: tarfile.TarFile, name: str, text: str | None, *, mode: int = 0o644, owner: int = 0) -> None:
    """Add a file, or a directory when there is no text."""
    entry = tarfile.TarInfo(name)
    entry.type = tarfile.DIRTYPE if text is None else tarfile.REGTYPE
    entry.mode, entry.uid, entry.gid, entry.mtime = mode, owner, owner, time()
    data = (text or "").encode()
    entry.size = len(data)
    seed.addfile(entry, BytesIO(data))


def _network(addresses: tuple[str, ...]) -> str:
    """As an administrator would give a machine its static addresses."""
    lines = ["[Match]", "Name=eth0", "[Network]", "LinkLocalAddressing=no", "LLMNR=no", "IPv6AcceptRA=no"]
    return "\n".join([*lines, *(f"Address={address}/24" for address in addresses), ""])
