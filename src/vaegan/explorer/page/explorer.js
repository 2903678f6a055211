// The page: puts the parts together around one model, whoever decodes for it.

import { openDialog } from "./dialog.js";
import { clamped, fromText, gaussian, mixtureLatent, plus, seedLatent, toText, uniformOf } from "./latents.js";
import { Now } from "./now.js";
import { Painter, button, element } from "./pixels.js";
import { Plane } from "./plane.js";
import { Sliders } from "./sliders.js";
import { Store } from "./store.js";
import { Tray } from "./tray.js";
import { Yours } from "./yours.js";

const KEYS = [
  ["Arrow keys on the map", "move the cross hair; with Shift further"],
  ["Enter on the map", "take the picture and pin it"],
  ["+ − 0", "zoom in, zoom out, show everything"],
  ["P", "pin the current picture"],
  ["R, Shift R", "a picture nearby, anywhere"],
  ["Ctrl Z, Ctrl Shift Z", "undo, redo"],
  ["A, B, C on a pinned picture", "put it at that place"],
  ["Delete on a pinned picture", "remove it"],
  ["Ctrl V", "paste an image of your own"],
];

// How far sliders reach to either side; a uniform prior ends at √3 of its deviations.
const REACH = { principal: 4, attribute: 3, dimension: 4 };
const REACH_OF_UNIFORM = { principal: 1.73, attribute: 3, dimension: 1 };

export class Explorer {
  constructor(model) {
    const { description } = model;
    this.model = model;
    this.painter = new Painter(description);
    document.documentElement.style.setProperty("--aspect", this.painter.aspect);
    this.store = new Store(description.latentDim);
  }

  async start() {
    const { store, model } = this;
    // A GAN is at home where its latents are typical, a VAE in the middle too.
    if (this.isGan()) store.settings.through = "current";
    const held = (this.held = store.restore(location.hash));
    document.getElementById("name").textContent = model.description.name;
    document.title = `${model.description.name} · vaegan`;
    this.stageButtons();
    this.samplerButtons();
    this.viewButtons();
    this.plane = new Plane(this);
    this.now = new Now(this);
    this.sliders = new Sliders(this);
    this.tray = new Tray(this);
    this.yours = new Yours(this);
    this.wireTools();
    if (!held) await this.begin();
    this.sliders.describe();
    await Promise.all([this.plane.describe(), this.now.update(), this.tray.update()]);
    document.body.classList.add("ready");
    document.dispatchEvent(new Event("explorerready"));
    this.watchData();
  }

  /** Whether a stage learned from draws of the prior, and not only from encoded images. */
  isGan(stage = this.model.description.stages[0]) {
    return stage === "gan" || stage === "joint";
  }

  /** What is shown first: of a GAN the first real image as it gives it back, or a seed where there is none; of a VAE the average. */
  async begin() {
    const { description } = this.model;
    const { origin, data } = description;
    if (!this.isGan()) this.store.current = Float32Array.from(origin);
    else if (data.state !== "ready") this.store.current = this.seedAt(0, 0);
    else [this.store.current] = await this.model.latentsOf([0]);
  }

  /** Which stages are shown, the first one everywhere, the others beside it. */
  stages() {
    const { stages } = this.model.description;
    const { stage } = this.store.settings;
    return stage === "both" ? stages : stages.includes(stage) ? [stage] : stages.slice(0, 1);
  }

  /** Whether latents are uniform on [-1, 1]: outside of that the generator has seen nothing. */
  isUniform() {
    return this.model.description.prior === "uniform";
  }

  /** How far the slider of a direction reaches to either side. */
  reach({ group }) {
    return (this.isUniform() ? REACH_OF_UNIFORM : REACH)[group];
  }

  /** Standard normal noise as a step in latent space, as wide as the prior, or for a plain autoencoder as its latents lie. */
  step(noise) {
    const { prior, directions } = this.model.description;
    if (this.isUniform()) return noise.map((value) => value / Math.sqrt(3));
    const principal = directions.filter((one) => one.group === "principal");
    if (prior || !principal.length) return noise;
    return principal.reduce((sum, one, k) => plus(sum, one.move, noise[k]), new Float32Array(noise.length));
  }

  /** The mixture that new latents are drawn from, unless N(0, I) is there too and was chosen. */
  mixture() {
    const { mixture, samplers } = this.model.description;
    return samplers.length > 1 && this.store.settings.sampler === "prior" ? null : mixture;
  }

  /** A new latent, the same for the same keys. */
  drawn(...keys) {
    const { latentDim } = this.model.description;
    const mixture = this.mixture();
    return mixture ? mixtureLatent(mixture, gaussian(latentDim + 1, ...keys)) : this.place(gaussian(latentDim, ...keys));
  }

  /** The latent at a place of the endless grid of seeds. */
  seedAt(x, y) {
    const { latentDim } = this.model.description;
    const mixture = this.mixture();
    if (mixture) return seedLatent(latentDim + 1, x, y, (noise) => mixtureLatent(mixture, noise));
    return this.place(seedLatent(latentDim, x, y));
  }

  /** The latent that standard normal noise stands for, where the prior is no mixture. */
  place(noise) {
    const { prior, origin } = this.model.description;
    if (this.isUniform()) return uniformOf(noise);
    return prior ? noise : plus(origin, this.step(noise));
  }

  /** A sum of latents, brought back to where the prior has any. */
  within(latent) {
    return this.isUniform() ? clamped(latent, 1) : latent;
  }

  /** Says a sentence at the foot of the page and to screen readers; `quietly` only to these. */
  say(sentence, quietly = false) {
    const place = document.getElementById("said");
    place.textContent = sentence;
    place.classList.toggle("shown", !quietly && Boolean(sentence));
    clearTimeout(this.saying);
    this.saying = setTimeout(() => place.classList.remove("shown"), Math.max(3500, 70 * sentence.length));
  }

  /** Runs what may fail, and says why it did. */
  async guarded(work) {
    try {
      return await work();
    } catch (error) {
      this.say(error.message);
      return null;
    }
  }

  async watchData() {
    const { model, store } = this;
    while (model.description.data.state === "waiting") {
      await new Promise((resolve) => setTimeout(resolve, 100));
      if ((await this.guarded(() => model.refresh())) === null) return;
      if (model.description.data.state === "waiting") this.plane.explain();
    }
    if (this.sliders.known !== model.description.directions.length) {
      if (!this.held && !store.past.length) await this.guarded(() => this.begin());
      this.sliders.describe();
      await this.guarded(() => Promise.all([this.plane.describe(), this.now.update()]));
      document.dispatchEvent(new Event("mapready"));
    }
    if (!model.description.data.growing) return;
    while (model.description.data.growing) {
      this.plane.explain();
      await new Promise((resolve) => setTimeout(resolve, 400));
      if ((await this.guarded(() => model.refresh())) === null) return;
    }
    this.sliders.describe();
    await this.guarded(() => Promise.all([this.plane.grow(), this.now.update()]));
    document.dispatchEvent(new Event("mapcomplete"));
  }

  stageButtons() {
    const { stages } = this.model.description;
    const names = [...stages].reverse().map((stage) => [stage, stage.toUpperCase()]);
    const shown = () => (this.store.settings.stage === "both" ? "both" : this.stages()[0]);
    this.segments("stages", "stage", stages.length > 1 ? [...names, ["both", "Both"]] : [], shown);
  }

  samplerButtons() {
    const names = this.model.description.samplers.length > 1 ? [["mixture", "Mixture"], ["prior", "N(0, I)"]] : [];
    this.segments("samplers", "sampler", names, () => this.store.settings.sampler);
  }

  /** A button for each [value, text] of a setting, of which the one that `shown` gives is pressed. */
  segments(id, setting, names, shown) {
    const place = document.getElementById(id);
    place.hidden = !names.length;
    place.append(
      ...names.map(([value, text]) => {
        const one = button(text, () => this.store.set(setting, value));
        const mark = () => one.setAttribute("aria-pressed", String(shown() === value));
        this.store.on("settings", mark);
        mark();
        return one;
      }),
    );
  }

  viewButtons() {
    const mark = () => {
      for (const one of document.querySelectorAll("[data-view]")) one.setAttribute("aria-pressed", String(one.dataset.view === this.store.settings.view));
    };
    for (const one of document.querySelectorAll("[data-view]")) {
      one.onclick = () => {
        this.store.set("view", one.dataset.view);
        document.body.dataset.panel = "plane";
        markPanels();
      };
    }
    this.store.on("settings", mark);
    mark();
    const markPanels = () => {
      for (const one of document.querySelectorAll("#panels button")) one.setAttribute("aria-pressed", String(one.dataset.panel === document.body.dataset.panel));
    };
    for (const one of document.querySelectorAll("#panels button")) {
      one.onclick = () => {
        document.body.dataset.panel = one.dataset.panel;
        markPanels();
        this.sliders.endsSoon();
      };
    }
    markPanels();
  }

  wireTools() {
    // An address pasted over this one differs after the # alone, which no browser loads anew.
    addEventListener("hashchange", () => location.reload());
    document.getElementById("help").onclick = () => this.help();
    document.getElementById("numbers").onclick = () => this.numbers();
    document.getElementById("link").onclick = () => this.copy(`${location.href.split("#")[0]}#${this.store.asHash()}`, "The link to this view is copied.");
    document.getElementById("theme").onclick = () => {
      const root = document.documentElement;
      const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
      root.dataset.theme = dark ? "light" : "dark";
    };
    document.addEventListener("keydown", (event) => {
      if (event.target.closest("input:not([type=range]), textarea, select, dialog")) return;
      const control = event.ctrlKey || event.metaKey;
      const key = event.key.toLowerCase();
      if (control && key === "z") this.now.acts[event.shiftKey ? "redo" : "undo"]();
      else if (control && key === "y") this.now.acts.redo();
      else if (control || event.altKey) return;
      else if (key === "p") this.now.acts.pin();
      else if (key === "r") this.now.acts[event.shiftKey ? "far" : "near"]();
      else if (key === "?") this.help();
      else return;
      event.preventDefault();
    });
  }

  async copy(text, said) {
    try {
      await navigator.clipboard.writeText(text);
      this.say(said);
    } catch {
      this.say("The browser does not let this page copy; mark the text and copy it yourself.");
    }
  }

  help() {
    const { description } = this.model;
    const rows = KEYS.map(([keys, act]) => element("tr", {}, element("th", { text: keys }), element("td", { text: act })));
    const facts = [`${description.height} × ${description.width} pixels, ${description.channels === 1 ? "grey" : "colour"}; latents of ${description.latentDim} numbers.`];
    if (description.data.count) facts.push(`${description.data.count.toLocaleString("en")} images of ${description.data.source} on the map.`);
    if (description.data.why) facts.push(description.data.why);
    openDialog("Keys", [element("table", {}, ...rows), element("p", { text: facts.join(" ") })]);
  }

  numbers() {
    const { store } = this;
    const text = element("textarea", { rows: 8, value: toText(store.current), spellcheck: false, "aria-label": "The latent as numbers" });
    const wrong = element("p", { className: "wrong", role: "alert" });
    const use = button("Use these", async () => {
      const words = text.value.trim();
      try {
        const isAddress = this.model.sampleAt && /^\d+:\d+$/.test(words);
        store.choose(isAddress ? await this.model.sampleAt(words) : fromText(words, store.latentDim));
        close();
      } catch (error) {
        wrong.textContent = error.message;
      }
    }, { className: "strong" });
    const close = openDialog("The current latent", [
      element("p", { text: `${store.latentDim} numbers. Copy them, or paste others over them${this.model.sampleAt ? ", or a sample of vaegan sample: 0:37 is number 37 of seed 0" : ""}.` }),
      text,
      wrong,
      element("div", { className: "row" }, use, button("Copy", () => {
        text.select();
        this.copy(text.value, "The latent is copied.");
      })),
    ]);
  }
}
