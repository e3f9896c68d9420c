"""Runs side by side: what a sweep shows, and what it costs.

groups.py       run folders, and those that differ in their seed only: means and spreads
statistics.py   what scores of a few seeds can tell apart
ranking.py      groups that are comparable, the best first, as far as that can be told
comparison.py   groups side by side: the only thing that the rest looks at
labels.py       what varies, in short
table.py        the figures of a group in a row
finding.py      what was found out, in words
caveats.py      what was not computed alike
paper.py        rows of the papers beside the groups that repeat them; paper.yaml has them
style.py        the colour and the marker of a group, the same everywhere
plots.py        figures to plots; curves.py, spans.py, layers.py, token_spans.py and
                parameters.py have some of them
page.py         one HTML file that needs no network: page.html.j2, page.css, page.js
terminal.py     table and plots for a terminal
export.py       the table as Markdown, CSV, JSON
png.py          the plots as PNG
wandb.py        the same as a report on Weights & Biases
"""
