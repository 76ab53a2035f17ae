#!/bin/sh
# Who would take a connection to a unit's server, right before somebody logs in there (tasks/observed/own_server.py).
# Argument: the unit, or nothing.
: "${mark?}" "${limit?}" "${patience?}"
part() { printf '\0%s %s\n' "$mark" "$1"; }
# As in look.sh: a program that may hang, and why one failed.
bounded() { timeout -k 1 "$patience" "$@" 2>/dev/null; }
unseen=''
failed() {
  what=$1 status=$2 said=''
  shift 2
  [ "$status" -ge 124 ] || said=$(timeout -k 1 "$patience" "$@" 2>&1 >/dev/null | tail -n 1 | head -c 400)
  unseen="$unseen$what $1 $status $said
"
}
printf '%s <' "$mark"
{
part listeners; bounded ss -Hltnp || failed listeners $? ss -Hltnp
part pid; [ -z "$1" ] || bounded systemctl show --property=MainPID --value -- "$1"
part addresses; cat /proc/net/fib_trie
part forwards
[ ! -x /usr/sbin/nft ] || { echo nft; bounded nft -st 'describe ip ttl; list ruleset'; } || failed forwards $? nft list ruleset
part legacy
if [ -r /proc/net/ip_tables_names ] && command -v iptables-legacy-save >/dev/null; then
  while read -r table; do
    case $table in nat|mangle) ;; *) continue ;; esac
    bounded iptables-legacy-save -t "$table" || failed forwards $? iptables-legacy-save -t "$table"
  done </proc/net/ip_tables_names
fi
part unseen; printf '%s' "$unseen"
part end
} | head -c "$limit" | base64 -w0
printf '> %s\n' "$mark"
