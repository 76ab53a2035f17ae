"""`python -m tests.lab`: a lab of container hosts for people, running until it is taken down."""

import os
import sys
from pathlib import Path
from typing import get_args

import click

from tests.lab import records, vms
from tests.lab.containers import PERSISTENT, ContainerLab, require_root
from tests.lab.debian import LabError, Suite, missing_packages
from tests.lab.layouts import LAYOUTS, REPOSITORY, HostSpec, layout
from tests.lab.records import Record


class LabCommands(click.Group):
    """A LabError is a message for people: shown as such, without a traceback."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except LabError as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=LabCommands)
@click.pass_context
def lab(context: click.Context) -> None:
    """Real Debian hosts on this machine, in a network of their own without uplink."""
    if context.invoked_subcommand != "packages":
        require_root()


@lab.command()
def packages() -> None:
    """Debian packages that containers and VMs need and this machine lacks, on one line."""
    click.echo(" ".join(sorted({*missing_packages(), *vms.missing_packages()})))


@lab.command()
@click.option("--suite", type=click.Choice(get_args(Suite)), default="bookworm", show_default=True)
@click.option("--layout", "layout_name", type=click.Choice(LAYOUTS), default="prod", show_default=True)
def up(suite: Suite, layout_name: str) -> None:
    """Boot the hosts and leave them running."""
    if missing := missing_packages():
        raise LabError(f"lab: this machine lacks packages, run: apt-get install {' '.join(missing)}")
    hosts = layout(layout_name, suite)
    present = _persistent()
    if present and present.hosts != hosts:
        raise LabError(f"lab: {_described(present)} is up, expected nothing or the same: make lab-down first")
    if present and present.netns.exists():
        _boot_stopped(present)
    else:
        _start_anew(present, hosts)
    _print_next_steps(_require_persistent(), layout_name)


@lab.command()
def down() -> None:
    """Remove the lab, and what killed test runs left behind."""
    present = _persistent()
    if present:
        records.remove(present)
    for record in [*([present] if present else []), *records.remove_abandoned()]:
        click.echo(f"removed {record.name}: {_described(record)}")


@lab.command()
def status() -> None:
    """List the labs of this machine and their hosts."""
    for record in records.all_records():
        click.echo(f"{record.name}, {f'owned by process {record.owner.pid}' if record.owner else 'until down'}")
        for container in ContainerLab.attach(record).hosts.values():
            state = "up" if container.running else "down"
            click.echo(f"  {container.name:<18} {state:<5} {', '.join(container.addresses)}")


@lab.command(context_settings={"ignore_unknown_options": True})
@click.argument("host")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
def ssh(host: str, command: tuple[str, ...]) -> None:
    """Log in to HOST of the running lab as root, or run COMMAND there."""
    present = ContainerLab.attach(_require_persistent())
    if host not in present.hosts:
        raise LabError(f"{host}: no such host in this lab, expected one of: {', '.join(present.hosts)}")
    sys.stdout.flush()
    os.execvp("nsenter", ["nsenter", f"--net={present.record.netns}", *present.ssh_argv(host), *command])


def _persistent() -> Record | None:
    return next((record for record in records.all_records() if record.name == PERSISTENT), None)


def _require_persistent() -> Record:
    present = _persistent()
    if present is None:
        raise LabError("lab: is down, expected it up: make lab-up")
    return present


def _boot_stopped(record: Record) -> None:
    for container in ContainerLab.attach(record).hosts.values():
        if not container.running:
            container.boot()


def _start_anew(remains: Record | None, hosts: tuple[HostSpec, ...]) -> None:
    """The lab runs; `remains` is what a restart of this machine left of the last one."""
    if remains:
        records.remove(remains)
    ContainerLab(hosts, persistent=True).start()


def _described(record: Record) -> str:
    return ", ".join(f"{spec.name} ({spec.suite})" for spec in record.hosts)


def _print_next_steps(record: Record, layout_name: str) -> None:
    home = ContainerLab.attach(record).home
    pyinfra = Path(sys.executable).with_name("pyinfra")
    shown = pyinfra.relative_to(REPOSITORY) if pyinfra.is_relative_to(REPOSITORY) else pyinfra
    sudo = "sudo env " if "SUDO_USER" in os.environ else ""
    click.echo(f"up: {_described(record)}\nnext, in {REPOSITORY}:")
    click.echo(f"  {sudo}HOME={home} nsenter --net={record.netns} {shown} inventory/{layout_name}.py deploy.py")
    click.echo(f"  make lab-ssh HOST={record.hosts[0].name}\n  make lab-down")


if __name__ == "__main__":
    lab(prog_name="python -m tests.lab")
