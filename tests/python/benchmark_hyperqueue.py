"""How many no-op tasks HyperQueue completes per second: a local server, one worker with SLOTS slots.

usage: benchmark_hyperqueue.py TASKS [SLOTS]

Each task starts `/bin/true`: the package has no task without a process. So the same number of
processes is also started without it, SLOTS at once, and both rates are printed. Nothing is durable:
the local cluster keeps no journal.
"""

import importlib.metadata
import resource
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from hyperqueue import Job, LocalCluster
from hyperqueue.cluster import WorkerConfig

NO_OP = "/bin/true"


def cpu_seconds() -> float:
    """CPU time of this process, in which server and worker run, and of all tasks."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def queued(tasks: int, slots: int) -> None:
    with tempfile.TemporaryDirectory() as directory:
        server = str(Path(directory) / "server")
        with LocalCluster(server_dir=server, worker_config=WorkerConfig(cores=slots)) as cluster:
            client = cluster.client()
            job = Job(default_workdir=directory)
            for _ in range(tasks):
                job.program([NO_OP], stdout=None, stderr=None)
            before, started = cpu_seconds(), time.monotonic()
            submitted = client.submit(job)
            client.wait_for_jobs([submitted])
            took, cpu = time.monotonic() - started, cpu_seconds() - before
    print(
        f"hyperqueue {importlib.metadata.version('hyperqueue')}: {tasks} tasks in {took:.2f} s,"
        f" {tasks / took:.0f} per second; CPU per task {cpu / tasks * 1e6:.0f} us"
    )


def bare(tasks: int, slots: int) -> None:
    before, started = cpu_seconds(), time.monotonic()
    with ThreadPoolExecutor(slots) as pool:
        for _ in pool.map(lambda _: subprocess.run([NO_OP], check=True), range(tasks)):
            pass
    took, cpu = time.monotonic() - started, cpu_seconds() - before
    print(
        f"the same processes from Python: {tasks / took:.0f} per second;"
        f" CPU per process {cpu / tasks * 1e6:.0f} us"
    )


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    TASKS = int(sys.argv[1])
    SLOTS = int(sys.argv[2]) if len(sys.argv) == 3 else 64
    queued(TASKS, SLOTS)
    bare(min(TASKS, 5_000), SLOTS)
