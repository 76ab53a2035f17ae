"""Throw-away servers: what a second redis-server, without port or users, does for a role before its own one runs.

One tries a candidate configuration and unit before they replace the good ones (run by tasks/steps/trial.py); one
turns data on disk into the form that the configuration will load (tasks/steps/convert.py). Pure: scripts as text.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Literal

from tasks.catalogue.acl_rules import DEFAULT_LINE
from tasks.desired.host import Host, Instance
from tasks.desired.paths import (
    INNER_PORT_RULES,
    INNER_PORT_UNIT,
    NEW,
    OLD,
    UNITS,
    data_directory,
    manifest_file,
    snapshot_file,
)
from tasks.desired.rendering import config_text

Form = Literal["log", "snapshot"]

TRIAL_PATIENCE = 60  # seconds for an empty server to come up; a virtual machine without KVM takes three
LOAD_PATIENCE = 900  # seconds to load a data set and write it anew; 512 MB take about two
UNUSED_HASH = "0" * 64  # in a trial only the form of a user's line matters

# `answers`: the server in $run says anything at all. `say`: one command, its reply on one line.
_SERVER = r"""
run={run}
say() {{ redis-cli -s "$run/socket" --no-auth-warning "$@" 2>&1; }}
cleanup() {{ [ -z "${{pid:-}}" ] || kill -KILL "$pid" 2>/dev/null; rm -rf "$run"; }}
rm -rf "$run"
trap cleanup EXIT
install -d -m 0700 -o redis -g redis "$run" || exit 1
cat >"$run/redis.conf" <<'@@'
{config}@@
ulimit -n {descriptors} 2>/dev/null  # a container may not allow it; without it Redis lowers maxclients
umask 077
serve() {{
  setpriv --reuid=redis --regid=redis --init-groups redis-server "$run/redis.conf" >"$run/log" 2>&1 </dev/null & pid=$!
  count=0
  until say PING | grep -qE '{ready}'; do
    count=$((count + 1))
    if ! kill -0 "$pid" 2>/dev/null; then
      # What it says of itself on every start is no reason.
      grep -vE ' [*] |^$|Memory overcommit|oO0OoO0OoO0Oo|just started|Server initialized' "$run/log" | tail -n 12
      exit 1
    fi
    [ "$count" -le {tries} ] || {{ tail -n 3 "$run/log"; echo "not up within {patience} s"; exit 1; }}
    sleep 0.1
  done
}}
"""


def try_script(instance: Instance) -> str:
    """Shell that succeeds when the installed redis-server comes up with the role's candidate configuration.

    And when systemd finds nothing wrong with its unit. What they say against it is printed. Leaves nothing behind.
    """
    run = f"/run/redis-trial-{instance.name}"
    unit = f"{run}/{instance.unit}"
    changes = {"dir": run, "unixsocket": f"{run}/socket", "unixsocketperm": "700"}
    return (
        _server(instance, run, _users(instance, _config(instance, changes)), TRIAL_PATIENCE, "PONG|NOAUTH")
        + f"{_here(unit, instance.unit_text)}{_verify(unit)}serve\n"
    )


def try_inner_port_script(host: Host) -> str:
    """Shell that succeeds when nft and systemd find nothing wrong with the inner port's rules and unit."""
    texts = {file.path: file.content or "" for file in host.files}
    run = "/run/redis-trial-inner-port"
    rules, unit = f"{run}/rules.nft", f"{run}/{INNER_PORT_UNIT}"
    return (
        f"rm -rf {run}; trap 'rm -rf {run}' EXIT; install -d -m 0700 {run} || exit 1\n"
        f"{_here(rules, texts[INNER_PORT_RULES])}{_here(unit, texts[f'{UNITS}/{INNER_PORT_UNIT}'])}"
        f"nft --check --file {rules} || exit 1\n{_verify(unit)}"
    )


def convert_script(instance: Instance, to: Form, limit: int) -> str:
    """Shell that turns the data of a stopped instance into the form its configuration loads, losing none.

    to log: dump.rdb becomes an append-only log, built beside and renamed when complete. to snapshot: the log becomes
    dump.rdb, and the log is put aside as `appenddirname`.old. Refuses a data set of more than `limit` bytes (0: any):
    the role's maxmemory would evict from it at once. Prints INFO keyspace. Done already: succeeds.
    docs: redis-facts §2 (a start with `appendonly yes` and no manifest begins empty).
    """
    role, directory = instance.role, data_directory(instance.name)
    log, manifest = f"{directory}/{role.appenddirname}", manifest_file(role)
    run = f"/run/redis-convert-{instance.name}"
    changes = {
        "dir": directory,
        "unixsocket": f"{run}/socket",
        "unixsocketperm": "700",
        "save": "",
        "appendonly": "no" if to == "log" else "yes",
        "appenddirname": role.appenddirname + (NEW if to == "log" else ""),
        # All of it first: what does not fit is refused below, not evicted.
        "maxmemory": "0",
        "maxmemory-policy": "noeviction",
        # And whole: what it has to leave out ends it, with the reason and none of the data (docs/decisions/0009).
        "propagation-error-behavior": "panic",
        "crash-log-enabled": "no",
    }
    # One at a time: a conversion whose controller died goes on by itself.
    once = f"systemctl stop {instance.unit} 2>/dev/null\nexec 9<{directory}; flock --wait {LOAD_PATIENCE} 9 || exit 1\n"
    done = f"[ ! -e {manifest} ]" if to == "snapshot" else f"[ -e {manifest} ]"
    fits = (
        f"used=$(say INFO memory | sed -n 's/^used_memory:\\([0-9]*\\).*/\\1/p')\n"
        f'if [ {limit} -gt 0 ] && [ "$used" -gt {limit} ]; then\n'
        f'  echo "the data set takes $used bytes, maxmemory is {limit}: raise maxmemory,"\n'
        f'  echo "or add --data allow_eviction=true"; exit 1\nfi\n'
    )
    work = _to_log(instance, log) if to == "log" else _to_snapshot(log)
    server = _server(instance, run, _config(instance, changes), LOAD_PATIENCE, "PONG")
    return f"{once}{done} && exit 0\n{server}{_prepare(instance, to, log)}serve\n{fits}{work}"


def _prepare(instance: Instance, to: Form, log: str) -> str:
    """Whoever put the data there, the server can read it and write beside; remains of an earlier attempt are gone."""
    directory, snapshot = data_directory(instance.name), snapshot_file(instance.role)
    if to == "log":
        return f"rm -rf {log}{NEW}\nchown redis:redis {directory} {snapshot} && chmod 0640 {snapshot}\n"
    return f"chown -R redis:redis {directory} {log}\n"


def _to_log(instance: Instance, log: str) -> str:
    return f"""
[ "$(say CONFIG SET appendonly yes)" = OK ] || {{ tail -n 12 "$run/log"; exit 1; }}
count=0
while :; do
  state=$(say INFO persistence)
  case $state in *aof_rewrite_in_progress:1*|*aof_rewrite_scheduled:1*) ;; *) break;; esac
  count=$((count + 1)); [ "$count" -le {LOAD_PATIENCE * 10} ] || {{ echo "not rewritten in time"; exit 1; }}
  sleep 0.1
done
case $state in *aof_last_bgrewrite_status:ok*) ;; *) tail -n 12 "$run/log"; exit 1;; esac
[ -s {log}{NEW}/{instance.role.appendfilename}.manifest ] || {{ echo "the log has no manifest"; exit 1; }}
say INFO keyspace
say SHUTDOWN NOSAVE
wait "$pid"; pid=
rmdir {log} 2>/dev/null
mv -T {log}{NEW} {log} && sync {data_directory(instance.name)}
"""


def _to_snapshot(log: str) -> str:
    return f"""
[ "$(say SAVE)" = OK ] || {{ tail -n 12 "$run/log"; exit 1; }}
say INFO keyspace
say SHUTDOWN NOSAVE
wait "$pid"; pid=
rm -rf {log}{OLD}
mv -T {log} {log}{OLD} && sync {log}{OLD}
"""


def _config(instance: Instance, changes: Mapping[str, str]) -> str:
    """The role's configuration for a server that nobody but root on this host can reach."""
    private = {"port": "0", "supervised": "no", "pidfile": "", "aclfile": ""}
    return config_text(instance.role, {**instance.settings, **private, **changes})


def _users(instance: Instance, config: str) -> str:
    """The configuration with the role's users in it, none of them with its password's hash."""
    users = [f"user {user.name} on #{UNUSED_HASH} {user.rules}" for user in instance.users]
    return "\n".join([config.rstrip("\n"), DEFAULT_LINE, *users, ""])


def _server(instance: Instance, run: str, config: str, patience: int, ready: str) -> str:
    return _SERVER.format(
        run=run,
        config=config,
        descriptors=instance.descriptors,
        ready=ready,
        tries=patience * 10,
        patience=patience,
    )


def _here(path: str, text: str) -> str:
    return f"cat >{shlex.quote(path)} <<'@@'\n{text}@@\n"


def _verify(unit: str) -> str:
    """systemd prints what it does not understand and goes on: every word about this unit is a fault."""
    return (
        f'said=$(systemd-analyze verify --man=no --recursive-errors=no {unit} 2>&1) || {{ echo "$said"; exit 1; }}\n'
        f'if echo "$said" | grep -F {unit}:; then exit 1; fi\n'
    )
