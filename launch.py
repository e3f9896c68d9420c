"""Train: `python launch.py key=value ...`, installed or not. See `adaspan/launch.py`."""

from adaspan.__main__ import main

if __name__ == "__main__":
    main()
