#!/bin/sh
# A throw-away redis-server that nobody but root on this host can reach does one task for a role before the role's own
# server runs (tasks/steps/throwaway.py). What is wrong is printed. Leaves nothing else behind.
#
# try: the candidate configuration comes up inside the unit's sandbox, and systemd finds nothing wrong with the unit.
# log: the snapshot becomes an append-only log, built beside and renamed when it is complete. Done already: succeeds.
# snapshot: the log becomes a snapshot, and is put aside. Done already: succeeds.
# shellcheck shell=dash  # POSIX has no ulimit -n
: "${task?}" "${run?}" "${config?}" "${descriptors?}" "${ready?}" "${patience?}" "${unit?}"
case $task in
try) : "${unit_text?}" "${trial?}" "${sandbox?}" ;;
*) : "${directory?}" "${snapshot?}" "${log?}" "${new_log?}" "${old_log?}" "${manifest?}" "${new_manifest?}" "${limit?}" ;;
esac
umask 077

# One command, its reply on one line.
say() { redis-cli -s "$run/socket" --no-auth-warning "$@" 2>&1; }

cleanup() {
  [ -z "${trial:-}" ] || systemctl stop "$trial" 2>/dev/null
  [ -z "${pid:-}" ] || kill -KILL "$pid" 2>/dev/null
  rm -rf "$run"
}

make_directory() {
  rm -rf "$run"
  trap cleanup EXIT
  install -d -m 0700 -o redis -g redis "$run" || exit 1
  printf '%s' "$config" >"$run/redis.conf"
  chown redis:redis "$run/redis.conf"
  # A container may not allow it; without it Redis lowers maxclients.
  ulimit -n "$descriptors" 2>/dev/null
}

begin() {
  setpriv --reuid=redis --regid=redis --init-groups redis-server "$run/redis.conf" >"$run/log" 2>&1 </dev/null &
  pid=$!
}

# As a unit of its own with the properties of the role's: what only they forbid is found here. Not --wait, which needs
# D-Bus. What systemd itself cannot do for it stands in its journal.
begin_in_sandbox() {
  set --
  while IFS= read -r property; do
    set -- "$@" "--property=$property"
  done <<PROPERTIES
$sandbox
PROPERTIES
  # Remains of an earlier attempt.
  systemctl stop "$trial" 2>/dev/null
  systemctl reset-failed "$trial" 2>/dev/null
  since=$(date +%s)
  if ! systemd-run --quiet --collect --unit="$trial" --service-type=exec "$@" --property="StandardOutput=file:$run/log" \
    --property=StandardError=inherit /usr/bin/redis-server "$run/redis.conf" 2>"$run/said"; then
    cat "$run/said"
    journalctl --quiet --no-pager --output=cat --since="@$since" --unit="$trial" | tail -n 8
    exit 1
  fi
}

lives() {
  if [ -n "${pid:-}" ]; then kill -0 "$pid" 2>/dev/null; else systemctl is-active --quiet "$trial"; fi
}

# The server says anything at all.
serve() {
  count=0
  until say PING | grep -qE "$ready"; do
    count=$((count + 1))
    if ! lives; then
      # What it says of itself on every start is no reason.
      grep -vE ' [*] |^$|Memory overcommit|oO0OoO0OoO0Oo|just started|Server initialized' "$run/log" | tail -n 12
      exit 1
    fi
    [ "$count" -le $((patience * 10)) ] || { tail -n 3 "$run/log"; echo "not up within $patience s"; exit 1; }
    sleep 0.1
  done
}

# systemd prints what it does not understand and goes on: every word about this unit is a fault.
verify_unit() {
  printf '%s' "$unit_text" >"$run/$unit"
  said=$(systemd-analyze verify --man=no --recursive-errors=no "$run/$unit" 2>&1) || { echo "$said"; exit 1; }
  if echo "$said" | grep -F "$run/$unit:"; then exit 1; fi
}

# One at a time: a conversion whose controller died goes on by itself.
claim() {
  systemctl stop "$unit" 2>/dev/null
  exec 9<"$directory"
  flock --wait "$patience" 9 || exit 1
}

fail() {
  tail -n 12 "$run/log"
  exit 1
}

# The role's limit would evict from a larger data set at once.
refuse_too_much() {
  used=$(say INFO memory | sed -n 's/^used_memory:\([0-9]*\).*/\1/p')
  if [ "$limit" -gt 0 ] && [ "$used" -gt "$limit" ]; then
    echo "the data set takes $used bytes, maxmemory is $limit: raise maxmemory,"
    echo "or add --data allow_eviction=true"
    exit 1
  fi
}

write_log() {
  [ "$(say CONFIG SET appendonly yes)" = OK ] || fail
  count=0
  while :; do
    state=$(say INFO persistence)
    case $state in *aof_rewrite_in_progress:1* | *aof_rewrite_scheduled:1*) ;; *) break ;; esac
    count=$((count + 1))
    [ "$count" -le $((patience * 10)) ] || { echo "not rewritten in time"; exit 1; }
    sleep 0.1
  done
  case $state in *aof_last_bgrewrite_status:ok*) ;; *) fail ;; esac
  [ -s "$new_manifest" ] || { echo "the log has no manifest"; exit 1; }
}

# What it holds is printed, and it ends without writing anything more.
end() {
  say INFO keyspace
  say SHUTDOWN NOSAVE
  wait "$pid"
  pid=
}

case $task in
try)
  make_directory
  verify_unit
  begin_in_sandbox
  serve
  ;;
log)
  claim
  [ -e "$manifest" ] && exit 0
  make_directory
  # Remains of an earlier attempt.
  rm -rf "$new_log"
  # Whoever put the data there, the server can read it and write beside.
  chown redis:redis "$directory" "$snapshot" && chmod 0640 "$snapshot"
  begin
  serve
  refuse_too_much
  write_log
  end
  rmdir "$log" 2>/dev/null
  mv -T "$new_log" "$log" && sync "$directory"
  ;;
snapshot)
  claim
  [ -e "$manifest" ] || exit 0
  make_directory
  chown -R redis:redis "$directory" "$log"
  begin
  serve
  refuse_too_much
  [ "$(say SAVE)" = OK ] || fail
  end
  rm -rf "$old_log"
  mv -T "$log" "$old_log" && sync "$old_log"
  ;;
esac
