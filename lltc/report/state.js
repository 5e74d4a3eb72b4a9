const data = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const { runs, steps } = data;
const many = runs.length > 1;
const dense = Math.max(...runs.map((run) => run.step.length)) > 120;
const darkScheme = window.matchMedia("(prefers-color-scheme: dark)");
const config = {
  responsive: true, displaylogo: false, showSendToCloud: false, doubleClick: false, showTips: false,
  modeBarButtonsToRemove: ["lasso2d", "select2d", "autoScale2d", "zoom2d", "pan2d", "resetScale2d"],
  toImageButtonOptions: { format: "svg", filename: "llc-curve" },
};
// What the reader has chosen: the axis, a checkpoint as [run, index], runs switched off, the ranges zoomed to.
const state = { log: data.log, chosen: data.first, hidden: new Set(), x: null, y: null };

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const palette = () => ({
  paper: css("--paper"), ink: css("--ink"), quiet: css("--quiet"), line: css("--line"), wash: css("--wash"),
  llc: css("--accent"), rise: css("--rise"), fall: css("--fall"), bad: css("--bad"),
  cold: css("--accent"), hot: css("--bad"), font: css("--sans"),
  runs: runs.map((_, r) => (many ? css(`--run${r % 8}`) : css("--accent"))),
});
const fade = (hex, share) => hex + Math.round(share * 255).toString(16).padStart(2, "0");
const escape = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

// Step 0 has no logarithm: it stands at data.zero, left of the first positive step.
const place = (step) => (state.log && !(step > 0) ? data.zero : step);
const along = (step) => (state.log ? Math.log10(place(step)) : step);

const cell = (r, i, name) => {
  const k = data.columns.indexOf(name);
  return k < 0 ? null : runs[r].table[i][k];
};

// Eight colours; a ninth run takes the first again with another mark.
const MARKS = [["circle", ""], ["diamond", "second"], ["square", "third"]];
const mark = (r) => MARKS[Math.floor(r / 8) % 3];
const hue = (r) => `run${r % 8} ${mark(r)[1]}`;
