"""Fits at once need Ray, which an installation may leave out."""

from __future__ import annotations

import pytest

from evenodd.flow.plan import make_plan
from evenodd.flow.schedule import places, runtime
from evenodd.settings import make_request


def test_without_ray_fits_run_one_after_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """`main` fits several variants by default; it has to work where only the base dependencies are installed."""
    monkeypatch.setattr(runtime, "find_spec", lambda name: None)
    monkeypatch.setattr("torch.get_num_threads", lambda: 8)
    plans = [make_plan(name, make_request({})) for name in ("odd", "even")]
    assert places.fits_at_once(None, plans) == 1


@pytest.mark.parametrize(("jobs", "cluster", "said"), [(2, None, "jobs=2"), (1, "auto", "engine=auto")])
def test_asking_for_several_fits_without_ray_names_the_extra(
    jobs: int, cluster: str | None, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An import error would name a module, not the way out."""
    monkeypatch.setattr(runtime, "find_spec", lambda name: None)
    with pytest.raises(RuntimeError, match=rf"{said} needs ray.*evenodd\[ray\]"), places.open_places(jobs, cluster):
        pass
