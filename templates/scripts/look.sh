#!/bin/sh
# One look at a host: prints everything that the desired state speaks of, and changes nothing (tasks/observed/look.py).
#
# Every process costs the host a millisecond: grep and find read for many parts at once, the shell for none (its read
# takes files in /proc/sys byte by byte, and they answer the first one only). How it is read: tasks/observed/records.py.
# shellcheck disable=SC2086  # lists of plain words
: "${mark?}" "${limit?}" "${root?}" "${lock?}" "${files?}" "${secrets?}" "${directories?}" "${units?}" "${unit_properties?}" "${sysctls?}" "${sysctl_names?}"
: "${packages?}" "${managed?}" "${default_line?}" "${digits?}" "${patience?}" "${guards?}"
part() { printf '\0%s %s\n' "$mark" "$1"; }
# A program that may hang, and why one failed, with the last that it says then: of that, the rest of the look is kept.
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
part facts; [ -d /run/systemd/system ] && echo systemd=yes
part packages
# dpkg-query would parse the whole database. Version is at most thirteen lines below Package (dpkg: lib/dpkg/parse.c);
# updates holds what a dpkg that was interrupted had done, oldest first.
# apt's extended_states says what an autoremove would take along.
grep -shE -A13 "^Package: ($packages)\$" /var/lib/dpkg/status /var/lib/dpkg/updates/* /var/lib/apt/extended_states
part candidate
# Without the two options apt-cache would write its cache files: a dry run writes nothing.
[ -x /usr/bin/redis-server ] || bounded apt-cache -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= policy redis-server
part disk
where=/var/lib; [ ! -d "$root" ] || where=$root
for file in $directories; do
  [ ! -d "$file" ] || where="$where $file"
done
bounded df -k --output=avail,file $where || failed disk $? df -k $where
part listeners; bounded ss -Hltnp || failed listeners $? ss -Hltnp
part units
# By their names on disk, not by a pattern: matching one costs systemd more than all the rest.
units=" $units "
for file in /etc/systemd/system/redis-*.service /etc/systemd/system/caas-redis-*.timer /etc/systemd/system/caas-redis-*.path \
  /etc/systemd/system/caas-redis-address-*.service; do
  file=${file##*/}
  case $file in *[!a-z0-9_.-]*) continue ;; esac  # no role of ours has such a name
  case $units in *" $file "*) ;; *) units="$units$file ";; esac
done
asked=$units
units=$(bounded systemctl show --timestamp=unix --property="$unit_properties" $asked) || failed units $? systemctl show $asked
echo "$units"
binaries=''; allowances=/proc/1/limits
for line in $units; do
  case $line in
    MainPID=0) ;;
    MainPID=*)
      binaries="$binaries /proc/${line#MainPID=}/exe"
      allowances="$allowances /proc/${line#MainPID=}/limits";;
  esac
done
# -H: each line behind its file's name, also where only one file exists. UTF-8: of a file that is none, grep leaves out
# the lines that are no text. What is no regular file is not waited for. What is secret does not leave the host.
part texts
LC_ALL=C.UTF-8 grep -sH -d skip -D skip '' /etc/os-release /run/systemd/container /proc/net/fib_trie $sysctls \
  /sys/kernel/mm/transparent_hugepage/enabled /run/credentials/*redis-*.service/unit-digest \
  /var/lib/dpkg/statoverride /etc/machine-id /proc/sys/kernel/random/boot_id "$lock" $files
part digests; sha256sum /dev/null $secrets 2>/dev/null
part users  # names, and how the hashes of their passwords begin; of a password in plain words only that it is one
grep -sHoE "^[[:space:]]*user[[:space:]]+[^[:space:]]+|[[:space:]](#[0-9a-f]{$digits}|>)" /dev/null $secrets
part replayable; grep -lsxF "$default_line" /dev/null $secrets
part matches
grep -RsHE -e '^(MemTotal|MemAvailable|Uid):' -e "^[^#;]*($sysctl_names)[[:space:]]*=" \
  -e '^[^#].*/transparent_hugepage/enabled' -e "$managed" -e '^(bind|port|tls-port) ' -e '^Max open files' -e '^(redis-[a-z0-9_-]+|caas-redis-proof):' /proc/meminfo /proc/self/status $allowances \
  /etc/sysctl.d /run/sysctl.d /usr/local/lib/sysctl.d /usr/lib/sysctl.d \
  /etc/tmpfiles.d /run/tmpfiles.d /usr/lib/tmpfiles.d /etc/systemd/system/redis-*.service /etc/redis/*.conf \
  /etc/passwd /etc/group
part found  # all that lies in data directories, of roles of other hosts too, and other paths themselves
others=''
for file in /etc/systemd/system/caas-redis-* /etc/redis/*.backup /usr/local/lib/caas-redis/* /var/lib/caas-redis-proof/*; do  # of backups that the host has no more, too
  case ${file##*/} in *[!a-z0-9_.-]*) continue ;; esac
  case " $files $secrets " in *" $file "*) ;; *) others="$others $file" ;; esac
done
for directory in "$root"/*/; do
  directory=${directory%/}
  case ${directory##*/} in *[!a-z0-9_-]*) continue ;; esac
  case " $directories " in *" $directory "*) ;; *) others="$others $directory" ;; esac
done
find / $files $secrets $binaries $directories $others ! -path "$root/*" -prune , \
  -printf '%y %d %s %b %D:%i %m %n %T@ %C@\0=%u\0=%g\0=%H\0=%p\0=%l\0' 2>/dev/null
part forwards
# A host may have no rule at all. What nft says of a header shows that it was nft that said so, and is no look at rules.
[ ! -x /usr/sbin/nft ] || { echo nft; bounded nft -st 'describe ip ttl; list ruleset'; } || failed forwards $? nft list ruleset
part legacy  # what nft does not show; asked only for tables that are there: asking makes them
if [ -r /proc/net/ip_tables_names ] && command -v iptables-legacy-save >/dev/null; then
  while read -r table; do
    case $table in nat|mangle) ;; *) continue ;; esac
    bounded iptables-legacy-save -t "$table" || failed forwards $? iptables-legacy-save -t "$table"
  done </proc/net/ip_tables_names
fi
part heard  # what the other host of each pair says to who asks before a start: from here on one line each, of a program of ours
for file in $guards; do
  {
    said=''
    ! grep -sqx 'tells=yes' "$file" || said=$(bounded /bin/sh "$file" try | head -n 1 | head -c 400)
    [ -z "$said" ] || printf '%s %s\n' "${file##*guard-}" "$said"  # ends its line, whatever is said
  } &
done
wait
part unseen; printf '%s' "$unseen"
part end
# As one line: four hundred would cost pyinfra more than everything else it does with them. And nothing that lies in a
# file is in plain words in the output that pyinfra's --debug shows.
} | head -c "$limit" | base64 -w0
printf '> %s\n' "$mark"
