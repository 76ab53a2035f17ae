"""Programs that tests run beside the labs: clients of services, and tools that keep secrets."""

from __future__ import annotations

import shutil
import sys
from functools import partial
from pathlib import Path

from tests.lab import debian
from tests.lab.debian import build_once, cache_dir, recipe_key, run_logged

# Program → the Debian package that brings it.
NEEDED_PROGRAMS = {
    "age": "age",
    "age-keygen": "age",
    "gpg": "gnupg",
    "gpgconf": "gnupg",
    "node": "nodejs",
    "npm": "npm",
    "openssl": "openssl",
    "pass": "pass",
}
HOSTS = Path(__file__).parents[1] / "hosts"
PINNED = HOSTS / "ioredis"
PINNED_S3 = HOSTS / "moto" / "requirements.txt"
PINNED_GRAFANA = HOSTS / "grafana" / "requirements.txt"
RECIPE = ("package.json", "package-lock.json", ".npmrc")


def missing_packages() -> list[str]:
    """Debian packages that these tests need and this machine lacks, sorted."""
    return debian.missing_packages(NEEDED_PROGRAMS)


def ioredis() -> Path:
    """A `node_modules` with the ioredis that its lock file pins; npm fetches it when it is not there yet."""
    key = recipe_key(*((PINNED / name).read_text() for name in RECIPE))
    return build_once(cache_dir() / "ioredis" / key, _install) / "node_modules"


def _install(target: Path) -> None:
    target.mkdir()
    for name in RECIPE:
        shutil.copy(PINNED / name, target)
    log = cache_dir() / f"{target.name}.log"
    run_logged(["npm", "ci", "--fetch-timeout=60000"], "fetching ioredis", log, "once, some seconds", cwd=target)


def moto() -> Path:
    """A PYTHONPATH of its own, as its lock file pins it: `python -m moto.server` there speaks S3."""
    return build_once(cache_dir() / "moto" / recipe_key(PINNED_S3.read_text()), partial(_packages, PINNED_S3))


def grafana_schema() -> Path:
    """A PYTHONPATH of its own, as its lock file pins it: what Grafana generates of its schema for Python."""
    key = recipe_key(PINNED_GRAFANA.read_text())
    return build_once(cache_dir() / "grafana" / key, partial(_packages, PINNED_GRAFANA))


def _packages(pinned: Path, target: Path) -> None:
    log = cache_dir() / f"{target.name}.log"
    pip = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--require-hashes"]
    run_logged(
        [*pip, "--target", str(target), "-r", str(pinned)], f"fetching {pinned.parent.name}", log, "once, some seconds"
    )


def prometheus() -> Path:
    """A directory with Debian's `prometheus` and `promtool`: unpacked, not installed, for that would start a server."""
    return build_once(cache_dir() / "prometheus" / recipe_key("usr/bin"), _unpack) / "usr" / "bin"


def _unpack(target: Path) -> None:
    target.mkdir()
    log = cache_dir() / f"{target.name}.log"
    fetch = "apt-get -q download prometheus && dpkg-deb -x prometheus_*.deb . && rm prometheus_*.deb"
    run_logged(["sh", "-c", fetch], "fetching prometheus", log, "once, some seconds", cwd=target)


def redis_programs() -> Path:
    """A directory with Debian's `redis-server` and `redis-cli` of this machine's release, which run here, unpacked."""
    return build_once(cache_dir() / "redis" / recipe_key(*OF_REDIS), _unpack_redis)


OF_REDIS = ("redis-tools", "liblzf1", "libjemalloc2", "libatomic1")


def _unpack_redis(target: Path) -> None:
    (target / "bin").mkdir(parents=True)
    log = cache_dir() / f"{target.name}.log"
    unpack = "for file in *.deb; do dpkg-deb -x $file . || exit 1; done; rm *.deb"
    fetch = f"apt-get -q download {' '.join(OF_REDIS)} && {{ {unpack}; }}"
    run_logged(["sh", "-c", fetch], "fetching redis-tools", log, "once, some seconds", cwd=target)
    libraries = next(target.glob("usr/lib/*/liblzf.so.1")).parent.relative_to(target)
    for name, program in (("redis-cli", "redis-cli"), ("redis-server", "redis-check-rdb")):
        # What it is called decides what it is.
        own = "${0%/bin/*}"
        text = f'#!/bin/bash\nLD_LIBRARY_PATH={own}/{libraries} exec -a {name} {own}/usr/bin/{program} "$@"\n'
        (target / "bin" / name).write_text(text)
        (target / "bin" / name).chmod(0o755)
