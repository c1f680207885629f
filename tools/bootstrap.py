"""Set up the project's environment: uv in `.uv`, everything else in `.venv`. Nothing global.

Needs a Python with the standard library alone, and runs on old ones too, so that a machine with
the wrong version gets a sentence instead of a traceback. Called by the Makefile.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys

UV = "uv==0.13.8"
SUPPORTED = ((3, 11), (3, 14))  # from, below; as `requires-python` in pyproject.toml
CANDIDATES = ("python3.11", "python3.12", "python3.13", "python3", "python")
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SCRIPTS = "Scripts" if os.name == "nt" else "bin"


def fail(sentence):
    """Print one sentence and leave with 3: trouble with the machine."""
    sys.stderr.write("kexian: " + sentence + "\n")
    sys.exit(3)


def version_of(program):
    """The (major, minor) of a Python interpreter, or None if it does not run."""
    try:
        out = subprocess.check_output(
            [program, "-c", "import sys; print('%d %d' % sys.version_info[:2])"],
            stderr=subprocess.DEVNULL,
        )
        return tuple(int(word) for word in out.split())
    except (OSError, ValueError, subprocess.CalledProcessError):
        return None


def find_python():
    """The first supported interpreter: $PYTHON alone if it is set, else the usual names."""
    asked = os.environ.get("PYTHON")
    for program in [asked] if asked else CANDIDATES:
        version = version_of(program)
        if version and SUPPORTED[0] <= version < SUPPORTED[1]:
            return shutil.which(program) or program
    low, high = (".".join(map(str, version)) for version in SUPPORTED)
    where = " at PYTHON=" + asked if asked else ""
    fail(
        f"no Python from {low} to below {high} was found{where}; install Python 3.11 (Debian: "
        "sudo apt-get install python3 python3-venv) or name one: "
        "make book PYTHON=/path/to/python3.11."
    )


def stamp():
    """A digest of what the environment is made from."""
    digest = hashlib.sha256(UV.encode())
    for name in ("pyproject.toml", "uv.lock"):
        with open(os.path.join(ROOT, name), "rb") as handle:
            digest.update(handle.read())
    return digest.hexdigest()


def clean_environment():
    """The environment without settings that would put another index into the lock file."""
    drop = (
        "UV_DEFAULT_INDEX",
        "UV_INDEX_URL",
        "UV_INDEX",
        "UV_EXTRA_INDEX_URL",
        "VIRTUAL_ENV",
        "UV_PROJECT_ENVIRONMENT",
        "UV_FIND_LINKS",
    )
    kept = {name: value for name, value in os.environ.items() if name not in drop}
    # No settings of this user or machine either; the project's own, in pyproject.toml, count.
    nowhere = os.path.join(ROOT, ".uv", "no-config")
    kept.update(
        UV_PYTHON_DOWNLOADS="never",
        XDG_CONFIG_HOME=nowhere,
        XDG_CONFIG_DIRS=nowhere,
        APPDATA=nowhere,
        PROGRAMDATA=nowhere,
    )
    return kept


def run(command, sentences, default):
    """Run a command quietly; when it fails, show its last lines and one sentence.

    `sentences` maps a phrase of the command's error output to the sentence that explains it.
    """
    done = subprocess.Popen(
        command,
        cwd=ROOT,
        env=clean_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        universal_newlines=True,
        errors="replace",
    )
    lines = []
    for line in done.stdout:
        lines.append(line)
        if os.environ.get("KEXIAN_VERBOSE"):
            sys.stderr.write(line)
    if done.wait() == 0:
        return
    text = "".join(lines)
    sys.stderr.write("".join(lines[-6:]))
    for phrase, sentence in sentences:
        if phrase.lower() in text.lower():
            fail(sentence)
    fail(default)


NETWORK = (
    "PyPI could not be reached; check the network (and HTTPS_PROXY or SSL_CERT_FILE where one is "
    "needed), then call the same command again: it goes on where it stopped."
)
DISK = "the disk is full; free about 4 GB, then call the same command again."
TROUBLE = [
    ("no space left", DISK),
    ("failed to fetch", NETWORK),
    ("error sending request", NETWORK),
    ("dns error", NETWORK),
    ("could not find a version", NETWORK),
    ("no matching distribution", NETWORK),
    ("connection", NETWORK),
    ("network", NETWORK),
]
WANTED = ("--extra", "dev", "--extra", "jax", "--group", "data")
STALE = (
    "uv.lock does not belong to pyproject.toml; run `.uv/bin/uv lock` with no index variable set "
    "and commit the result, or undo the change: git checkout -- uv.lock pyproject.toml."
)


def is_whole(venv):
    """Whether a virtual environment has its interpreter, and was made where it is now."""
    if not os.path.isfile(os.path.join(venv, "pyvenv.cfg")):
        return False
    scripts = os.path.join(venv, SCRIPTS)
    if os.name == "nt":
        return True
    if not os.access(os.path.join(scripts, "python"), os.X_OK):  # a link may lead nowhere
        return False
    try:
        with open(os.path.join(scripts, "kexian")) as handle:
            made_for = re.search(r"(/[^\"'\n]*)/python", handle.read(4096))
        return made_for is None or os.path.samefile(made_for.group(1), scripts)
    except (OSError, ValueError):  # no such script yet, or the folder that it names is gone
        return not os.path.exists(os.path.join(scripts, "kexian"))


def runs(program):
    """Whether a program runs at all: an installation may have been cut short."""
    try:
        return subprocess.call([program, "--version"], stdout=subprocess.DEVNULL) == 0
    except OSError:
        return False


def main():
    """Make `.venv` agree with the lock file; does nothing if it already does."""
    venv = os.path.join(ROOT, ".venv")
    marker = os.path.join(venv, "kexian-ready")
    whole = is_whole(venv)
    try:
        with open(marker) as handle:
            if whole and handle.read() == stamp():
                return
    except OSError:
        pass
    python = find_python()
    if not whole and os.path.isdir(venv) and not os.path.islink(venv):
        shutil.rmtree(venv, ignore_errors=True)
    uv = os.path.join(ROOT, ".uv", SCRIPTS, "uv")
    if not runs(uv):
        sys.stderr.write("kexian: setting up (once; about a minute and 4 GB) ...\n")
        run(
            [python, "-m", "venv", "--clear", ".uv"],
            [("no space left", DISK)],
            "a virtual environment could not be made; Debian needs: sudo apt-get install "
            "python3-venv.",
        )
        pip = [os.path.join(ROOT, ".uv", SCRIPTS, "python"), "-m", "pip"]
        run(
            pip + ["install", "--quiet", "--disable-pip-version-check", UV],
            TROUBLE,
            "uv could not be installed; the lines above say why.",
        )
    run(
        [uv, "sync", "--locked", *WANTED, "--python", python],
        [("needs to be updated", STALE), ("failed to parse `uv.lock`", STALE)] + TROUBLE,
        "the environment could not be set up; the lines above say why.",
    )
    with open(marker, "w") as handle:
        handle.write(stamp())


if __name__ == "__main__":
    main()
