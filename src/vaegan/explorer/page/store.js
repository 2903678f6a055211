// What the page is showing: the current latent with its history, the tray, the view; told to whoever listens, and kept in the address.

import { fromBase64, toBase64 } from "./latents.js";

const MOST_STEPS = 200;
const MOST_PINS = 24;
const CHOICES = { view: ["map", "seeds"], through: ["average", "current", "nearest"], show: ["points", "pictures"], sampler: ["mixture", "prior"] };

export class Store extends EventTarget {
  constructor(latentDim) {
    super();
    this.latentDim = latentDim;
    this.current = new Float32Array(latentDim);
    this.strengths = {}; // attribute -> how much of it was added since the picture was chosen
    this.source = null; // what the current latent is, in words
    this.past = [];
    this.future = [];
    this.pins = []; // { id, latent }
    this.slots = { A: null, B: null, C: null };
    this.settings = { view: "map", stage: "", x: "", y: "", through: "average", colour: "", show: "points", sampler: "mixture" };
    this.nextId = 1;
  }

  tell(what) {
    this.dispatchEvent(new Event(what));
    this.saveSoon();
  }

  on(what, listener) {
    for (const one of what.split(" ")) this.addEventListener(one, listener);
  }

  /** Another picture: sliders of attributes start from it. */
  choose(latent, source = null) {
    this.remember();
    this.current = Float32Array.from(latent);
    this.strengths = {};
    this.source = source;
    this.tell("current");
  }

  /** The same picture, changed; `remember()` comes before the first of a series of changes. */
  change(latent, strengths = this.strengths) {
    this.current = latent;
    this.strengths = strengths;
    this.tell("current");
  }

  remember() {
    this.past.push({ current: this.current, strengths: { ...this.strengths }, source: this.source });
    if (this.past.length > MOST_STEPS) this.past.shift();
    this.future = [];
  }

  undo() {
    this.travel(this.past, this.future);
  }

  redo() {
    this.travel(this.future, this.past);
  }

  travel(from, to) {
    const step = from.pop();
    if (!step) return;
    to.push({ current: this.current, strengths: { ...this.strengths }, source: this.source });
    Object.assign(this, step);
    this.tell("current");
  }

  pin(latent) {
    const pinned = { id: this.nextId++, latent: Float32Array.from(latent) };
    this.pins.push(pinned);
    if (this.pins.length > MOST_PINS) this.unpin(this.pins[0].id);
    const free = ["A", "B", "C"].find((name) => this.slots[name] === null);
    if (free) this.slots[free] = pinned.id;
    this.tell("tray");
    return pinned;
  }

  unpin(id) {
    this.pins = this.pins.filter((pinned) => pinned.id !== id);
    for (const name of Object.keys(this.slots)) if (this.slots[name] === id) this.slots[name] = null;
    this.tell("tray");
  }

  assign(slot, id) {
    this.slots[slot] = id;
    this.tell("tray");
  }

  inSlot(slot) {
    return this.pins.find((pinned) => pinned.id === this.slots[slot])?.latent ?? null;
  }

  set(name, value) {
    if (this.settings[name] === value) return;
    this.settings[name] = value;
    this.tell("settings");
  }

  saveSoon() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => history.replaceState(null, "", `#${this.asHash()}`), 300);
  }

  asHash() {
    const values = { ...this.settings, z: toBase64(this.current) };
    if (this.pins.length) {
      values.pins = this.pins.map((pinned) => toBase64(pinned.latent)).join(".");
      values.slots = ["A", "B", "C"].map((name) => this.pins.findIndex((pinned) => pinned.id === this.slots[name])).join(".");
    }
    return new URLSearchParams(Object.entries(values).filter(([, value]) => value !== "")).toString();
  }

  /** Takes what an address holds, as far as it fits this model; true when it held a latent. */
  restore(hash) {
    const values = new URLSearchParams(hash.replace(/^#/, ""));
    for (const name of Object.keys(this.settings)) {
      const value = values.get(name);
      if (value !== null && (CHOICES[name]?.includes(value) ?? true)) this.settings[name] = value;
    }
    for (const text of (values.get("pins") ?? "").split(".").filter(Boolean).slice(0, MOST_PINS)) {
      const latent = fromBase64(text, this.latentDim);
      if (latent) this.pins.push({ id: this.nextId++, latent });
    }
    (values.get("slots") ?? "").split(".").forEach((place, i) => {
      const pinned = this.pins[Number(place)];
      if (pinned && i < 3) this.slots["ABC"[i]] = pinned.id;
    });
    const latent = values.has("z") ? fromBase64(values.get("z"), this.latentDim) : null;
    if (latent) this.current = latent;
    return latent !== null;
  }
}
