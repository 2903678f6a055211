// Colours of the map's points: one a word for categories, a ramp for numbers.

// Categories: told apart in either theme and, the first eight, by most colour-blind eyes (after Okabe & Ito 2008).
const WORDS = ["#e69f00", "#3f9be0", "#12a67c", "#e0559a", "#d55e00", "#7c6cf0", "#b8ad1c", "#5fc7d9", "#a9746e", "#8bbf4d", "#c98be0", "#7f8c9b"];
const RAMP = ["#3a2a8c", "#3b5bd0", "#2f97b8", "#3fc08a", "#a8d650", "#f6e04b"];
const STEPS = 64;

/** The code of a point that is not drawn. */
export const HIDDEN = 65535;

export const PLAIN = "#6c7bf5";

export function rgb(hex) {
  return [1, 3, 5].map((start) => parseInt(hex.slice(start, start + 2), 16));
}

function rampAt(t) {
  const place = Math.min(RAMP.length - 1.0001, Math.max(0, t * (RAMP.length - 1)));
  const low = rgb(RAMP[Math.floor(place)]);
  const high = rgb(RAMP[Math.floor(place) + 1]);
  return low.map((value, i) => Math.round(value + (high[i] - value) * (place % 1)));
}

export function hex([r, g, b]) {
  return `#${[r, g, b].map((value) => value.toString(16).padStart(2, "0")).join("")}`;
}

/** What is drawn for a label: a code a point, the codes' colours, and what the legend says. */
export function colouring(label, values) {
  const codes = new Uint16Array(values.length);
  if (label.words) {
    const colours = label.words.map((_, i) => rgb(WORDS[i % WORDS.length]));
    for (let i = 0; i < values.length; i++) codes[i] = Number.isFinite(values[i]) && values[i] < colours.length ? values[i] : HIDDEN;
    return { codes, colours, words: label.words, range: null };
  }
  const known = values.filter(Number.isFinite).sort();
  const low = known[Math.floor(0.01 * known.length)] ?? 0;
  const high = known[Math.floor(0.99 * (known.length - 1))] ?? 1;
  const colours = Array.from({ length: STEPS }, (_, i) => rampAt(i / (STEPS - 1)));
  for (let i = 0; i < values.length; i++) {
    const t = (values[i] - low) / (high - low || 1);
    codes[i] = Number.isFinite(t) ? Math.round(Math.min(1, Math.max(0, t)) * (STEPS - 1)) : HIDDEN;
  }
  return { codes, colours, words: null, range: [low, high] };
}

const LEVELS = 16; // of each channel, when points have their pictures' own colours
const VIVID = 1.7; // means of pictures are greyer than the pictures

/** Points in the mean colours of their pictures; `means` has three numbers a picture. */
export function ownColouring(means) {
  const codes = new Uint16Array(means.length / 3);
  for (let i = 0; i < codes.length; i++) {
    const grey = (means[3 * i] + means[3 * i + 1] + means[3 * i + 2]) / 3;
    let code = 0;
    for (let k = 0; k < 3; k++) {
      const value = Math.min(255, Math.max(0, grey + VIVID * (means[3 * i + k] - grey)));
      code = code * LEVELS + Math.min(LEVELS - 1, Math.floor((value / 256) * LEVELS));
    }
    codes[i] = code;
  }
  const level = (code, place) => Math.round(((Math.floor(code / LEVELS ** place) % LEVELS) + 0.5) * (255 / LEVELS));
  const colours = Array.from({ length: LEVELS ** 3 }, (_, code) => [level(code, 2), level(code, 1), level(code, 0)]);
  return { codes, colours, words: null, range: null };
}
