"""The tier of one run: the desired state of every inventory host, or everything that is wrong with the data.

Reads the catalogue, the inventory's host data and the secrets file; contacts no host.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from pyinfra.api.host import Host as PyinfraHost

from tasks.catalogue.acl_rules import OPERATOR
from tasks.catalogue.along import Place, goes_along, own_of
from tasks.catalogue.backup import NAME as BACKUP
from tasks.catalogue.backup import PASSWORD as REPOSITORY
from tasks.catalogue.backup import Source as BackupSource
from tasks.catalogue.backup import backed_up, for_both, provers, read_backup, setting_problems
from tasks.catalogue.data_names import idle_overrides, slips
from tasks.catalogue.given_tls import NOTHING_GIVEN
from tasks.catalogue.ignored import NAME as IGNORE
from tasks.catalogue.ignored import ignore_problems, ignored
from tasks.catalogue.interface import NAME as INTERFACE
from tasks.catalogue.interface import OWN as OWN_ADDRESS
from tasks.catalogue.interface import interface_of, interface_problems, own_address_of, own_address_problems
from tasks.catalogue.likeness import MEANT_FOR_DRILLS, OVERRIDES
from tasks.catalogue.limits import NAME as HEALTH
from tasks.catalogue.limits import Limits, read_limits
from tasks.catalogue.metrics import METRICS, measured, read_metrics, same_place
from tasks.catalogue.metrics import NAME as METRICS_NAME
from tasks.catalogue.metrics import Source as MetricsSource
from tasks.catalogue.requested import FINISH, ROTATIONS, WORDS, Requests, malformed, requests, unmet
from tasks.catalogue.roles import Role, build_roles, same_endpoint
from tasks.catalogue.rotation import (
    ANYWAY,
    NOTHING_KEPT,
    Edit,
    Kept,
    edits,
    edits_to_paste,
    named,
    rotation_notes,
    undo_problems,
)
from tasks.catalogue.scaling import Smaller, scaled_roles
from tasks.catalogue.sealed_pairs import sealed_pair_problems
from tasks.catalogue.secret import Secret, all_of
from tasks.catalogue.secrets_command import NAME as SECRETS_COMMAND
from tasks.catalogue.secrets_command import SecretsCommand, malformed_command, secrets_from
from tasks.catalogue.secrets_file import (
    entries_of,
    generate,
    judge,
    lacking_problem,
    missing,
    read_kept,
    read_secrets,
    to_paste,
)
from tasks.catalogue.secrets_text import Secrets
from tasks.catalogue.standby import Carried, doubly_named, paired, pairs, unfit_names
from tasks.catalogue.standby import named as named_roles
from tasks.catalogue.tls import Credentials, read_credentials
from tasks.desired.build import desired_host, host_without_roles
from tasks.desired.host import Away, Host, Pair, Passwords
from tasks.desired.metrics import pair_problems
from tasks.desired.paths import unit_name
from tasks.run.like import CATALOGUE, GROUP_PREFIX, Likeness, read_file, read_likeness

Source = Path | SecretsCommand  # of passwords
LIKE_ITSELF = Likeness()
NO_BACKUP = BackupSource(None)
NO_METRICS = MetricsSource(None)


@dataclass(frozen=True)
class Tier:
    """Desired state and passwords by inventory host name, and the passwords made up for this run.

    `sources`: where each host's passwords are; `lacking`: the passwords that each of them has not, (role, user);
    `unplaced`: roles of the catalogue that no host carries; `likeness`: what another inventory says of the roles.
    """

    hosts: Mapping[str, Host]
    passwords: Mapping[str, Passwords] = field(repr=False)
    generated: Mapping[Path, Mapping[tuple[str, str], str]] = field(default_factory=dict, repr=False)
    sources: Mapping[str, Source] = field(default_factory=dict)
    lacking: Mapping[Source, Sequence[tuple[str, str]]] = field(default_factory=dict)
    unplaced: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()  # about the passwords in the secrets files
    likeness: Likeness = LIKE_ITSELF
    edits: Mapping[Source, tuple[Edit, ...]] = field(default_factory=dict)  # steps of rotations

    def edits_of(self, name: str) -> list[Edit]:
        """The steps of rotations that concern the roles of a host."""
        roles = {role.name for role in self.hosts[name].roles}
        return [item for item in self.edits.get(self.sources[name], ()) if item.role in roles]

    def proved_edits_of(self, name: str) -> list[Edit]:
        """The steps of rotations of repositories' passwords whose copies a host proves for another one."""
        return [
            item
            for plan in self.hosts[name].proofs
            if plan.of
            for item in self.edits.get(self.sources[plan.of], ())
            if (item.role, item.user) == (plan.role.name, REPOSITORY)
        ]

    def placed(self, *names: str) -> dict[str, list[str]]:
        """Which of the hosts `names` carry each role."""
        found: dict[str, list[str]] = {}
        for name in names:
            for role in self.hosts[name].roles:
                found.setdefault(role.name, []).append(name)
        return found

    def to_paste(self) -> list[str]:
        """Lines for what commands print, that lack passwords: a deploy makes up none beside a command."""
        return [
            line
            for source, keys in self.lacking.items()
            if keys and isinstance(source, SecretsCommand)
            for line in to_paste(str(source), keys)
        ]

    def notices(self) -> list[str]:
        """What a person should know of the tier as a whole, and what to do about it."""
        return [
            f"{role}: no host of the inventory carries this role of roles.yaml: put its host into group "
            f"{GROUP_PREFIX}{role}, or remove the role"
            for role in self.unplaced
        ] + [*self.likeness.notices(), *self.doubts]


@dataclass(frozen=True)
class HostInput:
    """What the inventory says of one host, which may carry no role."""

    name: str
    roles: tuple[Role, ...]
    secrets: Source
    sysctls: Mapping[str, int | str]
    redis_version: str | None
    requests: Requests
    limits: Limits | None
    ignored: tuple[str, ...]
    scale: float | None = None  # by which its roles were made smaller; None where that may not be asked for
    smaller: tuple[Smaller, ...] = ()
    backups: BackupSource = NO_BACKUP
    interface: str | None = None
    ssh: str = ""  # where SSH goes to
    standby_of: tuple[str, ...] = ()  # of its roles, by name
    pairs: tuple[Pair, ...] = ()
    own_address: str | None = None
    metrics: MetricsSource = NO_METRICS


def build_tier(
    hosts: Iterable[PyinfraHost], inventory_file: str, new_passwords: bool, catalogue_file: Path = CATALOGUE
) -> tuple[Tier, list[str]]:
    """The tier of `hosts` and the problems with their data; a tier with problems must not be used.

    Missing passwords are generated when `new_passwords`, else they stay None.
    """
    inputs, unplaced, likeness, problems = read_inputs(list(hosts), inventory_file, catalogue_file)
    standbys = {name for host in inputs for name in host.standby_of}
    problems += same_endpoint({host.name: list(host.roles) for host in inputs}, standbys)
    problems += same_place({host.name: host.metrics.metrics for host in inputs if host.roles})
    homes, wrong = provers(
        {host.name: [role.name for role in host.roles] for host in inputs},
        {host.name: host.backups.backup for host in inputs},
        {(host.name, pair.role): pair.peer for host in inputs for pair in host.pairs},
    )
    problems += wrong
    known_roles = {role.name for host in inputs for role in host.roles} | set(unplaced)
    secrets: dict[Source, Secrets] = {}
    read: dict[Source, dict[str, dict[str, str]]] = {}
    kept: dict[Source, Kept] = {}
    lacking: dict[Source, list[tuple[str, str]]] = {}
    doubts: list[str] = []
    for source in sorted({host.secrets for host in inputs if host.roles}, key=str):
        secrets[source], wrong = read_secrets(source) if isinstance(source, Path) else secrets_from(source)
        read[source] = secrets[source].passwords
        problems += wrong
        kept[source], exposed = read_kept(source) if isinstance(source, Path) else (NOTHING_KEPT, [])
        problems += exposed
        needing = [role for host in inputs if host.secrets == source for role in host.roles]
        weak, doubtful = judge(source, read[source], needing)
        problems += [*weak, *setting_problems(source, read[source], needing, known_roles)]
        doubts += doubtful
        # One that could not be read may have all of them.
        lacking[source] = [] if wrong else list(dict.fromkeys(missing(read[source], needing)))
        if isinstance(source, SecretsCommand) and lacking[source] and new_passwords:
            problems.append(lacking_problem(str(source), lacking[source]))
    generated = {
        source: {key: generate() for key in keys}
        for source, keys in lacking.items()
        if keys and new_passwords and isinstance(source, Path)
    }
    steps: dict[Source, tuple[Edit, ...]] = {}
    now = datetime.now(UTC)
    for source, own in read.items():
        asked = [(role, host.requests) for host in inputs if host.secrets == source for role in host.roles]
        at = int(now.timestamp())
        steps[source], wrong = rotations(source, own, kept[source], asked, new_passwords, at)
        problems += wrong
        doubts += rotation_notes(asked, own, kept[source], source, at)
    known = {
        source: _merged(
            _with_dropped(source, own, kept[source], inputs),
            generated.get(source, {}) if isinstance(source, Path) else {},
            steps[source],
        )
        for source, own in read.items()
    }
    passwords = {host.name: _passwords(host.roles, known.get(host.secrets, {})) for host in inputs}
    awaited = {source: [edit.pair for edit in made if edit.awaits] for source, made in steps.items()}
    desired = {}
    speaking: dict[str, dict[str, Credentials]] = {}  # by host, of its roles that speak TLS
    for host in inputs:
        credentials, wrong = _credentials(host, secrets.get(host.secrets, Secrets()), now)
        problems += wrong
        speaking[host.name] = credentials
        away = _away(homes.get(host.name, []), inputs, passwords)
        made = _desired(host, passwords[host.name], awaited.get(host.secrets, []), credentials, away)
        desired[host.name] = _with_rotated(made, kept.get(host.secrets, NOTHING_KEPT))
    problems += _sealed_pairs(inputs, speaking)
    everywhere = {role: found for own in speaking.values() for role, found in own.items()}
    for name, made in desired.items():
        elsewhere = {role: found for role, found in everywhere.items() if role not in speaking[name]}
        desired[name] = replace(made, leaving=elsewhere) if elsewhere else made
    sources = {host.name: host.secrets for host in inputs}
    return Tier(desired, passwords, generated, sources, lacking, unplaced, tuple(doubts), likeness, steps), problems


def rotations(
    source: Source,
    known: Mapping[str, Mapping[str, str]],
    kept: Kept,
    asked: Sequence[tuple[Role, Requests]],
    makes: bool,
    now: int,
) -> tuple[tuple[Edit, ...], list[str]]:
    """What the run's words make of the passwords of a source, and why they cannot; `makes`: whether any is made up."""
    if not any(getattr(item, word) for _, item in asked for word in ROTATIONS):
        return (), []
    problems = list(undo_problems(asked, known, kept, source, now))
    if isinstance(source, Path):
        return tuple(edits(asked, known, kept, generate if makes else None, now)), problems
    made = tuple(edits(asked, known, kept, None, now))
    if makes:
        problems += edits_to_paste(str(source), [edit for edit in made if edit.awaits])
    return made, problems


def _with_dropped(
    source: Source, known: Mapping[str, Mapping[str, str]], kept: Kept, hosts: Iterable[HostInput]
) -> Mapping[str, Mapping[str, str]]:
    """The passwords of a source; of users whose rotation is finished those, too, that an interrupted finish dropped."""
    asked = [(role, host.requests) for host in hosts if host.secrets == source for role in host.roles]
    pairs = {(role.name, user) for role, item in asked for user in named(item.rotate_finish, role)}
    pairs -= {(role.name, REPOSITORY) for role, _ in asked}  # what a repository still takes is known on its host
    if not pairs:
        return known
    merged = {role: dict(users) for role, users in known.items()}
    for role, user in pairs:
        own, before = all_of(known.get(role, {}).get(user)), all_of(kept.passwords.get(role, {}).get(user))
        if own:
            merged[role][user] = Secret(own[0], [*own[1:], *(item for item in before if item not in own)])
    return merged


def _credentials(host: HostInput, secrets: Secrets, now: datetime) -> tuple[dict[str, Credentials], list[str]]:
    """The certificates of a host's roles, and what is wrong with them; `secrets`: where those are that no file has."""
    found: dict[str, Credentials] = {}
    problems: list[str] = []
    for role in host.roles:
        if role.tls is not None:
            users = (*role.services, OPERATOR, *([METRICS] if role.measured else []))
            given = secrets.tls.get(role.name, NOTHING_GIVEN)
            read, wrong = read_credentials(role.tls, role.address, users, now, given)
            found |= {} if read is None else {role.name: read}
            problems += [f"{host.name}: {role.name}: {problem}" for problem in wrong]
    if host.metrics.metrics is not None:
        problems += [f"{host.name}: {problem}" for problem in pair_problems(found)]
    return found, problems


def _sealed_pairs(hosts: Iterable[HostInput], speaking: Mapping[str, Mapping[str, Credentials]]) -> Iterator[str]:
    """What keeps the two hosts of a role that speaks TLS from speaking it to each other."""
    for host in hosts:
        for pair in host.pairs:
            if pair.is_standby:
                (address,) = (str(role.address) for role in host.roles if role.name == pair.role)
                own = {name: found[pair.role] for name, found in speaking.items() if pair.role in found}
                yield from sealed_pair_problems(pair.role, [(pair.peer, pair.there[0]), (host.name, address)], own)


def _away(
    proved: Iterable[tuple[str, str]], hosts: Iterable[HostInput], passwords: Mapping[str, Passwords]
) -> list[Away]:
    """What a host proves of others; `proved`: which role of which host."""
    by_name = {host.name: host for host in hosts}
    return [
        _of_either(Away(name, role, backup, passwords[name]), by_name)
        for name, wanted in proved
        for role in by_name[name].roles
        if role.name == wanted and (backup := by_name[name].backups.backup) is not None
    ]


def _of_either(away: Away, hosts: Mapping[str, HostInput]) -> Away:
    """Copies of a role, of both hosts of its pair where the one that serves makes them."""
    pair = next((pair for pair in hosts[away.host].pairs if pair.role == away.role.name), None)
    other = None if pair is None or not pair.backed_up_there else hosts[pair.peer].backups.backup
    if pair is None or other is None:
        return away
    return replace(away, backup=for_both(pair.role, away.backup, other), also=pair.peer)


def _desired(
    host: HostInput,
    passwords: Passwords,
    awaited: Collection[tuple[str, str]],
    credentials: Mapping[str, Credentials],
    away: Sequence[Away],
) -> Host:
    if not host.roles:
        return replace(host_without_roles(host.name, host.requests), ssh=host.ssh, own_address=host.own_address)
    desired = desired_host(
        host.name,
        host.roles,
        passwords,
        host.sysctls,
        host.redis_version,
        host.requests,
        awaited,
        credentials,
        host.backups.backup,
        host.interface,
        host.metrics.metrics,
        host.pairs,
        away,
    )
    found = replace(desired, limits=host.limits, ignored=host.ignored, scale=host.scale)
    return replace(found, ssh=host.ssh, own_address=host.own_address)


def _with_rotated(desired: Host, kept: Kept) -> Host:
    """Its instances know which of their users were rotated from here: their servers may have what no file has."""
    instances = (replace(item, rotated=frozenset(kept.when.get(item.name, {}))) for item in desired.instances)
    return replace(desired, instances=tuple(instances))


def _merged(
    known: Mapping[str, Mapping[str, str]], new: Mapping[tuple[str, str], str], changed: Iterable[Edit]
) -> dict[str, dict[str, str]]:
    merged = {role: dict(users) for role, users in known.items()}
    for edit in changed:
        # One that is dropped may have to let us in; a repository is opened by the newest before that is done.
        drops = edit.word == FINISH and edit.user != REPOSITORY
        known_then = edit.before if drops else edit.after
        merged[edit.role][edit.user] = Secret(known_then[0], known_then[1:])
    for (role, user), password in new.items():
        merged.setdefault(role, {})[user] = password
    return merged


def _passwords(roles: Iterable[Role], known: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, str | None]]:
    """Passwords of these roles' users, and those of other roles in the file: one may have left a server on the host."""
    hidden = {role: {user: hidden_text(text) for user, text in users.items()} for role, users in known.items()}
    wanted: dict[str, dict[str, str | None]] = {role: dict(users) for role, users in hidden.items()}
    for role in roles:
        # Beside its users, `default` of an old server whose data it adopts (tasks/observed/foreign.py).
        own = hidden.get(role.name, {})
        wanted[role.name] = {**own, **{user: own.get(user) for user in entries_of(role)}}
    return wanted


def hidden_text(password: str) -> Secret:
    """A password that shows itself nowhere, nor those beside it."""
    first, *others = all_of(password)
    return Secret(first, others)


def read_inputs(
    hosts: Sequence[PyinfraHost], inventory_file: str, catalogue_file: Path
) -> tuple[list[HostInput], tuple[str, ...], Likeness, list[str]]:
    """What inventory and catalogue say of each host, the roles that none carries, the likeness, and every problem."""
    catalogue, problems = read_file(catalogue_file)
    if catalogue is None:
        return [], (), LIKE_ITSELF, problems
    likeness, unlike = read_likeness(hosts)
    if unlike:
        return [], (), likeness, [*problems, *unlike]
    sound = not problems
    inputs: list[HostInput] = []
    asked: list[tuple[list[str], Requests]] = []
    overridden: dict[str, tuple[list[str], list[str]]] = {}
    given: dict[str, list[str]] = {}
    for host in hosts:
        data = likeness.data[host.name]
        for word in host.data.dict():
            given.setdefault(word, []).append(host.name)
        words = {group.removeprefix(GROUP_PREFIX) for group in host.groups if group.startswith(GROUP_PREFIX)}
        names, standby_of = named_roles(words)
        problems += doubly_named(host.name, words)
        problems += [
            f"{host.name}: group {GROUP_PREFIX}{name} names no role of roles.yaml "
            f"(roles: {', '.join(sorted(catalogue.roles))}): correct the group or add the role"
            for name in names
            if name not in catalogue.roles
        ]
        asked.append((names, requests({word: data.get(word) for word in WORDS})))
        overrides = data.get(OVERRIDES) or {}
        if not isinstance(overrides, Mapping):
            problems.append(f"{host.name}: redis_overrides: expected role → fields, observed {overrides!r}")
            continue
        overridden[host.name] = (names, [str(role) for role in overrides if role in catalogue.roles])
        source = f"{host.name}: redis_overrides" + (f" of {likeness.like}" if likeness.like else "")
        roles, wrong = build_roles(catalogue, overrides, source)
        # What the catalogue has wrong by itself is said of it already, and not of every host again.
        own = set() if sound else set(build_roles(catalogue, {}, source)[1])
        problems += [problem for problem in wrong if problem not in own]
        carried = tuple(roles[name] for name in names if name in roles)
        smaller: tuple[Smaller, ...] = ()
        if sound and not wrong:
            carried, smaller, wrong = scaled_roles(catalogue, overrides, carried, likeness.scale)
            problems += wrong
        backups = read_backup(host.name, data.get(BACKUP), catalogue.roles, [role.name for role in carried])
        carried = backed_up(carried, backups.backup)
        metrics = read_metrics(host.name, data.get(METRICS_NAME), carried)
        carried = measured(carried, metrics.metrics)
        made = _input(host.name, carried, data, inventory_file, likeness.scale)
        ssh = str(host.data.get("ssh_hostname") or host.name)
        interface = interface_of(data.get(INTERFACE))
        made = replace(made, ssh=ssh, own_address=own_address_of(data.get(OWN_ADDRESS)))
        made = replace(made, smaller=smaller, backups=backups, interface=interface, metrics=metrics)
        inputs.append(replace(made, standby_of=tuple(name for name in standby_of if name in roles)))
        problems += _check(inputs[-1], data)
    problems += unfit_names(catalogue.roles)
    inputs, wrong = with_standbys(inputs)
    problems += wrong
    if not any(item.roles for item in inputs) and not problems:
        source = inventory_file or "the inventory"
        problems.append(f"{source}: no host is in a group {GROUP_PREFIX}<role>: put each role's host there")
    problems += [*unmet(asked, catalogue.roles), *idle_overrides(overridden), *slips(given)]
    unplaced = sorted(set(catalogue.roles) - {name for names, _ in asked for name in names})
    likeness = replace(likeness, smaller=tuple(dict.fromkeys(item for host in inputs for item in host.smaller)))
    return inputs, tuple(unplaced), likeness, problems


def with_standbys(inputs: Sequence[HostInput]) -> tuple[list[HostInput], list[str]]:
    """The hosts, those of a pair with what they know of each other; and why some roles cannot have their standby."""
    found, problems = pairs(
        Carried(item.name, item.roles, item.standby_of, str(item.secrets), item.redis_version, _place(item))
        for item in inputs
    )
    by_name = {item.name: item for item in inputs}
    own: dict[str, list[Pair]] = {}
    at_home: dict[str, dict[str, IPv4Address]] = {}  # host → role whose address goes along → the host's own
    for role, (first, standby) in found.items():
        for here, there, is_standby in ((first, standby, False), (standby, first, True)):
            (mine,), (other,) = ([item for item in host.roles if item.name == role] for host in (here, there))
            along = goes_along(mine, other)
            where = (there.place.own if along else str(other.address), other.port)
            at_home.setdefault(here.host, {}).update({role: IPv4Address(here.place.own)} if along else {})
            peer = by_name[there.host]
            pair = Pair(role, there.host, where, is_standby, is_standby, other.backed_up, peer.ssh)
            pair = replace(pair, own_there=peer.own_address or "")
            own.setdefault(here.host, []).append(pair)
    return [
        replace(
            item,
            roles=paired(item.roles, {pair.role for pair in own[item.name]}, at_home[item.name]),
            pairs=tuple(own[item.name]),
        )
        if item.name in own
        else item
        for item in inputs
    ], problems


def _place(host: HostInput) -> Place:
    return Place(host.interface, own_of(host.own_address, host.ssh))


def _input(name: str, roles: tuple[Role, ...], data: Mapping[str, Any], inventory_file: str, scale: float) -> HostInput:
    sysctls = data.get("redis_sysctl")
    return HostInput(
        name=name,
        roles=roles,
        secrets=_source(data, inventory_file),
        sysctls=sysctls if isinstance(sysctls, Mapping) else {},
        redis_version=data.get("redis_version"),
        requests=requests({word: data.get(word) for word in WORDS}),
        limits=read_limits(name, data.get(HEALTH))[0],
        ignored=ignored(data.get(IGNORE)),
        scale=scale if data.get(MEANT_FOR_DRILLS) is True else None,
    )


def _source(data: Any, inventory_file: str) -> Source:
    """Where a host's passwords are; what is wrong with that, `_check_source` says."""
    command, file = data.get(SECRETS_COMMAND), data.get("redis_secrets_file")
    if command is not None and not file and not malformed_command(command):
        return SecretsCommand(tuple(command))
    return Path(str(file or Path("secrets") / f"{Path(inventory_file).stem or 'inventory'}.yaml"))


def _check_source(name: str, data: Any) -> Iterable[str]:
    """Problems with where a host's passwords are."""
    command, file = data.get(SECRETS_COMMAND), data.get("redis_secrets_file")
    if not isinstance(file or "", str | Path):
        yield f"{name}: redis_secrets_file: expected a path, observed {file!r}"
    if command is None:
        return
    if problem := malformed_command(command):
        yield f"{name}: {problem}"
    elif file:
        yield f"{name}: {SECRETS_COMMAND} and redis_secrets_file are both there, expected one of them: remove one"


def _check(host: HostInput, data: Any) -> Iterable[str]:
    """Problems with one host's own data, beside those of its roles."""
    yield from malformed(host.name, {word: data.get(word) for word in WORDS})
    for word in ("allow_eviction", ANYWAY):
        if not isinstance(data.get(word, False), bool):
            yield f"{host.name}: {word}: expected true or false, observed {data.get(word)!r}"
    yield from host.backups.problems
    yield from host.metrics.problems
    yield from _check_users(host)
    yield from read_limits(host.name, data.get(HEALTH))[1]
    yield from ignore_problems(host.name, data.get(IGNORE), host.roles, [unit_name(role.name) for role in host.roles])
    yield from interface_problems(host.name, data.get(INTERFACE), host.roles, host.ssh)
    yield from own_address_problems(host.name, data.get(OWN_ADDRESS))
    yield from _check_source(host.name, data)
    if host.redis_version is not None and not isinstance(host.redis_version, str):
        yield f"{host.name}: redis_version: expected a Debian version in quotes, observed {host.redis_version!r}"
    if not isinstance(data.get("redis_sysctl"), Mapping):
        yield f"{host.name}: redis_sysctl: expected the mapping of group_data/all.py: run pyinfra in the repository"
        return
    for name, value in host.sysctls.items():
        if isinstance(value, bool) or not isinstance(value, int | str):
            yield f"{host.name}: redis_sysctl: {name}: expected a number or text, observed {value!r}"
    yield from _check_backlog(host)


def _check_users(host: HostInput) -> Iterable[str]:
    """Users whose rotation is asked for and whom their role has not."""
    for word in ROTATIONS:
        for item in getattr(host.requests, word):
            name, _, user = item.partition(":")
            users = [known for role in host.roles if role.name == name for known in entries_of(role)]
            if user and users and user not in users:
                yield f"{word}={item}: {name} has no such user, expected one of {', '.join(users)}: correct the name"


def _check_backlog(host: HostInput) -> Iterable[str]:
    """The kernel cuts an accept backlog to its own ceiling without a word."""
    ceiling = str(host.sysctls.get("net.core.somaxconn", "4096"))
    if not ceiling.isdigit():
        yield f"{host.name}: redis_sysctl: net.core.somaxconn: expected a number, observed {ceiling!r}"
        return
    for role in host.roles:
        if role.tcp_backlog > int(ceiling):
            yield (
                f"{host.name}: {role.name}: tcp_backlog {role.tcp_backlog} is above net.core.somaxconn {ceiling}, "
                f"which would cut it silently: lower it in roles.yaml or raise redis_sysctl"
            )
