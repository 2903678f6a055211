// Makes a finished page lively: theme, animation, zoomable curves, copying. Without it everything can be read.
"use strict";

const root = document.documentElement;
root.classList.add("live");

// Light or dark: the system's choice until the button is used.
function remembered(value) {
  try {
    if (value) localStorage.setItem("vaegan-theme", value);
    return localStorage.getItem("vaegan-theme");
  } catch {
    return null; // a page opened from a file may have no storage
  }
}
if (remembered()) root.dataset.theme = remembered();
document.getElementById("theme").addEventListener("click", () => {
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
  remembered(root.dataset.theme);
});

// The animation: a slider over the moments, and a button that moves it.
for (const player of document.querySelectorAll(".player")) {
  const frames = [...player.querySelectorAll(".frames img")];
  const slider = player.querySelector("input");
  const output = player.querySelector("output");
  const button = player.querySelector(".play");
  let timer = null;
  const show = (index) => {
    frames.forEach((frame, at) => (frame.hidden = at !== index));
    slider.value = index;
    slider.setAttribute("aria-valuetext", frames[index].dataset.caption);
    output.textContent = frames[index].dataset.caption;
  };
  const stop = () => {
    clearInterval(timer);
    timer = null;
    button.textContent = "Play";
  };
  const start = () => {
    if (Number(slider.value) === frames.length - 1) show(0);
    button.textContent = "Pause";
    timer = setInterval(() => {
      const next = Number(slider.value) + 1;
      if (next < frames.length) show(next);
      if (next >= frames.length - 1) stop();
    }, 220);
  };
  slider.addEventListener("input", () => (stop(), show(Number(slider.value))));
  button.addEventListener("click", () => (timer ? stop() : start()));
}

// A click opens a sheet in its full size.
const dialog = document.createElement("dialog");
dialog.setAttribute("aria-label", "Picture in full size");
document.body.append(dialog);
dialog.addEventListener("click", () => dialog.close());
for (const image of document.querySelectorAll(".sheet img")) {
  image.addEventListener("click", () => {
    const large = image.cloneNode();
    const zoom = Math.max(1, Math.floor(innerWidth / image.naturalWidth));
    large.width = image.naturalWidth * Math.min(4, zoom);
    large.removeAttribute("height");
    dialog.replaceChildren(large);
    dialog.showModal();
  });
}

// Commands can be copied where the browser allows it.
if (navigator.clipboard) {
  for (const block of document.querySelectorAll("pre")) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = "Copy";
    button.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(block.querySelector("code").textContent);
        button.textContent = "Copied";
      } catch {
        button.textContent = "Select and copy";
      }
      setTimeout(() => (button.textContent = "Copy"), 1500);
    });
    block.append(button);
  }
}

// Curves: the same drawing as charts.py makes, for any part of the x axis.
const LEFT = 50, RIGHT = 350, TOP = 10, BOTTOM = 180;
const SVG = "http://www.w3.org/2000/svg";

function drawn(name, attributes, text) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== undefined) element.textContent = text;
  return element;
}

function ticks(low, high, count) {
  const raw = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= raw * 0.999);
  const found = [];
  for (let index = Math.ceil(low / step); index <= Math.floor(high / step); index += 1) found.push(index * step);
  return found;
}

function short(value) {
  for (const [limit, letter] of [[1e9, "G"], [1e6, "M"], [1e3, "k"]]) {
    if (Math.abs(value) >= limit) return `${Number((value / limit).toPrecision(3))}${letter}`;
  }
  return String(Number(value.toPrecision(3)));
}

class Chart {
  constructor(figure) {
    const data = JSON.parse(figure.dataset.chart);
    this.series = data.series;
    this.marks = data.marks;
    this.xLabel = data.x;
    this.whole = data.box;
    this.box = data.box;
    this.svg = figure.querySelector("svg");
    this.readout = figure.querySelector(".readout");
    this.axes = figure.querySelector(".axes");
    this.lines = [...figure.querySelectorAll(".lines path")];
    this.markGroup = figure.querySelector(".marks");
    this.hair = drawn("line", { class: "hair", y1: TOP, y2: BOTTOM, visibility: "hidden" });
    this.chosen = drawn("rect", { class: "chosen", y: TOP, height: BOTTOM - TOP, visibility: "hidden" });
    this.svg.append(this.chosen, this.hair);
    this.from = null;
    this.svg.addEventListener("pointerdown", (event) => this.press(event));
    this.svg.addEventListener("pointermove", (event) => this.move(event));
    this.svg.addEventListener("pointerup", (event) => this.release(event));
    this.svg.addEventListener("pointercancel", () => this.leave());
    this.svg.addEventListener("pointerleave", () => this.leave());
    this.svg.addEventListener("dblclick", () => this.zoom(this.whole));
  }

  across(x) {
    return LEFT + ((x - this.box[0]) / (this.box[1] - this.box[0])) * (RIGHT - LEFT);
  }

  down(y) {
    const inside = Math.min(Math.max(y, this.box[2]), this.box[3]);
    return BOTTOM - ((inside - this.box[2]) / (this.box[3] - this.box[2])) * (BOTTOM - TOP);
  }

  at(event) {
    const place = this.svg.getBoundingClientRect();
    const view = this.svg.viewBox.baseVal;
    const across = Math.min(RIGHT, Math.max(LEFT, ((event.clientX - place.left) / place.width) * view.width));
    return { across, x: this.box[0] + ((across - LEFT) / (RIGHT - LEFT)) * (this.box[1] - this.box[0]) };
  }

  press(event) {
    this.from = this.at(event);
  }

  move(event) {
    const here = this.at(event);
    const parts = [];
    let nearest = null;
    for (const one of this.series) {
      const point = one.points.reduce((best, next) => (Math.abs(next[0] - here.x) < Math.abs(best[0] - here.x) ? next : best));
      if (nearest === null || Math.abs(point[0] - here.x) < Math.abs(nearest - here.x)) nearest = point[0];
      parts.push(this.series.length > 1 ? `${one.name} ${Number(point[1].toPrecision(4))}` : `${Number(point[1].toPrecision(4))}`);
    }
    this.readout.textContent = `${nearest.toLocaleString("en")} ${this.xLabel}: ${parts.join(", ")}`;
    this.hair.setAttribute("visibility", "visible");
    const hair = Math.min(RIGHT, Math.max(LEFT, this.across(nearest)));
    this.hair.setAttribute("x1", hair);
    this.hair.setAttribute("x2", hair);
    if (this.from) {
      this.chosen.setAttribute("visibility", "visible");
      this.chosen.setAttribute("x", Math.min(this.from.across, here.across));
      this.chosen.setAttribute("width", Math.abs(here.across - this.from.across));
    }
  }

  release(event) {
    const from = this.from;
    const to = this.at(event);
    this.from = null;
    this.chosen.setAttribute("visibility", "hidden");
    if (!from || Math.abs(to.across - from.across) < 8) return;
    const [left, right] = [Math.min(from.x, to.x), Math.max(from.x, to.x)];
    const inside = this.series.flatMap((one) => one.points.filter(([x]) => x >= left && x <= right).map(([, y]) => y));
    if (inside.length < 2) return;
    const [low, high] = [Math.min(...inside), Math.max(...inside)];
    const room = 0.05 * (high - low || Math.abs(high) || 1);
    this.zoom([left, right, low - room, high + room]);
  }

  leave() {
    this.from = null;
    this.chosen.setAttribute("visibility", "hidden");
    this.hair.setAttribute("visibility", "hidden");
    this.readout.textContent = this.xLabel;
  }

  zoom(box) {
    this.box = box;
    const parts = [];
    for (const value of ticks(box[2], box[3], 4)) {
      const y = this.down(value);
      parts.push(drawn("line", { x1: LEFT, x2: RIGHT, y1: y, y2: y }));
      parts.push(drawn("text", { x: LEFT - 6, y: y + 3.5, "text-anchor": "end" }, short(value)));
    }
    for (const value of ticks(box[0], box[1], 5)) {
      parts.push(drawn("text", { x: this.across(value), y: BOTTOM + 16, "text-anchor": "middle" }, short(value)));
    }
    this.axes.replaceChildren(...parts);
    this.series.forEach((one, index) => {
      const seen = one.points.filter(([x]) => x >= box[0] && x <= box[1]);
      const path = seen.map(([x, y]) => `${this.across(x).toFixed(1)},${this.down(y).toFixed(1)}`).join("L");
      this.lines[index].setAttribute("d", path ? `M${path}` : "");
    });
    const marks = this.marks.filter((at) => at >= box[0] && at <= box[1]);
    this.markGroup.replaceChildren(
      ...marks.map((at) => drawn("line", { x1: this.across(at), x2: this.across(at), y1: TOP, y2: BOTTOM })),
    );
  }
}

for (const figure of document.querySelectorAll("[data-chart]")) new Chart(figure);
