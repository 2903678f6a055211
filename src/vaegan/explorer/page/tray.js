// The tray of pinned pictures, the three places A, B, C, and what is made of them.

import { gaussian, linear, plus, spherical, sphericalSum, uniformStream } from "./latents.js";
import { choices } from "./choices.js";
import { button, element } from "./pixels.js";
import { playStrip } from "./strip.js";

const NAMES = ["A", "B", "C"];

export class Tray {
  constructor(app) {
    this.app = app;
    this.pins = document.getElementById("pins");
    this.slots = document.getElementById("slots");
    this.armed = null; // the place that the next picture goes to
    app.store.on("tray settings", () => this.update());
    const acts = { strip: () => this.strip(), sum: () => this.sum(), cross: () => this.cross(), similar: () => this.similar() };
    for (const [id, act] of Object.entries(acts)) document.getElementById(id).onclick = act;
    this.known = new Map();
    this.pins.addEventListener("keydown", (event) => this.key(event));
  }

  /** Whether the stage learned from draws of N(0, I), which lie near a sphere; those of a uniform prior fill a cube. */
  isRound() {
    return this.app.isGan(this.app.stages()[0]) && !this.app.isUniform();
  }

  /** Between latents as the stage wants it. */
  between(a, b, t) {
    return this.isRound() ? spherical(a, b, t) : linear(a, b, t);
  }

  async update() {
    const { app } = this;
    const { store } = app;
    const stage = app.stages()[0];
    const missing = store.pins.filter((pinned) => this.known.get(pinned.id)?.stage !== stage);
    await app.guarded(async () => {
      const pictures = missing.length ? await app.model.decode(missing.map((pinned) => pinned.latent), stage, "answer") : [];
      missing.forEach((pinned, i) => this.known.set(pinned.id, { stage, picture: pictures[i] }));
    });
    this.render();
  }

  render() {
    const { store, painter } = this.app;
    const focused = document.activeElement?.dataset?.pin;
    this.pins.replaceChildren(...store.pins.filter((pinned) => this.known.has(pinned.id)).map((pinned) => this.pinned(pinned)));
    if (!store.pins.length) this.pins.append(element("p", { className: "hint", text: "Click the map, or press Pin: pictures gather here, to be blended, added and bred." }));
    if (focused) this.pins.querySelector(`[data-pin="${focused}"]`)?.focus();
    this.slots.replaceChildren(
      ...NAMES.map((name) => {
        const id = store.slots[name];
        const slot = button("", () => this.arm(name), { className: "slot", title: `Drop a picture here, or press ${name} on one` });
        slot.setAttribute("aria-pressed", String(this.armed === name));
        slot.setAttribute("aria-label", `Place ${name}, ${id === null ? "empty" : "filled"}: press, then choose a pinned picture`);
        if (this.known.has(id)) slot.append(painter.painted(this.known.get(id).picture));
        slot.append(element("b", { text: name }));
        this.dropTarget(slot, name);
        return slot;
      }),
    );
    const has = (...names) => names.every((name) => store.inSlot(name));
    for (const [id, needed] of [["strip", "AB"], ["sum", "ABC"], ["cross", "AB"], ["similar", "A"]]) document.getElementById(id).disabled = !has(...needed);
  }

  pinned(pinned) {
    const { store, painter } = this.app;
    const places = NAMES.filter((name) => store.slots[name] === pinned.id);
    const one = button("", () => this.use(pinned), { className: "pin", draggable: true, title: "Take it (Enter), put it at A, B or C (keys A, B, C), remove it (Delete)" });
    one.dataset.pin = pinned.id;
    one.setAttribute("aria-label", `Pinned picture ${pinned.id}${places.length ? `, at ${places.join(" and ")}` : ""}`);
    one.append(painter.painted(this.known.get(pinned.id).picture));
    if (places.length) one.append(element("b", { text: places.join("") }));
    one.addEventListener("dragstart", (event) => {
      event.dataTransfer.setData("text/x-vaegan-pin", String(pinned.id));
      event.dataTransfer.effectAllowed = "copy";
    });
    const remove = button("×", () => store.unpin(pinned.id), { className: "remove", title: "Remove", tabIndex: -1 });
    remove.setAttribute("aria-label", "Remove this picture");
    return element("div", { role: "listitem", className: "holder" }, one, remove);
  }

  use(pinned) {
    if (this.armed) {
      const place = this.armed;
      this.armed = null;
      this.app.store.assign(place, pinned.id);
    } else this.app.store.choose(pinned.latent);
  }

  arm(name) {
    this.armed = this.armed === name ? null : name;
    if (this.armed) this.app.say(`Choose the picture for ${name}.`);
    this.render();
  }

  dropTarget(slot, name) {
    slot.addEventListener("dragover", (event) => {
      if (event.dataTransfer.types.includes("text/x-vaegan-pin")) event.preventDefault();
    });
    slot.addEventListener("drop", (event) => {
      const id = Number(event.dataTransfer.getData("text/x-vaegan-pin"));
      event.preventDefault();
      if (id) this.app.store.assign(name, id);
    });
  }

  key(event) {
    const id = Number(event.target.dataset?.pin);
    if (!id || event.ctrlKey || event.metaKey || event.altKey) return;
    const name = event.key.toUpperCase();
    if (NAMES.includes(name)) this.app.store.assign(name, id);
    else if (event.key === "Delete" || event.key === "Backspace") this.app.store.unpin(id);
    else if (event.key === "ArrowRight" || event.key === "ArrowLeft") {
      const all = [...this.pins.querySelectorAll("[data-pin]")];
      all[all.indexOf(event.target) + (event.key === "ArrowRight" ? 1 : -1)]?.focus();
    } else return;
    event.preventDefault();
    event.stopPropagation();
  }

  strip() {
    const { app } = this;
    const [a, b] = [app.store.inSlot("A"), app.store.inSlot("B")];
    playStrip(app, (t) => this.between(a, b, t), this.isRound() ? "round the sphere, as a GAN's latents lie" : "in a straight line");
  }

  sum() {
    const { app } = this;
    const [a, b, c] = NAMES.map((name) => app.store.inSlot(name));
    const result = this.isRound() ? sphericalSum(a, b, c) : app.within(plus(plus(a, b, -1), c));
    app.store.choose(result);
    app.store.pin(result);
    app.say("A − B + C is the current picture, and pinned.");
  }

  similar() {
    const { app } = this;
    const a = app.store.inSlot("A");
    choices(app, {
      title: "Nine like A",
      note: "A, with noise added to its latent.",
      amount: 0.5,
      centre: a,
      make: (seed, k, amount) => app.within(plus(a, app.step(gaussian(a.length, seed, k)), amount)),
    });
  }

  cross() {
    const { app } = this;
    const [a, b] = [app.store.inSlot("A"), app.store.inSlot("B")];
    const directions = app.model.description.directions.filter((one) => one.group === "principal");
    choices(app, {
      title: "Children of A and B",
      note: directions.length ? "Along each principal direction a child takes after A or after B." : "Each number of a child's latent is A's or B's.",
      make: (seed, k) => crossed(a, b, directions, uniformStream(seed, k)),
    });
  }
}

/** Each coordinate from one parent or the other. */
function crossed(a, b, directions, uniform) {
  const difference = plus(b, a, -1);
  if (!directions.length) return Float32Array.from(a, (value, i) => (uniform() < 0.5 ? value : b[i]));
  let child = Float32Array.from(a);
  for (const { move, read } of directions) {
    if (uniform() < 0.5) continue;
    let along = 0;
    for (let i = 0; i < read.length; i++) along += difference[i] * read[i];
    child = plus(child, move, along);
  }
  return child;
}
