"""Writes an encrypted hotkey as the SDK does, and opens one of the oldest format, which nothing
writes any more: one JSON object on stdout.

usage: keyfiles_sdk.py FILE PASSWORD OLD_FILE OLD_PASSWORD
"""

import json
import pathlib
import sys

import bittensor_core as core


def main(file, password, old_file, old_password):
    keypair = core.Keypair.create_from_mnemonic(core.Keypair.generate_mnemonic())
    plain = bytes(core.serialized_keypair_to_keyfile_data(keypair))
    path = pathlib.Path(file)
    path.write_bytes(bytes(core.encrypt_keyfile_data(plain, password)))
    path.chmod(0o600)
    old = bytes(core.decrypt_keyfile_data(pathlib.Path(old_file).read_bytes(), old_password))
    return {
        "written": keypair.ss58_address,
        "opened": core.deserialize_keypair_from_keyfile_data(old).ss58_address,
    }


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:])))
