"use strict";
const { plots, spans, spanColours } = JSON.parse(document.getElementById("data").textContent);
const element = id => document.getElementById(id);
const NARROW = 640;
const settings = {
  displaylogo: false,
  plotGlPixelRatio: 1, // lines of parallel coordinates are one of these pixels wide
  modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d", "zoomIn2d", "zoomOut2d"],
  toImageButtonOptions: { scale: 3 },
};

/* Plots have the page's colours and the width of their place. */
function draw(target, data, layout) {
  const css = getComputedStyle(document.body);
  const colour = name => css.getPropertyValue(name).trim();
  const clear = "rgba(0,0,0,0)";
  const adapted = structuredClone(layout);
  const width = target.clientWidth;
  const axes = Object.keys(adapted).filter(key => /^[xy]axis/.test(key));
  Object.assign(adapted, { width, paper_bgcolor: clear, plot_bgcolor: clear });
  adapted.font = { ...adapted.font, family: css.fontFamily, color: colour("--text") };
  adapted.modebar = { bgcolor: clear, color: colour("--axis"), activecolor: colour("--text") };
  for (const axis of axes)
    Object.assign(adapted[axis], { gridcolor: colour("--line"), linecolor: colour("--axis"), tickcolor: colour("--axis") });
  if (width < NARROW) for (const axis of axes) if (adapted[axis].nticks) adapted[axis].nticks = 4;
  const panels = axes.length / 2;
  if (panels > 1 && width < NARROW) stack(adapted, panels);
  target.style.height = panels > 1 && width < NARROW ? `${18 * panels}rem` : "";
  adapted.height = target.clientHeight;
  const displayModeBar = width >= NARROW && axes.length > 0 ? "hover" : false;
  return Plotly.react(target, data, adapted, { ...settings, displayModeBar });
}
function stack(layout, panels) {
  for (let panel = 0; panel < panels; panel++) {
    const number = panel ? panel + 1 : "";
    layout[`xaxis${number}`].domain = [0, 1];
    layout[`yaxis${number}`].domain = [1 - (panel + 0.76) / panels, 1 - panel / panels];
  }
}
function drawAll() {
  for (const target of document.querySelectorAll("[data-plot]")) {
    const { data, layout } = plots[target.dataset.plot];
    const showlegend = layout.showlegend && !data.some(trace => groups.has(trace.legendgroup));
    const visible = data.map(trace => ({ ...trace, visible: !hidden.has(trace.legendgroup) }));
    draw(target, visible, { ...layout, showlegend });
  }
  if (spans.length) { drawSpans(); drawHistory(); }
}

/* One legend for all plots of groups: a click hides a group, another one shows it. */
const buttons = [...document.querySelectorAll(".legend button")];
const groups = new Set(buttons.map(button => button.dataset.group)), hidden = new Set();
function toggle(group) {
  if (!hidden.delete(group)) hidden.add(group);
  for (const button of buttons)
    button.setAttribute("aria-pressed", !hidden.has(button.dataset.group));
  drawAll();
}

/* Spans are drawn as log(1 + span). */
const onScale = span => Math.log10(1 + span);
const titled = text => ({ title: { text, standoff: 8, font: { size: 13 } }, zeroline: false, automargin: true });
const scaleOf = run => spanColours[run.learned ? "learned" : "fixed"];
const chosenRun = () => spans[element("span-run").selectedIndex];
function drawSpans() {
  const run = chosenRun(), at = Number(element("span-step").value);
  const layers = run.spans[at], all = layers.flat();
  const mean = all.reduce((sum, span) => sum + span, 0) / all.length;
  element("span-summary").textContent =
    `${run.steps[at].toLocaleString("en")}: mean ${mean.toFixed(1)}, longest ${Math.max(...all).toFixed(1)} tokens`;
  draw(element("spans"), [{
    type: "heatmap", z: layers.map(heads => heads.map(onScale)), customdata: layers, coloraxis: "coloraxis",
    text: layers.map(heads => heads.map(span => span.toFixed(span < 10 ? 1 : 0))),
    xgap: 1, ygap: 1, texttemplate: all.length <= 128 ? "%{text}" : "",
    hovertemplate: "layer %{y}, head %{x}: %{customdata:.1f} tokens<extra></extra>",
  }], {
    coloraxis: scaleOf(run), margin: { l: 8, r: 8, t: 12, b: 8 }, font: { size: 13 },
    xaxis: { ...titled("head"), dtick: Math.ceil(layers[0].length / 16), showgrid: false },
    yaxis: { ...titled("layer"), dtick: Math.ceil(layers.length / 12), showgrid: false },
  });
}
function drawHistory() {
  const run = chosenRun(), step = run.steps[element("span-step").value];
  const { tickvals, ticktext } = scaleOf(run).colorbar;
  const lines = run.spans[0].flatMap((heads, layer) => heads.map((_, head) => ({
    type: "scatter", x: run.steps, y: run.spans.map(layers => onScale(layers[layer][head])),
    customdata: run.spans.map(layers => layers[layer][head]),
    name: `layer ${layer}`, legendgroup: layer, showlegend: head === 0,
    mode: run.steps.length < 3 ? "lines+markers" : "lines", line: { color: run.colours[layer], width: 1.5 },
    hovertemplate: `layer ${layer}, head ${head}: %{customdata:.1f} tokens<br>step %{x:,}<extra></extra>`,
  })));
  const line = { showline: true, ticks: "outside", ticklen: 4 };
  draw(element("history"), lines, {
    margin: { l: 8, r: 12, t: 12, b: 8 }, font: { size: 13 }, hovermode: "closest",
    legend: { orientation: "h", x: 0, y: 1.03, yanchor: "bottom" },
    showlegend: run.spans[0].length <= 12,
    shapes: [{ type: "line", yref: "paper", x0: step, x1: step, y0: 0, y1: 1, line: { color: "rgb(127,127,127)", width: 1, dash: "dot" } }],
    xaxis: { ...titled("step"), ...line },
    yaxis: { ...titled("span, tokens"), ...line, tickvals, ticktext, rangemode: "tozero" },
  });
}
function chooseRun() {
  const slider = element("span-step");
  slider.max = chosenRun().steps.length - 1;
  slider.value = slider.max;
  drawSpans();
  drawHistory();
}
function chooseStep() {
  const step = chosenRun().steps[element("span-step").value];
  drawSpans();
  Plotly.relayout("history", { "shapes[0].x0": step, "shapes[0].x1": step });
}

/* A click on a heading sorts up, another one down; what is empty comes last. */
function sort(table, heading) {
  const up = heading.getAttribute("aria-sort") !== "ascending";
  const index = heading.cellIndex, body = table.tBodies[0];
  const value = row => row.cells[index].dataset.value;
  const both = (one, other) => isNaN(one) || isNaN(other) ? one.localeCompare(other, "en", { numeric: true }) : one - other;
  const compare = (one, other) =>
    (value(one) === "") - (value(other) === "") || (up ? 1 : -1) * both(value(one), value(other));
  for (const other of table.querySelectorAll("th")) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", up ? "ascending" : "descending");
  body.append(...[...body.rows].sort(compare));
}

for (const table of document.querySelectorAll(".sortable"))
  for (const heading of table.querySelectorAll("th:has(button)"))
    heading.querySelector("button").addEventListener("click", () => sort(table, heading));
for (const button of buttons) button.addEventListener("click", () => toggle(button.dataset.group));
if (spans.length) {
  element("span-run").addEventListener("change", chooseRun);
  element("span-step").addEventListener("input", chooseStep);
  element("span-step").max = chosenRun().steps.length - 1;
  element("span-step").value = element("span-step").max;
}
drawAll();
let resized;
addEventListener("resize", () => { cancelAnimationFrame(resized); resized = requestAnimationFrame(drawAll); });
for (const query of ["(prefers-color-scheme: dark)", "print"]) matchMedia(query).addEventListener("change", drawAll);
