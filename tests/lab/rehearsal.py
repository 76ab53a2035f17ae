"""`make rehearse`: the whole life of the tier on throw-away VMs, before production sees a change."""

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

import click

from tasks.reports.files import write_whole
from tasks.reports.rehearsal_model import Rehearsal, Step, from_json, to_json
from tasks.reports.rehearsal_page import to_html
from tasks.reports.words import number
from tests.lab.debian import LabError, Suite
from tests.lab.layouts import REPOSITORY, shown
from tests.lab.vm_image import vm_image
from tests.lab.vm_layouts import Layout
from tests.lab.vm_qemu import EMULATION, acceleration
from tests.lab.vmctl import INVENTORIES, VMCTL
from tests.lab.vms import staging

PYINFRA = Path(sys.executable).with_name("pyinfra")
REPORTS = REPOSITORY / "build"
DRILLS = "tasks/rehearse.py"

DEPLOYS = (("deploy to bare machines", "deploy.py"), ("deploy again: nothing may change", "deploy.py"))
CHECKS = (
    ("verify as the services would, after the last drill", "tasks/verify.py"),
    ("check for drift, after the last drill", "tasks/drift.py"),
)

ENDING = """
What was proved and what was not: {page}
The machines are still up; look around:
  {pyinfra} {inventory} tasks/endpoints.py
  {vmctl} ssh {first}
      systemctl status 'redis-*'; journalctl -u 'redis-*'; cat /etc/redis/*.conf
  change group_data/roles.yaml and see what a deploy would do:
  {pyinfra} --dry {inventory} deploy.py
Remove them:
  {vmctl} down"""


@click.command()
@click.option("--keep/--fresh", default=False, help="Go on with the machines of the last rehearsal, or begin anew.")
@click.option("--drills", default="standard", show_default=True, help="standard, all, or names with commas.")
@click.option("--suite", type=click.Choice(get_args(Suite)), default="bookworm", show_default=True)
@click.option("--from", "ref", help="A commit that is deployed first; what the working tree over it costs is measured.")
@click.option("--like", help="The inventory whose roles are rehearsed, as inventory/prod.py.")
@click.option("--scale", help="A factor by which every memory size of the roles is made smaller, as 0.5.")
@click.option(
    "--one/--each",
    default=None,
    help="One machine that carries every role, or one for each; unless said: one where they would be emulated on fewer "
    "processors than there are machines.",
)
def main(
    keep: bool, drills: str, suite: Suite, ref: str | None, like: str | None, scale: str | None, one: bool | None
) -> None:
    """Boot the staging VMs, deploy, run the drills, verify and check for drift; then there is a page about it."""
    try:
        layout = chosen_layout(one, suite)
    except LabError as error:
        raise click.ClickException(str(error)) from error
    began, clock = datetime.now(UTC).replace(microsecond=0), time.monotonic()
    try:
        boot(keep, suite, layout)
    except LabError as error:
        raise click.ClickException(str(error)) from error
    booted = Step(boot_title(suite, layout), "make rehearse", round(time.monotonic() - clock, 1), True, ())
    told = as_data({"like": like, "scale": scale})  # of every step: each wants the same
    before = [booted, *([] if ref else [run_step(layout, what, file, *told) for what, file in DEPLOYS])]
    page, report = REPORTS / "rehearsal.html", REPORTS / "rehearsal.json"
    REPORTS.mkdir(exist_ok=True)
    report.unlink(missing_ok=True)
    wanted = None if drills == "all" else drills
    asked = as_data({"rehearsal_page": str(page), "rehearsal_report": str(report), "drills": wanted, "from": ref})
    run_step(layout, "drills", DRILLS, *told, *asked, must=report.exists)
    after = [run_step(layout, what, file, *told) for what, file in CHECKS]
    found = with_steps(from_json(report.read_text()), before, after, began, time.monotonic() - clock)
    write_whole(report, to_json(found))
    write_whole(page, to_html(found))
    pyinfra = shlex.join([str(shown(PYINFRA)), *told])
    vmctl = VMCTL[layout].replace("python", str(shown(Path(sys.executable))), 1)
    first = next(iter(staging(suite, layout).vms))
    if not found.passed:
        raise click.ClickException(f"not all went as promised: {shown(page)}; the machines stay up to look at")
    click.secho("\nThe rehearsal went as promised.", fg="green")
    inventory = INVENTORIES[layout]
    click.echo(ENDING.format(vmctl=vmctl, pyinfra=pyinfra, inventory=inventory, first=first, page=shown(page)))


def as_data(values: Mapping[str, str | None]) -> list[str]:
    """The words of pyinfra's command line that say so; what is None is not said."""
    return [word for name, value in values.items() if value is not None for word in ("--data", f"{name}={value}")]


def with_steps(found: Rehearsal, before: list[Step], after: list[Step], began: datetime, seconds: float) -> Rehearsal:
    """The report, with the commands around the drills in their order, and the time of them all."""
    return replace(found, began=began, seconds=round(seconds, 1), steps=(*before, *found.steps, *after))


def boot_title(suite: Suite, layout: Layout) -> str:
    """What hosts of the rehearsal are: machines of this one, and how."""
    how = "emulated" if acceleration(vm_image(suite)) == EMULATION else "KVM"
    return f"boot {number(len(staging(suite, layout).vms), 'VM')} on this machine ({how})"


def chosen_layout(one: bool | None, suite: Suite) -> Layout:
    """What is asked for, or what this machine carries in time: see the option. Raises LabError."""
    if one is not None:
        return "one" if one else "each"
    machines, processors = len(staging(suite).vms), len(os.sched_getaffinity(0))
    if processors >= machines or acceleration(vm_image(suite)) != EMULATION:
        return "each"
    click.echo(f"one VM for all roles: {machines} would be emulated on {processors} processors; --each for one of each")
    return "one"


def boot(keep: bool, suite: Suite = "bookworm", layout: Layout = "each") -> None:
    """The staging machines answer on SSH; bare ones unless those of the last time are to be kept."""
    lab = staging(suite, layout)
    click.secho(
        f"==> boot {len(lab.vms)} VM{'s' if len(lab.vms) > 1 else ''} (a minute and a half where KVM does not work)",
        bold=True,
    )
    if not keep:
        lab.remove()
        (REPOSITORY / "secrets" / Path(INVENTORIES[layout]).with_suffix(".yaml").name).unlink(missing_ok=True)
    lab.start()


def run_step(layout: Layout, title: str, file: str, *options: str, must: Callable[[], bool] | None = None) -> Step:
    """Run one command of the repository against the machines; the first that fails ends the rehearsal.

    `must`: what has to hold afterwards instead of exit code 0.
    """
    click.secho(f"==> {title}: pyinfra -y {INVENTORIES[layout]} {file}", bold=True)
    began = time.monotonic()
    done = subprocess.run([PYINFRA, "-y", *options, INVENTORIES[layout], file], cwd=REPOSITORY)
    took = time.monotonic() - began
    if done.returncode and not (must and must()):
        raise click.ClickException(f"{title}: exit code {done.returncode}, expected 0: the machines stay up to look at")
    click.secho(f"    done in {took:.0f} s", fg="green")
    return Step(title, file, round(took, 1), True, ())


if __name__ == "__main__":
    main()
