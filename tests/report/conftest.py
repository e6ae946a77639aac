"""One study for all tests of the report."""

from __future__ import annotations

import pytest

from .study import Study, make_study


@pytest.fixture(scope="session")
def study() -> Study:
    return make_study(num_members=4)
