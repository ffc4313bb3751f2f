import pytest
from tests.account.room import Room


@pytest.fixture
def room() -> Room:
    return Room()
