#!/bin/sh
# Who would take a connection to a unit's server, right before somebody logs in there (tasks/observed/own_server.py).
# Argument: the unit, or nothing.
: "${mark?}" "${limit?}"
part() { printf '\0%s %s\n' "$mark" "$1"; }
unseen=''
failed() { unseen="$unseen$1 $2 ended with $3
"; }
printf '%s <' "$mark"
{
part listeners; ss -Hltnp || failed listeners ss $?
part pid; [ -z "$1" ] || systemctl show --property=MainPID --value -- "$1"
part addresses; cat /proc/net/fib_trie
part forwards; [ ! -x /usr/sbin/nft ] || nft -st list ruleset 2>/dev/null || failed forwards nft $?
part legacy
if [ -r /proc/net/ip_tables_names ]; then
  while read -r table; do
    case $table in nat|mangle) iptables-legacy-save -t "$table" 2>/dev/null || failed forwards iptables $?;; esac
  done </proc/net/ip_tables_names
fi
part unseen; printf '%s' "$unseen"
part end
} | head -c "$limit" | base64 -w0
printf '> %s\n' "$mark"
