// Fingers do not hover: a tap keeps the checkpoint and shows the label until the next touch.
let finger = false;
for (const kind of ["pointerdown", "pointermove"]) {
  window.addEventListener(kind, (event) => { finger = event.pointerType === "touch"; }, { passive: true, capture: true });
}
const bodyRows = [...document.querySelectorAll("#checkpoints tbody tr")];
const places = runs.flatMap((run, r) => run.step.map((_, i) => [r, i]));

function choose(r, i) {
  state.chosen = [r, i];
  const [run, row] = [runs[r], runs[r].table[i]];
  const names = { llc_se: "± se", ess: "ESS", rhat: "R-hat", step_size: "step size" };
  const entries = data.columns.map((name, k) => [names[name] || name, row[k]]).concat(run.details[i]);
  $("which").textContent = `at step ${row[0]}${many ? ` of ${run.name}` : ""}`;
  $("card").innerHTML = entries.map(([name, text]) => `<div><dt>${escape(name)}</dt><dd>${escape(text)}</dd></div>`).join("");
  bodyRows.forEach((element, k) => element.setAttribute("aria-selected", String(places[k][0] === r && places[k][1] === i)));
  drawChains();
}

function pin(r, i) {
  choose(r, i);
  drawCurve();
}

function tipOfPoint(r, i) {
  const [run, get] = [runs[r], (name) => cell(r, i, name)];
  const gap = run.details[i].find(([name]) => name === "hot − cold");
  const seen = data.panels.filter((p) => p.kind === "value" && get(p.name) !== null).slice(0, 5);
  const mixing = [["rhat", "R-hat"], ["ess", "ESS"]].filter(([name]) => get(name) !== null).map(([name, title]) => `${title} ${escape(get(name))}`);
  if (gap) mixing.push(`hot − cold ${escape(gap[1])}`);
  const status = run.status[i] === "ok" ? "ok" : `<span class="failed">${escape(run.status[i])}</span>`;
  return [
    many ? `<div><i class="${hue(r)}"></i>${escape(run.name)}</div>` : "",
    `<div class="value">${escape(get("llc"))} ± ${escape(get("llc_se"))}</div>`,
    `<div>step ${escape(get("step"))}, ${status}</div>`,
    ...seen.map((p) => `<div>${escape(p.name)} ${escape(get(p.name))}</div>`),
    sparkline(r, i),
    mixing.length ? `<div class="mixing">${mixing.join(" · ")}</div>` : "",
  ].join("");
}

function tipOfMarker(r, k) {
  const t = runs[r].transitions[k];
  return `<div><i class="${hue(r)}"></i>${escape(runs[r].name)}</div><div class="value">${escape(t.label)}</div>`
    + `<div>${escape(t.kind)} between steps ${t.step_low.toLocaleString("en-US")} and ${t.step_high.toLocaleString("en-US")}</div>`
    + `<div>probability ${t.probability.toFixed(2)}</div>`;
}

function showTip(content, event) {
  const tip = $("tip");
  tip.innerHTML = content;
  tip.hidden = false;
  const [box, gap] = [tip.getBoundingClientRect(), 18];
  const at = event.touches?.[0] || event.changedTouches?.[0] || event;
  const [left, top] = finger
    ? [at.clientX - box.width / 2, at.clientY - box.height - 2 * gap]
    : [at.clientX + gap + box.width > innerWidth - 8 ? at.clientX - gap - box.width : at.clientX + gap, at.clientY - box.height / 2];
  tip.style.left = `${Math.min(Math.max(left, 8), Math.max(innerWidth - box.width - 8, 8))}px`;
  tip.style.top = `${Math.min(Math.max(top, 8), Math.max(innerHeight - box.height - 8, 8))}px`;
}

const hideTip = () => { $("tip").hidden = true; };

// In a hover over all panels the point of the llc itself comes first, then any other point at that step.
function pointIn(event) {
  const point = event.points.find((p) => p.data.meta?.points && p.y !== null) || event.points.find((p) => p.data.meta?.points);
  return point ? [point.data.meta.run, point.pointNumber] : null;
}

function wireCurve(plot) {
  plot.on("plotly_hover", (event) => {
    const marker = event.points.find((p) => p.data.meta?.markers);
    const point = pointIn(event);
    if (marker) showTip(tipOfMarker(marker.data.meta.run, marker.pointNumber), event.event);
    else if (point) showTip(tipOfPoint(...point), event.event);
  });
  plot.on("plotly_unhover", () => { if (!finger) hideTip(); });
  plot.on("plotly_click", (event) => {
    const point = pointIn(event);
    if (point) pin(...point);
    if (point && finger) showTip(tipOfPoint(...point), event.event);
  });
  plot.on("plotly_relayout", (change) => {
    const ends = (axis) => [0, 1].map((k) => Number(change[`${axis}.range[${k}]`]));
    if ("xaxis.range[0]" in change) state.x = ends("xaxis");
    if ("yaxis.range[0]" in change) state.y = ends("yaxis");
    if ("xaxis.range[0]" in change || "yaxis.range[0]" in change) drawCurve();
  });
  plot.on("plotly_doubleclick", () => { zoomOut(); });
}

function zoomOut() {
  state.x = state.y = null;
  return drawCurve();
}

function switchTo(log) {
  if (log && !(data.zero > 0)) return;
  state.log = log;
  zoomOut();
}

choose(...state.chosen);
const drawn = drawCurve().then(() => wireCurve($("curve")));
let wide = $("curve").clientWidth;
window.addEventListener("resize", () => {
  if ($("curve").clientWidth === wide) return;
  wide = $("curve").clientWidth;
  drawCurve();
  drawChains();
});
window.addEventListener("scroll", hideTip, { passive: true });
window.addEventListener("touchstart", hideTip, { passive: true, capture: true });
darkScheme.addEventListener("change", () => { drawCurve(); drawChains(); });
$("linear").addEventListener("click", () => switchTo(false));
$("log").addEventListener("click", () => switchTo(true));
$("log").disabled = !(data.zero > 0);
bodyRows.forEach((row, k) => {
  row.tabIndex = 0;
  row.addEventListener("click", () => pin(...places[k]));
  row.addEventListener("keydown", (event) => event.key === "Enter" && pin(...places[k]));
});
($("legend") ? [...$("legend").children] : []).forEach((button, r) => {
  button.className = hue(r);
  button.addEventListener("click", () => {
    if (!state.hidden.delete(r)) state.hidden.add(r);
    button.setAttribute("aria-pressed", String(!state.hidden.has(r)));
    drawCurve();
  });
});
$("copy").addEventListener("click", () => {
  const range = document.createRange();
  range.selectNodeContents($("citation"));
  getSelection().removeAllRanges();
  getSelection().addRange(range);
  const said = (done) => { $("copy").textContent = done ? "Copied" : "Selected: copy with the keyboard"; };
  if (navigator.clipboard) navigator.clipboard.writeText($("citation").textContent).then(() => said(true), () => said(false));
  else said(false);
});
drawn.then(() => { document.documentElement.dataset.ready = "true"; });
