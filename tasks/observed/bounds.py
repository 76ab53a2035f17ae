"""How long a host may take and how much it may say, and why: every bound of a run stands here. Pure.

A bound is total: what says a little for ever reaches it, too. A slow but honest host does not come near one.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

BEAT = 5  # seconds between two signs of life on a connection
SILENCE = 30  # seconds without an answer after which either side takes the other for gone
SESSION = 30  # seconds for one of the sessions that a connection has to end, where sshd has no more
START = 60  # seconds for a host to begin a command: sshd only forks, but a host may swap
WORD = 60  # seconds between two words about a change that goes on

# Seconds for one program of a look. All of them answer in a hundredth on a calm host; systemctl waits for a
# daemon-reload, which takes seconds with many units. What hangs (df on a lost network disk) hangs for ever.
PROGRAM = 20
GREETED = 15  # seconds for a host to greet with that line once it is connected to, as paramiko has it
GREETING = 8192  # bytes of a line that a host greets with before SSH begins; the protocol allows 255
LINE = 200  # bytes that a line costs beside its text: five million empty ones would take a gigabyte


@dataclass(frozen=True)
class Bound:
    """What may take how long in all, and say how much in all, in bytes; `silence`: at most so long without a word.

    `ends`: what says more is ended. Otherwise it goes on, and the rest of what it says is left out.
    """

    what: str
    seconds: float
    size: int
    silence: float | None = None
    ends: bool = True

    def too_long(self) -> str:
        """What was observed and expected of something that did not end."""
        return f"{self.what} has not ended after {self.seconds:.0f} s, expected far less"

    def too_silent(self, seconds: float) -> str:
        """What was observed of something that says nothing for so long."""
        return f"{self.what} has said nothing for {seconds:.1f} s, expected far less"

    def too_much(self) -> str:
        """What was observed and expected of something that said too much."""
        return f"{self.what} says more than {self.size >> 20} MiB, expected far less"


# A command that only reads, or changes a file or two. The look takes 0.3 s, 1.5 s when forty hosts share two cores.
# Before it, sudo may wait 30 s for a resolver and 25 s for systemd's session; five programs of it may take PROGRAM
# each. On 64 kbit/s its 70 KiB take ten seconds. The size is a look's own limit (records.py), encoded, and a greeting.
LOOK = Bound("a command that takes a second", 120, 16 << 20)

# A command that installs, restarts, saves, loads or writes a log anew. apt waits up to 300 s for another apt and then
# loads 2 MB; the scripts wait up to 900 s for a data set, and redis-check-aof 600 s: those say more when they end it,
# so this comes last. It ends nothing on the host, which works on: only this run no longer waits.
CHANGE = Bound("the command", 3600, 16 << 20, ends=False)

# One conversation with a server, some hundred KiB both ways. Silent: one that loads or is busy answers at once and says
# so. In all: the longest, 100 KiB of CONFIG and INFO, takes a tenth of a second, a quarter of a minute on 64 kbit/s.
EXCHANGE = Bound("the conversation with the server", 60, 4 << 20, silence=10)


@dataclass
class Patience:
    """How long who looks on (status) waits for hosts and servers that say nothing; in all so many `seconds`.

    `began`: time.monotonic() when it began to look, at so many `hosts`. Nothing is done about what is seen, and all may
    be asked again. A server whose disk or script holds it up answers within this, or what it does is what the person
    came to see.
    """

    began: float
    seconds: float
    hosts: int = 1
    answered: list[float] = field(default_factory=list)  # seconds that hosts took which have said how they are

    def heard(self, now: float) -> None:
        """One more host has said how it is."""
        self.answered.append(now - self.began)

    def for_a_host(self, since: float) -> float:
        """Seconds that a host may say nothing, since then: until most of the whole is gone.

        Where hosts are far away or busy, twice as long as the slowest took that have answered, once half of them have.
        """
        half = 2 * len(self.answered) >= self.hosts
        whole = max(FOR_ANSWERS * self.seconds, 2 * max(self.answered) if half and self.answered else self._most)
        return max(self.began + whole - since, self._at_least(since))

    def for_a_server(self, since: float) -> float:
        """The same of a server: as long again as its host has taken, where that was slow."""
        return min(GLANCE, max(self.began + FOR_ANSWERS * self.seconds - since, self._at_least(since)))

    def to_begin(self, most: float) -> float:
        """Seconds for a host to begin a command."""
        return min(most, 2 * FOR_ANSWERS * self.seconds)

    def narrowed(self, bound: Bound, now: float) -> Bound:
        """The bound of a conversation with a server, for who looks on."""
        return replace(bound, silence=min(bound.silence or GLANCE, self.for_a_server(now)))

    @property
    def _most(self) -> float:
        return max(ALONE, FOR_ANSWERS * self.seconds)

    def _at_least(self, since: float) -> float:
        return max(LEAST, since - self.began)


FOR_ANSWERS = 0.75  # of the whole: the rest goes into what is made of the answers
LEAST = 1.0  # seconds for anybody
ALONE = 10  # seconds for a host beside which no other has answered: there is nothing else to be shown
GLANCE = 3  # seconds for a server to say something, however long hosts take
SEEN_BY_A_PERSON = 2  # seconds in all, of hosts that are not busy: who looks on sees the others then
SEEN_BY_NOBODY = 60  # seconds; a run that writes a file for Prometheus each minute
REACHED = 3  # seconds for a host to be connected to, and again for it to greet, where a person waits

# The word of the process that holds a host for a deploy, and what a login prints before it.
HOLD = Bound("the command that holds the host", 120, 1 << 20, silence=SILENCE + 5)

# What is waited for within those, in seconds.
PATIENCE = 900.0  # for a rewrite to end, or for a server to load its data
PASSING = 30.0  # for what may pass by itself: a script, a crowd of clients, a pause
ENDING = 15.0  # for a server that was told to end, and writes nothing: it does within a second unless its script loops
LOAD_PATIENCE = 900  # to load a data set and write it anew; 512 MB take about two
CHECK_PATIENCE = 600  # for one look at a log; 500 MB take three to six
ASIDE_PATIENCE = 300  # for an old log to be deleted, which may be large and its disk slow
APT_PATIENCE = 300  # for an apt that goes on after its controller was killed, or unattended-upgrades
OWN_PATIENCE = 60  # for a few files to change hands
TRIAL_PATIENCE = 60  # for an empty server to come up; a virtual machine without KVM takes three
JOURNAL_PATIENCE = 10.0  # for what a server has said to be in the journal; it is there at once on a calm host
HOLD_PATIENCE = 3  # for a deploy that has just ended to let go
BACK_PATIENCE = 300.0  # for a server or a host to come back in a drill; a VM without KVM boots in half a minute
