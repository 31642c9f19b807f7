"""The table of attacks: each fails, as it should."""

import attacks
import pytest


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return attacks.Place(tmp_path_factory.mktemp("attacks"))


@pytest.mark.filterwarnings("ignore:tune. overwrite")
@pytest.mark.parametrize("attack", attacks.ATTACKS, ids=lambda one: f"{one.point}-{one.act.__name__}")
def test_an_attack_fails(attack, place):
    assert attacks.run(attack, place).startswith(attack.expected), attack.name
