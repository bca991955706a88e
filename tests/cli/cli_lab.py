"""A cluster on an emulator, and Baton's command line run against it as a user would."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from baton.cli import demo
from baton.cli.main import main
from baton.emulator.lab import build
from baton.emulator.server import Running, start_in_thread

AWAY = ("AWS_", "BATON_", "KUBECONFIG", "TF_")


@contextmanager
def shell(environment: dict[str, str]) -> Iterator[None]:
    """This process's environment with nothing of AWS in it but `environment`."""
    kept = dict(os.environ)
    for name in [n for n in os.environ if n.startswith(AWAY)]:
        del os.environ[name]
    os.environ.update(environment)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(kept)


@contextmanager
def lab(speed: float = 1200.0, *, workloads: bool = True, seed: int = 7) -> Iterator[Running]:
    """The demo's cluster, made through the AWS API, with the demo's workloads on it."""
    running = start_in_thread(speed=speed, seed=seed)
    try:
        with shell(running.environment):
            build(running.environment, demo.CLUSTER, demo.FROM, say=lambda text: None)
            if workloads:
                demo.start_workloads()
            yield running
    finally:
        running.stop()


def demo_root(folder: Path) -> Path:
    """A fresh copy of the demo's Terraform."""
    root = folder / "root"
    with resources.as_file(resources.files("baton.cli") / "demo_root") as source:
        shutil.copytree(source, root, ignore=shutil.ignore_patterns("__pycache__", "workloads.json"))
    return root


@dataclass(frozen=True)
class Said:
    code: int
    out: str
    err: str


def baton(capsys, *words: str) -> Said:  # type: ignore[no-untyped-def]
    """Run one command in this process."""
    try:
        code = main([str(w) for w in words])
    except SystemExit as stop:
        code = int(stop.code or 0)
    captured = capsys.readouterr()
    return Said(code, captured.out, captured.err)


def files_of(root: Path) -> dict[str, bytes]:
    """Every file below `root`, Baton's own folder left out."""
    return {
        str(p.relative_to(root)): p.read_bytes()
        for p in sorted(root.rglob("*"))
        if p.is_file() and ".baton" not in p.parts
    }
