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
  function drawFrom(index) {
    if (index >= plots.length) {
      root.dataset.plots = "drawn";
      return;
    }
    const plot = plots[index];
    Plotly.react(plot.id, ...figure(plot), config);
    setTimeout(drawFrom, 0, index + 1);
  }
  const start = () => { root.dataset.plots = "drawing"; drawFrom(0); };
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
