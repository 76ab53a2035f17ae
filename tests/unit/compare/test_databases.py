"""Fewer databases than before (tasks/compare/databases.py): refused where a start would mix them up."""

from dataclasses import replace

import pytest

from tasks.compare.databases import are_fewer, database_problems, left_out
from tasks.compare.difference import Remedy
from tasks.compare.fitness import unfit
from tasks.compare.host import compare
from tasks.desired.host import Host
from tasks.observed.refusal import Cause, Refusal
from tasks.observed.state import Marker, Observed
from tests.unit.builders import as_desired, desired, stopped, with_file, with_server, without_file

CONF = "/etc/redis/crypto.conf"
SKIPPED = {"unexpected_error_replies": "2", "aof_last_rewrite_time_sec": "-1"}


def wanting(databases: int, behavior: str = "ignore") -> Host:
    return desired("crypto", crypto={"databases": databases, "propagation_error_behavior": behavior})


def running(databases: int, found: str = "16", **info: str) -> tuple[Host, Observed]:
    """A host that wants so many databases, and its server that has `found` and says so."""
    host = wanting(databases)
    server = as_desired(host).servers["crypto"]
    config, said = {**server.config, "databases": found}, {**server.info, **info}
    return host, with_server(as_desired(host), "crypto", config=config, info=said)


def problems(host: Host, observed: Observed) -> list[str]:
    return list(database_problems(host.instances[0], observed))


@pytest.mark.parametrize(("wanted", "found", "fewer"), [(4, "16", True), (16, "16", False), (17, "16", False)])
def test_only_a_lower_number_is_fewer(wanted: int, found: str, fewer: bool) -> None:
    host, observed = running(wanted, found)
    assert are_fewer(host.instances[0], observed.servers["crypto"]) == fewer


@pytest.mark.parametrize("found", ["", "x", "-1"])
def test_a_server_that_says_no_number_is_not_judged(found: str) -> None:
    host, observed = running(4, found)
    assert not are_fewer(host.instances[0], observed.servers["crypto"])


def test_keys_in_a_database_that_would_be_left_out_are_refused_with_their_number() -> None:
    host, observed = running(4, db0="keys=7,expires=0", db3="keys=1,expires=0", db4="keys=2,expires=1", db15="keys=9,x")
    assert left_out(host.instances[0], observed.servers["crypto"].info) == ["db4 (2 keys)", "db15 (9 keys)"]
    assert problems(host, observed) == [
        "crypto: db4 (2 keys), db15 (9 keys) in use, expected none from db4 on: with databases 4 a start would put "
        "what was written there into another database, over its keys: raise databases in group_data/roles.yaml, or "
        "move or delete those keys first"
    ]
    assert problems(host, observed)[0] in unfit(host, observed, [])


def test_lowering_databases_that_nobody_uses_is_no_problem_and_has_the_log_written_anew_first() -> None:
    host, observed = running(4, db0="keys=7,expires=0", db3="keys=1,expires=0")
    assert problems(host, observed) == []
    found = {item.name: item for item in compare(host, observed)}
    assert found["databases"].remedy is Remedy.RESTART
    assert found["databases in the log"].remedy is Remedy.REWRITE
    assert str(found["databases in the log"]) == (
        "crypto: persistence databases in the log: may select any of 16 → no database beyond the 4 "
        "(write the append-only log anew)"
    )


@pytest.mark.parametrize("wanted", [16, 17])
def test_as_many_databases_or_more_leave_the_log_alone(wanted: int) -> None:
    host, observed = running(wanted, db15="keys=9,expires=0")
    assert problems(host, observed) == []
    assert "databases in the log" not in [item.name for item in compare(host, observed)]


def test_without_a_log_none_is_written_anew() -> None:
    host, observed = running(4, aof_enabled="0")
    assert "databases in the log" not in [item.name for item in compare(host, observed)]


def test_a_log_that_holds_what_a_start_skipped_is_not_written_anew_for_fewer_databases() -> None:
    host, observed = running(4, **SKIPPED)
    (problem,) = problems(host, observed)
    assert problem.startswith("crypto: databases 16 in the running server, expected 4, and its log is the only copy")
    assert "databases in the log" not in [item.name for item in compare(host, observed)]


def test_a_loss_that_is_accepted_lets_databases_be_lowered() -> None:
    host, observed = running(4, **SKIPPED)
    accepting = replace(host, instances=(replace(host.instances[0], accepts_loss=True),))
    assert problems(accepting, observed) == []
    assert "databases in the log" in [item.name for item in compare(accepting, observed)]


# --- An instance that cannot be asked


def at_rest(wanted: int, conf: str) -> tuple[Host, Observed]:
    host = wanting(wanted)
    return host, stopped(with_file(as_desired(host), CONF, content=conf), "crypto")


@pytest.mark.parametrize(
    ("wanted", "conf", "refused"),
    [
        (4, "databases 16\n", True),
        (4, "databases 4\n", False),
        (4, "databases 4\ndatabases 9\n", True),
        (4, "databases 9\ndatabases 4\n", False),
        (4, "  DATABASES   5  \n", True),
        (4, "port 1\n", True),
        (4, "# databases 4\n", True),
        (16, "port 1\n", False),
        (17, "databases 16\n", False),
    ],
)
def test_a_stopped_instance_keeps_the_databases_of_its_file(wanted: int, conf: str, refused: bool) -> None:
    assert bool(problems(*at_rest(wanted, conf))) == refused


def test_a_stopped_instance_is_refused_with_the_way_out() -> None:
    assert problems(*at_rest(4, "databases 16\n")) == [
        "crypto: does not answer, and its log may speak of 16 databases, expected 4: set databases to 16 in "
        "group_data/roles.yaml, deploy, and lower it when the instance runs"
    ]


def test_what_a_cut_off_deploy_kept_of_the_previous_file_counts() -> None:
    host, observed = at_rest(4, "databases 4\n")
    kept = replace(observed.files[CONF], content="databases 12\n")
    observed = replace(observed, files={**observed.files, "/etc/redis/crypto.conf.previous": kept})
    assert "may speak of 12 databases" in problems(host, observed)[0]


def test_a_stopped_instance_without_a_file_may_have_had_the_default() -> None:
    host, observed = at_rest(4, "")
    assert "may speak of 16 databases" in problems(host, without_file(observed, CONF))[0]


def test_a_stopped_instance_that_would_panic_needs_no_guard() -> None:
    _, observed = at_rest(4, "databases 16\n")
    assert problems(wanting(4, "panic"), observed) == []


def test_an_instance_without_a_log_may_have_as_few_databases_as_it_likes() -> None:
    host, observed = at_rest(4, "databases 16\n")
    assert problems(host, replace(observed, data_files={})) == []


def test_an_instance_whose_data_is_being_adopted_is_judged_by_the_adoption() -> None:
    host, observed = at_rest(4, "databases 16\n")
    assert problems(host, replace(observed, adopting={"crypto": Marker("1", 2, "u", "r")})) == []


def test_a_running_instance_that_lets_nobody_in_is_judged_by_its_file() -> None:
    host, observed = running(4)
    silent = with_server(observed, "crypto", refusal=Refusal(Cause.WRONGPASS, "WRONGPASS x"), config={}, info={})
    assert problems(host, with_file(silent, CONF, content="databases 16\n"))
