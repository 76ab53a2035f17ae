"""The staging machines from the command line: python -m tests.lab.vmctl [--one] up|status|ssh|down."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import get_args

import click

from tests.lab.debian import LabError, Suite
from tests.lab.vm import Vm
from tests.lab.vm_layouts import Layout
from tests.lab.vms import remove_abandoned, staging, staging_key

INVENTORIES: dict[Layout, str] = {"each": "inventory/staging.py", "one": "inventory/staging_one.py"}
VMCTL: dict[Layout, str] = {"each": "python -m tests.lab.vmctl", "one": "python -m tests.lab.vmctl --one"}
NEXT_STEPS = """
{hosts} hosts answer on ssh and stay until `down`. They reach nothing outside. Next:
  pyinfra {inventory} deploy.py
  {vmctl} ssh {first}
  {vmctl} down
The key of root and of admin (sudo): {key}"""


@click.group()
@click.option("--one", is_flag=True, help="One machine that carries every role.")
@click.pass_context
def main(context: click.Context, one: bool) -> None:
    """Throw-away virtual machines for a rehearsal, one per role."""
    context.obj = "one" if one else "each"


@main.command()
@click.option("--suite", type=click.Choice(get_args(Suite)), default="bookworm", show_default=True)
@click.pass_obj
def up(layout: Layout, suite: Suite) -> None:
    """The staging machines answer on ssh; those that run already are left alone."""
    with _errors_in_words():
        lab = staging(suite, layout)
        lab.start()
    key, first, vmctl = staging_key(layout), next(iter(lab.vms)), VMCTL[layout]
    text = NEXT_STEPS.format(hosts=len(lab.vms), first=first, key=key, vmctl=vmctl, inventory=INVENTORIES[layout])
    click.echo(text.strip())


@main.command()
@click.pass_obj
def down(layout: Layout) -> None:
    """No staging machine is left, nor its disk, nor any lab whose owner was killed. The ssh keys stay."""
    with _errors_in_words():
        staging(layout=layout).remove()
        for directory in remove_abandoned():
            click.echo(f"removed {directory}, left by a process that was killed")


@main.command()
@click.pass_obj
def status(layout: Layout) -> None:
    """Which staging machines run and answer; the exit status is 1 unless all of them do."""
    states = {vm: _state(vm) for vm in staging(layout=layout).vms.values()}
    for vm, state in states.items():
        click.echo(f"{vm.name:<20} {state:<12} {vm.addresses[0]:<12} 127.0.0.1:{vm.ssh_port}")
    raise SystemExit(any(state != "up" for state in states.values()))


def _state(vm: Vm) -> str:
    if not vm.running:
        return "off"
    return "up" if vm.boot_id() else "no ssh"


@main.command(context_settings={"ignore_unknown_options": True})
@click.argument("host")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@click.option("--user", "-l", default="root", show_default=True, help="root or admin.")
@click.pass_obj
def ssh(layout: Layout, host: str, command: Sequence[str], user: str) -> None:
    """Log in to a staging machine, or run COMMAND there."""
    machines = staging(layout=layout).vms
    if host not in machines:
        raise click.ClickException(f"{host}: no staging machine, expected one of {', '.join(machines)}")
    if not machines[host].running:
        raise click.ClickException(f"{host}: is off: run `{VMCTL[layout]} up`")
    argv = [*machines[host].ssh_argv(user), *command]
    os.execvp(argv[0], argv)


@contextmanager
def _errors_in_words() -> Iterator[None]:
    try:
        yield
    except LabError as error:
        raise click.ClickException(str(error)) from error


if __name__ == "__main__":
    main()
