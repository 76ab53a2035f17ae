"""What ACL rules mean (tasks/catalogue/acl_rules.py), whatever words a server uses for them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.catalogue import acl_rules
from tasks.catalogue.acl_rules import OPERATOR_RULES, allowed, categories_in, meaning, patterns
from tests.unit.builders import CATEGORIES, roles

SERVICE_RULES = roles()["gateway"].rules
COMMANDS = sorted({command for commands in CATEGORIES.values() for command in commands} | {"get", "set"})
RULES = st.lists(
    st.tuples(st.sampled_from("+-"), st.sampled_from([*COMMANDS, "@all", *(f"@{name}" for name in CATEGORIES)])),
    max_size=10,
).map(lambda words: " ".join(sign + name for sign, name in words))


def may(rules: str, command: str) -> bool:
    """Whether `rules` let a user run `command`, by the meaning under test."""
    base, exceptions = allowed(rules, CATEGORIES)
    return (base == "all") != (command in exceptions)


def last_word_decides(rules: str, command: str) -> bool:
    """The rule of redis.io's ACL page, word by word: the last rule that concerns a command decides."""
    answer = False
    for word in rules.split():
        name = word[1:].removeprefix("@")
        concerned = CATEGORIES.get(name, frozenset({name})) if word[1] == "@" else frozenset({name})
        if name == "all" or command in concerned:
            answer = word[0] == "+"
    return answer


@given(RULES, st.sampled_from(COMMANDS))
def test_the_last_rule_that_concerns_a_command_decides(rules: str, command: str) -> None:
    assert may(rules, command) == last_word_decides(rules, command)


@given(RULES, st.sampled_from(COMMANDS), st.sampled_from("+-"))
def test_a_rule_for_one_command_at_the_end_concerns_only_that_command(rules: str, command: str, sign: str) -> None:
    changed = f"{rules} {sign}{command}"
    assert may(changed, command) == (sign == "+")
    assert all(may(changed, other) == may(rules, other) for other in COMMANDS if other != command)


@given(RULES, RULES)
def test_nothing_before_all_counts(before: str, after: str) -> None:
    assert allowed(f"{before} +@all {after}", CATEGORIES) == allowed(f"+@all {after}", CATEGORIES)


def test_a_category_and_its_commands_one_by_one_mean_the_same() -> None:
    spelled = "+@all " + " ".join(f"-{command}" for command in sorted(CATEGORIES["dangerous"], reverse=True))
    assert allowed("+@all -@dangerous", CATEGORIES) == allowed(spelled, CATEGORIES)


def test_a_service_may_work_and_ask_info_but_not_administer() -> None:
    assert [may(SERVICE_RULES, command) for command in ("get", "set", "info")] == [True, True, True]
    assert [may(SERVICE_RULES, command) for command in ("config", "flushall", "keys", "acl")] == [False] * 4


def test_the_operator_reads_and_changes_no_value_runs_no_script_and_has_only_what_is_listed() -> None:
    base, granted = allowed(OPERATOR_RULES, acl_rules.CATEGORIES)
    assert base == "none"
    assert granted <= acl_rules.COMMANDS.keys()
    assert patterns(OPERATOR_RULES) == ["%R~*", "~caas-verify:*"]
    for command in (
        "get",
        "set",
        "keys",
        "type",
        "dump",
        "sort_ro",
        "object|encoding",
        "memory|doctor",
        "copy",
        "eval",
        "fcall",
        "flushall",
        "debug",
        "replicaof",
        "module|load",
    ):
        assert not acl_rules.may(OPERATOR_RULES, command)
    for command in ("mget", "getrange", "hgetall", "lrange", "smembers", "zrange", "xrange", "hscan", "sscan", "zscan"):
        assert not acl_rules.may(OPERATOR_RULES, command)
    for command in ("monitor", "config|rewrite", "acl|save", "function|flush", "function|restore", "script|flush"):
        assert not acl_rules.may(OPERATOR_RULES, command)


def test_a_subcommand_is_not_its_command() -> None:
    assert allowed("-@all +config|get", CATEGORIES) != allowed("-@all +config", CATEGORIES)


def test_a_command_granted_whole_grants_its_subcommands() -> None:
    # Redis 8.0.2 answers GETUSER with the rules as given, and ACL CAT lists config|get but not config.
    categories = {"dangerous": frozenset({"config|get", "config|set", "keys"})}
    assert allowed("+@all -@dangerous +config", categories) != allowed("+@all -@dangerous", categories)


def test_a_subcommand_granted_after_its_command_was_denied_is_granted() -> None:
    assert allowed("+@all -config +config|get", {}) != allowed("+@all -config", {})


def test_no_rule_allows_nothing() -> None:
    assert allowed("", CATEGORIES) == ("none", frozenset())


def test_patterns_are_compared_in_any_order() -> None:
    assert patterns("&b ~a +@all %R~c") == patterns("%R~c ~a &b -@admin") == ["%R~c", "&b", "~a"]


def test_the_categories_to_ask_for_are_those_that_rules_name() -> None:
    assert categories_in([SERVICE_RULES, OPERATOR_RULES, "+@read -@dangerous"]) == [
        *("admin", "dangerous", "read", "scripting")
    ]


WRITER = "-@all +@write +@transaction +ping"
# What 7.0.15 answers to ACL GETUSER; 8.0.2 answers with the words it was given.
SPELLED = {
    SERVICE_RULES: "+@all -@admin -@scripting +evalsha -restore-asking +fcall -swapdb -keys +eval_ro -flushdb -sort_ro "
    "-flushall -sort +evalsha_ro +eval +script|load +script|exists -restore -migrate +fcall_ro",
    "-@all +@read +get -@scripting +fcall +fcall_ro +client -client|kill": "-@all +@read +fcall +client -client|kill "
    "+fcall_ro",
    f"{WRITER} -@admin -@dangerous +info -@scripting": "-@all +@transaction +@blocking +@string +@list +@stream "
    "+sdiffstore -lcs -xrevrange +pfmerge -getrange -xinfo|stream -xinfo|help -xinfo|groups -xinfo|consumers +pfadd "
    "+smove -llen +hincrbyfloat -lpos +hincrby +zinterstore +unlink +copy +bitop +hsetnx -xlen +sadd -substr +hdel "
    "+zunionstore +geosearchstore +zremrangebyscore +zrangestore +bitfield +zpopmin +geoadd +ping +hmset +move +rename "
    "-strlen +zremrangebylex +zpopmax +sinterstore -xrange +zmpop -sort_ro +zadd +sunionstore -lrange -xread -sort "
    "-xpending +expireat +srem +zrem +setbit +del -xgroup|help +zremrangebyrank +zincrby -get +georadiusbymember "
    "+zdiffstore +persist -mget +pexpire +pexpireat +hset +georadius +expire +info +spop +renamenx -lindex",
    "-@all +@slow -@admin -@dangerous +ping +info": "-@all +@scripting +@geo +@pubsub +@blocking "
    "+@bitmap +@stream +@set +@connection +@sortedset +set "
    "+mset -zrank -zcard +exec -xdel -smove -sort -srem +msetnx -xlen -sadd -quit +setrange +object "
    "-bitfield_ro -zpopmin +rpoplpush +del +scan +hvals +copy +info +hrandfield +cluster -cluster|reset "
    "-cluster|slaves -cluster|addslotsrange -cluster|addslots -cluster|saveconfig -cluster|failover "
    "-cluster|delslotsrange -cluster|setslot -cluster|bumpepoch -cluster|count-failure-reports "
    "-cluster|delslots -cluster|forget -cluster|replicas -cluster|set-config-epoch -cluster|meet "
    "-cluster|flushslots -cluster|replicate -bzpopmin +hkeys -getbit -scard +linsert +lmpop -hello "
    "-zmscore -auth +xgroup +module -module|loadex -module|unload -module|list -module|load +lrange "
    "-sort_ro -zlexcount -spublish +getrange -select -xautoclaim +function -xclaim +pubsub -echo -xack "
    "+lmove -sismember -zadd +client -client|pause -client|list -client|kill -client|no-evict "
    "-client|unblock -client|unpause -readonly +lcs +hscan +setex +ltrim +memory -publish +pfmerge "
    "+randomkey -zincrby +lrem -zcount +substr -zscore -zrem +config -config|set -config|rewrite "
    "-config|get -config|resetstat +lpos +acl -acl|list -acl|load -acl|setuser -acl|getuser -acl|users "
    "-acl|save -acl|dryrun -acl|log -acl|deluser +latency -latency|reset -latency|history -latency|latest "
    "-latency|graph -latency|doctor -latency|histogram -readwrite -bzpopmax +dump +xinfo -zrevrank "
    "+pfcount +hgetall +script -reset -asking -zpopmax +slowlog -slowlog|reset -slowlog|get -slowlog|len "
    "+rename +lset +psetex -xadd -xsetid +lindex -spop -smismember",
    "+@all -@slow -@admin -@dangerous +ping +info +cluster|myid": "+@all -@admin -@scripting -@geo -@pubsub "
    "-@blocking -@bitmap -@set -@stream -@connection -@keyspace "
    "-@sortedset -set -mset +ttl +zrank +move +zcard -exec +xdel +smove +srem +pexpiretime -msetnx +xlen "
    "+dbsize +sadd +quit -setrange +expiretime -object +bitfield_ro +ping +pexpireat +zpopmin -rpoplpush "
    "+expireat -hvals -hrandfield -cluster +cluster|myid +bzpopmin -hkeys +getbit +scard -linsert -lmpop "
    "+hello +zmscore +renamenx +auth -xgroup -module -lrange +pttl +zlexcount +unlink +spublish -getrange "
    "+type +select +touch +xautoclaim -function +xclaim +pexpire -pubsub +echo +xack -lmove +sismember "
    "+zadd -client +readonly -lcs -hscan -setex -ltrim +persist -memory +publish -pfmerge +zincrby "
    "+expire -lrem +exists +zcount -substr +zscore +zrem -config -lpos -acl -latency +readwrite +bzpopmax "
    "-xinfo +zrevrank -pfcount -hgetall -script +reset +asking +zpopmax -slowlog -lset -psetex +xadd "
    "+xsetid -lindex +spop +smismember",
}


@pytest.mark.parametrize("rules", SPELLED)
def test_what_another_version_makes_of_rules_means_the_same(rules: str) -> None:
    asked = {name: known for name, known in acl_rules.CATEGORIES.items() if name in categories_in([rules])}
    assert meaning(rules, asked) == meaning(SPELLED[rules], asked)


def test_a_category_that_a_server_names_and_was_not_asked_for_is_known() -> None:
    assert allowed("-@all +@transaction", {}) == allowed("-@all +multi +exec +discard +watch +unwatch", {})


@given(RULES, st.sampled_from(sorted(acl_rules.COMMANDS)))
def test_may_says_what_the_meaning_of_the_rules_says(rules: str, command: str) -> None:
    base, exceptions = allowed(rules, acl_rules.CATEGORIES)
    if not any("|" in name for name in (command, *exceptions)):
        assert acl_rules.may(rules, command) == ((base == "all") != (command in exceptions))


PARTS = {name for commands in acl_rules.CATEGORIES.values() for name in commands}
LEAVES = sorted(PARTS - {name.partition("|")[0] for name in PARTS if "|" in name})
NARROW = st.sampled_from([name for name in sorted(PARTS) if name.startswith(("config", "client", "get"))])
WORDS = st.lists(
    st.tuples(st.sampled_from("+-"), st.one_of(NARROW, st.sampled_from(["@all", "@slow", "@admin", "@connection"]))),
    max_size=8,
).map(lambda words: " ".join(sign + name for sign, name in words))


@given(WORDS)
def test_the_meaning_of_rules_is_what_each_command_is_told_last(rules: str) -> None:
    base, exceptions = meaning(rules, {})
    told = {name for name in LEAVES if acl_rules.may(rules, name)}
    assert told == (set(LEAVES) - exceptions if base == "all" else exceptions)
