"""What has to be fixed before a framework is imported: backend, threads, precision, seeds."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from typing import Any

from kexian_utils.catalogue import BACKENDS

_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
    "NPROC",  # the thread pool of XLA's CPU client
)


def choose_backend(backend: str | None) -> str:
    """The backend to use: the argument, else KERAS_BACKEND, else TensorFlow.

    Raises:
        ValueError: unknown name.
        RuntimeError: Keras is already imported with another backend.
    """
    name = backend or os.environ.get("KERAS_BACKEND") or "tensorflow"
    if name not in BACKENDS:
        raise ValueError(
            f"unknown backend {name!r}; choose one of {', '.join(BACKENDS)} "
            "(argument `backend` or environment variable KERAS_BACKEND)."
        )
    if "keras" in sys.modules:
        current = sys.modules["keras"].backend.backend()
        if current != name:
            raise RuntimeError(
                f"Keras is already imported with the {current} backend, {name} was "
                "asked for. Restart the kernel and let experiment.start come before "
                "any `import keras`."
            )
    os.environ["KERAS_BACKEND"] = name
    return name


def thread_variables(threads: int) -> dict[str, str]:
    """The environment variables that limit the thread pools of a process to `threads` (from 1)."""
    variables = dict.fromkeys(_THREAD_VARIABLES, str(threads))
    if threads == 1:
        flags = ("--xla_cpu_multi_thread_eigen=false", "intra_op_parallelism_threads=1")
        present = os.environ.get("XLA_FLAGS", "")
        missing = [flag for flag in flags if flag.split("=")[0] not in present]
        variables["XLA_FLAGS"] = " ".join([present, *missing]).strip()
    return variables


def fix_threads(threads: int) -> None:
    """Limit every thread pool to `threads` (0: leave all cores in use).

    Thread count moves digits, so it is fixed before the frameworks are imported. For libraries
    that are already loaded, their pools are limited at run time.
    """
    if threads != 1 and os.environ.get("KEXIAN_FORKED"):
        warnings.warn(
            "this kernel is a fork of a process that has fixed NumPy to one thread; for more "
            "threads choose the kernel `python3`.",
            stacklevel=3,
        )
    if threads < 1:
        return
    os.environ.update(thread_variables(threads))
    if "numpy" in sys.modules:
        from threadpoolctl import threadpool_limits

        threadpool_limits(threads)


@contextlib.contextmanager
def without_chatter() -> Iterator[None]:
    """Keep what C++ code writes to the process's error stream; show it only if something fails.

    TensorFlow and XLA greet on that stream before any log level applies, and a notebook would
    store the greeting, with the machine's time of day, in its outputs.
    """
    with tempfile.TemporaryFile() as kept:
        sys.stderr.flush()
        before = os.dup(2)
        os.dup2(kept.fileno(), 2)
        try:
            yield
        except BaseException:
            kept.seek(0)
            os.write(before, kept.read())
            raise
        finally:
            os.dup2(before, 2)
            os.close(before)


def import_keras(name: str, threads: int) -> Any:
    """Import Keras on backend `name` quietly, with float64 available and no TF32.

    Raises:
        RuntimeError: the backend's package is not installed (the remedy is named).
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # What tqdm says under keras_hub where its notebook bar lacks ipywidgets. No bar is meant.
    warnings.filterwarnings("ignore", message="IProgress not found")
    remedies = {
        "tensorflow": "pip install tensorflow",
        "jax": "pip install jax",
        "torch": "pip install torch (its CPU build is enough)",
    }
    try:
        with without_chatter():
            if name == "tensorflow":
                _prepare_tensorflow(threads)
            elif name == "jax":
                _prepare_jax()
            else:
                _prepare_torch(threads)
            import keras
    except ModuleNotFoundError as error:
        raise RuntimeError(
            f"the {name} backend needs the package {error.name!r}, which is not "
            f"installed: {remedies[name]}, or choose another backend."
        ) from error
    return keras


def _prepare_tensorflow(threads: int) -> None:
    import tensorflow as tf

    try:
        if threads:
            tf.config.threading.set_intra_op_parallelism_threads(threads)
            tf.config.threading.set_inter_op_parallelism_threads(threads)
        for device in tf.config.list_physical_devices("GPU"):
            tf.config.experimental.set_memory_growth(device, True)
    except RuntimeError:
        if tf.config.threading.get_intra_op_parallelism_threads() != threads:
            warnings.warn(
                "TensorFlow was already running, so its thread count stays as it was and the last "
                "digits may differ; restart the kernel to fix it.",
                stacklevel=4,
            )
    tf.config.experimental.enable_tensor_float_32_execution(False)
    tf.get_logger().addFilter(_is_no_retracing)


def _is_no_retracing(record: logging.LogRecord) -> bool:
    """TensorFlow adds up the traces of all models of a process: several that are trained one after
    the other look to it like one that is traced again and again."""
    return "triggered tf.function retracing" not in record.getMessage()


def _prepare_jax() -> None:
    import jax

    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_default_matmul_precision", "highest")


def _prepare_torch(threads: int) -> None:
    import torch

    if threads:
        torch.set_num_threads(threads)
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False


def gpu_available(name: str) -> bool:
    """Whether the backend sees a GPU."""
    if name == "tensorflow":
        import tensorflow as tf

        return bool(tf.config.list_physical_devices("GPU"))
    if name == "jax":
        import jax

        return any(device.platform == "gpu" for device in jax.devices())
    import torch

    return torch.cuda.is_available()
