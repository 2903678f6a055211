// Sliders: principal directions with what lies at either end, attributes with strengths, raw dimensions behind "more".

import { dot, plus } from "./latents.js";
import { button, element } from "./pixels.js";

const FIRST = 8;
const ENDS = 2.5; // how far out the small pictures at either end lie, where the slider reaches so far
const PAUSE = 180; // [ms] of stillness before they are drawn anew

export class Sliders {
  constructor(app) {
    this.app = app;
    this.place = document.getElementById("sliders");
    this.rows = [];
    this.shown = { principal: FIRST };
    app.store.on("current", () => this.update());
    app.store.on("settings", () => this.endsSoon());
  }

  describe() {
    const { description } = this.app.model;
    this.rows = [];
    this.known = description.directions.length;
    this.place.replaceChildren();
    const groups = { principal: [], attribute: [], dimension: [] };
    for (const direction of description.directions) groups[direction.group].push(direction);
    if (groups.principal.length) this.place.append(this.group("Principal directions", "What pictures differ in most", groups.principal, FIRST));
    if (groups.attribute.length) this.place.append(this.group("Attributes", "1 is the way from the mean without to the mean with", groups.attribute, FIRST));
    const raw = this.group("Latent dimensions", "The encoder’s own numbers, those that carry most first", groups.dimension, FIRST);
    if (groups.principal.length) {
      const more = element("details", {}, element("summary", { text: "More: raw dimensions" }), raw);
      more.addEventListener("toggle", () => this.endsSoon());
      this.place.append(more);
    } else this.place.append(raw);
    this.update();
  }

  group(title, note, directions, first) {
    const rows = element("div", { className: "rows" });
    const add = (some) => {
      for (const direction of some) {
        const row = this.row(direction);
        this.rows.push(row);
        rows.append(row.element);
      }
    };
    add(directions.slice(0, first));
    const box = element("div", { className: "group" }, element("h2", { text: title, title: note }), rows);
    if (directions.length > first) {
      const more = button(`${directions.length - first} more`, () => {
        more.remove();
        add(directions.slice(first));
        this.update();
      }, { className: "quiet" });
      box.append(more);
    }
    return box;
  }

  row(direction) {
    const { store } = this.app;
    const reach = this.app.reach(direction);
    const ends = Math.min(ENDS, reach);
    const input = element("input", { type: "range", min: -reach, max: reach, step: 0.01, value: 0, "aria-label": direction.name, title: direction.note });
    const value = element("output", { text: "0.0" });
    const row = { direction, input, value, ends: [] };
    let held = false;
    const begin = () => {
      if (!held) store.remember();
      held = true;
    };
    input.addEventListener("input", () => {
      begin();
      this.to(row, Number(input.value));
    });
    input.addEventListener("change", () => (held = false));
    input.addEventListener("dblclick", () => this.jump(row, 0));
    for (const side of [-1, 1]) {
      const canvas = this.app.painter.canvas("end");
      const end = button("", () => this.jump(row, side * ends), { className: "end", title: `${direction.name} ${side < 0 ? "−" : "+"}${ends}` });
      end.setAttribute("aria-label", `${direction.name} to ${side * ends}`);
      end.append(canvas);
      row.ends.push({ amount: side * ends, canvas, end });
    }
    const name = element("label", { title: direction.note }, element("span", { text: direction.name }), value);
    row.element = element("div", { className: "slider" }, row.ends[0].end, element("div", {}, name, input), row.ends[1].end);
    return row;
  }

  jump(row, amount) {
    this.app.store.remember();
    this.to(row, amount);
  }

  amount({ direction }, latent = this.app.store.current) {
    return direction.read ? dot(latent, direction.read) - direction.zero : (this.app.store.strengths[direction.name] ?? 0);
  }

  to(row, amount) {
    const { store } = this.app;
    const { direction } = row;
    const latent = this.app.within(plus(store.current, direction.move, amount - this.amount(row)));
    const strengths = direction.read ? store.strengths : { ...store.strengths, [direction.name]: amount };
    store.change(latent, strengths);
  }

  update() {
    for (const row of this.rows) {
      const amount = this.amount(row);
      row.value.textContent = amount.toFixed(1).replace("-0.0", "0.0").replace("-", "−");
      if (Math.abs(Number(row.input.value) - amount) > 0.005) row.input.value = amount;
      const reach = this.app.reach(row.direction);
      const share = Math.min(1, Math.max(0, (amount + reach) / (2 * reach)));
      row.input.style.setProperty("--from", `${100 * Math.min(0.5, share)}%`);
      row.input.style.setProperty("--to", `${100 * Math.max(0.5, share)}%`);
    }
    this.endsSoon();
  }

  endsSoon() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.drawEnds(), PAUSE);
  }

  async drawEnds() {
    const { app } = this;
    const seen = this.rows.filter((row) => row.element.offsetParent !== null);
    const ends = seen.flatMap((row) => row.ends.map((end) => ({ ...end, row })));
    const turn = (this.turn = (this.turn ?? 0) + 1);
    await app.guarded(async () => {
      for (let start = 0; start < ends.length; start += 8) {
        const some = ends.slice(start, start + 8);
        const latents = some.map(({ row, amount }) => app.within(plus(app.store.current, row.direction.move, amount - this.amount(row))));
        const pictures = await app.model.decode(latents, app.stages()[0], "picture");
        if (!pictures || turn !== this.turn) return;
        some.forEach(({ canvas }, i) => app.painter.paint(canvas, pictures[i]));
      }
    });
  }
}
