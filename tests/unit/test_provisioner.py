"""Forked kernels: what a kernel must do, and what must not bring the template down."""

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
import warnings
from pathlib import Path

import nbformat
import pytest
from jupyter_client.manager import KernelManager

from kexian_utils.runner.execution import provisioner, template

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="kernels are forked on Linux only"),
    pytest.mark.in_turn("kexian_utils/runner/execution"),
]

LAUNCH = [sys.executable, *template.LAUNCHER]


@pytest.fixture(autouse=True)
def light(monkeypatch):
    """A template without a framework starts in a second or two."""
    monkeypatch.setenv("KEXIAN_PREIMPORT", "ipykernel.kernelapp, matplotlib.pyplot, scipy.linalg")
    for name in ("KEXIAN_FORK", "KEXIAN_THREADS"):
        monkeypatch.delenv(name, raising=False)


@contextlib.contextmanager
def kernel(**options):
    manager = KernelManager(kernel_name=provisioner.KERNEL)
    manager.start_kernel(extra_arguments=["--log-level=50"], **options)
    client = manager.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=60)
        yield manager, client
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def say(client, code):
    """What a kernel prints when it runs the code."""
    said = []

    def hear(message):
        if message["msg_type"] in ("stream", "error"):
            content = message["content"]
            said.append(content.get("text") or content["ename"])

    client.execute_interactive(code, timeout=60, output_hook=hear)
    return "".join(said).strip()


def the_template():
    return provisioner._templates.get(dict(os.environ))


def gone(pid, seconds=10):
    """Whether the process ends within that time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text():
                return True
        except OSError:
            return True
        time.sleep(0.05)
    return False


# -- what a kernel does ---------------------------------------------------------------------------


def test_a_kernel_has_its_own_folder_environment_and_random_numbers(tmp_path):
    code = (
        "import os, sys, numpy, scipy; print(os.getcwd(), os.environ['OWN'], "
        "'matplotlib' in sys.modules, 'kexian_utils' in sys.modules, os.getppid(), "
        "numpy.random.random(), __import__('random').random())"
    )
    said = []
    for k in range(2):
        env = os.environ | {"OWN": f"value {k}"}
        with kernel(cwd=str(tmp_path), env=env) as (manager, client):
            assert manager.provisioner.forked is not None
            words = say(client, code).split()
        assert words[:5] == [str(tmp_path), "value", str(k), "True", "False"]
        assert int(words[5]) == the_template().process.pid
        said.append(words[6:])
    # Forks share the state of the global stream; each is seeded anew, as a cold kernel is.
    assert said[0][0] != said[1][0]
    assert said[0][1] != said[1][1]


def test_the_template_only_imports():
    with kernel() as (_, client):
        say(client, "import numpy as np; np.linalg.svd(np.ones((300, 300)))")
        threads = len(os.listdir(f"/proc/{the_template().process.pid}/task"))
    assert threads == 1


def test_it_can_be_interrupted_and_killed_with_what_it_has_started():
    with kernel() as (manager, client):
        child = int(
            say(client, "import subprocess as s; p = s.Popen(['sleep', '60']); print(p.pid)")
        )
        client.execute("import time; time.sleep(60)")
        time.sleep(0.5)
        manager.interrupt_kernel()
        reply = client.get_shell_msg(timeout=20)
        while reply["content"].get("ename") != "KeyboardInterrupt":
            reply = client.get_shell_msg(timeout=20)
        pid = manager.provisioner.pid
    assert gone(pid)
    assert gone(child), "what the kernel had started outlives it"


def test_exit_code_and_usage_are_told():
    before = len(provisioner.usage())
    with kernel() as (manager, client):
        client.execute("import os; os._exit(7)")
        forked = manager.provisioner.forked
        deadline = time.monotonic() + 20
        while manager.is_alive() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert forked.poll() == 7
    (used,) = provisioner.usage()[before:]
    assert used["cpu_seconds"] > 0
    assert used["peak_mib"] > 20


def test_output_of_c_code_goes_where_it_is_sent(tmp_path):
    path = tmp_path / "errors.txt"
    with path.open("w") as file, kernel(stderr=file) as (_, client):
        say(client, "import os; os.write(2, b'from below')")
        time.sleep(0.2)
    assert "from below" in path.read_text()


@pytest.mark.parametrize(("name", "value"), [("KEXIAN_FORK", "0"), ("KEXIAN_THREADS", "2")])
def test_it_is_cold_where_that_is_wanted(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with kernel() as (manager, client):
            assert manager.provisioner.forked is None
            assert say(client, "print(6 * 7)") == "42"


@pytest.mark.parametrize("fork", ["1", "0"])
def test_a_kernel_opens_no_port_that_another_could_take(monkeypatch, fork):
    monkeypatch.setenv("KEXIAN_FORK", fork)
    with kernel() as (manager, client):
        assert manager.get_connection_info()["transport"] == "ipc"
        folder = manager.provisioner.sockets
        assert len(list(folder.iterdir())) == 5
        manager.restart_kernel(now=True)
        client.wait_for_ready(timeout=60)
        assert say(client, "print(6 * 7)") == "42"
    assert not folder.exists()


def test_other_thread_counts_are_cold_or_warned_of():
    code = "from kexian_utils.experiment.backend import fix_threads; fix_threads({})"
    with kernel(env=os.environ | {"KEXIAN_THREADS": "2"}) as (manager, client):
        assert manager.provisioner.forked is None
        assert say(client, code.format(2)) == ""
    with kernel() as (manager, client):
        assert manager.provisioner.forked is not None
        assert say(client, code.format(1)) == ""
        assert "fixed NumPy to one thread" in say(client, code.format(0))


# -- trouble --------------------------------------------------------------------------------------


def requests():
    """200 malformed requests, of all kinds."""
    chance = random.Random(8)
    good = {"argv": [*LAUNCH, "-f", "x"], "cwd": "/", "env": {}}
    fixed = [
        b"\n",
        b"{}\n",
        b"[]\n",
        b"null\n",
        b"1e999\n",
        b"[" * 100_000 + b"\n",
        b"\xff\xfe\n",
        json.dumps(good | {"argv": "ls"}).encode() + b"\n",
        json.dumps(good | {"argv": ["/bin/sh", "-c", "true"]}).encode() + b"\n",
        json.dumps(good | {"argv": [1, 2, 3]}).encode() + b"\n",
        json.dumps(good | {"cwd": "/nowhere/at/all"}).encode() + b"\n",
        json.dumps(good | {"cwd": 7}).encode() + b"\n",
        json.dumps(good | {"cwd": "/\0"}).encode() + b"\n",
        json.dumps(good | {"env": []}).encode() + b"\n",
        json.dumps(good | {"env": {"A": 1}}).encode() + b"\n",
        json.dumps(good | {"env": {"A=B": "1"}}).encode() + b"\n",
        json.dumps(good | {"env": {"A": "\0"}}).encode() + b"\n",
        json.dumps(good).encode() + b"\n",  # without file descriptors
        json.dumps(good).encode(),  # and cut off
        b"x" * (template.REQUEST_LIMIT + 10),
    ]
    return fixed + [chance.randbytes(chance.randrange(0, 3000)) for _ in range(200 - len(fixed))]


def test_200_malformed_requests_leave_the_template_as_it_was():
    running = the_template()
    answers = 0
    for request in requests():
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(20)
            connection.connect(running.socket)
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.sendall(request)
                connection.shutdown(socket.SHUT_WR)
            with contextlib.suppress(ConnectionResetError):
                answer = b"".join(iter(lambda: connection.recv(4096), b""))
                if answer:
                    answers += 1
                    assert json.loads(answer)["error"], answer
    assert answers >= 15
    assert running.alive
    assert the_template() is running
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with kernel() as (_, client):
            assert say(client, "print(6 * 7)") == "42"


def test_a_request_that_never_ends_is_given_up(monkeypatch):
    running = the_template()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(template.REQUEST_SECONDS + 10)
        connection.connect(running.socket)
        connection.sendall(b'{"argv": ')
        assert "arrive" in json.loads(connection.recv(4096))["error"]


def test_kernels_outlive_a_template_that_is_killed():
    with kernel() as (manager, client):
        running = the_template()
        running.process.kill()
        running.process.wait()
        assert say(client, "print(6 * 7)") == "42"
        assert manager.is_alive()
        pid = manager.provisioner.pid
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with kernel() as (_, second):  # from a new template
                assert say(second, "print(6 * 7)") == "42"
    assert gone(pid)


def test_a_template_that_does_not_answer_means_a_cold_start_and_a_warning(monkeypatch):
    class Dead:
        socket = "/nowhere/socket"
        fork = provisioner.TemplateHandle.fork

    monkeypatch.setattr(provisioner._templates, "get", lambda environment: Dead())
    with warnings.catch_warnings(record=True) as given:
        warnings.simplefilter("always")
        with kernel() as (manager, client):
            assert manager.provisioner.forked is None
            assert say(client, "print(6 * 7)") == "42"
    assert any("started cold" in str(warning.message) for warning in given)


def test_a_template_that_does_not_start_is_not_tried_again(monkeypatch):
    templates = provisioner._Templates()
    with monkeypatch.context() as patch:
        patch.setattr(provisioner.template, "__file__", "/nowhere/template.py")
        with pytest.raises(provisioner.TemplateError, match="did not start .*No such file"):
            templates.get(dict(os.environ))
    with pytest.raises(provisioner.TemplateError, match="ended"):
        templates.get(dict(os.environ))


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_nothing_is_left_when_the_owner_ends(signum):
    script = (
        "import os, time\n"
        "from jupyter_client.manager import KernelManager\n"
        "from kexian_utils.runner.execution import provisioner\n"
        "m = KernelManager(kernel_name='kexian'); m.start_kernel()\n"
        "t = next(iter(provisioner._templates.running.values()))\n"
        "print(m.provisioner.pid, t.process.pid, t.folder, flush=True)\n"
        "time.sleep(60)\n"
    )
    owner = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    *pids, folder = owner.stdout.readline().split()
    owner.send_signal(signum)
    owner.wait(20)
    assert len(pids) == 2
    assert all(gone(int(pid)) for pid in pids)
    assert not Path(folder.decode()).exists()


def test_end_kernels_ends_them_all():
    with kernel() as (manager, client):
        say(client, "1")
        pid = manager.provisioner.pid
        provisioner.end_kernels()
        assert gone(pid)
        assert not manager.is_alive()


# -- by other tools, unchanged --------------------------------------------------------------------

BOOK = {
    "_config.yml": "title: t\nexecute: {execute_notebooks: force}\n"
    'sphinx: {config: {nb_kernel_rgx_aliases: {".*": "kexian"}, suppress_warnings: ["*"]}}\n',
    "_toc.yml": "format: jb-book\nroot: page\n",
}
TOOLS = {
    "papermill": "papermill page.ipynb out/page.ipynb -k kexian",
    "nbval": "pytest -c /dev/null --rootdir . --nbval-lax --nbval-kernel-name kexian page.ipynb",
    "jupyter-book": "jupyter_book.cli.main build .",
}


@pytest.mark.parametrize("tool", TOOLS)
def test_other_tools_use_the_kernel_by_its_name(tool, tmp_path):
    # Whether it was forked: its parent is a template, not the tool.
    code = (
        "from pathlib import Path; import os\n"
        "Path('parent').write_text(Path(f'/proc/{os.getppid()}/cmdline').read_text())"
    )
    page = nbformat.v4.new_notebook(
        cells=[
            nbformat.v4.new_markdown_cell("# Page"),
            nbformat.v4.new_code_cell(code),
            nbformat.v4.new_code_cell("import matplotlib.pyplot as plt\nplt.plot([1])\nplt.show()"),
        ],
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}},
    )
    nbformat.write(page, tmp_path / "page.ipynb")
    (tmp_path / "out").mkdir()
    for name, text in BOOK.items():
        (tmp_path / name).write_text(text)
    module, *words = TOOLS[tool].split()
    call = f"import sys; sys.argv[0] = 'tool'; from {module} import main; sys.exit(main())"
    command = ["-m", module] if tool != "jupyter-book" else ["-c", call]
    done = subprocess.run(
        [sys.executable, *command, *words], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert template.__file__ in (tmp_path / "parent").read_text().split("\0")
    if tool == "papermill":
        assert "image/png" in (tmp_path / "out" / "page.ipynb").read_text()
    elif tool == "jupyter-book":
        assert list((tmp_path / "_build" / "jupyter_execute").glob("*.png"))
