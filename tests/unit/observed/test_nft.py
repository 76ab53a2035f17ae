"""Rules as nft 1.0.6 and 1.1.3 print them, with those that iptables-nft made (docs/decisions/0010)."""

from tasks.observed.nft import OUR_TABLE, foreign_forwards, forwards, tables

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
    assert set(forwards(tables(PRINTED)[OUR_TABLE])) == {
        (chain, "172.28.2.5", 6379, "172.28.2.5:6383") for chain in ("prerouting", "output")
    }


def test_rules_of_others_that_lead_connections_elsewhere_are_found_whoever_made_them() -> None:
    assert list(foreign_forwards(tables(PRINTED))) == [
        ("nat", "ip daddr 172.28.2.1 tcp dport 6379 counter dnat to 10.0.0.9:6379"),
        ("nat", "ip protocol tcp tcp dport { 6379, 6380 } counter redirect to :7000"),
        ("mine", "tcp dport 6379 dnat ip to ip daddr map @m"),
    ]
