const $ = (id) => document.getElementById(id);
const data = JSON.parse($("data").textContent);
const state = { cluster: null, wanted: "" };
const make = (kind, name, text) => {
  const element = document.createElement(kind);
  if (name) element.className = name;
  if (text !== undefined) element.textContent = text;
  return element;
};
const angle = (cluster) => `${(cluster * 137.508 + 210) % 360}deg`;
const shown = (text) => text.replace(/\n/g, "↵\n");

// Every example is one block; of its pieces those with a number are tokens that were read.
const blocks = data.examples.map((example) => {
  const block = make("div", "example");
  const text = make("div", "text");
  const spans = [];
  for (const [piece, number] of example.pieces) {
    if (number === null) {
      text.append(make("span", "", shown(piece)));
      continue;
    }
    const span = make("span", "token", shown(piece));
    span.dataset.token = number;
    span.tabIndex = -1;
    if (data.label[number] >= 0) {
      span.classList.add("member");
      span.style.setProperty("--hue-angle", angle(data.label[number]));
    }
    spans.push({ span, number, text: piece.toLowerCase() });
    text.append(span);
  }
  block.append(make("div", "name", String(example.name)), text);
  $("texts").append(block);
  return { block, spans };
});

function draw() {
  const [cluster, wanted] = [state.cluster, state.wanted.toLowerCase()];
  let count = 0;
  for (const { block, spans } of blocks) {
    let any = false;
    for (const { span, number, text } of spans) {
      const inside = cluster === null || data.label[number] === cluster;
      const found = wanted === "" || text.includes(wanted);
      span.classList.toggle("quiet", !inside);
      span.classList.toggle("hit", wanted !== "" && inside && found);
      if (inside && found) {
        any = true;
        count += 1;
      }
    }
    block.hidden = !any;
  }
  $("count").textContent = `${count.toLocaleString("en-US")} tokens`;
  for (const row of rows) row.setAttribute("aria-pressed", String(Number(row.dataset.cluster) === cluster));
}

function choose(cluster) {
  state.cluster = state.cluster === cluster ? null : cluster;
  draw();
}

const rows = [...document.querySelectorAll("#clusters tbody tr")];
rows.forEach((row, place) => {
  const cluster = data.order[place];
  row.dataset.cluster = cluster;
  row.tabIndex = 0;
  if (cluster >= 0) {
    const swatch = make("i", "swatch");
    swatch.style.setProperty("--hue-angle", angle(cluster));
    row.firstElementChild.prepend(swatch);
  }
  row.addEventListener("click", () => choose(cluster));
  row.addEventListener("keydown", (event) => event.key === "Enter" && choose(cluster));
});

function showTip(span) {
  const number = Number(span.dataset.token);
  const tip = $("tip");
  const label = data.label[number];
  tip.replaceChildren(
    make("div", "value", span.textContent),
    make("div", "", `${label >= 0 ? `cluster ${label}` : "in no cluster"}, position ${data.position[number]}, loss ${data.loss[number]}`),
  );
  const table = make("table");
  for (const [component, text] of data.notes[number]) {
    const row = make("tr");
    row.append(make("td", "", `χ ${data.components[component]}`), make("td", "", text));
    table.append(row);
  }
  tip.append(table);
  tip.hidden = false;
  const [at, box] = [span.getBoundingClientRect(), tip.getBoundingClientRect()];
  const below = at.bottom + 8 + box.height < innerHeight;
  tip.style.left = `${Math.min(Math.max(at.left, 8), Math.max(innerWidth - box.width - 8, 8))}px`;
  tip.style.top = `${below ? at.bottom + 8 : Math.max(at.top - box.height - 8, 8)}px`;
}

const hideTip = () => { $("tip").hidden = true; };
$("texts").addEventListener("pointerover", (event) => {
  const span = event.target.closest(".token");
  if (span) showTip(span);
  else hideTip();
});
$("texts").addEventListener("pointerleave", hideTip);
addEventListener("scroll", hideTip, { passive: true });
$("search").addEventListener("input", (event) => {
  state.wanted = event.target.value;
  draw();
});
draw();
document.documentElement.dataset.ready = "true";
