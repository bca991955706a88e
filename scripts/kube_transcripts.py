"""Writes docs/transcripts/*.txt: what the real kubectl prints against the emulator.

    python scripts/kube_transcripts.py [folder]

Needs kubectl on PATH and the dev extra; takes about two minutes. Names and times differ a little from run to run: the
emulator follows the wall clock, sped up.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "emulator_kube"))

from kube_served import Served, budget, deployment, tool  # noqa: E402

WHERE = ROOT / "docs" / "transcripts"
STEADY, ROLLING = 20.0, 60.0  # cluster seconds per second


class Transcript:
    """One file; each command is run and written down with what it printed, stdout and stderr as they came."""

    def __init__(self, served: Served, name: str, about: str) -> None:
        self.served = served
        self.name = name
        self.lines = [f"# {line}" for line in about.strip().splitlines()]

    def run(self, *words: str, seconds: float = 60) -> str:
        done = subprocess.run(
            [tool("kubectl"), *words],
            env=self.served.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=seconds,
            check=False,
        )
        self.add(shlex.join(["kubectl", *words]), done.stdout)
        return done.stdout

    def add(self, command: str, printed: str) -> None:
        self.lines += ["", f"$ {command}", *(line.rstrip() for line in printed.rstrip("\n").splitlines())]

    @contextmanager
    def watching(self, *words: str) -> Iterator[None]:
        """`kubectl get -w` in the background until the block ends."""
        with tempfile.TemporaryFile("w+") as out:
            process = subprocess.Popen(
                [tool("kubectl"), *words], env=self.served.environment, stdout=out, stderr=subprocess.STDOUT
            )
            try:
                yield
            finally:
                process.terminate()
                process.wait()
                out.seek(0)
                self.add("kubectl " + " ".join(words), out.read())

    def write(self, folder: Path) -> None:
        (folder / f"{self.name}.txt").write_text("\n".join(self.lines) + "\n")


def steady(served: Served, folder: Path) -> None:
    """Everything that is looked at while nothing moves."""
    served.apply(deployment("web"), budget("web", minAvailable="50%"))
    served.kubectl("rollout", "status", "deploy/web")
    served.wait(900)
    get = Transcript(served, "get", "kubectl get on a managed node group of three, some minutes old.")
    for words in (
        ["nodes", "-o", "wide"],
        ["pods", "-A", "-o", "wide"],
        ["deploy,rs,pdb,endpointslices"],
        ["ds", "-n", "kube-system"],
        ["svc", "-A"],
        ["events"],
        ["sc,pc"],
        ["leases", "-n", "kube-node-lease"],
    ):
        get.run("get", *words)
    get.write(folder)
    node, pod = (served.kubectl("get", kind, "-o", "jsonpath={.items[0].metadata.name}") for kind in ("nodes", "pods"))
    describe = Transcript(served, "describe", "kubectl describe of a node, a pod, a Deployment and a budget.")
    for words in (["node", node], ["pod", pod], ["deploy", "web"], ["pdb", "web"]):
        describe.run("describe", *words)
    describe.write(folder)
    top = Transcript(served, "top", "kubectl top: usage is made up from the pods' requests (docs/flaws.md).")
    top.run("top", "nodes")
    top.run("top", "pods", "-A")
    top.write(folder)


def drain(served: Served, folder: Path) -> None:
    """A drain that a budget blocks, then lets go."""
    served.apply(deployment("web"), budget("web", minAvailable=3))
    pod = "jsonpath={.items[0].spec.nodeName}"
    node = served.kubectl("get", "pods", "-l", "app=web", "-o", pod)
    made = Transcript(
        served, "drain", "kubectl drain against a budget that allows no disruption, and after it was relaxed."
    )
    made.run("get", "pdb", "web")
    made.run("drain", node, "--ignore-daemonsets", "--timeout=7s")
    made.run("get", "nodes")
    made.run("patch", "pdb", "web", "--type=merge", "-p", '{"spec":{"minAvailable":2}}')
    made.run("drain", node, "--ignore-daemonsets")
    made.run("get", "pods", "-o", "wide")
    made.run("uncordon", node)
    made.write(folder)


def roll(served: Served, folder: Path) -> None:
    """kubectl get -w through a whole managed node group update."""
    served.pace(ROLLING)
    nodes = Transcript(
        served, "roll-nodes", "kubectl get nodes -w while a managed node group goes from 1.34 to 1.35, three nodes."
    )
    pods = Transcript(served, "roll-pods", "kubectl get pods -w during the same update.")
    served.eks.update_cluster_version(name="demo", version="1.35")
    served.wait(60)
    served.pace(3000)
    served.until(lambda: served.eks.describe_cluster(name="demo")["cluster"]["status"] == "ACTIVE")
    served.pace(ROLLING)
    with nodes.watching("get", "nodes", "-w"), pods.watching("get", "pods", "-w"):
        asked = served.eks.update_nodegroup_version(clusterName="demo", nodegroupName="main", version="1.35")
        ident = asked["update"]["id"]

        def over() -> bool:
            update = served.eks.describe_update(name="demo", updateId=ident, nodegroupName="main")["update"]
            return bool(update["status"] != "InProgress")

        served.until(over, seconds=300)
    nodes.run("get", "nodes")
    pods.run("get", "pods", "-o", "wide")
    nodes.write(folder)
    pods.write(folder)


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else WHERE
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as home:
        served = Served(Path(home))
        try:
            served.pace(STEADY)
            steady(served, folder)
            drain(served, folder)
            roll(served, folder)
        finally:
            served.stop()


if __name__ == "__main__":
    main()
