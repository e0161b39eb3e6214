"""A real Chromium for tests, found or fetched, driven by Playwright.

$CHROMIUM, else Debian's headless shell, else that of the npm package @sparticuz/chromium, pinned
by hash in requirements/chromium and unpacked once into the user's cache. A whole browser draws
windows and pages of its own that nobody sees, and takes half as long again.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from tests.support import nodejs

LOCKED = Path(__file__).resolve().parents[2] / "requirements" / "chromium"
INSTALLED = Path("/usr/bin/chromium-headless-shell")
FLAGS = [
    "--no-sandbox",  # tests may run as root, in a container
    "--disable-gpu",
    "--disable-dev-shm-usage",  # a container's /dev/shm is small
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

# The wheel's Node does the unpacking: Python has no Brotli of its own.
_UNPACK = """
const fs = require("fs"), zlib = require("zlib");
const [from, to] = process.argv.slice(1);
for (const name of fs.readdirSync(from).filter((name) => name.endsWith(".br")))
  fs.writeFileSync(`${to}/${name.slice(0, -3)}`,
    zlib.brotliDecompressSync(fs.readFileSync(`${from}/${name}`)));
"""

_FONTS = """<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig>
  <dir>/usr/share/fonts</dir>
  <dir>{home}/fonts</dir>
  <cachedir>{home}/fonts-cache</cachedir>
</fontconfig>
"""


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start a browser that ends with the block; contexts of it share nothing."""
    program, environment = find()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program,
            args=FLAGS,
            env={**os.environ, **environment},
        )
        try:
            yield browser
        finally:
            browser.close()


def find() -> tuple[Path, dict[str, str]]:
    """Give the program and the environment that it needs, fetching it when there is none."""
    named = os.environ.get("CHROMIUM")
    if named:
        return Path(named), {}
    if INSTALLED.exists():
        return INSTALLED, {}
    home = _fetched()
    libraries = [str(home / "lib"), os.environ.get("LD_LIBRARY_PATH", "")]
    return home / "chromium", {
        "LD_LIBRARY_PATH": ":".join(filter(None, libraries)),
        "FONTCONFIG_FILE": str(home / "fonts.conf"),
    }


def cache() -> Path:
    """Where what was fetched is kept for the next run."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "govern"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _fetched() -> Path:
    """Unpack the pinned browser into the cache, once a machine; workers wait for the first."""
    pin = hashlib.sha256((LOCKED / "package-lock.json").read_bytes()).hexdigest()[:16]
    folder = cache()
    home = folder / f"chromium-{pin}"
    with (folder / "chromium.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if home.exists():
            return home
        # Renamed when whole: a fetch that was cut off leaves no browser.
        work = folder / "chromium.part"
        shutil.rmtree(work, ignore_errors=True)
        modules = nodejs.install(LOCKED, work / "npm")
        packed = modules / "@sparticuz" / "chromium" / "bin"
        subprocess.run([nodejs.NODE, "-e", _UNPACK, packed, work], check=True)
        for archive in work.glob("*.tar"):
            with tarfile.open(archive) as packed_files:
                packed_files.extractall(work)  # pinned by hash; Debian's 3.11.2 has no filter
            archive.unlink()
        shutil.rmtree(work / "npm")
        # The package's own names folders of a cloud function; without a font no text has a size.
        (work / "fonts.conf").write_text(_FONTS.format(home=home), encoding="utf-8")
        (work / "chromium").chmod(0o755)
        work.rename(home)
    return home
