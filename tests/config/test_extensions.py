"""Modules of a user's own: found by name, told in a line what is wrong, and not run by looking."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

import adaspan
from adaspan.cli import main as adaspan_command
from adaspan.cli.usage import Commands
from adaspan.config.command_line import named_extensions
from adaspan.config.extensions import IMPORTED, import_extensions, import_installed
from adaspan.config.kinds.data import corpus_of
from adaspan.config.kinds.registry import KINDS
from adaspan.config.resolved import to_yaml
from adaspan.errors import UserError
from adaspan.runs.code.fingerprint import changed_files, code_of_run, require_as_imported
from adaspan.runs.code.snapshot import take
from adaspan.runs.extensions import extension_files, extension_records
from adaspan.runs.failures import FailureClass
from adaspan.runs.folder import RunFolder
from tests.conftest import ROOT, Launch, call, compose_run


def load_extensions(words: list[str]) -> None:
    """As a command line with these words does."""
    import_extensions(named_extensions(words))


OWN = """\
from dataclasses import dataclass
from adaspan.config.kinds.registry import register
from adaspan.config.kinds.span import FixedSpanConfig

@register("span", "{name}")
@dataclass
class OwnSpanConfig(FixedSpanConfig):
    width: int = 3
"""


@pytest.fixture(autouse=True)
def folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kinds_as_before: None
) -> Iterator[Path]:
    """The current folder, in which a test puts modules; what they leave is forgotten after it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    for name in [*IMPORTED]:
        monkeypatch.delitem(IMPORTED, name)
    before = set(sys.modules)
    yield tmp_path
    IMPORTED.clear()
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


@pytest.mark.parametrize(
    ("words", "content", "message"),
    [
        ("extensions=[mine]", "", "extensions=[mine]: registers nothing, found as /"),
        ("extensions=[colorsys]", "", "colorsys.py; if that is not yours, give your file another"),
        ("extensions=[mine]", OWN.format(name="fixed"), "is taken by adaspan.config.kinds.span."),
        ("extensions=[mine]", 2 * OWN.format(name="own"), ""),
        (
            "extensions=[mine]",
            "x = 1\nx.y",
            "AttributeError: 'int' object has no attribute 'y' (",
        ),
        ("extensions=[mine]", "x = (", "SyntaxError: '(' was never closed (mine.py, line 1)"),
        ("extensions=[mine]", "import nothing_here", "No module named 'nothing_here' (mine.py, l"),
        ("extensions=[mine]", "raise SystemExit(0)", "SystemExit: 0 (mine.py, line 1)"),
        ("extensions=[their]", "", "there is no module their: it must be beside launch.py, in th"),
        ("extensions=[minne]", "", "there is no module minne: did you mean mine?"),
        ("extensions=[their.own]", "", "there is no module their: it must be beside launch.py"),
        ("extensions=[mine.own]", OWN.format(name="own"), "there is no module mine.own"),
        ("extensions=[mine.py]", OWN.format(name="own"), "must be a module, not a file: mine"),
        ("extensions=['./mine.py']", "", "extensions=[./mine.py]: must be the name of a module"),
        ("extensions=mine", "", "extensions=mine: must be a list of modules: 'extensions="),
    ],
)
def test_what_is_wrong_with_a_module_is_one_line(words: str, content: str, message: str) -> None:
    Path("mine.py").write_text(content)
    if not message:
        load_extensions([words])
        return
    with pytest.raises(UserError) as refused:
        load_extensions([words])
    (line,) = str(refused.value).splitlines()
    assert line.startswith("extensions=")
    assert message in line


@pytest.mark.parametrize("word", ["extension=[mine]", "extentions=[mine]"])
def test_a_key_that_is_nearly_extensions_is_told_before_the_kinds_that_it_lacks(word: str) -> None:
    with pytest.raises(UserError) as refused:
        load_extensions([word, "span=own", "experiment=debug"])
    key = word.partition("=")[0]
    assert str(refused.value) == f"{key}: no such key; did you mean extensions?"
    load_extensions(["experiment=debug"])


def install(site: Path, module: str, content: str) -> None:
    """As pip does with a package that has an entry point."""
    record = site / f"{module}-1.0.dist-info"
    record.mkdir(parents=True)
    (record / "METADATA").write_text(f"Name: {module}\nVersion: 1.0\n")
    (record / "entry_points.txt").write_text(f"[adaspan.extensions]\n{module} = {module}\n")
    (site / f"{module}.py").write_text(content)


def test_a_broken_installed_extension_stops_only_runs_of_its_kinds(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    install(folder / "site", "theirs", OWN.format(name="own") + "\n1 / 0")
    monkeypatch.syspath_prepend(folder / "site")
    import_installed()
    assert capsys.readouterr().err == (
        "adaspan: warning: installed extension theirs: ZeroDivisionError: division by zero "
        "(theirs.py, line 10); left out\n"
    )
    assert compose_run("span=fixed").extensions == []
    with pytest.raises(SystemExit):
        compose_run("span=own")
    assert "span=own: no such option" in capsys.readouterr().err


@pytest.mark.parametrize("base", ["own", "/_schema/span_own@_here_"])
def test_an_option_of_ones_own_whose_kind_is_not_known_is_named_as_it_was_typed(
    base: str, folder: Path, launch_here: Launch
) -> None:
    (folder / "span").mkdir()
    (folder / "span" / "small.yaml").write_text(f"defaults: [{base}, _self_]")
    end = launch_here("--config-dir", str(folder), "span=small")
    assert end.returncode == 2
    (line,) = end.stderr.splitlines()
    assert line.startswith("adaspan: error: span=small: its file needs the kind span=own, which is")


def test_a_figure_that_has_a_built_in_name_is_refused_before_anything_starts(
    folder: Path, launch_here: Launch
) -> None:
    Path("mine.py").write_text(
        "import adaspan\nadaspan.register('figure', 'valid/bpb')(lambda evaluation: 1)"
    )
    end = launch_here("extensions=[mine]", "--cfg", "job")
    assert end.returncode == 2
    assert end.stderr.startswith('adaspan: error: register("figure", "valid/bpb"): this key be')


def test_two_modules_that_register_one_name_are_told_apart() -> None:
    Path("first.py").write_text(OWN.format(name="own"))
    Path("second.py").write_text(OWN.format(name="own"))
    with pytest.raises(UserError) as refused:
        load_extensions(["extensions=[first,second]"])
    assert str(refused.value) == (
        'extensions=[second]: register("span", "own"): is taken by first.OwnSpanConfig'
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "files"),
    [
        (["extensions=[mine]"], {}),
        (["+extensions=[mine]"], {}),
        (["-m", "extensions=[mine]", "span.limit=1,2"], {}),
        (["--config-dir", ".", "experiment=big"], {"experiment/big.yaml": "extensions: [mine]"}),
        (["-m", "--config-dir", ".", "sweeps=all"], {"sweeps/all.yaml": "extensions:\n- mine"}),
        (
            ["-m", "--config-dir", ".", "experiment=small,big"],
            {"experiment/big.yaml": "extensions: [mine]", "experiment/small.yaml": "train: {}"},
        ),
        (["--config-path", "HERE", "--config-name", "own"], {"own.yaml": "extensions: [mine]"}),
        (["--config-path", "HERE"], {"config.yaml": "extensions: [mine]"}),
    ],
)
def test_modules_are_named_on_the_command_line_or_in_a_file_that_it_names(
    words: list[str], files: dict[str, str], folder: Path
) -> None:
    Path("mine.py").write_text(OWN.format(name="own"))
    for name, content in files.items():
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text(content)
    load_extensions([word.replace("HERE", str(folder)) for word in words])
    assert list(IMPORTED) == ["mine"]
    assert "own" in KINDS["span"]


def test_a_run_names_the_module_that_its_kind_is_from() -> None:
    Path("mine.py").write_text(OWN.format(name="own"))
    load_extensions(["extensions=[mine]"])
    run = compose_run("span=own", "span.limit=5")
    assert run.extensions == ["mine"]
    assert (run.span.kind, run.span.limit) == ("own", 5)
    assert compose_run("span=fixed").extensions == []


@pytest.mark.slow
def test_its_keys_are_checked_like_any_others(capsys: pytest.CaptureFixture[str]) -> None:
    Path("mine.py").write_text(OWN.format(name="own"))
    load_extensions(["extensions=[mine]"])
    for mistake, message in (
        ("span.wdith=3", "span.wdith=3: no such key; did you mean span.width?"),
        ("span.width=wide", "span.width=wide: must be a whole number"),
        ("span.limit=0", "span.limit=0: must be at least 1"),
        ("train.steps=10", "span.limit: needs a value"),
    ):
        with pytest.raises(SystemExit):
            compose_run("span=own", mistake)
        assert message in capsys.readouterr().err


def test_the_record_and_the_frozen_code_hold_the_module_and_what_is_beside_it(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    Path("mine.py").write_text("import own_parts\n" + OWN.format(name="own"))
    Path("beside.py").write_text("")  # which it may import later
    Path("json.py").write_text("")  # but nobody finds that
    Path("notes.txt").write_text("")
    Path("own_parts").mkdir()
    Path("own_parts", "__init__.py").write_text("")
    load_extensions(["extensions=[mine]"])
    needed = [folder / "beside.py", folder / "mine.py", folder / "own_parts"]
    assert extension_files() == needed
    (record,) = extension_records().values()
    assert record["file"] == str(folder / "mine.py")
    before = record["sha256"]
    code = take(ROOT, tmp_path_factory.mktemp("code"), needed)
    frozen = {
        path.relative_to(code / "frozen_extensions")
        for path in code.glob("frozen_extensions/**/*.py")
    }
    assert frozen == {Path("beside.py"), Path("mine.py"), Path("own_parts/__init__.py")}
    Path("mine.py").write_text("# edited")
    assert extension_records()["mine"]["sha256"] != before


def test_code_that_has_changed_since_the_last_start_is_named(folder: Path) -> None:
    Path("mine.py").write_text(OWN.format(name="own"))
    load_extensions(["extensions=[mine]"])
    before = code_of_run(["mine"])
    assert {*before} - {*code_of_run([])} == {"mine.py"}, "of what the run names"
    Path("mine.py").write_text(OWN.format(name="own") + "# a comment")
    require_as_imported(["mine"])
    Path("mine.py").write_text("edited = True")
    with pytest.raises(UserError, match=r"^mine\.py: edited since this process began; type"):
        require_as_imported(["mine"])
    assert code_of_run(["mine"]) == before
    del sys.modules["mine"]
    IMPORTED.clear()
    Path("mine.py").write_text(OWN.format(name="other") + "edited = True")
    load_extensions(["extensions=[mine]"])
    assert changed_files(before, code_of_run(["mine"])) == ["mine.py"]


def test_of_what_is_beside_an_extension_only_what_it_imports_counts(folder: Path) -> None:
    Path("mine.py").write_text(
        OWN.format(name="own") + "\ndef later():\n    import torch, own_parts.one\n"
    )
    Path("own_parts").mkdir()
    Path("own_parts", "__init__.py").write_text("from far import y")
    Path("own_parts", "one.py").write_text("x = 1")
    Path("far.py").write_text("y = 1")
    Path("unused.py").write_text("z = 1")
    load_extensions(["extensions=[mine]"])
    own = {*code_of_run(["mine"])} - {*code_of_run([])}
    assert own == {"mine.py", "own_parts/__init__.py", "own_parts/one.py", "far.py"}


READS = """\
from dataclasses import dataclass
import adaspan

class Once:
    name, characters = "once", False
    def key(self):
        return "always the same"
    def read(self):
        return {text!r} * 100

@adaspan.register("data", "own")
@dataclass
class OwnDataConfig(adaspan.DataConfig):
    def build(self, data_dir):
        return Once()
"""


def test_a_text_is_read_again_when_the_code_that_reads_it_has_changed(folder: Path) -> None:
    fingerprints = []
    for text in (b"one text", b"another one", b"one text"):
        Path("mine.py").write_text(READS.format(text=text))
        load_extensions(["extensions=[mine]"])
        fingerprints.append(corpus_of(KINDS["data"]["own"](), folder).fingerprint)
        del KINDS["data"]["own"], sys.modules["mine"]  # as another process starts
    assert fingerprints[0] != fingerprints[1]
    assert fingerprints[0] == fingerprints[2]
    assert len(list(folder.glob("prepared/*"))) == 2, "each code's text is kept"


DATA_FAILS = """\
from dataclasses import dataclass
import adaspan

class Csv:
    name, characters = "csv", False
    def key(self):
        return "1"  # key
    def read(self):
        return parsed()

def parsed():
    return b"text"  # read

@adaspan.register("data", "csv")
@dataclass
class CsvConfig(adaspan.DataConfig):
    def build(self, data_dir):
        return Csv()  # build
"""
SPAN_FAILS = """\
from dataclasses import dataclass
import adaspan
from adaspan.nn.span import FixedSpan

class Fails(FixedSpan):
    updates = 0
    def clamp_(self):
        self.updates += 1
        if self.updates == 2:
            self.nothing_here

@adaspan.register("span", "fails")
@dataclass
class FailsConfig(adaspan.SpanConfig):
    def mistakes(self):
        yield from super().mistakes()
        1 / (self.limit - 7)
    def build(self, *, dim, heads, layer):
        return Fails(heads, self.limit)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("part", "line"),
    [
        ("build", "CsvConfig.build: ZeroDivisionError: division by zero (mine.py, line 18)"),
        ("key", "Csv.key: ZeroDivisionError: division by zero (mine.py, line 7)"),
        ("read", "Csv.read: ZeroDivisionError: division by zero (mine.py, line 12)"),
    ],
)
def test_an_exception_of_a_data_set_is_one_line_and_its_trace_is_in_the_log(
    folder: Path, tiny: tuple[str, ...], launch_here: Launch, part: str, line: str
) -> None:
    Path("mine.py").write_text(DATA_FAILS.replace(f"  # {part}", ", 1 / 0"))
    kept = [word for word in tiny if not word.startswith("data")]
    end = launch_here(*kept, "extensions=[mine]", "data=csv")
    assert end.returncode == 1
    (log,) = folder.glob("runs/*/log.txt")
    where = f"; the trace is in runs/{log.parent.name}/log.txt"
    assert end.stderr == f"adaspan: error: data=csv: {line}{where}\n"
    assert log.read_text().startswith("Traceback (most recent call last):")
    assert log.read_text().endswith("ZeroDivisionError: division by zero\n")
    assert "no runs here" in call(adaspan_command, "adaspan", "status", folder=folder).stderr


@pytest.mark.slow
def test_an_exception_of_a_data_set_ends_a_sweep_before_it_begins(
    folder: Path, tiny: tuple[str, ...], launch_here: Launch
) -> None:
    Path("mine.py").write_text(DATA_FAILS.replace("  # read", ", 1 / 0"))
    kept = [word for word in tiny if not word.startswith("data")]
    end = launch_here("-m", *kept, "extensions=[mine]", "data=csv", "train.seed=1,2")
    assert end.returncode == 1
    (line,) = end.stderr.splitlines()
    assert line.startswith("adaspan: error: data=csv: Csv.read: ZeroDivisionError: division by ")
    assert not list(folder.glob("runs/*/"))


def test_an_exception_of_a_kind_that_a_command_uses_is_one_line(folder: Path) -> None:
    Path("mine.py").write_text(OWN.format(name="own") + "    def used(self):\n        1 / 0\n")
    load_extensions(["extensions=[mine]"])
    use = click.Command("use", callback=lambda: KINDS["span"]["own"](limit=3).used())
    end = call(Commands(commands=[use]), "adaspan", "use", folder=folder)
    assert end.returncode == 1
    assert end.stderr == (
        "adaspan: error: span=own: OwnSpanConfig.used: ZeroDivisionError: division by zero "
        "(mine.py, line 10)\n"
    )


@pytest.mark.slow
def test_an_exception_of_a_kind_while_it_trains_is_why_the_run_failed(
    folder: Path, tiny: tuple[str, ...], launch_here: Launch
) -> None:
    Path("mine.py").write_text(SPAN_FAILS)
    plain = [word for word in tiny if not word.startswith(("span.ramp", "span.initial"))]
    end = launch_here(*plain, "extensions=[mine]", "span=fails")
    assert end.returncode == 1
    line = (
        "span=fails: Fails.clamp_: AttributeError: 'Fails' object has no attribute 'nothing_here' "
        "(mine.py, line 10)"
    )
    (log,) = folder.glob("runs/*/log.txt")
    assert end.stderr.startswith(f"adaspan: error: {line}; the trace is in runs/")
    assert "in clamp_\n" in log.read_text()
    failure = RunFolder(log.parent).failure()
    assert failure is not None
    assert (failure.kind, failure.message) == (FailureClass.CODE, line)
    refused = launch_here(*plain, "extensions=[mine]", "span=fails", "span.limit=7")
    assert refused.returncode == 1
    assert refused.stderr == (
        "adaspan: error: span=fails: FailsConfig.mistakes: ZeroDivisionError: division by zero "
        "(mine.py, line 17)\n"
    )


def test_a_run_whose_module_is_gone_is_not_loaded(folder: Path) -> None:
    run = compose_run("output_dir=runs", "train.attention=reference")
    run.extensions = ["gone"]
    run.train.attention = "of_gone"
    RunFolder(folder / "runs" / "own").freeze(to_yaml(run), "0123")
    with pytest.raises(UserError, match=r"extensions=\[gone\]: there is no module gone"):
        adaspan.load(folder / "runs" / "own")


@pytest.mark.slow
@pytest.mark.parametrize("command", ["status", "explain own", "report", "logs own", "sync"])
def test_looking_at_a_run_imports_nothing_of_the_users(command: str, folder: Path) -> None:
    Path("mine.py").write_text(OWN.format(name="own"))
    load_extensions(["extensions=[mine]"])
    run = compose_run("span=own", "span.limit=1024", "output_dir=runs", "tracking=disabled")
    RunFolder(folder / "runs" / "own").freeze(to_yaml(run), "0123")
    (folder / "runs" / "own" / "log.txt").write_text("said\n")
    Path("mine.py").write_text("raise Exception('imported')")
    end = subprocess.run(
        [sys.executable, "-c", "from adaspan.cli import main; main()", *command.split()],
        env={**os.environ, "PYTHONPATH": f"{folder}:{ROOT}"},
        capture_output=True,
        text=True,
    )
    assert end.returncode == (1 if command == "status" else 0), end.stderr  # it is not done
    assert not end.stderr
    if command == "explain own":
        assert "python launch.py 'extensions=[mine]' span=own" in end.stdout
        values = {"span.limit=1024", "span.width=3"}
        assert values <= set(end.stdout.split()), "its defaults are not known here"
