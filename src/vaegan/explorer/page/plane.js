// The canvas: a map of the encoded images, or the endless grid of seeds. Hovering decodes, clicking pins.

import { blend, dot, planeReads, plus } from "./latents.js";
import { HIDDEN, PLAIN, colouring, hex, ownColouring, rgb } from "./colours.js";
import { Lens } from "./lens.js";
import { button, element } from "./pixels.js";
import { PlaneView } from "./planeview.js";
import { Points } from "./points.js";
import { Tiles } from "./tiles.js";

const BLENDED = 8; // neighbours that a place on a t-SNE map is made of
const SEEDS_A_TILE = 0.5; // how far apart the pictures of the grid of seeds start
const TSNE = "t-SNE";
const RESIDUAL = "residual";
const OWN = "own colours";

export class Plane {
  constructor(app) {
    this.app = app;
    this.canvas = document.getElementById("canvas");
    this.note = document.getElementById("plane-note");
    this.lens = new Lens(app, document.getElementById("lens"));
    this.view = new PlaneView(this.canvas, {
      draw: () => this.draw(),
      hover: (x, y, event) => this.hover(x, y, event),
      leave: () => this.leave(),
      pick: (x, y) => this.pick(x, y),
      fit: () => this.fit(),
    });
    this.tiles = new Tiles(
      (latents) => app.model.decode(latents, app.stages()[0], "background"),
      (picture) => app.painter.painted(picture),
      (x, y) => this.latentAt(x, y),
      () => this.view.redraw(),
    );
    this.hidden = new Set();
    this.stoodIn = {};
    this.near = null;
    for (const [id, act] of [["zoom-in", () => this.view.zoom(1.4)], ["zoom-out", () => this.view.zoom(1 / 1.4)], ["zoom-fit", () => this.fit()]]) {
      document.getElementById(id).onclick = act;
    }
    for (const [id, name] of [["axis-x", "x"], ["axis-y", "y"], ["through", "through"], ["colour", "colour"], ["show", "show"]]) {
      document.getElementById(id).onchange = (event) => app.store.set(name, event.target.value);
    }
    app.store.on("current", () => {
      if (this.through === "current") this.refreshTiles();
      this.view.redraw();
    });
    app.store.on("settings", () => this.update());
    new MutationObserver(() => this.view.redraw()).observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme"] });
  }

  get settings() {
    return this.app.store.settings;
  }

  get seeds() {
    return this.settings.view === "seeds";
  }

  /** What the plane goes through: the average, the current picture, or at each place the nearest image. */
  get through() {
    const { through } = this.settings;
    return through === "nearest" && !this.points ? "average" : through;
  }

  get isTsne() {
    return !this.seeds && this.settings.x === TSNE;
  }

  /** Fills the selects anew; called when the model's description has changed. */
  async describe() {
    const { description } = this.app.model;
    const names = (group) => description.directions.filter((one) => one.group === group).map((one) => one.name);
    const groups = [["Principal directions", names("principal").slice(0, 12)], ["Attributes", names("attribute")], ["Latent dimensions", names("dimension").slice(0, 24)]];
    const tsne = description.tsne?.state !== "missing" && description.data.state === "ready" ? [["Neighbourhoods", [TSNE]]] : [];
    fill("axis-x", [...groups, ...tsne]);
    fill("axis-y", [...groups, ["Of an attribute", [RESIDUAL]]]);
    const own = description.data.ownColours ? [OWN] : [];
    const principal = names("principal").slice(0, 8);
    fill("colour", [["", [...own, "plain"]], ["Labels", description.data.labels.map((label) => label.name)], ["Principal directions", principal]]);
    const all = new Set(description.directions.map((one) => one.name));
    const first = description.directions.filter((one) => one.group !== "attribute").map((one) => one.name);
    this.settle("x", (name) => all.has(name) || name === TSNE, first[0]);
    this.settle("y", (name) => all.has(name) || name === RESIDUAL, first[1]);
    const known = [OWN, "plain", ...description.data.labels.map((label) => label.name), ...principal];
    this.settle("colour", (name) => known.includes(name), bestLabel(description.data.labels) ?? own[0] ?? "plain");
    this.drawn = null;
    await this.update();
  }

  /** Puts something else in the place of a setting that the model does not have; what stands in while the images are opened goes again. */
  settle(name, known, other) {
    const { settings } = this;
    const stood = this.stoodIn[name];
    if (stood && settings[name] === stood.other) settings[name] = stood.asked;
    delete this.stoodIn[name];
    if (known(settings[name])) return;
    if (this.app.model.description.data.state === "waiting") this.stoodIn[name] = { asked: settings[name], other };
    settings[name] = other;
  }

  /** Brings the plane in line with the settings. */
  async update() {
    const { description } = this.app.model;
    const hasData = description.data.state === "ready";
    document.getElementById("axes").hidden = this.seeds;
    document.getElementById("axis-x").value = this.settings.x;
    document.getElementById("axis-y").value = this.settings.y;
    document.getElementById("axis-y").parentElement.hidden = this.isTsne;
    const through = document.getElementById("through");
    through.parentElement.hidden = this.isTsne;
    through.querySelector("[value=nearest]").hidden = through.querySelector("[value=nearest]").disabled = !hasData;
    through.value = this.through;
    document.getElementById("colour").value = this.settings.colour;
    document.getElementById("colour").parentElement.hidden = !hasData;
    document.getElementById("show").parentElement.hidden = !hasData || this.isTsne;
    document.getElementById("show").value = this.settings.show;
    const title = this.seeds ? "Endless grid of seeds" : "Map of the latent space";
    this.canvas.setAttribute("aria-label", title);
    const wanted = JSON.stringify([this.seeds, this.settings.x, this.settings.y, hasData, description.directions.length]);
    if (wanted !== this.drawn) {
      this.drawn = wanted;
      this.tiles.clear();
      this.points = null;
      this.leave();
      if (this.seeds) this.fit();
      else await this.project(wanted);
    }
    this.refreshTiles();
    await this.colour();
    this.explain();
    this.view.redraw();
  }

  /** Pictures on the plane are made anew when the stage, the sampler or the plane has changed. */
  refreshTiles() {
    const base = this.axes && this.through === "current" && !this.seeds ? this.base(this.app.store.current).join() : "";
    const shown = `${this.app.stages()[0]} ${this.seeds && this.settings.sampler} ${base}`;
    if (shown !== this.tiled) this.tiles.clear();
    this.tiled = shown;
  }

  direction(name) {
    return this.app.model.description.directions.find((one) => one.name === name);
  }

  async project(wanted) {
    const { model } = this.app;
    if (this.isTsne) {
      this.axes = null;
      this.app.guarded(() => this.embed(wanted)); // takes a minute: nothing else waits for it
      return;
    }
    const x = this.direction(this.settings.x);
    const y = this.settings.y === RESIDUAL ? x : this.direction(this.settings.y);
    const across = x.move;
    let up = this.settings.y === RESIDUAL ? x.residual : y.move;
    let reads = up && planeReads(across, up);
    if (!reads) {
      const other = model.description.directions.find((one) => one.group !== "attribute" && one.name !== x.name);
      up = other.move;
      reads = planeReads(across, up);
      this.settings.y = other.name;
      document.getElementById("axis-y").value = other.name;
    }
    this.axes = { origin: model.description.origin, across, up, reads };
    this.fit();
    if (model.description.data.state !== "ready") return;
    const places = await model.project(this.axes.origin, ...reads);
    if (wanted !== this.drawn) return;
    this.points = new Points(places);
    this.fit();
  }

  async embed(wanted) {
    const { model } = this.app;
    while (wanted === this.drawn) {
      const { tsne, data } = await model.refresh();
      if (tsne.state === "ready") break;
      if (tsne.state === "failed") this.progress = tsne.why;
      else if (data.growing) this.progress = "t-SNE begins when all images are encoded.";
      else {
        if (tsne.state === "absent") await model.startTsne();
        this.progress = `t-SNE is being made: ${Math.round((100 * (tsne.done ?? 0)) / (tsne.total ?? 1))}%`;
      }
      this.explain();
      if (tsne.state === "failed") return;
      await new Promise((resolve) => setTimeout(resolve, 500));
    }
    if (wanted !== this.drawn) return;
    const { indices, places } = await model.tsne();
    this.progress = "";
    this.points = new Points(places, indices);
    this.fit();
    this.legend();
    this.explain();
  }

  async colour() {
    const { model } = this.app;
    const name = this.settings.colour;
    if (model.description.data.state === "ready" && this.coloured !== name) {
      this.coloured = name;
      this.hidden.clear();
      const label = model.description.data.labels.find((one) => one.name === name);
      const direction = this.direction(name);
      if (label) this.colours = colouring(label, await model.labels(name));
      else if (name === OWN) this.colours = ownColouring(await model.meanColours());
      else if (direction?.read) this.colours = colouring({ words: null }, await this.readings(direction));
      else this.colours = null;
    }
    this.legend();
  }

  /** All images are encoded: their dots join the first ones, and what is there stays where it is. */
  async grow() {
    const { model } = this.app;
    this.coloured = null;
    this.explain();
    if (this.isTsne) {
      await this.colour(); // its dots are of all images already
      this.view.redraw();
    }
    if (this.seeds || this.isTsne || !this.axes) return;
    const wanted = this.drawn;
    const hidden = [...this.hidden];
    const places = await model.project(this.axes.origin, ...this.axes.reads);
    await this.colour();
    if (wanted !== this.drawn) return;
    hidden.forEach((code) => this.hidden.add(code));
    this.points = new Points(places);
    this.legend();
    this.view.redraw();
  }

  async readings(direction) {
    const both = await this.app.model.project(this.app.model.description.origin, direction.read, direction.read);
    return both.filter((_, i) => i % 2 === 0);
  }

  legend() {
    const place = document.getElementById("legend");
    place.replaceChildren();
    place.hidden = this.seeds || !this.points || !(this.colours?.words || this.colours?.range);
    if (place.hidden) return;
    const { words, colours, range } = this.colours;
    if (!words) {
      const ramp = element("span", { className: "ramp" });
      ramp.style.background = `linear-gradient(90deg, ${colours.filter((_, i) => i % 9 === 0).map(hex).join(", ")})`;
      place.append(element("span", { text: range[0].toPrecision(2) }), ramp, element("span", { text: range[1].toPrecision(2) }));
      return;
    }
    words.slice(0, 24).forEach((word, code) => {
      const dot = element("i");
      dot.style.background = hex(colours[code]);
      const shown = !this.hidden.has(code);
      const one = button("", () => {
        if (shown) this.hidden.add(code);
        else this.hidden.delete(code);
        this.legend();
        this.view.redraw();
      }, { "aria-pressed": String(shown), title: shown ? "Hide" : "Show" });
      one.append(dot, word);
      place.append(one);
    });
  }

  codes() {
    if (!this.colours) return null;
    const { codes } = this.colours;
    const { indices } = this.points;
    if (!indices && !this.hidden.size) return codes;
    const chosen = new Uint16Array(this.points.count);
    for (let i = 0; i < chosen.length; i++) {
      const code = codes[indices ? indices[i] : i];
      chosen[i] = this.hidden.has(code) ? HIDDEN : code;
    }
    return chosen;
  }

  explain() {
    const { data } = this.app.model.description;
    let text = "";
    if (this.seeds && !this.wandered) text = "Every whole-numbered place is a seed; between them four seeds are blended. Drag to wander.";
    else if (this.seeds) text = "";
    else if (this.isTsne && this.progress) text = this.progress;
    else if (this.isTsne) text = `A click blends the latents of the ${BLENDED} nearest images: t-SNE has no way back.`;
    else if (data.state === "waiting" || data.growing) {
      const share = data.progress.total ? ` ${Math.round((100 * data.progress.done) / data.progress.total)}%` : "";
      text = `${data.progress.what} …${share}`;
    } else if (data.state === "absent" && !data.quiet) text = data.why;
    this.note.textContent = text;
    this.note.hidden = !text;
  }

  fit() {
    if (this.seeds) {
      this.view.fit([-1.75, -1.75, 1.75, 1.75]);
      this.view.scale = 64 / SEEDS_A_TILE;
      this.view.limits = [this.view.scale / 4, this.view.scale * 64];
      this.view.pendingFit = null;
    } else {
      const reach = Math.min(3, this.app.reach({ group: "principal" }));
      this.view.fit(this.points?.count ? this.points.box() : [-reach, -reach, reach, reach]);
    }
  }

  latentAt(x, y) {
    if (this.seeds) return this.app.seedAt(x, y);
    if (!this.axes) return null;
    const base = this.through === "current" ? this.base(this.app.store.current) : this.axes.origin;
    return plus(plus(base, this.axes.across, x), this.axes.up, y);
  }

  /** What of a latent does not lie on the plane: it meets the middle of the map. */
  base(latent) {
    const [x, y] = this.onPlane(latent);
    return plus(plus(latent, this.axes.across, -x), this.axes.up, -y);
  }

  onPlane(latent) {
    const away = plus(latent, this.axes.origin, -1);
    return [dot(away, this.axes.reads[0]), dot(away, this.axes.reads[1])];
  }

  /** The latent of a place on any of the planes; on a t-SNE map a blend of the nearest images. */
  async latentOf(x, y, lane) {
    if (this.seeds || (!this.isTsne && this.through !== "nearest")) return this.latentAt(x, y);
    if (!this.points?.count) return null;
    const nearest = this.points.nearest(x, y, this.isTsne ? BLENDED : 1);
    const latents = await this.app.model.latentsOf(nearest.map(([point]) => this.points.imageOf(point)), lane);
    if (!latents) return null;
    if (!this.isTsne) return plus(plus(this.base(latents[0]), this.axes.across, x), this.axes.up, y);
    const nearby = nearest[0][1] || 1e-6;
    return blend(latents, nearest.map(([, distance]) => 1 / (distance + 0.2 * nearby + 1e-6)));
  }

  whereIs(latent) {
    return this.seeds || !this.axes ? null : this.onPlane(latent);
  }

  hover(x, y, event) {
    const since = event?.timeStamp ?? performance.now();
    const nearest = this.points && this.points.count ? this.points.nearest(x, y)[0] : null;
    this.near = nearest ? nearest[0] : null;
    if (this.seeds && this.view.dragged && !this.wandered) {
      this.wandered = true;
      this.explain();
    }
    const image = nearest ? this.points.imageOf(nearest[0]) : null;
    this.lens.show(() => this.latentOf(x, y, "hover"), image, since);
    this.lens.move(...this.view.toScreen(x, y), this.view.width, this.view.height);
    this.ring();
    if (!event) this.spoken(x, y, image);
  }

  spoken(x, y, image) {
    clearTimeout(this.speaking);
    this.speaking = setTimeout(() => {
      const near = image === null ? "" : `, nearest to image ${image}`;
      this.app.say(`${x.toFixed(2)} across, ${y.toFixed(2)} up${near}`, true);
    }, 400);
  }

  leave() {
    this.near = null;
    this.lens.hide();
    if (this.view) this.ring();
  }

  async pick(x, y) {
    const latent = await this.latentOf(x, y, "answer");
    if (!latent) return;
    this.app.store.choose(latent);
    this.app.store.pin(latent);
  }

  draw() {
    const { view } = this;
    const context = this.canvas.getContext("2d");
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    if (this.showsPictures() && (this.seeds || this.axes)) this.tiles.draw(view, context, this.tileSide(), this.app.painter.aspect);
    else if (this.points) this.points.draw(view, context, this.codes(), this.colours?.colours ?? [rgb(PLAIN)]);
    context.setTransform(view.ratio, 0, 0, view.ratio, 0, 0);
    this.mark(context);
    this.ring();
  }

  tileSide() {
    return Math.max(40, Math.min(72, this.app.painter.side));
  }

  /** Rings the dot nearest to the pointer: an element of its own, so that hovering does not draw the dots again. */
  ring() {
    const ring = document.getElementById("ring");
    ring.hidden = this.near === null || !this.points || this.showsPictures();
    if (ring.hidden) return;
    const [x, y] = this.view.toScreen(this.points.places[2 * this.near], this.points.places[2 * this.near + 1]);
    ring.style.transform = `translate(${x}px, ${y}px)`;
  }

  showsPictures() {
    return this.seeds || (!this.isTsne && (this.settings.show === "pictures" || this.app.model.description.data.state !== "ready"));
  }

  mark(context) {
    const { view } = this;
    const style = getComputedStyle(document.documentElement);
    const ring = (x, y, radius, colour, width) => {
      context.beginPath();
      context.arc(x, y, radius, 0, 2 * Math.PI);
      context.lineWidth = width;
      context.strokeStyle = colour;
      context.stroke();
    };
    const here = this.whereIs(this.app.store.current);
    if (here) {
      const [x, y] = view.toScreen(...here);
      ring(x, y, 9, style.getPropertyValue("--paper"), 5);
      ring(x, y, 9, style.getPropertyValue("--accent"), 2.5);
    }
    if (view.cross) {
      const [x, y] = view.cross;
      for (const [colour, width] of [[style.getPropertyValue("--paper"), 4], [style.getPropertyValue("--ink"), 1.5]]) {
        context.beginPath();
        context.moveTo(x - 12, y);
        context.lineTo(x + 12, y);
        context.moveTo(x, y - 12);
        context.lineTo(x, y + 12);
        context.lineWidth = width;
        context.strokeStyle = colour;
        context.stroke();
      }
    }
  }
}

function fill(id, groups) {
  const select = document.getElementById(id);
  select.replaceChildren();
  for (const [title, names] of groups) {
    if (!names.length) continue;
    const options = names.map((name) => element("option", { value: name, text: name }));
    select.append(...(title ? [element("optgroup", { label: title }, ...options)] : options));
  }
}

/** A label worth starting with: the category of fewest words, else the first number. */
function bestLabel(labels) {
  const words = labels.filter((label) => label.words && label.words.length <= 12);
  return (words.find((label) => label.words.length > 2) ?? words[0] ?? labels[0])?.name;
}
