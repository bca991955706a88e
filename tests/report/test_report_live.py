"""Live progress: what a person sees while nodes roll, on a terminal and in a log."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from functools import cache

import pytest
from report_lab import conduct
from rich.console import Console

from baton.model.plan import Change, Plan, Stage, StageKind
from baton.model.view import Blocker, GroupView, NodeView, View
from baton.report.live import HEARTBEAT, Lines, Terminal, live_view, phase_of

CONTROL = Stage(1, StageKind.CONTROL_PLANE, "control plane to 1.35", (Change("cluster", "demo", "1.34", "1.35"),), "")
ROLL = Stage(2, StageKind.NODE_GROUP, "node group main to 1.35", (Change("node-group", "main", "a", "b"),), "")
PLAN = Plan("demo", "1.34", "1.35", (CONTROL, ROLL))
BLOCK = Blocker(
    "pdb", "shop/cart-1", "PodDisruptionBudget shop/cart allows no disruption", 100.0, pdb="shop/cart", hint="raise it"
)


def group(name: str = "main", **counts: int) -> GroupView:
    given = {
        "desired": 3, "allowed": 1, "nodes": 3, "ready": 3, "schedulable": 3, "old": 3, "new": 0, "cordoned": 0,
        "draining": 0, "min_ready": 3, "min_schedulable": 3, "max_unavailable_observed": 0, "max_draining": 0,
        "peak_nodes": 3, "replaced": 0, **counts,
    }  # fmt: skip
    return GroupView(name, **given)  # type: ignore[arg-type]


def nodes(*states: str, generation: str = "old") -> tuple[NodeView, ...]:
    return tuple(NodeView(f"{generation}-{i}", "main", generation, s, 0.0, "z", left=2) for i, s in enumerate(states))


def lines(predicted: dict[int, float] | None = None) -> tuple[Lines, io.StringIO]:
    out = io.StringIO()
    return Lines(Console(file=out, highlight=False, soft_wrap=True), PLAN, predicted), out


@cache
def told(size: int, pods: int, blocking: int) -> tuple[str, ...]:
    """What a whole run says in a log."""
    display, out = lines()
    run = conduct(
        size,
        pods,
        seed=4,
        blocking=blocking,
        on_status=lambda o, s: display.update(o.view(s.now), s.now, s.stage, s.state, s.waiting_for),
    )
    assert run.records
    return tuple(out.getvalue().splitlines())


def test_report_live_lines_tell_the_whole_roll() -> None:
    """A log that leaves out a stage or a node cannot be used to find out what happened."""
    text = "\n".join(told(3, 30, 0))
    for stage in (1, 2, 3):
        assert f"stage {stage} of" in text
    assert len(re.findall(r"old nodes? draining|old nodes draining", text)) >= 3
    assert text.count("old node gone") == 3
    assert "new node" in text and "Ready" in text
    assert "scaling down to the desired size" in text


def test_report_live_lines_do_not_spam() -> None:
    """A line per look would bury what matters: an hour of cluster time must stay readable."""
    assert len(told(3, 30, 0)) < 80
    assert len(set(told(3, 30, 0))) == len(told(3, 30, 0))


def test_report_live_lines_name_the_blocker_and_its_end() -> None:
    """Who reads the log must learn what Baton waits for, and what would clear it."""
    text = "\n".join(told(4, 40, 1))
    assert re.search(r"BLOCKED team-\S+: PodDisruptionBudget \S+ allows no disruption.* To clear it: ", text)
    assert "no longer blocked" in text


def test_report_live_lines_heartbeat_slows_down() -> None:
    """Fifteen quiet minutes are worth three lines, not a hundred; an hour of them only a few more."""
    display, out = lines()
    view = View(0.0, (group(),), nodes("ready"))
    for now in range(0, 3600, 5):
        display.update(replace(view, at=float(now)), float(now), CONTROL, "running", ("EKS updates cluster/demo",))
    said = out.getvalue().splitlines()
    assert 4 <= len(said) <= 8
    assert said[2].startswith(f"[{int(HEARTBEAT // 60)}:00]")


def test_report_live_lines_many_nodes_in_one_line() -> None:
    """Forty nodes that join at once must not push everything else off the screen."""
    display, out = lines()
    display.update(View(0.0, (group(),), nodes("ready")), 0.0, ROLL, "running")
    fresh = nodes(*["ready"] * 40, generation="new")
    display.update(View(5.0, (group(nodes=41, new=40),), nodes("ready") + fresh), 5.0, ROLL, "running")
    joined = [line for line in out.getvalue().splitlines() if "joined" in line]
    assert len(joined) == 1
    assert "40 new nodes joined: new-0 (z), new-1 (z), new-2 (z) and 37 more" in joined[0]


def test_report_live_lines_blocked_by_the_same_together() -> None:
    """Ten pods behind one budget are one cause, and are told once."""
    display, out = lines()
    blocked = tuple(replace(BLOCK, subject=f"shop/cart-{i}") for i in range(10))
    display.update(View(200.0, (group(),), nodes("draining"), blockers=blocked), 200.0, ROLL, "running")
    assert out.getvalue().count("BLOCKED") == 1
    display.update(View(260.0, (group(),), nodes("draining")), 260.0, ROLL, "running")
    assert "no longer blocked: shop/cart-0, shop/cart-1, shop/cart-2 and 7 more (after 3 min)" in out.getvalue()


def test_report_live_terraform_counting_seconds_is_not_news() -> None:
    """Terraform prints a line every ten seconds; repeating them would drown the nodes."""
    display, out = lines({2: 600.0})
    view = View(0.0, (group(),), nodes("ready"))
    template, roll = "module.eks.aws_launch_template.this", "module.eks.aws_eks_node_group.this"
    for now in range(0, 60, 10):
        still = "Modifying..." if now == 0 else "Still modifying..."
        waiting = f"terraform apply: {roll}: {still} [id=demo:main, {now // 60:02d}m{now % 60:02d}s elapsed]"
        if now < 20:
            waiting = f"terraform apply: {template}: Modifying... [id=lt-1]"
        display.update(replace(view, at=float(now)), float(now), ROLL, "running", (waiting,))
    said = out.getvalue().splitlines()
    assert len(said) == 3
    assert template in said[1] and roll in said[2]


def test_report_live_estimate_begins_with_the_update() -> None:
    """Terraform's own work is not the roll: a minute on a launch template must not count as a minute of EKS's."""
    display, out = lines({2: 600.0})
    view = View(0.0, (group(),), nodes("ready"))
    display.update(view, 0.0, ROLL, "running", ("terraform apply: aws_launch_template.this: Modifying... [id=lt-1]",))
    begun = ("terraform apply: aws_eks_node_group.this: Modifying... [id=demo:main]",)
    display.update(replace(view, at=400.0), 400.0, ROLL, "running", begun)
    assert "about 10 min of EKS's work left" in out.getvalue().splitlines()[-1]


@pytest.mark.parametrize(
    ("now", "old", "replaced", "words"),
    [
        (0.0, 3, 0, "about 22 min"),  # 600 s of stage 2 and 700 s of stage 3
        (300.0, 2, 1, "about 17 min"),
        (900.0, 1, 2, "about 19 min"),  # late: 450 s a node, one left, and stage 3
    ],
)
def test_report_live_estimate(now: float, old: int, replaced: int, words: str) -> None:
    """An estimate that says nothing is left while nodes still roll would send people home."""
    display, out = lines({1: 800.0, 2: 600.0, 3: 700.0})
    waiting = ("EKS updates node-group/main",)
    display.update(View(0.0, (group(),), nodes("ready")), 0.0, ROLL, "running", waiting)
    if now:
        later = View(now, (group(old=old, new=replaced, replaced=replaced, cordoned=1),), nodes("ready"))
        display.update(later, now, ROLL, "running", waiting)
    assert words in out.getvalue().splitlines()[-1]


def test_report_live_without_rehearsal_no_estimate() -> None:
    """A number out of nothing is worse than none."""
    display, out = lines()
    display.update(View(0.0, (group(),), nodes("ready")), 0.0, ROLL, "running", ("EKS updates x",))
    assert "left" not in out.getvalue()


def test_report_live_markup_in_names_is_text() -> None:
    """A name in brackets must not become a colour, or vanish."""
    display, out = lines()
    display.say("[bold]halt[/bold]")
    blocked = (replace(BLOCK, subject="shop/[red]x", reason="[/] odd"),)
    display.update(View(0.0, (group(),), nodes("ready"), blockers=blocked), 0.0, ROLL, "[x]")
    assert "[bold]halt[/bold]" in out.getvalue()
    assert "shop/[red]x" in out.getvalue() and "[/] odd" in out.getvalue()


def panel(view: View, stage: Stage | None, width: int = 100) -> str:
    out = io.StringIO()
    console = Console(file=out, width=width, force_terminal=False)
    with live_view(PLAN, predicted={1: 60.0, 2: 600.0}, stream=out):
        display = Terminal(console, None, PLAN, {1: 60.0, 2: 600.0})  # type: ignore[arg-type]
        console.print(display.panel(view, view.at, stage, "running", ("EKS updates node-group/main",)))
    return out.getvalue()


def test_report_live_panel_shows_the_moment() -> None:
    """On a terminal one look must tell stage, nodes old and new, pods, blockers and what is left."""
    text = panel(
        View(0.0, (group(new=2, old=3, ready=5, nodes=5, cordoned=3, draining=1),),
             nodes("draining", "cordoned", "cordoned") + nodes("ready", "ready", generation="new"), blockers=(BLOCK,)),
        ROLL,
    )  # fmt: skip
    assert "stage 2 of 2: node group main to 1.35" in text
    assert "draining old nodes" in text and "3 old, 2 new, 5 ready of 3 desired, 1 draining" in text
    assert "◑◐◐●●" in text
    assert "shop/cart-1" in text and "clears when: raise it" in text
    assert "about 10 min of EKS's work left" in text


def test_report_live_panel_fits_the_window() -> None:
    """Lines that wrap make a redrawn panel jump; a thousand nodes must not fill the screen."""
    many = nodes(*["ready"] * 1000)
    text = panel(View(0.0, tuple(group(f"group-{i}") for i in range(3)), many, blockers=(BLOCK,) * 9), None, width=80)
    assert all(len(line) <= 80 for line in text.splitlines())
    assert len(text.splitlines()) < 20


def test_report_live_view_in_a_pipe_prints_lines() -> None:
    """In CI there is no terminal: control sequences would garble the log."""
    out = io.StringIO()
    with live_view(PLAN, predicted=None, stream=out) as display:
        display.update(View(0.0, (group(),), nodes("ready")), 0.0, CONTROL, "running")
    assert out.getvalue().startswith("[0:00] stage 1 of 2")
    assert "\x1b" not in out.getvalue()


def test_report_live_a_roll_that_goes_back_is_told_as_that() -> None:
    """Someone who reads "draining old nodes" while EKS empties the new ones would wait for the wrong thing."""
    mixed = group(old=2, new=2, nodes=4, cordoned=1)
    back = nodes("ready", "ready") + nodes("draining", "ready", generation="new")
    assert phase_of(ROLL, mixed, back).startswith("rolling back: EKS drains the new nodes")
    forth = nodes("draining", "ready") + nodes("ready", "ready", generation="new")
    assert phase_of(ROLL, mixed, forth) == "draining old nodes"
    beside = nodes("cordoned", "ready") + nodes("cordoned", "ready", generation="new")
    assert phase_of(ROLL, mixed, beside) == "draining old nodes"
    display, out = lines()
    view = View(at=500.0, groups=(mixed,), nodes=back)
    display.update(view, 500.0, ROLL, "running", ("terraform apply",))
    assert "rolling back" in out.getvalue()
