"""The container's side of an evaluation: runs a submission and answers the meter.

Called as `python3 -I -u assay_shim.py [socket]`. Connects to the meter's Unix socket, receives
the submission and the numbers of the policy, and answers with predictions. Targets of a batch
arrive only after its predictions have left.

It connects at once, imports torch and what a first optimizer step needs, says hello, and waits. The
node may start it ahead of its run: then it waits here, with nothing of a submission in it.

Nothing here is trusted. The submission shares this process and can change anything in it; the
meter outside treats every byte that comes from here as hostile and computes all results itself.

What a submission sees:

    architecture.py    build_model(ctx) -> torch.nn.Module, called with (B, T) token ids and
                       returning (B, T, vocab_size) logits (or a tuple or object with `.logits`)
    training.py        train(ctx): a loop over ctx.train_batches(model)

    ctx.max_parameters, vocab_size, max_seq_len, seed, device, world_size, rank, local_rank,
    token_budget, batches, batch_sequences, artifacts_dir
    ctx.build_model()               a new model, always from the same initial weights
    ctx.train_batches(model)        yields batches; also called iter_train_batches. Each batch is
                                    predicted with `model` first, and scored. Keywords such as
                                    batch_size are accepted and ignored: the policy decides.
    batch.inputs, batch.targets     (B, T) int64; also `inputs, targets = batch`. inputs[:, 0] is 0,
                                    the start mark; targets[:, t] follows inputs[:, t].
    batch.tokens                    the same as inputs, under PRISM's name
    ctx.log(loss=1.5)               up to 16 numbers per call, shown to people

The model given to the last train_batches is the one measured at the end. A train() that returns
early is measured on the remaining batches with that model, without training on them.

Frames in both directions: kind (1 byte), length (4 bytes, little endian), payload. Kinds and
payloads: see `wire.rs` in node/evaluator, the other end.
"""

import ctypes
import importlib
import json
import math
import os
import random
import socket
import struct
import sys
import traceback
import types
import uuid
from typing import NamedTuple

PROTOCOL = 2
START, ASK, TRAIN, TARGETS, END, FINISH = 1, 2, 3, 4, 5, 6
HELLO, READY, PREDICTIONS, NEXT, TRAINED, LOG, ERROR, NO_MEMORY = 17, 18, 19, 20, 21, 22, 23, 24

SOCKET_DEFAULT = "/assay/meter.sock"
SUBMISSION_DIR = "/tmp/submission"
ARTIFACTS_DIR = "/tmp/artifacts"
ERROR_BYTES_MAX = 4096
CUDA_ERROR_NO_DEVICE = 100
LOG_VALUES_MAX = 16
LOG_BYTES_MAX = 1024


class Link:
    """Frames over the meter's socket."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.connect(path)

    def send(self, kind, *parts):
        length = sum(memoryview(part).nbytes for part in parts)
        self.socket.sendall(struct.pack("<BI", kind, length))
        for part in parts:
            self.socket.sendall(part)

    def receive(self, *expected):
        kind, length = struct.unpack("<BI", self._read(5))
        if kind not in expected:
            raise RuntimeError(f"the meter sent frame {kind}, expected one of {expected}")
        return kind, self._read(length)

    def _read(self, length):
        payload = bytearray(length)
        view = memoryview(payload)
        while view:
            got = self.socket.recv_into(view)
            if got == 0:
                raise EOFError("the meter closed the channel")
            view = view[got:]
        return payload


class Batch(NamedTuple):
    """Token ids of a batch: what was predicted from, and what followed."""

    inputs: "torch.Tensor"
    targets: "torch.Tensor"

    @property
    def tokens(self):
        return self.inputs


class Context:
    """What a submission is given."""

    def __init__(self, link, start):
        self._link = link
        self._model = None
        self._shape = (start["batch_sequences"], start["max_seq_len"])
        self.seed = start["seed"]
        self.vocab_size = start["vocab_size"]
        self.max_seq_len = start["max_seq_len"]
        self.max_parameters = start["max_parameters"]
        self.max_params = self.max_parameters
        self.token_budget = start["token_budget"]
        self.batches = start["batches"]
        self.batch_sequences = start["batch_sequences"]
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.world_size, self.rank, self.local_rank = 1, 0, 0
        self.artifacts_dir = ARTIFACTS_DIR

    def build_model(self):
        """A new model on the device, from forced initial weights."""
        return sys.modules["architecture"].build_model(self).to(self.device)

    def train_batches(self, model, **_ignored):
        """Yields every batch once, after its predictions were made with `model`."""
        self._model = model
        while True:
            self._link.send(NEXT, struct.pack("<Q", count_parameters(model)))
            batch = serve(self, model, TARGETS, END)
            if batch is None:
                return
            yield batch

    iter_train_batches = train_batches

    def reference_tokenizer(self, _name):
        """For PRISM's projects. Whatever is asked for, tokens are the policy's: bytes."""
        return None

    def log(self, **scalars):
        """Sends numbers to whoever watches the run. They never enter the score."""
        values = {}
        for name, value in list(scalars.items())[:LOG_VALUES_MAX]:
            value = float(value)
            if math.isfinite(value):
                values[str(name)[:32]] = value
        payload = json.dumps(values).encode()
        if len(payload) <= LOG_BYTES_MAX:
            self._link.send(LOG, payload)


def force_determinism(seed):
    random.seed(seed)
    numpy.random.seed(seed)
    torch.manual_seed(seed)


def get_random_state():
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return torch.get_rng_state(), cuda


def set_random_state(state):
    torch.set_rng_state(state[0])
    if state[1]:
        torch.cuda.set_rng_state_all(state[1])


def provide_prism_names():
    """PRISM's projects import its context's type, for annotations only."""
    for name in ("prism_challenge", "prism_challenge.evaluator"):
        sys.modules[name] = types.ModuleType(name)
    interface = types.ModuleType("prism_challenge.evaluator.interface")
    interface.PrismContext = Context
    sys.modules[interface.__name__] = interface


def forced(build_model, seed):
    """Wraps build_model: the seeds are set again before each call."""

    def build(ctx, *args, **kwargs):
        force_determinism(seed)
        model = build_model(ctx, *args, **kwargs)
        if not isinstance(model, torch.nn.Module):
            raise TypeError("build_model did not return a torch.nn.Module")
        return model

    return build


def count_parameters(model):
    lazy = torch.nn.parameter.UninitializedParameter
    return sum(p.numel() for p in model.parameters() if not isinstance(p, lazy))


def log_probabilities(ctx, model, inputs):
    """Float32 log-probabilities, (B, T, V), leaving modes and random state as they were."""
    modes = [(module, module.training) for module in model.modules()]
    random_state = get_random_state()
    model.eval()
    try:
        with torch.no_grad():
            logits = model(inputs)
            logits = getattr(logits, "logits", logits)
            if isinstance(logits, (tuple, list)):
                logits = logits[0]
            expected = (*inputs.shape, ctx.vocab_size)
            if tuple(logits.shape) != expected:
                raise ValueError(f"the model returned {tuple(logits.shape)}, expected {expected}")
            return torch.log_softmax(logits.float(), dim=-1).contiguous().cpu()
    finally:
        for module, mode in modes:
            module.training = mode
        set_random_state(random_state)


def serve(ctx, model, *until):
    """Answers the meter until one of the given frames; the batch if that frame brings targets."""
    inputs = None
    while True:
        kind, payload = ctx._link.receive(ASK, *until)
        if kind == ASK:
            request, sequences, tokens = struct.unpack_from("<III", payload)
            inputs = to_ids(ctx, payload[12:], sequences, tokens)
            log_probs = log_probabilities(ctx, model, inputs).numpy().data.cast("B")
            ctx._link.send(PREDICTIONS, struct.pack("<I", request), log_probs)
        elif kind == TARGETS:
            return Batch(inputs, to_ids(ctx, payload, *inputs.shape))
        else:
            return None


def to_ids(ctx, payload, sequences, tokens):
    ids = torch.frombuffer(payload, dtype=torch.uint8).to(torch.int64)
    return ids.view(sequences, tokens).to(ctx.device)


def warm_up():
    """Does what every submission's first optimizer step would do first: import 900 modules."""
    parameter = torch.nn.Parameter(torch.zeros(1))
    parameter.grad = torch.zeros(1)
    torch.optim.AdamW([parameter]).step()


def seen_devices():
    """UUIDs of the GPUs or slices in this container, as the driver tells them.

    Asked of the driver itself: torch would name the GPU of a slice, and make a context on it.
    """
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return []
    code = driver.cuInit(0)
    if code == CUDA_ERROR_NO_DEVICE:
        return []
    if code != 0:
        return [f"error {code} of the driver"]
    count = ctypes.c_int(0)
    driver.cuDeviceGetCount(ctypes.byref(count))
    # The newer call names slices, the older one their GPU.
    name = getattr(driver, "cuDeviceGetUuid_v2", None) or driver.cuDeviceGetUuid
    found = []
    for index in range(count.value):
        device, raw = ctypes.c_int(0), ctypes.create_string_buffer(16)
        driver.cuDeviceGet(ctypes.byref(device), index)
        name(raw, device)
        found.append(str(uuid.UUID(bytes=raw.raw)))
    return found


def unpack(files):
    for path, text in files.items():
        target = os.path.join(SUBMISSION_DIR, path)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with open(target, "w", encoding="utf-8", newline="") as file:
            file.write(text)
    os.makedirs(ARTIFACTS_DIR, exist_ok=True)
    sys.path.insert(0, SUBMISSION_DIR)
    sys.dont_write_bytecode = True


def evaluate(link, start):
    unpack(start["files"])
    provide_prism_names()
    ctx = Context(link, start)
    force_determinism(ctx.seed)
    architecture = importlib.import_module("architecture")
    architecture.build_model = forced(architecture.build_model, ctx.seed)
    force_determinism(ctx.seed)
    training = importlib.import_module("training")

    # The untrained twin: lazy layers get their shapes before anything is counted.
    twin = ctx.build_model()
    log_probabilities(ctx, twin, torch.zeros(ctx._shape, dtype=torch.int64, device=ctx.device))
    link.send(READY, struct.pack("<Q", count_parameters(twin)))
    serve(ctx, twin, TRAIN)

    returned = training.train(ctx)
    model = ctx._model
    if model is None:
        model = returned if isinstance(returned, torch.nn.Module) else twin
    link.send(TRAINED, struct.pack("<Q", count_parameters(model)))
    serve(ctx, model, FINISH)


def last_words(error):
    """The exception and where in the submission it was raised."""
    text = "".join(traceback.format_exception_only(error)).strip()
    frames = traceback.extract_tb(error.__traceback__)
    inside = [frame for frame in frames if frame.filename.startswith(SUBMISSION_DIR)]
    if inside:
        name = os.path.relpath(inside[-1].filename, SUBMISSION_DIR)
        text = f"{name}:{inside[-1].lineno}: {text}"
    return text.encode("utf-8", "replace")[:ERROR_BYTES_MAX]


def main(link):
    # Resolved now: the submission may replace the name.
    out_of_device_memory = torch.cuda.OutOfMemoryError
    link.send(HELLO, struct.pack("<I", PROTOCOL), "\n".join(seen_devices()).encode())
    code = 0
    try:
        _, payload = link.receive(START)
        evaluate(link, json.loads(payload))
    # SystemExit and KeyboardInterrupt too: leaving early is the submission's doing.
    except BaseException as error:
        code = 1
        # A claim, as everything from here: who makes it falsely only fails by another name.
        kind = NO_MEMORY if isinstance(error, out_of_device_memory) else ERROR
        try:
            link.send(kind, last_words(error))
        except OSError:
            pass
    # Torch needs up to two seconds for an orderly exit, and the result has left already.
    os._exit(code)


if __name__ == "__main__":
    # Before the slow imports: this is how the node learns that the container runs.
    channel = Link((sys.argv[1:] or [SOCKET_DEFAULT])[0])

    import numpy
    import torch

    torch.set_num_threads(1)
    torch.set_num_interop_threads(1)
    torch.use_deterministic_algorithms(True)
    warm_up()
    main(channel)
