#!/bin/sh
# A throw-away redis-server makes of a stopped role's data the form that its configuration loads (tasks/steps/convert.py).
# A job: runs as redis, in a sandbox in which only the role's directory can be written (as-role.sh).
#
# log: the snapshot becomes an append-only log, built beside and renamed when it is complete. Done already: succeeds.
# snapshot: the log becomes a snapshot, and is put aside. Done already: succeeds.
: "${task?}" "${run?}" "${config?}" "${patience?}" "${directory?}" "${log?}" "${new_log?}" "${put_aside?}" "${manifest?}" "${new_manifest?}" "${limit?}"

# One command, its reply on one line.
say() { redis-cli -s "$run/socket" --no-auth-warning "$@" 2>&1; }

fail() {
  tail -n 12 "$run/log"
  exit 1
}

begin() {
  mkdir "$run" || exit 1
  printf '%s' "$config" >"$run/redis.conf"
  redis-server "$run/redis.conf" >"$run/log" 2>&1 </dev/null &
  pid=$!
  count=0
  until say PING | grep -q PONG; do
    count=$((count + 1))
    if ! kill -0 "$pid" 2>/dev/null; then
      # What it says of itself on every start is no reason.
      grep -vE ' [*] |^$|Memory overcommit|oO0OoO0OoO0Oo|just started|Server initialized' "$run/log" | tail -n 12
      exit 1
    fi
    [ "$count" -le $((patience * 10)) ] || { tail -n 3 "$run/log"; echo "not up within $patience s"; exit 1; }
    sleep 0.1
  done
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
}

cd "$directory" || exit 1
case $task in
log)
  [ -e "$manifest" ] && exit 0
  # Remains of an earlier attempt.
  rm -rf "$new_log"
  begin
  refuse_too_much
  write_log
  end
  rmdir "$log" 2>/dev/null
  mv -T "$new_log" "$log" && sync "$directory"
  ;;
snapshot)
  [ -e "$manifest" ] || exit 0
  begin
  refuse_too_much
  [ "$(say SAVE)" = OK ] || fail
  end
  sh -c "$put_aside"
  ;;
esac
