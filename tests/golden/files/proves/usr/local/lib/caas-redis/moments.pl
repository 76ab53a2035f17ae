# Written by the CAAS Redis repository (pyinfra deploy.py): change group_data/ or templates/ there.
# Prints the first second that a file of a log names, and with `all` the latest, too; nothing where it names none.
#
# What a log says of when is a line beginning with # where a command could begin. The same bytes in a value are a
# client's, so commands are read as what they are: `*COUNT`, and of each word `$LENGTH` and so many bytes.
use strict;
use warnings;
use Fcntl qw(O_RDONLY O_NOFOLLOW O_NONBLOCK);

my ($path, $how) = @ARGV;
my $PIECE = 1 << 20;
my $LONGEST_LINE = 128;  # that Redis reads
my $LARGEST_WORD = 1 << 40;

sysopen(my $file, $path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK) or die "$path: $!\n";
-f $file or die "$path: no regular file\n";
my ($buffer, $at, $broken) = ("", 0, 0);

sub more {
  $buffer = substr($buffer, $at);
  $at = 0;
  return sysread($file, $buffer, $PIECE, length $buffer);
}

# A line without its end; undef at the end of the file, and where what is there is no line of a log.
sub line {
  while (1) {
    my $end = index($buffer, "\n", $at);
    if ($end >= 0 && $end - $at < $LONGEST_LINE) {
      my $line = substr($buffer, $at, $end - $at);
      $at = $end + 1;
      $line =~ s/\r$//;
      return $line;
    }
    if (length($buffer) - $at >= $LONGEST_LINE || !more()) {
      $broken = 1 if length($buffer) > $at;
      return undef;
    }
  }
}

sub skip {
  my ($size) = @_;
  while (length($buffer) - $at < $size) {
    my $there = length($buffer) - $at;
    $size -= $there;
    $at += $there;
    more() or return 0;
  }
  $at += $size;
  return 1;
}

# Whether a command's words follow, all of them.
sub words {
  my ($count) = @_;
  for (1 .. $count) {
    my $line = line();
    return 0 if !defined $line || $line !~ /^\$([0-9]{1,13})$/ || $1 > $LARGEST_WORD || !skip($1 + 2);
  }
  return 1;
}

my ($first, $latest);
while (defined(my $line = line())) {
  if ($line =~ /^#/) {
    if ($line =~ /^#TS:([0-9]{1,12})$/) {
      $first //= $1;
      $latest = $1 if !defined $latest || $1 > $latest;
      last if $how ne "all";
    }
  } elsif ($line !~ /^\*([0-9]{1,9})$/ || !words($1)) {
    $broken = 1;
    last;
  }
}
exit 1 if $broken && $how eq "all";
print $how eq "all" ? "$first $latest\n" : "$first\n" if defined $first;
