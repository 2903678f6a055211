// The way from A to B: frames, a player, and files of it.

import { openDialog } from "./dialog.js";
import { encodeGif } from "./gif.js";
import { button, download, element } from "./pixels.js";
import { encodeWebp } from "./webp.js";

const LENGTHS = [8, 16, 32, 64];
const FRAME_MILLISECONDS = 80;

export function playStrip(app, latentAt, how) {
  const player = app.painter.canvas("player");
  player.setAttribute("role", "img");
  player.setAttribute("aria-label", "The animation from A to B");
  const frames = element("div", { className: "frames", tabIndex: 0, "aria-label": "All frames" });
  const position = element("input", { type: "range", min: 0, max: 1, step: 1, value: 0, "aria-label": "Frame" });
  const length = element("select", { "aria-label": "Number of frames" }, ...LENGTHS.map((n) => element("option", { value: n, text: `${n} frames` })));
  const loop = element("input", { type: "checkbox", checked: true });
  const size = element("select", { "aria-label": "Size of the files" });
  for (const factor of [1, 2, 4, 8]) {
    if (app.painter.side * factor <= 512) size.append(element("option", { value: factor, text: `${app.painter.side * factor} px` }));
  }
  let pictures = [];
  let place = 0;
  let step = 1;
  let playing = !matchMedia("(prefers-reduced-motion: reduce)").matches;
  let last = 0;

  const show = () => {
    if (pictures[place]) app.painter.paint(player, pictures[place]);
    position.value = place;
  };
  const tick = (time) => {
    if (!player.isConnected) return;
    if (playing && pictures.length && time - last >= FRAME_MILLISECONDS) {
      last = time;
      if (place + step < 0 || place + step >= pictures.length) {
        if (loop.checked) step = -step;
        else if (step > 0) toggle();
      }
      if (playing) place = Math.min(pictures.length - 1, Math.max(0, place + step));
      show();
    }
    requestAnimationFrame(tick);
  };
  const toggle = () => {
    playing = !playing;
    if (playing && !loop.checked && place === pictures.length - 1) place = 0;
    if (playing && !loop.checked) step = 1;
    play.textContent = playing ? "Pause" : "Play";
  };
  const play = button(playing ? "Pause" : "Play", toggle, { className: "strong" });
  const load = () =>
    app.guarded(async () => {
      const count = Number(length.value);
      const latents = Array.from({ length: count }, (_, i) => latentAt(i / (count - 1)));
      pictures = await app.model.decode(latents, app.stages()[0], "answer");
      position.max = count - 1;
      place = Math.min(place, count - 1);
      frames.replaceChildren(
        ...pictures.map((picture, i) => {
          const frame = button("", () => {
            app.store.choose(latents[i]);
            app.store.pin(latents[i]);
            app.say(`Frame ${i + 1} is the current picture, and pinned.`);
          }, { title: `Frame ${i + 1}: take it and pin it` });
          frame.setAttribute("aria-label", `Frame ${i + 1} of ${count}: take it and pin it`);
          frame.append(app.painter.painted(picture));
          return frame;
        }),
      );
      show();
    });
  position.oninput = () => {
    if (playing) toggle();
    place = Number(position.value);
    show();
  };
  length.value = 16;
  length.onchange = load;
  const there = () => (loop.checked ? [...pictures, ...pictures.slice(1, -1).reverse()] : pictures);
  const save = (kind) =>
    app.guarded(async () => {
      if (!pictures.length) return;
      const factor = Number(size.value);
      const made = await { png: () => sheet(app, pictures, factor), gif: () => encodeGif(enlarged(app, there(), factor), FRAME_MILLISECONDS), webp: () => encodeWebp(enlarged(app, there(), factor), FRAME_MILLISECONDS) }[kind]();
      download(made, `a-to-b.${kind}`);
    });
  openDialog(
    "From A to B",
    [
      element("p", { text: `Blended ${how}.` }),
      element("div", { className: "stage" }, player),
      frames,
      position,
      element("div", { className: "row" }, play, element("label", { className: "inline" }, loop, "there and back"), length),
      element("div", { className: "row" }, element("span", { text: "Save as" }), button("Image", () => save("png")), button("GIF", () => save("gif")), button("WebP", () => save("webp")), size),
    ],
    { wide: true },
  );
  load();
  requestAnimationFrame(tick);
}

/** Each picture as a canvas, `factor` times its size. */
function enlarged(app, pictures, factor) {
  return pictures.map((picture) => {
    const small = app.painter.painted(picture);
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [app.painter.width * factor, app.painter.height * factor];
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.imageSmoothingEnabled = app.painter.side >= 48;
    context.imageSmoothingQuality = "high";
    context.drawImage(small, 0, 0, canvas.width, canvas.height);
    return canvas;
  });
}

function sheet(app, pictures, factor) {
  const canvases = enlarged(app, pictures, factor);
  const gap = 2;
  const [wide, high] = [canvases[0].width + gap, canvases[0].height + gap];
  const columns = Math.min(canvases.length, Math.max(1, Math.floor(8192 / wide)));
  const canvas = document.createElement("canvas");
  canvas.width = columns * wide + gap;
  canvas.height = Math.ceil(canvases.length / columns) * high + gap;
  const context = canvas.getContext("2d");
  context.fillStyle = "#fff";
  context.fillRect(0, 0, canvas.width, canvas.height);
  canvases.forEach((one, i) => context.drawImage(one, gap + (i % columns) * wide, gap + Math.floor(i / columns) * high));
  return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
}
