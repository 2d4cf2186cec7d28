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
    training.py        either train(ctx): a loop over ctx.train_batches(model);
                       or hooks: get_recipe(ctx), and any of
                           configure_optimizer(model, recipe, ctx)    default: AdamW of the recipe
                           compute_loss(model, batch, ctx)            default: cross entropy
                           train_step(model, batch, optimizer, ctx)   default: one step on that loss
                           inference_logits(model, batch, ctx), or infer: what is scored; the
                           batch has no targets. default: the model on batch.inputs
                       Then the loop is here, with one step per batch. The default step clips the
                       gradient's norm at 1. How often each hook was called is reported.

The start frame names other files and functions where the project has them elsewhere. An
architecture that is not the submission's own lies in a folder of its own, whose name begins with
`assay:`. Its files import one another as they do at home, and none of the submission's: two
projects may have files of the same name.

    ctx.max_parameters, vocab_size, max_seq_len, sequence_tokens, seed, device, world_size, rank,
    local_rank, token_budget, batches, batch_sequences, artifacts_dir
                                    A batch has batch_sequences of sequence_tokens each. Before any
                                    training the model is also asked for sequences of other lengths,
                                    up to max_seq_len, of random tokens. With a tokenizer, batches
                                    and token_budget are estimates: the budget is bytes of text.
    ctx.build_model()               a new model, always from the same initial weights
    ctx.train_batches(model)        yields batches; also called iter_train_batches. Each batch is
                                    predicted with `model` first, and scored. Keywords such as
                                    batch_size are accepted and ignored: the policy decides.
    batch.inputs, batch.targets     (B, T) int64; also `inputs, targets = batch`. inputs[:, 0] is
                                    the start mark, which is 0 where tokens are bytes and the last
                                    entry of a tokenizer's vocabulary; targets[:, t] follows
                                    inputs[:, t].
    batch.tokens                    the same as inputs, under PRISM's name
    ctx.log(loss=1.5)               up to 16 numbers per call, shown to people

The model given to the last train_batches is the one measured at the end. A train() that returns
early is measured on the remaining batches with that model, without training on them.

With several devices the submission runs in as many processes, its ranks, in one process group of
torch.distributed. Rank 0 speaks to the meter and predicts; then each rank trains on its share of
the batch's sequences. At the end their parameters must be the same, bit for bit.

Frames in both directions: kind (1 byte), length (4 bytes, little endian), payload. Kinds and
payloads: see `wire.rs` in node/evaluator, the other end.
"""

import builtins
import contextlib
import copy
import ctypes
import dataclasses
import hashlib
import importlib
import importlib.machinery
import importlib.util
import json
import math
import os
import random
import socket
import struct
import subprocess
import sys
import threading
import traceback
import types
import uuid
from typing import NamedTuple

PROTOCOL = 5
START, ASK, TRAIN, TARGETS, END, FINISH = 1, 2, 3, 4, 5, 6
HELLO, READY, PREDICTIONS, NEXT, TRAINED, LOG, ERROR, NO_MEMORY = 17, 18, 19, 20, 21, 22, 23, 24
PROBE, COUNT, RAISED, COUNTED = 26, 27, 28, 29
OPERATORS = 25
PROBE_TASK, LESSON = 30, 31

SOCKET_DEFAULT = "/assay/meter.sock"
SUBMISSION_DIR = "/tmp/submission"
ARTIFACTS_DIR = "/tmp/artifacts"
ERROR_BYTES_MAX = 4096
CUDA_ERROR_NO_DEVICE = 100
UNKNOWN = 2**64 - 1
LOG_VALUES_MAX = 16
LOG_BYTES_MAX = 1024
# In their order on the wire.
HOOKS = (
    "get_recipe",
    "configure_optimizer",
    "compute_loss",
    "train_step",
    "inference_logits",
    "infer",
)
GRADIENT_NORM_MAX = 1.0
# As the meter reads them; a longer graph is cut.
OPERATORS_MAX = 20_000
EDGES_MAX = 100_000
OPERATOR_NAME_CHARS_MAX = 64
OPERATORS_BYTES_MAX = 2 << 20
MASTER_PORT = "29500"


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
    targets: "torch.Tensor | None" = None

    @property
    def tokens(self):
        return self.inputs

    @property
    def metadata(self):
        return {}


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What get_recipe may return, under PRISM's name; any object or dict with these will do."""

    learning_rate: float = 3e-4
    batch_size: int = 4
    optimizer: str = "adamw"
    scheduler: str = "cosine"
    weight_decay: float = 0.01


class Context:
    """What a submission is given."""

    def __init__(self, link, start, ranks):
        self._link = link
        self._ranks = ranks
        self._model = None
        self._predict = lambda model, inputs: model(inputs)
        self._build_model = None
        self._id_type = f"<u{start['id_bytes']}"
        self._shape = (start["batch_sequences"], start["sequence_tokens"])
        self.seed = start["seed"]
        self.vocab_size = start["vocab_size"]
        self.max_seq_len = start["max_seq_len"]
        self.sequence_tokens = start["sequence_tokens"]
        self.max_parameters = start["max_parameters"]
        self.max_params = self.max_parameters
        self.token_budget = start["token_budget"]
        self.batches = start["batches"]
        self.batch_sequences = start["batch_sequences"]
        self.world_size, self.rank, self.local_rank = ranks.size, ranks.rank, ranks.rank
        self.device = ranks.device()
        self.artifacts_dir = ARTIFACTS_DIR

    def build_model(self):
        """A new model on the device, from forced initial weights."""
        return self._build_model(self).to(self.device)

    def train_batches(self, model, **_ignored):
        """Yields every batch once, after its predictions were made with `model`."""
        self._model = model
        while True:
            batch = None
            if self.rank == 0:
                self._link.send(NEXT, struct.pack("<Q", count_parameters(model)))
                batch = serve(self, model, TARGETS, END)
            batch = self._ranks.share(batch, self.device)
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
        if self.rank == 0 and len(payload) <= LOG_BYTES_MAX:
            self._link.send(LOG, payload)


class Ranks:
    """The processes that train together; rank 0 starts the others before anything is imported."""

    def __init__(self, size=1, rank=0):
        self.size, self.rank = size, rank
        self.is_over = False

    def start(self, payload):
        """Starts the other ranks, each with the start frame, and joins them."""
        if self.size == 1:
            return
        for rank in range(1, self.size):
            command = [sys.executable, "-I", "-u", __file__, "--rank", str(rank)]
            child = subprocess.Popen(command, stdin=subprocess.PIPE)
            child.stdin.write(payload)
            child.stdin.close()
            threading.Thread(target=leave_with, args=(child,), daemon=True).start()
        self.join()

    def join(self):
        if torch.cuda.is_available():
            torch.cuda.set_device(self.rank)
        os.environ.update(
            RANK=str(self.rank),
            LOCAL_RANK=str(self.rank),
            WORLD_SIZE=str(self.size),
            MASTER_ADDR="127.0.0.1",
            MASTER_PORT=MASTER_PORT,
            USE_LIBUV="0",
            GLOO_SOCKET_IFNAME="lo",
        )
        backend = "nccl" if torch.cuda.is_available() else "gloo"
        torch.distributed.init_process_group(backend, rank=self.rank, world_size=self.size)

    def device(self):
        if not torch.cuda.is_available():
            return "cpu"
        return f"cuda:{self.rank}" if self.size > 1 else "cuda"

    def share(self, batch, device):
        """This rank's sequences of the batch that rank 0 has; nothing after the last one."""
        if self.size == 1:
            return batch
        shape = (0, 0) if batch is None else batch.inputs.shape
        head = torch.tensor(shape, dtype=torch.int64, device=device)
        torch.distributed.broadcast(head, 0)
        sequences, tokens = head.tolist()
        if sequences == 0:
            self.is_over = True
            return None
        both = torch.empty((2, sequences, tokens), dtype=torch.int64, device=device)
        if batch is not None:
            torch.stack((batch.inputs, batch.targets), out=both)
        torch.distributed.broadcast(both, 0)
        own = both[:, self.rank :: self.size]
        return Batch(own[0].contiguous(), own[1].contiguous())

    def average_gradients(self, model):
        """For the step of ours; a submission with a step or a loop of its own sees to it itself."""
        if self.size == 1:
            return
        for parameter in model.parameters():
            if parameter.grad is not None:
                torch.distributed.all_reduce(parameter.grad)
                parameter.grad /= self.size

    def agree(self, model, device):
        """Raises unless all ranks have the same parameters."""
        if self.size == 1:
            return
        # Whoever stopped early tells the others that there is nothing more.
        while not self.is_over:
            self.share(None, device)
        digest = hashlib.sha256()
        for name, value in sorted(model.state_dict().items()):
            digest.update(name.encode() + b"\0")
            digest.update(value.detach().contiguous().cpu().view(-1).view(torch.uint8).numpy())
        own = torch.tensor(list(digest.digest()), dtype=torch.uint8, device=device)
        others = [torch.empty_like(own) for _ in range(self.size)]
        torch.distributed.all_gather(others, own)
        differ = [rank for rank in range(self.size) if not torch.equal(others[rank], others[0])]
        if differ:
            raise RuntimeError(f"the parameters of ranks {differ} differ from those of rank 0")


def leave_with(child):
    """A rank that fails takes the others with it; it has said why on its standard error."""
    code = child.wait()
    if code != 0:
        os._exit(1)


class Hooks:
    """A submission's hooks, and how often each was called, by whomever."""

    def __init__(self, module):
        self.uses = {}
        for name in HOOKS:
            hook = getattr(module, name, None)
            if callable(hook):
                self.uses[name] = 0
                setattr(module, name, self._counted(name, hook))
        self._module = module

    def _counted(self, name, hook):
        def counted(*args, **kwargs):
            self.uses[name] += 1
            return hook(*args, **kwargs)

        return counted

    def get(self, name):
        return getattr(self._module, name) if name in self.uses else None

    def predictor(self, ctx):
        """What is scored: the model, or the hook that stands before it."""
        hook = self.get("inference_logits") or self.get("infer")
        if hook is None:
            return lambda model, inputs: model(inputs)
        return lambda model, inputs: hook(model, Batch(inputs), ctx)

    def train(self, ctx):
        """The loop of the hook contract."""
        recipe = self.get("get_recipe")(ctx)
        model = ctx.build_model()
        configure = self.get("configure_optimizer") or default_optimizer
        optimizer = configure(model, recipe, ctx)
        step = self.get("train_step") or self._default_step
        for batch in ctx.train_batches(model):
            model.train()
            step(model, batch, optimizer, ctx)
        return model

    def _default_step(self, model, batch, optimizer, ctx):
        loss = (self.get("compute_loss") or default_loss)(model, batch, ctx)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        ctx._ranks.average_gradients(model)
        torch.nn.utils.clip_grad_norm_(model.parameters(), GRADIENT_NORM_MAX)
        optimizer.step()


def default_optimizer(model, recipe, _ctx):
    def of_recipe(name, other, default):
        if isinstance(recipe, dict):
            return recipe.get(name, recipe.get(other, default))
        return getattr(recipe, name, getattr(recipe, other, default))

    rate = of_recipe("learning_rate", "lr", Recipe.learning_rate)
    decay = of_recipe("weight_decay", "weight_decay", Recipe.weight_decay)
    return torch.optim.AdamW(model.parameters(), lr=float(rate), weight_decay=float(decay))


def default_loss(model, batch, _ctx):
    logits = logits_of(model(batch.inputs)).flatten(0, 1)
    return torch.nn.functional.cross_entropy(logits, batch.targets.flatten())


def logits_of(output):
    output = getattr(output, "logits", output)
    return output[0] if isinstance(output, (tuple, list)) else output


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
    interface.PrismBatch = Batch
    interface.TrainingRecipe = Recipe
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


def count_embeddings(model):
    """Of its parameters, those of tables that are looked up by token or position."""
    tables = (torch.nn.Embedding, torch.nn.EmbeddingBag)
    looked_up = (module for module in model.modules() if isinstance(module, tables))
    parameters = {id(p): p.numel() for table in looked_up for p in table.parameters()}
    return sum(parameters.values())


def log_probabilities(ctx, model, inputs, positions=None):
    """Float32 log-probabilities, a row per position, leaving modes and random state as they were.

    positions: places in the batch, sequence after sequence; all of them without. The model is not
    told which they are.
    """
    modes = [(module, module.training) for module in model.modules()]
    random_state = get_random_state()
    model.eval()
    try:
        with torch.no_grad():
            logits = logits_of(ctx._predict(model, inputs))
            expected = (*inputs.shape, ctx.vocab_size)
            if tuple(logits.shape) != expected:
                raise ValueError(f"the model returned {tuple(logits.shape)}, expected {expected}")
            logits = logits.flatten(0, 1)
            if positions is not None:
                logits = logits[positions]
            return torch.log_softmax(logits.float(), dim=-1).contiguous().cpu()
    finally:
        for module, mode in modes:
            module.training = mode
        set_random_state(random_state)


class EnoughTraced(BaseException):
    """Ends a trace that is as long as anybody reads; no submission catches it by accident."""


class Tracer:
    """Notes which operators run, and whose results each of them takes.

    A result is known by its tensor, and by its storage where somebody wrote into that.
    """

    def __init__(self):
        self.names, self.operators, self.edges = {}, [], 0
        self._made = torch.utils.weak.WeakTensorKeyDictionary()
        # The storages are kept: another one must not get their place.
        self._written = {}

    def mode(self):
        """While this is entered, operators are noted below autograd and whatever called them."""
        tracer = self

        class Mode(torch.utils._python_dispatch.TorchDispatchMode):
            def __torch_dispatch__(self, operator, kinds, args=(), kwargs=None):
                return tracer.note(operator, args, kwargs or {})

        return Mode()

    def note(self, operator, args, kwargs):
        inputs = sorted({self._maker(tensor) for tensor in tensors_in((args, kwargs))} - {-1})
        result = operator(*args, **kwargs)
        made = tensors_in(result)
        if made:
            self.edges += len(inputs)
            if len(self.operators) == OPERATORS_MAX or self.edges > EDGES_MAX:
                raise EnoughTraced
            place = len(self.operators)
            name = self.names.setdefault(operator_name(operator), len(self.names))
            self.operators.append([name, *inputs])
            for tensor in made:
                self._made[tensor] = place
            for argument, value in zip(operator._schema.arguments, args):
                is_written = argument.alias_info is not None and argument.alias_info.is_write
                if is_written and isinstance(value, torch.Tensor):
                    storage = value.untyped_storage()
                    self._written[storage._cdata] = (place, storage)
        return result

    def _maker(self, tensor):
        written, _ = self._written.get(tensor.untyped_storage()._cdata, (-1, None))
        return max(self._made.get(tensor, -1), written)


def tensors_in(tree):
    leaves = torch.utils._pytree.tree_leaves(tree)
    return [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]


def operator_name(operator):
    name = str(operator)[:OPERATOR_NAME_CHARS_MAX]
    return "".join(c if c.isascii() and (c.isalnum() or c in "_.:") else "_" for c in name)


def send_operators(ctx, model):
    """Says which operators the model is made of; nothing where it cannot be traced.

    One more prediction without gradients, of a copy where it can be copied: nothing of the model
    and of its randomness changes by it.
    """
    python_state, numpy_state = random.getstate(), numpy.random.get_state()
    random_state = get_random_state()
    with contextlib.suppress(Exception):
        model = copy.deepcopy(model)
    modes = [(module, module.training) for module in model.modules()]
    tracer = Tracer()
    try:
        inputs = torch.arange(2 * ctx.max_seq_len, device=ctx.device) % ctx.vocab_size
        inputs = inputs.view(2, ctx.max_seq_len)
        model.eval()
        with contextlib.suppress(EnoughTraced), torch.no_grad(), tracer.mode():
            model(inputs)
        graph = {"names": list(tracer.names), "operators": tracer.operators}
        payload = json.dumps(graph, separators=(",", ":")).encode()
    except BaseException:
        payload = b""
    finally:
        for module, mode in modes:
            module.training = mode
        random.setstate(python_state)
        numpy.random.set_state(numpy_state)
        set_random_state(random_state)
    if 0 < len(payload) <= OPERATORS_BYTES_MAX:
        ctx._link.send(OPERATORS, payload)


def serve(ctx, model, *until):
    """Answers the meter until one of the given frames; the batch if that frame brings targets."""
    inputs = None
    while True:
        kind, payload = ctx._link.receive(ASK, PROBE, COUNT, *until)
        if kind == ASK:
            inputs = answer(ctx, model, payload)
        elif kind == PROBE:
            answer_probe(ctx, model, payload)
        elif kind == COUNT:
            counts = (count_parameters(model), count_idle(ctx, model))
            ctx._link.send(COUNTED, struct.pack("<QQ", *counts))
        elif kind == TARGETS:
            return Batch(inputs, to_ids(ctx, payload, *inputs.shape))
        else:
            return None


def answer(ctx, model, payload):
    """Predicts what the meter asks for; the inputs."""
    request, sequences, tokens, asked = struct.unpack_from("<IIII", payload)
    places = len(payload) - 4 * asked
    inputs = to_ids(ctx, memoryview(payload)[16:places], sequences, tokens)
    positions = None
    if asked:
        positions = numpy.frombuffer(payload, "<u4", offset=places).astype(numpy.int64)
        positions = torch.from_numpy(positions).to(ctx.device)
    log_probs = log_probabilities(ctx, model, inputs, positions).numpy().data.cast("B")
    ctx._link.send(PREDICTIONS, struct.pack("<I", request), log_probs)
    return inputs


def answer_probe(ctx, model, payload):
    """The same of the untrained model, where an exception need not end the run."""
    try:
        answer(ctx, model, payload)
    except torch.cuda.OutOfMemoryError:
        raise
    except Exception as error:
        ctx._link.send(RAISED, last_words(error))


def count_idle(ctx, model):
    """Parameters that get no gradient from a batch of random tokens; UNKNOWN if that fails.

    A copy is asked, in training mode, so that nothing of it stays.
    """
    if ctx.world_size > 1:
        return UNKNOWN
    random_state = get_random_state()
    try:
        trained = copy.deepcopy(model).train()
        tokens = torch.randint(ctx.vocab_size, ctx._shape, device=ctx.device)
        logits = logits_of(trained(tokens)).flatten(0, 1)
        torch.nn.functional.cross_entropy(logits, tokens.roll(-1, 1).flatten()).backward()
        return sum(p.numel() for p in trained.parameters() if p.grad is None)
    except torch.cuda.OutOfMemoryError:
        raise
    except Exception:
        return UNKNOWN
    finally:
        set_random_state(random_state)


def to_ids(ctx, payload, sequences, tokens):
    ids = torch.from_numpy(numpy.frombuffer(payload, ctx._id_type).astype(numpy.int64))
    return ids.view(sequences, tokens).to(ctx.device)


def warm_up():
    """Does what every submission's first optimizer step would do first: import 900 modules."""
    parameter = torch.nn.Parameter(torch.zeros(1))
    parameter.grad = torch.zeros(1)
    torch.optim.AdamW([parameter]).step()
    # What the trace of operators takes.
    importlib.import_module("torch.utils._python_dispatch")
    importlib.import_module("torch.utils.weak")


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


class Guest:
    """A project beside the submission's, whose modules are those of one package.

    What its files import by the name of one of them is looked for in that package, and everything
    else as always. They do not see the submission's modules, and it does not see theirs.
    """

    # No statement can import it by this name, and no file can have it.
    PACKAGE = "assay:guest"

    def __init__(self, folder, files):
        root = os.path.join(SUBMISSION_DIR, folder)
        paths = [path.removeprefix(folder + "/") for path in files if path.startswith(folder + "/")]
        modules = [path for path in paths if path.endswith(".py")]
        self._own = {path.split("/")[0].removesuffix(".py") for path in modules}
        # Functions look names up where their module was made, so imports in them come here too.
        in_guest = {**vars(builtins), "__import__": self._import}

        class Loader(importlib.machinery.SourceFileLoader):
            def exec_module(self, module):
                module.__dict__["__builtins__"] = in_guest
                super().exec_module(module)

        finder = importlib.machinery.FileFinder.path_hook((Loader, [".py"]))

        def hook(path):
            if path != root and not path.startswith(root + os.sep):
                raise ImportError
            return finder(path)

        sys.path_hooks.insert(0, hook)
        spec = importlib.machinery.ModuleSpec(self.PACKAGE, None, is_package=True)
        spec.submodule_search_locations = [root]
        sys.modules[self.PACKAGE] = importlib.util.module_from_spec(spec)

    def load(self, path):
        """The module in this file."""
        return importlib.import_module(f"{self.PACKAGE}.{module_name(path)}")

    def _import(self, name, globals=None, locals=None, fromlist=(), level=0):
        top = name.partition(".")[0]
        if level or top not in self._own:
            return builtins.__import__(name, globals, locals, fromlist, level)
        module = builtins.__import__(f"{self.PACKAGE}.{name}", globals, locals, fromlist, 0)
        return module if fromlist else sys.modules[f"{self.PACKAGE}.{top}"]


def module_name(path):
    return path.removesuffix(".py").replace("/", ".")


def load_entry(path, files):
    """The module in this file, of the submission or of a project beside it."""
    folder, _, inside = path.partition("/")
    if folder.startswith("assay:") and inside:
        return Guest(folder, files).load(inside)
    return load(path)


def load(path):
    """The submission's module in this file, under the name by which its other files import it."""
    name = module_name(path)
    parts = name.split(".")
    top = sys.modules.get(parts[0])
    places = [getattr(top, "__file__", None) or "", *getattr(top, "__path__", ())]
    is_ours = top is None or any(place.startswith(SUBMISSION_DIR) for place in places)
    if is_ours and all(part.isidentifier() for part in parts):
        return importlib.import_module(name)
    spec = importlib.util.spec_from_file_location(name, os.path.join(SUBMISSION_DIR, path))
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def import_project(ctx, project, files):
    """Imports both files; the training as one function, and the hooks if it has any."""
    force_determinism(ctx.seed)
    entry = project["architecture"]
    architecture = load_entry(entry["file"], files)
    ctx._build_model = forced(getattr(architecture, entry["symbol"]), ctx.seed)
    setattr(architecture, entry["symbol"], ctx._build_model)
    force_determinism(ctx.seed)
    entry = project["training"]
    training = load(entry["file"])
    contract = project["contract"]
    if contract is None:
        is_loop = hasattr(training, entry["symbol"]) or not hasattr(training, "get_recipe")
        contract = "loop" if is_loop else "hooks"
    if contract == "loop":
        return getattr(training, entry["symbol"]), None
    if not hasattr(training, "get_recipe") and hasattr(training, entry["symbol"]):
        training.get_recipe = getattr(training, entry["symbol"])
    hooks = Hooks(training)
    ctx._predict = hooks.predictor(ctx)
    return hooks.train, hooks


def evaluate(link, start, ranks):
    if ranks.rank == 0:
        unpack(start["files"])
    sys.path.insert(0, SUBMISSION_DIR)
    sys.dont_write_bytecode = True
    provide_prism_names()
    if ranks.size > 1:
        # No rank imports what rank 0 has not written yet.
        torch.distributed.barrier()
    ctx = Context(link, start, ranks)
    train, hooks = import_project(ctx, start["project"], start["files"])

    # The untrained twin: lazy layers get their shapes before anything is counted.
    twin = ctx.build_model()
    log_probabilities(ctx, twin, torch.zeros(ctx._shape, dtype=torch.int64, device=ctx.device))
    if ranks.rank == 0:
        send_operators(ctx, twin)
        link.send(READY, struct.pack("<Q", count_parameters(twin)))
    if start["probes"]:
        # In one process: what they ask is small.
        return run_probes(ctx, hooks) if ranks.rank == 0 else None
    if ranks.rank == 0:
        serve(ctx, twin, TRAIN)

    returned = train(ctx)
    model = ctx._model
    if model is None:
        model = returned if isinstance(returned, torch.nn.Module) else twin
    ranks.agree(model, ctx.device)
    if ranks.rank == 0:
        link.send(TRAINED, how_it_went(model, hooks))
        serve(ctx, model, FINISH)


def run_probes(ctx, hooks):
    """Builds and trains a model for each probe task, with the optimizer of the training."""
    while True:
        kind, payload = ctx._link.receive(PROBE_TASK, FINISH)
        if kind == FINISH:
            return
        task = json.loads(payload)
        for name in ("vocab_size", "max_seq_len", "batches", "batch_sequences", "token_budget"):
            setattr(ctx, name, task[name])
        model = ctx.build_model()
        shape = (ctx.batch_sequences, ctx.max_seq_len)
        log_probabilities(ctx, model, torch.zeros(shape, dtype=torch.int64, device=ctx.device))
        ctx._link.send(READY, struct.pack("<Q", count_parameters(model)))
        configure = hooks.get("configure_optimizer") or default_optimizer
        optimizer = configure(model, hooks.get("get_recipe")(ctx), ctx)
        while True:
            kind, payload = ctx._link.receive(LESSON, TRAIN)
            if kind == TRAIN:
                break
            learn(ctx, model, optimizer, payload)
        serve(ctx, model, END)


def learn(ctx, model, optimizer, payload):
    """One step on the answers of a lesson."""
    sequences, tokens, asked = struct.unpack_from("<III", payload)
    places = 12 + sequences * tokens
    inputs = to_ids(ctx, memoryview(payload)[12:places], sequences, tokens)
    positions = numpy.frombuffer(payload, "<u4", count=asked, offset=places).astype(numpy.int64)
    answers = to_ids(ctx, memoryview(payload)[places + 4 * asked :], 1, asked)[0]
    model.train()
    logits = logits_of(model(inputs)).flatten(0, 1)[torch.from_numpy(positions).to(ctx.device)]
    loss = torch.nn.functional.cross_entropy(logits.float(), answers)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), GRADIENT_NORM_MAX)
    optimizer.step()


def how_it_went(model, hooks):
    """Claims: sizes of the model and its tables, the devices' memory, which hooks are there."""
    peak = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0
    uses = {} if hooks is None else hooks.uses
    there = sum(1 << bit for bit, name in enumerate(HOOKS) if name in uses)
    counts = [min(uses.get(name, 0), 0xFFFFFFFF) for name in HOOKS]
    sizes = (count_parameters(model), peak, count_embeddings(model))
    return struct.pack("<QQQI6I", *sizes, there, *counts)


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
        start = json.loads(payload)
        ranks = Ranks(start["world_size"])
        ranks.start(payload)
        evaluate(link, start, ranks)
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


def follow(rank):
    """Another rank than 0: what it has to say goes to the standard error, and ends all of them."""
    code = 0
    try:
        start = json.loads(sys.stdin.buffer.read())
        ranks = Ranks(start["world_size"], rank)
        ranks.join()
        evaluate(None, start, ranks)
    except BaseException as error:
        code = 1
        print(f"rank {rank}: {last_words(error).decode()}", file=sys.stderr, flush=True)
    os._exit(code)


if __name__ == "__main__":
    own_rank = int(sys.argv[2]) if sys.argv[1:2] == ["--rank"] else 0
    # Before the slow imports: this is how the node learns that the container runs.
    channel = None if own_rank else Link((sys.argv[1:] or [SOCKET_DEFAULT])[0])

    import numpy
    import torch

    torch.set_num_threads(1)
    torch.set_num_interop_threads(1)
    torch.use_deterministic_algorithms(True)
    warm_up()
    if own_rank:
        follow(own_rank)
    main(channel)
