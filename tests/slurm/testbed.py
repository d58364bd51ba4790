"""A throw-away Slurm on one machine: munged, slurmctld and two slurmd, as root, without systemd.

Needs the Debian packages slurm-wlm and munge. All is under one folder, and nothing is signalled
but the processes that were started here.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

DAEMONS = ("munged", "slurmctld", "slurmd")
NODES = ("node0", "node1")
PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"

CONFIGURATION = """\
ClusterName=testbed
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
# cred_expire is also how long a requeued job waits before it starts again
AuthInfo=socket={root}/munge/socket,cred_expire=5
CryptoType=crypto/munge
CredType=cred/munge
StateSaveLocation={root}/ctl
SlurmdSpoolDir={root}/spool/%n
SlurmctldPidFile={root}/slurmctld.pid
SlurmdPidFile={root}/slurmd.%n.pid
SlurmctldLogFile={root}/log/slurmctld.log
SlurmdLogFile={root}/log/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
MpiDefault=none
SwitchType=switch/none
# believe the number of CPUs written here, not the machine's
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=2,sched_min_interval=0,bf_interval=2
MinJobAge=900
# a busy machine answers late, and an order that is repeated hits the next start of a requeued job
MessageTimeout=100
# how long a job has between SIGTERM and SIGKILL; 30 s is Slurm's default
KillWait=30
InactiveLimit=0
SlurmctldTimeout=120
SlurmdTimeout=300
WaitTime=0
ReturnToService=2
JobRequeue=1
OverTimeLimit=0
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
PartitionName=main Nodes={names} Default=YES MaxTime=INFINITE State=UP PriorityTier=1
PartitionName=urgent Nodes={names} MaxTime=INFINITE State=UP PriorityTier=10 PreemptMode=OFF
"""
NODE = (
    "NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=4 Boards=1 "
    "SocketsPerBoard=1 CoresPerSocket=4 ThreadsPerCore=1 RealMemory=8000 State=UNKNOWN\n"
)


def missing() -> str:
    """What keeps the test bed from starting, in words; empty when nothing does."""
    absent = [name for name in DAEMONS if shutil.which(name, path=PATH) is None]
    if absent:
        return f"not installed: {', '.join(absent)} (apt-get install slurm-wlm munge)"
    return "" if os.geteuid() == 0 else "Slurm's daemons must be started as root"


@contextlib.contextmanager
def slurm(root: Path) -> Iterator[dict[str, str]]:
    """A running Slurm; yields the environment in which its commands find it."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("SLURM", "SBATCH"))}
    environment |= {"SLURM_CONF": str(root / "slurm.conf"), "PATH": PATH}
    _configure(root)
    started: list[subprocess.Popen[bytes]] = []

    def start(name: str, *words: str) -> None:
        with (root / "log" / f"{name}.out").open("ab") as log:
            started.append(
                subprocess.Popen(
                    [shutil.which(words[0], path=PATH) or words[0], *words[1:]],
                    env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                    start_new_session=True, cwd=root,
                )
            )  # fmt: skip

    munge = root / "munge"
    try:
        files = [f"--{n}={munge}/{n.split('-')[0]}" for n in ("key-file", "socket", "pid-file",
                                                             "log-file", "seed-file")]  # fmt: skip
        start("munged", "munged", "--foreground", "--force", "--num-threads=2", *files)
        wait((munge / "socket").exists, 30, "munged's socket")
        configuration = str(root / "slurm.conf")
        start("slurmctld", "slurmctld", "-D", "-c", "-f", configuration)
        for name in NODES:
            start(name, "slurmd", "-D", "-c", "-N", name, "-f", configuration)
        words = ("sinfo", "-h", "-N", "-p", "main", "-o", "%T")
        wait(lambda: _said(environment, *words).split() == ["idle"] * len(NODES), 60, "idle nodes")
        yield environment
    finally:
        _said(environment, "scancel", "--signal=KILL", "--full", "--user=root")
        _said(environment, "scancel", "--user=root")
        with contextlib.suppress(TimeoutError):
            wait(lambda: not _said(environment, "squeue", "-h"), 15, "empty queue")
        for process in reversed(started):
            _end(process)


def _configure(root: Path) -> None:
    for folder in ("log", "ctl", "munge", *(f"spool/{name}" for name in NODES)):
        (root / folder).mkdir(parents=True, mode=0o755)
    os.chmod(root, 0o755)
    key = root / "munge" / "key"
    key.touch(mode=0o600)
    key.write_bytes(os.urandom(128))
    host, ports = socket.gethostname().split(".")[0], _free_ports(1 + len(NODES))
    text = CONFIGURATION.format(host=host, port=ports[0], root=root, names=",".join(NODES))
    head, _, partitions = text.partition("PartitionName")
    for name, port in zip(NODES, ports[1:], strict=True):
        head += NODE.format(name=name, host=host, port=port)
    (root / "slurm.conf").write_text(head + "PartitionName" + partitions)


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def _said(environment: dict[str, str], *words: str) -> str:
    with contextlib.suppress(subprocess.TimeoutExpired):
        return subprocess.run(
            words, env=environment, capture_output=True, text=True, timeout=20, check=False
        ).stdout
    return ""


def wait(ready: Callable[[], object], seconds: float, what: str) -> None:
    """Until ``ready()`` is true.

    Raises:
        TimeoutError: it is not after so many seconds.
    """
    end = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > end:
            raise TimeoutError(f"no {what} after {seconds:.0f} s")
        time.sleep(0.1)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(5)
