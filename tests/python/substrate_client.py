"""Acts as a miner's Python client on a chain: reads, commits, waits for finality, reads again.

Usage: substrate_client.py ENDPOINT NETUID HOTKEY [TEXT]

HOTKEY is a derivation path (//miner//0//hotkey) or a 0x seed of 32 bytes. Without TEXT it commits
nothing. Prints one JSON object with what was read. Exits 1 with the chain's reason if the
commitment does not land.
"""

import argparse
import json
import sys

from async_substrate_interface.sync_substrate import SubstrateInterface
from bittensor_wallet import Keypair

RAW_BYTES_MAX = 128
# At a local chain's block time a short era ends before a busy machine has sent anything.
ERA_BLOCKS = 128


def main() -> int:
    args = parse_args()
    keypair = load_keypair(args.hotkey)
    substrate = SubstrateInterface(url=args.endpoint, ss58_format=42)
    try:
        report = read_all(substrate, args.netuid, keypair.ss58_address)
        if args.text is not None:
            report |= commit(substrate, args.netuid, keypair, args.text.encode())
        report["commitment"] = read(
            substrate, "Commitments", "CommitmentOf", [args.netuid, keypair.ss58_address]
        )
    finally:
        # Without this the client's thread keeps the process alive for ever.
        substrate.close()
    print(json.dumps(report, indent=2, sort_keys=True))
    return 0 if report.get("success", True) else 1


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("endpoint", help="for example ws://127.0.0.1:9944")
    parser.add_argument("netuid", type=int)
    parser.add_argument("hotkey", help="derivation path or 0x seed")
    parser.add_argument("text", nargs="?", help=f"what to commit, up to {RAW_BYTES_MAX} bytes")
    args = parser.parse_args()
    if args.text is not None and len(args.text.encode()) > RAW_BYTES_MAX:
        parser.error(f"the text is longer than {RAW_BYTES_MAX} bytes")
    return args


def load_keypair(hotkey: str) -> Keypair:
    if hotkey.startswith("0x"):
        return Keypair.create_from_seed(hotkey)
    return Keypair.create_from_uri(hotkey)


def read_all(substrate, netuid: int, hotkey: str) -> dict:
    return {
        "hotkey": hotkey,
        "specVersion": substrate.runtime.runtime_version,
        "tempo": read(substrate, "SubtensorModule", "Tempo", [netuid]),
        "uid": read(substrate, "SubtensorModule", "Uids", [netuid, hotkey]),
        "weights": read_weights(substrate, netuid),
        "slotDurationMs": plain(substrate.get_constant("Aura", "SlotDuration")),
        "nextEpoch": plain(
            substrate.runtime_call("SubnetInfoRuntimeApi", "get_next_epoch_start_block", [netuid])
        ),
    }


def commit(substrate, netuid: int, keypair: Keypair, text: bytes) -> dict:
    receipt = set_commitment(substrate, netuid, keypair, text)
    return {
        "success": receipt.is_success,
        "error": receipt.error_message,
        "blockHash": receipt.block_hash,
        "fee": receipt.total_fee_amount,
        "events": sorted(
            f"{event['event']['module_id']}.{event['event']['event_id']}"
            for event in receipt.triggered_events
        ),
    }


def plain(found):
    """The value, whether the library wrapped it or not: that depends on the method."""
    return getattr(found, "value", found)


def read(substrate, module: str, item: str, params: list):
    return plain(substrate.query(module, item, params))


def read_weights(substrate, netuid: int) -> dict:
    rows = substrate.query_map("SubtensorModule", "Weights", [netuid])
    return {str(plain(uid)): [list(entry) for entry in plain(row)] for uid, row in rows}


def set_commitment(substrate, netuid: int, keypair: Keypair, text: bytes):
    call = substrate.compose_call(
        call_module="Commitments",
        call_function="set_commitment",
        call_params={
            "netuid": netuid,
            "info": {"fields": [[{f"Raw{len(text)}": "0x" + text.hex()}]]},
        },
    )
    extrinsic = substrate.create_signed_extrinsic(
        call=call, keypair=keypair, era={"period": ERA_BLOCKS}
    )
    return substrate.submit_extrinsic(extrinsic, wait_for_finalization=True)


if __name__ == "__main__":
    sys.exit(main())
