"""The field's leaderboard is recorded whole."""

from solo_adv.paper.field import PROTOCOLS, leaderboard


def test_every_method_has_every_protocol():
    found = {(placed.method, placed.protocol): placed for placed in leaderboard()}
    methods = {method for method, _ in found}
    assert len(found) == len(leaderboard()) == len(methods) * len(PROTOCOLS) == 30


def test_figures_are_as_printed():
    found = {(p.method, p.protocol): (p.clean, p.corruptions, p.autoattack) for p in leaderboard()}
    assert found["DynACL-AIR++", "slf"] == (81.80, 72.11, 46.99)
    assert found["DeACL", "alf"] == (77.71, 71.66, 41.99)
    assert found["ACL", "aff"] == (81.25, 72.50, 49.60)
    assert found["RoCL", "slf"] == (77.90, None, 26.12)
    assert all(40 < clean <= 100 and robust < clean for clean, _, robust in found.values())


def test_every_figure_has_a_source():
    assert all(p.link.startswith("https://arxiv.org/") for p in leaderboard())
    assert all("RobustSSL.github.io/tree/" in p.source for p in leaderboard())
