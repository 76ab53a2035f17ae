"""`python -m tests.lab`: labs of container hosts for people, each by its name, running until they are taken down."""

import os
import re
import sys
from pathlib import Path
from typing import get_args

import click

from tests.lab import records, tools, vms
from tests.lab.containers import ContainerLab, require_root
from tests.lab.debian import LabError, Suite, missing_packages
from tests.lab.layouts import LAYOUTS, REPOSITORY, HostSpec, layout, shown
from tests.lab.records import PREFIX, Record

DEFAULT = "main"
NAME = re.compile(r"[a-z][a-z0-9-]{0,19}")  # a part of the names of namespace, machines and cgroup


class LabCommands(click.Group):
    """A LabError is a message for people: shown as such, without a traceback."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except LabError as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=LabCommands)
@click.option("--lab", "name", default=DEFAULT, show_default=True, help="Several labs stand side by side by name.")
@click.pass_context
def lab(context: click.Context, name: str) -> None:
    """Real Debian hosts on this machine, in a network of their own without uplink."""
    if not NAME.fullmatch(name):
        raise LabError(f"{name!r} names no lab, expected small letters, digits and -, at most 20: choose such a name")
    context.obj = name
    if context.invoked_subcommand != "packages":
        require_root()


@lab.command()
def packages() -> None:
    """Debian packages that containers, VMs and the tests on them need and this machine lacks, on one line."""
    click.echo(" ".join(sorted({*missing_packages(), *vms.missing_packages(), *tools.missing_packages()})))


@lab.command()
@click.option("--suite", type=click.Choice(get_args(Suite)), default="bookworm", show_default=True)
@click.option("--layout", "layout_name", type=click.Choice(LAYOUTS), default="prod", show_default=True)
@click.pass_obj
def up(name: str, suite: Suite, layout_name: str) -> None:
    """Boot the hosts and leave them running."""
    if missing := missing_packages():
        raise LabError(f"lab: this machine lacks packages, run: apt-get install {' '.join(missing)}")
    hosts = layout(layout_name, suite)
    present = _present(name)
    if present and present.hosts != hosts:
        raise LabError(
            f"lab {name}: {_described(present)} is up, expected nothing or the same: "
            f"{_make('lab-down', name)} first, or choose another name"
        )
    if present and present.netns.exists():
        _boot_stopped(present)
    else:
        _start_anew(name, present, hosts)
    _print_next_steps(name, _require(name), layout_name)


@lab.command()
@click.pass_obj
def down(name: str) -> None:
    """Remove the lab, and what killed test runs left behind."""
    present = _present(name)
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
@click.pass_obj
def ssh(name: str, host: str, command: tuple[str, ...]) -> None:
    """Log in to HOST of the running lab as root, or run COMMAND there."""
    present = ContainerLab.attach(_require(name))
    if host not in present.hosts:
        raise LabError(f"{host}: no such host in this lab, expected one of: {', '.join(present.hosts)}")
    sys.stdout.flush()
    os.execvp("nsenter", ["nsenter", f"--net={present.record.netns}", *present.ssh_argv(host), *command])


def _present(name: str) -> Record | None:
    """The lab of that name; LabError when it is a test's, which removes it by itself."""
    present = next((record for record in records.all_records() if record.name == f"{PREFIX}{name}"), None)
    if present and present.owner:
        raise LabError(f"lab {name}: is a test's, owned by process {present.owner.pid}: choose another name")
    return present


def _require(name: str) -> Record:
    present = _present(name)
    if present is None:
        raise LabError(f"lab {name}: is down, expected it up: {_make('lab-up', name)}")
    return present


def _make(target: str, name: str) -> str:
    return f"make {target}" if name == DEFAULT else f"make {target} LAB={name}"


def _boot_stopped(record: Record) -> None:
    for container in ContainerLab.attach(record).hosts.values():
        if not container.running:
            container.boot()


def _start_anew(name: str, remains: Record | None, hosts: tuple[HostSpec, ...]) -> None:
    """The lab runs; `remains` is what a restart of this machine left of the last one."""
    if remains:
        records.remove(remains)
    ContainerLab(hosts, name=name).start()


def _described(record: Record) -> str:
    return ", ".join(f"{spec.name} ({spec.suite})" for spec in record.hosts)


def _print_next_steps(name: str, record: Record, layout_name: str) -> None:
    """The default lab is deployed to word for word as production is; a named one has passwords of its own."""
    home = ContainerLab.attach(record).home
    pyinfra = shown(Path(sys.executable).with_name("pyinfra"))
    own = "" if name == DEFAULT else f"--data redis_secrets_file={home}/secrets.yaml "
    sudo = "sudo env " if "SUDO_USER" in os.environ else ""
    click.echo(f"up: {_described(record)}\nnext, in {REPOSITORY}:")
    click.echo(f"  {sudo}HOME={home} nsenter --net={record.netns} {pyinfra} {own}inventory/{layout_name}.py deploy.py")
    click.echo(f"  {_make('lab-ssh', name)} HOST={record.hosts[0].name}\n  {_make('lab-down', name)}")


if __name__ == "__main__":
    lab(prog_name="python -m tests.lab")
