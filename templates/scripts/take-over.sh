#!/bin/bash
# shellcheck disable=SC2086  # tls is a list of plain words
# A copy that has become the role's server stays that whatever happens next (tasks/steps/handover.py). A unit of its own.
#
# Nothing of what made it a copy is left for its next start, nor what says that its data is of before the role moved away
# (`moved`); it is noted that the role has run here (`text` in `begun`), and it starts at boot. If it is not told within
# `patience` seconds, it stays what it is: a copy. `snapshot`: of a role without a log, that is noted only with this file,
# for its next start may find nothing until it has saved.
# `address`: the role's, where that comes along (docs/decisions/0033), on `interface`, kept there by `keeper` from then on: the
# server, at `host` until then, listens at `bound` alone. `tls`: how redis-cli speaks TLS, where it does. `served`: where one of a pair
# notes that it serves (`serving`). Standard input: its password as `user`, and then as `owner`.
: "${address?}" "${bound?}" "${interface?}" "${keeper?}" "${owner?}" "${tls?}"
: "${user?}" "${host?}" "${port?}" "${drop_in?}" "${copy?}" "${unit?}" "${patience?}"
: "${begun?}" "${moved?}" "${text?}" "${snapshot?}" "${served?}" "${serving?}"
read -r REDISCLI_AUTH own
export REDISCLI_AUTH
began=$SECONDS
here() { ip -o -4 address show to "$address/32" | grep -q .; }
bring() {
  # The old host has given it up. Whoever answers for it now is another machine: then its keeper goes on asking. Two seconds,
  # as that one takes, would be two seconds of every client.
  if ! here; then
    timeout 0.4 arping -q -D -c 1 -w 1 -I "$interface" "$address"
    case $? in 0|124) ip address replace "$address/32" dev "$interface" ;; *) systemctl --no-block start "$keeper" ;; esac
  fi
  until here; do
    [ $((SECONDS - began)) -lt "$patience" ] || return 1
    sleep 0.1
  done
  arping -q -U -c 1 -w 1 -I "$interface" "$address" &
  until REDISCLI_AUTH=$own timeout 3 redis-cli -h "$host" -p "$port" --user "$owner" $tls CONFIG SET bind "$bound" 2>/dev/null |
      grep -q '^OK' || REDISCLI_AUTH=$own timeout 3 redis-cli -h "$address" -p "$port" --user "$owner" $tls PING 2>/dev/null | grep -q '^PONG'; do
    [ $((SECONDS - began)) -lt "$patience" ] || return 1
    sleep 0.1
  done
}
serves() { timeout 3 redis-cli -h "$1" -p "$port" --user "$user" $tls INFO replication 2>/dev/null | grep -q '^role:master'; }
until serves "$host" || { [ -n "$address" ] && here && serves "$address"; }; do
  [ $((SECONDS - began)) -lt "$patience" ] || exit 0
  sleep 0.05
done
[ -z "$address" ] || { bring & bringing=$!; }
# The notes first: once nothing makes it a copy, they alone say whose data is newer.
failed=0
umask 022
install -d -m 0700 "${begun%/*}" || failed=1
if [ -z "$snapshot" ] || [ -s "$snapshot" ]; then
  printf '%s' "$text" >"$begun.new" && sync "$begun.new" && mv -fT "$begun.new" "$begun" ||
    failed=1
fi
if [ -n "$served" ]; then
  mkdir -p "${served%/*}"
  (umask 077 && printf '%s\n' "$serving" >"$served") || failed=1
fi
rm -f "$moved" && sync "${moved%/*}" || failed=1
# The server listens at the address from its next start on: what brings it then is there first, and gives a copy of a pair none.
if [ -n "$address" ]; then
  systemctl unmask --quiet "$keeper"
  systemctl enable --quiet "$keeper" && sync -f "${drop_in%/*/*}" || failed=1
fi
rm -f "$drop_in" "$copy" && sync "${copy%/*}" || failed=1
rmdir "${drop_in%/*}" 2>/dev/null
systemctl daemon-reload
systemctl unmask --quiet "$unit"
systemctl enable --quiet "$unit" && sync -f "${drop_in%/*/*}" || failed=1
if [ -n "$address" ]; then
  wait "$bringing" || failed=1
  systemctl restart "$keeper" || failed=1
fi
exit "$failed"
