#!/bin/bash
# A standby is put in the place of its primary, which is not there any more (docs/decisions/0034). A unit of its own.
#
# It is made durable before it takes a write: from then on its next start is that of the role's server. Its writers wait
# until the old one was asked once more: who begins there asks this one first, so either that one sees that this one serves,
# or it is there to be seen. What is seen then is undone, and nothing was written.
# What it prints last says which it was: `promoted`, `not promoted` or `not known`.
# `address`: the role's, where that goes along with who serves it (docs/decisions/0035): `keeper` takes it once the server serves,
# and asks for it first, as at any start: who has it keeps it. The server listens at `bound` then.
# `quiet`: seconds in which a primary that is there would have been heard, by its pings.
# `tls`: how redis-cli speaks TLS, where it does. Standard input: the password of `user` at the standby's own server.
: "${address?}" "${bound?}" "${keeper?}" "${quiet?}"
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
# Whoever takes a connection, and whoever refuses one: that host is there. Each place is an address and a port. A filter may let
# in the role's own address alone, as replication comes from it, or that by which this host speaks else: both ask, all at once.
answering() {
  local place own
  {
    for place in $places; do
      for own in "$host" ''; do
        # shellcheck disable=SC2016  # for perl
        timeout 20 perl -MIO::Socket::INET -e '
          my ($own, $to, $port) = @ARGV;
          my @from = $own ? (LocalAddr => $own) : ();
          my $taken = IO::Socket::INET->new(@from, PeerAddr => $to, PeerPort => $port, Proto => "tcp", Timeout => 3);
          print "$to:$port takes connections\n" if $taken;
          print "$to:$port refuses connections, so its host is there\n" if !$taken && $!{ECONNREFUSED};
        ' "$own" "${place%:*}" "${place##*:}" || echo "whether $place answers was not found out" &
      done
    done
    wait
  } 2>/dev/null | sort -r | head -n 1
}
# Why what it follows may serve still, whoever is off: a link that is up brings a ping each few seconds at least, and what it
# follows may be none of its pair. Nothing where it is silent.
heard() {
  local began=$SECONDS said follows since
  while :; do
    said=$(own INFO replication)
    follows=$(field master_host "$said"):$(field master_port "$said")
    if [ "$(field role "$said")" != slave ]; then
      [ $((SECONDS - began)) -lt "$patience" ] || { echo "what it follows is not told"; return; }
    elif [ "$follows" != "$old_host:$old_port" ]; then
      echo "it follows $follows, expected $old_host:$old_port"
      return
    else
      since=$(field master_last_io_seconds_ago "$said")
      [ "$(field master_link_status "$said")" != down ] && [ "${since:-0}" -lt "$quiet" ] || return
      [ $((SECONDS - began)) -le $((quiet + 5)) ] || { echo "it hears of $follows still"; return; }
    fi
    sleep 0.5
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
  # The server listens at the address from its next start on: what brings it then is there first, and gives a standby none.
  if [ -n "$keeper" ]; then
    systemctl unmask --quiet "$keeper"
    systemctl enable --quiet "$keeper" && sync -f "${drop_in%/*/*}" || return 1
  fi
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
  [ -z "$keeper" ] || systemctl disable --quiet "$keeper"
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
there=$(heard)
[ -z "$there" ] || { echo "not promoted: $there"; exit 3; }
settled || undo "$promoted cannot be written"
durable || undo "its next start cannot be made that of the role's server${keeper:+, at an address that $keeper brings}"
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
if [ -n "$address" ]; then
  brought=$SECONDS
  systemctl restart "$keeper" >&2
  until ip -o -4 address show to "$address/32" | grep -q . && said=$(own CONFIG SET bind "$bound") && [ "$said" = OK ]; do
    [ $((SECONDS - brought)) -lt "$patience" ] || {
      echo "promoted: $role is served here; $address is not here ($keeper says why), and nobody is served at it: deploy when it can be"
      exit 0
    }
    sleep 0.2
  done
fi
echo "promoted: $role is served here"
