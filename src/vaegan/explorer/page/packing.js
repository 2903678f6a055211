// Bytes from the text that a file carries them in. Knows no page and no model.

const FIRST = 35; // "#": the alphabet runs from here to "~" and leaves out "<"
const LEFT_OUT = 60;
const BASE = 91;
const BITS = 13;

/** As many bytes as are asked for from pairs of characters, 13 bits a pair; of too short a text the rest is zero. */
export function bytesFromText(text, length) {
  const digit = (place) => {
    const code = text.charCodeAt(place);
    return code > LEFT_OUT ? code - FIRST - 1 : code - FIRST;
  };
  const bytes = new Uint8Array(length);
  let place = 0;
  let held = 0;
  let count = 0;
  for (let i = 0; i + 1 < text.length; i += 2) {
    held = (held << BITS) | (digit(i) * BASE + digit(i + 1));
    count += BITS;
    while (count >= 8) {
      count -= 8;
      bytes[place++] = held >> count; // what lies beyond the end is not kept
    }
    held &= (1 << count) - 1;
  }
  return bytes;
}

/** The bytes at even places, which come first, and those at odd ones put together again. */
export function interleaved(bytes) {
  const half = Math.ceil(bytes.length / 2);
  return bytes.map((_, i) => (i % 2 ? bytes[half + (i >> 1)] : bytes[i >> 1]));
}
