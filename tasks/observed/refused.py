"""A server's log of what it has refused: to whom, when, and which of those tries were this tool's own."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

from tasks.catalogue.acl_rules import PROOF
from tasks.catalogue.metrics import METRICS
from tasks.catalogue.printable import printable
from tasks.observed.exchange import Reply, ReplyError
from tasks.observed.moment import Denied
from tasks.observed.replies import StrangeReply

# Entries of a server's log of refusals, which has no more unless somebody set acllog-max-len.
LOG = ("ACL", "LOG", "128")
# An entry of that log counts alike tries within a minute: a deploy and some verifies may fall into one, each with two
# ports. What is more is not the proof's, whoever came last and is named by it.
MOST_PROOFS = 8
WORD = 64  # characters that are shown of a name


def read_refusals(reply: Reply, addresses: Collection[str]) -> tuple[Denied, ...]:
    """The log of refusals of a server of a host with `addresses`, the newest first. Raises StrangeReply."""
    return tuple(_denied(item, addresses) for item in items(reply) if not _is_the_exporter_s(item))


def reach(reply: Reply) -> int | None:
    """How many seconds that log goes back, whatever it is about; None where it has nothing. Raises StrangeReply."""
    return max((_denied(item, ()).age for item in items(reply)), default=None)


def items(reply: Reply) -> Iterator[list[Reply]]:
    """The entries of a log of a server's; none of one that it does not show. Raises StrangeReply."""
    if isinstance(reply, ReplyError):
        return
    if not isinstance(reply, list) or not all(isinstance(item, list) for item in reply):
        raise StrangeReply("a log of it is no list of entries")
    for item in reply:
        if isinstance(item, list):
            yield item


def whole_number(value: Reply, what: str) -> int:
    """A number of a reply. Raises StrangeReply."""
    if type(value) is not int:
        raise StrangeReply(f"{what} is no number")
    return value


def short_name(value: Reply) -> str:
    """The beginning of a name that somebody chose."""
    return printable(str(value))[:WORD] if isinstance(value, str) else ""


def _is_the_exporter_s(entry: list[Reply]) -> bool:
    """What the exporter is refused with each scrape, and cannot be kept from asking for (docs/decisions/0030)."""
    said = dict(zip(entry[::2], entry[1::2], strict=False))
    return (said.get("reason"), said.get("username"), said.get("object")) == ("command", METRICS, "slowlog|get")


def _denied(entry: list[Reply], addresses: Collection[str]) -> Denied:
    """Name and value in turn. What it was about may be the name of a key, and is left out.

    This tool's proof has given its connection a name, which only who logs in can, and comes from the host itself.
    """
    said = {str(name): value for name, value in zip(entry[::2], entry[1::2], strict=False)}
    age = re.match(r"([0-9]{1,12})", str(said.get("age-seconds", "")))
    client = str(said.get("client-info", ""))
    address = re.search(r"(?:^| )addr=(\S{1,64})", client)
    count = whole_number(said.get("count"), "a number of refusals")
    own = address is not None and address[1].rpartition(":")[0] in addresses and f" name={PROOF} " in f" {client} "
    return Denied(
        reason=short_name(said.get("reason")),
        user=short_name(said.get("username")),
        count=count,
        age=int(age[1]) if age else 0,
        address=printable(address[1]) if address else "",
        proofs=min(count, MOST_PROOFS) if own and said.get("reason") == "auth" else 0,
    )
