"""The pure parts of the benchmark: ratios, targets, the table, and what forty hosts are."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import click
import pytest

from tests.bench import timed
from tests.bench.__main__ import INVENTORIES, Bench, specs
from tests.bench.backups import table as backups_table
from tests.bench.clients import FENCED, PLAIN, Run, read
from tests.bench.clients import table as clients_table
from tests.bench.metrics import Round
from tests.bench.metrics import line as metrics_line
from tests.bench.report import FLOOR, Cost, missed, ratio, table
from tests.bench.status import ALONE, WATCHED, Asked
from tests.bench.status import line as status_line
from tests.bench.status import table as status_table
from tests.lab.containers import ContainerLab


def costs(**walls: list[float]) -> dict[str, list[Cost]]:
    """Runs by command, half of their time on the CPU; `floor`, `deploy`, `verify` and `drift` stand for themselves."""
    names = {"floor": FLOOR, "deploy": "deploy.py", "verify": "tasks/verify.py", "drift": "tasks/drift.py"}
    return {names[name]: [Cost(wall, wall / 2, 60.4) for wall in found] for name, found in walls.items()}


def test_a_ratio_is_one_of_medians_so_that_one_slow_round_does_not_count() -> None:
    assert ratio(costs(floor=[1.0, 1.0, 9.0], deploy=[8.0, 2.0, 2.0]), "deploy.py") == 2.0


def test_a_target_that_is_just_reached_is_not_missed() -> None:
    assert missed(costs(floor=[1.0], deploy=[2.5], drift=[2.0])) == []


def test_a_missed_target_says_what_was_found_and_what_was_expected() -> None:
    assert missed(costs(floor=[1.0], deploy=[2.4], drift=[2.125])) == [
        f"target missed: tasks/drift.py took 2.12 × `{FLOOR}`, expected at most 2.0"
    ]


def test_a_verify_has_no_target() -> None:
    assert missed(costs(floor=[1.0], verify=[9.0])) == []


def test_the_table_has_a_row_per_command_in_the_order_given() -> None:
    assert table(costs(deploy=[1.5, 1.25, 2.0], floor=[1.0, 1.0, 1.0])).splitlines() == [
        "              median s  min–max s  × floor  CPU s  peak MiB",
        "deploy.py         1.50  1.25–2.00     1.50   0.75        60",
        "exec -- true      1.00  1.00–1.00     1.00   0.50        60",
    ]


@pytest.mark.parametrize("count", INVENTORIES)
def test_the_lab_has_as_many_hosts_as_asked_for_each_at_an_address_of_its_own(count: int) -> None:
    hosts = specs(INVENTORIES[count])
    assert len({spec.name for spec in hosts}) == len({spec.addresses for spec in hosts}) == count


def test_forty_hosts_are_eight_of_each_role() -> None:
    roles = Counter(spec.name.rpartition("-")[2] for spec in specs(INVENTORIES[40]))
    assert roles == dict.fromkeys(["gateway", "socket", "shared", "compliance", "crypto"], 8)


@pytest.mark.parametrize(("script", "code"), [("exit 0", 0), ("exit 3", 3), ("kill -9 $$", 247)])
def test_a_timed_command_keeps_its_exit_code_and_that_of_a_signal_is_not_0(
    script: str, code: int, tmp_path: Path
) -> None:
    assert timed.main(str(tmp_path / "cost.json"), ["/bin/sh", "-c", script]) == code


def test_the_cost_is_that_of_the_command_alone(tmp_path: Path) -> None:
    file = tmp_path / "cost.json"
    subprocess.run([sys.executable, timed.__file__, file, "/bin/sleep", "0.2"], check=True)
    cost = Cost(**json.loads(file.read_text()))
    assert 0.2 <= cost.wall < 2 and cost.cpu < 0.2 and 0 < cost.peak < 20


class Answering(ContainerLab):
    """A lab without hosts, in which every command ends at once, with this exit code and output."""

    def __init__(self, code: int, said: str) -> None:
        self.code, self.said = code, said

    def run(self, argv: Any, **options: Any) -> subprocess.CompletedProcess[str]:
        Path(argv[2]).write_text(json.dumps({"wall": 1.0, "cpu": 0.5, "peak": 60.0}))
        return subprocess.CompletedProcess(argv, self.code, self.said, "")


def test_a_command_that_fails_ends_the_benchmark_with_what_it_said(tmp_path: Path) -> None:
    bench = Bench(Answering(1, "redis-socket: not reachable"), "inventory/prod.py", tmp_path)
    with pytest.raises(click.ClickException, match=r"(?s)deploy.py: exit 1.*not reachable"):
        bench.measure([FLOOR], 1)


def test_a_deploy_that_still_finds_something_to_do_is_not_measured(tmp_path: Path) -> None:
    bench = Bench(Answering(0, "2 differences on 1 host"), "inventory/prod.py", tmp_path)
    with pytest.raises(click.ClickException, match="still found something to do"):
        bench.measure([FLOOR], 1)


def test_the_warm_up_is_not_counted(tmp_path: Path) -> None:
    bench = Bench(Answering(0, "nothing to change on 5 hosts"), "inventory/prod.py", tmp_path)
    assert {command: len(found) for command, found in bench.measure(["deploy.py", FLOOR], 3).items()} == {
        "deploy.py": 3,
        FLOOR: 3,
    }


CSV = """WARNING: something
"test","rps","avg_latency_ms","min_latency_ms","p50_latency_ms","p95_latency_ms","p99_latency_ms","max_latency_ms"
"SET","50000.00","0.3","0.1","0.2","0.4","0.500","9.1"
"GET","80000.00","0.3","0.1","0.2","0.4","0.250","9.1"
"""


def test_what_redis_benchmark_prints_is_read_by_its_headings() -> None:
    assert read(CSV) == {"SET": Run(50000.0, 0.5), "GET": Run(80000.0, 0.25)}


def test_what_a_copy_costs_is_a_ratio_of_medians() -> None:
    runs = {"during a copy": [Run(90, 2.0), Run(1, 99.0), Run(90, 2.0)], "without": [Run(100, 1.0)]}
    (_, row) = backups_table({("shared, during a copy", "SET"): runs})
    assert row.split() == ["shared,", "during", "a", "copy", "SET", "90", "100", "0.90", "2.00ms", "1.00ms", "2.00"]


def test_what_fences_cost_is_a_ratio_of_medians() -> None:
    runs = {FENCED: [Run(90, 2.0), Run(1, 99.0), Run(90, 2.0)], PLAIN: [Run(100, 1.0)]}
    (_, row) = clients_table({("crypto", "one by one", "SET"): runs})
    assert row.split() == ["crypto", "one", "by", "one", "SET", "90", "100", "0.90", "2.00ms", "1.00ms", "2.00"]


def test_what_the_exporter_costs_is_said_of_a_scrape_and_of_the_time_between() -> None:
    rounds = [Round(0.02, 1000, 1 << 16), Round(0.5, 1200, 1 << 17), Round(0.03, 1200, 1 << 17)]
    said = metrics_line("bookworm", 45.0, 0.09, {"VmRSS": 20 << 10, "VmHWM": 22 << 10}, rounds, 0.003)
    assert "3 scrapes of 5 roles in 45 s: exporter 0.20 % of a processor (30 ms a scrape of all)" in said
    assert "20 MiB resident (at most 22), 30 ms to wait, 1200 series in 128 KiB, servers 1.00 ms" in said


def test_what_a_look_costs_is_told_of_one_server() -> None:
    spent = Asked(1300, 0.5).since(Asked(300, 0.25))
    assert status_line(spent, [0.5, 0.75, 1.0, 0.75], 5) == (
        "4 looks at 5 roles, 0.75 s (at most 1.00): 50 requests and 12.50 ms of each server a look"
    )


def test_what_a_busy_role_s_clients_notice_is_a_ratio() -> None:
    runs = {ALONE: [Run(1000, 1.0)], WATCHED: [Run(900, 1.5)]}
    assert list(status_table(runs)) == [
        "SET                  requests/s     p99 ms",
        "nobody looks on            1000       1.00",
        "status each second          900       1.50",
        "×                          0.90       1.50",
    ]
