"""`baton snapshot`: a cluster as one file: read from a live one, made up, or shown."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from baton.cli.options import add_cluster_options, add_json_option
from baton.errors import UsageError

if TYPE_CHECKING:
    from baton.model.cluster import Snapshot

DESCRIPTION = """\
Read a live cluster into one compressed file: nodes, pods, controllers, budgets, volumes and their zones, node groups,
launch templates, Auto Scaling groups, subnets' free addresses, add-ons, AMIs. Reads only, in pages. Secrets,
environment values, commands and annotations that may hold secrets are never stored; what could not be read is recorded
as unknown with the reason. `baton check`, `plan` and `rehearse` take the file with --snapshot.
"""
EPILOG = """\
examples:
  baton snapshot -o prod.baton -C infra/           read the cluster of that Terraform
  baton snapshot -o prod.baton --anonymise         with every name replaced, to hand it to somebody
  baton snapshot --from prod.baton --anonymise -o public.baton
  baton snapshot generate --nodes 5000 --pods 150000 --seed 7 -o big.baton
  baton snapshot show prod.baton
"""
GENERATE = """\
Make a synthetic cluster with the spreads of real ones: many small apps and a few huge ones, budgets of every kind, zone
spreads, anti-affinity, zonal volumes, DaemonSets, Jobs, bare pods, slow starters, long grace periods. The same numbers
and seed give the same file.
"""


def add_parser(subparsers: Any) -> None:
    """Register the command."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "snapshot",
        help="a cluster as one file: read, made up or shown",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_cluster_options(parser)
    parser.add_argument("-o", "--out", type=Path, metavar="FILE", help="where to write it")
    parser.add_argument("--anonymise", "--anonymize", action="store_true", help="replace every name, consistently")
    parser.add_argument(
        "--from", dest="source", type=Path, metavar="FILE", help="a snapshot or dump, not a live cluster"
    )
    parser.set_defaults(run=run)
    inner = parser.add_subparsers(title="other ways", metavar="WHAT")
    _add_generate(inner)
    _add_show(inner)


def _add_generate(subparsers: Any) -> None:
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "generate",
        help="make a synthetic cluster",
        description=GENERATE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--nodes", type=int, required=True, metavar="N")
    parser.add_argument("--pods", type=int, required=True, metavar="N", help="all pods, those of DaemonSets too")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="default: 0")
    parser.add_argument("--version", default="1.34", metavar="VERSION", help="Kubernetes version (default: 1.34)")
    parser.add_argument("--zones", type=int, default=3, metavar="N", help="availability zones (default: 3)")
    parser.add_argument(
        "--blocking",
        type=int,
        metavar="N",
        help="apps whose budget blocks every drain, in the group that rolls last (default: one a hundred nodes, at "
        "least one; 0 lets the roll come to its end)",
    )
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="FILE", help="where to write it")
    parser.set_defaults(run=generate)


def _add_show(subparsers: Any) -> None:
    parser: argparse.ArgumentParser = subparsers.add_parser("show", help="what a snapshot holds, and what it lacks")
    parser.add_argument("file", type=Path, metavar="FILE", help="a snapshot, or a kubectl dump")
    add_json_option(parser)
    parser.set_defaults(run=show)


def run(args: argparse.Namespace) -> int:
    """Read and write. Raises UsageError and ReadError."""
    from baton.cli import wiring

    if args.out is None:
        raise UsageError("where to?", hint="add -o FILE, for example -o prod.baton")
    if args.source is not None:
        snapshot = load_any(args.source)
    else:
        found = wiring.inspection(args, required=False)
        snapshot = wiring.read(wiring.live(args, found), found)
    if args.anonymise:
        from baton.rehearsal.anonymise import anonymise

        snapshot = anonymise(snapshot)
    _write(args.out, snapshot)
    return 0


def generate(args: argparse.Namespace) -> int:
    """Make one up. Raises UsageError and ReadError."""
    from baton.rehearsal.generate import generate as make

    snapshot = make(
        nodes=args.nodes,
        pods=args.pods,
        seed=args.seed,
        version=args.version,
        zones=args.zones,
        blocking=args.blocking,
    )
    _write(args.out, snapshot)
    return 0


def load_any(path: Path) -> Snapshot:
    """A snapshot, or a kubectl dump. Raises ReadError."""
    from baton.errors import ReadError
    from baton.observe.store import load, load_dump

    try:
        return load(path)
    except ReadError as error:
        if error.hint is not None and "--dump" in error.hint:
            return load_dump(path)
        raise


def _write(path: Path, snapshot: Snapshot) -> None:
    from baton.observe.store import save

    save(path, snapshot)
    size = path.stat().st_size
    told = f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.0f} kB"
    print(f"{path}: {_headline(snapshot)} ({told})", file=sys.stderr)
    for unknown in snapshot.unknowns:
        print(f"  not known: {unknown.what}: {unknown.reason}", file=sys.stderr)


def _headline(snapshot: Snapshot) -> str:
    count = {k: len(v) for k, v in snapshot.objects.items()}
    return (
        f"cluster {snapshot.cluster.name} at {snapshot.cluster.version}, {count.get('nodes', 0):,} nodes, "
        f"{count.get('pods', 0):,} pods"
    )


def show(args: argparse.Namespace) -> int:
    """Print what is in it."""
    from baton.cli.show import print_json

    snapshot = load_any(args.file)
    found = contents(snapshot)
    if args.json:
        print_json(found)
        return 0
    print(f"{_headline(snapshot)}, taken {found['takenAt']}\n")
    for group in found["nodeGroups"]:
        kinds, kubelets = ", ".join(group["instanceTypes"]) or "?", ", ".join(group["kubelets"]) or "?"
        nodes = f"{group['nodes']:>6,} nodes of {kinds}"
        print(f"  node group {group['name']:<24} {nodes}, kubelet {kubelets}, {group['pace']}")
    if found["otherNodes"]:
        print(f"  other nodes: {', '.join(f'{n} {who}' for who, n in found['otherNodes'].items())}")
    print(f"  add-ons: {', '.join(f'{n} {v}' for n, v in found['addons'].items()) or 'none'}\n")
    for resource, number in found["objects"].items():
        print(f"  {number:>8,}  {resource}")
    if found["unknown"]:
        print("\nnot known:")
        for row in found["unknown"]:
            print(f"  {row['what']}: {row['reason']}")
    return 0


def contents(snapshot: Snapshot) -> dict[str, Any]:
    """What a snapshot holds, in numbers."""
    from baton.model import nodes
    from baton.planner.plan import pacing
    from baton.twin.timefmt import rfc3339

    everyone = snapshot.objects.get("nodes", ())
    owners = Counter(nodes.owner(n) for n in everyone)
    known = {f"node group {g.name}" for g in snapshot.node_groups}
    return {
        "cluster": snapshot.cluster.name,
        "version": snapshot.cluster.version,
        "takenAt": rfc3339(snapshot.taken_at),
        "nodeGroups": [
            {
                "name": g.name,
                "nodes": owners.get(f"node group {g.name}", 0),
                "desired": g.desired_size,
                "instanceTypes": list(g.instance_types),
                "kubelets": sorted({str(nodes.kubelet(n) or "?") for n in nodes.of_group(snapshot, g.name)}),
                "pace": pacing(g.update_config),
                "amiType": g.ami_type,
            }
            for g in snapshot.node_groups
        ],
        "otherNodes": {who: n for who, n in sorted(owners.items()) if who not in known},
        "addons": {a.name: a.version for a in snapshot.addons},
        "subnets": {s.id: s.free_ips for s in snapshot.subnets},
        "objects": {k: len(v) for k, v in sorted(snapshot.objects.items())},
        "unknown": [{"what": u.what, "reason": u.reason} for u in snapshot.unknowns],
    }
