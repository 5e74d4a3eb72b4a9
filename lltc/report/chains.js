function runningMean(chains) {
  let sum = 0;
  return chains[0].map((_, k) => {
    sum += chains.reduce((total, chain) => total + chain[k], 0) / chains.length;
    return sum / (k + 1);
  });
}

// The chains of a checkpoint, cold and hot apart; null where none were kept.
function chainsOf(r, i) {
  const chains = runs[r].chains && runs[r].chains[i];
  if (!chains) return null;
  const of = (hot) => chains.filter((_, c) => Boolean(runs[r].hot[c]) === hot);
  return { cold: of(false), hot: of(true), draws: runs[r].draws[i], points: chains[0].length };
}

const GROUPS = [["cold", "cold start"], ["hot", "hot start"]];

function drawChains() {
  if (!$("trace")) return;
  const [r, i] = state.chosen;
  const found = chainsOf(r, i);
  const colours = palette();
  const traces = [];
  const stride = found ? found.draws / found.points : 1;
  const line = (y, color, width, extra) => ({ type: "scatter", mode: "lines", y, x0: stride, dx: stride, line: { color, width }, hoverinfo: "skip", ...extra });
  const groups = found ? GROUPS.filter(([kind]) => found[kind].length) : [];
  for (const [kind] of groups) for (const chain of found[kind]) traces.push(line(chain, fade(colours[kind], 0.34), 0.9));
  for (const [kind, name] of groups) {
    traces.push(line(runningMean(found[kind]), colours[kind], 2.4, {
      name, hoverinfo: "all", hovertemplate: `${name}, mean of the first %{x:,.0f} draws: %{y:.4~g}<extra></extra>`,
    }));
  }
  const layout = {
    height: 320, margin: { l: 48, r: 30, t: 52, b: 48 }, paper_bgcolor: colours.paper, plot_bgcolor: colours.paper,
    font: { family: colours.font, size: 13, color: colours.quiet }, showlegend: false, hovermode: "closest",
    dragmode: false, hoverlabel: { bgcolor: colours.wash, bordercolor: colours.line, font: { color: colours.ink, size: 13 } },
    xaxis: { title: { text: "draw", standoff: 8 }, showgrid: false, zeroline: false, linecolor: colours.line, tickformat: ",", nticks: 6 },
    yaxis: { gridcolor: colours.line, zeroline: false, nticks: 6 }, annotations: [], shapes: [],
  };
  layout.annotations.push(note("Energy nβ (L − L*) along the chains", { x: 0, y: 1, xshift: -48, yshift: 24, font: { size: 13.5, color: colours.ink } }));
  groups.forEach(([kind, name], k) => layout.annotations.push(
    note(`${name}, running mean`, { x: 0, y: 1, xshift: -48 + 160 * k, yshift: 5, font: { size: 12, color: colours[kind] } })));
  const llc = runs[r].llc[i];
  if (!found) layout.annotations.push(note("No chain was kept for this checkpoint.", { x: 0.5, y: 0.5, xanchor: "center" }));
  if (found && llc !== null) {
    layout.shapes.push({ type: "line", xref: "paper", x0: 0, x1: 1, y0: llc, y1: llc, line: { color: fade(colours.ink, 0.55), width: 1.2, dash: "5px,4px" } });
    layout.annotations.push(note("llc", { x: 1, y: llc, yref: "y", xshift: 4, yanchor: "middle", font: { size: 12, color: colours.ink } }));
  }
  Plotly.react("trace", traces, layout, { ...config, displayModeBar: false });
}

// The same chains as a drawing small enough for the label under the mouse.
function sparkline(r, i) {
  const found = chainsOf(r, i);
  if (!found) return "";
  const [width, height] = [272, 64];
  const every = found.cold.concat(found.hot).flat();
  const [low, high] = [every.reduce((a, b) => Math.min(a, b)), every.reduce((a, b) => Math.max(a, b))];
  const y = (value) => (height - 2 - ((value - low) / (high - low || 1)) * (height - 4)).toFixed(1);
  const path = (values) => "M" + values.map((v, k) => `${((k / Math.max(values.length - 1, 1)) * width).toFixed(1)} ${y(v)}`).join("L");
  const paths = [];
  for (const [kind] of GROUPS) for (const chain of found[kind]) paths.push(`<path class="${kind} chain" d="${path(chain)}"/>`);
  for (const [kind] of GROUPS) if (found[kind].length) paths.push(`<path class="${kind} mean" d="${path(runningMean(found[kind]))}"/>`);
  return `<svg viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" aria-hidden="true">${paths.join("")}</svg>`;
}
