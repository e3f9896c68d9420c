"""Where Hydra ends: its composed dictionary becomes a typed `RunConfig`, its errors one line."""

from __future__ import annotations

import dataclasses
import difflib
import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra._internal.utils import get_args_parser
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import (
    ConfigAttributeError,
    ConfigKeyError,
    InterpolationKeyError,
    MissingMandatoryValue,
    OmegaConfBaseException,
)
from yaml import MarkedYAMLError

from adaspan.config import schema
from adaspan.config.validate import validate
from adaspan.errors import UserError, reported_in_one_line

# Holds `hydra_plugins`, the package in which Hydra looks for plugins.
_PLUGINS = str(Path(__file__).parents[1] / "_plugins")

# What every configuration of ours tells Hydra: no folders, no logging, no change of directory.
# The run folder is ours (see `run_folder.py`).
_HYDRA_SETTINGS = {
    "run": {"dir": "."},
    "sweep": {"dir": "${output_dir}/sweeps/search-${now:%Y%m%d-%H%M%S}"},  # what a search found
    "output_subdir": None,
    "job": {"name": "adaspan", "chdir": False},
}
# What they choose, unless the command line or a file in sweeps/ says otherwise. Those could not if
# it stood in config.yaml, whose word is the last.
_HYDRA_CHOICES = {
    "sweeper": "grid",
    "launcher": "local",
    "job_logging": "none",
    "hydra_logging": "none",
}

_PLAIN = re.compile(r"[\w./:~+-]+")  # what Hydra reads without quotes

_HELP = """Trains one run of the adaptive-span transformer; W&B and checkpoints in its run folder.

  python launch.py key=value ...        one run; the same command again goes on with it
  python launch.py -m key=a,b key=c,d   one run for each combination
  python launch.py sweeps=NAME ...      the runs of a figure or a table; sweeps/ holds them
  python launch.py --cfg job key=value  only show the configuration

Groups, as group=option (conf/GROUP/OPTION.yaml says what an option is):

{groups}

Keys that matter, as key=value (adaspan/config/schema.py has them all):

  model.layers  model.dim  model.heads  model.ffn_dim  model.dropout
  span.limit  span.ramp  span.loss_coefficient
  data.path  (with data=text)
  optimizer.lr  optimizer.warmup_steps  optimizer.grad_clip
  train.steps  train.batch_size  train.block_size  train.micro_batches
  train.eval_every  train.checkpoint_every  train.seed  train.device
  train.precision  train.attention  train.restart
  tracking.mode  tracking.project  tracking.entity  output_dir
"""


def register(conf: Path) -> None:
    """Make the typed schemas, the resolvers, our plugins and the help text known to Hydra.

    Args:
        conf: folder of the groups that the help text lists.
    """
    if _PLUGINS not in sys.path:
        sys.path.append(_PLUGINS)
    store = ConfigStore.instance()
    choices = [{f"override /hydra/{group}": chosen} for group, chosen in _HYDRA_CHOICES.items()]
    settings = {**_HYDRA_SETTINGS, "help": {"template": _HELP.format(groups=_groups(conf))}}
    store.store(group="_schema", name="run", node=schema.RunConfig, package="_global_")
    store.store(group="_schema", name="hydra_settings", node=settings, package="hydra")
    store.store(group="_schema", name="hydra_choices", node={"defaults": choices})
    for group, kinds in schema.KINDS.items():
        for kind, node in kinds.items():
            store.store(group="_schema", name=f"{group}_{kind}", node=node)
    store.store(group="_schema", name="launcher_local", node=schema.LocalLauncherConfig)
    slurm = OmegaConf.structured(schema.SlurmLauncherConfig)
    OmegaConf.set_struct(slurm.sbatch, False)  # sbatch knows its fields, we need not
    store.store(group="_schema", name="launcher_slurm", node=slurm)
    store.store(group="_schema", name="sweeper_grid", node=schema.GridSweeperConfig)
    OmegaConf.register_new_resolver("multiply", lambda a, b: a * b, replace=True)


def _groups(conf: Path) -> str:
    options: dict[str, list[str]] = {}
    for path in sorted(conf.glob("*/*.yaml")):
        options.setdefault(path.parent.name, []).append(path.stem)
    return "\n".join(f"  {group:<10}  {', '.join(names)}" for group, names in options.items())


@contextmanager
def explained_errors() -> Iterator[None]:
    """Raise what Hydra and OmegaConf refuse as a `UserError`."""
    try:
        yield
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(_explain(error)) from error
    except MarkedYAMLError as error:
        place = error.problem_mark
        where = f"{place.name}, line {place.line + 1}: " if place else ""
        raise UserError(f"{where}{error.problem}") from error
    except ValueError as error:
        if "Config group override must be" in str(error):  # Hydra's answer to model=null
            raise UserError("a group needs the name of one of its options, not null") from error
        if str(error).startswith("Only one of --run"):
            raise UserError(str(error)) from error
        raise


@explained_errors()
def to_run_config(composed: DictConfig) -> schema.RunConfig:
    """Resolve, type and validate what Hydra composed.

    Paths become absolute where they are part of the run's identity.

    Raises:
        UserError: one line for every missing, unknown or refused value.
    """
    mistakes = [
        *_added_keys(composed),
        *(f"{key}: needs a value, {key}=…" for key in sorted(OmegaConf.missing_keys(composed))),
        *_renamed_kinds(composed),
    ]
    if mistakes:
        raise UserError("\n".join(mistakes))
    run = OmegaConf.to_object(composed)
    assert isinstance(run, schema.RunConfig)
    run.data_dir = run.data_dir and str(Path(run.data_dir).expanduser())
    run.output_dir = run.output_dir and str(Path(run.output_dir).expanduser())
    if isinstance(run.data, schema.TextDataConfig) and run.data.path:
        run.data.path = str(Path(run.data.path).expanduser().resolve())
    validate(run)
    return run


def require_multirun() -> None:
    """Raise `UserError` if a launcher was chosen that a single run would pass over."""
    hydra = HydraConfig.get()
    launcher = hydra.runtime.choices.get("hydra/launcher")
    if hydra.mode is RunMode.RUN and launcher not in (_HYDRA_CHOICES["launcher"], "basic"):
        raise UserError(
            f"hydra/launcher={launcher}: takes runs with -m only; add -m, for one run, too"
        )


def require_known_flags() -> None:
    """Raise `UserError` for what Hydra would answer with all its flags: one that it does not know,
    and `key=value` on both sides of a flag.
    """
    _, unknown = get_args_parser().parse_known_args()
    for word in unknown[:1]:
        if word.startswith("-"):
            raise UserError(f"{word}: no such flag; python launch.py --help")
        raise UserError(f"{word}: stands after a flag and others before it; write flags first")


def default_values(conf: Path, overrides: Sequence[str]) -> dict[str, Any]:
    """The values of the default run with some overrides, nested. Only after `register`."""
    with initialize_config_dir(str(conf.resolve()), version_base="1.3"):
        values = OmegaConf.to_container(compose("config", overrides=list(overrides)), resolve=True)
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}


@contextmanager
def user_errors() -> Iterator[None]:
    """Report every mistake in a command line or a YAML file in one line each, exit code 2.

    `HYDRA_FULL_ERROR=1` shows Hydra's own trace instead.
    """
    before = os.environ.get("HYDRA_FULL_ERROR")
    os.environ["HYDRA_FULL_ERROR"] = "1"  # or Hydra prints and exits before its error gets here
    try:
        with reported_in_one_line(), nullcontext() if before == "1" else explained_errors():
            yield
    finally:
        if before is None:
            del os.environ["HYDRA_FULL_ERROR"]


def _explain(error: Exception) -> str:
    """One line for what Hydra and OmegaConf say in five."""
    cause = error.__cause__ if isinstance(error.__cause__, OmegaConfBaseException) else error
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, option = error.missing_cfg_file.rpartition("/")
        if not group:
            return f"--config-name {option}: there is no {option}.yaml where --config-path points"
        return f"{group}={option}: no such option{_way_out(option, error.options or [])}"
    if isinstance(error, OverrideParseException):
        return f"{error.override}: cannot be read; write key=value"
    if isinstance(cause, InterpolationKeyError):
        return f"{cause.full_key}: {str(cause).splitlines()[0]}"
    if isinstance(cause, ConfigAttributeError | ConfigKeyError) and cause.full_key:
        typed = re.search(r"To append to your config use \+(.*)", str(error))
        return _unknown_key(cause.full_key, cause.object_type, typed[1] if typed else None)
    if isinstance(cause, MissingMandatoryValue) and cause.full_key:
        return f"{cause.full_key}: needs a value"
    if match := re.match(r"In '([^']*)': \w+ raised while composing config:\s*(.*)", str(error)):
        if match[1].startswith("sweeps/wandb/"):
            return f"{match[1].replace('/', '=', 1)}: is for W&B: wandb sweep {match[1]}.yaml"
        return f"{match[1]}.yaml: {_explain_in_file(error.__context__, match[2])}"
    if match := re.match(r"Multiple values for ([\w/@]+)\. To override", str(error)):
        return f"{match[1]}: chosen already; write {match[1]}=OPTION, without a plus"
    if match := re.search(r"Could not append to config. An item is already at '(.*?)'", str(error)):
        return f"{match[1]}: has a value already; write {match[1]}=VALUE, without a plus"
    if match := re.match(r"Ambiguous value for argument '(.*)'", str(error)):
        return f"{match[1]}: several values; add -m to train one run for each"
    if match := re.match(r"Error merging override (.*)", str(error)):
        return f"{match[1]}: {_wanted_type(str(cause).splitlines()[0])}"
    return " ".join(str(error if cause is error else f"{error}: {cause}").split())


def _explain_in_file(cause: BaseException | None, said: str) -> str:
    """What is wrong in a YAML file: with a key, or with its value."""
    if match := re.match(r"Merge error: \w+ is not a subclass of (\w+)\. value: (.*)", said):
        part = _part_of(match[1])
        return (
            f"{part}: {match[2]}: must hold keys; an option is chosen by "
            f"defaults: [override /{part}: OPTION]"
        )
    if not isinstance(cause, OmegaConfBaseException) or not cause.full_key:
        return said
    if isinstance(cause, ConfigAttributeError | ConfigKeyError):
        return _unknown_key(cause.full_key, cause.object_type)
    return f"{cause.full_key}: {_wanted_type(said)}"


def _part_of(schema_class: str) -> str:
    """The key of a run under which such a class stands; the class if there is none."""
    for field in dataclasses.fields(schema.RunConfig):
        kinds = [field.default_factory, *schema.KINDS.get(field.name, {}).values()]
        if schema_class in [getattr(kind, "__name__", "") for kind in kinds]:
            return field.name
    return schema_class


def _unknown_key(full_key: str, schema_class: Any, typed: str | None = None) -> str:
    """One line for a key that is not there.

    Args:
        full_key: its path, as far as the last part that is missing.
        schema_class: what should hold it.
        typed: key and value as they were given, if known.
    """
    group, _, key = full_key.rpartition(".")
    said = f"{typed or full_key}: no such key"
    having = [kind for kind, node in schema.KINDS.get(group, {}).items() if key in _keys(node)]
    if having:
        others = " or ".join(f"{group}={kind}" for kind in having)
        return f"{said} of this {group}; it is one of {others}"
    for field in dataclasses.fields(schema.RunConfig):
        if not group and key in _keys(field.default_factory):
            return f"{said}; did you mean {field.name}.{key}?"
    return said + _way_out(key, _keys(schema_class), f"{group}." if group else "")


def _way_out(typed: str, known: Iterable[str], prefix: str = "") -> str:
    known = [name for name in known if not name.startswith("_")]
    if close := difflib.get_close_matches(typed, known, n=1):
        return f"; did you mean {prefix}{close[0]}?"
    return f"; one of {', '.join(known)}" if known else ""


def _wanted_type(message: str) -> str:
    """OmegaConf's class names in words: `could not be converted to Integer` and the like."""
    for part, words in (
        ("to Integer", "must be a whole number"),
        ("to Float", "must be a number"),
        ("valid bool", "must be true or false"),
        ("is not Optional", "needs a value"),
        ("Incompatible value 'None'", "needs a value"),
        ("is not a ListConfig", "must be a list: [a,b]"),
    ):
        if part in message:
            return words
    return message


def _keys(schema_class: Any) -> list[str]:
    if not dataclasses.is_dataclass(schema_class):
        return []
    return [field.name for field in dataclasses.fields(schema_class)]


def _renamed_kinds(composed: DictConfig) -> Iterator[str]:
    """`span.kind=fixed`, which would only mislabel an adaptive span."""
    for group in schema.KINDS:
        kind, node = composed[group].kind, OmegaConf.get_type(composed[group])
        if schema.KINDS[group].get(kind) is not node:
            yield f"{group}.kind={kind}: give {group}={kind} instead"


def _added_keys(node: DictConfig, prefix: str = "") -> Iterator[str]:
    """Keys that `+key=value` or a YAML file smuggled past the schema."""
    for key in map(str, node):
        full_key = f"{prefix}{key}"
        if key not in _keys(OmegaConf.get_type(node)):
            yield _unknown_key(full_key, OmegaConf.get_type(node), f"{full_key}={node[key]}")
        elif not OmegaConf.is_missing(node, key) and isinstance(node[key], DictConfig):
            yield from _added_keys(node[key], f"{full_key}.")


def written(value: object) -> str:
    """A value as Hydra reads it on a command line."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str) and not _PLAIN.fullmatch(value):
        quoted = value.replace("'", "\\'")
        return f"'{quoted}'"
    return str(value)
