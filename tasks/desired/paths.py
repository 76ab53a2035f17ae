"""Where everything of the tier lies on a host: paths, unit names. Contracts of design.md §4."""

from __future__ import annotations

from tasks.catalogue.roles import Role

PACKAGED_UNIT = "redis-server.service"
INNER_PORT_UNIT = "redis-inner-port.service"
INNER_PORT_RULES = "/etc/redis/inner-port.nft"
INNER_PORT_TABLE = "redis_inner_port"  # of nftables, family ip
SYSCTL_FILE = "/etc/sysctl.d/60-redis.conf"
THP_FILE = "/etc/tmpfiles.d/60-redis-thp.conf"
APT_PIN_FILE = "/etc/apt/preferences.d/60-redis"
UNITS = "/etc/systemd/system"
LOCK_DIRECTORY = "/run/caas-redis"  # root's own, as RECORDS: whoever can read a lock's file can hold it
LOCK_FILE = f"{LOCK_DIRECTORY}/deploy.lock"
SYSUSERS = "/etc/sysusers.d"
CONFIG_DIRECTORY = "/etc/redis"
DATA_ROOT = "/var/lib/redis"
RECORDS = "/var/lib/caas-redis"  # root's own: what no role can change or read, nor a disk that is not mounted
DEPLOYS_FILE = f"{RECORDS}/deploys.jsonl"  # what deploys have changed here
NEW = ".new"  # ends the name of a log that is not complete yet: Redis looks for no such name
OLD = ".old"  # of a log that no server loads any more; behind it when, of one that lay there before: -YYYYMMDDHHMMSS
REPLACED = ".replaced-"  # of data in whose place a restore has put a copy; behind it when, as YYYYMMDDHHMMSS
FAILED = "-failed"  # behind that, of a copy that was in place and is not any more: its server may have served it
PREVIOUS = ".previous"  # ends the name of what a roll back goes back to


def unit_name(role: str) -> str:
    """The systemd unit of a role."""
    return f"redis-{role}.service"


def user_name(role: str) -> str:
    """The user, and its group, that a role's server runs as and its data belongs to."""
    return f"redis-{role}"


def account_file(role: str) -> str:
    """What makes a role's user. It stays when the role leaves, as the user does: kept files have its number."""
    return f"{SYSUSERS}/{user_name(role)}.conf"


def role_of(unit: str) -> str:
    """The role whose unit this is."""
    return unit.removeprefix("redis-").removesuffix(".service")


def config_file(role: str) -> str:
    """The redis.conf of a role."""
    return f"{CONFIG_DIRECTORY}/{role}.conf"


def acl_file(role: str) -> str:
    """The ACL file of a role."""
    return f"{CONFIG_DIRECTORY}/{role}.acl"


def tls_files(role: str) -> tuple[str, str]:
    """A role's certificate with its key, and the certificates of whom it trusts.

    One file for the two that have to fit together: a start, whenever it comes, finds both of before or both new.
    """
    return f"{CONFIG_DIRECTORY}/{role}.pem", f"{CONFIG_DIRECTORY}/{role}.ca"


def old_tls_files(role: str) -> tuple[str, str]:
    """Where versions before had certificate and key, each for itself."""
    return f"{CONFIG_DIRECTORY}/{role}.crt", f"{CONFIG_DIRECTORY}/{role}.key"


def start_files(role: str) -> tuple[str, str]:
    """What a role's process is started from, and what a failed start is rolled back to: configuration and unit."""
    return config_file(role), f"{UNITS}/{unit_name(role)}"


def previous_file(path: str) -> str:
    """Where the text that a process was started from is kept until its successor has passed its gate."""
    return f"{CONFIG_DIRECTORY}/{path.rpartition('/')[2]}{PREVIOUS}"


def data_directory(role: str) -> str:
    """Where a role keeps its append-only file and snapshots."""
    return f"{DATA_ROOT}/{role}"


def root_directory(role: str) -> str:
    """What is / for a role's server: mounts only, made before each start."""
    return f"/run/redis-root/{role}"


def log_directory(role: Role) -> str:
    """Where a role keeps the files of its append-only log."""
    return f"{data_directory(role.name)}/{role.appenddirname}"


def manifest_file(role: Role) -> str:
    """What names the files of a role's append-only log; without it they are not loaded."""
    return f"{log_directory(role)}/{role.appendfilename}.manifest"


def snapshot_file(role: Role) -> str:
    """A role's RDB file."""
    return f"{data_directory(role.name)}/{role.dbfilename}"


def loaded_file(role: Role) -> str:
    """What a start of the role looks for: without it the role begins empty."""
    return manifest_file(role) if role.appendonly else snapshot_file(role)


def marker_file(role: str) -> str:
    """Where it is written that a role's data is being adopted; while it is there, the role does not start."""
    return f"{RECORDS}/{role}.adopting"


def old_marker_file(role: str) -> str:
    """Where versions before wrote that, and where the role itself can write it: it is never believed."""
    return f"{data_directory(role)}/adopting"


def job_lock(role: str) -> str:
    """What a job with a role's files holds while it runs."""
    return f"{LOCK_DIRECTORY}/{role}.lock"


def begun_file(role: str) -> str:
    """Where it is written that a role has run on a host: a start of it that finds no data then is a mistake."""
    return f"{RECORDS}/{role}"


BACKUP_TOOLS = "/usr/local/lib/caas-redis"  # what the units of backups run
BACKUP_UNITS = "caas-redis-"  # begins their names: `redis-ROLE.service` is a role's, whatever that is called
METRICS_UNIT = f"{BACKUP_UNITS}metrics.service"
EXPORTER_ROOT = "/run/caas-redis-metrics"  # what is / for it: mounts only, made before each start
PACKAGED_EXPORTER = "prometheus-redis-exporter.service"
# Of what it is started with: no file of a role has such a name, whatever that is called.
EXPORTER_PASSWORDS = f"{CONFIG_DIRECTORY}/metrics.passwords"
EXPORTER_CA = f"{CONFIG_DIRECTORY}/metrics.authorities"
EXPORTER_PAIR = f"{CONFIG_DIRECTORY}/metrics.shown"


def begun_unit(role: str) -> str:
    """What notes that a role without a log has saved: a service, and a path that starts it."""
    return f"{BACKUP_UNITS}begun-{role}"


def backup_unit(role: str) -> str:
    """What makes a role's copies: a service and a timer of this name."""
    return f"{BACKUP_UNITS}backup-{role}"


def proof_unit(role: str) -> str:
    """What proves them: a service and a timer of this name."""
    return f"{BACKUP_UNITS}proof-{role}"


def address_unit(role: str) -> str:
    """What keeps a role's address on an interface of its host."""
    return f"{BACKUP_UNITS}address-{role}.service"


def backup_file(role: str) -> str:
    """The repository of a role's backups, and what opens it: for root alone."""
    return f"{CONFIG_DIRECTORY}/{role}.backup"


def backup_record(role: str) -> str:
    """What came of a role's last copy."""
    return f"{RECORDS}/{role}.backup"


def life_record(role: str) -> str:
    """Of which data a role's copies are: beside what came of the last one, which a person may remove."""
    return f"{RECORDS}/{role}.life"


def unrestored_record(role: str) -> str:
    """What ends a restore at the next boot, should its host go down amid it: there while one is under way."""
    return f"{RECORDS}/{role}.restoring"


def unrestored_unit(role: str) -> str:
    """The unit that does, which each boot starts while there is such a record."""
    return f"{BACKUP_UNITS}unrestored-{role}.service"


def proof_record(role: str) -> str:
    """What came of the last proof of one."""
    return f"{RECORDS}/{role}.proof"


PROVER = "caas-redis-proof"  # the user that reads and loads copies of other hosts' roles; no role's: those begin redis-
PROVER_FILE = f"{SYSUSERS}/{PROVER}.conf"
PROOFS = "/var/lib/caas-redis-proof"  # where copies are unpacked that are proved


def scratch_directory(role: str) -> str:
    """Where a copy of a role lies while it is proved."""
    return f"{PROOFS}/{role}"


def rotation_file(role: str) -> str:
    """Where it is written since when users of a role have more than one password: names and times, nothing else."""
    return f"{RECORDS}/{role}.rotation"


def moved_file(role: str) -> str:
    """Where it is written, in place of that it has run here, that another host has newer data of a role."""
    return f"{RECORDS}/{role}.moved"


def trusted_file(role: str) -> str:
    """Where it is written which `ca` a role's clients were last checked by: its SHA-256, which is no secret."""
    return f"{RECORDS}/{role}.ca"


def credential(unit: str, name: str) -> str:
    """Where it lies, for as long as its process lives, what a unit was started with."""
    return f"/run/credentials/{unit}/{name}"


def copy_file(role: str) -> str:
    """What a copy of a role's data is started from: its configuration, and whom it copies. It has a password."""
    return f"{CONFIG_DIRECTORY}/{role}.copy"


def copy_drop_in(role: str) -> str:
    """What starts a role as a copy. While it is there, its server is one, which has never served anybody."""
    return f"{UNITS}/{unit_name(role)}.d/copy.conf"


def handed_over_drop_in(role: str) -> str:
    """What keeps a role from its next start: another host has it, or a handover there was cut off."""
    return f"{UNITS}/{unit_name(role)}.d/handed-over.conf"


def guard_file(role: str) -> str:
    """What asks before a start of a role that has a standby whether the other one of the pair serves."""
    return f"{BACKUP_TOOLS}/guard-{role}"


def peer_file(role: str) -> str:
    """What the other one of a pair is asked by: for root alone."""
    return f"{CONFIG_DIRECTORY}/{role}.peer"


def served_file(role: str) -> str:
    """Where it is noted that a role of a pair serves here, until the host is booted anew."""
    return f"{LOCK_DIRECTORY}/{role}.served"


def promoted_file(role: str) -> str:
    """Where it is written that nobody can have been put in the place of this host for a role of a pair."""
    return f"{RECORDS}/{role}.promoted"
