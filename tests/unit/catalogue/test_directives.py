"""What is known of a directive (tasks/catalogue/directives.py): one line says it all, the rest follows."""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.catalogue.directives import DIRECTIVES, SECTIONS, Settings, canonical, declared, directive
from tests.changed_tree import copied, declare_directive

NAMES = st.sampled_from(sorted(DIRECTIVES))
# Quotes are left out: CONFIG GET never answers them, only a file has them.
WORDS = st.one_of(
    st.text(alphabet=st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="\"'"), max_size=8),
    st.sampled_from(["256mb", "1GB", "5%", "YES", "No", "normal", "replica", "slave", "pubsub", "AKE", "0", "60"]),
)
VALUES = st.lists(WORDS, max_size=12).map(" ".join)


@given(NAMES, VALUES)
def test_the_canonical_text_of_a_canonical_text_is_itself(name: str, text: str) -> None:
    once = canonical(name, text)
    assert canonical(name, once) == once


@pytest.mark.parametrize(
    "name",
    [
        "active-defrag-ignore-bytes",
        "auto-aof-rewrite-min-size",
        "client-query-buffer-limit",
        "hash-max-listpack-value",
        "hll-sparse-max-bytes",
        "maxmemory",
        "proto-max-bulk-len",
        "repl-backlog-size",
        "set-max-listpack-value",
        "stream-node-max-bytes",
        "zset-max-listpack-value",
    ],
)
def test_every_memory_directive_is_compared_in_bytes_and_shown_in_units(name: str) -> None:
    assert canonical(name, "64mb") == canonical(name, "67108864") == "67108864"
    assert directive(name).form.show("67108864") == "64mb"


@pytest.mark.parametrize(
    ("name", "first", "second"),
    [
        ("appendonly", "YES", "yes"),
        ("maxmemory-clients", "1mb", "1048576"),
        ("maxmemory-clients", "20%", "20%"),
        ("save", '"3600 1 300 100"', "3600  1 300 100"),
        ("save", '""', ""),
        ("notify-keyspace-events", "Ex", "xE"),
        ("notify-keyspace-events", "KEA", "AKE"),
        ("notify-keyspace-events", "g$lshzxetdK", "AK"),
        ("bind", "10.0.0.1   10.0.0.2", "10.0.0.1 10.0.0.2"),
        ("latency-tracking-info-percentiles", "50  99", "50 99"),
        ("client-output-buffer-limit", "replica 256mb 64mb 60", "slave 268435456 67108864 60"),
        ("a-directive-of-a-later-version", "Yes", "yes"),
    ],
)
def test_values_that_mean_the_same_are_the_same(name: str, first: str, second: str) -> None:
    assert canonical(name, first) == canonical(name, second)


@pytest.mark.parametrize(
    ("name", "first", "second"),
    [
        ("maxmemory", "256mb", "256m"),
        ("maxmemory-clients", "20%", "20"),
        ("save", "3600 1", ""),
        ("save", "300 100 3600 1", "3600 1 300 100"),
        ("bind", "10.0.0.1", "-10.0.0.1"),
        ("notify-keyspace-events", "A", "Am"),
        ("dir", "/Data", "/data"),
        ("maxmemory", "what", "256mb"),
        ("requirepass", "YES", "yes"),
    ],
)
def test_values_that_mean_something_else_differ(name: str, first: str, second: str) -> None:
    assert canonical(name, first) != canonical(name, second)


@pytest.mark.parametrize("name", ["requirepass", "masterauth", "tls-key-file-pass", "tls-client-key-file-pass"])
def test_of_a_password_only_whether_there_is_one_is_shown(name: str) -> None:
    assert [directive(name).form.show(text) for text in ("hunter2", "")] == ["set", "not set"]


@pytest.mark.parametrize("name", ["appendfilename", "appenddirname", "dir", "dbfilename", "aclfile", "databases"])
def test_what_config_set_refuses_is_known_to_need_a_restart(name: str) -> None:
    assert not directive(name).live


@pytest.mark.parametrize("name", ["maxmemory", "maxmemory-policy", "appendonly", "appendfsync", "save", "bind", "port"])
def test_what_config_set_takes_is_not_restarted_for(name: str) -> None:
    assert directive(name).live


def test_every_field_of_the_settings_is_a_directive_with_its_place_in_redis_conf() -> None:
    placed = {name for names in SECTIONS.values() for name in names}
    assert {name.replace("_", "-") for name in Settings.model_fields} <= placed == set(declared(Settings))


# What a developer does for a new directive, and then what has to follow from it without another line.
LINE = "reply_cache_size: Annotated[Memory, Directive(NETWORK, live=False)]"
VALUE = "reply_cache_size: 64mb  # no Redis has it"
WHAT_FOLLOWS = """
from tasks.catalogue.roles import build_roles
from tasks.compare.host import compare
from tests.unit.builders import as_desired, catalogue, desired, with_server, with_setting

host = desired("gateway")
right = as_desired(host)
config = {name: value for name, value in right.servers["gateway"].config.items() if name != "reply-cache-size"}
(conf,) = [file.content for file in host.files if file.path.endswith("redis/gateway.conf")]
print(conf[conf.index("timeout"):conf.index("tcp-keepalive")], end="")
other = with_setting(right, "gateway", "reply-cache-size", "32mb")
for seen in (right, other, with_server(right, "gateway", config=config)):
    print(*(f"{item.name} {item.expected}, {item.observed}: {item.remedy}" for item in compare(host, seen)), sep="\\n")
print(*build_roles(catalogue(), {"gateway": {"reply_cache_size": "lots"}}, "here")[1], sep="\\n")
"""


def test_a_directive_is_added_by_one_line_and_its_value(tmp_path: Path) -> None:
    tree = copied(tmp_path / "tree")
    declare_directive(tree, LINE, after="timeout", value=VALUE)
    command = [sys.executable, "-c", WHAT_FOLLOWS]
    said = subprocess.run(command, cwd=tree, capture_output=True, text=True, check=False)
    assert (said.stderr, said.stdout.splitlines()) == (
        "",
        [
            "timeout 0",
            "reply-cache-size 67108864",
            "",  # nothing differs
            "reply-cache-size 64mb, 32mb: restart",
            "reply-cache-size 67108864, unknown to this version: by hand: "
            "remove reply_cache_size from group_data/roles.yaml",
            "here: gateway: reply_cache_size: 'lots' is not a Redis memory size: "
            "write a whole number and b, kb, mb or gb, as 256mb",
        ],
    )
