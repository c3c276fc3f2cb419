"""Functions that want to harm, and how each must end.

``ends`` lists the outcomes that are right (ARCHITECTURE.md, "Outcomes"); more than one only where the machine decides.
``value`` is compared for those that end well: most of them count the ways that were open, which must be none.
"""

# ruff: noqa: E501 (texts that run inside keep their lines)

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import Any

OK = ("ok",)
USER = ("user_error",)
CRASHED = ("crashed",)
NOTHING = ("no_result",)
TIMEOUT = ("timeout",)
MEMORY = ("out_of_memory",)
LIMIT = ("limit_exceeded",)
ANY_VALUE = object()


@dataclass(frozen=True)
class Hostile:
    name: str
    body: str
    ends: tuple[str, ...]
    value: Any = ANY_VALUE

    @property
    def code(self) -> str:
        return PREFACE + "def udf():\n" + textwrap.indent(textwrap.dedent(self.body).strip(), "    ") + "\n"


PREFACE = """
import ctypes, errno, os, signal, socket, subprocess, sys, threading, time

def open_ways(*attempts):
    'How many of the attempts were not refused by the system.'
    found = []
    for number, attempt in enumerate(attempts):
        try:
            attempt()
            found.append(number)
        except (OSError, ValueError):
            pass
    return found

def spin(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass

"""

CRASHES = [
    Hostile("segmentation fault", "ctypes.string_at(0)", CRASHED),
    Hostile("write to address 1", "ctypes.memset(1, 0, 1)", CRASHED),
    Hostile("abort", "os.abort()", CRASHED),
    Hostile("kill -9 of itself", "os.kill(os.getpid(), signal.SIGKILL)", CRASHED),
    Hostile("SIGTERM to itself", "os.kill(os.getpid(), signal.SIGTERM)", CRASHED),
    Hostile("signal to its own group", "os.killpg(0, signal.SIGKILL)", CRASHED),
    Hostile("stack overflow in C", "x = ()\nfor _ in range(10**6): x = (x,)\nreturn hash(x)", CRASHED),
    Hostile("endless recursion with the limit taken away", "sys.setrecursionlimit(10**9)\ndef f(): return g()\ndef g(): return f()\n"
            "class A:\n    def __repr__(self): return repr(self)\nreturn repr(A())", ("crashed", "out_of_memory", "user_error")),
    Hostile("illegal instruction", """
        import mmap
        page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        page.write(b"\\x0f\\x0b" if os.uname().machine == "x86_64" else b"\\0\\0\\0\\0")
        ctypes.CFUNCTYPE(None)(ctypes.addressof(ctypes.c_char.from_buffer(page)))()
     """, CRASHED),
    Hostile("segmentation fault in a thread", "threading.Thread(target=ctypes.string_at, args=(0,)).start()\ntime.sleep(30)", CRASHED),
    Hostile("freed memory freed again", """
        libc = ctypes.CDLL(None)
        libc.malloc.restype = ctypes.c_void_p
        libc.free.argtypes = [ctypes.c_void_p]
        pointer = libc.malloc(4096 * 64)
        libc.free(pointer + 16)
    """, CRASHED),
]  # fmt: skip

ENDINGS = [
    Hostile("os._exit(0)", "os._exit(0)", NOTHING),
    Hostile("os._exit(137), which is not a kill", "os._exit(137)", NOTHING),
    Hostile("another program in its place", "os.execv('/bin/true', ['true'])", NOTHING),
    Hostile("exit from a thread", "threading.Thread(target=os._exit, args=(0,)).start()\ntime.sleep(30)", NOTHING),
    Hostile("exit by a system call", "ctypes.CDLL(None).syscall(231 if os.uname().machine == 'x86_64' else 94, 0)", NOTHING),
    Hostile("sys.exit(0)", "sys.exit(0)", (*USER, *NOTHING)),
    Hostile("a child that returns in its place", "os.fork()\nreturn 1", OK, 1),
    Hostile("a child that raises in its place", "if os.fork() == 0:\n    raise ValueError('child')\nreturn 1", OK, 1),
    Hostile("KeyboardInterrupt", "raise KeyboardInterrupt", USER),
    Hostile("an exception that cannot be shown", "class E(Exception):\n    def __str__(self): raise ValueError\n    __repr__ = __str__\nraise E",
            USER),
    Hostile("a base exception of its own", "class E(BaseException): pass\nraise E('x')", USER),
    Hostile("plain recursion", "def f(): return f()\nf()", USER),
]  # fmt: skip

HANGS = [
    Hostile("endless loop", "while True: pass", TIMEOUT),
    Hostile("endless sleep", "time.sleep(10**6)", TIMEOUT),
    Hostile("loop that ignores SIGTERM", "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nwhile True: pass", TIMEOUT),
    Hostile("all signals blocked", "signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())\ntime.sleep(10**6)", TIMEOUT),
    Hostile("exceptions swallowed for ever", "while True:\n    try:\n        time.sleep(1)\n    except BaseException:\n        pass", TIMEOUT),
    Hostile("loop in C that never comes back", "ctypes.CDLL(None).pause()\nwhile True: ctypes.CDLL(None).pause()", TIMEOUT),
    Hostile("regular expression without end", "import re\nre.match('(a+)+$', 'a' * 64 + 'b')", TIMEOUT),
    Hostile("stopped by itself", "os.kill(os.getpid(), signal.SIGSTOP)", TIMEOUT),
    Hostile("wait for a lock that nobody releases", "lock = threading.Lock()\nlock.acquire()\nlock.acquire()", TIMEOUT),
    Hostile("a result that never ends", "class L(list):\n    def __iter__(self):\n        while True: yield 1\nreturn L([1])",
            (*TIMEOUT, *OK, *MEMORY, "not_serialisable")),
]  # fmt: skip

FORKS = [
    Hostile("fork bomb", "while True:\n    try:\n        os.fork()\n    except OSError:\n        pass", (*TIMEOUT, *LIMIT)),
    Hostile("bomb of threads", """
        def breed():
            while True:
                try:
                    threading.Thread(target=breed).start()
                except RuntimeError:
                    pass
        breed()
    """, (*TIMEOUT, *LIMIT, *MEMORY, *CRASHED)),
    Hostile("daemons by double fork and setsid", """
        for _ in range(10):
            if os.fork() == 0:
                os.setsid()
                if os.fork() == 0:
                    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
                    time.sleep(600)
                os._exit(0)
            os.wait()
        return 1
    """, OK, 1),
    Hostile("children that hold the output open", "[subprocess.Popen(['sleep', '600']) for _ in range(5)]\nreturn 1", OK, 1),
    Hostile("kill of everybody", "os.kill(-1, signal.SIGKILL)\nreturn 1", (*OK, *USER)),
    Hostile("kill of the parent", "os.kill(os.getppid(), signal.SIGKILL)\nreturn 1", (*OK, *USER)),
    Hostile("kill of init", "os.kill(1, signal.SIGKILL)\nreturn 1", (*OK, *USER)),
    Hostile("kill of every number", """
        for pid in range(1, 70000):
            if pid != os.getpid():
                try:
                    os.kill(pid, signal.SIGKILL)
                except OSError:
                    pass
        return 1
    """, (*OK, *CRASHED), 1),  # the number of one of its own threads is its own
    Hostile("zombies", "for _ in range(40):\n    if os.fork() == 0: os._exit(0)\nreturn 1", OK, 1),
    Hostile("children stopped for ever", "[os.kill(subprocess.Popen(['sleep', '9']).pid, signal.SIGSTOP) for _ in range(5)]\nreturn 1", OK, 1),
    Hostile("vfork without end", "os.posix_spawn('/bin/sh', ['sh', '-c', 'while :; do sleep 600 & wait; done'], {})\nreturn 1", OK, 1),
]  # fmt: skip

MEMORIES = [
    Hostile("memory to the limit by touched pages", "x = []\nwhile True: x.append(bytearray(b'x') * (8 << 20)); time.sleep(0.002)", MEMORY),
    Hostile("one huge piece", "return len(bytearray(64 << 30))", MEMORY),
    Hostile("memory of children together", """
        for _ in range(8):
            if os.fork() == 0:
                x = bytearray(b"x") * (200 << 20)
                time.sleep(600)
        time.sleep(600)
    """, MEMORY),
    Hostile("memfd without a mapping", """
        files = []
        while True:
            files.append(os.memfd_create("x"))
            os.write(files[-1], bytes(16 << 20))
            time.sleep(0.005)
    """, MEMORY),
    Hostile("/dev/shm", """
        with open("/dev/shm/x", "wb") as file:
            while True:
                file.write(bytes(8 << 20))
                time.sleep(0.002)
    """, (*MEMORY, *USER)),
    Hostile("shared memory of System V", """
        libc = ctypes.CDLL(None, use_errno=True)
        libc.shmat.restype = ctypes.c_void_p
        for _ in range(64):
            number = libc.shmget(0, 64 << 20, 0o1600)
            if number < 0:
                raise OSError(ctypes.get_errno(), "shmget")
            ctypes.memset(libc.shmat(number, None, 0), 1, 64 << 20)
            time.sleep(0.02)
        time.sleep(5)
    """, (*MEMORY, *USER)),
    Hostile("a list that doubles", "x = [1]\nwhile True: x += x", MEMORY),
    Hostile("a text that doubles", "x = 'x'\nwhile True: x += x", MEMORY),
]  # fmt: skip

DISKS = [
    Hostile("sparse file of 100 GiB", "open('x', 'wb').truncate(100 << 30)", USER),
    Hostile("disk written to the limit", """
        number = 0
        while True:
            number += 1
            with open(f"x{number}", "wb") as file:
                file.write(os.urandom(1 << 20) * 8)
            time.sleep(0.01)
    """, LIMIT),
    Hostile("files that are deleted while open", """
        kept = []
        while True:
            kept.append(open("x", "wb"))
            os.unlink("x")
            kept[-1].write(bytes(8 << 20))
            time.sleep(0.01)
    """, LIMIT),
    Hostile("blocks reserved in deleted files", """
        kept = []
        while True:
            kept.append(open("x", "wb"))
            os.unlink("x")
            os.posix_fallocate(kept[-1].fileno(), 0, 8 << 20)
            time.sleep(0.02)
    """, LIMIT),
    Hostile("files written and removed again", """
        while True:
            with open("x", "wb") as file:
                file.write(bytes(8 << 20))
            os.unlink("x")
            time.sleep(0.01)
    """, LIMIT),
    Hostile("the shared folder filled", """
        number = 0
        try:
            while True:
                number += 1
                with open(f"/mount/filled-{os.getpid()}", "wb") as file:
                    file.write(bytes(8 << 20))
                time.sleep(0.01)
        finally:
            os.unlink(f"/mount/filled-{os.getpid()}")
    """, LIMIT),
    Hostile("children write, and nobody waits for them", """
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        while True:
            if os.fork() == 0:
                with open(f"x{os.getpid()}", "wb") as file:
                    file.write(bytes(8 << 20))
                os.unlink(f"x{os.getpid()}")
                time.sleep(0.2)
                os._exit(0)
            time.sleep(0.1)
    """, LIMIT),
    Hostile("a million files", "for number in range(10**6):\n    os.close(os.open(f'{number}', os.O_CREAT | os.O_WRONLY))", LIMIT),
    Hostile("a million folders within each other", "for number in range(10**6):\n    os.mkdir('d')\n    os.chdir('d')", (*LIMIT, *USER)),
    Hostile("every descriptor", "x = []\nwhile True: x.append(os.open('/dev/null', 0))", USER),
    Hostile("folders closed to itself", "os.makedirs('a/b')\nopen('a/b/c', 'w').close()\nos.chmod('a/b', 0)\nos.chmod('a', 0)\nreturn 1", OK, 1),
]  # fmt: skip

OUTPUTS = [
    Hostile("endless print without a newline", "while True: sys.stdout.write('x' * 65536)", TIMEOUT),
    Hostile("endless print by a child", "subprocess.run(['yes'])", TIMEOUT),
    Hostile("bytes that are no text", "os.write(1, bytes(range(256)) * 64)\nos.write(2, b'\\xff' * 4096)\nreturn 1", OK, 1),
    Hostile("a result over the limit", "return 'x' * (64 << 20)", ("result_too_large",)),
    Hostile("a result that holds itself", "x = []\nx.append(x)\nreturn x", ("not_serialisable", "user_error", "no_format")),
    Hostile("a result that nothing can carry", "return threading.Lock()", ("not_serialisable", "no_format")),
]  # fmt: skip

PROTOCOL = [
    Hostile("every descriptor closed", "os.closerange(0, 1024)\nreturn 1", (*CRASHED, *NOTHING)),
    Hostile("garbage on every descriptor", """
        for number in range(3, 64):
            try:
                os.write(number, b"garbage" * 1000)
            except OSError:
                pass
        return 1
    """, (*CRASHED, *NOTHING)),
    Hostile("a forged frame on every descriptor", """
        import struct
        text = b'{"outcome": "ok", "content_type": "application/json", "format": "json", "status": 200}'
        frame = struct.pack("<4sBBHIIQ", b"FUSD", 1, 17, 0, len(text), 1, 12345) + text + b"7"
        for number in range(3, 64):
            try:
                os.write(number, frame)
            except OSError:
                pass
        return 1
    """, (*CRASHED, *NOTHING)),
    Hostile("its own pipe over every descriptor", "read, write = os.pipe()\nfor number in range(64): os.dup2(write, number)\nreturn 1",
            (*CRASHED, *NOTHING, *TIMEOUT)),
    Hostile("half a frame and silence", """
        for number in range(3, 64):
            try:
                os.write(number, b"FUSD")
            except OSError:
                pass
        time.sleep(600)
    """, (*TIMEOUT, *CRASHED)),
    Hostile("the channel read dry", """
        def drain(number):
            try:
                while os.read(number, 65536): pass
            except OSError: pass
        for number in range(3, 16):
            threading.Thread(target=drain, args=(number,), daemon=True).start()
        time.sleep(0.2)
        return 1
    """, (*OK, *CRASHED, *NOTHING, *TIMEOUT)),
]  # fmt: skip

TRACES = [
    Hostile("threads left behind", "for _ in range(5): threading.Thread(target=time.sleep, args=(600,), daemon=True).start()\nreturn 1", OK, 1),
    Hostile("a thread that does not end", "threading.Thread(target=time.sleep, args=(600,)).start()\nreturn 1", OK, 1),
    Hostile("another working folder", "os.chdir('/')\nreturn 1", OK, 1),
    Hostile("another umask", "os.umask(0)\nreturn 1", OK, 1),
    Hostile("another environment", "os.environ.clear()\nos.environ['PLANTED'] = '1'\nos.environ['PATH'] = '/nowhere'\nreturn 1", OK, 1),
    Hostile("modules replaced", "sys.modules['json'] = None\nsys.modules['planted'] = sys\nsys.path.insert(0, '/planted')\nreturn 1", OK, 1),
    Hostile("built-ins replaced", "import builtins\nbuiltins.len = lambda x: 666\nbuiltins.open = None\nreturn 1", OK, 1),
    Hostile("functions of pandas replaced", "import pandas, json\npandas.DataFrame.to_json = json.dumps = lambda *a, **k: 'planted'\nreturn 1",
            (*OK, *USER, "not_serialisable")),
    Hostile("the platform's own modules replaced", """
        import fused._worker.runner, fused._worker.encode
        for module in list(sys.modules.values()):
            if getattr(module, "__name__", "").startswith("fused._worker"):
                for name in list(vars(module)):
                    if not name.startswith("__"):
                        setattr(module, name, lambda *a, **k: 666)
        return 1
    """, (*OK, *USER, *CRASHED, *NOTHING, *TIMEOUT, "not_serialisable")),
    Hostile("limits lowered", "import resource\nresource.setrlimit(resource.RLIMIT_NOFILE, (8, 8))\nreturn 1", (*OK, *CRASHED, *NOTHING)),
    Hostile("signal handlers and an alarm", "signal.signal(signal.SIGALRM, lambda *a: os._exit(9))\nsignal.setitimer(0, 0.3, 0.3)\nreturn 1", OK, 1),
    Hostile("an exit handler that hangs", "import atexit\natexit.register(time.sleep, 600)\nreturn 1", OK, 1),
    Hostile("a trace function that raises", "sys.settrace(lambda *a: 1 / 0)\nreturn 1", (*OK, *USER)),
    Hostile("files in every folder it may write", "for f in ('/tmp', '/dev/shm', '.'):\n    open(f + '/planted', 'w').write('planted')\nreturn 1",
            OK, 1),
]  # fmt: skip

# Each must find no way: the value is the list of ways that were open.
ESCAPES = [
    Hostile("mounts, roots and namespaces", """
        libc = ctypes.CDLL(None, use_errno=True)
        def call(result):
            if result != 0:
                raise OSError(ctypes.get_errno(), "")
        return open_ways(lambda: call(libc.unshare(0x10000000)), lambda: call(libc.unshare(0x20000)),
                         lambda: call(libc.mount(b"tmpfs", b"/tmp", b"tmpfs", 0, None)), lambda: os.chroot("/tmp"),
                         lambda: call(libc.umount2(b"/mount", 2)), lambda: call(libc.setns(0, 0)), lambda: os.setuid(12345))
    """, OK, []),
    Hostile("other processes by ptrace and their memory", """
        libc = ctypes.CDLL(None, use_errno=True)
        def attach():
            if libc.ptrace(16, os.getppid(), 0, 0) != 0:
                raise OSError(ctypes.get_errno(), "")
        return open_ways(attach, lambda: open(f"/proc/{os.getppid()}/mem", "rb").read(1), lambda: open("/proc/1/environ").read(1),
                         lambda: os.listdir("/proc/1/root"), lambda: os.listdir("/proc/1/cwd"), lambda: open("/proc/kcore", "rb").read(1))
    """, OK, []),
    Hostile("the kernel's switches", """
        def write(path):
            with open(path, "w") as file:
                file.write("0")
        return open_ways(*(lambda p=p: write(p) for p in (
            "/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger", "/proc/sys/vm/overcommit_memory", "/proc/sys/kernel/pid_max",
            "/sys/devices/system/cpu/cpu1/online", "/proc/self/oom_score_adj", "/proc/sys/net/ipv4/ip_forward")))
    """, OK, []),
    Hostile("the platform's own files", """
        import fused
        folder = os.path.dirname(fused.__file__)
        return open_ways(lambda: open(folder + "/planted.py", "w"), lambda: open(fused.__file__, "a"), lambda: open(os.__file__, "a"),
                         lambda: os.rename(folder, folder + "-old"), lambda: open(sys.executable, "ab"), lambda: open("/usr/bin/env", "ab"))
    """, OK, []),
    Hostile("the logs of other runs", """
        import glob
        logs = glob.glob("/mount/fused-system/logs/*/*/*/*/*")
        return open_ways(lambda: open("/mount/fused-system/logs/planted", "w"), lambda: os.rename("/mount/fused-system", "/mount/old"),
                         *(lambda path=path: open(path, "a") for path in logs[:20]), *(lambda path=path: os.unlink(path) for path in logs[:20]))
    """, OK, []),
    Hostile("raw and strange sockets", """
        return open_ways(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW), lambda: socket.socket(40, socket.SOCK_STREAM),
                         lambda: socket.socket(2, socket.SOCK_RAW, 1), lambda: socket.socket(38, 5), lambda: socket.socket(16, 3, 15))
    """, OK, []),
    Hostile("programs that grow rights", """
        def gained(command):
            got = subprocess.run(command, capture_output=True, text=True, input="")
            status = open("/proc/self/status").read()
            if got.returncode != 0 or "CapEff:\\t0000000000000000" in got.stdout:
                raise OSError(got.returncode, got.stderr)
        return open_ways(lambda: gained(["su", "-c", "cat /proc/self/status"]), lambda: gained(["sudo", "-n", "cat", "/proc/self/status"]),
                         lambda: gained(["mount", "-t", "tmpfs", "x", "/tmp"]), lambda: gained(["unshare", "-Ur", "cat", "/proc/self/status"]),
                         lambda: gained(["cat", "/proc/self/status"]))
    """, OK, []),
    Hostile("a core dump", """
        import resource
        resource.setrlimit(resource.RLIMIT_CORE, (1 << 30, 1 << 30))
    """, USER),
]  # fmt: skip

# What a function could look for a secret in. The text is put together inside, so that the function's own text is no find.
SEARCH = """
needle = bytes.fromhex(NEEDLE)[::-1]
found, looked = [], 0
def look(name, data):
    global looked
    looked += 1
    if needle in data:
        found.append(name)
def read(path, most=1 << 20):
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
            return file.read(most) or b""
    except OSError:
        return b""
"""
SEARCHES = {
    "environment and arguments": """
        for name in list(os.environ): look(name, (name + os.environ[name]).encode())
        for folder in os.listdir("/proc"):
            for name in ("environ", "cmdline", "auxv", "stack", "io"): look(folder + name, read(f"/proc/{folder}/{name}"))
    """,
    "its own memory": """
        own = os.getpid()
        for line in open("/proc/self/maps"):
            begin, end = (int(part, 16) for part in line.split()[0].split("-"))
            if "r" not in line.split()[1] or "[vvar" in line or end - begin > 1 << 28: continue
            try:
                with open("/proc/self/mem", "rb", 0) as file:
                    file.seek(begin)
                    data = file.read(end - begin)
            except (OSError, ValueError, OverflowError):
                continue
            looked += 1
            at = data.find(SERVER_ONLY.encode() + b"=")
            if at >= 0: found.append(line)
            del data
    """,
    "the data folder": """
        for path in PLACES:
            for form in (path, "/proc/self/root" + path, "/proc/1/root" + path, "/mount/.." + path): look(form, read(form))
        for folder, _, files in os.walk(DATA):
            for name in files: look(name, read(os.path.join(folder, name)))
    """,
    "links on the mount": """
        for number, path in enumerate(PLACES):
            link = f"/mount/link{number}"
            for call in (os.symlink, os.link):
                try: call(path, link)
                except OSError: continue
                look(link, read(link))
                os.unlink(link)
    """,
    "descriptors and their folders": """
        for number in range(1024):
            for tail in ("", "/..", "/../token", "/../../token", "/../../../token"):
                try: handle = os.open(f"/proc/self/fd/{number}{tail}", os.O_RDONLY | os.O_NONBLOCK)
                except OSError: continue
                try: look(f"{number}{tail}", os.read(handle, 1 << 16))
                except OSError: pass
                os.close(handle)
    """,
    "all of /tmp, /mount, /dev and /etc": """
        for top in ("/tmp", "/var", "/mount", "/dev", "/etc", "/root", "/home", "/run", "/srv", "/opt"):
            for folder, folders, files in os.walk(top):
                if folder.startswith((sys.prefix, sys.base_prefix)): folders[:] = files = []
                for name in files:
                    path = os.path.join(folder, name)
                    if os.path.isfile(path) and not path.endswith("udf.json"): look(path, read(path))
    """,
    "sockets without a file": """
        for line in open("/proc/net/unix"):
            name = line.split()[-1]
            if name.startswith("@"):
                with socket.socket(socket.AF_UNIX) as one:
                    try: one.connect(chr(0) + name[1:])
                    except OSError: continue
                    found.append(name)
    """,
    "the server's own port without a token": """
        import http.client
        import fused
        for target in ("/health", "/metrics", "/server/v1/user/self", "/api/v1/functions", "/", "/../../token", "/mount/../token"):
            try:
                link = http.client.HTTPConnection("127.0.0.1", PORT, timeout=5)
                link.request("GET", target)
                look(target, link.getresponse().read())
            except OSError:
                pass
    """,
}

ALL = [*CRASHES, *ENDINGS, *HANGS, *FORKS, *MEMORIES, *DISKS, *OUTPUTS, *PROTOCOL, *TRACES, *ESCAPES]
