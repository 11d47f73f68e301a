"""A SLURM cluster of one node under one folder: Debian's daemons, without systemd or /etc.

`Cluster.start` brings up munged, slurmctld and slurmd with a key, sockets, ports and a state of
their own; `stop` ends exactly these processes, which also end with the process that started them
(setpriv's --pdeathsig), as when tests are killed. The node pretends to have cores, memory and one
GPU, so that what jobs ask for is granted on a small machine. Needs root: the daemons change users.
"""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

PROGRAMS = (
    "munged",
    "slurmctld",
    "slurmd",
    "sbatch",
    "squeue",
    "scancel",
    "scontrol",
    "srun",
    "setpriv",
)
NODE = socket.gethostname().split(".")[0]
CPUS = 6  # pretended: most of a job's time here it waits for Snakemake to ask about it
MEMORY = 64_000  # MB, pretended
SETTINGS = """
ClusterName=tests
SlurmctldHost={node}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge.socket
SlurmctldPort={controller_port}
SlurmdPort={node_port}
CommunicationParameters=NoInAddrAny
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
MailProg=/bin/true
MinJobAge=3600
KillWait=10
ReturnToService=2
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0
SlurmdParameters=config_overrides
GresTypes=gpu
NodeName={node} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory} Gres=gpu:1 State=UNKNOWN
PartitionName=main Nodes={node} Default=YES MaxTime=INFINITE State=UP
"""


def what_is_missing() -> str:
    """Why this machine cannot run the cluster; empty if it can."""
    absent = [name for name in PROGRAMS if not program(name)]
    if absent:
        return f"no {', '.join(absent)}: apt-get install slurmctld slurmd slurm-client munge"
    return "" if os.geteuid() == 0 else "starting SLURM's daemons needs root"


def program(name: str) -> str | None:
    """The path of a program that may lie where only root's PATH looks."""
    return shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")


class Cluster:
    """The running daemons; `environment` is what their clients need, jobs of the node included."""

    def __init__(self):
        # Not pytest's folder: munged's user must be able to enter it.
        self.folder = Path(tempfile.mkdtemp(prefix="slurm-"))
        self.daemons: list[subprocess.Popen] = []
        # srun starts in a job without SLURM_CONF (the executor plugin strips SLURM_* there).
        shims = self.folder / "bin"
        shims.mkdir()
        shim = shims / "srun"
        shim.write_text(f'#!/bin/sh\nSLURM_CONF={self.conf} exec {program("srun")} "$@"\n')
        shim.chmod(0o755)
        path = f"{shims}{os.pathsep}{os.environ['PATH']}"
        self.environment = {"SLURM_CONF": str(self.conf), "PATH": path}

    @property
    def conf(self) -> Path:
        return self.folder / "slurm.conf"

    def start(self) -> Cluster:
        """Bring the daemons up; raises TimeoutError, with their logs, if the node is not idle."""
        munge = pwd.getpwnam("munge")
        for name in ("state", "spool", "munge"):
            (self.folder / name).mkdir()
        key = self.folder / "munge" / "key"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o400)
        for path in (self.folder / "munge", key):
            os.chown(path, munge.pw_uid, munge.pw_gid)
        # munged makes its socket as its own user, in a folder that others may enter.
        self.folder.chmod(0o1777)
        ports = free_ports(2)
        self.conf.write_text(
            SETTINGS.format(
                node=NODE,
                folder=self.folder,
                cpus=CPUS,
                memory=MEMORY,
                controller_port=ports[0],
                node_port=ports[1],
            )
        )
        (self.folder / "gres.conf").write_text(f"NodeName={NODE} Name=gpu File=/dev/null\n")
        options = {
            "socket": f"{self.folder}/munge.socket",
            "key-file": key,
            "log-file": f"{self.folder}/munge/log",
            "pid-file": f"{self.folder}/munge/pid",
            "seed-file": f"{self.folder}/munge/seed",
        }
        words = [f"--{name}={value}" for name, value in options.items()]
        self._daemon("munged", "--foreground", "--force", *words, user="munge")
        self._wait((self.folder / "munge.socket").exists)
        self._daemon("slurmctld", "-D", "-c")
        self._daemon("slurmd", "-D", "-N", NODE)
        self._wait(lambda: "State=IDLE" in self.run("scontrol", "show", "node", NODE, check=False))
        return self

    def stop(self) -> None:
        """End what was started, jobs first; by process id, never by name."""
        if len(self.daemons) == 3:
            self.run("scancel", "--user=root", check=False)
            self._wait(lambda: not self.run("squeue", "-h", check=False).strip(), failing=False)
        for process in reversed(self.daemons):
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def run(self, *words: str, check: bool = True) -> str:
        """What a client of the cluster prints."""
        done = subprocess.run(
            ["timeout", "-k", "5", "20", program(words[0]), *words[1:]],
            env=os.environ | self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if check and done.returncode:
            raise RuntimeError(f"{' '.join(words)}: {done.stdout}")
        return done.stdout

    def jobs(self) -> list[dict[str, str]]:
        """Every job submitted since the start, as scontrol's `KEY=VALUE` pairs."""
        lines = self.run("scontrol", "--oneliner", "show", "job", check=False).splitlines()
        pairs = [[word.split("=", 1) for word in line.split() if "=" in word] for line in lines]
        return [dict(found) for found in pairs if found and found[0][0] == "JobId"]

    def _daemon(self, name: str, *words: str, user: str | None = None) -> None:
        with open(self.folder / f"{name}.out", "wb") as output:
            process = subprocess.Popen(
                [program("setpriv"), "--pdeathsig", "TERM", program(name), *map(str, words)],
                env=os.environ | self.environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                user=user,
                group=user,
                start_new_session=True,
                cwd="/",
            )
        self.daemons.append(process)

    def _wait(self, condition, seconds: float = 30, failing: bool = True) -> None:
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                if not failing:
                    return
                logs = [*self.folder.glob("*.log"), *self.folder.glob("*.out")]
                said = "\n".join(f"{log.name}: {log.read_text()[-1500:]}" for log in logs)
                raise TimeoutError(f"the cluster did not come up in {seconds} s\n{said}")
            time.sleep(0.1)


def free_ports(count: int) -> list[int]:
    """Ports that nothing listens on now."""
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports
