"""The names of host data and `--data` that this repository reads: one that only looks like them is a slip. Pure.

pyinfra takes any name, so `drift_reprot=FILE` writes no report and `redis_overide` changes nothing, and nobody is told.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from difflib import get_close_matches

from tasks.catalogue.backup import NAME as BACKUP
from tasks.catalogue.ignored import NAME as IGNORE
from tasks.catalogue.interface import NAME as INTERFACE
from tasks.catalogue.interface import OWN as OWN_ADDRESS
from tasks.catalogue.likeness import LIKE, MEANT_FOR_DRILLS, OVERRIDES
from tasks.catalogue.limits import NAME as HEALTH
from tasks.catalogue.metrics import NAME as METRICS
from tasks.catalogue.requested import WORDS
from tasks.catalogue.rotation import ANYWAY
from tasks.catalogue.scaling import SCALE
from tasks.catalogue.secrets_command import NAME as SECRETS_COMMAND

RESTORE, AT, INTO, ANYWAY_RESTORE = "restore", "at", "into", "anyway"  # of tasks/restore.py
HANDOVER, PROMOTE, OLD_IS_OFF, DATA_IS_LOST = "handover", "promote", "old_is_off", "old_data_is_lost"  # of handover.py
LIST, ONLY = "list", "backup"  # of tasks/backup.py: show what there is; these roles only
TRIED = "redis_tried_from_others"  # False where a packet filter admits none of the other hosts
REPORTS = ("drift_report", "drift_page", "drift_metrics")
STATUS_REPORT = "status_report"
STATUS_METRICS = "status_metrics"
STATUS_ROLE = "role"  # the one that status shows whole
STATUS_HISTORY = "history"  # status shows what deploys have changed
STATUS_WATCH = "watch"  # seconds between two looks
STATUS_PATIENCE = "patience"  # seconds for hosts and servers to answer in, of which status waits for
STATUS_WORDS = (STATUS_REPORT, STATUS_METRICS, STATUS_ROLE, STATUS_HISTORY, STATUS_WATCH, STATUS_PATIENCE)
ENDPOINTS_DIR = "endpoints_dir"  # where each service's file is to be written
ENDPOINTS_PORT = "endpoints_port"  # assigned, or inner
DRILLS = "drills"  # which ones a rehearsal runs
FROM = "from"  # the commit that a rehearsal deploys first
CAME_FROM = "rehearsal_came_from"  # the commit that it has deployed
REHEARSALS = (CAME_FROM, "rehearsal_report", "rehearsal_page")
NAMES = (
    *(
        OVERRIDES,
        "redis_sysctl",
        "redis_secrets_file",
        SECRETS_COMMAND,
        "redis_version",
        MEANT_FOR_DRILLS,
        HEALTH,
        IGNORE,
        TRIED,
        BACKUP,
        INTERFACE,
        OWN_ADDRESS,
        METRICS,
    ),
    *(
        "allow_eviction",
        ANYWAY,
        *WORDS,
        *REPORTS,
        *STATUS_WORDS,
        ENDPOINTS_DIR,
        ENDPOINTS_PORT,
        DRILLS,
        LIST,
        ONLY,
        RESTORE,
        AT,
        INTO,
        ANYWAY_RESTORE,
        HANDOVER,
        PROMOTE,
        OLD_IS_OFF,
        DATA_IS_LOST,
        FROM,
        LIKE,
        SCALE,
        *REHEARSALS,
    ),
)
OURS = ("redis_", "drift_", "endpoints_", "rehearsal_", "status_")  # what begins so is meant for this repository
ALIKE = 0.8  # 0…1, of difflib: one letter of six may be another (adpot); address is no adopt


def slips(given: Mapping[str, Collection[str]]) -> Iterator[str]:
    """Names that nobody reads and that look like ours; `given`: names of data → the hosts that have them."""
    for name, hosts in sorted(given.items()):
        if name in NAMES or name.startswith("_"):
            continue
        near = get_close_matches(name.replace("-", "_").lower(), NAMES, 1, ALIKE)
        if near or name.startswith(OURS):
            meant = f"{near[0]}, or a name of your own" if near else f"one of {', '.join(NAMES)}"
            who = ", ".join(sorted(hosts)[:3]) + (f" and {len(hosts) - 3} more" if len(hosts) > 3 else "")
            yield f"{name}: nothing reads host data or --data of this name (on {who}), expected {meant}: correct it"


def idle_overrides(asked: Mapping[str, tuple[Collection[str], Collection[str]]]) -> Iterator[str]:
    """Overrides that change nothing; `asked`: host → the roles it carries, the roles it has overrides for."""
    carried = {role for roles, overridden in asked.values() for role in roles if role in overridden}
    idle = {role for _, overridden in asked.values() for role in overridden} - carried
    for role in sorted(idle):
        hosts = sorted(host for host, (_, overridden) in asked.items() if role in overridden)
        yield (
            f"redis_overrides: {role}: no host that has them carries {role} ({', '.join(hosts[:3])}), expected one in "
            f"group redis_{role}: give them to its host, or remove them"
        )
