"""Forked kernels: a Jupyter kernel provisioner that starts kernels from a template process.

A chapter that the project itself runs finds TensorFlow (or JAX), SciPy and Matplotlib already
imported: the first kernel of a process starts a template that imports them
(:mod:`.template`), and this and every further kernel is a fork of it. What the environment decides
at import (backend, threads, flags) is fixed for each template, so kernels with other settings get a
template of their own. Its kernels use one thread, as every profile but ``full`` does.

Only who knows that a notebook may find packages imported asks for it: KEXIAN_PREIMPORT names them,
separated by spaces or commas, and :func:`preimports` what a chapter needs. For everybody else
(papermill, nbval, Jupyter Book and JupyterLab, which use the kernel ``kexian`` by its name) nothing
is imported before the first cell, which may still decide what packages find.

Where a fork is not to be had (other systems than Linux, ``KEXIAN_FORK=0``, ``KEXIAN_THREADS`` other
than 1), or something goes wrong, the kernel is started cold, the usual way; if something went
wrong, with a warning. Cold or forked, it writes neither to the user's IPython history nor new
folders into the home directory.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import warnings
import weakref
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.provisioning import LocalProvisioner

from kexian_utils import _leftovers
from kexian_utils.experiment.backend import thread_variables
from kexian_utils.runner.execution import template
from kexian_utils.runner.execution.homes import own_homes

KERNEL = "kexian"
START_SECONDS = 180.0  # for the imports of a template, on a busy machine
ANSWER_SECONDS = 30.0
ATTEMPTS = 3  # templates that may fail, for each setting, before kernels are cold without trying

# What every kernel of the book needs. They are imported as a kernel would import them.
_COMMON = (
    "ipykernel.kernelapp",
    "ipykernel.ipkernel",
    "matplotlib.pyplot",  # its backend is for a kernel to import: it looks for the shell
    "IPython.display",
    "scipy.linalg",
    "scipy.optimize",
    "scipy.special",
    "scipy.stats",
    "scipy.sparse.csgraph",
    "sklearn.datasets",
)
_FRAMEWORKS = {
    "tensorflow": ("tensorflow", "keras"),
    "jax": ("jax", "keras", "tensorflow"),  # Keras sets TensorFlow's seed on every backend
    "torch": ("torch", "keras", "tensorflow"),
}
_PREIMPORT = "KEXIAN_PREIMPORT"
_INLINE = "module://matplotlib_inline.backend_inline"

# The environment variables that are read while packages are imported, by the start of their names.
_READ_AT_IMPORT = (
    *("PYTHON", "KERAS_", "TF_", "XLA_", "JAX_", "CUDA_", "LD_", "MPL", "NPROC", "LC_", "LANG"),
    *("OMP_", "OPENBLAS_", "MKL_", "VECLIB_", "NUMEXPR_", "KMP_", "TORCH_", "PYTORCH_", "IPYTHON"),
    *("NUMPY_", "NPY_", "SCIPY_", "SKLEARN_", "JOBLIB_", "ABSL_", "GRPC_"),
    *("VIRTUAL_ENV", "HOME", "XDG_", _PREIMPORT),
)
_MENTIONS = re.compile(rf"\b(?:{'|'.join(_READ_AT_IMPORT)})[A-Z0-9_]*\b")
_NO_HISTORY = "--HistoryManager.hist_file=:memory:"


class TemplateError(RuntimeError):
    """The template did not start, or did not fork."""


class ForkedKernel:
    """A kernel that a template has forked, seen from the process that asked for it.

    Attributes:
        pid: of the kernel, which leads a process group of its own.
        usage: CPU seconds and peak memory in MiB, once it has ended and the template told.
    """

    def __init__(self, connection: socket.socket, pid: int) -> None:
        self.pid = pid
        self.usage: dict[str, float] = {}
        self._connection: socket.socket | None = connection
        self._code: int | None = None
        self._buffer = b""

    def poll(self) -> int | None:
        """The exit code, or None while it runs; -9 if the template could not tell it."""
        if self._connection is None:
            return self._code
        with contextlib.suppress(BlockingIOError):
            data = b""
            try:
                data = self._connection.recv(4096, socket.MSG_DONTWAIT)
            except ConnectionError:
                pass
            self._buffer += data
            if b"\n" in self._buffer:
                message = json.loads(self._buffer.split(b"\n")[0])
                self._code = int(message.pop("exit"))
                self.usage = message
                self.close()
            elif not data:  # template and kernel are both gone
                self._code = -signal.SIGKILL
                self.close()
        return self._code

    def send_signal(self, signum: int) -> None:
        """Send a signal to the kernel's process group, if it still runs."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signum)

    def close(self) -> None:
        """Let go of it; if it still runs, it ends."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
            if self._code is None:
                self._code = -signal.SIGKILL


def preimports(backend: str) -> str:
    """What KEXIAN_PREIMPORT has to name for chapters, unless it is set already."""
    return os.environ.get(_PREIMPORT, " ".join((*_COMMON, *_FRAMEWORKS[backend])))


def sets_what_imports_read(sources: Iterable[str]) -> bool:
    """Whether code names an environment variable that packages read while they are imported.

    Such a notebook needs a cold kernel: in a forked one the packages have read it already.

    Args:
        sources: of the code cells.
    """
    return any(_MENTIONS.search(source) for source in sources)


def _short_folder() -> Path:
    folder = _leftovers.new_folder("kexian-")
    if len(str(folder)) > 80:  # a socket's path must be short
        folder.rmdir()
        folder = _leftovers.new_folder("kexian-", Path("/tmp"))
    return folder


class TemplateHandle:
    """A running template process.

    Args:
        environment: in which it imports; kernels may differ in what is not read at import.

    Raises:
        TemplateError: it did not get ready.
    """

    def __init__(self, environment: dict[str, str]) -> None:
        self.folder = _short_folder()
        self.socket = str(self.folder / "socket")
        self.log = self.folder / "log"
        modules = environment.get(_PREIMPORT, "").replace(",", " ").split()
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, template.__file__, self.socket, *modules],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                # Read once, at import. Set as experiment.backend and ipykernel do in cold kernels.
                env={"TF_CPP_MIN_LOG_LEVEL": "2", "MPLBACKEND": _INLINE, **environment},
                start_new_session=True,
            )
        timer = threading.Timer(START_SECONDS, self.process.kill)
        timer.daemon = True
        timer.start()
        try:
            ready = self.process.stdout.readline().split()
        finally:
            timer.cancel()
        if ready[:1] != [b"ready"]:
            said = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            self.stop()
            raise TemplateError(f"it did not start ({said[-1] if said else 'no reason given'})")

    @property
    def alive(self) -> bool:
        """Whether the process still runs."""
        return self.process.poll() is None

    def fork(
        self, argv: list[str], cwd: str, environment: dict[str, str], output: int, error: int
    ) -> ForkedKernel:
        """Fork a kernel.

        Args:
            argv: the command of the kernel, as it would be started cold.
            cwd: its folder.
            environment: its environment.
            output: file descriptor of its standard output.
            error: file descriptor of its standard error.

        Raises:
            TemplateError: the template is gone or refuses.
        """
        request = json.dumps({"argv": argv, "cwd": cwd, "env": environment}).encode() + b"\n"
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.settimeout(ANSWER_SECONDS)
            connection.connect(self.socket)
            socket.send_fds(connection, [request[:1]], [output, error])
            connection.sendall(request[1:])
            answer = b""
            while not answer.endswith(b"\n"):
                data = connection.recv(4096)
                if not data:
                    raise TemplateError("it closed the connection")
                answer += data
            message = json.loads(answer.split(b"\n")[0])
            if "pid" not in message:
                raise TemplateError(message.get("error", "it gave no reason"))
            connection.settimeout(None)
            return ForkedKernel(connection, message["pid"])
        except (OSError, ValueError) as problem:
            connection.close()
            raise TemplateError(f"it does not answer ({problem})") from problem
        except TemplateError:
            connection.close()
            raise

    def stop(self) -> None:
        """End it, and with it all its kernels."""
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        shutil.rmtree(self.folder, ignore_errors=True)


class _Templates:
    """The templates of this process, one for each setting of what is read at import."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.running: dict[tuple, TemplateHandle] = {}
        self.failures: dict[tuple, int] = {}

    def get(self, environment: dict[str, str]) -> TemplateHandle:
        """A template for kernels with this environment, started if there is none."""
        environment = environment | thread_variables(1)
        environment = {k: v for k, v in environment.items() if not k.startswith("JPY_")}
        key = tuple(sorted((k, v) for k, v in environment.items() if k.startswith(_READ_AT_IMPORT)))
        with self.lock:
            found = self.running.get(key)
            if found is not None and found.alive:
                return found
            if found is not None:
                self.running.pop(key).stop()
                self.failures[key] = self.failures.get(key, 0) + 1
            if self.failures.get(key, 0) >= ATTEMPTS:
                raise TemplateError(f"it ended {ATTEMPTS} times")
            try:
                self.running[key] = TemplateHandle(environment)
            except TemplateError:
                self.failures[key] = ATTEMPTS
                raise
            return self.running[key]

    def stop(self) -> None:
        """End all templates and their kernels."""
        with self.lock:
            for found in self.running.values():
                found.stop()
            self.running.clear()


_templates = _Templates()
_kernels: weakref.WeakSet[ForkProvisioner] = weakref.WeakSet()
atexit.register(_templates.stop)
if hasattr(os, "register_at_fork"):
    # A forked child of this process (multiprocessing) does not own its templates.
    os.register_at_fork(after_in_child=lambda: _templates.running.clear())


def forks(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether kernels with this environment are forked, unless something goes wrong."""
    return (
        sys.platform == "linux"
        and environment.get("KEXIAN_FORK", "1") != "0"
        and environment.get("KEXIAN_THREADS", "1") == "1"
    )


def end_kernels() -> None:
    """Kill every kernel that this process has started through the provisioner."""
    for kernel in list(_kernels):
        kernel.kill_now()
    _templates.stop()


def usage() -> list[dict[str, float]]:
    """CPU seconds and peak MiB of each forked kernel that has ended, for benchmarks."""
    return list(_usage)


_usage: list[dict[str, float]] = []


class ForkProvisioner(LocalProvisioner):
    """Starts kernels from a template, and cold where that is not possible."""

    forked: ForkedKernel | None = None
    sockets: Path | None = None

    async def pre_launch(self, **kwargs: Any) -> dict[str, Any]:
        """Let the kernel listen on sockets in a folder of its own instead of on ports.

        Ports are looked for before the kernel opens them; where many kernels start, another
        process may take one in between, and the kernel dies.
        """
        manager = self.parent
        if sys.platform != "win32" and manager.transport == "tcp" and not manager.shell_port:
            self.sockets = _short_folder()
            manager.transport, manager.ip = "ipc", str(self.sockets / "kernel")
            manager.cache_ports = False
        return await super().pre_launch(**kwargs)

    @property
    def has_process(self) -> bool:
        """Whether there is a kernel."""
        return self.forked is not None or super().has_process

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:
        """Fork a kernel; start it cold if that fails (with a warning) or is not wanted."""
        _kernels.add(self)
        environment = own_homes() | (kwargs.get("env") or os.environ)
        kwargs["env"] = environment
        if not any(word.startswith(_NO_HISTORY.partition("=")[0]) for word in cmd):
            cmd = [*cmd, _NO_HISTORY]
        # Matplotlib reads a file of that name in the kernel's folder, too, when it is imported.
        settings = Path(kwargs.get("cwd") or os.getcwd(), "matplotlibrc")
        wanted = forks(environment) and environment.get(_PREIMPORT) and not settings.exists()
        if wanted and cmd[:3] == [sys.executable, *template.LAUNCHER]:
            loop = asyncio.get_running_loop()
            try:
                self.forked = await loop.run_in_executor(None, _fork, cmd, kwargs)
            except (TemplateError, OSError) as error:
                warnings.warn(
                    f"no forked kernel, because of its template: {error}. The kernel is started "
                    "cold, which takes longer and changes nothing else.",
                    stacklevel=2,
                )
            else:
                self.pid = self.pgid = self.forked.pid
                self.cwd = kwargs.get("cwd") or os.getcwd()
                return self.connection_info
        return await super().launch_kernel(cmd, **kwargs)

    async def poll(self) -> int | None:
        """The exit code, or None while the kernel runs."""
        if self.forked is None:
            return await super().poll()
        return self._forked_code()

    def _forked_code(self) -> int | None:
        code = self.forked.poll()
        if code is not None and self.forked.usage:
            _usage.append(self.forked.usage)
            self.forked.usage = {}
        return code

    async def wait(self) -> int | None:
        """Wait until the kernel has ended."""
        if self.forked is None:
            return await super().wait()
        while (code := self._forked_code()) is None:
            await asyncio.sleep(0.02)
        self.forked = None
        return code

    async def send_signal(self, signum: int) -> None:
        """Send a signal to the kernel and what it has started."""
        if self.forked is None:
            return await super().send_signal(signum)
        return self.forked.send_signal(signum)

    async def kill(self, restart: bool = False) -> None:
        """Kill the kernel."""
        if self.forked is None:
            return await super().kill(restart)
        return self.forked.send_signal(signal.SIGKILL)

    async def terminate(self, restart: bool = False) -> None:
        """Ask the kernel to end."""
        if self.forked is None:
            return await super().terminate(restart)
        return self.forked.send_signal(signal.SIGTERM)

    async def cleanup(self, restart: bool = False) -> None:
        """Let go of the kernel and remove its sockets."""
        if self.forked is not None:
            self.forked.close()
            self.forked = None
        _kernels.discard(self)
        if self.sockets is not None and not restart:
            shutil.rmtree(self.sockets, ignore_errors=True)
        await super().cleanup(restart)

    def kill_now(self) -> None:
        """Kill the kernel, from any thread."""
        if self.forked is not None:
            self.forked.send_signal(signal.SIGKILL)
        elif self.process is not None:
            with contextlib.suppress(OSError):
                os.killpg(self.pgid, signal.SIGKILL) if self.pgid else self.process.kill()


def _fork(cmd: list[str], options: dict[str, Any]) -> ForkedKernel:
    environment = dict(options.get("env") or os.environ)
    with contextlib.ExitStack() as opened:
        streams = []
        for name, own in (("stdout", 1), ("stderr", 2)):
            wish = options.get(name)
            if wish is None:
                streams.append(own)
            elif wish == subprocess.DEVNULL:
                streams.append(opened.enter_context(open(os.devnull, "wb")).fileno())
            else:
                streams.append(wish if isinstance(wish, int) else wish.fileno())
        cwd = str(options.get("cwd") or os.getcwd())
        return _templates.get(environment).fork(cmd, cwd, environment, *streams)
