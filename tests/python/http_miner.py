"""Acts as a miner's own client: leaves an archive with a validator and follows it over HTTP.

Usage: http_miner.py upload URL HOTKEY ARCHIVE
       http_miner.py follow URL ADDRESS STATUS[,STATUS...] SECONDS

HOTKEY is a derivation path (//miner//0//hotkey). Everything but the signature is Python's own
library; the signature is that of bittensor-wallet. Prints one JSON object with the answer. `follow`
waits until the latest submission of ADDRESS has one of the statuses, and exits 1 if it never has.
"""

import hashlib
import json
import secrets
import sys
import time
import urllib.error
import urllib.request

from bittensor_wallet import Keypair

LOOK_EVERY_S = 0.5


def main() -> int:
    match sys.argv[1:]:
        case ["upload", url, hotkey, archive]:
            with open(archive, "rb") as file:
                answer = upload(url, Keypair.create_from_uri(hotkey), file.read())
        case ["follow", url, address, statuses, seconds]:
            answer = follow(url, address, statuses.split(","), float(seconds))
        case _:
            print(__doc__, file=sys.stderr)
            return 64
    print(json.dumps(answer, sort_keys=True))
    return 0 if answer["ok"] else 1


def upload(url: str, keypair: Keypair, archive: bytes) -> dict:
    nonce, timestamp = secrets.token_hex(8), str(int(time.time()))
    digest = hashlib.sha256(archive).hexdigest()
    signed = f"prism:{keypair.ss58_address}:{nonce}:{timestamp}:{digest}"
    headers = {
        "Content-Type": "application/zip",
        "X-Hotkey": keypair.ss58_address,
        "X-Nonce": nonce,
        "X-Timestamp": timestamp,
        "X-Signature": "0x" + keypair.sign(signed.encode()).hex(),
    }
    return ask(urllib.request.Request(f"{url}/v1/submissions", archive, headers))


def follow(url: str, address: str, statuses: list[str], seconds: float) -> dict:
    """Looks again and again; keeps each status that it saw, in order."""
    seen, deadline = [], time.monotonic() + seconds
    while True:
        answer = ask(urllib.request.Request(f"{url}/v1/submissions?hotkey={address}"))
        latest = (answer["body"].get("submissions") or [None])[0] if answer["ok"] else None
        if latest and latest["status"] not in seen:
            seen.append(latest["status"])
        if latest and latest["status"] in statuses:
            return {"ok": True, "seen": seen, "submission": latest}
        if time.monotonic() > deadline:
            return {"ok": False, "seen": seen, "submission": latest, "answer": answer}
        time.sleep(LOOK_EVERY_S)


def ask(request: urllib.request.Request) -> dict:
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return {"ok": True, "code": response.status, "body": json.load(response)}
    except urllib.error.HTTPError as error:
        return {"ok": False, "code": error.code, "body": json.load(error)}


if __name__ == "__main__":
    sys.exit(main())
