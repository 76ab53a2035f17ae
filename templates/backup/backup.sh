#!/bin/sh
# Copies of one role off the host by restic, and the proof that they can be used (docs/decisions/0025):
# make | prove [RUN] | try | sweep | list | fetch RUN LOG SNAPSHOT | begin | follow LIFE AT | continue LIFE AT | reach | cut LOG SECOND. By its units, and by the commands of this tool.
#
# What the role says or has written is data: it is read as the role's user, bounded, and matched before it goes anywhere.
# So is what a repository has: whoever has its password may have stored that. No text of either is part of a program.
# Root's own files lie where no role can write. restic alone has the repository's password in its environment.
: "${role?}" "${unit?}" "${user?}" "${directory?}" "${log?}" "${name?}" "${snapshot?}" "${databases?}" "${address?}" "${port?}" "${tls?}" "${host?}" "${keep?}" "${memory?}"
# elsewhere: `proves` where this host only proves the copies that `host` makes, `proved` where another one proves this one's;
# also: the other host of the role's pair, whose copies are proved, too;
# late: seconds after which the newest copy of `host` is too old. The last two are bounds of a proof: seconds for its server
# to load, bytes that a file of it may be larger than the copy.
: "${elsewhere:=}" "${also:=}" "${late:=0}" "${patience:=900}" "${spare:=67108864}"
umask 077
export LC_ALL=C TZ=UTC PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
tools=/usr/local/lib/caas-redis
records=/var/lib/caas-redis
scratch=/var/lib/caas-redis-proof
state=$records/$role.backup
proof=$records/$role.proof
lives=$records/$role.life
old_key=$records/$role.key  # which key of the repository is that of the password before: it goes when that does
cache=/var/cache/caas-redis
samples=20
checking=1800  # seconds for a tool that reads all of a copy
week=604800
reserve=268435456  # bytes of a disk that stay free beside a copy: the roles' data may lie there, too
largest_manifest=2097152 largest_list=33554432  # bytes of what a repository has of a copy, and of all its copies
number='(0|[1-9][0-9]{0,14})'
sampled='[0-9a-f]{2,} ([0-9a-f]{40}|gone) -?[0-9]{1,15}'  # the key's length is bounded apart: in here grep would take a second for it
settings=/etc/redis/$role.backup
[ -z "${CREDENTIALS_DIRECTORY:-}" ] || settings=$CREDENTIALS_DIRECTORY/backup

began=$(date +%s) to=/dev/null
copied=${copied:-$role}  # the role that the copy is of
only_reads=''  # who proves another host's copies changes nothing in their repository, and keeps nobody from it
[ "$elsewhere" != proves ] || only_reads=yes
install -d -m 0700 /run/caas-redis
work=$(mktemp -d /run/caas-redis/backup.XXXXXX) || exit 1
server='' scratched='' bound='' unasked='' by=newest rotated='' where='' proved_in='' unopened=''
# shellcheck disable=SC2329  # called by the trap
cleanup() {
  [ -z "$server" ] || systemctl kill --signal=KILL "$server" 2>/dev/null
  [ -z "$server" ] || systemctl stop "$server" 2>/dev/null
  [ -z "$server" ] || systemctl reset-failed "$server" 2>/dev/null
  rm -rf "$work"
  [ -z "$scratched" ] || rm -rf "${scratch:?}/$role"
}
trap cleanup EXIT
trap 'exit 1' INT TERM HUP

now() { date +%s; }
# One line of what somebody said last, in letters that steer nothing, and without what a URL has before its host.
last_words() { tail -c 65536 | tr -c '[:print:]\n' '?' | sed -E 's#(//|rest:)[^[:space:]"]*@#\1#g' | grep -v '^ *$' | tail -n 3 | paste -sd ' ' | tail -c 400; }
# Of redis-check-rdb and -aof, without the key that they were at: it may be of several lines.
checked_words() { sed '/Reading key/,$d' | last_words; }
field() { sed -n "s/^$1 //p" "$2" 2>/dev/null | head -n 1; }
is() { [ "$(printf '%s\n' "$1" | wc -l)" = 1 ] && printf '%s' "$1" | grep -qxE "$2"; }

setting() { sed -n "s/^$1=//p" "$settings" | head -n 1; }
# In a shell of its own: nobody else has these variables. `by`: the newest password, or the one before it.
with_restic() (
  while IFS= read -r line; do
    case $line in READER=* | BEFORE=*) ;; [A-Z]*=*) export "${line?}" ;; esac
  done <"$settings"
  if [ "$by" != newest ]; then
    RESTIC_PASSWORD=$(setting BEFORE)
    export RESTIC_PASSWORD
  fi
  # shellcheck disable=SC2086  # no word, or two
  exec ${bound:+timeout $bound} restic --quiet --cache-dir="$cache" ${only_reads:+--no-lock} "$@"
)
# What a repository has is in a file of root's disk or memory: no more of it than this. Whoever knows it may store anything.
read_restic() { # $1: the file, $2: bytes, then what is asked for
  into=$1 most=$2
  shift 2
  { with_restic "$@" 2>"$work/said"; echo $? >"$work/ended"; } | head -c $((most + 1)) >"$into"
  if [ "$(stat -c %s "$into")" -gt "$most" ]; then
    echo "it has more than $most bytes" >"$work/said"
    return 1
  fi
  return "$(cat "$work/ended")"
}
# As the role's user, with nothing of root's: no variable, no descriptor but those that are given, no way to more rights.
as_role() ( exec env -i LC_ALL=C PATH="$PATH" setpriv --reuid="$user" --regid="$user" --clear-groups --no-new-privs --bounding-set=-all --inh-caps=-all "$@" 8>&- 9>&- )

# What has come of it, whole or as before: root's own directory.
record() {
  [ "$1" != /dev/null ] || return 0
  cat >"$1.new" && sync "$1.new" && mv -fT "$1.new" "$1"
}
failed() {
  echo "$role: $1"
  {
    echo "result failed"
    echo "at $began"
    echo "said $(printf '%s' "$1" | last_words)"
    [ -z "$unopened" ] || echo "opens no"
    still_holds
  } | record "$to"
  exit 1
}
# As above, and nothing is known of its copies but by what was found of them before: who opens it takes this back.
not_opened() {
  [ "$to" != "$proof" ] || found_bad || unopened=yes
  failed "$1"
}
found_bad() { is_here "$proof" && [ "$(field result "$proof")" = failed ] && [ "$(field opens "$proof")" != no ]; }
# What a record says of before. A proof of another repository is none of this one.
still_holds() {
  if [ "$to" = "$proof" ] && [ -n "$where" ] && ! { is_here "$proof" && [ "$(field repository "$proof")" = "${proved_in:-$(field repository "$proof")}" ]; }; then
    printf '%s\n' "where $where" ${proved_in:+"repository $proved_in"}
  else
    grep -E '^(first|good|keys|bytes|life|after|begun|repository|where|run|since|rotated|copied|pruned) ' "$to" 2>/dev/null
  fi
}
hold() {
  exec 9>"/run/caas-redis/$1.lock"
  flock --wait 7200 9 || failed "another backup or proof has not ended in two hours"
}

# With the newest password, or in the middle of a rotation by the one before it; sets `by`.
open_repository() {
  # restic of Debian 13 tries a quarter of an hour to reach what is not there, each time.
  by=newest bound=60
  try_repository || {
    [ -n "$(setting BEFORE)" ] && grep -q 'wrong password' "$work/said" && by=before && try_repository
  }
  opened=$?
  [ "$opened" = 0 ] || by=newest
  bound=''
  return "$opened"
}
try_repository() {
  [ -n "$only_reads" ] || with_restic unlock >/dev/null 2>&1
  read_restic "$work/config" 65536 cat config
}
# A rotation of its password goes on wherever it was interrupted: the newest is added, the one before stays as long as the
# secrets file has it, and its key alone goes then. Whatever of it fails, the copy is made by what opens the repository.
settle_password() {
  rotated=''
  if [ -z "$(setting BEFORE)" ]; then
    forget_key
  elif [ "$by" = before ] && ! add_key; then
    echo "$role: its repository does not take the newest password yet: $(last_words <"$work/said")"
  elif id=$(by=before && current_key); then
    echo "before $id" | record "$old_key" && rotated=yes
  elif grep -q 'wrong password' "$work/said"; then
    rm -f "$old_key"
    rotated=yes
  fi
}
add_key() {
  setting RESTIC_PASSWORD >"$work/new"
  with_restic key add --new-password-file "$work/new" >/dev/null 2>"$work/said" && by=newest && try_repository && return 0
  by=before
  return 1
}
current_key() {
  read_restic "$work/keys" 1048576 key list --json || return 1
  perl -0777 -ne '/\{"current":true,"id":"([0-9a-f]{8,64})"/ or exit 1; print $1' "$work/keys"
}
forget_key() {
  id=$(field before "$old_key")
  is "$id" '[0-9a-f]{8,64}' || return 0
  current=$(current_key) || return 0
  if [ "$id" != "$current" ] && grep -qF "\"$id\"" "$work/keys"; then
    if ! with_restic key remove "$id" >/dev/null 2>"$work/said"; then
      echo "$role: the password of before could not be removed from its repository yet: $(last_words <"$work/said")"
      return 0
    fi
    echo "$role: the password of before opens its repository no more"
  fi
  rm -f "$old_key"
}

# A repository is made once. One that was there and is not there any more is lost or not mounted, and not made anew;
# one at another place is.
is_here() { case $(field where "$1") in "$where"|"$with_login") true ;; *) false ;; esac; }
find_place() {
  where=$(sed -nE 's/^RESTIC_REPOSITORY=//; T; s#^(rest:https?://)[^/@]*@#\1#; p' "$settings" | sha256sum | cut -c1-16)
  with_login=$(sed -n 's/^RESTIC_REPOSITORY=//p' "$settings" | sha256sum | cut -c1-16)  # as records of earlier versions have it
}
have_repository() {
  find_place
  known=''
  ! is_here "$state" || known=$(field repository "$state")
  if open_repository; then
    sed -nE 's/.*"id": "([0-9a-f]{1,64})".*/\1/p' "$work/config" | head -n 1 >"$work/id"
    if [ -n "$known" ] && [ "$known" != "$(cat "$work/id")" ]; then
      failed "its repository is another one than before: look whether the right one is mounted; if it was made anew on purpose: rm $state on the host"
    fi
    return 0
  fi
  if grep -q 'wrong password' "$work/said"; then
    not_opened "its repository is there and has another password: bring that back, as $role: {backup: …} in the secrets file; it is not replaced"
  fi
  [ -z "$only_reads" ] || not_opened "its repository cannot be opened from this host: $(last_words <"$work/said")"
  if [ -n "$known" ]; then
    not_opened "its repository cannot be read: $(last_words <"$work/said")"
  fi
  [ "$1" = make ] || not_opened "it has no repository yet: $(last_words <"$work/said")"
  with_restic init >/dev/null 2>"$work/said" || failed "its repository cannot be made: $(last_words <"$work/said")"
  have_repository again
}

# A word as redis-cli reads it in quotes.
in_quotes() { sed 's/[\\"]/\\&/g; s/^/"/; s/$/"/'; }
# What a server may say, whoever wrote it: so long, so much, and in so much memory of whoever reads it. Not as root.
reading() { as_role prlimit --as=268435456 timeout --kill-after=5 30 redis-cli "$@" 2>/dev/null | tr -d '\r' | head -c 262144; }
# What the role's own process answers `reader`, to commands on standard input; nothing where another may answer.
ask() {
  pid=$(systemctl show --property=MainPID --value "$unit")
  is "$pid" '[1-9][0-9]*' || { unasked="$unit does not run"; return 1; }
  ss -Hltnp "src $address and sport = :$port" | grep -q "pid=$pid," || { unasked="its process does not listen on $address:$port"; return 1; }
  set -- -h "$address" -p "$port" --raw
  [ "$tls" = no ] || set -- "$@" --tls --cacert "/etc/redis/$role.ca" --cert "/etc/redis/$role.pem" --key "/etc/redis/$role.pem"
  { printf 'AUTH reader %s\n' "$(sed -n 's/^READER=//p' "$settings" | in_quotes)"; cat; } | reading "$@"
}
# keys, of them with a TTL, changes, ended by themselves, when it last saved, version: of INFO on standard input
numbers() {
  perl -ne '/^db[0-9]+:keys=([0-9]{1,15}),expires=([0-9]{1,15})/ and $keys += $1, $expires += $2;
    /^(rdb_changes_since_last_save|expired_keys|evicted_keys|loading|rdb_last_save_time):([0-9]{1,15})$/ and $of{$1} = $2;
    /^redis_version:([0-9]{1,4}(\.[0-9]{1,4}){1,3})$/ and $version = $1;
    END { defined $version or exit 1; $of{loading} and exit 1; printf "%d %d %d %d %d %s\n", $keys // 0, $expires // 0, $of{rdb_changes_since_last_save} // 0, ($of{expired_keys} // 0) + ($of{evicted_keys} // 0), $of{rdb_last_save_time} // 0, $version }'
}
databases_in() { sed -nE 's/^db([0-9]{1,5}):keys=.*/\1/p' | head -n 16; }
# Lines DATABASE KEY DIGEST EXPIRY; $1: a command that sends what stands on standard input to a server.
sample() { # $1 = ask or ask_scratch, $2 = database, then keys in hexadecimal, or how many
  asking=$1 database=$2
  shift 2
  printf 'SELECT %s\nEVAL_RO "%s" 0 %s\n' "$database" "$(tail -n 1 "$tools/sample")" "$*" | "$asking" |
    grep -xE "$sampled" | awk -v database="$database" 'length($1) <= 2000 { print database, $0 }' | head -n "$samples"
}
# The same of those keys that a file of such lines has.
sample_again() { # $1 = ask or ask_scratch, $2 = the file
  grep -xE "[0-9]{1,5} $sampled" "$2" >"$work/again"
  cut -d' ' -f1 "$work/again" | sort -u | while read -r database; do
    sample "$1" "$database" x "$(awk -v database="$database" '$1 "" == database "" { print $2 }' "$work/again" | paste -sd ' ')"
  done
}

# What runs as the role's user its other processes may steer: what it says is no longer than this, and matched.
copy() { as_role prlimit --fsize=1048576 perl "$tools/copy.pl" "$directory" "$log" "$name" "$snapshot" "${1:-whole}" 3>"$work/report" 2>"$work/copier"; }

# Of which data the copies from here are: noted beside what came of the last one, which a person may remove. A disk that
# was copied to another machine is other data from then on. `after`: of which life they go on, and until which moment.
# `begun`: what was there when the life began here, empty or data; unknown where nobody could say.
have_life() { # $1, $2, $3: life, second and beginning of one that begins now
  machine=$(sha256sum </etc/machine-id | cut -c1-16)
  own_life='' first='' after='' begun=''
  noted=$(field machine "$lives")
  [ -e "$lives" ] || own_life=$(field life "$state") first=$(field first "$state")  # as records without it have it
  if [ -z "$noted" ] || [ "$noted" = "$machine" ]; then
    own_life=$(field life "$lives") first=$(field first "$lives") after=$(field after "$lives") begun=$(field begun "$lives")
  fi
  if ! is "$own_life $first" '[0-9a-f]{16} [0-9]{1,12}'; then
    own_life=$1 first=$2 after='' begun=$3
  elif [ -e "$lives" ]; then
    return 0
  fi
  note_life
}
note_life() {
  printf '%s\n' "life $own_life" "machine $machine" "first $first" ${after:+"after $after"} ${begun:+"begun $begun"} | record "$lives"
}
a_life() { od -An -N8 -tx1 /dev/urandom | tr -d ' \n'; }
# What a server that was asked had.
begun_with() {
  read -r has _ <"$work/counted.before" || has=''
  case $has in '') echo unknown ;; 0) echo empty ;; *) echo data ;; esac
}
# A deploy has just started the role with nothing: whatever is written until its first copy, that is how it began.
begin_life() {
  to=/dev/null
  hold "$role.backup"
  have_life "$(a_life)" "$began" empty || failed "$lives cannot be written"
}
# Its data has come from another host, by a move. One that was cut off behind this and is ended later notes it once.
follow_life() { # $1, $2: of which life it goes on, and until which second
  to=/dev/null
  [ "$(field machine "$lives")" != "$(sha256sum </etc/machine-id | cut -c1-16)" ] ||
    [ "$(field after "$lives" | cut -d- -f1)" != "$1" ] || return 0
  continue_life "$1" "$2"
}

# What was made here last has to be there: a repository that was set back has good copies, too, but not that one. In
# words, of the list in $work/list, that it is not.
set_back() {
  last_run=$(field run "$state")
  [ -n "$last_run" ] && is_here "$state" || return 0
  [ "$(awk -v run="$last_run" '$3 == run { print $2 }' "$work/list" | sort -u | wc -l)" = 2 ] ||
    echo "its repository has not the copy that was made here last, run $last_run of $(date -u -d "@$(field good "$state")" '+%F %T') UTC: it was set back, or somebody deleted it"
}

# What a proof left that was killed: a copy of a role's data, and maybe its server. Nothing while one is under way.
sweep() (
  flock --nonblock 7 || exit 0
  for left in "$scratch"/*; do
    [ -e "$left" ] || continue
    systemctl stop "caas-redis-scratch-${left##*/}.service" 2>/dev/null
    rm -rf --one-file-system "$left"
  done
) 7>/run/caas-redis/proof.lock

make_copy() {
  sweep
  to=$state
  hold "$role.backup"
  began=$(now)
  have_repository make
  settle_password
  snapshots >"$work/list" || failed "its repository cannot be read: $(last_words <"$work/said")"
  lost=$(set_back)
  since=''
  [ -z "$known" ] || since=$(field since "$state")
  is "$since" '[0-9]{1,12}' || since=$began  # when the first copy went to this repository
  run=$(a_life)
  echo INFO | ask >"$work/before"
  numbers <"$work/before" >"$work/counted.before"
  have_life "$run" "$began" "$(begun_with)" ||
    failed "it cannot be noted of which data its copies are: $lives cannot be written"
  if [ -z "$log" ] && is_empty_yet; then
    printf '%s\n' "result ok" "at $began" "first $first" "good $began" "keys 0" "empty yes" "life $own_life" \
      ${after:+"after $after"} ${begun:+"begun $begun"} ${rotated:+"rotated yes"} "since $since" "repository $(cat "$work/id")" "where $where" | record "$state"
    echo "$role: it is empty and has never saved: there is nothing to copy yet"
    return 0
  fi
  for database in $(databases_in <"$work/before"); do
    sample ask "$database" "$samples"
  done >"$work/samples.before"
  mkfifo "$work/sum"
  sha256sum <"$work/sum" >"$work/digest" &
  summing=$!
  { copy; echo $? >"$work/copied"; } | tee "$work/sum" |
    with_restic backup --stdin --stdin-filename "/$role.tar" --tag "copy,run=$run" --host "$host" \
      >/dev/null 2>"$work/said"
  stored=$?
  wait "$summing"
  [ "$(cat "$work/copied")" = 0 ] || not_stored "not copied: $(last_words <"$work/copier")"
  [ "$stored" = 0 ] || not_stored "not stored: $(last_words <"$work/said")"
  is_report || not_stored "not copied: what its copier says of it is of another form: look who steers processes of $user"
  echo INFO | ask >"$work/after"
  numbers <"$work/after" >"$work/counted.after"
  sample_again ask "$work/samples.before" >"$work/samples.after"
  write_manifest >"$work/manifest"
  # Its time is when what is in it had ended: nothing in it is of later.
  with_restic backup --stdin --stdin-filename "/$role.manifest" --host "$host" --time "$(date -u -d "@$until" '+%F %T')" \
    --tag "manifest,run=$run,machine=$machine,life=$own_life${after:+,after=$after}" \
    --tag "role=$role,keys=${keys:-unknown},server=$version,bytes=$bytes,newest=$newest" \
    <"$work/manifest" >/dev/null 2>"$work/said" || not_stored "not stored: $(last_words <"$work/said")"
  # Which stays known until a person has looked: what this run is called is noted nowhere, so none of the next is well.
  [ -z "$lost" ] || failed "$lost; a new copy is stored; when that is known: rm $state on the host"
  forgotten=''
  [ -z "$keep" ] || forget || forgotten=$(last_words <"$work/said")
  pruned=$(field pruned "$state")
  [ "$elsewhere" != proved ] || [ -z "$keep" ] || [ -n "$forgotten" ] || prune_in_time || forgotten=$(last_words <"$work/said")
  {
    echo "result ok"
    echo "at $began"
    echo "first $first"
    echo "good $until"
    echo "keys ${keys:-unknown}"
    echo "bytes $bytes"
    echo "run $run"
    echo "life $own_life"
    [ -z "$after" ] || echo "after $after"
    [ -z "$rotated" ] || echo "rotated yes"
    [ -z "$begun" ] || echo "begun $begun"
    [ -z "$pruned" ] || echo "pruned $pruned"
    echo "since $since"
    echo "repository $(cat "$work/id")"
    echo "where $where"
    [ -z "$forgotten" ] || echo "kept older copies could not be forgotten: $forgotten"
  } | record "$state"
  # Asked in another shell, which took its reason with it.
  [ -s "$work/counted.before" ] || ask </dev/null >/dev/null || true
  [ -s "$work/counted.before" ] || echo "$role: nothing to compare the copy with: ${unasked:-its server did not answer reader}"
  echo "$role: a copy of $(date -u -d "@$until" '+%F %T') UTC, ${keys:-an unknown number of} keys, $bytes bytes, run $run"
}
# Whether a role without a log has neither keys nor a file: that is so until its first save, and no copy is lacking.
is_empty_yet() {
  read -r before_keys _ <"$work/counted.before" && [ "$before_keys" = 0 ] && as_role test ! -e "$directory/$snapshot" && [ -z "$(field run "$state")" ]
}
# Of the proof, which removes what was forgotten, here: once a week. Who proves elsewhere writes nothing.
prune_in_time() {
  ! { is "$pruned" '[0-9]{1,12}' && [ "$pruned" -le "$began" ] && [ $((began - pruned)) -lt $week ]; } || return 0
  with_restic prune >/dev/null 2>"$work/said" && pruned=$began
}
# A full repository gets room by what the plan no longer keeps; a prune that stores nothing anew needs next to none.
not_stored() {
  [ -z "$keep" ] || { forget; with_restic prune --max-repack-size=0; } >/dev/null 2>&1
  failed "$1"
}

# What is known of a copy, as lines of words. What was there before and after bounds what is in it: a key is made or goes
# with a change, or is ended by the server, and both are counted.
is_report() {
  ! grep -qvxE "(bytes|keys|expires) $number|until [1-9][0-9]{0,11}|newest -?[0-9]{1,20}" "$work/report" &&
    [ "$(cut -d' ' -f1 "$work/report" | sort | paste -sd ' ' | sed 's/ expires\(.*\) keys/\1/')" = 'bytes newest until' ]
}
ended_by() { [ $(($1 + 1)) -ge "$until" ] || until=$(($1 + 1)); }
write_manifest() {
  keys='' expires='' low='' high='' same='' answered=no
  version=$(redis-server --version | sed -nE 's/.* v=([0-9.]+) .*/\1/p')
  bytes=$(field bytes "$work/report") newest=$(field newest "$work/report") until=$(field until "$work/report")
  is "$newest" '[0-9]{1,12}' || newest=0  # whoever may write the files may give them any time
  kind=snapshot
  [ -z "$log" ] || kind=log
  if read -r before_keys before_expires before_changes before_ended before_saved before_version <"$work/counted.before" &&
    read -r after_keys after_expires after_changes after_ended after_saved after_version <"$work/counted.after"; then
    version=$before_version answered=yes
    if [ $kind = log ]; then
      keys=$after_keys
      expires=$((before_expires > after_expires ? before_expires : after_expires))
      moved=$((after_changes - before_changes + after_ended - before_ended))
      # A save in between has set the counter back.
      if [ "$after_changes" -ge "$before_changes" ] && [ "$after_ended" -ge "$before_ended" ] && [ "$before_version" = "$after_version" ]; then
        low=$((before_keys - moved)) high=$((before_keys + moved))
      fi
      same=yes
    elif [ "$before_saved" = "$after_saved" ]; then
      # The snapshot is that of the last save: what the server has now, if nothing was changed since, or of then. One
      # that is later than that is another.
      if [ "$newest" -gt $((after_saved + 1)) ]; then
        ended_by "$newest"
      elif [ "$before_changes" = 0 ] && [ "$after_changes" = 0 ] && [ "$before_ended" = "$after_ended" ]; then
        same=yes
      else
        ended_by "$after_saved"
      fi
    fi
  elif [ $kind = snapshot ]; then
    ended_by "$newest"  # nobody says that it is any younger
  fi
  # What the server has now bounds no snapshot of before: what redis-check-rdb counted in the file does.
  if [ $kind = snapshot ]; then
    keys=$(field keys "$work/report") expires=$(field expires "$work/report")
    low=$keys high=$keys
  fi
  printf '%s\n' "format 1" "role $role" "at $until" "host $host" "machine $machine" "life $own_life" "server $version" "kind $kind" \
    "digest $(cut -d' ' -f1 "$work/digest")" "bytes $bytes" "newest $newest"
  printf '%s\n' "answered $answered"
  [ -z "$keys" ] || printf '%s\n' "keys $keys" "expires $expires"
  [ -z "$low" ] || printf '%s\n' "low $((low < 0 ? 0 : low))" "high $high"
  sed -nE 's/^(db[0-9]{1,5}):(keys=[0-9]+,expires=[0-9]+).*/before \1 \2/p' "$work/before"
  sed -nE 's/^(db[0-9]{1,5}):(keys=[0-9]+,expires=[0-9]+).*/after \1 \2/p' "$work/after"
  [ -n "$same" ] || return 0
  # What was the same before and after is so in the copy, too.
  sort "$work/samples.before" >"$work/sorted"
  sort "$work/samples.after" | comm -12 "$work/sorted" - | sed 's/^/sample /'
}

# Snapshots of the repository, a line each: TIME KIND RUN ID LIFE HOST. What this tool has not written is left out.
snapshots() {
  read_restic "$work/snapshots" $largest_list snapshots --json || return 1
  perl -0777 -ne 'for (split /(?=\{"time":")/) {
    my ($time) = /"time":"([0-9T:-]{19})/ or next;
    my ($id) = /"id":"([0-9a-f]{64})"/ or next;
    my ($kind) = /"(copy|manifest)"/ or next;
    my ($run) = /"run=([0-9a-f]{16})"/ or next;
    my ($life) = /"life=([0-9a-f]{16})"/;
    my ($host) = /"hostname":"([A-Za-z0-9_.-]{1,255})"/;
    print "$time $kind $run $id ", $life // "-", " ", $host // "-", "\n" }' "$work/snapshots"
}

# What the plan no longer keeps, and what is half: a copy without manifest was never offered. Those of the last day may
# still be under way elsewhere, unless they had one until now. Each life by itself: what began empty on a new host displaces no copy from before.
# What was made here last stays, whatever time it bears: without it the repository would look as if it had been set back.
forget() {
  snapshots >"$work/list" || return 1
  last_run=$(field run "$state")
  awk '$2 == "manifest" { print $5 }' "$work/list" | sort -u >"$work/lives"
  while read -r life; do
    # shellcheck disable=SC2086  # a list of options
    with_restic forget --tag "manifest,life=$life" --group-by '' $keep ${run:+--keep-tag "run=$run"} ${last_run:+--keep-tag "run=$last_run"} </dev/null >/dev/null 2>"$work/said" || return 1
  done <"$work/lives"
  awk '$2 == "manifest" { print $3 }' "$work/list" | sort -u >"$work/whole"
  snapshots | sort >"$work/list"
  day=$(date -u -d '1 day ago' '+%FT%T')
  half=$(awk -v day="$day" 'FILENAME == ARGV[1] { was[$1]; next } { has[$3]++; id[$3] = id[$3] " " $4; time[$3] = $1 }
    END { for (run in has) if (has[run] < 2 && (time[run] < day || run in was)) print id[run] }' "$work/whole" "$work/list")
  # shellcheck disable=SC2086
  [ -z "$half" ] || with_restic forget $half >/dev/null 2>"$work/said"
}

# Whether a version is an earlier one than another, by its first two numbers; not where one of them is not known.
is_older() {
  is "$1" '[0-9]{1,4}\.[0-9]{1,4}(\.[0-9]{1,4})?' && is "$2" '[0-9]{1,4}\.[0-9]{1,4}(\.[0-9]{1,4})?' || return 1
  [ "$(printf '%s\n' "$1" "$2" | cut -d. -f1,2 | sort -V | head -n 1)" != "$(echo "$2" | cut -d. -f1,2)" ]
}

# Whether every line of a manifest is one that this tool writes, and those are there, once, that are used.
is_manifest() {
  ! grep -qvxE "format 1|role [a-z][a-z0-9_-]{0,30}|at [1-9][0-9]{0,11}|host [A-Za-z0-9_.-]+|(machine|life) [0-9a-f]{16}|server [0-9.]{0,40}|kind (log|snapshot)|digest [0-9a-f]{64}|answered (yes|no)|(bytes|newest|keys|expires|low|high) $number|(before|after) db[0-9]{1,5} keys=[0-9]{1,20},expires=[0-9]{1,20}|sample [0-9]{1,5} $sampled" "$1" &&
    awk 'length($0) > 2100 || $1 == "host" && length($2) > 255 { exit long = 1 }
      { has[$1]++ }
      END {
        if (long) exit 1
        for (word in has) if (has[word] > 1 && word != "before" && word != "after" && word != "sample") exit 1
        if (!has["format"] || !has["at"] || !has["kind"] || !has["digest"] || !has["bytes"] || has["sample"] > 320) exit 1
        exit has["low"] != has["high"] || has["low"] > has["expires"]
      }' "$1"
}
# Unpacks the copy of run $1 as the role's user, and judges it by its manifest, which is in $work/manifest then.
unpack() { # $2, $3: where its log, or its snapshot, goes
  read_restic "$work/manifest" $largest_manifest dump --tag "manifest,run=$1" latest "/$copied.manifest" ||
    { echo "its manifest cannot be read: $(last_words <"$work/said")"; return 1; }
  is_manifest "$work/manifest" || { echo "its manifest is of another form than this tool's"; return 1; }
  made_by=$(field server "$work/manifest") installed=$(redis-server --version | sed -nE 's/.* v=([0-9.]+) .*/\1/p')
  ! is_older "$installed" "$made_by" ||
    { echo "it is of Redis $made_by, this host has $installed, expected as new a one: an older server does not load it: upgrade this host${only_reads:+, or let another one prove it}"; return 1; }
  bytes=$(field bytes "$work/manifest")
  # Its log has at most three and a half times maxmemory where it is written anew as it should be; on its own host it is
  # what it is, and may be all that there is.
  [ -z "$only_reads" ] || [ "$memory" = infinity ] || [ "$bytes" -le $((4 * memory)) ] ||
    { echo "it has $bytes bytes, expected at most $((4 * memory)), of a role with its maxmemory: where its log is that long, let its server write it anew (BGREWRITEAOF), and make another copy"; return 1; }
  free=$(df -B1 --output=avail "${3%/*}" | tail -n 1)
  needed=$((bytes + reserve))
  [ "$free" -gt "$needed" ] || { echo "no room: ${3%/*} has $free bytes free, expected $needed: the copy, and $reserve that stay free"; return 1; }
  mkfifo "$work/sum"
  sha256sum <"$work/sum" >"$work/digest" &
  summing=$!
  bound=7200
  { with_restic dump --tag "copy,run=$1" latest "/$copied.tar" 2>"$work/said"; echo $? >"$work/dumped"; } |
    tee "$work/sum" | as_role timeout 7200 perl "$tools/unpack.pl" "$2" "$name" "$3" "$bytes" >"$work/unpacked" 2>&1
  unpacked=$?
  bound=''
  wait "$summing"
  rm "$work/sum"
  # Who takes no more of it ends it by SIGPIPE, and says why.
  case $(cat "$work/dumped")-$unpacked in 0-* | 141-[!0]*) true ;; *) false ;; esac || { echo "it cannot be read from its repository: $(last_words <"$work/said")"; return 1; }
  [ "$unpacked" = 0 ] || { last_words <"$work/unpacked"; return 1; }
  [ "$(cut -d' ' -f1 "$work/digest")" = "$(field digest "$work/manifest")" ] ||
    { echo "it is not what was stored: its SHA-256 is another than its manifest says"; return 1; }
  if [ "$(field kind "$work/manifest")" = log ]; then
    as_role timeout $checking prlimit --fsize=1048576 redis-check-aof "$2/$name.manifest" </dev/null >"$work/checked" 2>&1
    grep -q 'All AOF files and manifest are valid' "$work/checked"
  else
    as_role timeout $checking prlimit --fsize=1048576 redis-check-rdb "$3" </dev/null >"$work/checked" 2>&1
  fi || { echo "redis-check finds it damaged: $(checked_words <"$work/checked")"; return 1; }
}

# The server of the proof: no port, no log of its own, nothing that it may drop.
scratch_config() {
  appendonly=no
  [ "$(field kind "$work/manifest")" = snapshot ] || appendonly=yes
  printf '%s\n' "port 0" "unixsocket $1/socket" "unixsocketperm 700" "dir $1" "daemonize no" 'save ""' "maxmemory 0" \
    "databases $databases" "appendonly $appendonly" "appenddirname log" "appendfilename $name" "dbfilename snapshot.rdb" \
    "aof-load-truncated no" "auto-aof-rewrite-percentage 0" "logfile $1/messages"
}
# What the unit's own bound would end, where the kernel has no such bound for it, and in words that say why.
fits() {
  used=$(sed -nE 's/^used_memory:([0-9]{1,15}).*/\1/p' "$work/loaded" | head -n 1)
  [ "$memory" = infinity ] || [ "${used:-0}" -le "$memory" ] || failed "$too_large"
}
# Its own words, or what systemd says of it, where it was ended before it said anything.
why_ended() {
  words=$(as_role tail -n 5 "$in/messages" 2>/dev/null | last_words)
  echo "${words:-it ended, and said nothing: $(systemctl show -P Result "$server" | last_words)}"
}
ask_scratch() { reading -s "$scratch/$role/own/socket" --raw; }
# A unit of its own, whoever runs the proof: it sees its own directory and no network, and cannot take more memory than
# the proof is planned for, nor more of the disk than was free for it. Why it ended is read before it is collected.
start_scratch() {
  server=caas-redis-scratch-$role.service
  systemctl stop "$server" 2>/dev/null
  systemctl reset-failed "$server" 2>/dev/null
  largest=$(($(field bytes "$work/manifest") + spare))
  systemd-run --quiet --unit="$server" --service-type=exec --property=RuntimeMaxSec=$((2 * patience)) \
    --property="User=$user" --property="Group=$user" --property=UMask=0077 --property=LimitCORE=0 --property="LimitFSIZE=$largest" \
    --property="MemoryMax=$memory" --property=MemorySwapMax=0 --property=TasksMax=64 \
    --property=Nice=15 --property=IOSchedulingClass=idle --property=CPUWeight=10 --property=OOMScoreAdjust=800 \
    --property=PrivateNetwork=yes --property=RestrictAddressFamilies=AF_UNIX --property=PrivateDevices=yes --property=PrivateTmp=yes \
    --property=ProtectSystem=strict --property="ReadWritePaths=$1/own" --property=ProtectHome=yes \
    --property="InaccessiblePaths=-/etc/redis -/var/lib/redis -$records" --property=NoNewPrivileges=yes --property=CapabilityBoundingSet= \
    --property=MemoryDenyWriteExecute=yes --property=ProtectKernelModules=yes --property=ProtectKernelTunables=yes \
    --property=ProtectControlGroups=yes --property=RestrictNamespaces=yes --property=RestrictSUIDSGID=yes --property=LockPersonality=yes \
    --property=SystemCallArchitectures=native --property=SystemCallFilter=@system-service \
    redis-server "$1/redis.conf" 8>&- 9>&- 2>"$work/said"
}

# As it stands: whoever only reads a repository keeps nobody from writing to it meanwhile.
as_it_stands() {
  [ -z "$only_reads" ] || { with_restic list index; with_restic list snapshots; } 2>/dev/null | sort | sha256sum
}
# The newest copy that is whole and not of a time to come, of a host or, without one, of any: RUN TIME.
newest_copy() {
  sort -r "$work/list" | awk -v of="$1" -v latest="$(date -u -d '1 minute' '+%FT%T')" '$2 == "copy" { copied[$3] }
    $2 == "manifest" && (of == "" || (index(" " of " ", " " $6 " ") && $1 <= latest)) { order[++count] = $3; time[$3] = $1 }
    END { for (at = 1; at <= count; at++) if (order[at] in copied) { print order[at], time[order[at]]; exit } }'
}
in_utc() { date -u -d "@$1" '+%F %T UTC'; }
# Which copy is to be proved: sets `run`, empty where there is none and that is well, and else `why` not.
choose_run() {
  why=''
  snapshots >"$work/list" || { why="its repository cannot be read: $(last_words <"$work/said")"; return 1; }
  run=$1
  [ -z "$run" ] || return 0
  if [ -n "$only_reads" ]; then
    choose_newest
    return
  fi
  ! is_here "$state" || run=$(field run "$state")
  why=$(set_back)
  [ -z "$why" ] || return 1
  [ -n "$run" ] || run=$(newest_copy '' | cut -d' ' -f1)
  [ -n "$run" ] || [ "$(field empty "$state")" = yes ] || { why="there is no copy to prove"; return 1; }
}
# What its host made last is known there alone. A repository that was set back has good copies, too, and is known here by
# its newest one: that is older than its host's plan has it, or than what was proved here before.
choose_newest() {
  homes="$host${also:+ or $also}"
  newest_copy "$host $also" >"$work/newest"
  read -r run time <"$work/newest" || { run='' time=''; }
  made=0 last=''
  [ -z "$time" ] || made=$(date -u -d "$time" +%s)
  ! is_here "$proof" || [ "$(field repository "$proof")" != "$proved_in" ] || last=$(field copied "$proof")
  is "$last" '[0-9]{1,12}' || last=0
  if [ -z "$run" ] && [ "$last" != 0 ]; then
    why="its repository has no copy of $homes, and had one of $(in_utc "$last"): it was set back, or somebody deleted it"
  elif [ -n "$run" ] && [ "$made" -lt "$last" ]; then
    why="its newest copy of $homes is of $(in_utc "$made"), and one of $(in_utc "$last") was proved here: it was set back, or somebody deleted it"
  elif [ -n "$run" ] && [ "$made" -lt $((began - late)) ]; then
    why="its newest copy of $homes is of $(in_utc "$made"), expected one of the last $((late / 3600)) hours: none is made any more, or it was set back"
  fi
  [ -z "$why" ]
}
# That copy lies in the scratch place, as it was stored; else `why` not.
bring() {
  [ -n "$1" ] || with_restic check --read-data-subset="$(($(now) / week % 4 + 1))/4" >/dev/null 2>"$work/said" ||
    { why="its repository is damaged: $(last_words <"$work/said")"; return 1; }
  rm -rf "${scratch:?}/$role"
  { mkdir -m 0711 "$scratch/$role" && install -d -m 0700 -o "$user" -g "$user" "$in"; } || failed "$scratch cannot be written"
  why=$(unpack "$run" "$in/log" "$in/snapshot.rdb") || { why="the copy of run $run: $why"; return 1; }
}
# For a restore, on a host whose memory is planned without a proof.
has_memory() {
  [ "$elsewhere" = proved ] && [ "$memory" != infinity ] || return 0
  available=$(sed -nE 's/^MemAvailable: +([0-9]{1,12}) kB.*/\1/p' /proc/meminfo)
  [ $((${available:-0} * 1024)) -ge "$memory" ] ||
    failed "not proved: this host has ${available:-an unknown number of} kB of memory available, expected $((memory / 1024)) for the server that loads it: its proofs run elsewhere (prove_on)"
}

prove_copy() { # $1: of this run only, for a restore; without it the newest one, whose proof is recorded
  to=$proof
  [ -z "$1" ] || to=/dev/null
  hold proof
  hold_role
  began=$(now)
  have_repository prove
  proved_in=$(cat "$work/id")
  [ -z "$1" ] || has_memory
  install -d -m 0711 "$scratch"
  scratched=yes  # by whoever has the lock: another one's is not taken away
  in=$scratch/$role/own tries=5
  until standing=$(as_it_stands) && choose_run "$1" && { [ -z "$run" ] || bring "$1"; }; do
    tries=$((tries - 1))
    # What its host wrote or forgot meanwhile is no damage.
    { [ -n "$only_reads" ] && [ "$tries" -gt 0 ] && [ "$standing" != "$(as_it_stands)" ]; } || failed "$why"
  done
  if [ -z "$run" ]; then
    if [ -n "$only_reads" ]; then
      # Whether it should have is known there alone; so this is no proof either.
      printf '%s\n' "result ok" "at $began" "keys 0" "repository $proved_in" "where $where" | record "$proof"
      echo "$role: $homes has made no copy yet: there is nothing to prove yet"
    else
      printf '%s\n' "result ok" "at $began" "good $began" "keys 0" "repository $proved_in" "where $where" | record "$proof"
      echo "$role: it is empty and has never saved: there is nothing to prove yet"
    fi
    return 0
  fi
  scratch_config "$in" >"$scratch/$role/redis.conf"
  chmod 0644 "$scratch/$role/redis.conf"
  start_scratch "$scratch/$role" || failed "a server for the proof could not be started: $(last_words <"$work/said")"
  deadline=$(($(now) + patience))
  too_large="the copy of run $run needs more memory than the $memory bytes that its proof may take, 1.25 times maxmemory and 128 MiB: if maxmemory was made smaller since, make another copy"
  until echo INFO | ask_scratch >"$work/loaded" && numbers <"$work/loaded" >"$work/counted"; do
    fits
    systemctl is-active --quiet "$server" || [ "$(systemctl show -P Result "$server")" != oom-kill ] || failed "$too_large"
    systemctl is-active --quiet "$server" || failed "a server does not load the copy of run $run: $(why_ended)"
    [ "$(now)" -lt "$deadline" ] || failed "a server has not loaded the copy of run $run in $patience s"
    sleep 0.2
  done
  fits
  read -r loaded _ <"$work/counted"
  [ -n "$1" ] || is_compared ||
    failed "the copy of run $run was loaded, $loaded keys, and there is nothing to compare it with: its server did not answer reader when it was made (journalctl -u caas-redis-backup-$role)"
  low=$(field low "$work/manifest") high=$(field high "$work/manifest") expires=$(field expires "$work/manifest")
  if [ -n "$low" ] && { [ "$loaded" -gt "$high" ] || [ "$loaded" -lt $((low - expires)) ]; }; then
    failed "the copy of run $run has $loaded keys, expected $low to $high ($expires of them with a TTL)"
  fi
  sed -n 's/^sample //p' "$work/manifest" >"$work/samples"
  sample_again ask_scratch "$work/samples" | sort >"$work/found"
  differs=$(differing)
  [ -z "$differs" ] || failed "the copy of run $run has other values than the server had: $differs"
  [ -n "$1" ] || {
    echo "result ok"
    echo "at $began"
    echo "good $began"
    echo "keys $loaded"
    echo "run $run"
    [ -z "$only_reads" ] || echo "copied $made"
    echo "repository $proved_in"
    echo "where $where"
  } | record "$proof"
  echo "$role: the copy of $(date -u -d "@$(field at "$work/manifest")" '+%F %T') UTC was loaded by a server: $loaded keys, $(wc -l <"$work/samples") of them compared"
  [ -n "$1" ] || [ -z "$keep" ] || with_restic prune >/dev/null 2>"$work/said" || echo "$role: what was forgotten could not be removed: $(last_words <"$work/said")"
}
# A snapshot's bounds are of the very file: without its server's word that is no comparison.
is_compared() { grep -qE '^(low|sample) ' "$work/manifest" && ! grep -qx 'answered no' "$work/manifest"; }
# How many samples the server of the proof has not, by database. Which, is nobody's who reads journals or processes. One
# that has expired since may be gone.
differing() {
  awk -v soon=$(($(now) + 60)) 'FILENAME == ARGV[1] { found[$0]; next }
    { asked[$1]++ }
    !($0 in found) && !($4 > 0 && int($4 / 1000) < soon) { lacks[$1]++ }
    END { for (database in lacks) print database, lacks[database] " of " asked[database] " samples in database " database }' \
    "$work/found" "$work/samples" | sort -n | cut -d' ' -f2- | paste -sd, | sed 's/,/, /g'
}
# A deploy that has just written what opens it: else nobody would know for a week that it does not.
try_to_open() {
  to=$proof
  # A proof takes hours: nobody waits for it. One of this role that is under way records by itself what it finds.
  exec 8>"/run/caas-redis/$role.backup.lock"
  flock --nonblock 8 || to=/dev/null
  find_place
  ! found_bad || to=/dev/null  # until a proof finds it well
  have_repository prove
  proved_in=$(cat "$work/id")
  [ "$to" = /dev/null ] || take_back
  echo "$role: the repository of its copies opens"
}
# It could not be opened, and that alone was red: what was known before is known again.
take_back() {
  is_here "$proof" && [ "$(field opens "$proof")" = no ] || return 0
  good=$(field good "$proof")
  if is "$good" '[0-9]{1,12}' && [ "$(field repository "$proof")" = "$proved_in" ]; then
    { printf '%s\n' "result ok" "at $good"; still_holds; } | record "$proof"
  else
    rm -f "$proof"
  fi
}
hold_role() {
  exec 8>"/run/caas-redis/$role.backup.lock"
  flock --wait 7200 8 || failed "another backup has not ended in two hours"
}

list_copies() {
  open_repository || { last_words <"$work/said" >&2; exit 1; }
  bound=120
  read_restic "$work/snapshots" $largest_list snapshots --json || { last_words <"$work/said" >&2; exit 1; }
  cat "$work/snapshots"
}

# For a restore: unpacked where nobody loads it yet. Prints the manifest.
fetch_copy() {
  open_repository || { last_words <"$work/said" >&2; exit 1; }
  why=$(unpack "$1" "$2" "$3") || { echo "$why" >&2; exit 1; }
  cat "$work/manifest"
}

# The role has the data of a copy now. One of its own leaves it what it is; with another one's begins other data, which
# goes on from that: what its first host may copy later is not of it.
continue_life() {
  to=/dev/null
  hold "$role.backup"
  have_life "$(a_life)" "$began" unknown || failed "$lives cannot be written"
  if [ "$own_life" = "$1" ]; then
    [ -z "$after" ] || return 0
    after=$1-$2  # its own, by a person's word: that ends the question whether what began here is what is wanted
  else
    own_life=$(a_life) first=$began after=$1-$2 begun=''
  fi
  note_life || failed "$lives cannot be written"
  [ ! -e "$state" ] || { grep -vE '^(first|life|after|begun) ' "$state"; printf '%s\n' "first $first" "life $own_life" "after $after" ${begun:+"begun $begun"}; } | record "$state"
}

# For an undo: from when on the last file of the role's own log says when what was written; nothing where it does not.
reach() {
  last=$(last_file "$directory/$log/$name.manifest")
  [ -z "$last" ] || moments "$directory/$log/$last" first
}
last_file() { as_role timeout 10 sed -nE 's/^file ([A-Za-z0-9._-]+) seq [0-9]+ type i.*/\1/p' "$1" | tail -n 1; }
moments() { as_role timeout $checking perl "$tools/moments.pl" "$1" "$2" | head -c 64; }

# The role's own log, as at one moment, without what was written after a second. It stays what it is itself.
cut_log() { # $1: where the cut one goes
  free=$(df -B1 --output=avail "${1%/*}" | tail -n 1)
  needed=$(($(as_role timeout 60 du -sb -- "$directory/$log" | cut -f1) + reserve))
  [ "$free" -gt "$needed" ] || { echo "no room: ${1%/*} has $free bytes free, expected $needed: another log, and $reserve that stay free" >&2; exit 1; }
  # A log that is damaged behind the second is whole until then: whether it is, is for redis-check-aof to say.
  { copy any; echo $? >"$work/copied"; } | as_role perl "$tools/unpack.pl" "$1" "$name" "$1.snapshot" $((free - reserve)) >"$work/unpacked" 2>&1 ||
    { last_words <"$work/unpacked" >&2; exit 1; }
  [ "$(cat "$work/copied")" = 0 ] || { last_words <"$work/copier" >&2; exit 1; }
  # What a rewrite has taken into the base is cut by nobody, and redis-check-aof calls that well.
  last=$(last_file "$1/$name.manifest")
  begins=$([ -z "$last" ] || moments "$1/$last" first)
  { is "$begins" '[0-9]{1,12}' && [ "$begins" -le "$2" ]; } ||
    { echo "its log was written anew meanwhile, and reaches back to ${begins:-no second} only, expected $2: restore again, from a copy" >&2; exit 1; }
  as_role timeout $checking prlimit --fsize=1048576 redis-check-aof --truncate-to-timestamp "$2" "$1/$name.manifest" </dev/null >"$work/checked" 2>&1
  cut=$?
  { [ "$cut" = 0 ] && grep -q 'All AOF files and manifest are valid' "$work/checked"; } ||
    { echo "it cannot be cut there: $(checked_words <"$work/checked")" >&2; exit 1; }
  ends=$(moments "$1/$last" all | cut -d' ' -f2)
  { is "$ends" '[0-9]{1,12}' && [ "$ends" -le "$2" ]; } ||
    { echo "it was not cut: it has writes of later, ${ends:-nobody knows when}, expected none after $2" >&2; exit 1; }
}

case $1 in
  make) make_copy ;;
  prove) prove_copy "${2:-}" ;;
  try) try_to_open ;;
  begin) begin_life ;;
  follow) follow_life "$2" "$3" ;;
  continue) continue_life "$2" "$3" ;;
  sweep) sweep ;;
  list) list_copies ;;
  reach) reach ;;
  cut) cut_log "$2" "$3" ;;
  fetch) fetch_copy "$2" "$3" "$4" ;;
esac
