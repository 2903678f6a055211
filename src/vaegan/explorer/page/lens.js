// The card beside the pointer: what this place of the plane decodes to, and the nearest real image.

import { element } from "./pixels.js";

export class Lens {
  constructor(app, place) {
    this.app = app;
    this.place = place;
    this.shown = false;
    this.parts = new Map();
  }

  part(name, caption) {
    if (this.parts.has(name)) return;
    const canvas = this.app.painter.canvas();
    const figure = element("figure", { className: name }, canvas, element("figcaption", { text: caption }));
    this.place.append(figure);
    this.parts.set(name, { canvas, figure });
  }

  move(left, top, width, height) {
    const { offsetWidth, offsetHeight } = this.place;
    const gap = 18;
    const x = left + gap + offsetWidth < width ? left + gap : Math.max(4, left - gap - offsetWidth);
    const y = Math.max(4, Math.min(height - offsetHeight - 4, top - offsetHeight - 10 > 4 ? top - offsetHeight - 10 : top + gap));
    this.place.style.transform = `translate(${Math.round(x)}px, ${Math.round(y)}px)`;
  }

  /** Decodes the latest place only; older ones that still wait are forgotten. */
  async show(latentOf, image, since) {
    this.shown = true;
    const turn = (this.turn = (this.turn ?? 0) + 1);
    const { model, painter } = this.app;
    const stages = this.app.stages();
    // All parts are there before anything is decoded: the card's size says where it fits.
    for (const stage of stages) this.part(stage, stage.toUpperCase());
    if (image !== null) this.part("real", "nearest image");
    for (const [name, part] of this.parts) part.figure.hidden = name === "real" ? image === null : !stages.includes(name);
    try {
      const latent = await latentOf();
      if (!latent || turn !== this.turn) return;
      const shown = stages.map(async (stage) => {
        const pictures = await model.decode([latent], stage, stages.length > 1 ? `hover ${stage}` : "hover", true);
        if (!pictures || !this.shown) return;
        painter.paint(this.parts.get(stage).canvas, pictures[0]);
        this.place.classList.add("shown");
        document.dispatchEvent(new CustomEvent("hovershown", { detail: performance.now() - since }));
      });
      if (image !== null) shown.push(this.showImage(image));
      await Promise.all(shown);
    } catch {
      this.hide(); // the page says elsewhere that the model is gone
    }
  }

  async showImage(image) {
    const pictures = await this.app.model.imagesOf([image], "hoverNear", true);
    if (pictures && this.shown) this.app.painter.paint(this.parts.get("real").canvas, pictures[0]);
  }

  hide() {
    this.shown = false;
    this.place.classList.remove("shown");
  }
}
