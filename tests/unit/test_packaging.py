"""The three descriptions of the environment agree, and what is promised to travel does."""

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from kexian_utils.catalogue import load
from kexian_utils.experiment.records import read_study

pytestmark = pytest.mark.in_turn("pyproject.toml", "Makefile", "kexian_utils/catalogue.py")

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
LOCK = tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))


def addresses(node):
    if isinstance(node, dict):
        for key, value in node.items():
            if key in ("url", "registry", "git") and isinstance(value, str):
                yield value
            else:
                yield from addresses(value)
    elif isinstance(node, list):
        for value in node:
            yield from addresses(value)


def test_the_lock_names_no_host_but_those_of_pypi():
    hosts = {urlsplit(address).hostname for address in addresses(LOCK)}
    assert hosts == {"pypi.org", "files.pythonhosted.org"}


def test_every_locked_file_has_a_hash():
    files = [f for p in LOCK["package"] for f in [*p.get("wheels", ()), p.get("sdist")] if f]
    assert len(files) > 500
    assert all(f["hash"].startswith("sha256:") for f in files)


def test_the_lock_belongs_to_pyproject():
    """Requirement for requirement, without the network."""
    (ours,) = (p for p in LOCK["package"] if p["name"] == "kexian-utils")
    project = PROJECT["project"]
    wanted = {("", *split(r)) for r in project["dependencies"]}
    for extra, requirements in project["optional-dependencies"].items():
        wanted |= {(extra, *split(r)) for r in requirements}
    locked = set()
    for entry in ours["metadata"]["requires-dist"]:
        extra = re.search(r"extra == '(\w+)'", entry.get("marker", ""))
        name = entry["name"] + ("[" + ",".join(entry["extras"]) + "]" if "extras" in entry else "")
        locked.add((extra[1] if extra else "", name, entry.get("specifier", "")))
    assert locked == wanted
    assert LOCK["requires-python"].replace(" ", "") == project["requires-python"]


def split(requirement):
    name, specifier = re.fullmatch(r"([\w.-]+(?:\[[\w,-]+\])?)(.*)", requirement).groups()
    return name, specifier


def test_environment_yml_installs_the_same_package():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    conda = [d for d in environment["dependencies"] if isinstance(d, str)]
    (pip,) = (d["pip"] for d in environment["dependencies"] if isinstance(d, dict))
    python = next(d for d in conda if d.startswith("python "))
    assert python.removeprefix("python ") == PROJECT["project"]["requires-python"]
    extras = re.fullmatch(r"-e \.\[([\w,]+)\]", pip[0])[1].split(",")
    assert set(extras) <= PROJECT["project"]["optional-dependencies"].keys()
    assert len(pip) == 1  # nothing beside the package: pyproject.toml is the one list


def test_every_import_is_declared_and_what_is_declared_is_used():
    deptry = Path(sys.executable).with_name("deptry")
    done = subprocess.run(
        [deptry, "kexian_utils", "--no-ansi"], cwd=ROOT, text=True, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_supported_pythons_agree_everywhere():
    low, high = re.fullmatch(
        r">=3\.(\d+),<3\.(\d+)", PROJECT["project"]["requires-python"]
    ).groups()
    supported = f"SUPPORTED = ((3, {low}), (3, {high}))"
    for path in ("tools/bootstrap.py", "kexian_utils/runner/doctor.py"):
        assert supported in (ROOT / path).read_text(encoding="utf-8")
    listed = {c.rsplit(" ", 1)[1] for c in PROJECT["project"]["classifiers"] if "3." in c}
    assert listed == {f"3.{n}" for n in range(int(low), int(high))}


def test_jupyter_book_stays_below_2_and_torch_outside():
    dev = PROJECT["project"]["optional-dependencies"]["dev"]
    assert any(re.fullmatch(r"jupyter-book>=1.*,<2", d) for d in dev)
    assert "torch" not in {p["name"] for p in LOCK["package"]}


def test_workflows_pin_released_actions_and_ask_for_little():
    for path in (ROOT / ".github" / "workflows").glob("*.yml"):
        text = path.read_text(encoding="utf-8")
        workflow = yaml.safe_load(text)
        actions = re.findall(r"uses: (\S+)", text)
        assert actions, path
        assert all(re.fullmatch(r"actions/[\w-]+@v\d+\.\d+\.\d+", action) for action in actions)
        assert workflow["permissions"] == {"contents": "read"}
        assert all("timeout-minutes" in job for n, job in workflow["jobs"].items() if n != "report")


@pytest.mark.parametrize(
    "path", sorted((ROOT / "notebooks").rglob("*.ipynb")), ids=lambda p: p.stem
)
def test_generated_places_of_notebooks_are_up_to_date(path, tmp_path):
    """The Colab cell and the reference list are what `kexian refresh` writes."""
    from kexian_utils.runner.skeleton import refresh_notebook

    copy = tmp_path / path.name
    copy.write_bytes(path.read_bytes())
    assert not refresh_notebook(ROOT, copy), f"run `kexian refresh {path.stem}`"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    uv = ROOT / ".uv" / "bin" / "uv"
    if not uv.is_file():
        pytest.skip("uv is not set up; `make setup` does it")
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run([uv, "build", "--wheel", "--quiet", "--out-dir", folder], cwd=ROOT, check=True)
    (path,) = folder.glob("*.whl")
    return path


def test_the_wheel_carries_what_notebooks_read(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    for path in (ROOT / "notebooks").rglob("*.*"):
        carried = f"kexian_utils/data/{path.relative_to(ROOT).as_posix()}" in names
        wanted = path.suffix == ".toml" or path.name.endswith(".study.json")
        assert carried == wanted, path
    for folder in ("ud", "chinese_bert", "factqa", "factqa_reader", "wikipedia_reader"):
        for path in (ROOT / "kexian_utils" / "data" / folder).iterdir():
            assert f"kexian_utils/data/{folder}/{path.name}" in names
    assert "kexian_utils/experiment/run.py" in names
    assert not [n for n in names if n.startswith(("tests", "book", "notebooks"))]


def test_the_colab_cell_installs_what_is_missing(wheel, tmp_path):
    """In an empty environment, against the wheel; where the helpers are, it does nothing."""
    from kexian_utils.runner.skeleton import colab_cell

    uv = ROOT / ".uv" / "bin" / "uv"
    env = {k: v for k, v in os.environ.items() if not k.startswith(("UV_", "VIRTUAL_ENV"))}
    subprocess.run(
        [uv, "venv", "--seed", "--quiet", "--python", sys.executable, tmp_path / "v"],
        check=True,
        env=env,
    )
    python = tmp_path / "v" / "bin" / "python"
    script = tmp_path / "cell.py"
    script.write_text(colab_cell("", "main"), encoding="utf-8")

    def run(*args, **extra):
        return subprocess.run(
            [python, *args],
            cwd=tmp_path,
            env={**env, **extra},
            text=True,
            capture_output=True,
            check=False,
        )

    for place in ({}, {"COLAB_RELEASE_TAG": "test"}):  # and the project has no address yet
        refused = run(script, **place)
        assert refused.returncode == 1
        assert "The book's helpers are missing" in refused.stderr
        assert "set KEXIAN_INSTALL" in refused.stderr
    done = run(script, COLAB_RELEASE_TAG="test", KEXIAN_INSTALL=str(wheel))
    assert done.returncode == 0, done.stderr
    assert run(script, KEXIAN_INSTALL="/nowhere").returncode == 0  # they are there now
    start = (
        "from kexian_utils import experiment; exp = experiment.start(6992, profile='smoke');"
        "print(exp._study['date'])"
    )
    shown = run("-c", start)
    assert "Kexian 6992 · profile smoke · seed 0 · backend tensorflow" in shown.stdout, shown.stderr
    study = read_study(ROOT / load(ROOT).article("6992").study_path)
    assert study["date"] in shown.stdout
    listed = run("-m", "kexian_utils.commands.main", "list")
    assert "  7076  The angle" in listed.stdout, listed.stderr
    assert "written" not in listed.stdout  # where no notebooks are, none is to come
