"""The calendar, the add-on catalogue and the API table."""

from __future__ import annotations

import pytest

from baton.knowledge.tables import EXTENDED, STANDARD, UNSUPPORTED, Knowledge, day, days_until
from baton.model.versions import AddonVersion, Minor

KNOWLEDGE = Knowledge.load()
MINORS = [f"1.{n}" for n in range(29, 37)]


@pytest.mark.parametrize(
    ("version", "today", "status"),
    [
        ("1.30", "2026-07-22", EXTENDED),
        ("1.30", "2026-07-23", UNSUPPORTED),
        ("1.31", "2026-11-23", EXTENDED),
        ("1.34", "2026-12-01", STANDARD),
        ("1.34", "2026-12-02", EXTENDED),  # the end-of-standard day is billed as extended
        ("1.35", "2026-11-23", STANDARD),
        ("1.36", "2026-06-02", STANDARD),
    ],
)
def test_support_status_follows_the_calendar(version: str, today: str, status: str) -> None:
    """A cluster would be told it is in standard support when it is billed as extended, or the other way round."""
    found = KNOWLEDGE.version(version, today)
    assert found is not None
    assert found.status == status


def test_a_version_not_yet_released_is_not_offered() -> None:
    """A plan would be made for a version that EKS does not have yet."""
    assert KNOWLEDGE.version("1.36", "2026-06-01") is None
    assert KNOWLEDGE.version("1.37", "2026-11-23") is None


def test_the_support_periods_are_fourteen_and_twelve_months() -> None:
    """A mistyped date in the calendar would go unnoticed."""
    for row in KNOWLEDGE.releases:
        released, standard, extended = row.released, row.end_standard, row.end_extended
        assert 418 <= days_until(released, standard) <= 432, row.version
        assert 364 <= days_until(standard, extended) <= 366, row.version


def test_prices_per_month() -> None:
    """The cost of staying in extended support would be wrong in every report."""
    assert KNOWLEDGE.monthly_price(STANDARD) == 73.0
    assert KNOWLEDGE.monthly_price(EXTENDED) == 438.0


@pytest.mark.parametrize("minor", MINORS)
@pytest.mark.parametrize("name", sorted(KNOWLEDGE.addons))
def test_every_addon_has_one_default_for_every_version(name: str, minor: str) -> None:
    """A cluster version would have an add-on without a default: Terraform's data source fails."""
    marked = [r for r in KNOWLEDGE.addon_releases(name, minor) if minor in r.default_for]
    assert len(marked) == 1
    assert KNOWLEDGE.default_addon(name, minor) == marked[0]


@pytest.mark.parametrize("name", sorted(KNOWLEDGE.addons))
def test_addon_versions_are_listed_newest_first(name: str) -> None:
    """`most_recent = true` takes the first entry: an older version listed first would be installed as the newest."""
    versions = [AddonVersion.parse(r.version) for r in KNOWLEDGE.addon_releases(name)]
    assert versions == sorted(versions, reverse=True)
    assert len(set(versions)) == len(versions)


@pytest.mark.parametrize("minor", MINORS[:-1])
@pytest.mark.parametrize("name", sorted(KNOWLEDGE.addons))
def test_the_default_of_a_version_still_fits_the_next(name: str, minor: str) -> None:
    """Add-ons follow the control plane, so the installed one has to fit the next version for a while."""
    default = KNOWLEDGE.default_addon(name, minor)
    assert default is not None
    assert str(Minor.parse(minor).plus(1)) in default.compatible


@pytest.mark.parametrize("minor", MINORS)
def test_kube_proxy_releases_never_fit_an_older_control_plane(minor: str) -> None:
    """kube-proxy newer than the API server would be offered."""
    for release in KNOWLEDGE.addon_releases("kube-proxy", minor):
        assert Minor.parse(release.version) <= Minor.parse(minor)


def test_every_row_names_a_known_source() -> None:
    """A figure made up for the emulator could pass for a documented one."""
    from baton.knowledge.tables import _read

    addons = _read("addons.json")
    for name, row in addons["addons"].items():
        for release in row["releases"]:
            assert release["source"] in addons["sources"], (name, release)
    versions = _read("versions.json")
    assert {r["source"] for r in versions["releases"]} <= set(versions["sources"])


def test_apis_removed_between_two_versions() -> None:
    """A removed API in use would not be found, or one removed long ago be blamed on this upgrade."""
    gone = {(r.group_version, r.kind) for r in KNOWLEDGE.removed_between(Minor(1, 31), Minor(1, 32))}
    assert ("flowcontrol.apiserver.k8s.io/v1beta3", "FlowSchema") in gone
    assert ("policy/v1beta1", "PodDisruptionBudget") not in gone
    assert KNOWLEDGE.removed_between(Minor(1, 32), Minor(1, 32)) == ()


def test_karpenter_minimum_falls_back_to_the_nearest_older_row() -> None:
    """A version newer than the table would be told that any Karpenter will do."""
    assert KNOWLEDGE.karpenter_minimum(Minor(1, 35)) == "1.9"
    assert KNOWLEDGE.karpenter_minimum(Minor(1, 38)) == "1.13"


def test_amazon_linux_2_ends_at_1_32() -> None:
    """A node group on Amazon Linux 2 would be planned to a version it has no image for."""
    assert KNOWLEDGE.family_fits("al2", Minor(1, 32))
    assert not KNOWLEDGE.family_fits("al2", Minor(1, 33))
    assert KNOWLEDGE.family_fits("al2023", Minor(1, 36))


def test_day_is_utc() -> None:
    """Support would seem to end a day early or late."""
    assert day(1_795_305_599.0) == "2026-11-21"
    assert day(1_795_305_600.0) == "2026-11-22"
