"""Tries what no submission may do, from inside a container, and prints what came of each try.

One line for each try: its kind, its name, and `done` or the name of the error. The arguments are
such that a call that is let through does something, or fails with an error of its own: what a
filter or a missing capability refuses is EPERM, EACCES or ENOSYS.
"""

import ctypes
import errno
import mmap
import os
import platform
import signal
import socket
import struct

LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.syscall.restype = ctypes.c_long
PLACE = {"x86_64": 0, "aarch64": 1}.get(platform.machine())
ITSELF = 1
AT_FDCWD = -100
NEW_USER, NEW_NET = 0x10000000, 0x40000000


def told(kind, name, value):
    print(kind, name, value, flush=True)


def call(number, *arguments):
    """Makes a system call; gives `done`, or the error's name."""
    ctypes.set_errno(0)
    plain = [one if isinstance(one, bytes) else ctypes.c_long(one) for one in arguments]
    plain += [ctypes.c_long(0)] * (6 - len(plain))
    if LIBC.syscall(ctypes.c_long(number), *plain) >= 0:
        return "done"
    return errno.errorcode.get(ctypes.get_errno(), str(ctypes.get_errno()))


def in_child(what):
    """What a child says; `killed`, `stopped` or `silent` if it says nothing."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, what().encode())
        os._exit(0)
    os.close(writing)
    _, status = os.waitpid(child, os.WUNTRACED)
    said = os.read(reading, 64).decode()
    os.close(reading)
    if os.WIFSTOPPED(status):
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return said or "stopped"
    return said or ("killed" if os.WIFSIGNALED(status) else "silent")


def attached(number):
    """Attaches to the first process, and lets it go again where that worked: it stands still."""
    said = call(number, 16, ITSELF)
    if said == "done":
        os.waitpid(ITSELF, 0x40000000)
        call(number, 17, ITSELF)
    return said


def address(of):
    return ctypes.addressof(of)


def tries():
    """The system calls: name, numbers on x86-64 and arm64 (`None`: it has none), arguments."""
    buffer = ctypes.create_string_buffer(4096)
    other = ctypes.create_string_buffer(4096)
    memory = address(buffer)
    vectors = [struct.pack("QQ", address(one), 8) for one in (buffer, other)]
    bpf_map = struct.pack("IIII", 2, 4, 4, 1) + bytes(112)
    perf = struct.pack("IIQQQQQ", 1, 128, 0, 0, 0, 0, 0b1100000) + bytes(80)
    handle = struct.pack("Ii", 8, 1) + bytes(8)
    root = os.open("/", os.O_RDONLY)
    net = os.open("/proc/self/ns/net", os.O_RDONLY)
    pidfd = os.pidfd_open(ITSELF)
    scratch = os.open("/tmp/scratch", os.O_RDWR | os.O_CREAT)
    os.write(scratch, bytes(8192))
    reading, writing = os.pipe()
    clone_args = struct.pack("8Q", NEW_USER, 0, 0, 0, signal.SIGCHLD, 0, 0, 0)
    name_to_handle = struct.pack("Ii", 128, 0) + bytes(128)
    contexts = struct.pack("Q", 0)
    return [
        # Keys of the kernel.
        ("keyctl", 250, 219, 0, -2, 1),
        ("add_key", 248, 217, b"user", b"assay", b"x", 1, -2),
        ("request_key", 249, 218, b"user", b"assay", 0, -2),
        # Programs and rings in the kernel.
        ("bpf", 321, 280, 0, bpf_map, 128),
        ("io_uring_setup", 425, 425, 8, bytes(120)),
        ("io_uring_enter", 426, 426, -1, 1),
        ("io_uring_register", 427, 427, -1),
        ("io_setup", 206, 0, 1, contexts),
        ("userfaultfd", 323, 282, 1),
        ("perf_event_open", 298, 241, perf, 0, -1, -1),
        ("fanotify_init", 300, 262),
        ("memfd_secret", 447, 447),
        ("seccomp", 317, 277, 2, 0, struct.pack("I", 0x7FFF0000)),
        # Other processes.
        ("ptrace_seize", 101, 117, 0x4206, ITSELF),
        ("ptrace_traceme", 101, 117, 0),
        ("process_vm_readv", 310, 270, ITSELF, vectors[0], 1, vectors[1], 1),
        ("process_vm_writev", 311, 271, ITSELF, vectors[0], 1, vectors[1], 1),
        ("process_madvise", 440, 440, pidfd, vectors[0], 1, 20),
        ("pidfd_getfd", 438, 438, pidfd, 1),
        ("kcmp", 312, 272, ITSELF, ITSELF, 0, 1, 1),
        # Namespaces and mounts.
        ("unshare_user", 272, 97, NEW_USER),
        ("unshare_net", 272, 97, NEW_NET),
        ("clone_user", 56, 220, NEW_USER | signal.SIGCHLD),
        ("clone3_user", 435, 435, clone_args, 64),
        ("setns", 308, 268, net, NEW_NET),
        ("mount", 165, 40, b"x", b"/tmp", b"tmpfs"),
        ("umount2", 166, 39, b"/proc", 2),
        ("pivot_root", 155, 41, b"/tmp", b"/tmp"),
        ("chroot", 161, 51, b"/"),
        ("fsopen", 430, 430, b"tmpfs"),
        ("open_tree", 428, 428, AT_FDCWD, b"/", 1),
        ("move_mount", 429, 429, root, b"", AT_FDCWD, b"/tmp", 4),
        ("mount_setattr", 442, 442, AT_FDCWD, b"/tmp", 0, bytes(32), 32),
        ("open_by_handle_at", 304, 265, root, handle),
        ("name_to_handle_at", 303, 264, AT_FDCWD, b"/", name_to_handle, struct.pack("i", 0)),
        # The host.
        ("kexec_load", 246, 104),
        ("kexec_file_load", 320, 294, root, -1, 1, b"", 4),
        ("init_module", 175, 105, memory, 4096, b""),
        ("finit_module", 313, 273, scratch, b""),
        ("delete_module", 176, 106, b"assay"),
        ("reboot", 169, 142, 0xFEE1DEAD, 672274793, 0),
        ("swapon", 167, 224, b"/tmp/scratch"),
        ("syslog", 103, 116, 3, memory, 4096),
        ("acct", 163, 89),
        ("quotactl", 179, 60, 0x80000100, b"/", 0, memory),
        ("sethostname", 170, 161, b"other", 5),
        ("setdomainname", 171, 162, b"other", 5),
        ("vhangup", 153, 58),
        ("set_mempolicy", 238, 237),
        ("move_pages", 279, 239, ITSELF),
        ("iopl", 172, None, 3),
        ("ioperm", 173, None, 0x80, 1, 1),
        ("modify_ldt", 154, None, 0, memory, 16),
        ("personality_without_random_addresses", 135, 92, 0x0040000),
        # What lasts beyond a call, or costs others time.
        ("mq_open", 240, 180, b"assay", os.O_RDWR | os.O_CREAT, 0o600),
        ("msgget", 68, 186, 0, 0o1600),
        ("sync", 162, 81),
        ("syncfs", 306, 267, scratch),
        ("splice", 275, 76, scratch, struct.pack("q", 0), writing, 0, 1),
        ("vmsplice", 278, 75, writing, vectors[0], 1),
        ("remap_file_pages", 216, 234, memory & ~4095, 4096),
        ("setxattr", 188, 5, b"/tmp/scratch", b"user.assay", b"x", 1),
        # Sockets that no network namespace holds, and others that nobody needs.
        ("socket_vsock", 41, 198, 40, socket.SOCK_STREAM, 0),
        ("socket_alg", 41, 198, 38, socket.SOCK_SEQPACKET, 0),
        ("socket_packet", 41, 198, 17, socket.SOCK_RAW, 0),
        ("socket_xdp", 41, 198, 44, socket.SOCK_RAW, 0),
        ("socket_raw", 41, 198, socket.AF_INET, socket.SOCK_RAW, 1),
        ("socket_netfilter", 41, 198, 16, socket.SOCK_RAW, 12),
        ("socket_uevent", 41, 198, 16, socket.SOCK_RAW, 15),
    ]


def old_entry():
    """Asks for its process id by the 32-bit way into the kernel."""
    code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    code.write(bytes.fromhex("b814000000cd80c3"))
    entry = ctypes.c_char.from_buffer(code)
    result = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(entry))()
    return "done" if result > 0 else errno.errorcode.get(-result, str(result))


def attempt(what):
    """`done`, or the name of the error that it raised."""
    try:
        what()
        return "done"
    except socket.gaierror:
        return "unresolved"
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error))


def connect(family, kind, to):
    with socket.socket(family, kind) as made:
        made.settimeout(2)
        made.connect(to)


def loopback():
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname(), 2).close()


def first_byte(path):
    with open(path, "rb") as file:
        if not file.read(1):
            raise OSError(errno.ENODATA, path)


def write(path, content=b"0"):
    with open(path, "wb", 0) as file:
        file.write(content)


def main():
    if PLACE is None:
        told("unknown", "architecture", platform.machine())
        return
    for name, *rest in tries():
        number, arguments = rest[PLACE], rest[2:]
        if number is not None:
            told("syscall", name, in_child(lambda: call(number, *arguments)))
    told("syscall", "ptrace_attach", in_child(lambda: attached((101, 117)[PLACE])))
    if platform.machine() == "x86_64":
        told("entry", "32-bit", in_child(old_entry))
    tcp, udp = socket.SOCK_STREAM, socket.SOCK_DGRAM
    for host in ("1.1.1.1", "169.254.169.254", "172.17.0.1"):
        told("network", host, attempt(lambda: connect(socket.AF_INET, tcp, (host, 80))))
    told("network", "udp", attempt(lambda: connect(socket.AF_INET, udp, ("8.8.8.8", 53))))
    told("network", "fd00:ec2::254",
         attempt(lambda: connect(socket.AF_INET6, tcp, ("fd00:ec2::254", 80))))
    told("network", "name", attempt(lambda: socket.getaddrinfo("debian.org", 80)))
    for path in ("/var/run/docker.sock", "/run/docker.sock", "/run/containerd/containerd.sock"):
        told("engine", path, attempt(lambda: connect(socket.AF_UNIX, tcp, path)))
    for path in ("/proc/kcore", "/dev/mem", "/dev/kmsg", "/dev/vda", "/dev/sda", "/proc/keys"):
        told("read", path, attempt(lambda: first_byte(path)))
    for path in ("/proc/sysrq-trigger", "/proc/sys/kernel/core_pattern", "/sys/fs/cgroup/x"):
        told("write", path, attempt(lambda: write(path)))
    # Never to be killed when the host runs out of memory.
    told("write", "oom", attempt(lambda: write("/proc/self/oom_score_adj", b"-1000")))
    # What has to work, so that a try that fails says something.
    told("needed", "getpid", in_child(lambda: call((39, 172)[PLACE])))
    told("needed", "personality", in_child(lambda: call((135, 92)[PLACE], 0xFFFFFFFF)))
    told("needed", "loopback", attempt(loopback))
    told("needed", "interfaces", attempt(socket.if_nameindex))
    told("needed", "pair", attempt(lambda: [end.close() for end in socket.socketpair()]))
    told("needed", "memfd", attempt(lambda: os.close(os.memfd_create("assay"))))


main()
