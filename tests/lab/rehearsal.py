"""`make rehearse`: the whole life of the tier on throw-away VMs, before production sees a change."""

import subprocess
import sys
import time
from pathlib import Path

import click

from tests.lab.debian import LabError
from tests.lab.layouts import REPOSITORY, shown
from tests.lab.vms import staging

PYINFRA = Path(sys.executable).with_name("pyinfra")
INVENTORY = "inventory/staging.py"

STEPS = (
    ("deploy to bare machines", "deploy.py"),
    ("deploy again: nothing may change", "deploy.py"),
    ("drills: kill, fill and reboot", "tasks/rehearse.py"),
    ("verify as the services would", "tasks/verify.py"),
    ("check for drift", "tasks/drift.py"),
)

ENDING = f"""
The rehearsal went as promised. The machines are still up; look around:
  {{pyinfra}} {INVENTORY} tasks/endpoints.py
  {{python}} -m tests.lab.vmctl ssh {{first}}
      systemctl status 'redis-*'; journalctl -u 'redis-*'; cat /etc/redis/*.conf
  change group_data/roles.yaml and see what a deploy would do:
  {{pyinfra}} --dry {INVENTORY} deploy.py
Remove them:
  {{python}} -m tests.lab.vmctl down"""


@click.command()
@click.option("--keep/--fresh", default=False, help="Go on with the machines of the last rehearsal, or begin anew.")
def main(keep: bool) -> None:
    """Boot the staging VMs, deploy twice, run the drills, verify and check for drift."""
    try:
        boot(keep)
    except LabError as error:
        raise click.ClickException(str(error)) from error
    for number, (what, file) in enumerate(STEPS, start=1):
        run_step(f"{number}/{len(STEPS)} {what}", file)
    python, pyinfra = map(shown, (Path(sys.executable), PYINFRA))
    click.echo(ENDING.format(python=python, pyinfra=pyinfra, first=next(iter(staging().vms))))


def boot(keep: bool) -> None:
    """The staging machines answer on SSH; bare ones unless those of the last time are to be kept."""
    lab = staging()
    click.secho(f"==> boot {len(lab.vms)} VMs (a minute and a half where KVM does not work)", bold=True)
    if not keep:
        lab.remove()
        (REPOSITORY / "secrets/staging.yaml").unlink(missing_ok=True)
    lab.start()


def run_step(title: str, file: str) -> None:
    """Run one command of the repository against the machines; the first that fails ends the rehearsal."""
    click.secho(f"==> {title}: pyinfra -y {INVENTORY} {file}", bold=True)
    began = time.monotonic()
    done = subprocess.run([PYINFRA, "-y", INVENTORY, file], cwd=REPOSITORY)
    if done.returncode:
        raise click.ClickException(f"{title}: exit code {done.returncode}, expected 0: the machines stay up to look at")
    click.secho(f"    done in {time.monotonic() - began:.0f} s", fg="green")


if __name__ == "__main__":
    main()
