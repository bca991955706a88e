"""`baton explain-pod`: why a pod is pending, or where it would go, node by node."""

from __future__ import annotations

import argparse
import gzip
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from baton.errors import BatonError, ReadError, UsageError

if TYPE_CHECKING:
    from baton.logic.scheduling import Explanation, Preemption

_MALFORMED = (KeyError, TypeError, AttributeError, ValueError, IndexError)


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "explain-pod",
        help="why a pod is pending, or where it would go, node by node",
        description="Every node's verdict on one pod, as kube-scheduler 1.34 would give it: feasible or the reasons "
        "why not, the weighted score per plugin, the total, and the best nodes. All nodes are examined.",
    )
    parser.add_argument("pod", nargs="?", metavar="NS/NAME", help="the pod, by namespace and name")
    parser.add_argument(
        "--dump", type=Path, metavar="FILE", help="a `kubectl get ... -A -o json` List (may be gzipped; - for stdin)"
    )
    parser.add_argument(
        "--batch",
        type=Path,
        metavar="FILE",
        help='JSON lines {"id", "dump": List, "pod": object}; one JSON line comes out for each (- for stdin)',
    )
    parser.add_argument("--json", action="store_true", help="machine-readable JSON on stdout")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Explain one pod of a dump, or every line of a batch. Returns the exit code."""
    if args.batch is not None:
        if args.pod is not None or args.dump is not None:
            raise UsageError("--batch takes its dumps and pods from the file", hint="leave NS/NAME and --dump out")
        return run_batch(args.batch)
    if args.pod is None or args.dump is None:
        raise UsageError("which pod of which dump?", hint="baton explain-pod NS/NAME --dump FILE, or --batch FILE")
    namespace, slash, name = args.pod.rpartition("/")
    if not name or (slash and not namespace):
        raise UsageError(f"not a pod: {args.pod!r}", hint="write it NAMESPACE/NAME")
    return run_one(namespace or "default", name, args.dump, as_json=args.json)


def run_one(namespace: str, name: str, path: Path, *, as_json: bool) -> int:
    """Explain one pod of a dump."""
    from baton.logic.scheduling import Scheduler
    from baton.logic.scheduling.dump import Dump, objects_of

    try:
        dump = Dump(objects_of(_parse(_read(path), str(path)), str(path)))
    except ReadError as error:
        raise ReadError(error.message, where=error.where or str(path), hint=error.hint) from error
    except _MALFORMED as error:
        raise ReadError(f"an object is malformed ({_about(error)})", where=str(path)) from error
    pod = dump.pods.get((namespace, name))
    if pod is None:
        raise ReadError(
            f"no pod {namespace}/{name} in the dump ({len(dump.pods)} pods)",
            where=str(path),
            hint="kubectl get pods -A lists namespaces and names",
        )
    notes = dump.notes(pod)
    current = pod["spec"].get("nodeName")
    if current:
        notes.insert(0, f"the pod is on {current}; this is what would happen if it had to be placed again")
        dump.state.remove_pod(pod)
        pod = {**pod, "spec": {k: v for k, v in pod["spec"].items() if k != "nodeName"}}
    scheduler = Scheduler(dump.state)
    try:
        explanation = scheduler.explain(pod)
        preemption = scheduler.preempt(pod) if not explanation.feasible else None
    except ReadError as error:
        where = error.where or f"{path}, pod {namespace}/{name}"
        raise ReadError(error.message, where=where, hint=error.hint) from error
    except _MALFORMED as error:
        raise ReadError(f"an object is malformed ({_about(error)})", where=str(path)) from error
    if as_json:
        json.dump(_document(explanation, preemption, notes), sys.stdout, indent=2)
        print()
    else:
        for note in notes:
            print(f"note: {note}", file=sys.stderr)
        print_table(f"{namespace}/{name}", explanation, preemption)
    return 0


def run_batch(path: Path) -> int:
    """Explain every line; a bad one yields an error line. Returns 1 when there was one."""
    bad = 0
    for number, line in enumerate(_lines(path), start=1):
        if not line.strip():
            continue
        identity: Any = None
        try:
            case = _parse(line, f"line {number}")
            if not isinstance(case, dict):
                raise ReadError("not an object", where=f"line {number}")
            identity = case.get("id")
            result = {"id": identity, **_verdict(_explain_case(case, f"line {number}"))}
        except BatonError as error:
            result = {"id": identity, "error": f"{error.where or f'line {number}'}: {error.message}"}
        except (*_MALFORMED, RecursionError) as error:
            result = {"id": identity, "error": f"line {number}: an object is malformed ({_about(error)})"}
        bad += "error" in result
        print(json.dumps(result, separators=(",", ":")))
    if bad:
        lines = "1 line" if bad == 1 else f"{bad} lines"
        print(f"baton: {lines} of {path} could not be explained", file=sys.stderr)
    return 1 if bad else 0


def _explain_case(case: dict[str, Any], where: str) -> Explanation:
    from baton.logic.scheduling import Scheduler
    from baton.logic.scheduling.dump import Dump, check_object, objects_of

    pod = case.get("pod")
    if not isinstance(pod, dict):
        raise ReadError("no pod", where=where)
    check_object(pod, "Pod")
    dump = Dump(objects_of(case.get("dump"), where))
    dump.state.remove_pod(pod)
    return Scheduler(dump.state).explain(pod)


def _verdict(found: Explanation) -> dict[str, Any]:
    return {
        "feasible": list(found.feasible),
        "infeasible": {node: list(reasons) for node, reasons in found.infeasible.items()},
        "scores": found.scores,
        "totals": found.totals,
        "best": list(found.best),
    }


def _document(found: Explanation, preemption: Preemption | None, notes: list[str]) -> dict[str, Any]:
    document = {**_verdict(found), "rejectedBy": found.rejected_by, "unresolvable": list(found.unresolvable)}
    if found.prefilter is not None:
        document["prefilter"] = {"plugin": found.prefilter[0], "reasons": list(found.prefilter[1])}
    if preemption is not None:
        document["preemption"] = {
            "candidates": {
                node: {"victims": list(v.names), "pdbViolations": v.pdb_violations}
                for node, v in sorted(preemption.candidates.items())
            },
            "best": list(preemption.best),
            "rejected": preemption.rejected,
            "note": preemption.note,
        }
    return {**document, "notes": notes}


def print_table(pod: str, found: Explanation, preemption: Preemption | None, out: TextIO | None = None) -> None:
    """The verdict for a reader: best nodes first, then the nodes that will not do, by reason."""
    out = out or sys.stdout
    nodes = len(found.feasible) + len(found.infeasible)
    print(f"{pod}: {len(found.feasible)} of {nodes} nodes would do", file=out)
    if found.feasible:
        plugins = sorted({plugin for scores in found.scores.values() for plugin in scores})
        order = sorted(found.feasible, key=lambda name: (-found.totals[name], name))
        rows = [["node", "total", *plugins]]
        for name in order:
            scores = found.scores[name]
            mark = " *" if name in found.best else ""
            rows.append([name, f"{found.totals[name]}{mark}", *(str(scores.get(p, 0)) for p in plugins)])
        print(file=out)
        _print_rows(rows, out)
        print("\n* best; among equals the scheduler draws one", file=out)
    grouped: dict[tuple[str, ...], list[str]] = {}
    for name, reasons in found.infeasible.items():
        grouped.setdefault(reasons, []).append(name)
    if grouped:
        print("\nwill not do:", file=out)
    for reasons, names in sorted(grouped.items(), key=lambda entry: (-len(entry[1]), entry[0])):
        print(f"  {len(names)}  {'; '.join(reasons)}\n     {_shortened(names)}", file=out)
    if preemption is not None:
        _print_preemption(preemption, out)


def _print_preemption(preemption: Preemption, out: TextIO) -> None:
    if not preemption.candidates:
        print(f"\npreemption would not help: {preemption.note or 'no candidate'}", file=out)
        return
    print("\npreemption would make room:", file=out)
    for name in preemption.best:
        victims = preemption.candidates[name]
        broken = f" ({victims.pdb_violations} against a disruption budget)" if victims.pdb_violations else ""
        print(f"  on {name} by evicting {', '.join(victims.names)}{broken}", file=out)


def _shortened(names: list[str], most: int = 6) -> str:
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def _print_rows(rows: list[list[str]], out: TextIO) -> None:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        print("  ".join(cells).rstrip(), file=out)


def _about(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def _parse(text: str | bytes, where: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        hint = "make it with `kubectl get nodes,pods,... -A -o json`"
        raise ReadError(f"it is not JSON: {error}", where=where, hint=hint) from error


def _read(path: Path) -> bytes:
    """A file's bytes, unpacked when gzipped; - is stdin. Raises ReadError."""
    try:
        data = sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
        return gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
    except (OSError, EOFError) as error:
        raise ReadError(
            f"cannot read the file: {getattr(error, 'strerror', None) or error}", where=str(path)
        ) from error


def _lines(path: Path) -> Iterator[bytes]:
    """A file's lines one by one, unpacked when gzipped; - is stdin. Raises ReadError."""
    if str(path) == "-":
        yield from sys.stdin.buffer
        return
    try:
        with path.open("rb") as plain:
            if plain.read(2) != b"\x1f\x8b":
                plain.seek(0)
                yield from plain
                return
        with gzip.open(path, "rb") as packed:
            yield from packed
    except (OSError, EOFError) as error:
        raise ReadError(
            f"cannot read the file: {getattr(error, 'strerror', None) or error}", where=str(path)
        ) from error
