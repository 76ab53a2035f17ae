"""Host data whose name is a slip is said with the right name (tasks/catalogue/data_names.py)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.catalogue.data_names import NAMES, idle_overrides, slips


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("drift_reprot", "drift_report"),
        ("allow-eviction", "allow_eviction"),
        ("redis_overide", "redis_overrides"),
        ("Redis_Overrides", "redis_overrides"),
        ("adpot", "adopt"),
        ("new_password", "new_passwords"),
        ("begin-empty", "begin_empty"),
        ("acept_loss", "accept_loss"),
        ("redis_secret_file", "redis_secrets_file"),
    ],
)
def test_a_slip_is_said_with_the_name_that_was_meant(name: str, meant: str) -> None:
    (said,) = slips({name: ["a"]})
    assert said.startswith(f"{name}: nothing reads")
    assert f"expected {meant}" in said


def test_a_name_that_is_meant_for_us_and_like_none_of_ours_is_said_with_all_of_them() -> None:
    (said,) = slips({"redis_colour": ["a", "b", "c", "d"]})
    assert "redis_overrides" in said
    assert "a, b, c and 1 more" in said


@pytest.mark.parametrize(
    "name", ["ssh_user", "ssh_hostname", "_sudo", "address", "rack", "owner", "backup", "report", "version", "role"]
)
def test_data_of_somebody_else_s_is_left_alone(name: str) -> None:
    assert list(slips({name: ["a"]})) == []


def test_every_name_that_is_read_is_none() -> None:
    assert list(slips({name: ["a"] for name in NAMES})) == []


@given(st.text(max_size=300))
def test_any_name_gives_at_most_one_line(name: str) -> None:
    assert len(list(slips({name: ["a"]}))) <= 1


def test_overrides_of_a_role_that_none_of_their_hosts_carries_are_said() -> None:
    asked = {"a": (["gateway"], ["gateway", "crypto"]), "b": (["socket"], ["crypto"])}
    (said,) = idle_overrides(asked)
    assert said.startswith("redis_overrides: crypto: no host that has them carries crypto (a, b)")


def test_overrides_of_the_command_line_reach_every_host_and_change_the_one_that_carries_the_role() -> None:
    assert list(idle_overrides({"a": (["gateway"], ["gateway"]), "b": (["socket"], ["gateway"])})) == []
