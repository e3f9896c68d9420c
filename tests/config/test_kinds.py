"""A kind is one class: registered once, under a name, with its keys, its checks, what it builds."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from adaspan.config.kinds.registry import KINDS, extension_of, register
from adaspan.config.kinds.span import FixedSpanConfig, SpanConfig
from adaspan.config.resolved import read_config, to_yaml
from adaspan.config.schema import RunConfig
from adaspan.config.validate import validate
from adaspan.errors import UserError
from adaspan.nn.attention import IMPLEMENTATIONS
from adaspan.nn.span import FixedSpan, Span
from adaspan.runs.identity import run_id, run_name
from tests.conftest import compose_run

pytestmark = pytest.mark.usefixtures("kinds_as_before")


@dataclass
class OwnSpanConfig(SpanConfig):
    """A kind from outside the package."""

    width: int = 3

    def build(self, *, dim: int, heads: int, layer: int) -> Span:
        return FixedSpan(heads, self.limit)


def test_what_is_registered_has_its_name_and_says_where_it_is_from() -> None:
    register("span", "own")(OwnSpanConfig)
    assert OwnSpanConfig(limit=1).kind == "own"
    assert extension_of("span", "own") == __name__
    assert extension_of("span", "fixed") is None


def test_a_module_that_is_read_again_registers_its_kinds_again() -> None:
    assert register("span", "own")(OwnSpanConfig) is register("span", "own")(OwnSpanConfig)


def not_a_dataclass() -> type:
    class Plain(SpanConfig): ...

    return Plain


@dataclass
class NarrowSpanConfig(FixedSpanConfig):
    """The same kind in another version of its module."""


@dataclass
class NoSpanConfig(SpanConfig):
    width: int = 3


@dataclass
class OldSpanConfig(SpanConfig):
    def build(self, dim: int, heads: int) -> Span:  # type: ignore[override]
        return FixedSpan(heads, self.limit)


@dataclass
class PathSpanConfig(OwnSpanConfig):
    files: list[Path] = field(default_factory=list)


@dataclass
class HidingSpanConfig(OwnSpanConfig):
    budget: int = 3  # type: ignore[assignment]


@dataclass
class ComplexSpanConfig(OwnSpanConfig):
    frequency: complex = 1j


@pytest.mark.slow
@pytest.mark.parametrize(
    ("group", "name", "kind", "message"),
    [
        ("spam", "own", OwnSpanConfig, "no such group; one of span, data, optimizer, att"),
        ("span", "my own", OwnSpanConfig, "a name has letters, digits and underscores only"),
        ("span", "fixed", OwnSpanConfig, "is taken by adaspan.config.kinds.span.FixedSpanConfig"),
        ("data", "own", OwnSpanConfig, "must be a dataclass derived from adaspan.DataConfig"),
        ("span", "own", not_a_dataclass(), "Plain must be a dataclass: @dataclass stands below @"),
        ("span", "own", lambda: 3, "must be a dataclass derived from adaspan.SpanConfig"),
        ("span", "own", NoSpanConfig, "NoSpanConfig must have a method build"),
        ("span", "own", HidingSpanConfig, "budget: SpanConfig has something of this name; rename"),
        ("span", "own", PathSpanConfig, f"files: list[{Path.__module__}.Path]; a key is an int, f"),
        ("span", "own", ComplexSpanConfig, "frequency: Unexpected type annotation: complex"),
        ("attention", "own", 3, "must be a function, is an int"),
        ("span", "own", OldSpanConfig, "build must take (self, *, dim, heads, layer), takes (self"),
        ("attention", "own", lambda query: query, "must take (), takes (query)"),
        ("figure", "own/a", lambda: 1.0, "must take (evaluation), takes ()"),
        ("figure", "span/", len, "digits and underscores only, with slashes between"),
        ("attention", "a/b", len, "a name has letters, digits and underscores only"),
    ],
)
def test_what_cannot_be_registered_is_refused_in_one_line(
    group: str, name: str, kind: Callable[..., object], message: str
) -> None:
    with pytest.raises(UserError) as refused:
        register(group, name)(kind)
    (line,) = str(refused.value).splitlines()
    assert line.startswith(f'register("{group}", "{name}"): ')
    assert message in line


def test_two_figures_that_wandb_could_not_tell_apart_are_refused() -> None:
    register("figure", "own/first_layer")(len)
    with pytest.raises(UserError, match="W&B could not tell it from own/first_layer"):
        register("figure", "own_first/layer")(len)


@dataclass
class GroupedSpanConfig(OwnSpanConfig):
    """Heads in groups, which is a matter of two groups of keys."""

    limit: int = 8

    def mistakes_in(self, config: RunConfig) -> Iterator[str]:
        if config.model.heads % self.width:
            yield f"span.width={self.width}: must divide model.heads={config.model.heads}"


@pytest.mark.slow
def test_values_of_two_groups_are_checked_together_once_each_is_right(
    capsys: pytest.CaptureFixture[str],
) -> None:
    register("span", "own")(GroupedSpanConfig)
    compose_run("span=own", "model.heads=6", "model.dim=60")
    for heads, line in (
        (4, "span.width=3: must divide model.heads=4"),
        (0, "model.heads=0: must be at least 1"),
    ):
        with pytest.raises(SystemExit):
            compose_run("span=own", f"model.heads={heads}", "model.dim=60")
        assert capsys.readouterr().err.splitlines() == [f"adaspan: error: {line}"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("given", "message"),
    [
        (None, "must yield lines, returned None"),
        ("span.width=3: must be even", "must yield lines, returned a str"),
        ([3], "must yield lines, gave an int"),
    ],
)
@pytest.mark.parametrize("method", ["mistakes", "mistakes_in"])
def test_mistakes_that_are_no_lines_are_refused_by_name(
    method: str, given: object, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    register("span", "own")(OwnSpanConfig)
    monkeypatch.setattr(OwnSpanConfig, method, lambda *_: given)
    run = compose_run("span=fixed")
    run.span = OwnSpanConfig(limit=3)
    with pytest.raises(UserError) as refused:
        validate(run)
    assert str(refused.value) == f"span=own: OwnSpanConfig.{method}: {message}"


def test_the_built_in_kinds_of_attention_are_those_that_there_are() -> None:
    assert {name: make() for name, make in KINDS["attention"].items()} == IMPLEMENTATIONS


def test_a_run_whose_kind_is_not_known_here_is_read_with_all_its_values(tmp_path: Path) -> None:
    register("span", "own")(OwnSpanConfig)
    run = compose_run("span=fixed")
    run.span = OwnSpanConfig(limit=77, width=5)
    (tmp_path / "config.yaml").write_text(to_yaml(run))
    del KINDS["span"]["own"]
    read = read_config(tmp_path)
    assert not isinstance(read.span, OwnSpanConfig)
    assert (read.span.kind, read.span.limit) == ("own", 77)
    assert run_id(read) == run_id(run)
    assert run_name(read) == run_name(run)
    register("span", "own")(NarrowSpanConfig)
    with pytest.raises(UserError, match=r"span\.width: config\.yaml has this key, but .* Narrow"):
        read_config(tmp_path)
    (tmp_path / "config.yaml").write_text(to_yaml(compose_run("span=fixed")))
    assert isinstance(read_config(tmp_path).span, FixedSpanConfig)


@pytest.mark.slow
def test_looking_at_the_kinds_needs_no_torch() -> None:
    listed = "import sys, adaspan.config.hydra as h; h.register(); print('torch' in sys.modules)"
    end = subprocess.run([sys.executable, "-c", listed], capture_output=True, text=True, check=True)
    assert end.stdout == "False\n"
