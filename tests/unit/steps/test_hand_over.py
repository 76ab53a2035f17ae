"""templates/scripts/hand-over.sh, run here with servers on paper: whatever fails at which command, two never serve."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tasks.observed.script import script

# A redis-cli whose servers are a file. A fault happens at the nth command to a server: `refused` (an error, nothing
# done), `lost` (done, and no answer), `stalled N` (done, and the N behind it are neither done nor answered), `dead` (no
# answer, now and for ever) or `dead later` (from the one behind it on).
LOGINS = {"old": ("_handover", "a-password-of-old"), "new": ("replication", "a-password-of-new")}
REDIS_CLI = f"""#!{sys.executable} -SE
import json, os, sys
from pathlib import Path
file = Path(__file__).with_name("servers.json")
LOGINS = {LOGINS}
state = json.loads(file.read_text())
side = "old" if sys.argv[2] == "10.0.0.1" else "new"
words = " ".join(sys.argv[7:])
key = f"{{side}} {{words.partition(' 10.')[0]}}"
fault = state["faults"].get(key)
own = state[side]
state["log"].append(f"{{side}} {{words}}")
said = "OK"
if (sys.argv[6], os.environ.get("REDISCLI_AUTH")) != LOGINS[side]:
    state["log"].append(f"{{side}}: WRONG LOGIN {{sys.argv[6]}} {{os.environ.get('REDISCLI_AUTH')}}")
if fault == "dead later":  # its next command
    fault, state["faults"][key] = None, "dead"
if own.get("stalled"):
    own["stalled"], said, words = own["stalled"] - 1, "", ""
elif fault and fault.startswith("stalled"):
    own["stalled"], state["faults"] = int(fault.split()[1]), {{}}
if not words:
    pass
elif fault == "dead" or own.get("dead"):
    own["dead"], said = True, ""
elif fault == "refused":
    said = "ERR a fault"
elif words == "INFO replication":
    offset = f"slave_repl_offset:{{own['offset']}}\\r\\n" if own["role"] == "slave" else ""
    said = f"role:{{own['role']}}\\r\\n{{offset}}master_replid:abc\\r\\nmaster_repl_offset:{{own['offset']}}"
    said = state.get("first", "") + said
    if side == "new" and state.get("catches_up"):
        own["offset"] = state["old"]["offset"]
elif words.startswith("CONFIG SET bind "):
    own["bind"] = words[16:]
elif words.startswith("CLIENT KILL TYPE normal"):
    own["ended"] = True
elif words.startswith("REPLICAOF"):
    own["role"] = "master" if words.endswith("NO ONE") else "slave"
    own["offset"] += state["late"] if side == "old" else 0
elif words.startswith("CLIENT PAUSE"):
    own["paused"] = True
elif words == "CLIENT UNPAUSE":
    own["paused"] = False
if state["old"]["role"] == state["new"]["role"] == "master":
    state["log"].append("TWO SERVE")
if fault == "lost":
    said, state["faults"] = "", {{}}
file.write_text(json.dumps(state))
print(said)
"""
SYSTEMCTL = """#!/bin/sh
[ "$1 $3" != 'show MainPID' ] || echo {pid}
case $1 in disable|enable) echo "$1 $4" >{place}/keeper ;; esac
"""
# The role's address on the old host, as this stub's file says. It never leaves with a client that was not ended before.
IP = f"""#!{sys.executable} -SE
import json, sys
from pathlib import Path
place = Path(__file__).with_name("place")
words = " ".join(sys.argv[1:])
if "address show" in words:
    print(place.read_text(), end="")
elif "address del" in words:
    state = json.loads(Path(__file__).with_name("servers.json").read_text())
    old = state["old"]
    if (old["role"], old.get("ended"), old.get("bind")) != ("slave", True, "10.0.0.1"):
        Path(__file__).with_name("wrong").write_text(f"{{old}}")
    if "stays" not in state:
        place.write_text("")
elif "address replace" in words:
    place.write_text("2: eth0    inet 10.9.9.9/32 scope global eth0\\n")
"""
ADDRESS, KEEPER = "10.9.9.9", "caas-redis-address-crypto.service"


@dataclass
class Handover:
    """What one run of the script said and left."""

    code: int
    said: str
    state: dict[str, Any]
    fence: Path
    place: str = ""  # what the old host says of the address that goes along
    keeper: str = ""  # what systemd was told of the unit that keeps it

    @property
    def roles(self) -> tuple[str, str]:
        return self.state["old"]["role"], self.state["new"]["role"]

    @property
    def writers_wait(self) -> bool:
        return bool(self.state["old"].get("paused"))


def run(
    tmp_path: Path,
    faults: dict[str, str],
    *,
    behind: int = 0,
    catches_up: bool = True,
    late: int = 0,
    roles: tuple[str, str] = ("master", "slave"),
    pause: int = 10_000,
    patience: int = 1,
    ended: bool = False,
    address: str = "",
    place: str = "2: eth0    inet 10.9.9.9/32 scope global eth0\n",
    **more: Any,
) -> Handover:
    """The script's run; the copy is `behind` bytes, and what is written amid it has `late` bytes.

    `ended`: systemd knows of no process of the old server. `address`: what goes along, as `place` says of it.
    """
    servers: dict[str, dict[str, Any]] = {
        "old": {"role": roles[0], "offset": 1000},
        "new": {"role": roles[1], "offset": 1000 - behind},
    }
    for side, offset in more.pop("offsets", {}).items():
        servers[side]["offset"] = offset
    state = {**servers, "faults": faults, "log": [], "catches_up": catches_up, "late": late, **more}
    for name, text in (
        ("redis-cli", REDIS_CLI),
        ("systemctl", SYSTEMCTL.format(pid=0 if ended else 700, place=tmp_path)),
        ("ip", IP),
        ("arping", "#!/bin/sh\n"),
        ("place", place if address else ""),
        ("servers.json", json.dumps(state)),
    ):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    fence = tmp_path / "redis-crypto.service.d" / "handed-over.conf"
    job = script(
        "hand-over",
        tls=[],
        address=address,
        keeper=KEEPER if address else "",
        old_user=LOGINS["old"][0],
        new_user=LOGINS["new"][0],
        host="10.0.0.1",
        port=6383,
        new_host="10.0.0.2",
        new_port=6383,
        fence=str(fence),
        words="deploy again",
        unit="redis-crypto.service",
        pause=pause,
        lag=400,
        patience=patience,
    )
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["sh", "-c", job],
        input=f"{LOGINS['old'][1]} {LOGINS['new'][1]}\n",
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "a-password" not in done.stdout + done.stderr
    found = Handover(done.returncode, done.stdout, json.loads((tmp_path / "servers.json").read_text()), fence)
    assert not (tmp_path / "wrong").exists()
    found.place = (tmp_path / "place").read_text()
    found.keeper = (tmp_path / "keeper").read_text().strip() if (tmp_path / "keeper").exists() else ""
    assert "TWO SERVE" not in found.state["log"]
    # Neither host ever sees by what the other one is told.
    assert not [line for line in found.state["log"] if "WRONG LOGIN" in line]
    return found


def served_as_before(found: Handover) -> None:
    """The old server alone serves, its writers go on, and it may start by itself again."""
    assert found.code == 3
    assert found.said.startswith("not handed over: ")
    assert found.roles == ("master", "slave")
    assert not found.writers_wait
    assert not found.fence.exists()


@pytest.mark.parametrize("side", ["old", "new"])
def test_what_a_server_says_as_a_number_is_run_by_nobody(tmp_path: Path, side: str) -> None:
    """bash reckons with the text of a variable that a text names."""
    made = tmp_path / "made"
    found = run(tmp_path, {}, catches_up=False, first=f"a[$(touch {made})]\r\n", offsets={side: "said"})
    assert not made.exists()
    served_as_before(found)


@pytest.mark.parametrize("behind", [0, 300])
def test_the_old_server_stops_when_the_copy_has_all_and_only_then_the_copy_serves(tmp_path: Path, behind: int) -> None:
    found = run(tmp_path, {}, behind=behind)
    assert (found.code, found.roles) == (0, ("slave", "master"))
    assert found.said.startswith("handed over: its writers waited ")
    assert not found.writers_wait
    order = [line for line in found.state["log"] if "INFO" not in line]
    assert order == [
        "old CLIENT PAUSE 10000 WRITE",
        "old REPLICAOF 10.0.0.2 6383",
        "new REPLICAOF NO ONE",
        "old CLIENT UNPAUSE",
        "old CLIENT KILL TYPE normal SKIPME yes",
        "old CLIENT KILL TYPE pubsub",
    ]
    assert "ExecStartPre=+/bin/sh -c 'echo \"deploy again\"; exit 1'" in found.fence.read_text()
    # By which it is known later whether it has followed the copy since.
    assert "# history: abc\n" in found.fence.read_text()


@pytest.mark.parametrize(
    "faults",
    [
        {"old CLIENT PAUSE 10000 WRITE": "refused"},
        {"old REPLICAOF": "refused"},
        {"old REPLICAOF": "lost"},
        {"new INFO replication": "dead"},
        {"new INFO replication": "lost"},
    ],
)
def test_what_fails_before_the_copy_is_told_leaves_the_old_server_as_it_was(
    tmp_path: Path, faults: dict[str, str]
) -> None:
    served_as_before(run(tmp_path, faults))


@pytest.mark.parametrize("roles", [("slave", "master"), ("slave", "slave")])
def test_what_keeps_a_server_that_was_replaced_from_its_next_start_stays(
    tmp_path: Path, roles: tuple[str, str]
) -> None:
    fence = tmp_path / "redis-crypto.service.d" / "handed-over.conf"
    fence.parent.mkdir()
    fence.write_text("of the run that handed over")
    found = run(tmp_path, {}, roles=roles)
    assert (found.code, found.roles) == (3, roles)
    assert fence.read_text() == "of the run that handed over"


@pytest.mark.parametrize("told", ["old CLIENT PAUSE 10000 WRITE", "old REPLICAOF"])
def test_an_old_server_that_dies_before_the_copy_is_told_may_start_again(tmp_path: Path, told: str) -> None:
    found = run(tmp_path, {told: "dead"}, ended=True)
    assert found.code == 3
    assert found.said.startswith("not handed over: ")
    assert not found.fence.exists()


def test_an_old_server_that_is_slow_to_say_that_it_follows_is_asked_again(tmp_path: Path) -> None:
    found = run(tmp_path, {"old REPLICAOF": "stalled 3"})
    assert (found.code, found.roles) == (0, ("slave", "master"))


def test_an_old_server_that_was_told_to_follow_is_told_to_serve_until_it_says_that_it_does(tmp_path: Path) -> None:
    served_as_before(run(tmp_path, {"old REPLICAOF": "stalled 3"}, late=40, pause=0, patience=30))


def test_one_that_never_says_so_stays_kept_from_its_next_start_and_that_is_said(tmp_path: Path) -> None:
    found = run(tmp_path, {"old REPLICAOF": "stalled 1000"}, pause=0)
    assert (found.code, found.roles) == (4, ("slave", "slave"))
    assert found.said.startswith("not known: ")
    assert found.fence.exists()


def test_where_neither_tells_who_serves_the_old_server_does_not_start_and_that_is_said(tmp_path: Path) -> None:
    faults = {"old CLIENT PAUSE 10000 WRITE": "dead", "new INFO replication": "dead later"}
    found = run(tmp_path, faults)
    assert found.code == 4
    assert found.said.startswith("not known: CLIENT PAUSE: ")
    assert found.fence.exists()


def test_a_copy_that_does_not_catch_up_serves_nobody(tmp_path: Path) -> None:
    found = run(tmp_path, {}, behind=300, catches_up=False)
    served_as_before(found)
    assert "the copy lacks 300 bytes after 400 ms" in found.said


@pytest.mark.parametrize(("late", "handed_over"), [(14, True), (40, False)])
def test_what_was_written_amid_it_is_not_given_up(tmp_path: Path, late: int, handed_over: bool) -> None:
    found = run(tmp_path, {}, late=late)
    if handed_over:  # a PING of the server's own
        assert found.code == 0
    else:
        served_as_before(found)
        assert "40 bytes were written amid it, expected none" in found.said


def test_an_answer_that_is_lost_is_asked_for_again(tmp_path: Path) -> None:
    found = run(tmp_path, {"new REPLICAOF NO ONE": "lost"})
    assert (found.code, found.roles) == (0, ("slave", "master"))


@pytest.mark.parametrize("fault", ["dead", "refused"])
def test_a_copy_that_may_have_been_told_and_does_not_say_leaves_nobody_serving_and_that_is_said(
    tmp_path: Path, fault: str
) -> None:
    found = run(tmp_path, {"new REPLICAOF NO ONE": fault})
    assert (found.code, found.roles) == (4, ("slave", "slave"))
    assert found.said.startswith("not known: the copy was told, and says ")
    assert not found.writers_wait  # they are told that it serves no more
    assert found.fence.exists()


# --- With its address


def kept_as_before(found: Handover) -> None:
    """The old server alone serves, on its address, which its unit keeps."""
    served_as_before(found)
    assert "10.9.9.9/32" in found.place
    assert found.state["old"].get("bind", f"{ADDRESS} 10.0.0.1") == f"{ADDRESS} 10.0.0.1"
    assert found.keeper in ("", f"enable {KEEPER}")


def test_an_address_leaves_when_no_client_is_left_behind_it_and_before_the_copy_is_told(tmp_path: Path) -> None:
    found = run(tmp_path, {}, address=ADDRESS)
    assert (found.code, found.roles) == (0, ("slave", "master"))
    assert (found.place, found.keeper) == ("", f"disable {KEEPER}")
    order = [line for line in found.state["log"] if "INFO" not in line]
    assert order[:7] == [
        "old CLIENT PAUSE 10000 WRITE",
        "old REPLICAOF 10.0.0.2 6383",
        "old CONFIG SET bind 10.0.0.1",
        "old CLIENT UNPAUSE",
        "old CLIENT KILL TYPE normal SKIPME yes",
        "old CLIENT KILL TYPE pubsub",
        "new REPLICAOF NO ONE",
    ]


@pytest.mark.parametrize(
    "faults",
    [
        {"old CLIENT PAUSE 10000 WRITE": "refused"},
        {"old REPLICAOF": "refused"},
        {"old REPLICAOF": "lost"},
        {"new INFO replication": "dead"},
        {"old CONFIG SET bind": "lost"},
    ],
)
def test_what_fails_before_the_copy_is_told_leaves_the_address_where_it_was(
    tmp_path: Path, faults: dict[str, str]
) -> None:
    kept_as_before(run(tmp_path, faults, address=ADDRESS))


def test_an_address_that_does_not_leave_is_served_on_by_the_old_server(tmp_path: Path) -> None:
    found = run(tmp_path, {}, address=ADDRESS, stays=True, patience=20)
    kept_as_before(found)
    assert "10.9.9.9 does not leave eth0" in found.said


@pytest.mark.parametrize(
    "place",
    [
        "",
        "2: eth0    inet 10.9.9.9/24 scope global eth0\n",
        "2: eth0    inet 10.9.9.9/32 scope global eth0\n3: eth1    inet 10.9.9.9/24 scope global eth1\n",
    ],
)
def test_an_address_that_its_unit_alone_does_not_keep_is_not_handed_over(tmp_path: Path, place: str) -> None:
    found = run(tmp_path, {}, address=ADDRESS, place=place)
    served_as_before(found)
    assert found.place == place
    assert "expected what caas-redis-address-crypto.service adds and nothing else" in found.said
    assert "old CLIENT PAUSE 10000 WRITE" not in found.state["log"]


@pytest.mark.parametrize("fault", ["dead", "refused"])
def test_an_address_comes_back_by_itself_to_nobody_when_the_copy_may_have_been_told(tmp_path: Path, fault: str) -> None:
    found = run(tmp_path, {"new REPLICAOF NO ONE": fault}, address=ADDRESS)
    assert (found.code, found.roles) == (4, ("slave", "slave"))
    assert (found.place, found.keeper) == ("", f"disable {KEEPER}")
