"""Ordinary notebooks of other people: a forked kernel says what a cold one does."""

import json
import os
import re
import sys

import nbformat
import pytest
from nbclient import NotebookClient

from kexian_utils.runner.execution.execute import kernel_variables, run_notebook
from kexian_utils.runner.execution.provisioner import KERNEL, sets_what_imports_read

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="kernels are forked on Linux only"),
    pytest.mark.in_turn("kexian_utils/runner/execution"),
]

PREIMPORT = "ipykernel.kernelapp ipykernel.ipkernel matplotlib.pyplot scipy.stats absl.logging"
PLOT = "import matplotlib.pyplot as plt\nfig, ax = plt.subplots(figsize=(1, 1))\nax.plot([1, 2])\n"
CORPUS = {
    "plot and show": PLOT + "plt.show()",
    "a figure left open": "plt.plot([1, 2]);",
    "display": PLOT + "plt.close(fig)\ndisplay(fig)",
    "a figure's value": PLOT + "plt.close(fig)\nfig",
    "not interactive": "with plt.ioff():\n    fig = plt.figure()\nfig.show()",
    "formats": "%config InlineBackend.figure_formats = ['retina', 'jpeg']\n"
    "plt.plot([1]); plt.show()",
    "inline": "%matplotlib inline\nplt.rcParams['figure.dpi'] = 50\nplt.plot([2]); plt.show()",
    "settings": "import matplotlib\nprint(matplotlib.get_backend(), plt.isinteractive())",
    "backend": "%matplotlib agg\nplt.plot([3]); plt.show()\nprint(matplotlib.get_backend())",
    "async": "import asyncio\nawait asyncio.sleep(0.01)\n"
    "print(asyncio.get_running_loop().is_running())",
    "task": "async def late():\n    print('late')\ntask = asyncio.create_task(late())\nawait task",
    "subprocess": "import subprocess\nsubprocess.run(['echo', 'a'], capture_output=True).stdout",
    "shell": "!echo from a shell",
    "bash": "%%bash\necho from bash",
    "pool": "import concurrent.futures as f\nwith f.ProcessPoolExecutor(2) as p:\n"
    "    print(list(p.map(abs, [-1, 2])))",
    "thread": "import threading\nt = threading.Thread(target=print, args=('thread',))\n"
    "t.start(); t.join()",
    "magics": "%env OWN=1\nimport os\nprint(os.environ['OWN'])\n%who",
    "capture": "%%capture said\nprint('kept')",
    "captured": "said.stdout",
    "help": "import math\nmath.sqrt?",
    "logging": "import logging\nlogging.warning('of logging')",
    "absl": "from absl import logging as absl\nabsl.get_absl_handler().stream.write('of absl\\n')",
    "warning": "import warnings\nwarnings.warn('careful')",
    "html": "class Own:\n    def _repr_html_(self):\n        return '<b>own</b>'\nOwn()",
    "last": "_",
    "update": "handle = display('one', display_id='d')\nhandle.update('two')",
    "clear": "from IPython.display import clear_output\n"
    "print('gone')\nclear_output()\nprint('stays')",
    "error": "def f(x):\n    return 1 / x\nf(0)",
    "syntax": "print('hello'",
    "exit": "import sys\nsys.exit(3)",
    "input": "input('?')",
    "itself": "print(__name__, sys.argv[0], sys.path, os.getcwd(), sys.stdin.closed)",
    "main": "print(sys.modules['__main__'].__dict__ is globals())",
    "history": "print(get_ipython().history_manager.hist_file)",
    "numpy": "import numpy as np\nnp.arange(3.0)",
}
OPTIONAL = {
    "pandas": "import pandas\npandas.DataFrame({'a': [1]})",
    "ipywidgets": "import ipywidgets\nipywidgets.IntSlider()",
}


def installed(name):
    try:
        __import__(name)
    except ImportError:
        return False
    return True


def executed(cells, environment, folder, kernel=KERNEL):
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in cells])
    client = NotebookClient(
        notebook,
        kernel_name=kernel,
        allow_errors=True,
        timeout=60,
        coalesce_streams=True,
        resources={"metadata": {"path": str(folder)}},
    )
    client.execute(env=environment)
    return [
        re.sub(r"0x[0-9a-f]+|(?<=ipykernel_)\d+", "N", json.dumps(cell.outputs))
        for cell in client.nb.cells
    ]


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty home directory."""
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    for name in ("KEXIAN_FORK", "KEXIAN_THREADS", "IPYTHONDIR", "KERAS_HOME", "MPLCONFIGDIR"):
        monkeypatch.delenv(name, raising=False)
    return folder


def test_a_forked_kernel_says_what_a_cold_one_says(home, tmp_path, monkeypatch):
    cells = CORPUS | {name: code for name, code in OPTIONAL.items() if installed(name)}
    monkeypatch.setenv("KEXIAN_PREIMPORT", PREIMPORT)
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(PLOT)])
    variables = os.environ | kernel_variables("tensorflow", notebook)
    forked = executed(cells.values(), variables | {"PYTHONUTF8": "1"}, tmp_path)
    cold = executed(cells.values(), variables | {"KEXIAN_FORK": "0"}, tmp_path)
    for name, one, other in zip(cells, forked, cold, strict=True):
        assert one == other, name
    for name in ("plot and show", "a figure left open", "display", "a figure's value", "inline"):
        assert '"image/png"' in cold[list(cells).index(name)], name
    # (jupyter_client makes IPython's folder where it looks for kernels, in the test's own process.)
    assert [path for path in home.rglob("*") if path.is_file() and path.name != "README"] == []


@pytest.mark.parametrize(
    ("code", "cold"),
    [
        ('import os\nos.environ["KERAS_BACKEND"] = "jax"', True),
        ("%env TF_ENABLE_ONEDNN_OPTS=0", True),
        ('os.environ.update(OMP_NUM_THREADS="4")', True),
        ('os.environ["DATA"] = "x"', False),
        ("language = 'JAX'", False),
    ],
)
def test_what_packages_read_at_import_needs_a_cold_kernel(code, cold):
    assert sets_what_imports_read([code]) is cold


def test_a_first_cell_chooses_what_packages_find(home, tmp_path, monkeypatch):
    monkeypatch.setenv("KEXIAN_PREIMPORT", "ipykernel.kernelapp keras matplotlib.pyplot")
    cells = [
        nbformat.v4.new_code_cell(
            "profile = 'default'\nseed = 0", metadata={"tags": ["parameters"]}
        ),
        nbformat.v4.new_code_cell(
            "import os\nos.environ['KERAS_BACKEND'] = 'numpy'\nos.environ['MPLBACKEND'] = 'pdf'\n"
            "import keras, matplotlib\nprint(keras.backend.backend(), matplotlib.get_backend())"
        ),
    ]
    notebook = nbformat.v4.new_notebook(
        cells=cells, metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    )
    nbformat.write(notebook, tmp_path / "page.ipynb")
    run_notebook(tmp_path / "page.ipynb", tmp_path / "out.ipynb")
    (said,) = nbformat.read(tmp_path / "out.ipynb", 4).cells[1].outputs
    assert said.text == "numpy pdf\n"
