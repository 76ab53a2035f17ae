#!/bin/bash
# A standby is put in the place of its primary, which is not there any more (docs/decisions/0034). A unit of its own.
#
# It is made durable before it takes a write: from then on its next start is that of the role's server. Its writers wait
# until the old one was asked once more: who begins there asks this one first, so either that one sees that this one serves,
# or it is there to be seen. What is seen then is undone, and nothing was written.
# What it prints last says which it was: `promoted`, `not promoted` or `not known`.
# `tls`: how redis-cli speaks TLS, where it does. Standard input: the password of `user` at the standby's own server.
: "${role?}" "${unit?}" "${user?}" "${host?}" "${port?}" "${places?}" "${old_host?}" "${old_port?}" "${drop_in?}" "${copy?}"
: "${begun?}" "${moved?}" "${text?}" "${snapshot?}" "${promoted?}" "${mark?}" "${served?}" "${note?}" "${pause?}" "${patience?}" "${tls?}"
IFS= read -r REDISCLI_AUTH
export REDISCLI_AUTH LC_ALL=C
# shellcheck disable=SC2086  # a list of plain words
own() { timeout 3 redis-cli -h "$host" -p "$port" --user "$user" --no-auth-warning $tls "$@" 2>&1 | tr -d '\r'; }
field() { sed -n "s/^$1:\([A-Za-z0-9_.-]*\)$/\1/p" <<<"$2"; }
# What it says that it is, asked again while it says nothing: a host may be busy.
says() {
  local asked=$SECONDS role
  until role=$(field role "$(own INFO replication)"); [ -n "$role" ] || [ $((SECONDS - asked)) -ge "$patience" ]; do
    sleep 0.2
  done
  echo "$role"
}
# Whoever takes a connection, and whoever refuses one: that host is there. Each place is an address and a port.
answering() {
  local place said
  for place in $places; do
    # shellcheck disable=SC2016  # for that shell
    said=$( (timeout 3 bash -c 'exec 3<>"/dev/tcp/$0/$1"' "${place%:*}" "${place##*:}") 2>&1)
    case $?-$said in
      0-*) echo "$place takes connections"; return ;;
      *'Connection refused'*) echo "$place refuses connections, so its host is there"; return ;;
    esac
  done
}
settled() {
  umask 022
  install -d -m 0700 "${promoted%/*}" && printf '%s\n' "$mark" >"$promoted.new" && sync "$promoted.new" &&
    mv -fT "$promoted.new" "$promoted" && sync "${promoted%/*}"
}
# Its next start is that of the role's server, and it is noted that the role has run here.
durable() {
  umask 022
  if [ -z "$snapshot" ] || [ -s "$snapshot" ]; then
    printf '%s' "$text" >"$begun.new" && sync "$begun.new" && mv -fT "$begun.new" "$begun" || return 1
  fi
  rm -f "$moved" && sync "${begun%/*}" || return 1
  { [ ! -e "$drop_in" ] || mv -fT "$drop_in" "$drop_in.before"; } && sync "${drop_in%/*}" && systemctl daemon-reload
}
undo() {
  if [ -n "$told" ]; then
    began=$SECONDS
    until own REPLICAOF "$old_host" "$old_port" >&2; [ "$(says)" = slave ]; do
      [ $((SECONDS - began)) -lt "$patience" ] ||
        { echo "not known: $1, and the standby, which was told to follow again, does not say that it does"; exit 4; }
      sleep 0.2
    done
    own CLIENT UNPAUSE >&2
  fi
  if [ -e "$drop_in.before" ]; then
    if ! { mv -fT "$drop_in.before" "$drop_in" && sync "${drop_in%/*}" && systemctl daemon-reload; }; then
      echo "not known: $1, and $drop_in is not back in its place"
      exit 4
    fi
  fi
  rm -f "$promoted"
  sync "${promoted%/*}"
  echo "not promoted: $1"
  exit 3
}
told=''
role_now=$(says)
[ "$role_now" = slave ] || { echo "not promoted: its role is ${role_now:-not told}, expected a standby that follows"; exit 3; }
there=$(answering)
[ -z "$there" ] || { echo "not promoted: $there"; exit 3; }
settled || undo "$promoted cannot be written"
durable || undo "its next start cannot be made that of the role's server"
said=$(own CLIENT PAUSE "$pause" WRITE)
told=yes
[ "$said" = OK ] || undo "CLIENT PAUSE: ${said:0:200}"
own REPLICAOF NO ONE >&2
role_now=$(says)
[ "$role_now" = master ] || undo "its role is ${role_now:-not told} after REPLICAOF NO ONE"
there=$(answering)
[ -z "$there" ] || undo "$there, which came back amid it"
umask 077
mkdir -p "${served%/*}" && printf '%s\n' "$note" >"$served"
rm -f "$copy" "$drop_in.before"
sync "${drop_in%/*}" "${copy%/*}"
rmdir "${drop_in%/*}" 2>/dev/null
own CLIENT UNPAUSE >&2
systemctl unmask --quiet "$unit"
systemctl enable --quiet "$unit"
echo "promoted: $role is served here"
