"""Answers with the official client's own bytes, to hold ours against them.

Usage: oracle.py [METADATA SPEC_VERSION TRANSACTION_VERSION]

Reads a JSON list of requests from standard input and prints a JSON list of answers, in order: each
request names an operation ("op") and its arguments, each answer is {"ok": ...} or {"error": TEXT}.
Bytes are {"bytes": HEX} and numbers beyond 64 bits {"int": DECIMAL} where a value is nested; whole
answers of bytes are plain hex. METADATA is a runtime's, version 14 or 15; the timelock operations
do without.
"""

import hashlib
import json
import sys
import time

import bittensor_core

QUICKNET_GENESIS_S = 1692803367
QUICKNET_PERIOD_S = 3
# Long enough that a block ahead cannot be mistaken for the rounding to a round.
TELLING_BLOCK_TIME_S = 1000.0


def main() -> int:
    oracle = Oracle(sys.argv[1:])
    answers = [answer(oracle, request) for request in json.load(sys.stdin)]
    json.dump(answers, sys.stdout)
    return 0


def answer(oracle: "Oracle", request: dict) -> dict:
    arguments = {name: plain(value) for name, value in request.items() if name != "op"}
    try:
        found = getattr(oracle, request["op"])(**arguments)
    # Rust panics arrive as BaseException.
    except BaseException as error:
        return {"error": f"{type(error).__name__}: {error}"}
    return {"ok": found.hex() if isinstance(found, bytes) else found}


def plain(value):
    """A JSON value as the client takes it."""
    if isinstance(value, list):
        return [plain(entry) for entry in value]
    if not isinstance(value, dict):
        return value
    if set(value) == {"bytes"}:
        return bytes.fromhex(value["bytes"])
    if set(value) == {"int"}:
        return int(value["int"])
    return {name: plain(entry) for name, entry in value.items()}


class Oracle:
    """One method per operation."""

    def __init__(self, runtime: list):
        self.runtime = None
        if runtime:
            path, spec_version, transaction_version = runtime
            with open(path, "rb") as metadata:
                self.runtime = bittensor_core.Runtime(
                    metadata.read(), int(spec_version), int(transaction_version)
                )

    def storage_key(self, pallet: str, item: str, keys: list) -> bytes:
        return self.runtime.storage_key(pallet, item, keys)

    def call(self, pallet: str, name: str, args: dict) -> bytes:
        return self.runtime.compose_call(pallet, name, args)

    def signing_payload(
        self, call: bytes, period: int, anchor: int, nonce: int, genesis: bytes, anchor_hash: bytes
    ) -> bytes:
        return self.runtime.signature_payload(
            call,
            era={"period": period, "current": anchor},
            nonce=nonce,
            tip=0,
            tip_asset_id=None,
            genesis_hash=genesis,
            era_block_hash=anchor_hash,
        )

    def hash_commit(
        self, hotkey: bytes, index: int, uids: list, values: list, salt: list, version_key: int
    ) -> bytes:
        """The client has no function for it: its encoder, and the hash of the standard library."""
        encode = self.runtime.encode
        lists = b"".join(encode("Vec<u16>", numbers) for numbers in (uids, values, salt))
        preimage = hotkey + encode("u16", index) + lists + encode("u64", version_key)
        return hashlib.blake2b(preimage, digest_size=32).digest()

    def encrypt(self, text: bytes, reveal_round: int) -> bytes:
        envelope, _ = bittensor_core.encrypt_at_round(text, reveal_round)
        return bittensor_core.inner_ciphertext(envelope)

    def decrypt(self, ciphertext: bytes, reveal_round: int, signature: str) -> bytes:
        return decrypted(ciphertext, reveal_round, signature)

    def blocks_to_reveal(self, **clock) -> int:
        """Blocks from the head to the one for which the client times the reveal."""
        _, reveal_round = commit(clock, TELLING_BLOCK_TIME_S, [0], [65535], 0, bytes(32))
        after_s = QUICKNET_GENESIS_S + reveal_round * QUICKNET_PERIOD_S - time.time()
        return round(after_s / TELLING_BLOCK_TIME_S)

    def committed_payload(
        self, clock: dict, reveal_round: int, signature: str, **weights
    ) -> bytes:
        """What the client hides in a commit, opened with a past round's signature.

        The client computes the round from the clock, always a future one; unless blocks take a
        negative time, so long that they lead back to the round.
        """
        past_s = QUICKNET_GENESIS_S + (reveal_round + 0.5) * QUICKNET_PERIOD_S - time.time()
        block_time_s = past_s / self.blocks_to_reveal(**clock)
        ciphertext, got = commit(clock, block_time_s, **weights)
        if got != reveal_round:
            raise ValueError(f"the commit is for round {got}, not {reveal_round}")
        return decrypted(ciphertext, reveal_round, signature)


def decrypted(ciphertext: bytes, reveal_round: int, signature: str) -> bytes:
    # Its envelope: the ciphertext with its length in front, and the round.
    length = len(ciphertext)
    if not 64 <= length < 1 << 14:
        raise ValueError(f"no length of two bytes: {length}")
    compact = (length << 2 | 1).to_bytes(2, "little")
    envelope = compact + ciphertext + reveal_round.to_bytes(8, "little")
    return bytes(bittensor_core.decrypt_with_signature(envelope, signature))


def commit(clock: dict, block_time_s: float, uids, values, version_key, hotkey):
    """The client's commit as (ciphertext, round)."""
    return bittensor_core.get_encrypted_commit_v2(
        uids=uids,
        weights=values,
        version_key=version_key,
        last_epoch_block=clock["last_epoch_block"],
        pending_epoch_at=clock["pending_epoch_at"],
        subnet_epoch_index=clock["epoch_index"],
        tempo=clock["tempo"],
        blocks_since_last_step=clock["blocks_since_last_step"],
        current_block=clock["head"],
        subnet_reveal_period_epochs=clock["reveal_period"],
        block_time=block_time_s,
        hotkey=hotkey,
    )


if __name__ == "__main__":
    sys.exit(main())
