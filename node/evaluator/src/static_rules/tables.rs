//! Names that mean trouble, and what they mean.

use node_core::admission::Rule;

/// Modules that may not be imported, and the kind of thing they do. Every other one that is not
/// allowed is refused as [`Rule::SourceImport`].
const MODULES: [(Rule, &[&str]); 8] = [
    (
        Rule::SourceNetwork,
        &[
            "aiohttp",
            "asyncio",
            "datasets",
            "ftplib",
            "grpc",
            "http",
            "httpx",
            "huggingface_hub",
            "imaplib",
            "nntplib",
            "poplib",
            "requests",
            "select",
            "selectors",
            "smtplib",
            "socket",
            "socketserver",
            "ssl",
            "telnetlib",
            "urllib",
            "urllib3",
            "wandb",
            "websocket",
            "websockets",
            "xmlrpc",
            "zmq",
        ],
    ),
    (
        Rule::SourceFiles,
        &[
            "bz2",
            "configparser",
            "csv",
            "dbm",
            "fileinput",
            "filecmp",
            "fsspec",
            "glob",
            "gzip",
            "io",
            "lzma",
            "mmap",
            "netrc",
            "pathlib",
            "shutil",
            "sqlite3",
            "tarfile",
            "tempfile",
            "zipfile",
        ],
    ),
    (
        Rule::SourceProcess,
        &[
            "_posixsubprocess",
            "_thread",
            "concurrent",
            "fcntl",
            "multiprocessing",
            "nt",
            "os",
            "posix",
            "psutil",
            "pty",
            "resource",
            "sched",
            "signal",
            "subprocess",
            "termios",
            "threading",
        ],
    ),
    (
        Rule::SourceNative,
        &["_ctypes", "cffi", "ctypes", "cupy", "cython", "Cython", "numba", "pybind11"],
    ),
    (
        Rule::SourceDynamicImport,
        &["imp", "importlib", "pkg_resources", "pkgutil", "runpy", "zipapp", "zipimport"],
    ),
    (
        Rule::SourceDynamicCode,
        &["ast", "builtins", "bdb", "code", "codeop", "compileall", "pdb", "py_compile", "timeit"],
    ),
    (
        Rule::SourceDeserialisation,
        &[
            "_pickle",
            "cPickle",
            "cloudpickle",
            "copyreg",
            "dill",
            "joblib",
            "marshal",
            "pickle",
            "pickletools",
            "plistlib",
            "safetensors",
            "shelve",
            "yaml",
        ],
    ),
    (
        Rule::SourceIntrospection,
        &[
            "_frozen_importlib",
            "assay_shim",
            "atexit",
            "dis",
            "faulthandler",
            "gc",
            "inspect",
            "linecache",
            "site",
            "symtable",
            "sys",
            "sysconfig",
            "token",
            "tokenize",
            "trace",
            "traceback",
            "tracemalloc",
        ],
    ),
];

/// The rule against importing a module, by the first part of its name.
pub(super) fn module_rule(root: &str) -> Rule {
    let found = MODULES.iter().find(|(_, names)| names.contains(&root));
    found.map_or(Rule::SourceImport, |(rule, _)| *rule)
}

/// The rule against a module that was reached through one that is allowed, as in `torch.os`. Names
/// that the allowed modules use for things of their own (`torch.signal`) are none.
pub(super) fn reached_rule(part: &str) -> Option<Rule> {
    const OWN: [&str; 7] = ["code", "io", "resource", "select", "signal", "token", "traceback"];
    if OWN.contains(&part) {
        return None;
    }
    let rule = module_rule(part.trim_start_matches('_'));
    (rule != Rule::SourceImport).then_some(rule)
}

/// Parts of the allowed modules that are not allowed, with all that is below them.
const PARTS: [(Rule, &[&str]); 7] = [
    (Rule::SourceNetwork, &["torch.hub", "torch.utils.model_zoo", "torch.distributed.rpc"]),
    (
        Rule::SourceFiles,
        &[
            "numpy.DataSource",
            "numpy.fromfile",
            "numpy.genfromtxt",
            "numpy.lib.format",
            "numpy.lib.npyio",
            "numpy.loadtxt",
            "numpy.memmap",
            "numpy.savetxt",
            "torch.from_file",
            "torch.utils.tensorboard",
            "torch.distributed.checkpoint",
        ],
    ),
    (
        Rule::SourceProcess,
        &[
            "torch.distributed.elastic",
            "torch.distributed.launch",
            "torch.distributed.run",
            "torch.multiprocessing",
            "torch.utils.collect_env",
            "torch.futures",
        ],
    ),
    (
        Rule::SourceNative,
        &[
            "numpy.ctypeslib",
            "numpy.distutils",
            "numpy.f2py",
            "torch._C",
            "torch.classes",
            "torch.ops.load_library",
            "torch.utils.cpp_extension",
            "torch.utils.dlpack",
            "torch.cuda.cudart",
        ],
    ),
    (
        Rule::SourceDynamicCode,
        &[
            "numpy.testing",
            "torch.fx.GraphModule",
            "torch.jit.CompilationUnit",
            "torch.testing._internal",
            "torch.utils.benchmark",
            "typing.ForwardRef",
            "typing.get_type_hints",
            "collections._eval",
        ],
    ),
    (
        Rule::SourceDeserialisation,
        &[
            "numpy.load",
            "torch.export.load",
            "torch.jit.load",
            "torch.load",
            "torch.package",
            "torch.serialization",
        ],
    ),
    (
        Rule::SourceIntrospection,
        &["torch._guards", "torch.overrides", "torch.utils._python_dispatch"],
    ),
];

/// The rule against a dotted path that begins at an imported module.
pub(super) fn path_rule(path: &str) -> Option<Rule> {
    let is_below = |part: &str| {
        path.strip_prefix(part).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    let found = PARTS.iter().find(|(_, parts)| parts.iter().any(|part| is_below(part)));
    found.map(|(rule, _)| *rule).or_else(|| path.split('.').skip(1).find_map(reached_rule))
}

/// Functions that write a file where they are told to; allowed for what a run may leave behind.
pub(super) const WRITERS: [&str; 4] =
    ["torch.save", "numpy.save", "numpy.savez", "numpy.savez_compressed"];

/// The rule against a builtin.
pub(super) fn builtin_rule(name: &str) -> Option<Rule> {
    match name {
        "eval" | "exec" | "compile" => Some(Rule::SourceDynamicCode),
        "__import__" => Some(Rule::SourceDynamicImport),
        "open" => Some(Rule::SourceFiles),
        "breakpoint" => Some(Rule::SourceIntrospection),
        "globals" | "locals" | "vars" => Some(Rule::SourceEscape),
        _ => None,
    }
}

/// Attributes, and names of modules' own, that lead from a value to the interpreter.
const ESCAPES: [&str; 31] = [
    "__base__",
    "__bases__",
    "__builtins__",
    "__closure__",
    "__code__",
    "__func__",
    "__getattribute__",
    "__globals__",
    "__import__",
    "__loader__",
    "__mro__",
    "__reduce__",
    "__reduce_ex__",
    "__self__",
    "__spec__",
    "__subclasses__",
    "__subclasshook__",
    "ag_frame",
    "co_code",
    "co_consts",
    "cr_frame",
    "f_back",
    "f_builtins",
    "f_globals",
    "f_locals",
    "gi_code",
    "gi_frame",
    "mro",
    "tb_frame",
    "tb_next",
    "__wrapped__",
];

/// Attributes that say where the code lies.
const SELF_READING: [&str; 4] = ["__file__", "__path__", "__cached__", "co_filename"];

/// Methods that read or write files, of whatever they are called.
const FILE_METHODS: [&str; 8] = [
    "export_chrome_trace",
    "from_file",
    "fromfile",
    "read_text",
    "read_bytes",
    "tofile",
    "write_bytes",
    "write_text",
];

/// The rule against an attribute of anything, or a name of a module's own.
pub(super) fn attribute_rule(name: &str) -> Option<Rule> {
    if ESCAPES.contains(&name) {
        Some(Rule::SourceEscape)
    } else if SELF_READING.contains(&name) {
        Some(Rule::SourceIntrospection)
    } else if FILE_METHODS.contains(&name) {
        Some(Rule::SourceFiles)
    } else if name == "ctypes" || name == "_handle" {
        Some(Rule::SourceNative)
    } else {
        None
    }
}

/// The first name in a text that no honest text holds.
pub(super) fn escape_in_text(text: &str) -> Option<&'static str> {
    let is_dunder = |name: &&&str| name.starts_with("__");
    ESCAPES.iter().filter(is_dunder).find(|name| text.contains(**name)).copied()
}

/// What to do instead, as the end of a sentence.
pub(super) fn advice(rule: Rule) -> &'static str {
    match rule {
        Rule::SourceNetwork => "there is no network, so put what is needed into the archive",
        Rule::SourceFiles => {
            "files are out of reach, so take data from `ctx` and write with `torch.save` into \
             `ctx.artifacts_dir` only"
        }
        Rule::SourceProcess => "leave processes, threads and the system to the node",
        Rule::SourceNative => "use the operators that torch brings",
        Rule::SourceDynamicImport => "import modules by their names at the top of the file",
        Rule::SourceDynamicCode => "write the code itself instead of text that becomes code",
        Rule::SourceDeserialisation => {
            "models start from their random initialisation, so load nothing"
        }
        Rule::SourceEscape => "name fields and classes directly",
        Rule::SourceIntrospection => "the code may not read itself or the interpreter's state",
        _ => "leave it out",
    }
}

/// Modules that Python or the image brings, which a file of a project would hide or be hidden by.
pub(super) fn is_taken(module: &str) -> bool {
    IMAGE.contains(&module) || STANDARD.split_ascii_whitespace().any(|name| name == module)
}

const IMAGE: [&str; 22] = [
    "_distutils_hack",
    "assay_shim",
    "einops",
    "filelock",
    "fsspec",
    "functorch",
    "jinja2",
    "markupsafe",
    "mpmath",
    "networkx",
    "numpy",
    "packaging",
    "pip",
    "pkg_resources",
    "safetensors",
    "setuptools",
    "sympy",
    "torch",
    "torchgen",
    "triton",
    "typing_extensions",
    "yaml",
];

/// Python 3.13's and 3.11's own modules, without those that begin with an underscore.
const STANDARD: &str = "__future__ abc aifc antigravity argparse array ast asynchat asyncio \
    asyncore atexit audioop base64 bdb binascii bisect builtins bz2 cProfile calendar cgi cgitb \
    chunk cmath cmd code codecs codeop collections colorsys compileall concurrent configparser \
    contextlib contextvars copy copyreg crypt csv ctypes curses dataclasses datetime dbm decimal \
    difflib dis distutils doctest email encodings ensurepip enum errno faulthandler fcntl filecmp \
    fileinput fnmatch fractions ftplib functools gc genericpath getopt getpass gettext glob \
    graphlib grp gzip hashlib heapq hmac html http idlelib imaplib imghdr imp importlib inspect io \
    ipaddress itertools json keyword lib2to3 linecache locale logging lzma mailbox mailcap marshal \
    math mimetypes mmap modulefinder multiprocessing netrc nntplib ntpath nturl2path numbers \
    opcode operator optparse os pathlib pdb pickle pickletools pipes pkgutil platform plistlib \
    poplib posix posixpath pprint profile pstats pty pwd py_compile pyclbr pydoc pyexpat queue \
    quopri random re readline reprlib resource rlcompleter runpy sched secrets select selectors \
    shelve shlex shutil signal site smtplib sndhdr socket socketserver sqlite3 ssl stat statistics \
    string stringprep struct subprocess symtable sys sysconfig syslog tabnanny tarfile telnetlib \
    tempfile termios textwrap this threading time timeit tkinter token tokenize tomllib trace \
    traceback tracemalloc tty turtle types typing unicodedata unittest urllib uuid venv warnings \
    wave weakref webbrowser wsgiref xml xmlrpc zipapp zipfile zipimport zlib zoneinfo";
