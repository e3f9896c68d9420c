"""Runs side by side: what a sweep found out, and what that costs.

comparison.py   run folders to figures: the only thing that the rest looks at
plots.py        figures to plots
page.py         one HTML file that needs no network
export.py       the same table as text, Markdown, CSV, JSON, or pictures
"""
