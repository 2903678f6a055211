// Animated WebP: the browser compresses each frame, and the frames' chunks are put into one container (RFC 9649).

const QUALITY = 0.92;

/** @param canvases all of one size; @param milliseconds a frame */
export async function encodeWebp(canvases, milliseconds) {
  const { width, height } = canvases[0];
  const frames = await Promise.all(canvases.map(compressed));
  const chunks = [
    chunk("VP8X", Uint8Array.from([2, 0, 0, 0, ...triple(width - 1), ...triple(height - 1)])),
    chunk("ANIM", Uint8Array.from([255, 255, 255, 255, 0, 0])), // for ever
    ...frames.map((frame) => chunk("ANMF", Uint8Array.from([0, 0, 0, 0, 0, 0, ...triple(width - 1), ...triple(height - 1), ...triple(milliseconds), 2]), frame)),
  ];
  const length = 4 + chunks.reduce((sum, one) => sum + one.length, 0);
  return new Blob([letters("RIFF"), quadruple(length), letters("WEBP"), ...chunks], { type: "image/webp" });
}

/** The chunks of a frame that hold its pixels. */
async function compressed(canvas) {
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/webp", QUALITY));
  if (blob?.type !== "image/webp") throw new Error("This browser cannot make WebP; save a GIF instead.");
  const bytes = new Uint8Array(await blob.arrayBuffer());
  const view = new DataView(bytes.buffer);
  const kept = [];
  for (let at = 12; at + 8 <= bytes.length; ) {
    const name = String.fromCharCode(...bytes.subarray(at, at + 4));
    const size = 8 + view.getUint32(at + 4, true);
    const whole = size + (size & 1);
    if (["VP8 ", "VP8L", "ALPH"].includes(name)) kept.push(bytes.subarray(at, at + whole));
    at += whole;
  }
  return joined(kept);
}

function chunk(name, ...contents) {
  const content = joined(contents);
  const padded = content.length & 1 ? joined([content, Uint8Array.of(0)]) : content;
  return joined([letters(name), quadruple(content.length), padded]);
}

function joined(parts) {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

function letters(text) {
  return Uint8Array.from(text, (letter) => letter.charCodeAt(0));
}

function triple(value) {
  return [value & 255, (value >> 8) & 255, (value >> 16) & 255];
}

function quadruple(value) {
  return Uint8Array.from([...triple(value), value >>> 24]);
}
