// Nine pictures to choose from: variations of one, or children of two.

import { newSeed } from "./latents.js";
import { openDialog } from "./dialog.js";
import { button, element } from "./pixels.js";

/** @param wanted { title, note, make(seed, k, amount), amount, centre } — with an amount there is a slider for it, with a centre it stays in the middle */
export function choices(app, { title, note, make, amount, centre }) {
  let seed = newSeed();
  let much = amount;
  const grid = element("div", { className: "nine" });
  const cells = Array.from({ length: 9 }, (_, k) => {
    const canvas = app.painter.canvas();
    const cell = button("", () => take(k), { title: "Take it and pin it" });
    cell.setAttribute("aria-label", `Picture ${k + 1} of 9: take it and pin it`);
    cell.append(canvas);
    grid.append(cell);
    return { canvas, latent: null };
  });
  const draw = () =>
    app.guarded(async () => {
      cells.forEach((cell, k) => (cell.latent = centre && k === 4 ? centre : make(seed, k, much)));
      const pictures = await app.model.decode(cells.map((cell) => cell.latent), app.stages()[0], "current nine", true);
      if (pictures) cells.forEach((cell, k) => app.painter.paint(cell.canvas, pictures[k]));
    });
  const take = (k) => {
    app.store.choose(cells[k].latent);
    app.store.pin(cells[k].latent);
    close();
  };
  const controls = element("div", { className: "row" }, button("Others", () => ((seed = newSeed()), draw()), { className: "strong" }));
  if (amount !== undefined) {
    const slider = element("input", { type: "range", min: 0.05, max: 1.5, step: 0.01, value: amount, "aria-label": "How different" });
    slider.oninput = () => ((much = Number(slider.value)), draw());
    controls.append(element("label", { className: "inline" }, "alike", slider, "different"));
  }
  const close = openDialog(title, [element("p", { text: note }), grid, controls]);
  draw();
}
