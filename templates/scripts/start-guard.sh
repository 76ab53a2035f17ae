#!/bin/sh
# A role that has a standby serves only while the other one of the pair does not (docs/decisions/0034).
#
# Asked before each start (ExecStartPre=, as root). That of a copy serves nobody. Else the other one is asked: it serves: this
# one stays down; it follows this one: it starts. It does not tell: this one starts where its host was not booted since it
# served here last (`served`, below /run), or where nobody can have been put in its place (`promoted`): it was put in that of
# the other one, which did not follow it since, or the other one never followed it. Any other waits: systemd tries again, and each try asks. None rather than two.
# `passwords`: of the other one's user, newest first, one a line, in a file that root alone reads. `tls`: how redis-cli speaks TLS
# to it, where the role does (docs/decisions/0036).
: "${role?}" "${unit?}" "${drop_in?}" "${user?}" "${host?}" "${port?}" "${own_host?}" "${own_port?}"
: "${passwords?}" "${served?}" "${note?}" "${promoted?}" "${patience?}" "${limit?}" "${memory?}" "${tries?}" "${tls?}"
# With `try` it only says what it was told, in one line, and nothing where that is nothing, or no connection is there: a look asks so
# (templates/scripts/look.sh), of one that says by `tells` that it can be asked. With `asks` it says whether the role's address may be
# taken (docs/decisions/0035): nothing is noted, for no server starts by it, and a copy takes none.
: "${tells?}"
export LC_ALL=C
mode=${1-} done=started undone='not started' waits='not started, asked again'
[ "$mode" != asks ] || { done='address taken'; undone='address not taken'; waits='address not taken, asked again'; }
# Some of it are words of another host: never by echo, which makes control characters of what it takes for their names.
say() { printf '%s\n' "$role: $*" >&2; }
# Which start this is says systemd, of what it has loaded: a file may have come or gone since.
loaded() { timeout "$patience" systemctl show -P DropInPaths -- "$unit" 2>/dev/null; }
is_copy() { case " $1 " in *" $drop_in "*) ;; *) return 1 ;; esac; }
case $mode in
  try) [ -n "$(timeout "$patience" ss -Htn state established dst "$host" 2>/dev/null)" ] || exit 0 ;;
  asks)
    # A copy by either: the next start goes by the file as soon as that is loaded, and until then by what is.
    paths=$(loaded) || { say "$waits: systemctl show $unit fails"; exit 1; }
    if [ -e "$drop_in" ] || is_copy "$paths"; then say "$undone: this host does not serve it"; exit 1; fi
    [ ! -e "$served" ] || exit 0
    ;;
  *)
    if is_copy "$(loaded)"; then
      rm -f "$served"
      exit 0
    fi
    ;;
esac
# From the role's own address, as replication: who lets that in lets this in. However much is said there: `limit` bytes of it
# are read, in `memory`. A list becomes a line for each of its words.
ask() {
  if [ -n "$tls" ]; then ask_sealed "$1"; else ask_in_clear "$1"; fi </dev/null 2>/dev/null | head -c "$limit" | tr -d '\000\r'
}
# redis-cli cannot choose where it comes from: what it says to a socket of root's goes on from there, and no more comes back than
# hands shaken and an answer are long.
# shellcheck disable=SC2016  # for perl
ask_sealed() {
  mkdir -p "${served%/*}" && cd "${served%/*}" || return
  # shellcheck disable=SC2086  # tls is a list of plain words
  REDISCLI_AUTH=$1 prlimit --as="$memory" timeout -k 1 "$patience" perl -MIO::Socket::INET -MIO::Socket::UNIX -MIO::Select -e '
    umask 077;
    my ($own, $host, $port, $way, $left, @cli) = @ARGV;
    sub meet { IO::Socket::INET->new(LocalAddr => $own, PeerAddr => $host, PeerPort => $port, Proto => "tcp") }
    my $peer = meet() or do { print "Could not connect from $own: $!\n"; exit 1 };
    unlink $way;
    my $door = IO::Socket::UNIX->new(Local => $way, Listen => 1) or exit 1;
    my $cli = $$;
    defined(my $relay = fork) or exit 1;
    if ($relay) { exec "redis-cli", "-s", $way, @cli or exit 1 }
    close STDOUT; close STDERR;
    $SIG{PIPE} = "IGNORE";
    sub carry {
      my ($asks) = @_;
      my ($both, %other) = (IO::Select->new($peer, $asks), $peer => $asks, $asks => $peer);
      while (my @come = $both->can_read) {
        for my $from (@come) {
          my $got = sysread($from, my $bytes, 4096) or return;
          exit if $from == $peer and ($left -= $got) < 0;
          while (length $bytes) { substr($bytes, 0, syswrite($other{$from}, $bytes) || return, "") }
        }
      }
    }
    # It connects a second time to say why the first one failed.
    while (getppid == $cli) {
      next unless IO::Select->new($door)->can_read(0.1) and my $asks = $door->accept;
      carry($asks) if $peer ||= meet();
      undef $peer;
    }
  ' "$own_host" "$host" "$port" "$role.asks.$$" 65536 --user "$user" $tls ROLE 2>&1 | sed "s/ at $role\.asks\.$$:/ at $host:$port:/"
  rm -f "$role.asks.$$"
}
# shellcheck disable=SC2016  # for perl
ask_in_clear() {
  REDISCLI_AUTH=$1 prlimit --as="$memory" timeout -k 1 "$patience" perl -MIO::Socket::INET -e '
    my ($own, $host, $port, $user, $limit, $bound) = @ARGV;
    $SIG{PIPE} = "IGNORE";
    my $peer = IO::Socket::INET->new(LocalAddr => $own, PeerAddr => $host, PeerPort => $port, Proto => "tcp", Timeout => $bound)
      or do { print "Could not connect from $own: $!\n"; exit 1 };
    my ($come, $read) = ("", 0);
    sub more {
      exit 1 if $read >= $limit;
      my $got = sysread($peer, $come, 1024, length $come) or exit 1;
      $read += $got;
    }
    sub text { more() until $come =~ s/\A([^\n]*)\r?\n//; (my $text = $1) =~ s/\r\z//; $text }
    sub words {
      my ($depth) = @_;
      exit 1 if $depth > 4;
      my $head = text();
      return ($1) if $head =~ /\A[+:-](.*)/s;
      if ($head =~ /\A\$(\d{1,15})\z/) { more() until length $come >= $1 + 2; return substr(substr($come, 0, $1 + 2, ""), 0, $1) }
      if ($head =~ /\A\*(\d{1,4})\z/) { my @found; push @found, words($depth + 1) for 1 .. $1; return @found }
      exit 1;
    }
    sub said {
      syswrite($peer, join "", "*" . @_ . "\r\n", map { "\$" . length($_) . "\r\n$_\r\n" } @_);
      words(0);
    }
    my ($login) = said("AUTH", $user, $ENV{REDISCLI_AUTH});
    my @answer = $login eq "OK" ? said("ROLE") : ($login);
    print map { "$_\n" } @answer;
  ' "$own_host" "$host" "$port" "$user" "$limit" "$((patience > 1 ? patience - 1 : 1))"
}
line() { printf '%s\n' "$said" | sed -n "$1p" | tr -cd '[:print:]' | cut -c1-200; }
starts() {
  [ "$mode" != asks ] || exit 0
  umask 077
  mkdir -p "${served%/*}"
  printf '%s\n' "$note" >"$served"
  exit 0
}
forgotten() { rm -f "$promoted" && { [ ! -d "${promoted%/*}" ] || sync "${promoted%/*}"; }; }
said='' asked=0
if [ -r "$passwords" ]; then
  while IFS= read -r password && [ "$asked" -lt "$tries" ]; do
    case $password in ''|'#'*) continue ;; esac
    asked=$((asked + 1))
    said=$(ask "$password")
    case $said in *WRONGPASS*) ;; *) break ;; esac
  done <"$passwords"
fi
if [ "$mode" = try ]; then
  [ -z "$said" ] || printf '%s\n' "$(line 1) $(line 2) $(line 3)"
  exit 0
fi
case $(line 1) in
  master)
    say "$undone: $host:$port serves it, which was put in the place of this one: deploy, which makes this one its" \
      "standby and keeps what is here"
    exit 1
    ;;
  slave)
    if [ "$(line 2) $(line 3)" = "$own_host $own_port" ]; then
      # From here on it may be put in the place of this one again, also behind a cut.
      [ "$mode" = asks ] || forgotten || { say "$waits: that it may be replaced is not on disk"; exit 1; }
      starts
    fi
    why="it follows $(line 2):$(line 3), expected $own_host:$own_port"
    ;;
  '') why="no answer of a Redis server within $patience s" ;;
  *) why=$(line 1) ;;
esac
[ "$asked" != 0 ] || why="$passwords cannot be read, or has no password: deploy"
unknown="whether $host:$port serves it is not known ($why)"
if [ -e "$served" ]; then
  say "$unknown: $done, for this host has served it since it was booted"
  starts
fi
if [ -e "$promoted" ]; then
  say "$unknown: $done, for nobody can have been put in the place of this one"
  starts
fi
say "$waits: $unknown, and this host was booted since it served it; where nobody has put that one in the" \
  "place of this one: deploy with --data serve_alone=$role"
exit 1
