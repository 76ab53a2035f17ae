#!/bin/sh
# A candidate configuration comes up inside its unit's sandbox, in a throw-away server that nobody else can reach, and
# systemd finds nothing wrong with the unit (tasks/steps/trial.py). What is wrong is printed. Leaves nothing behind.
#
# Root's own files lie in `run`, where the server can write nothing; what the server writes lies in `work`, where root
# opens nothing.
: "${user?}" "${run?}" "${work?}" "${config?}" "${ready?}" "${patience?}" "${unit?}" "${unit_text?}" "${trial?}" "${sandbox?}"
umask 077

# One command, its reply on one line. As its user: whatever the server puts in the place of its socket, root does not speak to.
say() { setpriv --reuid="$user" --regid="$user" --clear-groups redis-cli -s "$work/socket" --no-auth-warning "$@" 2>&1; }

cleanup() {
  systemctl stop "$trial" 2>/dev/null
  rm -rf "$run"
}

# systemd prints what it does not understand and goes on: every word about this unit is a fault.
verify_unit() {
  printf '%s' "$unit_text" >"$run/$unit"
  said=$(systemd-analyze verify --man=no --recursive-errors=no "$run/$unit" 2>&1) || { echo "$said"; exit 1; }
  if echo "$said" | grep -F "$run/$unit:"; then exit 1; fi
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

# The server says anything at all.
serve() {
  count=0
  until say PING | grep -qE "$ready"; do
    count=$((count + 1))
    if ! systemctl is-active --quiet "$trial"; then
      # What it says of itself on every start is no reason.
      grep -vE ' [*] |^$|Memory overcommit|oO0OoO0OoO0Oo|just started|Server initialized' "$run/log" | tail -n 12
      exit 1
    fi
    [ "$count" -le $((patience * 10)) ] || { tail -n 3 "$run/log"; echo "not up within $patience s"; exit 1; }
    sleep 0.1
  done
}

rm -rf "$run"
trap cleanup EXIT
# The way through is free, what lies in it is not.
mkdir -m 0711 "$run" && install -d -m 0700 -o "$user" -g "$user" "$work" || exit 1
printf '%s' "$config" >"$run/redis.conf"
chgrp "$user" "$run/redis.conf" && chmod 0640 "$run/redis.conf"
verify_unit
begin_in_sandbox
serve
