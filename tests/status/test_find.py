"""A sweep is found by the beginning of its name, a run by any part; what is ambiguous is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from adaspan.errors import UserError
from adaspan.files import write_json
from adaspan.status.find import find_run, find_runs, find_sweep, sweeps_of

SWEEPS: dict[str, dict[str, dict[str, str]]] = {
    "ramp-111111": {"text-ramp8-aaaaaaaaaa": {"span.ramp": "8"}},
    "seeds-222222": {"text-seed1-bbbbbbbbbb": {}, "text-ramp8-aaaaaaaaaa": {}},
    "seeds-333333": {"text-seed2-cccccccccc": {}},
}


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    for sweep, of_sweep in SWEEPS.items():
        folder = tmp_path / "sweeps" / sweep
        folder.mkdir(parents=True)
        write_json(folder / "manifest.json", {"name": sweep, "runs": of_sweep})
        for name in of_sweep:
            (tmp_path / name).mkdir(exist_ok=True)
            (tmp_path / name / "config.yaml").write_text("")
    return tmp_path


def test_a_sweep_by_the_beginning_of_its_name(runs: Path) -> None:
    name, found = find_sweep(runs, "ramp")
    assert name == "ramp-111111"
    assert found == {runs / "text-ramp8-aaaaaaaaaa": {"span.ramp": "8"}}


def test_a_run_by_a_part_of_its_name_or_its_folder(runs: Path) -> None:
    assert find_run(runs, "seed2") == runs / "text-seed2-cccccccccc"
    assert find_run(runs, str(runs / "text-seed2-cccccccccc")) == runs / "text-seed2-cccccccccc"


def test_a_run_has_one_path_however_its_folder_is_spelled(
    runs: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = runs / "text-seed2-cccccccccc"
    monkeypatch.chdir(runs)
    assert find_run(Path(), str(run)) == Path("text-seed2-cccccccccc")
    assert find_run(runs, "text-seed2-cccccccccc/") == run
    monkeypatch.chdir(run)
    assert find_run(runs, ".") == run
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "text-seed2-cccccccccc"
    elsewhere.mkdir()
    (elsewhere / "config.yaml").write_text("")
    assert find_run(runs, str(elsewhere)) == elsewhere


def test_a_name_that_matches_several_or_none_is_refused_with_those_there_are(runs: Path) -> None:
    with pytest.raises(
        UserError, match=r"seeds: matches 2 in .*seeds-222222, seeds-333333; type more"
    ):
        find_sweep(runs, "seeds")
    with pytest.raises(UserError, match="text: matches 3 in"):
        find_run(runs, "text")
    with pytest.raises(
        UserError,
        match=r"spam: no run in .*/ has this in its name; the last: text-seed2-ccc.*; --runs names",
    ):
        find_run(runs, "spam")


def test_several_names_and_none(runs: Path) -> None:
    assert len(find_runs(runs, ["ramp", "seed2"])) == 2
    assert len(find_runs(runs, [])) == 3


def test_a_run_knows_all_its_sweeps(runs: Path) -> None:
    assert sorted(sweeps_of(runs, runs / "text-ramp8-aaaaaaaaaa")) == [
        "ramp-111111",
        "seeds-222222",
    ]


def test_a_sweep_by_the_path_that_the_shell_completes(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(runs.parent)
    path = f"{runs.name}/sweeps/ramp-111111/"
    assert find_sweep(Path(runs.name), path)[0] == "ramp-111111"
    assert [*find_runs(Path(runs.name), [path])] == [Path(runs.name) / "text-ramp8-aaaaaaaaaa"]
    with pytest.raises(UserError, match=rf"ramp-111111/: is not in elsewhere; add --runs {runs}"):
        find_sweep(Path("elsewhere"), path)
    assert find_sweep(runs, path)[0] == "ramp-111111", "as the error says"


@pytest.mark.parametrize("name", ["seed2", "text-seed2-cccccccccc"])
def test_a_run_in_place_of_a_sweep_is_told_and_what_to_type(runs: Path, name: str) -> None:
    for given in (name, str(runs / "text-seed2-cccccccccc")):
        with pytest.raises(UserError) as told:
            find_sweep(runs, given)
        assert str(told.value) == (
            f"{given}: is a run, not a sweep; adaspan explain {given} shows it; "
            "its sweep is seeds-333333"
        )
        assert find_run(runs, given).name == "text-seed2-cccccccccc"
    with pytest.raises(UserError, match=r"text: matches no sweep, but runs: .*; leave it out"):
        find_sweep(runs, "text")


def test_a_sweep_in_place_of_a_run_is_told_and_what_to_type(runs: Path) -> None:
    for given in ("ramp-11", str(runs / "sweeps" / "ramp-111111")):
        with pytest.raises(UserError) as told:
            find_run(runs, given)
        line = f"{given}: is a sweep, not a run; adaspan status {given} lists its runs"
        assert str(told.value) == line
        assert find_sweep(runs, given)[0] == "ramp-111111"


def test_a_list_that_is_cut_says_how_many_more_there_are(runs: Path) -> None:
    for i in range(7):
        (runs / f"text-more{i}").mkdir()
        (runs / f"text-more{i}" / "config.yaml").write_text("")
    with pytest.raises(UserError, match=r"text-more6, text-more5 and 5 more; --runs"):
        find_run(runs, "spam")
    with pytest.raises(UserError, match=r"text-more4 and 2 more; type more"):
        find_run(runs, "more")
