"""The template process: it imports the heavy packages once and forks a kernel for each request.

It is started by :mod:`.provisioner` as a script, in the environment that its
kernels are to have, listens on a Unix socket and ends when the process that started it does. It
imports only: an operation would start threads of TensorFlow, and a fork copies no threads.

A request is one line of JSON, ``{"argv": [...], "cwd": "...", "env": {...}}``, whose first byte
carries the file descriptors of the kernel's standard output and error. The answers are lines, too:
``{"pid": ...}`` or ``{"error": "..."}``, and when the kernel has ended
``{"exit": ..., "cpu_seconds": ..., "peak_mib": ...}``. Until then the connection stays open, held
by both the template and the kernel: the kernel ends when the other side closes it, and the other
side sees it closed when the kernel has ended, even if the template was killed in the meantime.
"""

import contextlib
import gc
import importlib
import json
import os
import selectors
import shutil
import signal
import socket
import sys
import time
import traceback
from typing import Any, NoReturn

REQUEST_LIMIT = 1 << 20  # bytes
REQUEST_SECONDS = 5.0  # for a request to arrive whole
LAUNCHER = ["-m", "ipykernel_launcher"]


class Malformed(ValueError):
    """A request that the template does not understand."""


def read_request(line: bytes) -> tuple[list[str], str, dict[str, str]]:
    """Arguments of the kernel, its folder and its environment.

    Raises:
        Malformed: it is no such request.
    """
    try:
        request = json.loads(line)
        argv, cwd, environment = request["argv"], request["cwd"], request["env"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise Malformed(f"no request: {type(error).__name__}") from error
    if not isinstance(argv, list) or not all(isinstance(word, str) for word in argv):
        raise Malformed("argv must be a list of strings")
    if argv[1:3] != LAUNCHER:
        raise Malformed("argv must call ipykernel_launcher")
    if not isinstance(cwd, str) or not os.path.isdir(cwd):
        raise Malformed("cwd must be a folder")
    if not isinstance(environment, dict) or not all(
        isinstance(value, str) for value in environment.values()
    ):
        raise Malformed("env must be an object of strings")
    if any(not name or "=" in name or "\0" in name + v for name, v in environment.items()):
        raise Malformed("env must hold names and values of environment variables")
    return argv[3:], cwd, environment


def threads() -> int:
    """The number of threads of this process (1 where the system does not say)."""
    try:
        return len(os.listdir("/proc/self/task"))
    except OSError:
        return 1


class Pending:
    """A connection whose request has not arrived whole."""

    def __init__(self) -> None:
        self.buffer = b""
        self.descriptors: list[int] = []
        self.deadline = time.monotonic() + REQUEST_SECONDS

    def close(self) -> None:
        """Close the file descriptors that came with it."""
        for descriptor in self.descriptors:
            os.close(descriptor)
        self.descriptors = []


class Template:
    """The loop of the template process.

    Args:
        path: of the socket.
        owner: file descriptor that reads as ended when the owner has ended.
    """

    def __init__(self, path: str, owner: int) -> None:
        self.owner = owner  # standard input; a kernel puts /dev/null in its place
        self.kernels: dict[int, socket.socket] = {}
        self.pending: dict[socket.socket, Pending] = {}
        self.selector = selectors.DefaultSelector()
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen(64)
        self.listener.setblocking(False)
        self.wake, wake = socket.socketpair()
        for end in (self.wake, wake):
            end.setblocking(False)
        self.wake_end = wake
        signal.set_wakeup_fd(wake.fileno())
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for source in (self.listener, self.wake, self.owner):
            self.selector.register(source, selectors.EVENT_READ)

    def serve(self) -> None:
        """Answer requests until the owner has ended, then end all kernels."""
        while True:
            for key, _ in self.selector.select(1.0 if self.pending else None):
                source = key.fileobj
                if source == self.owner:
                    if not os.read(self.owner, 4096):
                        return self.end_kernels()
                elif source is self.listener:
                    self.accept()
                elif source is self.wake:
                    with contextlib.suppress(BlockingIOError):
                        self.wake.recv(4096)
                elif source in self.pending:
                    self.receive(source)
                else:
                    self.client_gone(source)
            self.reap()
            for connection, pending in list(self.pending.items()):
                if time.monotonic() > pending.deadline:
                    self.refuse(connection, "the request did not arrive whole")

    def accept(self) -> None:
        """Take a new connection."""
        with contextlib.suppress(OSError):
            connection, _ = self.listener.accept()
            connection.setblocking(False)
            self.pending[connection] = Pending()
            self.selector.register(connection, selectors.EVENT_READ)

    def receive(self, connection: socket.socket) -> None:
        """Read what has arrived of a request, and start the kernel when it is whole."""
        pending = self.pending[connection]
        try:
            data, descriptors, _, _ = socket.recv_fds(connection, 1 << 16, 2)
        except BlockingIOError:
            return
        except OSError:
            return self.drop(connection)
        pending.buffer += data
        pending.descriptors += descriptors
        if b"\n" in data:
            self.start(connection, pending)
        elif not data:
            self.drop(connection)
        elif len(pending.buffer) > REQUEST_LIMIT:
            self.refuse(connection, "the request is too long")

    def start(self, connection: socket.socket, pending: Pending) -> None:
        """Fork the kernel that a request asks for, or say why not."""
        try:
            argv, cwd, environment = read_request(pending.buffer.split(b"\n")[0])
            if len(pending.descriptors) != 2:
                raise Malformed("it takes two file descriptors")
            if threads() > 1:
                raise Malformed(f"the template has {threads()} threads, so it cannot be forked")
            pid = os.fork()
        except (Malformed, OSError) as error:
            return self.refuse(connection, str(error))
        if pid == 0:
            self.become_kernel(connection, pending, argv, cwd, environment)
        with contextlib.suppress(OSError):  # the kernel does the same: whoever comes first
            os.setpgid(pid, pid)
        self.pending.pop(connection).close()
        self.kernels[pid] = connection
        self.answer(connection, {"pid": pid})

    def become_kernel(
        self,
        connection: socket.socket,
        pending: Pending,
        argv: list[str],
        cwd: str,
        environment: dict[str, str],
    ) -> NoReturn:
        """In the forked process: let go of what is the template's, and be the kernel."""
        code = 1
        try:
            os.setpgid(0, 0)
            for signum in (signal.SIGCHLD, signal.SIGTERM):
                signal.signal(signum, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            signal.set_wakeup_fd(-1)
            nothing = os.open(os.devnull, os.O_RDONLY)
            for target, source in enumerate((nothing, *pending.descriptors)):
                os.dup2(source, target)
            os.close(nothing)
            self.close_all_but(connection)
            code = run_kernel(connection, argv, cwd, environment)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)

    def close_all_but(self, connection: socket.socket) -> None:
        """In the kernel: no hold on other connections, whose ends tell who has ended."""
        self.selector.close()
        for other in (self.listener, self.wake, self.wake_end, *self.kernels.values()):
            other.close()
        for other, pending in self.pending.items():
            pending.close()
            if other is not connection:
                other.close()

    def answer(self, connection: socket.socket, message: dict) -> None:
        """Send a line, if the other side still listens."""
        with contextlib.suppress(OSError):
            connection.send(json.dumps(message).encode() + b"\n")

    def refuse(self, connection: socket.socket, reason: str) -> None:
        """Say why there is no kernel, and let go of the connection."""
        self.answer(connection, {"error": reason})
        self.drop(connection)

    def drop(self, connection: socket.socket) -> None:
        """Let go of a connection that has no kernel."""
        if pending := self.pending.pop(connection, None):
            pending.close()
        self.selector.unregister(connection)
        connection.close()

    def client_gone(self, connection: socket.socket) -> None:
        """Whoever asked for a kernel has closed the connection: end the kernel."""
        with contextlib.suppress(OSError):
            if connection.recv(4096):
                return
        self.selector.unregister(connection)
        for pid, other in self.kernels.items():
            if other is connection:
                kill_group(pid)

    def reap(self) -> None:
        """Tell those who asked for them which kernels have ended, and how."""
        for pid in list(self.kernels):
            done, status, usage = os.wait4(pid, os.WNOHANG)
            if done:
                connection = self.kernels.pop(pid)
                message = {
                    "exit": os.waitstatus_to_exitcode(status),
                    "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 3),
                    "peak_mib": round(usage.ru_maxrss / 1024, 1),
                }
                self.answer(connection, message)
                with contextlib.suppress(KeyError, ValueError):
                    self.selector.unregister(connection)
                connection.close()

    def end_kernels(self) -> None:
        """Kill all kernels and wait until they have ended."""
        for pid in self.kernels:
            kill_group(pid)
        deadline = time.monotonic() + 5
        while self.kernels and time.monotonic() < deadline:
            self.reap()
            time.sleep(0.02)


def kill_group(pid: int) -> None:
    """Kill a kernel and what it has started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def run_kernel(connection: socket.socket, argv: list[str], cwd: str, environment: dict) -> int:
    """In the forked process: be the kernel, until it is shut down; the exit code."""
    import atexit
    import threading

    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment, KEXIAN_FORKED="1")
    if hasattr(time, "tzset"):
        time.tzset()
    if "numpy.random" in sys.modules:
        # All kernels would draw the same numbers from the global stream, and hide a missing seed.
        # (Python reseeds its own `random` after a fork.)
        sys.modules["numpy.random"].seed()
    sys.argv = [str(importlib.import_module(LAUNCHER[1]).__file__), *argv]
    threading.Thread(target=end_with, args=(connection,), daemon=True).start()
    from ipykernel import kernelapp

    code = 0
    try:
        # 1: somebody watches over this kernel, and it need not watch whether its parent lives.
        kernelapp.launch_new_instance([*argv, "--IPKernelApp.parent_handle=1"])
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    atexit._run_exitfuncs()
    for stream in (sys.__stdout__, sys.__stderr__):
        with contextlib.suppress(Exception):
            stream.flush()
    return code


def end_with(connection: socket.socket) -> None:
    """In a thread of the kernel: end it when the other side has closed the connection."""
    import select

    waiting = select.poll()
    waiting.register(connection, select.POLLIN)
    waiting.poll()
    kill_group(os.getpid())


class LateStream:
    """Stands for ``sys.stdout`` or ``sys.stderr`` while packages are imported.

    What keeps it (handlers of logging do) writes to the stream that a kernel puts in its place
    later, as it would if it were imported there.

    Args:
        name: of the stream in `sys`.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        now = getattr(sys, self._name)
        return getattr(getattr(sys, f"__{self._name}__") if now is self else now, attribute)

    def close(self) -> None:
        """Do nothing: absl's handler closes a stream that is none of Python's own."""


def main() -> None:
    """Import what is named on the command line, say so on standard output, serve."""
    del sys.path[0]  # the folder of this script
    path, *names = sys.argv[1:]
    for stream in ("stdout", "stderr"):
        setattr(sys, stream, LateStream(stream))
    for name in names:
        with contextlib.suppress(ModuleNotFoundError):  # then the notebook says what is missing
            importlib.import_module(name)
    sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__
    gc.collect()
    gc.freeze()  # the collector of a kernel leaves these pages shared
    template = Template(path, owner=0)
    print("ready", threads(), flush=True)
    template.serve()
    shutil.rmtree(os.path.dirname(path), ignore_errors=True)  # the owner may have been killed


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    main()
