const CROSS = "y99";

function logTicks(low, high, width) {
  const decades = Math.max(high - low, 1e-9);
  const parts = decades < 1.2 ? [1, 2, 3, 4, 5, 6, 7, 8, 9] : decades < 2.6 ? [1, 2, 5] : [1];
  const stride = parts.length > 1 ? 1 : Math.max(1, Math.ceil((decades * 52) / width));
  const ticks = [];
  if (steps[0] === 0) ticks.push([data.zero, "0"]);
  for (let k = Math.floor(low); k <= high; k += 1) {
    for (const part of parts) {
      const at = part * 10 ** k;
      const shown = k >= 6 ? `${part > 1 ? part + "·" : ""}10<sup>${k}</sup>` : at.toLocaleString("en-US");
      if (k % stride === 0 && at > data.zero * 1.5 && (ticks.length || at >= 10 ** low)) ticks.push([at, shown]);
    }
  }
  return ticks;
}

function powerOfTen(value) {
  if (value >= 0.01 && value < 1e4) return String(value);
  const [part, power] = value.toExponential().split("e");
  return `${part === "1" ? "" : part + "·"}10<sup>${Number(power)}</sup>`.replace("-", "−");
}

function stepAxis(width, range, colours) {
  const axis = {
    type: state.log ? "log" : "linear", range, anchor: data.panels.at(-1).axis, title: { text: "step", standoff: 10 },
    showgrid: false, zeroline: false, linecolor: colours.line, ticks: "outside", ticklen: 5, tickcolor: colours.line,
    showspikes: true, spikemode: "across", spikesnap: "data", spikethickness: 1, spikedash: "solid",
    spikecolor: fade(colours.quiet, 0.5),
  };
  if (state.log) {
    const ticks = logTicks(range[0], range[1], width);
    return { ...axis, tickmode: "array", tickvals: ticks.map((t) => t[0]), ticktext: ticks.map((t) => t[1]) };
  }
  return { ...axis, nticks: Math.max(4, Math.round(width / 95)), tickformat: steps.at(-1) >= 1e6 ? "~s" : "," };
}

function fullRange() {
  const [low, high] = [along(steps[0]), along(steps.at(-1))];
  const pad = high > low ? 0.025 * (high - low) : 0.5;
  return [low - pad, high + pad];
}

const pixels = (width, range) => (step) => ((along(step) - range[0]) / (range[1] - range[0])) * width;

// Of one run: labels above the panel, in as many rows as keep them apart.
function labelRows(width, range) {
  const [at, ends] = [pixels(width, range), []];
  if (many) return [];
  return runs[0].transitions.map((t) => {
    const middle = (at(t.step_low) + at(t.step_high)) / 2;
    const text = width < 480 ? t.short : t.label;
    const half = 3.6 * text.length + 6;
    const shown = middle >= 0 && middle <= width;
    let row = ends.findIndex((end) => middle - half > end);
    if (shown && row < 0) row = ends.push(0) - 1;
    if (shown) ends[row] = middle + half;
    return { text, row, at: Math.min(Math.max(middle, half), width - half), shown };
  });
}

function panelDomains(tall) {
  const gap = 40;
  const total = data.panels.reduce((sum, p) => sum + p.height, 0) + gap * (data.panels.length - 1);
  let top = total;
  const domains = data.panels.map((p) => {
    const domain = [(top - p.height) / total, top / total];
    top -= p.height + gap;
    return domain;
  });
  return { domains, height: total + tall };
}

const silent = { type: "scatter", hoverinfo: "skip" };

function level(x, y, line, extra) {
  return { ...silent, mode: "lines", x: x.map(place), y, yaxis: "y", line, ...extra };
}

function runTraces(run, r, colours) {
  const colour = colours.runs[r];
  const good = run.step.map((_, i) => run.status[i] === "ok" && run.llc[i] !== null);
  const pick = (values, wanted) => values.map((v, i) => (good[i] === wanted ? v : null));
  const size = (dense ? 4 : run.step.length > 60 ? 6 : 8) - (many ? 1 : 0);
  const common = { type: "scatter", x: run.step.map(place), hoverinfo: "none", meta: { run: r, points: true } };
  const points = (wanted, extra) => ({
    ...common, y: pick(run.llc, wanted), yaxis: "y", connectgaps: true,
    error_y: {
      type: "data", array: pick(run.llc_se, wanted), width: 0, thickness: dense || many ? 1 : 1.4,
      color: many ? fade(colour, 0.6) : colour,
    },
    ...extra,
  });
  const traces = run.plateaus.map((p) => level([p.step_low, p.step_high], [p.llc, p.llc],
    { color: fade(colour, many ? 0.2 : 0.26), width: 8 }));
  traces.push(points(true, {
    mode: "lines+markers", name: many ? run.name : "llc", line: { color: colour, width: dense ? 1 : 1.4 },
    marker: { color: colour, size, symbol: mark(r)[0] },
  }));
  if (good.includes(false)) {
    traces.push(points(false, {
      mode: "markers", name: "not ok", marker: { color: colours.paper, size: Math.max(size, 6), line: { color: colour, width: 1.4 } },
    }));
    traces.push({
      ...common, mode: "markers", name: "failed", x: run.step.map((s, i) => (good[i] ? null : place(s))),
      y: run.step.map(() => 0.03), yaxis: CROSS,
      marker: { symbol: "x-thin", size: dense ? 6 : 8, line: { color: colours.bad, width: dense ? 1.5 : 2 } },
    });
  }
  for (const p of data.panels) {
    const line = { color: many ? colour : colours.quiet, width: 1.4 };
    if (p.kind === "value") {
      const y = p.name === "loss" ? run.loss : run.observables[p.name];
      if (y) traces.push({ ...common, mode: dense ? "lines" : "lines+markers", name: p.name, y, yaxis: p.axis, line, marker: { color: line.color, size: 4 } });
    } else if (p.kind === "components") {
      traces.push(...run.components.map((c, k) => {
        const hue = componentHue(k);
        return { ...common, mode: "lines+markers", name: c.name, y: c.llc, yaxis: p.axis, line: { color: hue, width: 1.3 },
          marker: { color: hue, size: dense ? 3 : 5 }, error_y: { type: "data", array: c.llc_se, width: 0, thickness: 1, color: fade(hue, 0.7) } };
      }));
    } else if (p.kind === "change") {
      const y = [...run.changes, run.changes.at(-1)];
      traces.push({ ...silent, mode: "lines", name: "change", x: common.x, y, yaxis: p.axis, fill: "tozeroy",
        fillcolor: fade(colours.rise, 0.3), line: { color: colours.rise, width: 1, shape: "hv" } });
    }
  }
  return traces;
}

// Of several runs: a lane each, with a bar and a triangle for every marker.
function laneTraces(run, r, axis, at, colours) {
  const [colour, found] = [colours.runs[r], run.transitions];
  const middle = (t) => (along(t.step_low) + along(t.step_high)) / 2;
  const text = found.map((t, k) => {
    const end = at(t.step_high) + 12 + 7 * t.short.length;
    return k + 1 < found.length && at(found[k + 1].step_low) < end + 6 ? "" : t.short;
  });
  const bar = (t) => [place(t.step_low), place(t.step_high), null];
  const lane = { yaxis: axis, y: found.map(() => r), cliponaxis: false };
  return [
    { ...silent, mode: "lines", x: found.flatMap(bar), y: found.flatMap(() => [r, r, null]), yaxis: axis, line: { color: fade(colour, 0.4), width: 9 } },
    { ...silent, ...lane, mode: "text", x: found.map((t) => place(t.step_high)), text: text.map((label) => ` ${label}`),
      textposition: "middle right", textfont: { size: 11.5, color: colour } },
    { ...lane, type: "scatter", mode: "markers", name: "markers", hoverinfo: "none", meta: { run: r, markers: true },
      x: found.map((t) => (state.log ? 10 ** middle(t) : middle(t))),
      marker: { color: colour, size: 9, symbol: found.map((t) => (t.kind === "rise" ? "triangle-up" : "triangle-down")) } },
  ];
}

function curveTraces(width, range, colours) {
  const lanes = data.panels.find((p) => p.kind === "lanes");
  const traces = data.known.map((k) => level([k.step_low, k.step_high], [k.llc, k.llc],
    { color: colours.fall, width: 1.8, dash: "6px,4px" }));
  runs.forEach((run, r) => {
    const own = runTraces(run, r, colours);
    if (lanes) own.push(...laneTraces(run, r, lanes.axis, pixels(width, range), colours));
    traces.push(...own.map((trace) => ({ ...trace, visible: !state.hidden.has(r) })));
  });
  return traces;
}

function note(text, extra) {
  return { text, showarrow: false, xref: "paper", yref: "paper", xanchor: "left", yanchor: "bottom", ...extra };
}

// The outermost error bar, of any run in sight, between two places on the screen; `y` where there is none.
function edgeOver(at, from, to, under, y) {
  let edge = y;
  runs.forEach((run, r) => run.step.forEach((step, i) => {
    if (state.hidden.has(r) || run.llc[i] === null || at(step) < from || at(step) > to) return;
    const end = run.llc[i] + (under ? -1 : 1) * (run.llc_se[i] || 0);
    edge = under ? Math.min(edge, end) : Math.max(edge, end);
  }));
  return edge;
}

// Text stands beyond the error bars over or under its line, on a little of the paper.
function plateauLabels(width, range, colours) {
  const at = pixels(width, range);
  const label = (p, text, anchor, font) => {
    const [low, high] = [Math.max(at(p.step_low), 0), Math.min(at(p.step_high), width)];
    const wide = 6.6 * text.length;
    if (high - low < wide) return [];
    const left = anchor === "center" ? (low + high - wide) / 2 : high - wide;
    return [note(escape(text), {
      x: (anchor === "center" ? (low + high) / 2 : high) / width, y: edgeOver(at, left - 4, left + wide + 4, p.under, p.llc), yref: "y",
      xanchor: anchor, yanchor: p.under ? "top" : "bottom", yshift: p.under ? -4 : 4, bgcolor: fade(colours.paper, 0.78), borderpad: 0, font,
    })];
  };
  const own = many ? [] : runs[0].plateaus.flatMap((p) => label(p, p.label, "center", { size: 12, color: colours.llc }));
  return own.concat(data.known.flatMap((k) => label(k, k.label, "right", { size: 11.5, color: colours.fall })));
}

function valueAxis(p, domain, colours) {
  const axis = { domain, gridcolor: colours.line, zeroline: false, automargin: false, fixedrange: true };
  if (p.kind === "llc") return { ...axis, fixedrange: false, nticks: 7, ...(data.llcRange ? { range: [...(state.y || data.llcRange)] } : {}) };
  if (p.kind === "lanes") return { ...axis, range: [runs.length - 0.4, -0.6], showgrid: false, showticklabels: false };
  if (p.kind === "change") return { ...axis, range: [0, 1.04], tickvals: [0, 0.5, 1] };
  const ticks = p.ticks ? { tickmode: "array", tickvals: p.ticks, ticktext: p.ticks.map(powerOfTen) } : {};
  return { ...axis, type: p.log ? "log" : "linear", nticks: 4, exponentformat: "power", minexponent: 3, ...ticks };
}

function shapesOver(panel, x0, x1, extra) {
  return { xref: "x", yref: `${panel.axis} domain`, x0: place(x0), x1: place(x1), y0: 0, y1: 1, layer: "below", ...extra };
}

// The first colour is the whole's.
const componentHue = (k) => css(`--run${(k + 1) % 8}`);

// At the foot of a panel: where what it shows changes, one row a component.
function footMarks(p, colours) {
  const foot = (marks, row, colour) => marks.map(([low, high, kind]) => shapesOver(p, low, high, {
    type: "rect", y0: (7 * row) / p.height, y1: (7 * row + 5) / p.height, layer: "above", line: { width: 0 },
    fillcolor: colour || (kind === "rise" ? colours.rise : colours.fall),
  }));
  if (many) return [];
  if (p.kind === "components") return runs[0].components.flatMap((c, k) => foot(c.marks, k, componentHue(k)));
  return p.kind === "value" ? foot(runs[0].marks[p.name] || [], 0) : [];
}

function curveLayout(width, margin, range, colours) {
  const labels = labelRows(width, range);
  const rows = Math.max(0, ...labels.map((l) => l.row + 1));
  const top = 34 + 17 * rows;
  const { domains, height } = panelDomains(top + 62);
  const layout = {
    height, margin: { ...margin, t: top, b: 62 }, paper_bgcolor: colours.paper, plot_bgcolor: colours.paper,
    font: { family: colours.font, size: 13, color: colours.quiet }, showlegend: false,
    hovermode: many ? "closest" : "x", hoversubplots: many ? "single" : "axis", hoverdistance: 40,
    dragmode: width < 500 ? false : "zoom", xaxis: stepAxis(width, range, colours),
    yaxis99: { overlaying: "y", range: [0, 1], visible: false, fixedrange: true }, annotations: [], shapes: [],
    modebar: { color: colours.quiet, activecolor: colours.ink, bgcolor: fade(colours.paper, 0) },
  };
  data.panels.forEach((p, i) => {
    layout["yaxis" + p.axis.slice(1)] = valueAxis(p, domains[i], colours);
    layout.annotations.push(note(escape(p.title), {
      x: 0, y: domains[i][1], xshift: -margin.l, yshift: 6 + (i === 0 ? 17 * rows + (rows ? 4 : 0) : 0),
      font: { size: 13.5, color: colours.ink },
    }));
  });
  (many ? [] : runs[0].transitions).forEach((t, i) => {
    const colour = t.kind === "rise" ? colours.rise : colours.fall;
    for (const p of data.panels) {
      layout.shapes.push(shapesOver(p, t.step_low, t.step_high, { type: "rect", fillcolor: fade(colour, 0.2), line: { width: 0 } }));
    }
    if (labels[i].shown) {
      layout.annotations.push(note(labels[i].text, {
        x: labels[i].at / width, y: 1, xanchor: "center", yshift: 3 + 17 * labels[i].row, font: { size: 12.5, color: colour },
      }));
    }
  });
  data.panels.forEach((p) => layout.shapes.push(...footMarks(p, colours)));
  const chosen = runs[state.chosen[0]].step[state.chosen[1]];
  for (const p of data.panels) {
    layout.shapes.push(shapesOver(p, chosen, chosen, { type: "line", line: { color: fade(colours.ink, 0.4), width: 1, dash: "2px,3px" } }));
  }
  layout.annotations.push(...plateauLabels(width, range, colours));
  return layout;
}

function drawCurve() {
  const colours = palette();
  const outer = $("curve").clientWidth;
  const margin = { l: outer < 560 ? 42 : 56, r: outer < 560 ? 24 : 14 };
  const width = Math.max(outer - margin.l - margin.r, 100);
  const range = [...(state.x || fullRange())];
  $("linear").setAttribute("aria-pressed", String(!state.log));
  $("log").setAttribute("aria-pressed", String(state.log));
  const layout = curveLayout(width, margin, range, colours);
  return Plotly.react("curve", curveTraces(width, range, colours), layout, { ...config, displayModeBar: outer < 560 ? false : "hover" });
}
