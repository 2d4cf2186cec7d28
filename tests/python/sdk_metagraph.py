"""Reads a subnet with the official SDK, as validators' and miners' own tools do.

Usage: sdk_metagraph.py ENDPOINT NETUID

Prints one JSON object; amounts are in rao, lists are by uid. Exits 1 if there is no such subnet.
"""

import argparse
import asyncio
import json
import sys

from bittensor.client import Client


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("endpoint", help="for example ws://127.0.0.1:9944")
    parser.add_argument("netuid", type=int)
    args = parser.parse_args()
    report = asyncio.run(read(args.endpoint, args.netuid))
    if report is None:
        print(f"error: there is no subnet {args.netuid} at {args.endpoint}", file=sys.stderr)
        return 1
    print(json.dumps(report, indent=2, sort_keys=True))
    return 0


async def read(endpoint: str, netuid: int) -> dict | None:
    # No other endpoints: the SDK would go on to the public ones.
    client = Client(endpoint, fallback_endpoints=[], archive_endpoints=[])
    await client.connect()
    try:
        graph = await client.subnets.metagraph(netuid)
        if graph is None:
            return None
        # Everything else of the same block, so that the parts fit together.
        view = await client.at(graph.block)
        parameters = await view.subnets.subnet_hyperparameters(netuid)
        return describe(graph) | {
            "hyperparameters": {
                name: parameters[name] for name in ("kappa", "tempo", "weights_version")
            },
            "neurons": await neurons(view, netuid),
            "next_epoch": await view.epochs.next_epoch_start_block(netuid),
            "slot_seconds": await client.block_time(),
            "weights": await view.weights.weights(netuid),
        }
    finally:
        await client.close()


def describe(graph) -> dict:
    return {
        "block": graph.block,
        "commitments": {uid: said.value for uid, said in graph.commitments.items()},
        "hotkeys": graph.hotkeys,
        "last_update": [neuron.last_update for neuron in graph.neurons],
        "n": len(graph),
        "name": graph.name,
        "permits": [neuron.validator_permit for neuron in graph.neurons],
        "price": graph.price,
        "stakes": [neuron.total_stake.rao for neuron in graph.neurons],
        "symbol": graph.symbol,
        "tempo": graph.tempo,
    }


async def neurons(view, netuid: int) -> dict:
    """What only the neurons' own answer carries, and the epoch's results beside it."""
    rows = [neuron.raw for neuron in await view.neurons.all(netuid)]
    columns = ("consensus", "dividends", "emission", "incentive", "validator_trust")
    return {column: [int(row[column]) for row in rows] for column in columns}


if __name__ == "__main__":
    sys.exit(main())
