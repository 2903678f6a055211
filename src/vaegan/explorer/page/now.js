// The current picture, decoded by each shown stage, beside the closest images of the data; and what can be done with it.

import { makeAnew } from "./anew.js";
import { gaussian, newSeed, plus } from "./latents.js";
import { button, element } from "./pixels.js";

const NEIGHBOURS = 3;
const NEARBY = 0.35; // share of a prior's deviation

export class Now {
  constructor(app) {
    this.app = app;
    this.parts = new Map();
    this.pictures = document.getElementById("pictures");
    this.neighbours = document.getElementById("neighbours");
    const { store } = app;
    const acts = {
      pin: () => store.pin(store.current),
      near: () => store.choose(app.within(plus(store.current, app.step(gaussian(store.latentDim, newSeed())), NEARBY))),
      far: () => store.choose(app.drawn(newSeed())),
      middle: () => store.choose(app.model.description.origin),
      undo: () => store.undo(),
      redo: () => store.redo(),
    };
    for (const [id, act] of Object.entries(acts)) document.getElementById(id).onclick = act;
    this.acts = acts;
    store.on("current settings", () => this.update());
  }

  part(stage) {
    if (!this.parts.has(stage)) {
      const canvas = this.app.painter.canvas();
      canvas.setAttribute("role", "img");
      canvas.setAttribute("aria-label", `The current picture, decoded by the ${stage.toUpperCase()}`);
      const figure = element("figure", { className: stage }, canvas, element("figcaption", { text: stage.toUpperCase() }));
      this.pictures.append(figure);
      this.parts.set(stage, { canvas, figure });
    }
    return this.parts.get(stage);
  }

  async update() {
    const { app } = this;
    const { store } = app;
    document.getElementById("undo").disabled = !store.past.length;
    document.getElementById("redo").disabled = !store.future.length;
    const stages = app.stages();
    for (const [stage, part] of this.parts) part.figure.hidden = !stages.includes(stage);
    this.pictures.classList.toggle("several", stages.length + (store.source?.picture ? 1 : 0) > 1);
    this.original(store.source?.picture);
    const latent = store.current;
    await app.guarded(async () => {
      const shown = stages.map(async (stage) => {
        const pictures = await app.model.decode([latent], stage, `current ${stage}`, true);
        if (pictures) app.painter.paint(this.part(stage).canvas, pictures[0]);
      });
      await Promise.all([...shown, this.closest(latent)]);
    });
  }

  /** An uploaded picture stands before what the model makes of it. */
  original(picture) {
    if (this.shownOriginal === picture) return;
    this.shownOriginal = picture;
    this.pictures.querySelector(".original")?.remove();
    if (!picture) return;
    const caption = element("figcaption", { text: "yours" });
    if (this.app.model.restore) caption.append(button("make a part anew", () => makeAnew(this.app, picture)));
    this.pictures.prepend(element("figure", { className: "original" }, this.app.painter.painted(picture), caption));
  }

  async closest(latent) {
    const { app } = this;
    if (app.model.description.data.state !== "ready") {
      this.neighbours.hidden = true;
      return;
    }
    const indices = await app.model.nearest(latent, NEIGHBOURS, "currentNear", true);
    if (!indices) return;
    const pictures = await app.model.imagesOf([...indices], "currentNear images", true);
    if (!pictures) return;
    this.neighbours.hidden = false;
    const caption = element("p", { text: "closest in the data" });
    const buttons = pictures.map((picture, i) => {
      const one = button("", () => this.take(indices[i]), { title: `Image ${indices[i]} of the data: take its latent` });
      one.setAttribute("aria-label", `Take image ${indices[i]} of the data`);
      one.append(app.painter.painted(picture));
      return one;
    });
    this.neighbours.replaceChildren(caption, ...buttons);
  }

  async take(index) {
    await this.app.guarded(async () => {
      const [latent] = await this.app.model.latentsOf([index]);
      this.app.store.choose(latent);
    });
  }
}
