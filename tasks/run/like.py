"""The inventory that a rehearsal is to be like: its file is run as pyinfra runs it, nobody is asked or connected to.

Of its data the few names of tasks/catalogue/likeness.py are looked at: no password, no SSH, no address.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from traceback import extract_tb
from typing import Any

from pyinfra.api import Config
from pyinfra.api.connectors import get_execution_connectors
from pyinfra.api.host import Host as PyinfraHost
from pyinfra.context import ctx_config
from pyinfra_cli.exceptions import UnexpectedExternalError
from pyinfra_cli.inventory import make_inventory_from_files
from pyinfra_cli.util import exec_file

from tasks.catalogue.likeness import LIKE, OF_A_HOST, OVERRIDES, Carrier, kept, likened, wish
from tasks.catalogue.roles import Catalogue, read_catalogue
from tasks.catalogue.scaling import SCALE, Smaller, factor
from tasks.catalogue.standby import STANDBY
from tasks.run.options import options

CATALOGUE = Path("group_data") / "roles.yaml"  # in the directory that pyinfra runs in, as all of group_data
GROUP_PREFIX = "redis_"
CODE = ("tasks", "deploy.py", "config.py")  # pyinfra runs those, too, and they are no inventory


@dataclass(frozen=True)
class Likeness:
    """What a run was told of another inventory: its file, by how much smaller, and each host's data as it counts."""

    like: str | None = None
    scale: float = 1.0
    data: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, repr=False)
    notes: tuple[str, ...] = ()
    smaller: tuple[Smaller, ...] = ()

    def notices(self) -> list[str]:
        """What a person should know who reads that all is as it should be."""
        said = [] if self.like is None else [f"{LIKE}={self.like}: the roles are as that inventory has them"]
        if self.smaller:
            said.append(f"{SCALE}={self.scale:g}: {len(self.smaller)} settings are smaller than they are asked for")
        return [*said, *self.notes]


def read_file(file: Path) -> tuple[Catalogue | None, list[str]]:
    """The catalogue in a file, None where it is none, and what is wrong with it."""
    if not file.exists():
        return None, [f"{file}: no such file in {Path.cwd()}: run pyinfra in the repository"]
    return read_catalogue(file.read_text(encoding="utf-8"))


def carriers(hosts: Iterable[PyinfraHost], only: Sequence[str] = ()) -> list[Carrier]:
    """The hosts of an inventory; `only`: the names of their data that are looked at, all when empty."""
    found = []
    for host in hosts:
        names = {name.removeprefix(GROUP_PREFIX) for name in host.groups if name.startswith(GROUP_PREFIX)}
        roles = sorted(name for name in names if not name.endswith(STANDBY))  # a rehearsal has standbys of its own
        data = {name: host.data.get(name) for name in only} if only else host.data.dict()
        found.append(Carrier(host.name, tuple(roles), data))
    return found


def read_likeness(hosts: Iterable[PyinfraHost], directory: Path | None = None) -> tuple[Likeness, list[str]]:
    """What `like` and `scale` ask of this run's hosts, and what is wrong with that: then nothing else can be judged.

    `directory`: where the inventory and group_data are looked for first, another one than pyinfra runs in.
    """
    own = carriers(hosts)
    like, problems = wish(LIKE, own)
    wanted, wrong = wish(SCALE, own)
    scale, no_factor = factor(wanted)
    problems = [*problems, *wrong, *no_factor]
    data = {host.name: host.data for host in own}
    words = [f"{word}=" for word, value in ((LIKE, like), (SCALE, wanted)) if value is not None]
    if not words or problems:
        return Likeness(None, scale, data), problems
    problems += kept(own, words)
    if like is None or problems:
        return Likeness(None, scale, data), problems
    other, problems = other_inventory(str(like), directory)
    if problems:
        return Likeness(None, scale, data), problems
    taken = likened(own, other, str(like))
    data |= {name: {**data[name], **values} for name, values in taken.data.items()}
    return Likeness(str(like), scale, data, taken.notes), list(taken.problems)


def other_inventory(name: str, directory: Path | None = None) -> tuple[list[Carrier], list[str]]:
    """The hosts of the inventory file `name`, and why it is none, in one sentence.

    As pyinfra does, it takes `group_data` from where it runs (or `directory`, another state of that) and from beside
    the file.
    """
    file = _in(directory, Path.cwd() / name)
    if problem := _no_file(name, file):
        return [], [problem]
    try:
        with ctx_config.use(Config()):  # what it sets for its own runs is not for this one
            if asking := _asking(exec_file(str(file), return_locals=True)):
                why = f"{asking} asks a program for its hosts, expected names in the file: write them"
                return [], [f"{LIKE}={name}: {why}"]
            # Nothing of this command line: what it says is said of this run's own hosts.
            where, more = str(directory or Path.cwd()), options().get("group_data") or None
            found = make_inventory_from_files(str(file), None, where, more)
    except (Exception, SystemExit) as error:
        return [], [_unreadable(name, error)]
    return carriers(found, (OVERRIDES, *OF_A_HOST)), []


def _in(directory: Path | None, file: Path) -> Path:
    """A file as another state of this repository has it; itself where that has none, or it is not of here."""
    if directory is None or not file.is_relative_to(Path.cwd()):
        return file
    there = directory / file.relative_to(Path.cwd())
    return there if there.exists() else file


def _no_file(name: str, file: Path) -> str:
    """Why this is no file that could be an inventory; empty when it may be one."""
    if not name or not file.exists():
        return f"{LIKE}={name}: no such file in {Path.cwd()}: name the inventory that is to be rehearsed"
    if file.is_dir():
        return f"{LIKE}={name}: is a directory, expected an inventory file: name one of those in it"
    if not file.is_file() or any(file.resolve().is_relative_to(Path(code).resolve()) for code in CODE):
        return f"{LIKE}={name}: is no inventory, expected a Python file with groups redis_<role>: name one"
    return ""


def _asking(names: Mapping[str, Any]) -> str:
    """The connector that would ask a program, or somebody else, which hosts there are; empty where none does."""
    for value in names.values():
        hosts = value[0] if isinstance(value, tuple) and value else value
        for item in hosts if isinstance(hosts, list) else ():
            host = item[0] if isinstance(item, tuple) and item else item
            if isinstance(host, str) and host.startswith("@"):
                connector = host.partition("/")[0]
                if connector.removeprefix("@") not in get_execution_connectors():
                    return connector
    return ""


def _unreadable(name: str, error: BaseException) -> str:
    cause = error.exception if isinstance(error, UnexpectedExternalError) else error
    at = [frame.lineno for frame in extract_tb(cause.__traceback__) if Path(frame.filename).name == Path(name).name]
    line = cause.lineno if isinstance(cause, SyntaxError) else at[-1] if at else None
    said = cause.msg if isinstance(cause, SyntaxError) else str(cause)
    where = "" if line is None else f", line {line}"
    return f"{LIKE}={name}: is no inventory{where}: {type(cause).__name__}: {said}: correct it, or name another"
