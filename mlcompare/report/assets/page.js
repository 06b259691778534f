"use strict";
// Draws the charts with the colours of the page's style sheet, again whenever the system turns light or dark.
(() => {
  const root = document.documentElement;
  const holder = document.getElementById("plots");
  const plots = holder ? JSON.parse(holder.textContent) : [];
  const config = { displayModeBar: false, responsive: true, scrollZoom: false, showTips: false };

  // "@c0" stands for the style sheet's --c0.
  function painted(value, style) {
    if (typeof value === "string") {
      return /^@[a-z0-9]+$/.test(value) ? style.getPropertyValue("--" + value.slice(1)).trim() : value;
    }
    if (Array.isArray(value)) return value.map((item) => painted(item, style));
    if (value && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, painted(item, style)]));
    }
    return value;
  }

  const hidden = {}; // chart → names switched off
  const narrow = matchMedia("(max-width: 560px)"); // names beside points would overlap there: a tap shows them

  function figure(plot) {
    const style = getComputedStyle(root);
    const data = painted(plot.data, style);
    const off = hidden[plot.id] || new Set();
    for (const trace of data) {
      trace.visible = !off.has(trace.legendgroup);
      if (narrow.matches && trace.mode === "markers+text") trace.mode = "markers";
    }
    return [data, painted(plot.layout, style)];
  }

  // One chart at a time, in the order of the page, so that it stays responsive.
  let next = 0;
  function draw() {
    const plot = plots[next++];
    Plotly.react(plot.id, ...figure(plot), config);
  }
  function drawOn() {
    if (next < plots.length) draw();
    if (next < plots.length) setTimeout(drawOn, 0);
    else root.dataset.plots = "drawn";
  }
  const start = () => {
    const going = root.dataset.plots === "drawing";
    root.dataset.plots = "drawing";
    next = 0;
    if (!going) drawOn();
  };

  // On paper every chart is there, as wide as the page at most; afterwards as wide as its place again.
  const PAPER = 640; // pixels: A4 or letter without margins, less what they take
  addEventListener("beforeprint", () => {
    while (next < plots.length) draw();
    for (const plot of plots) {
      const wide = document.getElementById(plot.id).clientWidth;
      if (wide > PAPER) Plotly.relayout(plot.id, { width: PAPER });
    }
  });
  addEventListener("afterprint", () => {
    for (const plot of plots) Plotly.relayout(plot.id, { width: null, autosize: true });
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", start);
  narrow.addEventListener("change", start);
  start();

  // The legends are buttons: they work by keyboard, too.
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-plots]");
    if (!button) return;
    const shown = button.getAttribute("aria-pressed") === "true";
    button.setAttribute("aria-pressed", String(!shown));
    for (const plot of plots.filter((candidate) => button.dataset.plots.split(" ").includes(candidate.id))) {
      const off = (hidden[plot.id] ||= new Set());
      shown ? off.add(button.dataset.name) : off.delete(button.dataset.name);
      Plotly.react(plot.id, ...figure(plot), config);
    }
  });
})();
