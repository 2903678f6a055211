// A part of a picture made anew: painted over, and chosen among the server's answers. A page without a server has no such offer.

import { openDialog } from "./dialog.js";
import { button, element } from "./pixels.js";

const SIDE = 256; // longer side of the picture that is painted over [pixels]
const MARK = "#e0409a";

/** Calls `stroke` with two places [pixels of the canvas] whenever a hand draws from one to the other. */
export function drawnOn(canvas, stroke) {
  let last = null;
  const at = (event) => {
    const box = canvas.getBoundingClientRect();
    return [((event.clientX - box.left) / box.width) * canvas.width, ((event.clientY - box.top) / box.height) * canvas.height];
  };
  const move = (event) => {
    if (!last) return;
    const place = at(event);
    stroke(last, place);
    last = place;
  };
  canvas.onpointerdown = (event) => {
    canvas.setPointerCapture(event.pointerId);
    last = at(event);
    move(event);
  };
  canvas.onpointermove = move;
  canvas.onpointerup = canvas.onpointercancel = () => (last = null);
}

export function line(context, [from, to], colour, width) {
  context.strokeStyle = colour;
  context.lineWidth = width;
  context.lineCap = context.lineJoin = "round";
  context.beginPath();
  context.moveTo(...from);
  context.lineTo(...to);
  context.stroke();
}

/** Asks which part of a picture is to be made anew, and lets choose among the answers. */
export function makeAnew(app, picture) {
  const { painter } = app;
  const [width, height] = [painter.width, painter.height].map((side) => Math.round((SIDE * side) / painter.side));
  const paper = element("canvas", { width, height, className: "paper", "aria-label": "Paint over what should be made anew" });
  const marks = element("canvas", { width, height }).getContext("2d");
  const shown = painter.painted(picture);
  const show = () => {
    const context = paper.getContext("2d");
    context.globalAlpha = 1;
    context.drawImage(shown, 0, 0, width, height);
    context.globalAlpha = 0.65;
    context.drawImage(marks.canvas, 0, 0);
  };
  const brush = element("input", { type: "range", min: 8, max: 100, value: 40, "aria-label": "Width of the brush" });
  drawnOn(paper, (...ends) => {
    line(marks, ends, MARK, Number(brush.value));
    show();
  });
  const clear = button("Clear", () => {
    marks.clearRect(0, 0, width, height);
    show();
  });
  const answers = element("div", { className: "answers", role: "group", "aria-label": "Answers", "aria-live": "polite" });
  const note = element("p", { text: "Paint over what should be made anew." });
  let newest = 0;
  const ask = button("Make it anew", async () => {
    const number = ++newest;
    note.textContent = "The model looks for answers ...";
    try {
      const found = await app.model.restore(picture, marked());
      if (number !== newest) return; // a newer question is being answered
      answers.replaceChildren(...found.map(choice));
      note.textContent = "Choose one; what you did not paint over stays as it was.";
    } catch (error) {
      if (number === newest) note.textContent = error.message;
    }
  }, { className: "strong" });
  /** One byte a pixel of the model's: 1 where most of it is painted over. */
  const marked = () => {
    const small = painter.canvas().getContext("2d");
    small.drawImage(marks.canvas, 0, 0, painter.width, painter.height);
    const { data } = small.getImageData(0, 0, painter.width, painter.height);
    return Uint8Array.from({ length: data.length / 4 }, (_, i) => (data[4 * i + 3] > 127 ? 1 : 0));
  };
  const choice = (answer, i) => {
    const one = button("", () => {
      close();
      app.store.choose(answer.latent, { picture: answer.picture });
      app.store.pin(answer.latent);
      app.say("Your image with its new part stands beside what the model keeps of it.");
    }, { title: "Take this one" });
    one.setAttribute("aria-label", `Answer ${i + 1}`);
    one.append(painter.painted(answer.picture));
    return one;
  };
  show();
  const tools = element("div", { className: "tools" }, note, element("label", { className: "inline" }, "brush", brush), element("div", { className: "row" }, clear, ask));
  const close = openDialog("Make a part anew", [element("div", { className: "drawing" }, paper, answers, tools)], { wide: true, onclose: () => (newest += 1) });
}
