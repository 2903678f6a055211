// Animated GIF (GIF89a, 1990): one palette of 256 colours for all frames by median cut (Heckbert 1982), LZW-compressed.

const CELLS = 1 << 15; // colours are counted in cells of 5 bits a channel
const MOST_COLOURS = 256;

/** @param canvases all of one size; @param milliseconds a frame */
export function encodeGif(canvases, milliseconds) {
  const { width, height } = canvases[0];
  const frames = canvases.map((canvas) => canvas.getContext("2d").getImageData(0, 0, width, height).data);
  const { palette, ofCell } = choosePalette(frames);
  const out = [];
  const word = (value) => out.push(value & 255, (value >> 8) & 255);
  out.push(...Array.from("GIF89a", (letter) => letter.charCodeAt(0)));
  word(width);
  word(height);
  out.push(0xf7, 0, 0); // a palette of 256 colours follows
  for (let i = 0; i < MOST_COLOURS; i++) out.push(...(palette[i] ?? [0, 0, 0]));
  out.push(0x21, 0xff, 11, ...Array.from("NETSCAPE2.0", (letter) => letter.charCodeAt(0)), 3, 1, 0, 0, 0); // for ever
  const parts = [Uint8Array.from(out)];
  for (const frame of frames) {
    const pixels = new Uint8Array(width * height);
    for (let i = 0; i < pixels.length; i++) pixels[i] = ofCell[cellOf(frame, 4 * i)];
    const head = [0x21, 0xf9, 4, 4, Math.round(milliseconds / 10) & 255, 0, 0, 0, 0x2c, 0, 0, 0, 0, width & 255, width >> 8, height & 255, height >> 8, 0, 8];
    parts.push(Uint8Array.from(head), compress(pixels));
  }
  parts.push(Uint8Array.of(0x3b));
  return new Blob(parts, { type: "image/gif" });
}

function cellOf(data, at) {
  return ((data[at] >> 3) << 10) | ((data[at + 1] >> 3) << 5) | (data[at + 2] >> 3);
}

function choosePalette(frames) {
  const counts = new Uint32Array(CELLS);
  const sums = [0, 1, 2].map(() => new Float64Array(CELLS));
  for (const frame of frames) {
    for (let at = 0; at < frame.length; at += 4) {
      const cell = cellOf(frame, at);
      counts[cell]++;
      for (let k = 0; k < 3; k++) sums[k][cell] += frame[at + k];
    }
  }
  const used = [];
  for (let cell = 0; cell < CELLS; cell++) if (counts[cell]) used.push(cell);
  const level = (cell, k) => (cell >> (10 - 5 * k)) & 31;
  let boxes = [used];
  while (boxes.length < MOST_COLOURS) {
    const spreads = boxes.map((box) => widest(box, level, counts));
    const worst = spreads.reduce((best, one, i) => (one.score > spreads[best].score ? i : best), 0);
    if (spreads[worst].score <= 0) break;
    boxes.splice(worst, 1, ...halves(boxes[worst], (cell) => level(cell, spreads[worst].channel), counts));
  }
  const ofCell = new Uint8Array(CELLS);
  const palette = boxes.map((box, i) => {
    const total = box.reduce((sum, cell) => sum + counts[cell], 0);
    for (const cell of box) ofCell[cell] = i;
    return [0, 1, 2].map((k) => Math.round(box.reduce((sum, cell) => sum + sums[k][cell], 0) / total));
  });
  return { palette, ofCell };
}

function widest(box, level, counts) {
  let best = { score: 0, channel: 0 };
  const weight = Math.sqrt(box.reduce((sum, cell) => sum + counts[cell], 0));
  for (let channel = 0; channel < 3; channel++) {
    let [low, high] = [31, 0];
    for (const cell of box) {
      low = Math.min(low, level(cell, channel));
      high = Math.max(high, level(cell, channel));
    }
    if ((high - low) * weight > best.score) best = { score: (high - low) * weight, channel };
  }
  return best;
}

function halves(box, levelOf, counts) {
  const sorted = box.slice().sort((a, b) => levelOf(a) - levelOf(b));
  const total = sorted.reduce((sum, cell) => sum + counts[cell], 0);
  let cut = 0;
  for (let sum = 0; cut < sorted.length - 1; cut++) {
    sum += counts[sorted[cut]];
    if (sum >= total / 2) break;
  }
  cut = Math.min(sorted.length - 1, cut + 1);
  return [sorted.slice(0, cut), sorted.slice(cut)];
}

/** LZW (Welch 1984) with codes of 9 to 12 bits, in blocks of at most 255 bytes. */
function compress(pixels) {
  const [clear, end] = [256, 257];
  const bytes = [];
  let [buffer, bits, size, next] = [0, 0, 9, 258];
  let known = new Map();
  const emit = (code) => {
    buffer |= code << bits;
    bits += size;
    while (bits >= 8) {
      bytes.push(buffer & 255);
      buffer >>>= 8;
      bits -= 8;
    }
  };
  emit(clear);
  let prefix = pixels[0];
  for (let i = 1; i < pixels.length; i++) {
    const key = prefix * 256 + pixels[i];
    const code = known.get(key);
    if (code !== undefined) {
      prefix = code;
      continue;
    }
    emit(prefix);
    if (next === 4096) {
      emit(clear);
      known = new Map();
      [size, next] = [9, 258];
    } else {
      if (next === 1 << size) size++;
      known.set(key, next++);
    }
    prefix = pixels[i];
  }
  emit(prefix);
  emit(end);
  if (bits) bytes.push(buffer & 255);
  const blocks = [];
  for (let start = 0; start < bytes.length; start += 255) {
    const block = bytes.slice(start, start + 255);
    blocks.push(block.length, ...block);
  }
  return Uint8Array.from([...blocks, 0]);
}
