"""Train one run: `python launch.py key=value ...`. Hydra composes `conf/`, adaspan does the rest.

`python launch.py --help` shows the groups and the keys that matter.
"""

from pathlib import Path

import hydra
from omegaconf import DictConfig

from adaspan.config.hydra import register, require_multirun, to_run_config
from adaspan.config.mistakes import require_known_flags, user_errors
from adaspan.errors import reported_in_one_line


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
@reported_in_one_line()
def main(composed: DictConfig) -> None:
    require_multirun()
    run = to_run_config(composed)
    from adaspan.train.run import train  # imports torch: not needed for --help or to find a mistake

    train(run)


if __name__ == "__main__":
    register(Path(__file__).parent / "conf")
    with user_errors():
        require_known_flags()
        main()
