"""The loop: order, intent before act, resuming after a kill at every crash point, failures."""

from __future__ import annotations

from pathlib import Path

import pytest
from conductor_world import FakeWorld, Notes, Tokens, plan

from baton.conductor.engines.aws import AwsEngine
from baton.conductor.journal import MemoryJournal, SqliteJournal
from baton.conductor.run import Conductor
from baton.errors import HaltedError, ReadError


class Killed(BaseException):
    """Stands for kill -9 at a crash point."""


def conductor(
    world: FakeWorld, journal, notes: Notes | None = None, crash=lambda point: None, tokens=None
) -> Conductor:
    return Conductor(
        aws=world,
        kube=world,
        clock=world.clock,
        journal=journal,
        engine=AwsEngine(world, tokens or Tokens()),
        observer=notes or Notes(),
        crash=crash,
    )


def test_stages_follow_one_another_on_the_clock():
    """A stage that starts before the one before it has ended would move add-ons ahead of their control plane."""
    world = FakeWorld()
    records = conductor(world, MemoryJournal()).run("r", plan())
    assert world.started == [(1000.0, "cluster"), (1600.0, "addon/coredns"), (1660.0, "node-group/main")]
    assert [(r.kind, r.started_at, r.ended_at) for r in records] == [
        ("control-plane", 1000.0, 1600.0),
        ("addon", 1600.0, 1660.0),
        ("node-group", 1660.0, 2560.0),
    ]


POINTS = [f"stage-{n}:{name}" for n in (1, 2, 3) for name in ("intended", "before-act", "acted", "agreed", "recorded")]


@pytest.mark.parametrize("point", POINTS)
def test_a_kill_at_any_point_is_survived_without_a_second_update(tmp_path: Path, point: str):
    """A resumed run that starts an update again would roll every node a second time."""
    world = FakeWorld()

    def crash(name: str) -> None:
        if name == point:
            raise Killed

    first = SqliteJournal(tmp_path / "journal.db")
    with pytest.raises(Killed):
        conductor(world, first, crash=crash, tokens=Tokens("first")).run("r", plan())
    first.close()
    world.clock.sleep(100)
    second = SqliteJournal(tmp_path / "journal.db")
    records = conductor(world, second, tokens=Tokens("second")).run("r", plan())
    assert [key for _, key in world.started] == ["cluster", "addon/coredns", "node-group/main"]
    assert [r.ordinal for r in records] == [1, 2, 3]
    assert world.cluster("demo").version == "1.35"


def test_a_finished_run_started_again_does_nothing(tmp_path: Path):
    """Running apply twice by mistake must not touch the cluster."""
    world = FakeWorld()
    journal = SqliteJournal(tmp_path / "j.db")
    before = conductor(world, journal).run("r", plan())
    after = conductor(world, journal, tokens=Tokens("other")).run("r", plan())
    assert after == before
    assert len(world.started) == 3


def test_a_failed_update_halts_with_what_eks_said():
    """An upgrade that went on to the next stage after a failure would hide it; the words of EKS must reach the user."""
    world = FakeWorld(fail="node-group/main")
    notes = Notes()
    with pytest.raises(HaltedError) as caught:
        conductor(world, MemoryJournal(), notes).run("r", plan())
    assert "PodEvictionFailure: Reached max retries (ip-1)" in caught.value.message
    assert caught.value.exit_code == 4
    assert [e.kind for e in notes.events if e.source == "conductor"] == [
        "stage.started",
        "stage.ended",
        "stage.started",
        "stage.ended",
        "stage.started",
        "stage.halted",
    ]


def test_a_change_already_made_is_recorded_and_not_made_again():
    """Somebody upgraded the control plane by hand: Baton must carry on with the add-ons, not send the version again."""
    world = FakeWorld()
    world.update_cluster_version("demo", "1.35", token="by hand")
    world.clock.sleep(700)
    records = conductor(world, MemoryJournal()).run("r", plan())
    assert [key for _, key in world.started] == ["cluster", "addon/coredns", "node-group/main"]
    assert records[0].resumed


def test_a_file_that_is_no_journal_is_named(tmp_path: Path):
    """A wrong --journal must not be overwritten, and the message must say which file is meant."""
    wrong = tmp_path / "notes.txt"
    wrong.write_text("remember the milk " * 100)
    with pytest.raises(ReadError) as caught:
        SqliteJournal(wrong)
    assert str(wrong) in str(caught.value)
    assert wrong.read_text().startswith("remember")


def test_an_open_run_is_found_again(tmp_path: Path):
    """Without it `baton apply` after a kill would start from the beginning."""
    journal = SqliteJournal(tmp_path / "j.db")
    journal.start_run("r1", "demo", {"to": "1.35"}, 5.0)
    journal.close()
    again = SqliteJournal(tmp_path / "j.db")
    assert again.open_run("demo") == ("r1", {"to": "1.35"})
    again.finish_run("r1", "succeeded", 9.0)
    assert again.open_run("demo") is None
    assert again.last_run("demo") == ("r1", {"to": "1.35"}, "succeeded")
