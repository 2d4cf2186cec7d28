"""The container's program with a clock, and without a meter, for `scripts/benchmark-meter`.

`alone.py metered|asking|bare VOCABULARY BATCHES SEQUENCES TOKENS PARAMETERS_MAX` prints how many
seconds of the clock and of CPU time training took. `metered` speaks to the meter. `asking` predicts each batch
before it trains on it, as with the meter, but nothing leaves the process; `bare` only trains.
"""

import importlib.util
import json
import struct
import sys
import time

import numpy
import torch

spec = importlib.util.spec_from_file_location("shim", "/assay/shim.py")
shim = importlib.util.module_from_spec(spec)
spec.loader.exec_module(shim)
shim.numpy, shim.torch = numpy, torch

mode = sys.argv[1]
vocabulary, batches, sequences, tokens, parameters_max = map(int, sys.argv[2:])
ID_BYTES = 1 if vocabulary <= 256 else 2
ASKED = 256 if vocabulary > 4096 else 0


class Clock:
    """Training is what lies between two frames."""

    began = 0.0, 0.0

    @staticmethod
    def now():
        return time.perf_counter(), time.process_time()

    def see(self, kind):
        if kind == shim.TRAIN:
            self.began = self.now()
        elif kind == shim.TRAINED:
            print(*(now - then for now, then in zip(self.now(), self.began)), flush=True)


class Metered(shim.Link):
    """The meter's socket, with a clock."""

    clock = Clock()

    def send(self, kind, *parts):
        self.clock.see(kind)
        super().send(kind, *parts)

    def receive(self, *expected):
        kind, payload = super().receive(*expected)
        self.clock.see(kind)
        return kind, payload


class Local:
    """Answers what the meter would, from memory."""

    def __init__(self):
        with open("/assay/text.bin", "rb") as file:
            self.text = file.read()
        size = sequences * tokens
        rng = numpy.random.default_rng(0)
        self.places = numpy.sort(rng.choice(size, ASKED, replace=False)).astype("<u4").tobytes()
        self.left, self.waiting, self.clock = batches, [(shim.TRAIN, b"")], Clock()

    def batch(self):
        """The next piece of the text, and the same one token later."""
        length = sequences * tokens * ID_BYTES
        start = (batches - self.left) * length
        inputs = self.text[start : start + length]
        targets = self.text[start + ID_BYTES : start + ID_BYTES + length]
        head = struct.pack("<IIII", 0, sequences, tokens, ASKED)
        return bytearray(head + inputs + self.places), bytearray(targets)

    def send(self, kind, *_parts):
        self.clock.see(kind)
        if kind == shim.NEXT and self.left:
            ask, targets = self.batch()
            self.left -= 1
            self.waiting = [(shim.ASK, ask), (shim.TARGETS, targets)]
        elif kind == shim.NEXT:
            self.waiting = [(shim.END, b"")]
        elif kind == shim.TRAINED:
            self.waiting = [(shim.FINISH, b"")]

    def receive(self, *_expected):
        kind, payload = self.waiting.pop(0)
        self.clock.see(kind)
        return kind, payload


def entry(file, symbol):
    return {"file": file, "symbol": symbol}


torch.set_num_threads(1)
torch.set_num_interop_threads(1)
torch.use_deterministic_algorithms(True)
shim.warm_up()
if mode == "metered":
    shim.main(Metered("/assay/meter.sock"))
if mode == "bare":
    nothing = torch.zeros(1)
    shim.log_probabilities = lambda *_arguments: nothing
with open("/assay/files.json", encoding="utf-8") as file:
    files = json.load(file)
start = {
    "seed": 1,
    "vocab_size": vocabulary,
    "id_bytes": ID_BYTES,
    "world_size": 1,
    "max_seq_len": tokens,
    "sequence_tokens": tokens,
    "max_parameters": parameters_max,
    "token_budget": batches * sequences * tokens,
    "batches": batches,
    "batch_sequences": sequences,
    "project": {
        "architecture": entry("architecture.py", "build_model"),
        "training": entry("training.py", "train"),
        "contract": "loop",
    },
    "files": files,
    "probes": None,
}
shim.evaluate(Local(), start, shim.Ranks())
