"""`python -m adaspan key=value ...`: the same as `adaspan train` and `python launch.py`. With a
sub-command in front, such as `status` or `train`, the same as `adaspan`.

A sweep starts its runs by the path of this file: so they use the code beside it, and no other
adaspan that the current folder or the environment may have.
"""

import sys
from pathlib import Path


def main() -> None:
    """Train, or do what the first word names."""
    if sys.argv[1:] and sys.argv[1].isidentifier():
        from adaspan.cli import main as command

        if sys.argv[1] in command.commands:
            command()
    from adaspan.launch import main as train

    train()


if __name__ == "__main__":
    if not __package__ and not sys.flags.safe_path:
        sys.path[0] = str(Path(__file__).parents[1])  # in place of this file's folder
    main()
