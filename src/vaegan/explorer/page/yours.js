// A picture of one's own: dropped, pasted, chosen or drawn; encoded, decoded, and found on the map.

import { drawnOn, line, makeAnew } from "./anew.js";
import { openDialog } from "./dialog.js";
import { button, element } from "./pixels.js";

const PAPER = 256; // longer side of the drawing [pixels]
const COLOURS = ["#1d1d1f", "#ffffff", "#d9483b", "#e6913a", "#f2d04b", "#4f9d53", "#3f7fd0", "#8a5bc9", "#f0c8a8", "#8a5a3b"];

export class Yours {
  constructor(app) {
    this.app = app;
    const open = document.getElementById("yours");
    open.hidden = !app.model.description.canEncode;
    if (open.hidden) return;
    open.onclick = () => this.open();
    document.addEventListener("paste", (event) => {
      const file = [...(event.clipboardData?.files ?? [])].find((one) => one.type.startsWith("image/"));
      if (!file) return;
      event.preventDefault();
      this.take(file);
    });
    document.addEventListener("dragover", (event) => {
      if (!event.dataTransfer.types.includes("Files")) return;
      event.preventDefault();
      document.body.classList.add("dropping");
    });
    document.addEventListener("dragleave", (event) => !event.relatedTarget && document.body.classList.remove("dropping"));
    document.addEventListener("drop", (event) => {
      document.body.classList.remove("dropping");
      const [file] = event.dataTransfer.files;
      if (!file) return;
      event.preventDefault();
      this.take(file);
    });
  }

  /** The picture's latent becomes the current one. */
  async take(blob) {
    await this.app.guarded(async () => {
      const { latent, picture } = await this.app.model.encode(blob);
      this.close?.();
      this.app.store.choose(latent, { picture });
      this.app.store.pin(latent);
      this.app.say("What the model keeps of your image is the current picture, marked on the map and pinned.");
    });
  }

  open() {
    const file = element("input", { type: "file", accept: "image/*", className: "unseen", id: "file" });
    file.onchange = () => file.files[0] && this.take(file.files[0]);
    const choose = element("label", { htmlFor: "file", className: "drop" }, element("strong", { text: "Choose an image" }), "or drop or paste one anywhere on this page. It stays on this machine.");
    const drawing = this.drawing();
    this.close = openDialog("Your image", [file, choose, element("h3", { text: "or draw one" }), drawing], { wide: true, onclose: () => (this.close = null) });
  }

  drawing() {
    const { app } = this;
    const grey = app.painter.channels === 1;
    const [across, down] = [app.painter.width, app.painter.height].map((side) => Math.round((PAPER * side) / app.painter.side));
    const paper = element("canvas", { width: across, height: down, className: "paper", "aria-label": "Drawing paper" });
    const context = paper.getContext("2d");
    const result = app.painter.canvas();
    let ink = grey ? "#ffffff" : COLOURS[0];
    let width = grey ? 22 : 12;
    const fill = (colour) => {
      context.fillStyle = colour;
      context.fillRect(0, 0, across, down);
      encode();
    };
    let waiting = false;
    let made = null;
    const encode = async () => {
      if (waiting) {
        waiting = "again";
        return;
      }
      waiting = true;
      await app.guarded(async () => {
        const blob = await new Promise((resolve) => paper.toBlob(resolve, "image/png"));
        made = await app.model.encode(blob);
        const pictures = await app.model.decode([made.latent], app.stages()[0], "current drawing", true);
        if (pictures) app.painter.paint(result, pictures[0]);
      });
      const again = waiting === "again";
      waiting = false;
      if (again) encode();
    };
    drawnOn(paper, (...ends) => {
      line(context, ends, ink, width);
      encode();
    });
    const inks = element("div", { className: "inks", role: "group", "aria-label": "Colours" });
    for (const colour of grey ? ["#ffffff", "#808080", "#000000"] : COLOURS) {
      const one = button("", () => {
        ink = colour;
        for (const other of inks.children) other.setAttribute("aria-pressed", String(other === one));
      }, { "aria-pressed": String(colour === ink) });
      one.setAttribute("aria-label", `Colour ${colour}`);
      one.style.background = colour;
      inks.append(one);
    }
    const brush = element("input", { type: "range", min: 4, max: 60, value: width, "aria-label": "Width of the brush" });
    brush.oninput = () => (width = Number(brush.value));
    const onto = button("Start from the current picture", () => {
      const shown = document.querySelector("#pictures figure:not([hidden]):not(.original) canvas");
      context.drawImage(shown, 0, 0, across, down);
      encode();
    });
    const use = button("Use it", () => {
      if (made) paper.toBlob((blob) => this.take(blob), "image/png");
    }, { className: "strong" });
    const anew = button("Make a part anew", () => made && makeAnew(app, made.picture));
    anew.hidden = !app.model.restore;
    setTimeout(() => fill(grey ? "#000000" : "#ffffff"));
    const blank = button("Blank", () => fill(grey ? "#000000" : "#ffffff"));
    return element("div", { className: "drawing" },
      element("figure", {}, paper, element("figcaption", { text: "your drawing" })),
      element("figure", {}, result, element("figcaption", { text: "what the model makes of it" })),
      element("div", { className: "tools" }, inks, element("label", { className: "inline" }, "brush", brush), element("div", { className: "row" }, blank, onto, anew, use)),
    );
  }
}
