"""Writes hotkeys as Bittensor's own wallet package does, plain and encrypted, and says what it
wrote: one JSON object on stdout.

usage: keyfiles.py write DIR PASSWORD
       keyfiles.py verify ADDRESS MESSAGE SIGNATURE
"""

import contextlib
import json
import os
import sys

from bittensor_wallet import Keypair, Wallet
from bittensor_wallet.keyfile import (
    legacy_encrypt_keyfile_data,
    serialized_keypair_to_keyfile_data,
)

ED25519 = 0


def wallet(root, hotkey):
    return Wallet(name="oracle", hotkey=hotkey, path=root)


def path_of(of):
    return os.path.join(of.path, of.name, "hotkeys", of.hotkey_str)


def write_plain(root, hotkey, keypair):
    of = wallet(root, hotkey)
    of.set_hotkey(keypair, encrypt=False, overwrite=True)
    of.set_hotkeypub(keypair, overwrite=True)
    return keypair.ss58_address


def write_nacl(root, hotkey, keypair, password):
    """With the variable that the package would keep the password in."""
    of = wallet(root, hotkey)
    of.set_hotkey(keypair, encrypt=True, overwrite=True, hotkey_password=password)
    of.set_hotkeypub(keypair, overwrite=True)
    file = of.hotkey_file
    return {"name": file.env_var_name(), "value": file.save_password_to_env(password)}


def write_vault(root, hotkey, keypair, password):
    path = path_of(wallet(root, hotkey))
    data = legacy_encrypt_keyfile_data(serialized_keypair_to_keyfile_data(keypair), password)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(bytes(data))


def write(root, password):
    phrase = Keypair.create_from_mnemonic(Keypair.generate_mnemonic())
    said = {
        "phrase": write_plain(root, "phrase", phrase),
        "uri": write_plain(root, "uri", Keypair.create_from_uri("//oracle//hotkey")),
    }
    ed25519 = Keypair.create_from_mnemonic(Keypair.generate_mnemonic(), ED25519)
    write_plain(root, "ed25519", ed25519)
    said["variable"] = write_nacl(root, "nacl", phrase, password)
    write_vault(root, "vault", phrase, password)
    return said


def verify(address, message, signature):
    return Keypair(ss58_address=address).verify(message.encode(), signature)


if __name__ == "__main__":
    # The package talks on stdout.
    with contextlib.redirect_stdout(sys.stderr):
        answer = {"write": write, "verify": verify}[sys.argv[1]](*sys.argv[2:])
    print(json.dumps(answer))
