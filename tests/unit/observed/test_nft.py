"""Rules as nft 1.0.6 and 1.1.3 print them, with those that iptables-nft made (docs/decisions/0010)."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.desired.paths import INNER_PORT_TABLE
from tasks.observed.nft import EVERY, forwards, legacy_takings, narrowed, owner, tables, takings, without
from tasks.observed.state import Ranges

PRINTED = """\
table ip redis_inner_port {
	chain prerouting {
		type nat hook prerouting priority dstnat; policy accept;
		ip daddr 172.28.2.5 tcp dport 6379 dnat to 172.28.2.5:6383
	}

	chain output {
		type nat hook output priority dstnat; policy accept;
		ip daddr 172.28.2.5 tcp dport 6379 dnat to 172.28.2.5:6383
	}
}
table ip nat {
	chain PREROUTING {
		type nat hook prerouting priority dstnat; policy accept;
		ip daddr 172.28.2.1 tcp dport 6379 counter dnat to 10.0.0.9:6379
		ip protocol tcp tcp dport { 6379, 6380 } counter redirect to :7000
	}
}
table ip filter {
	chain INPUT {
		type filter hook input priority filter; policy accept;
		ip protocol tcp ct state new counter accept
	}
}
table ip mine {
	chain pre {
		type nat hook prerouting priority dstnat + 10; policy accept;
		tcp dport 6379 dnat ip to ip daddr map @m
	}
}""".split("\n")


def test_our_rules_are_known_by_chain_address_port_and_target() -> None:
    assert set(forwards(tables(PRINTED)[INNER_PORT_TABLE])) == {
        (chain, "172.28.2.5", 6379, "172.28.2.5:6383") for chain in ("prerouting", "output")
    }


def test_rules_of_others_that_lead_connections_elsewhere_are_found_whoever_made_them() -> None:
    assert [(item.table, item.rule) for item in takings(tables(PRINTED))] == [
        ("nat", "ip daddr 172.28.2.1 tcp dport 6379 counter dnat to 10.0.0.9:6379"),
        ("nat", "ip protocol tcp tcp dport { 6379, 6380 } counter redirect to :7000"),
        ("mine", "tcp dport 6379 dnat ip to ip daddr map @m"),
    ]


def ruleset(rule: str, family: str = "ip", hook: str = "output", kind: str = "nat", more: str = "") -> list[str]:
    """What nft lists when somebody has made this one rule."""
    text = f"table {family} theirs {{\n\tchain base {{\n\t\ttype {kind} hook {hook} priority 0; policy accept;\n"
    return f"{text}\t\t{rule}\n\t}}\n{more}}}".split("\n")


def takes(lines: list[str], address: str = "172.28.2.5", port: int = 6383) -> bool:
    return any(item.takes(address, port) for item in takings(tables(lines)))


TAKES = [
    "ip daddr 172.28.2.5 tcp dport 6383 dnat to 10.0.0.9:6379",
    "ip daddr 172.28.2.5 dnat to 10.0.0.9",
    "ip daddr 172.28.2.0/24 tcp dport 6000-7000 redirect to :7000",
    "ip daddr 172.28.2.4-172.28.2.6 tcp dport { 80, 6380-6390 } counter packets 1 bytes 2 redirect to :7000",
    "ip daddr { 10.0.0.1, 172.28.2.5 } tcp dport 6383 redirect",
    "ip daddr != 172.28.2.1 tcp dport != 22 redirect to :7000",
    "ip daddr @ours redirect to :7000",
    "tcp dport @ports redirect to :7000",
    "tcp dport 6383 redirect to :7000",
    "th dport 6383 redirect to :7000",
    "redirect to :7000",
    "meta l4proto { tcp, udp } redirect to :7000",
    'iifname "lo" tcp dport 6383 tproxy to 127.0.0.1:7000',
    "tcp dport 6383 dnat to tcp dport map { 6383 : 127.0.0.1 }",
    "ip daddr . tcp dport { 10.0.0.1 . 80 } dnat to 127.0.0.1:7000",
    'ip protocol tcp xt match "multiport" xt target "REDIRECT"',
]
LEAVES = [
    "ip daddr 172.28.2.1 tcp dport 6383 dnat to 10.0.0.9:6379",
    "ip daddr 172.28.2.5 tcp dport 6379 dnat to 10.0.0.9:6379",
    "ip daddr != 172.28.2.5 tcp dport 6383 redirect to :7000",
    "ip daddr 172.28.2.5 tcp dport != 6383 redirect to :7000",
    "tcp dport { 80, 443, 6384-7000 } redirect to :7000",
    "udp dport 6383 redirect to :7000",
    "ip protocol udp redirect to :7000",
    "meta l4proto icmp redirect to :7000",
    "ip daddr 172.28.2.5 tcp dport 6383 accept",
    'tcp dport 6383 counter packets 0 bytes 0 accept comment "no redirect here"',
    'tcp dport 6383 log prefix "dnat to " accept',
]


@pytest.mark.parametrize("rule", TAKES)
def test_a_rule_that_may_meet_a_connection_takes_it(rule: str) -> None:
    assert takes(ruleset(rule))


@pytest.mark.parametrize("rule", LEAVES)
def test_a_rule_that_cannot_meet_a_connection_or_leads_nowhere_leaves_it(rule: str) -> None:
    assert not takes(ruleset(rule))


@pytest.mark.parametrize(
    ("options", "taken"),
    [
        ({"family": "inet"}, True),
        ({"hook": "prerouting"}, True),
        ({"kind": "filter", "hook": "prerouting"}, True),
        ({"family": "ip6"}, False),
        ({"family": "bridge", "hook": "prerouting"}, False),
        ({"hook": "postrouting"}, False),
        ({"hook": "input"}, False),
    ],
)
def test_only_rules_that_a_connection_passes_take_it(options: dict[str, str], taken: bool) -> None:
    assert takes(ruleset("tcp dport 6383 redirect to :7000", **options)) is taken


OTHER = "\tchain other {\n\t\tredirect to :7000\n\t\tjump other\n\t}\n\tset ours {\n\t\ttype ipv4_addr\n\t}\n"


@pytest.mark.parametrize(
    ("rule", "taken"),
    [
        ("jump other", True),
        ("tcp dport 6383 goto other", True),
        ("tcp dport vmap { 80 : drop, 6383 : jump other }", True),
        ("tcp dport vmap @verdicts", True),
        ("tcp dport 8080 jump other", False),
        ("ip daddr 10.0.0.0/8 jump other", False),
        ("accept", False),
    ],
)
def test_a_rule_takes_only_what_is_led_to_its_chain(rule: str, taken: bool) -> None:
    assert takes(ruleset(rule, more=OTHER)) is taken


@pytest.mark.parametrize(
    ("rule", "taken"),
    [
        ("-A PREROUTING -d 172.28.2.5/32 -p tcp -m tcp --dport 6383 -j DNAT --to-destination 10.0.0.9:1", True),
        ("-A OUTPUT -p tcp -m multiport --dports 80,6380:6390 -j REDIRECT --to-ports 7000", True),
        ("-A OUTPUT ! -d 127.0.0.0/8 -p tcp -j REDIRECT --to-ports 7000", True),
        ("-A PREROUTING -p tcp -m tcp --dport 6383 -j TPROXY --on-port 7000", True),
        ("-A DOCKER ! -i docker0 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:80", False),
        ("-A OUTPUT ! -d 172.28.2.5/32 -p tcp -j REDIRECT --to-ports 7000", False),
        ("-A OUTPUT -p udp -m udp --dport 6383 -j REDIRECT --to-ports 7000", False),
        ("-A POSTROUTING -j MASQUERADE", False),
        ("*nat", False),
        (":PREROUTING ACCEPT [0:0]", False),
    ],
)
def test_rules_of_the_older_iptables_count_by_what_they_meet(rule: str, taken: bool) -> None:
    assert any(item.takes("172.28.2.5", 6383) for item in legacy_takings([rule])) is taken


ranges = st.lists(st.tuples(st.integers(0, 70_000), st.integers(0, 70_000)).map(lambda pair: (min(pair), max(pair))))


@given(ranges.map(tuple), st.integers(0, 70_001))
def test_what_lies_in_ranges_does_not_lie_without_them(some: Ranges, number: int) -> None:
    inside, outside = (any(low <= number <= high for low, high in part) for part in (some, without(some)))
    assert inside is not outside
    assert narrowed(some, without(some)) == ()
    assert narrowed(EVERY, EVERY) == EVERY


@given(st.lists(st.text(alphabet=st.characters(blacklist_categories=["Cs"]))))
def test_whatever_is_listed_is_read(lines: list[str]) -> None:
    list(takings(tables(["table ip nat {", "chain a {", "type nat hook output priority 0;", *lines])))
    list(legacy_takings(lines))


def test_a_connection_that_passes_every_rule_of_ours_is_taken_by_none() -> None:
    ours = [line for line in PRINTED[: PRINTED.index("}") + 1] if not re.fullmatch(r"\s*", line)]
    assert not takes(ours)
    assert not takes(ours, port=6379)


HEAD = "table ip redis_inner_port {"


@pytest.mark.parametrize(
    ("printed", "expected"),
    [
        (f"{HEAD}\n", ""),
        (f"{HEAD} # progname nft\n\tflags owner\n", "nft"),
        (f'{HEAD} # progname nft\n\tflags owner\n\tcomment "loaded 1795678064.558562907"\n', "nft"),
        (f"{HEAD} # progname firewalld\n\tflags owner,persist\n", "firewalld"),
        (f"{HEAD} # progname a\x1b[31mb\n\tflags owner\n", "unknown"),
        (f"{HEAD}\n\tflags owner\n", "unknown"),
        (f"{HEAD}\n\tflags dormant\n", ""),
        (f'{HEAD}\n\tcomment "flags owner"\n', ""),
    ],
)
def test_who_owns_the_table_is_read_and_takes_no_rule_away(printed: str, expected: str) -> None:
    lines = tables([*printed.split("\n"), *PRINTED[1:7]])[INNER_PORT_TABLE]
    assert owner(lines) == expected
    assert list(forwards(lines)) == [("prerouting", "172.28.2.5", 6379, "172.28.2.5:6383")]
