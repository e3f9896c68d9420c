"""Where Hydra ends: the dictionary that it composed becomes a typed `RunConfig`."""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import omegaconf
from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from adaspan.config import schema
from adaspan.config.extensions import extension_errors_as_one_line, import_extensions
from adaspan.config.kinds.registry import GROUPS, KINDS, extension_of
from adaspan.config.mistakes import explained_errors, keys_of, unknown_key
from adaspan.config.moved import is_run_folder
from adaspan.config.typed import SWEEP_CHOICES
from adaspan.config.validate import validate
from adaspan.errors import UserError
from adaspan.places import CONF, DEFAULTS, LAUNCH, PACKAGE, SWEEPS, shown

# Holds `hydra_plugins`, the package in which Hydra looks for plugins.
_PLUGINS = str(PACKAGE / "_plugins")

# What every configuration of ours sets in Hydra: no folders, no logging, no change of directory.
# The run folder is ours (see `runs/folder.py`).
_HYDRA_SETTINGS = {
    "run": {"dir": "."},
    "sweep": {"dir": "${output_dir}/sweeps/search-${now:%Y%m%d-%H%M%S}"},  # results of a search
    "output_subdir": None,
    "job": {"name": "adaspan", "chdir": False},
}
# Their choices, unless the command line or a file in sweeps/ makes others: those could not override
# config.yaml, which is composed last.
_HYDRA_CHOICES = {**SWEEP_CHOICES, "job_logging": "none", "hydra_logging": "none"}

# OmegaConf 2.3 uses the later name for something else.
_REGISTER_RESOLVER = (
    "register_new_resolver" if omegaconf.__version__.startswith("2.3.") else "register_resolver"
)

# What a command line says of a launcher or a sweeper, which only a sweep has.
_OF_A_SWEEP = re.compile(r"[+~]*hydra[/.](launcher|sweeper)\b")
# What names a text.
_OF_DATA = re.compile(r"[+~]*data\b")

# What OmegaConf 2.4 says of lines in Hydra 1.3.
_WARNINGS_ABOUT_HYDRA = (
    (r"register_new_resolver\(\) is deprecated", r"hydra\.core\.utils"),
    (r"Implicit conversion from Version to str at 'hydra\.runtime\.version_base'", ""),
)

# The store, and what was put into it last: to do so takes a quarter of the time of a composition.
_stored: tuple[object, object] = (None, None)

_HELP = """Train one run of the adaptive-span transformer, or a sweep of runs.

  {launch} key=value ...        one run; the same command again resumes it
  {launch} -m key=a,b key=c,d   one run for each combination
  {launch} sweeps=NAME ...      all runs of the file sweeps/NAME.yaml
  {launch} --cfg job key=value  only show the configuration

Groups, as group=option:

{groups}

Each option is a file, which explains itself:

  {conf}/GROUP/OPTION.yaml
  {sweeps}/OPTION.yaml
  DIR/GROUP/OPTION.yaml  (your own, with --config-dir DIR)

Keys that matter, as key=value; {launch} --cfg job shows all:

  model.layers  model.dim  model.heads  model.dropout
  model.ffn_dim  (0: no feed-forward)  model.persistent  (learned keys and values per head)
  model.cutoffs  (of words: ids where clusters of narrower vectors begin)  model.divisor  model.tied
  span.limit  span.ramp  span.loss_coefficient
  data.path  (with data=text)
  optimizer.lr  optimizer.warmup_steps  optimizer.grad_clip
  train.steps  train.batch_size  train.block_size
  train.micro_batches  (gradient accumulation: parts of a batch)
  train.eval_every  train.checkpoint_every  train.seed  train.device
  train.precision  train.attention  train.restart
  train.extend  (false: begin at step 0 although a shorter run could be continued)
  tracking.mode  tracking.project  tracking.entity  output_dir
"""


def register(folders: Sequence[Path] = (CONF,)) -> None:
    """Make the typed schemas, the resolvers, our plugins and the help text known to Hydra.

    Args:
        folders: where YAML files of options are. A kind without one is an option by itself.
    """
    for message, module in _WARNINGS_ABOUT_HYDRA:
        warnings.filterwarnings("ignore", message, module=module)
    if _PLUGINS not in sys.path:
        sys.path.append(_PLUGINS)
    getattr(OmegaConf, _REGISTER_RESOLVER)("multiply", lambda a, b: a * b, replace=True)
    global _stored
    store = ConfigStore.instance()
    wanted = (list(folders), {group: dict(KINDS[group]) for group in GROUPS})
    if _stored[0] is not store.repo or _stored[1] != wanted:
        _store(store, folders)
        _stored = (store.repo, wanted)


def _store(store: ConfigStore, folders: Sequence[Path]) -> None:
    choices = [{f"override /hydra/{group}": chosen} for group, chosen in _HYDRA_CHOICES.items()]
    settings = {**_HYDRA_SETTINGS, "help": {"template": _help(folders)}}
    store.store(group="_schema", name="run", node=schema.RunConfig, package="_global_")
    store.store(group="_schema", name="hydra_settings", node=settings, package="hydra")
    store.store(group="_schema", name="hydra_choices", node={"defaults": choices})
    for group in GROUPS:
        for kind in KINDS[group]:
            node = _schema_of(group, kind)
            store.store(group="_schema", name=f"{group}_{kind}", node=node)
            if not any((folder / group / f"{kind}.yaml").exists() for folder in folders):
                store.store(group=group, name=kind, node=node)
    store.store(group="_schema", name="launcher_local", node=schema.LocalLauncherConfig)
    slurm = OmegaConf.structured(schema.SlurmLauncherConfig)
    OmegaConf.set_struct(slurm.sbatch, False)  # any field: sbatch itself checks them
    store.store(group="_schema", name="launcher_slurm", node=slurm)
    store.store(group="_schema", name="sweeper_grid", node=schema.GridSweeperConfig)


def _schema_of(group: str, kind: str) -> DictConfig:
    schema: DictConfig = OmegaConf.structured(KINDS[group][kind])
    schema.kind = kind
    return schema


def _help(folders: Sequence[Path]) -> str:
    options: dict[str, list[str]] = {}
    for group in GROUPS:
        options[group] = [kind for kind in KINDS[group] if extension_of(group, kind)]
    files = [*CONF.glob("*/*.yaml"), *SWEEPS.glob("*.yaml")]
    for folder in folders:
        if folder not in (CONF, DEFAULTS):  # of the user's own
            files += folder.glob("*/*.yaml")
    for path in sorted(files):
        names = options.setdefault(path.parent.name, [])
        if path.stem not in names:
            names.append(path.stem)
    groups = (f"  {group:<10}  {', '.join(names)}" for group, names in sorted(options.items()))
    return _HELP.format(
        launch=LAUNCH,
        conf=shown(CONF),
        sweeps=shown(SWEEPS),
        groups="\n".join(groups),
    )


@explained_errors()
@extension_errors_as_one_line()
def to_run_config(composed: DictConfig) -> schema.RunConfig:
    """Resolve, type and validate what Hydra composed.

    Paths become absolute where they are part of the run's identity.

    Raises:
        UserError: one line for every missing, unknown or refused value.
        ExtensionError: a user's own check fails.
    """
    mistakes = [
        *_added_keys(composed),
        *_missing_values(composed),
        *_renamed_kinds(composed),
    ]
    if mistakes:
        raise UserError("\n".join(mistakes))
    config = OmegaConf.to_object(composed)
    assert isinstance(config, schema.RunConfig)
    config.data_dir = config.data_dir and str(Path(config.data_dir).expanduser())
    config.output_dir = config.output_dir and str(Path(config.output_dir).expanduser())
    config.data.make_paths_absolute()
    config.extensions = _extensions_of(config)
    import_extensions(config.extensions)
    validate(config)
    return config


def _extensions_of(config: schema.RunConfig) -> list[str]:
    """The modules to import before training: those it names, and those of its kinds."""
    kinds = [(group, getattr(config, group).kind) for group in GROUPS]
    modules = [
        extension_of(group, kind)
        for group, kind in [*kinds, ("attention", config.train.attention)]
        if kind in KINDS[group]
    ]
    return list(dict.fromkeys([*config.extensions, *(module for module in modules if module)]))


def composed_run(overrides: Sequence[str]) -> schema.RunConfig:
    """The configuration that these overrides make of the default run.

    Raises:
        UserError: one line for every missing, unknown or refused value.
    """
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return to_run_config(compose("config", overrides=list(overrides)))


def require_multirun() -> None:
    """Raise `UserError` if a single run is to have a launcher or a sweeper, which it would ignore:
    what was typed as a preview would train.
    """
    hydra = HydraConfig.get()
    if hydra.mode is not RunMode.RUN:
        return
    words = [word for word in hydra.overrides.hydra if _OF_A_SWEEP.match(word)]
    launcher = hydra.runtime.choices.get("hydra/launcher")
    if not words and launcher not in (_HYDRA_CHOICES["launcher"], "basic"):  # chosen by a file
        words = [f"hydra/launcher={launcher}"]
    if words:
        refusal = "works only with -m; add -m even for a single run"
        raise UserError("\n".join(f"{word}: {refusal}" for word in words))


def folder_of_configuration() -> Path | None:
    """The run folder from which `--config-path` takes the run; None where it names none."""
    sources = HydraConfig.get().runtime.config_sources
    paths = (Path(source.path) for source in sources if source.provider == "main")
    return next((path for path in paths if is_run_folder(path)), None)


def names_text() -> bool:
    """Whether the command line says something of the text."""
    return any(_OF_DATA.match(word) for word in HydraConfig.get().overrides.task)


def default_values(overrides: Sequence[str]) -> dict[str, Any]:
    """The values of the default run with some overrides, nested. Only after `register`."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        values = OmegaConf.to_container(compose("config", overrides=list(overrides)), resolve=True)
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}


def _missing_values(composed: DictConfig) -> Iterator[str]:
    missing = sorted(OmegaConf.missing_keys(composed))
    left_out = [group for group in GROUPS if f"{group}.kind" in missing]  # by ~span
    for group in left_out:
        yield f"{group}: choose one, {', '.join(f'{group}={kind}' for kind in KINDS[group])}"
    for key in missing:
        if key.partition(".")[0] not in left_out:
            yield f"{key}: needs a value, {key}=…"


def _renamed_kinds(composed: DictConfig) -> Iterator[str]:
    """`span.kind=fixed` in place of `span=fixed`: it would mislabel an adaptive span."""
    for group in GROUPS:
        if OmegaConf.is_missing(composed[group], "kind"):
            continue
        kind, node = composed[group].kind, OmegaConf.get_type(composed[group])
        if KINDS[group].get(kind) is not node:
            yield f"{group}.kind={kind}: write {group}={kind} instead"


def _added_keys(node: DictConfig, prefix: str = "") -> Iterator[str]:
    """Keys that `+key=value` or a YAML file smuggled past the schema."""
    for key in map(str, node):
        full_key = f"{prefix}{key}"
        if key not in keys_of(OmegaConf.get_type(node)):
            yield unknown_key(full_key, OmegaConf.get_type(node), f"{full_key}={node[key]}")
        elif not OmegaConf.is_missing(node, key) and isinstance(node[key], DictConfig):
            yield from _added_keys(node[key], f"{full_key}.")
