"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const $ = (id) => document.getElementById(id);
  const steps = data.curve.step;
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const config = {
    responsive: true, displaylogo: false, showSendToCloud: false, displayModeBar: "hover",
    modeBarButtonsToRemove: ["lasso2d", "select2d", "autoScale2d"],
    toImageButtonOptions: { format: "svg", filename: "llc-curve" },
  };
  let log = data.log;
  let chosen = data.first;

  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const palette = () => ({
    paper: css("--paper"), ink: css("--ink"), quiet: css("--quiet"), line: css("--line"), wash: css("--wash"),
    llc: css("--accent"), rise: css("--rise"), fall: css("--fall"), bad: css("--bad"),
    cold: css("--accent"), hot: css("--bad"), font: css("--sans"),
  });
  const fade = (hex, share) => hex + Math.round(share * 255).toString(16).padStart(2, "0");
  const escape = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

  // Step 0 has no logarithm: it stands at data.zero, left of the first positive step.
  const place = (step) => (log && !(step > 0) ? data.zero : step);
  const along = (step) => (log ? Math.log10(place(step)) : step);

  function logTicks(low, high, width) {
    const decades = Math.max(high - low, 1e-9);
    const parts = decades < 1.2 ? [1, 2, 3, 4, 5, 6, 7, 8, 9] : decades < 2.6 ? [1, 2, 5] : [1];
    const stride = parts.length > 1 ? 1 : Math.max(1, Math.ceil((decades * 52) / width));
    const ticks = [];
    if (steps.some((s) => s === 0)) ticks.push([data.zero, "0"]);
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
      type: log ? "log" : "linear", range, anchor: data.panels.at(-1).axis, title: { text: "step", standoff: 10 },
      showgrid: false, zeroline: false, linecolor: colours.line, ticks: "outside", ticklen: 5, tickcolor: colours.line,
      showspikes: true, spikemode: "across", spikesnap: "data", spikethickness: 1, spikedash: "solid",
      spikecolor: fade(colours.quiet, 0.5), hoverformat: ",",
    };
    if (log) {
      const ticks = logTicks(range[0], range[1], width);
      return { ...axis, tickmode: "array", tickvals: ticks.map((t) => t[0]), ticktext: ticks.map((t) => t[1]) };
    }
    return { ...axis, nticks: Math.max(4, Math.round(width / 95)), tickformat: Math.max(...steps) >= 1e6 ? "~s" : "," };
  }

  function fullRange() {
    const low = along(steps[0]);
    const high = along(steps[steps.length - 1]);
    const pad = high > low ? 0.025 * (high - low) : 0.5;
    return [low - pad, high + pad];
  }

  // Labels above the first panel go into as many rows as keep them apart.
  function labelRows(width, range) {
    const ends = [];
    return data.transitions.map((t) => {
      const middle = (((along(t.step_low) + along(t.step_high)) / 2 - range[0]) / (range[1] - range[0])) * width;
      const text = width < 480 ? t.short : t.label;
      const half = 3.5 * text.length + 6;
      let row = ends.findIndex((end) => middle - half > end);
      if (row < 0) row = ends.push(0) - 1;
      ends[row] = middle + half;
      return { text, row, at: Math.min(Math.max(middle, half), width - half), shown: middle >= 0 && middle <= width };
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

  function curveTraces(colours) {
    const c = data.curve;
    const many = steps.length > 120;
    const good = (i) => c.status[i] === "ok" && c.llc[i] !== null;
    const at = (keep) => steps.map((s, i) => (keep(i) ? place(s) : null));
    const pick = (values, keep) => values.map((v, i) => (keep(i) ? v : null));
    const points = (keep, extra) => ({
      type: "scatter", x: steps.map(place), y: pick(c.llc, keep), text: data.hover, yaxis: "y",
      error_y: { type: "data", array: pick(c.llc_se, keep), width: 0, thickness: many ? 1 : 1.4 },
      hovertemplate: "%{text}<extra></extra>", connectgaps: true, ...extra,
    });
    const size = many ? 4 : steps.length > 60 ? 6 : 8;
    const traces = data.plateaus.map((p) => ({
      type: "scatter", mode: "lines", x: [place(p.step_low), place(p.step_high)], y: [p.llc, p.llc], yaxis: "y",
      line: { color: fade(colours.llc, 0.26), width: 8 }, hoverinfo: "skip",
    }));
    for (const k of data.known) {
      traces.push({
        type: "scatter", mode: "lines", x: [place(k.step_low), place(k.step_high)], y: [k.llc, k.llc], yaxis: "y",
        line: { color: colours.fall, width: 1.8, dash: "6px,4px" }, hoverinfo: "skip",
      });
    }
    traces.push(points(good, {
      mode: "lines+markers", name: "llc", line: { color: colours.llc, width: 1.4 },
      marker: { color: colours.llc, size },
    }));
    if (steps.some((_, i) => !good(i))) {
      traces.push(points((i) => !good(i), {
        mode: "markers", name: "not ok", marker: { color: colours.paper, size, line: { color: colours.llc, width: 1.4 } },
      }));
      traces.push({
        type: "scatter", mode: "markers", name: "failed", x: at((i) => !good(i)), y: steps.map(() => 0.03), yaxis: "y99",
        marker: { symbol: "x-thin", size: 8, line: { color: colours.bad, width: 2 } }, text: data.hover,
        hovertemplate: "%{text}<extra></extra>",
      });
    }
    data.panels.slice(1).forEach((p) => traces.push({
      type: "scatter", mode: many ? "lines" : "lines+markers", name: escape(p.name), x: steps.map(place), y: p.values, yaxis: p.axis,
      line: { color: colours.quiet, width: 1.4 }, marker: { color: colours.quiet, size: 4 },
      hovertemplate: "%{y:.4~g}<extra></extra>",
    }));
    return traces;
  }

  function note(text, extra) {
    return { text, showarrow: false, xref: "paper", yref: "paper", xanchor: "left", yanchor: "bottom", ...extra };
  }

  function plateauLabels(width, range, colours) {
    const pixel = (s) => ((along(s) - range[0]) / (range[1] - range[0])) * width;
    const shown = (low, high, text) => pixel(high) - pixel(low) > 6.2 * text.length && pixel(low) < width && pixel(high) > 0;
    const own = data.plateaus.filter((p) => shown(p.step_low, p.step_high, p.label)).map((p) => note(p.label, {
      xref: "x", yref: "y", x: (along(p.step_low) + along(p.step_high)) / 2, y: p.edge, xanchor: "center", yshift: p.under ? -3 : 3,
      yanchor: p.under ? "top" : "bottom", font: { size: 12, color: colours.llc },
    }));
    const known = data.known.filter((k) => shown(k.step_low, k.step_high, k.label)).map((k) => note(escape(k.label), {
      xref: "x", yref: "y", x: along(k.step_high), y: k.llc, xanchor: "right", yanchor: k.under ? "top" : "bottom",
      yshift: k.under ? -5 : 5, font: { size: 11.5, color: colours.fall },
    }));
    return own.concat(known);
  }

  function curveLayout(range) {
    const colours = palette();
    const outer = $("curve").clientWidth;
    const margin = { l: outer < 560 ? 42 : 56, r: 14 };
    const width = Math.max(outer - margin.l - margin.r, 100);
    range = range || fullRange();
    const labels = labelRows(width, range);
    const rows = labels.length ? Math.max(...labels.map((l) => l.row)) + 1 : 0;
    const top = 42 + 17 * rows;
    const { domains, height } = panelDomains(top + 62);
    const layout = {
      height, margin: { ...margin, t: top, b: 62 }, paper_bgcolor: colours.paper, plot_bgcolor: colours.paper,
      font: { family: colours.font, size: 13, color: colours.quiet }, showlegend: false,
      hovermode: "x", hoversubplots: "axis", hoverdistance: 40, dragmode: outer < 560 ? false : "zoom",
      hoverlabel: { bgcolor: colours.wash, bordercolor: colours.line, font: { color: colours.ink, size: 13 }, align: "left" },
      xaxis: stepAxis(width, range, colours),
      yaxis99: { overlaying: "y", range: [0, 1], visible: false, fixedrange: true },
      annotations: [], shapes: [],
    };
    data.panels.forEach((p, i) => {
      layout["yaxis" + p.axis.slice(1)] = {
        domain: domains[i], type: p.log ? "log" : "linear", gridcolor: colours.line, zeroline: false, automargin: false,
        nticks: i ? 4 : 7, fixedrange: i > 0, exponentformat: "power", minexponent: 3,
        ...(p.ticks ? { tickmode: "array", tickvals: p.ticks, ticktext: p.ticks.map(powerOfTen) } : {}),
        ...(i === 0 && data.llcRange ? { range: data.llcRange } : {}),
      };
      layout.annotations.push(note(escape(p.title), {
        x: 0, y: domains[i][1], xshift: -margin.l, yshift: 6 + (i === 0 ? 17 * rows + (rows ? 4 : 0) : 0),
        font: { size: 13.5, color: colours.ink },
      }));
    });
    data.transitions.forEach((t, i) => {
      const colour = t.kind === "rise" ? colours.rise : colours.fall;
      data.panels.forEach((p) => layout.shapes.push({
        type: "rect", xref: "x", yref: `${p.axis} domain`, x0: place(t.step_low), x1: place(t.step_high), y0: 0, y1: 1,
        fillcolor: fade(colour, 0.2), line: { width: 0 }, layer: "below",
      }));
      if (labels[i].shown) {
        layout.annotations.push(note(labels[i].text, {
          x: labels[i].at / width, y: 1, xanchor: "center", yshift: 3 + 17 * labels[i].row, font: { size: 12.5, color: colour },
        }));
      }
    });
    if (chosen !== null) {
      data.panels.forEach((p) => layout.shapes.push({
        type: "line", xref: "x", yref: `${p.axis} domain`, x0: place(steps[chosen]), x1: place(steps[chosen]), y0: 0, y1: 1,
        line: { color: fade(colours.ink, 0.4), width: 1, dash: "2px,3px" }, layer: "below",
      }));
    }
    layout.annotations.push(...plateauLabels(width, range, colours));
    return layout;
  }

  function drawCurve(range) {
    const colours = palette();
    $("linear").setAttribute("aria-pressed", String(!log));
    $("log").setAttribute("aria-pressed", String(log));
    return Plotly.react("curve", curveTraces(colours), curveLayout(range), config);
  }

  function runningMean(chains) {
    let sum = 0;
    return chains[0].map((_, k) => {
      sum += chains.reduce((total, chain) => total + chain[k], 0) / chains.length;
      return sum / (k + 1);
    });
  }

  function drawChains() {
    if (!data.chains) return;
    const chains = chosen === null ? null : data.chains[chosen];
    const colours = palette();
    const traces = [];
    const groups = [["cold start", colours.cold, false], ["hot start", colours.hot, true]];
    const of = (hot) => (chains || []).filter((_, i) => Boolean(data.hot[i]) === hot);
    const line = (y, color, width, extra) => ({ type: "scatter", mode: "lines", y, x0: 1, line: { color, width }, hoverinfo: "skip", ...extra });
    for (const [, colour, hot] of groups) for (const chain of of(hot)) traces.push(line(chain, fade(colour, 0.34), 0.9));
    for (const [name, colour, hot] of groups) {
      if (of(hot).length) {
        traces.push(line(runningMean(of(hot)), colour, 2.4, { name, hoverinfo: "all", hovertemplate: `${name}, mean of the first %{x} draws: %{y:.4~g}<extra></extra>` }));
      }
    }
    const level = chosen === null ? null : data.curve.llc[chosen];
    const layout = {
      height: 320, margin: { l: 48, r: 30, t: 52, b: 48 }, paper_bgcolor: colours.paper, plot_bgcolor: colours.paper,
      font: { family: colours.font, size: 13, color: colours.quiet }, showlegend: false, hovermode: "closest",
      dragmode: false, hoverlabel: { bgcolor: colours.wash, bordercolor: colours.line, font: { color: colours.ink, size: 13 } },
      xaxis: { title: { text: "draw", standoff: 8 }, showgrid: false, zeroline: false, linecolor: colours.line },
      yaxis: { gridcolor: colours.line, zeroline: false, nticks: 6 }, annotations: [], shapes: [],
    };
    layout.annotations.push(note("Energy nβ (L − L*) along the chains", { x: 0, y: 1, xshift: -48, yshift: 24, font: { size: 13.5, color: colours.ink } }));
    groups.filter((g) => of(g[2]).length).forEach(([name, colour], i) => layout.annotations.push(
      note(`${name}, running mean`, { x: 0, y: 1, xshift: -48 + 160 * i, yshift: 5, font: { size: 12, color: colour } })));
    if (!chains) layout.annotations.push(note("No chain was kept for this checkpoint.", { x: 0.5, y: 0.5, xanchor: "center" }));
    if (chains && level !== null) {
      layout.shapes.push({ type: "line", xref: "paper", x0: 0, x1: 1, y0: level, y1: level, line: { color: fade(colours.ink, 0.55), width: 1.2, dash: "5px,4px" } });
      layout.annotations.push(note("llc", { x: 1, y: level, yref: "y", xshift: 4, yanchor: "middle", font: { size: 12, color: colours.ink } }));
    }
    Plotly.react("trace", traces, layout, { ...config, displayModeBar: false });
  }

  function choose(index, line) {
    if (index === chosen && line !== "first") return;
    chosen = index;
    $("which").textContent = "at step " + data.table[index][0];
    $("card").innerHTML = data.columns.map((name, k) => `<div><dt>${escape(name)}</dt><dd>${escape(data.table[index][k])}</dd></div>`).join("");
    document.querySelectorAll("#checkpoints tbody tr").forEach((row, i) => row.setAttribute("aria-selected", String(i === index)));
    drawChains();
  }

  // Redrawing the curve during a hover would drop its labels: a hover updates the card only, a click also the line.
  function pin(index) {
    choose(index);
    drawCurve($("curve").layout.xaxis.range.slice());
  }

  function switchTo(value) {
    if (value && !(data.zero > 0)) return;
    log = value;
    drawCurve();
  }

  choose(chosen, "first");
  drawCurve().then(() => {
    const plot = $("curve");
    const indexOf = (event) => {
      const point = event.points.find((p) => p.data.x.length === steps.length);
      return point ? point.pointNumber : null;
    };
    plot.on("plotly_hover", (event) => indexOf(event) !== null && choose(indexOf(event)));
    plot.on("plotly_click", (event) => indexOf(event) !== null && pin(indexOf(event)));
    plot.on("plotly_relayout", (change) => {
      if ("xaxis.autorange" in change) drawCurve();
      else if ("xaxis.range[0]" in change) drawCurve([change["xaxis.range[0]"], change["xaxis.range[1]"]].map(Number));
    });
  });
  let wide = $("curve").clientWidth;
  window.addEventListener("resize", () => {
    if ($("curve").clientWidth === wide) return;
    wide = $("curve").clientWidth;
    drawCurve();
    drawChains();
  });
  dark.addEventListener("change", () => { drawCurve(); drawChains(); });
  $("linear").addEventListener("click", () => switchTo(false));
  $("log").addEventListener("click", () => switchTo(true));
  document.querySelectorAll("#checkpoints tbody tr").forEach((row, i) => {
    row.tabIndex = 0;
    row.addEventListener("click", () => pin(i));
    row.addEventListener("keydown", (event) => event.key === "Enter" && pin(i));
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
  document.documentElement.dataset.ready = "true";
})();
