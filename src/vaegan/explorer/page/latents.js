// Arithmetic on latents (Float32Array): blends, noise that a seed repeats, and latents as text. Knows no page and no model.

/** A stream of uniform numbers in (0, 1] from whole-number keys (a 32-bit mixer after Steele, Lea & Flood 2014). */
export function uniformStream(...keys) {
  let state = 0x9e3779b9;
  const mix = () => {
    state = (state + 0x9e3779b9) | 0;
    let x = state;
    x = Math.imul(x ^ (x >>> 16), 0x21f0aaad);
    x = Math.imul(x ^ (x >>> 15), 0x735a2d97);
    return (x ^ (x >>> 15)) >>> 0;
  };
  for (const key of keys) state = (mix() ^ (key | 0)) | 0;
  return () => (mix() + 1) / 4294967296;
}

/** Standard normal numbers of a seed (Box & Muller 1958). */
export function gaussian(length, ...keys) {
  const uniform = uniformStream(...keys);
  const noise = new Float32Array(length);
  for (let i = 0; i < length; i += 2) {
    const radius = Math.sqrt(-2 * Math.log(uniform()));
    const angle = 2 * Math.PI * uniform();
    noise[i] = radius * Math.cos(angle);
    if (i + 1 < length) noise[i + 1] = radius * Math.sin(angle);
  }
  return noise;
}

/** Standard normal numbers as ones that are uniform on [-1, 1]: 2 Φ(x) - 1, within 2e-7 (Abramowitz & Stegun 1964, 7.1.26). */
export function uniformOf(noise) {
  return noise.map((value) => {
    const x = Math.abs(value) / Math.SQRT2;
    const t = 1 / (1 + 0.3275911 * x);
    const tail = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
    return Math.sign(value) * (1 - tail * Math.exp(-x * x));
  });
}

/** The latent that standard normal noise, one number longer, stands for in a mixture: the last number chooses the Gaussian. */
export function mixtureLatent({ ends, means, factors }, noise) {
  const length = noise.length - 1;
  const chosen = ends.filter((end) => noise[length] > end).length;
  const latent = means.slice(chosen * length, (chosen + 1) * length);
  for (let i = 0; i < length; i++) {
    const row = (chosen * length + i) * length;
    for (let j = 0; j < length; j++) latent[i] += factors[row + j] * noise[j];
  }
  return latent;
}

/** Every number brought back into [-limit, limit]. */
export function clamped(latent, limit) {
  return latent.map((value) => Math.min(limit, Math.max(-limit, value)));
}

export function newSeed() {
  return crypto.getRandomValues(new Int32Array(1))[0];
}

export function dot(a, b) {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i] * b[i];
  return sum;
}

/** a + amount * b, as a new latent. */
export function plus(a, b, amount = 1) {
  const sum = new Float32Array(a.length);
  for (let i = 0; i < a.length; i++) sum[i] = a[i] + amount * b[i];
  return sum;
}

export function linear(a, b, t) {
  const blend = new Float32Array(a.length);
  for (let i = 0; i < a.length; i++) blend[i] = (1 - t) * a[i] + t * b[i];
  return blend;
}

/** Along the great circle, with lengths blended too (Shoemake 1985; White 2016): halfway is as typical of N(0, I) as the ends. */
export function spherical(a, b, t) {
  const lengthA = Math.sqrt(dot(a, a));
  const lengthB = Math.sqrt(dot(b, b));
  const cosine = dot(a, b) / (lengthA * lengthB);
  if (!(Math.abs(cosine) < 0.9995)) return linear(a, b, t);
  const angle = Math.acos(cosine);
  const length = (1 - t) * lengthA + t * lengthB;
  const shareA = (Math.sin((1 - t) * angle) / Math.sin(angle)) * (length / lengthA);
  const shareB = (Math.sin(t * angle) / Math.sin(angle)) * (length / lengthB);
  const blend = new Float32Array(a.length);
  for (let i = 0; i < a.length; i++) blend[i] = shareA * a[i] + shareB * b[i];
  return blend;
}

/** a - b + c, as long as the same sum of their lengths and no shorter than the shortest: it stays where draws of N(0, I) lie. */
export function sphericalSum(a, b, c) {
  const sum = plus(plus(a, b, -1), c);
  const [lengthA, lengthB, lengthC, length] = [a, b, c, sum].map((latent) => Math.sqrt(dot(latent, latent)));
  const wanted = Math.max(lengthA - lengthB + lengthC, Math.min(lengthA, lengthB, lengthC));
  return length > 0 ? sum.map((value) => (value * wanted) / length) : sum;
}

/** Weighted mean of several latents. */
export function blend(latents, weights) {
  const mean = new Float32Array(latents[0].length);
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  latents.forEach((latent, k) => {
    for (let i = 0; i < mean.length; i++) mean[i] += (weights[k] / total) * latent[i];
  });
  return mean;
}

/**
 * The endless grid: every whole-numbered place has what `made` makes of its seed's noise [length]; between them four are blended, and are
 * as long as draws of N(0, I).
 */
export function seedLatent(length, x, y, made = (noise) => noise) {
  const column = Math.floor(x);
  const row = Math.floor(y);
  const across = x - column;
  const up = y - row;
  const corners = [
    [column, row, (1 - across) * (1 - up)],
    [column + 1, row, across * (1 - up)],
    [column, row + 1, (1 - across) * up],
    [column + 1, row + 1, across * up],
  ].filter((corner) => corner[2] > 0);
  const parts = corners.map(([cornerColumn, cornerRow]) => made(cachedNoise(length, cornerColumn, cornerRow)));
  const latent = new Float32Array(parts[0].length);
  let squares = 0;
  corners.forEach(([, , weight], k) => {
    for (let i = 0; i < latent.length; i++) latent[i] += weight * parts[k][i];
    squares += weight * weight;
  });
  const scale = 1 / Math.sqrt(squares); // a mean of independent normals is shorter than they are
  for (let i = 0; i < latent.length; i++) latent[i] *= scale;
  return latent;
}

const noiseOf = new Map();

function cachedNoise(length, column, row) {
  const key = `${length},${column},${row}`;
  let noise = noiseOf.get(key);
  if (!noise) {
    if (noiseOf.size > 5000) noiseOf.clear();
    noise = gaussian(length, 0, column, row);
    noiseOf.set(key, noise);
  }
  return noise;
}

/** Least-squares coordinates on a plane: two vectors that read what `across` and `up` add, whatever angle is between them. */
export function planeReads(across, up) {
  const aa = dot(across, across);
  const bb = dot(up, up);
  const ab = dot(across, up);
  const determinant = aa * bb - ab * ab;
  if (!(determinant > 1e-9 * aa * bb)) return null; // the same direction twice
  const readAcross = new Float32Array(across.length);
  const readUp = new Float32Array(across.length);
  for (let i = 0; i < across.length; i++) {
    readAcross[i] = (bb * across[i] - ab * up[i]) / determinant;
    readUp[i] = (aa * up[i] - ab * across[i]) / determinant;
  }
  return [readAcross, readUp];
}

export function toText(latent) {
  return Array.from(latent, (value) => Number(value.toPrecision(6))).join(", ");
}

/** The latent that a text holds; throws a sentence where it holds none. */
export function fromText(text, length) {
  const words = text.split(/[\s,;[\](){}]+/).filter(Boolean);
  const numbers = words.map(Number);
  const wrong = words.find((_, i) => !Number.isFinite(numbers[i]));
  if (wrong !== undefined) throw new Error(`“${wrong.slice(0, 20)}” is no number; a latent is ${length} numbers with commas between them.`);
  if (numbers.length !== length) throw new Error(`This text holds ${numbers.length} numbers; a latent of this model has ${length}.`);
  return Float32Array.from(numbers);
}

export function toBase64(latent) {
  const bytes = new Uint8Array(latent.buffer, latent.byteOffset, latent.byteLength);
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return btoa(text).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

/** Float32Array of a base64 text, or null where the text is none, has another length, or (unless `any`) holds what is not finite. */
export function fromBase64(text, length, any = false) {
  let raw;
  try {
    raw = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
  } catch {
    return null;
  }
  if (raw.length % 4 || (length !== undefined && raw.length !== 4 * length)) return null;
  const bytes = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
  const latent = new Float32Array(bytes.buffer);
  return any || latent.every(Number.isFinite) ? latent : null;
}
