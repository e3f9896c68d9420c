"""What tests register is forgotten after them."""

import copy

import pytest
from hydra.core.config_store import ConfigStore

from adaspan.config.kinds.registry import KINDS


@pytest.fixture
def kinds_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kinds, and the options that Hydra knows of them."""
    for group, kinds in KINDS.items():
        monkeypatch.setitem(KINDS, group, dict(kinds))
    store = ConfigStore.instance()
    monkeypatch.setattr(store, "repo", copy.deepcopy(store.repo))
