"""Build Debian root trees from the packages of this machine's own mirror: no image is downloaded anywhere."""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

Suite = Literal["bookworm", "trixie"]
Mode = Literal["root", "unshare"]

# Program → the Debian package that brings it: what `make` has to install before a lab can be made.
NEEDED_PROGRAMS = {
    "mmdebstrap": "mmdebstrap",
    "systemd-nspawn": "systemd-container",
    "apt-ftparchive": "apt-utils",
    "ip": "iproute2",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "nsenter": "util-linux",
    "mount": "mount",
}
ARCHIVE_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")

# How this machine fetches packages: a tree has to be fetched the same way.
FETCH_SETTINGS = re.compile(r"Acquire::(Check-Valid-Until|Check-Date|https?::Proxy\b.*|Retries) \"[^\"]+\"")

# Names under which a Debian release may stand in a source line, without -security and the like.
RELEASES = {"bookworm", "trixie", "forky", "sid", "stable", "oldstable", "testing", "unstable"}


PROGRESS = 15  # seconds between two lines of progress


class LabError(Exception):
    """A lab machine cannot be made: the message says what was observed and what to run."""


def cache_dir() -> Path:
    """Where built trees are kept: outside the repository, so that a fresh clone finds them."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("CAAS_LAB_CACHE") or Path(base) / "caas-redis-lab")


def missing_packages(needed: Mapping[str, str] = NEEDED_PROGRAMS) -> list[str]:
    """Debian packages that a lab needs and this machine lacks, sorted; empty when all is there."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    missing = {package for program, package in needed.items() if not shutil.which(program, path=path)}
    if not ARCHIVE_KEYRING.exists():
        missing.add("debian-archive-keyring")
    return sorted(missing)


def mirror(kind: Literal["archive", "security"]) -> str:
    """URI of the Debian mirror that this machine's apt uses, so that no host name stands in the code."""
    suffix = {"archive": "", "security": "-security"}[kind]
    for line in _index_targets():
        release, component, label, uri = line.split("\t")
        named_debian = label in (
            "Debian",
            "Debian-Security",
            "$(LABEL)",
        )  # unexpanded before `apt-get update`
        if component == "main" and named_debian and release in {f"{name}{suffix}" for name in RELEASES}:
            return _behind_mirror_list(uri)
    raise LabError(f"apt sources: no Debian {kind} source found: add one to /etc/apt/sources.list.d, then run again")


def _index_targets() -> list[str]:
    """One line per package index of this machine's apt: release, component, label, URI."""
    wanted = "$(RELEASE)\t$(COMPONENT)\t$(LABEL)\t$(REPO_URI)"
    command = ["apt-get", "indextargets", "--format", wanted, "Created-By: Packages"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise LabError(f"apt sources: `{' '.join(command[:2])}` failed: {done.stderr.strip()}")
    return done.stdout.splitlines()


def _behind_mirror_list(uri: str) -> str:
    """Debian's cloud images name a file of mirrors: its first entry is as good as any."""
    if not uri.startswith("mirror+file:"):
        return uri
    lines = Path(uri.removeprefix("mirror+file:").rstrip("/")).read_text().split()
    return lines[0]


def sources(suite: Suite) -> list[str]:
    """Source lines of a suite: the main archive, its updates, and security."""
    archive, security = mirror("archive"), mirror("security")
    return [
        f"deb {archive} {suite} main",
        f"deb {archive} {suite}-updates main",
        f"deb {security} {suite}-security main",
    ]


def mmdebstrap(
    suite: Suite,
    target: Path,
    *,
    include: Sequence[str],
    customize_hooks: Sequence[str] = (),
    options: Sequence[str] = (),
    mode: Mode | None = None,
) -> None:
    """`target` (a directory, or a tar file by its name) holds `suite` with the packages `include`.

    Each hook is shell text; `$1` is the tree. Package lists stay in the tree. Without `mode`: root for root,
    unshare for everybody else. Progress goes to standard error, what mmdebstrap says to a log. Raises LabError with
    its last words.
    """
    command = ["mmdebstrap", f"--mode={mode or _default_mode()}", "--variant=minbase"]
    command += ["--skip=cleanup/apt/lists", f"--include={','.join(include)}"]
    command += [f"--aptopt={setting}" for setting in _fetch_settings()]
    command += [f"--customize-hook={hook}" for hook in customize_hooks]
    command += [*options, suite, str(target), *sources(suite)]
    run_logged(
        command,
        f"making a Debian {suite} tree",
        cache_dir() / f"mmdebstrap-{suite}-{os.getpid()}.log",
        "once, a minute or two",
    )


def _default_mode() -> Mode:
    return "root" if os.geteuid() == 0 else "unshare"


def _fetch_settings() -> list[str]:
    dump = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, check=True).stdout
    return [found.group(0) for found in map(FETCH_SETTINGS.match, dump.splitlines()) if found]


def run_logged(command: Sequence[str], thing: str, log: Path, usually: str, cwd: Path | None = None) -> None:
    """Run with all that it says in `log`; standard error has a line now and then. LabError with its last words."""
    log.parent.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    print(f"{thing}: {usually} (its log: {log})", file=sys.stderr, flush=True)
    with (
        log.open("w") as out,
        subprocess.Popen(command, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=out) as process,
    ):
        while True:
            try:
                process.wait(PROGRESS)
                break
            except subprocess.TimeoutExpired:
                print(f"{thing}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    if process.returncode:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
        raise LabError(f"{thing}: {command[0]} ended with {process.returncode}, expected 0 (all of it: {log}):\n{tail}")


def recipe_key(*parts: object) -> str:
    """Short hash of everything a tree is made from: another recipe is another cache entry."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:12]


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """One process at a time is in the body; the lock file is beside `path`, whose directory exists then."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with Path(f"{path}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def build_once(path: Path, build: Callable[[Path], None]) -> Path:
    """`path` exists, complete: built beside it by `build` and renamed, by one process at a time."""
    with locked(path):
        if not path.exists():
            unfinished = path.with_name(f"{path.name}.unfinished")
            _remove(unfinished)
            build(unfinished)
            unfinished.rename(path)
    return path


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
