"use strict";
const themes = JSON.parse(document.getElementById("themes").textContent);
const root = document.documentElement;

const hovers = window.matchMedia("(hover: hover)").matches; // else Plotly's buttons would always lie over the figure
const options = { responsive: true, displaylogo: false, displayModeBar: hovers ? "hover" : false };
function draw(plot) {
  const figure = JSON.parse(plot.nextElementSibling.textContent);
  const layout = Object.assign({}, figure.layout, { template: themes[root.dataset.theme], autosize: true });
  delete layout.width;
  figure.data.filter((trace) => trace.type === "parcoords").forEach((trace) => {
    trace.line.colorscale = layout.template.layout.colorscale.sequential; // its lines know no theme
  });
  const legend = figure.data.some((trace) => trace.showlegend !== false && trace.name) && figure.data.length > 1;
  layout.margin = Object.assign({ t: legend || layout.updatemenus ? 40 : 12 }, layout.margin);
  (layout.updatemenus || []).forEach((menu) => { menu.bgcolor = "rgba(128,134,148,0.15)"; menu.borderwidth = 0; });
  return Plotly.react(plot, figure.data, layout, options).then(() => { plot.dataset.drawn = "yes"; });
}

// The first figure at once, the others when they come near the screen, one after another.
let last = Promise.resolve();
const drawNext = (plot) => {
  last = last.then(() => draw(plot)).then(() => new Promise((next) => { setTimeout(next); }));
};
const seen = new IntersectionObserver((entries) => {
  entries.filter((entry) => entry.isIntersecting).forEach((entry) => {
    seen.unobserve(entry.target);
    drawNext(entry.target);
  });
}, { rootMargin: "600px" });
document.querySelectorAll(".plot").forEach((plot) => seen.observe(plot));

document.getElementById("theme").addEventListener("click", () => {
  root.dataset.theme = root.dataset.theme === "dark" ? "light" : "dark";
  document.querySelectorAll(".plot[data-drawn]").forEach(drawNext);
});

document.querySelectorAll("time[data-ms]").forEach((time) => {
  time.textContent = new Date(Number(time.dataset.ms)).toLocaleString();
});

const valueOf = (row, place) => {
  const cell = row.cells[place];
  const number = Number(cell.dataset.value); // of True, False, nan and inf none that compares
  return Number.isNaN(number) ? cell.textContent : number;
};
document.querySelectorAll("table.sortable").forEach((table) => {
  const body = table.tBodies[0];
  table.querySelectorAll("th").forEach((head, place) => head.addEventListener("click", () => {
    const down = head.getAttribute("aria-sort") === "ascending";
    table.querySelectorAll("th").forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const rows = [...body.rows].sort((one, other) => {
      const [a, b] = [valueOf(one, place), valueOf(other, place)];
      if (a === "–" || b === "–") return (a === "–") - (b === "–"); // without a value: last either way
      const order = typeof a === typeof b ? (a > b) - (a < b) : typeof a === "number" ? -1 : 1;
      return down ? -order : order;
    });
    body.append(...rows);
  }));
});
