// The model behind the page without a server: onnxruntime-web decodes here. The same methods as `socket.js`, which describes them.

import { dot, fromBase64, plus, uniformStream } from "./latents.js";
import { Queue } from "./queue.js";

const AT_A_TIME = 8; // pictures of one run of the network: the page must not stand still for long

export class OnnxModel {
  /** @param parts { description, networks: { stage: () => bytes }, encoder: () => bytes, images } and the runtime `ort` */
  constructor(parts, ort) {
    this.parts = parts;
    this.ort = ort;
    this.description = parts.description;
    this.queue = new Queue();
    this.sessions = {};
  }

  async open() {
    await this.decodeNow([new Float32Array(this.description.latentDim)], this.description.stages[0]); // the first run is slow
    return this;
  }

  /** The session of a stage or of the encoder, opened when it is first wanted. */
  session(name, bytes) {
    const options = { executionProviders: ["wasm"], graphOptimizationLevel: "all" };
    this.sessions[name] ??= bytes().then((network) => this.ort.InferenceSession.create(network, options));
    return this.sessions[name];
  }

  async refresh() {
    return this.description;
  }

  async decode(latents, stage, lane = "picture", latest = false) {
    const pictures = [];
    for (let start = 0; start < latents.length; start += AT_A_TIME) {
      const part = latents.slice(start, start + AT_A_TIME);
      const made = await this.queue.ask(lane, () => this.decodeNow(part, stage), latest);
      if (made === null) return null;
      pictures.push(...made);
    }
    return pictures;
  }

  async decodeNow(latents, stage) {
    const { latentDim, height, width, channels } = this.description;
    const session = await this.session(stage, this.parts.networks[stage]);
    const input = new Float32Array(latents.length * latentDim);
    latents.forEach((latent, i) => input.set(latent, i * latentDim));
    const tensor = new this.ort.Tensor("float32", input, [latents.length, latentDim]);
    const made = await session.run({ [session.inputNames[0]]: tensor });
    await breath();
    return pictures(made[session.outputNames[0]].data, latents.length, height * width, channels);
  }

  async latentsOf(indices) {
    return Array.from(indices, (index) => this.parts.images.latents[index]);
  }

  imagesOf(indices, lane = "picture", latest = false) {
    return this.queue.ask(lane, async () => indices.map((index) => this.parts.images.picture(index)), latest);
  }

  async nearest(latent, count) {
    const { latents } = this.parts.images;
    const distances = latents.map((other) => {
      const away = plus(latent, other, -1);
      return dot(away, away);
    });
    return Uint32Array.from(Array.from(distances.keys()).sort((a, b) => distances[a] - distances[b]).slice(0, count));
  }

  async project(origin, readX, readY) {
    const { latents } = this.parts.images;
    const places = new Float32Array(2 * latents.length);
    const [zeroX, zeroY] = [dot(origin, readX), dot(origin, readY)];
    latents.forEach((latent, i) => {
      places[2 * i] = dot(latent, readX) - zeroX;
      places[2 * i + 1] = dot(latent, readY) - zeroY;
    });
    return places;
  }

  async labels(name) {
    return this.parts.images.labels[name];
  }

  async meanColours() {
    return this.parts.images.colours();
  }

  async encode(blob) {
    const { maxUploadBytes, maxUploadPixels, height, width, channels, latentDim } = this.description;
    if (blob.size > maxUploadBytes) throw new Error(`The image is too large: over ${maxUploadBytes / 2 ** 20} MB are not read.`);
    let bitmap;
    try {
      bitmap = await createImageBitmap(blob);
    } catch {
      throw new Error("The image cannot be used: this browser cannot read it.");
    }
    if (bitmap.width * bitmap.height > maxUploadPixels) throw new Error(`The image has too many pixels: over ${maxUploadPixels / 1e6} million.`);
    const shown = levelled(fitted(bitmap, this.description), this.description.levels);
    const picture = this.description.binarize ? binarized(shown) : shown;
    const planes = new Float32Array(picture.length);
    for (let i = 0; i < picture.length; i++) planes[(i % channels) * height * width + Math.floor(i / channels)] = picture[i] / 127.5 - 1;
    const encoder = await this.session("encoder", this.parts.encoder);
    const made = await encoder.run({ [encoder.inputNames[0]]: new this.ort.Tensor("float32", planes, [1, channels, height, width]) });
    return { latent: Float32Array.from(made[encoder.outputNames[0]].data.subarray(0, latentDim)), picture };
  }
}

/** Lets the page draw and hear its visitor between two runs. */
function breath() {
  return new Promise((resolve) => {
    const channel = new MessageChannel();
    channel.port1.onmessage = resolve;
    channel.port2.postMessage(null);
  });
}

/** Float planes [count, channel, area] in [-1, 1] as pictures. */
function pictures(data, count, area, channels) {
  return Array.from({ length: count }, (_, n) => {
    const picture = new Uint8ClampedArray(area * channels);
    for (let k = 0; k < channels; k++) {
      const start = (n * channels + k) * area;
      for (let i = 0; i < area; i++) picture[i * channels + k] = (data[start + i] + 1) * 127.5; // rounds and clamps by itself
    }
    return new Uint8Array(picture.buffer);
  });
}

/** An image in the shape of the training images: cropped, padded with the background, or stretched. */
function fitted(bitmap, { height, width, channels, fit, background }) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [width, height];
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillStyle = background;
  if (channels !== 4) context.fillRect(0, 0, width, height);
  context.imageSmoothingQuality = "high";
  const [across, down] = [width / bitmap.width, height / bitmap.height];
  if (fit === "stretch") context.drawImage(bitmap, 0, 0, width, height);
  else {
    const scale = fit === "pad" ? Math.min(across, down) : Math.max(across, down);
    const [wide, high] = [bitmap.width * scale, bitmap.height * scale];
    context.drawImage(bitmap, (width - wide) / 2, (height - high) / 2, wide, high);
  }
  return channelsOf(context.getImageData(0, 0, width, height).data, channels);
}

/** Values stretched so that those which were black and white in the training images' files are 0 and 255. */
export function levelled(picture, [black, white]) {
  return new Uint8Array(Uint8ClampedArray.from(picture, (value) => ((value - black) * 255) / (white - black)).buffer);
}

/** Every grey value drawn black or white with its brightness as the probability; the same picture always the same way. */
export function binarized(picture) {
  const uniform = uniformStream(picture.reduce((key, value) => (Math.imul(key, 31) + value) | 0, 0));
  return picture.map((value) => (255 * uniform() <= value ? 255 : 0));
}

function channelsOf(data, channels) {
  const picture = new Uint8Array((data.length / 4) * channels);
  for (let i = 0, o = 0; i < data.length; i += 4) {
    if (channels === 1) picture[o++] = Math.round(0.299 * data[i] + 0.587 * data[i + 1] + 0.114 * data[i + 2]);
    else for (let k = 0; k < 3; k++) picture[o++] = channels === 4 ? Math.round((data[i + k] * data[i + 3]) / 255) : data[i + k];
    if (channels === 4) picture[o++] = data[i + 3]; // colours are multiplied by it
  }
  return picture;
}

/** The images that the file carries: their latents, their labels, and one sheet with all of them. */
export class CarriedImages {
  constructor({ latents, labels, columns }, sheet, { latentDim, height, width, channels }) {
    const all = fromBase64(latents);
    this.latents = Array.from({ length: all.length / latentDim }, (_, i) => all.subarray(i * latentDim, (i + 1) * latentDim));
    this.labels = Object.fromEntries(Object.entries(labels).map(([name, text]) => [name, fromBase64(text, undefined, true)]));
    Object.assign(this, { columns, height, width, channels });
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [sheet.width, sheet.height];
    this.context = canvas.getContext("2d", { willReadFrequently: true });
    this.context.drawImage(sheet, 0, 0);
  }

  picture(index) {
    const { height, width, columns } = this;
    const tile = this.context.getImageData((index % columns) * width, Math.floor(index / columns) * height, width, height);
    return channelsOf(tile.data, this.channels);
  }

  colours() {
    const means = new Uint8Array(3 * this.latents.length);
    for (let index = 0; index < this.latents.length; index++) {
      const picture = this.picture(index);
      const sums = [0, 0, 0];
      for (let i = 0; i < picture.length; i++) sums[i % this.channels] += picture[i];
      for (let k = 0; k < 3; k++) means[3 * index + k] = sums[k % this.channels] / (this.height * this.width);
    }
    return means;
  }
}
