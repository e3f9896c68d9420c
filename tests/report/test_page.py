"""The page, in a real browser that has no network to ask."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.select import Select
from selenium.webdriver.support.wait import WebDriverWait

from adaspan.report.comparison import Comparison
from adaspan.report.groups import Group
from adaspan.report.page import write_page
from tests.processes import rows
from tests.report.conftest import ODD

TITLE = "a <sweep>"
PLOTS = (
    *("span_limits", "pareto", "valid_by_tokens", "valid_by_flops"),
    *("layers", "parameters", "spans", "history"),
)
LETTERS = f"limit {ODD}"


class Page:
    """The page as somebody sees it."""

    def __init__(self, browser: Chrome, path: Path) -> None:
        self.browser = browser
        self.url = path.as_uri()
        browser.get(self.url)

    def find(self, selector: str) -> list[WebElement]:
        return self.browser.find_elements(By.CSS_SELECTOR, selector)

    def run(self, script: str, *arguments: Any) -> Any:
        return self.browser.execute_script(script, *arguments)

    def data(self, plot: str) -> list[dict[str, Any]]:
        """What plotly has drawn, a dictionary a trace."""
        traces: list[dict[str, Any]] = self.run(
            "const list = values => ArrayBuffer.isView(values) ? [...values] : values;"
            "const plot = document.querySelector(`[data-plot=${arguments[0]}], #${arguments[0]}`);"
            "return plot._fullData.map(({type, name, fill, visible, x, y, z, text, customdata}) =>"
            "({type, name, fill, visible, x: list(x), y: list(y), z, text, customdata}))",
            plot,
        )
        return traces

    def cells(self) -> dict[str, dict[str, WebElement]]:
        """Of the table of groups: cells by the group's limit and kind, and by column."""
        found = [
            {
                cell.get_attribute("data-key") or "": cell
                for cell in row.find_elements(By.TAG_NAME, "td")
            }
            for row in self.find("#runs tbody tr")
        ]
        return {f"{row['span'].text}, limit {row['span.limit'].text}": row for row in found}

    def column(self, key: str) -> list[str]:
        """The values of a column, from top to bottom."""
        return [
            cell.get_attribute("data-value") or ""
            for cell in self.find(f'#runs td[data-key="{key}"]')
        ]

    def sort_by(self, key: str) -> None:
        keys = [
            cell.get_attribute("data-key") for cell in self.find("#runs tbody tr:first-child td")
        ]
        self.find("#runs th button")[keys.index(key)].click()

    def emulate(self, **media: Any) -> None:
        self.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)

    def requests(self) -> list[str]:
        """Addresses that were asked for since the last call."""
        events = [
            json.loads(entry["message"])["message"] for entry in self.browser.get_log("performance")
        ]
        return [
            event["params"]["request"]["url"]
            for event in events
            if event["method"] == "Network.requestWillBeSent"
        ]

    def errors(self) -> list[str]:
        """What the console complained of since the last call; it calls refused requests severe."""
        log = self.browser.get_log("browser")
        return [entry["message"] for entry in log if entry["level"] == "SEVERE"]


@pytest.fixture(scope="module")
def page(
    chromium: Chrome, comparison: Comparison, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Page]:
    path = tmp_path_factory.mktemp("page") / "report.html"
    write_page(comparison, path, margin=0.02)
    shown = Page(chromium, path)
    yield shown
    assert not shown.errors()


def group_named(comparison: Comparison, name: str) -> Group:
    (group,) = (group for group in comparison.groups if group.short_label == name)
    return group


def test_every_plot_is_drawn_and_no_request_leaves_the_page(page: Page) -> None:
    page.requests()
    page.browser.refresh()
    assert not page.errors()
    asked = page.requests()
    assert page.url in asked
    assert {url.partition(":")[0] for url in asked} <= {"file", "data", "blob"}
    drawn = page.run(
        "return Object.fromEntries([...document.querySelectorAll('.plot')].map(plot =>"
        "[plot.dataset.plot ?? plot.id, {"
        "  lines: [...plot.querySelectorAll('.scatterlayer .trace')].filter(trace =>"
        "    [...trace.querySelectorAll('path')].some(path => path.getTotalLength() > 0)).length,"
        "  maps: plot.querySelectorAll('.heatmaplayer image[*|href^=\"data:\"]').length,"
        "  canvases: plot.querySelectorAll('.gl-canvas-focus').length }]))"
    )
    assert set(drawn) == set(PLOTS)
    for name in PLOTS:
        traces = page.data(name)
        kinds = [trace["type"] for trace in traces]
        assert drawn[name]["lines"] == kinds.count("scatter"), name
        assert drawn[name]["maps"] == kinds.count("heatmap"), name
        assert drawn[name]["canvases"] == kinds.count("parcoords"), name
        assert traces


def test_parallel_coordinates_are_drawn_in_the_colours_of_the_groups(
    page: Page, comparison: Comparison
) -> None:
    colours = page.run(
        "const canvas = document.querySelector('[data-plot=parameters] .gl-canvas-focus');"
        "const copy = document.createElement('canvas');"
        "[copy.width, copy.height] = [canvas.width, canvas.height];"
        "const context = copy.getContext('2d'); context.drawImage(canvas, 0, 0);"
        "const bytes = context.getImageData(0, 0, copy.width, copy.height).data, counts = {};"
        "for (const pixel of new Uint32Array(bytes.buffer))"
        "  counts[pixel] = (counts[pixel] ?? 0) + 1;"
        "return Object.values(counts).filter(count => count > 100).length"
    )
    assert colours >= 1 + len(comparison.done), "each line, and what is empty"


def test_the_table_has_the_figures_of_the_run_folders(page: Page, comparison: Comparison) -> None:
    cells = page.cells()
    assert len(cells) == len(comparison.groups)
    for name in ("fixed, limit 24", "adaptive, limit 12", "adaptive, limit 24"):
        finals = [rows(run.path)[-1] for run in group_named(comparison, name).done]
        for key, digits in (
            ("final/valid_bpb", 3),
            ("final/test_bpb", 3),
            ("span/mean", 1),
            ("span/max", 1),
            ("flops/paper_macs_per_token", None),
        ):
            mean = fmean(final[key] for final in finals)
            cell = cells[name][key]
            assert float(cell.get_attribute("data-value") or "nan") == mean
            if digits is not None:
                assert cell.text.startswith(f"{mean:.{digits}f}")
        assert cells[name]["state"].text.startswith("done" if "fixed" in name else "2 done")


def test_links_lead_to_configurations_and_logs(page: Page, comparison: Comparison) -> None:
    links = [link.get_attribute("href") or "" for link in page.find("td a")]
    targets = {Path(unquote(urlsplit(link).path)) for link in links}
    assert targets >= {run.path / "config.yaml" for run in comparison.runs if run.path.exists()}
    assert any(target.name == "log.txt" for target in targets)
    assert all(target.is_file() for target in targets)


def test_curves_have_the_figures_of_the_run_folders(page: Page, comparison: Comparison) -> None:
    for plot, key in (("valid_by_tokens", "tokens"), ("valid_by_flops", "flops/executed_training")):
        drawn = {trace["name"]: trace for trace in page.data(plot) if trace["fill"] != "toself"}
        for group in comparison.groups[:4]:
            of_runs = [[r for r in rows(run.path) if "valid/bpb" in r] for run in group.done]
            trace = drawn[group.short_label]
            for values, name in ((trace["x"], key), (trace["y"], "valid/bpb")):
                means = [fmean(row[name] for row in at) for at in zip(*of_runs, strict=True)]
                assert values == pytest.approx(means, rel=1e-12)
        (stopped,) = comparison.groups[3].not_done
        trace = drawn["adaptive, limit 24, seed 3: resumable"]
        assert trace["y"] == [row["valid/bpb"] for row in rows(stopped.path) if "valid/bpb" in row]


def test_a_click_on_a_heading_sorts_both_ways_with_empty_cells_last(page: Page) -> None:
    for key in ("span/mean", "final/valid_bpb"):
        filled = [float(value) for value in page.column(key) if value]
        page.sort_by(key)
        assert page.column(key) == [*map(str, sorted(filled)), ""]
        page.sort_by(key)
        assert page.column(key) == [*map(str, sorted(filled, reverse=True)), ""]
    page.sort_by("state")
    states = page.column("state")
    assert states == sorted(states)
    assert [th.get_attribute("aria-sort") for th in page.find("th[aria-sort]")] == ["ascending"]


def spans_at(run: Path, step: int) -> list[list[float]]:
    (row,) = (row for row in rows(run) if row["step"] == step and "valid/bpb" in row)
    return [[row[f"span/layer_{layer:02d}/head_{head}"] for head in range(2)] for layer in range(2)]


def test_run_and_slider_choose_the_spans_that_are_shown(page: Page, comparison: Comparison) -> None:
    choice, slider = Select(page.find("#span-run")[0]), page.find("#span-step")[0]
    runs = {
        f"{group.short_label}, seed {run.seed}": run
        for group in comparison.done
        for run in group.done
    }
    for name in ("adaptive, limit 24, seed 1", "adaptive, limit 12, seed 2"):
        choice.select_by_visible_text(name)
        for keys, step in ((Keys.END, 24), (Keys.HOME, 6), (Keys.ARROW_RIGHT, 12)):
            slider.send_keys(keys)
            (trace,) = page.data("spans")
            expected = spans_at(runs[name].path, step)
            assert trace["customdata"] == [
                [pytest.approx(span, abs=0.005) for span in layer] for layer in expected
            ]
            assert [[float(message) for message in layer] for layer in trace["text"]] == [
                [pytest.approx(span, abs=0.06) for span in layer] for layer in expected
            ]
            assert page.find("#span-summary")[0].text.startswith(f"{step}: mean ")
    history = {trace["name"]: trace["customdata"] for trace in page.data("history")}
    last_head = [spans_at(runs[name].path, step)[1][1] for step in (6, 12, 18, 24)]
    assert history["layer 1"] == pytest.approx(last_head, abs=0.005)


def test_a_name_in_the_legend_hides_its_group_in_every_plot(page: Page) -> None:
    name = "adaptive, limit 24"
    for visible in (False, True):
        (button, *_) = (b for b in page.find(".legend button") if b.text == name)
        button.click()
        for plot in ("pareto", "valid_by_tokens", "valid_by_flops"):
            assert {
                trace["visible"]
                for trace in page.data(plot)
                if (trace["name"] or "").startswith(name)
            } == {visible}
        assert page.data("pareto")[1]["visible"] is True, "the others stay"


def test_names_stay_text_wherever_they_are_shown(page: Page) -> None:
    assert page.browser.title == page.find("h1")[0].text == TITLE
    assert ODD in page.cells()[f"adaptive, {LETTERS}"]["span.limit"].text
    for selector in (".legend button", "#unfinished td", "#span-run option", "#differences th"):
        assert any(LETTERS in element.text for element in page.find(selector)), selector
    assert any(f"KeyError: {ODD}" in cell.text for cell in page.find("#unfinished td"))
    failed = [trace["name"] for trace in page.data("valid_by_tokens")].index(
        page.data("valid_by_tokens")[-1]["name"]
    )
    page.run(
        "Plotly.Fx.hover(document.querySelector('[data-plot=valid_by_tokens]'),"
        "[{curveNumber: arguments[0], pointNumber: 1}])",
        failed,
    )
    assert f"{LETTERS}, seed 1: failed" in page.run(
        "return document.querySelector('[data-plot=valid_by_tokens] .hoverlayer').textContent"
    )
    assert page.run("return document.scripts.length") == 3, "the page's own"


@pytest.mark.parametrize(
    ("media", "scheme", "white"),
    [("screen", "light", True), ("screen", "dark", False), ("print", "dark", True)],
)
def test_plots_have_the_colours_of_the_theme_and_paper_is_white(
    page: Page, media: str, scheme: str, white: bool
) -> None:
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    try:
        page.emulate(media=media, features=features)
        background, letters = page.run(
            "const css = getComputedStyle(document.documentElement);"
            "return ['--page', '--text'].map(name => css.getPropertyValue(name).trim())"
        )
        assert (background == "#fff") is white
        WebDriverWait(page.browser, 10).until(
            lambda _: page.run(
                "return [...document.querySelectorAll('.plot')].every(plot =>"
                "plot._fullLayout.font.color === arguments[0])",
                letters,
            )
        )
        assert page.browser.print_page()
    finally:
        page.emulate(media="", features=[])


def test_on_a_phone_nothing_is_wider_than_the_screen(page: Page) -> None:
    metrics = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    try:
        page.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        page.browser.refresh()
        assert page.run("return document.documentElement.scrollWidth") == 390
        layout = page.run(
            "const layout = document.querySelector('[data-plot=span_limits]')._fullLayout;"
            "return [layout.width, layout.xaxis.domain, layout.xaxis3.domain]"
        )
        assert layout[0] <= 390
        assert layout[1] == layout[2] == [0, 1], "panels one above the other"
    finally:
        page.browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
