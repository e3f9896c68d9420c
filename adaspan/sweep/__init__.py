"""Many runs from one command: planned and checked as a whole, each trained by a process of its own.

jobs.py    the command's runs, all mistakes found before the first starts
local.py   trains them on this machine
"""
