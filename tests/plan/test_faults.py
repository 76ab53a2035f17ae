"""A fault with one host is that host's error: it hides no other host or report, and shows no secret."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tasks.catalogue.secret import HIDDEN
from tasks.compare.fitness import unfit
from tasks.compare.host import compare
from tasks.prove import proof
from tasks.reports import to_html
from tasks.run import drift_report, survey
from tasks.steps import preflight
from tests.plan.harness import run
from tests.plan.hosts import PROD, production
from tests.unit.builders import password, secrets_of
from tests.unit.builders import roles as all_roles

WHERE = "a fault of this program, KeyError"
FORMS = ("drift_report", "drift_page", "drift_metrics")


def failing(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, which meets something that nobody thought of where crypto is concerned."""

    def wrapper(*arguments: Any, **options: Any) -> Any:
        if "redis-crypto.service" in repr(arguments):
            raise KeyError(password("crypto", "operator"))
        return function(*arguments, **options)

    return wrapper


def without_secrets(output: str) -> bool:
    return not [text for text in secrets_of(*all_roles().values()) if text in output]


@pytest.mark.parametrize("name", ["observe", "compare", "unknowns", "health", "notices"])
def test_whatever_fails_of_one_host_all_others_are_reported(
    secrets_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(survey, name, failing(getattr(survey, name)))
    options = [word for form in FORMS for word in ("--data", f"{form}={tmp_path / form}")]
    result = run(production(), "-y", *options, secrets_file=secrets_file, command="tasks/drift.py")
    assert result.exit_code != 0
    found = json.loads((tmp_path / "drift_report").read_text())["hosts"]
    statuses = {host: item["status"] for host, item in found.items()}
    assert statuses == {host: "error" if role == "crypto" else "in_sync" for host, role in PROD.items()}
    assert WHERE in found["redis-crypto"]["message"]
    assert all("redis-gateway" in (tmp_path / form).read_text() for form in FORMS)
    assert "Traceback" not in result.output
    assert without_secrets(result.output)


@pytest.mark.parametrize("command", ["deploy.py", "tasks/verify.py"])
def test_a_host_that_cannot_be_judged_is_a_finding_of_its_own(
    secrets_file: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setattr(survey, "compare", failing(compare))
    result = run(production(), "-y", secrets_file=secrets_file, command=command)
    assert result.exit_code != 0
    assert f"redis-crypto: could not be read: {WHERE}" in result.output
    assert [result.commands(host) for host in PROD] == [[]] * 5
    assert "Traceback" not in result.output
    assert without_secrets(result.output)


def test_a_preflight_that_fails_is_a_refusal_of_its_host(secrets_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "unfit", failing(unfit))
    result = run(production(), "-y", secrets_file=secrets_file)
    assert f"redis-crypto: {WHERE}" in result.output
    assert result.exit_code != 0
    assert without_secrets(result.output)


def test_a_proof_that_fails_is_a_finding_of_its_role(secrets_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proof, "behave", failing(proof.behave))
    result = run(production(), "-y", secrets_file=secrets_file, command="tasks/verify.py")
    found = [line for line in result.plan if line.startswith("redis-")]
    assert len(found) == 1, found
    assert found[0].startswith(f"redis-crypto: crypto: what a client meets: {WHERE}")
    assert without_secrets(result.output)


def test_a_form_of_the_report_that_fails_keeps_no_other_from_being_written(
    secrets_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(report: object) -> str:
        raise ValueError("no page")

    assert drift_report.FORMS["drift_page"] is to_html
    monkeypatch.setitem(drift_report.FORMS, "drift_page", broken)
    options = [word for form in FORMS for word in ("--data", f"{form}={tmp_path / form}")]
    result = run(production(), "-y", *options, secrets_file=secrets_file, command="tasks/drift.py")
    assert result.exit_code != 0
    assert "a fault of this program, ValueError" in result.output
    assert (tmp_path / "drift_report").exists()
    assert (tmp_path / "drift_metrics").exists()
    assert "5 roles" in result.stdout


def test_whoever_prints_what_a_run_carries_prints_no_password_nor_hash(
    secrets_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge = survey.judge

    def telling(*arguments: Any) -> Any:
        print(arguments, f"{arguments[1]}")
        return judge(*arguments)

    monkeypatch.setattr(survey, "judge", telling)
    result = run(production(), "--dry", secrets_file=secrets_file)
    assert result.stdout.count(HIDDEN) > 10
    assert without_secrets(result.output)
