"""`python -m adaspan key=value ...`: the same as `adaspan train` and `python launch.py`.

A sweep starts its runs by the path of this file: so they use the code beside it, and no other
adaspan that the current folder or the environment may have.
"""

import sys
from pathlib import Path

if __name__ == "__main__":
    if not __package__ and not sys.flags.safe_path:
        sys.path[0] = str(Path(__file__).parents[1])  # in place of this file's folder
    from adaspan.launch import main

    main()
