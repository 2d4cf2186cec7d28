"""Measures the reading of a whole subnet: ours beside the official SDK, in turns.

Usage: benchmark_metagraph.py LOCALNET READ_VIEW [--rounds N] [--cold N]
       benchmark_metagraph.py --sdk ENDPOINT NETUID

LOCALNET and READ_VIEW are programs: the local chain, and the example `read_view` of `node-chain`.
The first form starts a chain of 256 neurons with a commitment each and prints a table per delay.
The second is the SDK's side: it takes the commands of `read_view` and answers like it.

Each reading is of a new block whose number both sides know already. Wall time is measured inside
each process, CPU time (of all its threads) and peak memory by the system.
"""

import argparse
import asyncio
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

NETUID = 1
VALIDATORS, MINERS = 64, 192
NEURONS = VALIDATORS + MINERS
DELAYS_MS = (0, 50)
START_PATIENCE_S = 60
TEXT = "nas:1:pc4M4GXpT5oo0QVM9PKvXl8pmxZwPtBaDiqjpaQZmyM:https://miner-{:03}.example/work.zip"


def main() -> int:
    if sys.argv[1:2] == ["--sdk"]:
        asyncio.run(serve_sdk(sys.argv[2], int(sys.argv[3])))
        return 0
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("localnet")
    parser.add_argument("read_view")
    parser.add_argument("--rounds", type=int, default=30, help="readings of each kind per delay")
    parser.add_argument("--cold", type=int, default=5, help="processes started afresh per delay")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        with Chain(args.localnet, pathlib.Path(directory)) as chain:
            chain.commit_everybody()
            for delay_ms, endpoint in zip(DELAYS_MS, chain.endpoints):
                sides = {
                    "ours": [args.read_view, endpoint, str(NETUID)],
                    "SDK": [sys.executable, __file__, "--sdk", endpoint, str(NETUID)],
                }
                report(delay_ms, measure(chain, sides, args))
    return 0


# --- The chain ----------------------------------------------------------------


class Chain:
    """A local chain with an endpoint per delay, and one without faults to command it."""

    def __init__(self, program: str, directory: pathlib.Path):
        self.ready = directory / "url"
        command = [program, "--block-time", "manual", "--ready-file", str(self.ready)]
        command += ["--validators", str(VALIDATORS), "--miners", str(MINERS)]
        command += ["--control", "127.0.0.1:0"]
        for listener, delay_ms in enumerate(DELAYS_MS):
            fault = {"listener": listener, "delay_ms": delay_ms}
            command += ["--listen", "127.0.0.1:0", "--fault", json.dumps(fault)]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.process = subprocess.Popen(command, **quiet)
        self.endpoints, self.control = self.urls()

    def urls(self) -> tuple[list[str], str]:
        deadline = time.monotonic() + START_PATIENCE_S
        while not self.ready.exists():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit("error: the local chain does not start")
            time.sleep(0.02)
        *endpoints, control = self.ready.read_text().split("\n")[: len(DELAYS_MS) + 1]
        return endpoints, control.removeprefix("control ").replace("ws://", "http://")

    def __enter__(self) -> "Chain":
        return self

    def __exit__(self, *_exception) -> None:
        self.process.terminate()
        self.process.wait()

    def call(self, method: str, *params):
        request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        body, headers = json.dumps(request).encode(), {"content-type": "application/json"}
        with urllib.request.urlopen(urllib.request.Request(self.control, body, headers)) as reply:
            answer = json.load(reply)
        if "error" in answer:
            raise SystemExit(f"error: {method}: {answer['error']}")
        return answer["result"]

    def seal(self) -> None:
        self.call("dev_seal", 1)

    def commit_everybody(self) -> None:
        """A commitment of block 1 for every neuron, as the chain itself would store it."""
        import bittensor_core

        version = self.call("state_getRuntimeVersion")
        metadata = bytes.fromhex(self.call("state_getMetadata")[2:])
        numbers = version["specVersion"], version["transactionVersion"]
        runtime = bittensor_core.Runtime(metadata, *numbers)
        changes = []
        for uid in range(NEURONS):
            key = runtime.storage_key("SubtensorModule", "Keys", [NETUID, uid])
            hotkey = bytes.fromhex(self.call("state_getStorage", "0x" + key.hex())[2:])
            key = runtime.storage_key("Commitments", "CommitmentOf", [NETUID, hotkey])
            changes.append(["0x" + key.hex(), "0x" + registration(TEXT.format(uid)).hex()])
        self.call("dev_seal", 2)
        self.call("dev_setStorage", changes)
        self.seal()


def registration(text: str) -> bytes:
    """Deposit 0, block 1, one raw field."""
    field = bytes([len(text) + 1]) + text.encode()
    return bytes(8) + (1).to_bytes(4, "little") + bytes([1 << 2]) + field


# --- The sides ----------------------------------------------------------------


class Side:
    """A process that reads on command."""

    def __init__(self, command: list[str]):
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self.process = subprocess.Popen(command, text=True, bufsize=1, **pipes)

    def ask(self, command: str) -> dict:
        self.process.stdin.write(command + "\n")
        answer = self.process.stdout.readline()
        if not answer:
            raise SystemExit("error: a side ended; see above")
        return json.loads(answer)

    def cpu_ms(self) -> float:
        """Of all threads that live; none of them ends while it is measured."""
        tasks = pathlib.Path(f"/proc/{self.process.pid}/task").glob("*/schedstat")
        return sum(int(task.read_text().split()[0]) for task in tasks) / 1e6

    def peak_mib(self) -> float:
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        (line,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) / 1024

    def read(self, kind: str) -> dict:
        self.ask("head")
        before = self.cpu_ms()
        answer = self.ask(kind)
        answer["cpu_ms"] = self.cpu_ms() - before
        if (answer["neurons"], answer["commitments"]) != (NEURONS, NEURONS):
            raise SystemExit(f"error: {kind} read {answer}")
        return answer

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()


async def serve_sdk(endpoint: str, netuid: int) -> None:
    from bittensor.client import Client

    # No other endpoints: the SDK would go on to the public ones.
    client = Client(endpoint, fallback_endpoints=[], archive_endpoints=[])
    await client.connect()
    head = None
    loop = asyncio.get_running_loop()
    while command := (await loop.run_in_executor(None, sys.stdin.readline)).strip():
        answer = {}
        if command == "head":
            head = await client.at()
        else:
            started = time.perf_counter()
            graph = await head.subnets.metagraph(netuid)
            wall_ms = (time.perf_counter() - started) * 1000
            answer = {"wall_ms": wall_ms, "neurons": len(graph)}
            answer["commitments"] = len(graph.commitments)
        print(json.dumps(answer), flush=True)
    await client.close()


# --- Measuring ----------------------------------------------------------------


def measure(chain: Chain, sides: dict, args) -> dict:
    """Every row of the table as a list of readings."""
    rows = {"round trip": []}
    for _ in range(args.cold):
        for name, command in sides.items():
            row = rows.setdefault(f"{name}, first view of a process", [])
            row.append(read_cold(chain, command))
    ours, sdk = (Side(command) for command in sides.values())
    for side in (ours, sdk):
        chain.seal()
        side.read("full")
    readings = [
        ("ours, whole view", ours, "full"),
        ("ours, increment", ours, "increment"),
        ("SDK, metagraph", sdk, "full"),
    ]
    for _ in range(args.rounds):
        chain.seal()
        rows["round trip"].append(ours.ask("ping"))
        for name, side, kind in readings:
            rows.setdefault(name, []).append(side.read(kind))
    for name, side, _ in readings:
        rows[name][-1]["peak_mib"] = side.peak_mib()
    for side in (ours, sdk):
        side.close()
    return rows


def read_cold(chain: Chain, command: list[str]) -> dict:
    """From the start of the process to its first view; all of its CPU time until then."""
    chain.seal()
    started = time.perf_counter()
    side = Side(command)
    side.ask("head")
    side.ask("full")
    wall_ms = (time.perf_counter() - started) * 1000
    answer = {"wall_ms": wall_ms, "cpu_ms": side.cpu_ms(), "peak_mib": side.peak_mib()}
    side.close()
    return answer


def report(delay_ms: int, rows: dict) -> None:
    print(f"\n{delay_ms} ms of delay per round trip\n")
    columns = ("wall, ms: median", "p95", "CPU, ms: median", "p95", "peak memory, MiB")
    print("| | " + " | ".join(columns) + " |")
    print("|---" * (len(columns) + 1) + "|")
    for name, readings in rows.items():
        cells = [name]
        for key in ("wall_ms", "cpu_ms"):
            values = sorted(reading[key] for reading in readings if key in reading)
            cells += [f"{at(values):.1f}" for at in (statistics.median, p95)] if values else ["", ""]
        peaks = [reading["peak_mib"] for reading in readings if "peak_mib" in reading]
        cells.append(f"{max(peaks):.1f}" if peaks else "")
        print("| " + " | ".join(cells) + " |")
    whole = rows["ours, whole view"]
    alone = sum(reading["one_round"] for reading in whole)
    print(f"\n{alone} of {len(whole)} whole views took one round of calls", flush=True)


def p95(values: list[float]) -> float:
    return values[min(len(values) - 1, int(len(values) * 0.95))]


if __name__ == "__main__":
    sys.exit(main())
