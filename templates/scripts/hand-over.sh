#!/bin/bash
# A role's server hands its clients' writes over to the copy of it on another host (docs/decisions/0029). A unit of its own.
#
# Its writers wait, the copy has all they wrote, it serves no more, and only then the copy does: never two at once. What fails
# before that is undone. From the moment in which the copy may have been told, only the copy's own word counts.
# What it prints last says which of the three it was: `handed over`, `not handed over` or `not known`.
# `address`: the role's, where that goes along (docs/decisions/0033): `host` is then a loopback address, by which the old server is
# spoken to when its own has gone; it leaves the host when all clients were ended by it, and before the copy is told.
# `tls`: how redis-cli speaks TLS, where it does.
# Standard input: its password at the old server, and another one, that of the new server, which learns no other.
: "${address?}" "${keeper?}" "${tls?}"
: "${unit?}" "${old_user?}" "${new_user?}" "${host?}" "${port?}" "${new_host?}" "${new_port?}" "${fence?}" "${words?}" "${pause?}" "${lag?}" "${patience?}"
read -r old_password new_password
# shellcheck disable=SC2086  # a list of plain words
ask() { REDISCLI_AUTH=$4 timeout 3 redis-cli -h "$1" -p "$2" --user "$3" $tls "${@:5}" 2>&1 | tr -d '\r'; }
old() { ask "$host" "$port" "$old_user" "$old_password" "$@"; }
new() { ask "$new_host" "$new_port" "$new_user" "$new_password" "$@"; }
field() { sed -n "s/^$1:\([A-Za-z0-9_.-]*\)$/\1/p" <<<"$2"; }
# Of what a server says as a number, for bash reckons with the text of a variable as with a program.
number() { grep -xE '[0-9]{1,18}' <<<"$(field "$1" "$2")" | sed -E 's/^0+([0-9])/\1/'; }
now() { date +%s%3N; }
place() { ip -o -4 address show to "$address/32"; }
serves() { [ "$(field role "$(old INFO replication)")" = master ]; }
undo() {
  # One that was told to follow, and is slow, may do so at any time: until it says that it serves, or has ended, it may not start.
  if [ -n "$demoted" ]; then
    until old REPLICAOF NO ONE >&2; serves || [ "$(systemctl show -P MainPID -- "$unit")" = 0 ]; do
      [ $(($(now) - began)) -lt $((patience * 1000)) ] ||
        { echo "not known: $1, and the old one, which was told to follow, does not say that it serves"; exit 4; }
      sleep 0.2
    done
  fi
  if [ -n "$closed" ]; then
    [ -n "$(place)" ] || { ip address replace "$address/32" dev "$device" >&2; arping -q -U -c 1 -w 1 -I "$device" "$address" >&2 & }
    until [ -n "$(place)" ] && said=$(old CONFIG SET bind "$address $host") && [ "$said" = OK ]; do
      [ $(($(now) - began)) -lt $((patience * 1000)) ] || { echo "not known: $1, and $address is not served again: $said"; exit 4; }
      sleep 0.1
    done
  fi
  [ -z "$paused" ] || old CLIENT UNPAUSE >&2
  # Only what this run has put there goes, and only when it was seen who serves: the old one says that it does, or the copy, which
  # nobody has told anything, that it follows. Else it is not known whether another run has replaced the old one.
  if [ -n "$fenced" ]; then
    if ! serves && [ "$(field role "$(new INFO replication)")" != slave ]; then
      echo "not known: $1, and neither says that the old one serves"
      exit 4
    fi
    rm -f "$fence"
    rmdir "${fence%/*}" 2>/dev/null
    systemctl daemon-reload
    [ -z "$address" ] || systemctl enable --quiet --now "$keeper"
  fi
  echo "not handed over: $1"
  exit 3
}
paused='' demoted='' fenced='' closed='' device=''
said=$(new INFO replication)
[ "$(field role "$said")" = slave ] || undo "the copy does not answer as one over the network: ${said:0:200}"
said=$(old INFO replication)
[ "$(field role "$said")" = master ] || undo "its role is $(field role "$said"), expected master"
history=$(field master_replid "$said")
if [ -n "$address" ]; then
  said=$(place)
  read -r _ device _ found _ <<<"$said"
  [ "$found" = "$address/32" ] && [ "$(wc -l <<<"$said")" = 1 ] ||
    undo "$address is to leave with it, and is here as ${said:-nothing}, expected what $keeper adds and nothing else"
fi
# From here on a crash starts nothing that nobody looked at: whether the copy serves is then not known here. Its history is that of
# another server only when it has followed one that served (tasks/compare/cut_short.py).
mkdir -p "${fence%/*}"
fenced=yes
printf '%s\n' "# $words" "# history: $history" '[Service]' "ExecStartPre=+/bin/sh -c 'echo \"$words\"; exit 1'" >"$fence.new"
sync "$fence.new"
{ mv -fT "$fence.new" "$fence" && sync "${fence%/*}" "${fence%/*/*}" && systemctl daemon-reload; } || undo "$fence cannot be written"
began=$(now)
# The address stays for as long as its instance runs; no boot brings it back.
[ -z "$address" ] || systemctl disable --quiet --now "$keeper" || undo "$keeper cannot be stopped"
began=$(now)
said=$(old CLIENT PAUSE "$pause" WRITE)
paused=yes
[ "$said" = OK ] || undo "CLIENT PAUSE: ${said:0:200}"
said=$(old INFO replication)
[ "$(field role "$said")" = master ] || undo "its role is $(field role "$said"), expected master"
offset=$(number master_repl_offset "$said") id=$(field master_replid "$said")
[ -n "$offset" ] || undo "it does not say how much it has written"
while :; do
  said=$(new INFO replication)
  there=$(number slave_repl_offset "$said")
  [ "$(field master_replid "$said")" = "$id" ] && [ "${there:-0}" -ge "$offset" ] && break
  [ $(($(now) - began)) -lt "$lag" ] || undo "the copy lacks $((offset - ${there:-0})) bytes after $lag ms"
  sleep 0.01
done
said=$(old REPLICAOF "$new_host" "$new_port")
demoted=yes
[ "$said" = OK ] || undo "REPLICAOF: ${said:0:200}"
until said=$(old INFO replication); [ -n "$(field role "$said")" ]; do
  [ $(($(now) - began)) -lt "$pause" ] || undo "it does not answer after REPLICAOF"
  sleep 0.1
done
[ "$(field role "$said")" = slave ] || undo "its role is $(field role "$said") after REPLICAOF"
# Whatever let writers go on meanwhile, what they wrote is not given up. A server's PING to its copies, each ten seconds, is
# 14 bytes and no write.
there=$(number master_repl_offset "$said")
[ -n "$there" ] || undo "it does not say how much it has written"
more=$((there - offset))
[ "$more" = 0 ] || [ "$more" = 14 ] || undo "$more bytes were written amid it, expected none"
if [ -n "$address" ]; then
  # Who comes is refused at once, and who is there is answered and ended, while packets still leave by this address: behind it
  # nobody would ever hear that his connection is gone.
  closed=yes
  said=$(old CONFIG SET bind "$host")
  [ "$said" = OK ] || undo "CONFIG SET bind: ${said:0:200}"
  old CLIENT UNPAUSE >&2
  paused=''
  old CLIENT KILL TYPE normal SKIPME yes >&2
  old CLIENT KILL TYPE pubsub >&2
  ip address del "$address/32" dev "$device" >&2
  [ -z "$(place)" ] || undo "$address does not leave $device"
fi
while :; do
  said=$(new REPLICAOF NO ONE)
  [ "$said" = OK ] && break
  role=$(field role "$(new INFO replication)")
  [ "$role" = master ] && break
  # Writers are told that it serves no more, instead of waiting for nobody knows what.
  [ -z "$paused" ] || { old CLIENT UNPAUSE >&2; paused=''; }
  [ $(($(now) - began)) -lt $((patience * 1000)) ] || { echo "not known: the copy was told, and says ${said:0:200}"; exit 4; }
  sleep 0.2
done
took=$(($(now) - began))
[ -z "$paused" ] || old CLIENT UNPAUSE >&2
old CLIENT KILL TYPE normal SKIPME yes >&2
old CLIENT KILL TYPE pubsub >&2
echo "handed over: its writers waited $took ms"
