// The model behind the live page: asks the server. `onnx.js` is the other one, with the same methods, for the page without a server.
//
//   description                      what /model.json says
//   refresh()                        reads it again
//   decode(latents, stage, lane)     [Float32Array] -> [picture], a picture being Uint8Array height * width * channels; null if overtaken
//   latentsOf(indices)               -> [Float32Array]            imagesOf(indices) -> [picture]
//   nearest(latent, count, lane)     -> Uint32Array of indices    project(origin, readX, readY) -> Float32Array, two numbers a point
//   labels(name)                     -> Float32Array              meanColours() -> Uint8Array, three numbers an image
//   encode(blob)                     -> { latent, picture }       sampleAt(address) -> latent; here alone, it takes the server
//   restore(picture, anew)           -> [{ latent, picture }], answers where `anew` has a 1 for a pixel; here alone
//   startTsne(), tsne()              -> { indices, places }

import { fromBase64 } from "./latents.js";
import { Queue } from "./queue.js";

const DECODE = 1;
const LATENTS = 2;
const IMAGES = 3;
const NEAREST = 4;
const PROJECT = 5;
const HEADER_BYTES = 8;
const MOST = 64;

export class SocketModel {
  constructor() {
    this.queue = new Queue();
    this.number = 0;
    this.pending = null;
    this.pictureBytes = 0;
    this.onLost = () => {};
    this.onBack = () => {};
  }

  async open() {
    await Promise.all([this.refresh(), this.connect()]);
    return this;
  }

  async refresh() {
    this.description = unpacked(await (await asked("model.json")).json());
    const { height, width, channels } = this.description;
    this.pictureBytes = height * width * channels;
    return this.description;
  }

  connect() {
    return new Promise((resolve) => {
      const socket = new WebSocket(new URL("socket", location.href.replace(/^http/, "ws")));
      socket.binaryType = "arraybuffer";
      socket.onopen = () => {
        this.socket = socket;
        this.onBack();
        resolve();
      };
      socket.onmessage = (event) => this.receive(event.data);
      socket.onclose = () => {
        this.socket = null;
        this.pending?.reject(new Error("The explorer has stopped. Start it again: vaegan explore RUN"));
        this.pending = null;
        this.onLost();
        setTimeout(() => this.connect().then(resolve), 1000);
      };
    });
  }

  receive(data) {
    const view = new DataView(data);
    const pending = this.pending;
    if (!pending || view.getUint32(0, true) !== pending.number) return;
    this.pending = null;
    if (view.getUint8(4) === 0) pending.resolve(data.slice(HEADER_BYTES));
    else pending.reject(new Error(new TextDecoder().decode(data.slice(HEADER_BYTES))));
  }

  request(kind, option, count, payload) {
    return new Promise((resolve, reject) => {
      if (!this.socket) {
        reject(new Error("The explorer has stopped. Start it again: vaegan explore RUN"));
        return;
      }
      const number = (this.number = (this.number + 1) >>> 0);
      const frame = new Uint8Array(HEADER_BYTES + payload.byteLength);
      const view = new DataView(frame.buffer);
      view.setUint32(0, number, true);
      view.setUint8(4, kind);
      view.setUint8(5, option);
      view.setUint16(6, count, true);
      frame.set(new Uint8Array(payload.buffer, payload.byteOffset, payload.byteLength), HEADER_BYTES);
      this.pending = { number, resolve, reject };
      this.socket.send(frame);
    });
  }

  async inParts(items, ask) {
    const parts = [];
    for (let start = 0; start < items.length; start += MOST) {
      const part = await ask(items.slice(start, start + MOST));
      if (part === null) return null;
      parts.push(...part);
    }
    return parts;
  }

  decode(latents, stage, lane = "picture", latest = false) {
    const option = this.description.stages.indexOf(stage);
    return this.inParts(latents, (part) =>
      this.queue.ask(lane, async () => this.pictures(await this.request(DECODE, option, part.length, joined(part))), latest),
    );
  }

  latentsOf(indices, lane = "answer") {
    const length = this.description.latentDim;
    return this.inParts(indices, (part) =>
      this.queue.ask(lane, async () => split(new Float32Array(await this.request(LATENTS, 0, part.length, Uint32Array.from(part))), length)),
    );
  }

  imagesOf(indices, lane = "picture", latest = false) {
    return this.inParts(indices, (part) =>
      this.queue.ask(lane, async () => this.pictures(await this.request(IMAGES, 0, part.length, Uint32Array.from(part))), latest),
    );
  }

  nearest(latent, count, lane = "answer", latest = false) {
    return this.queue.ask(lane, async () => new Uint32Array(await this.request(NEAREST, count, 1, latent)), latest);
  }

  project(origin, readX, readY) {
    return this.queue.ask("answer", async () => new Float32Array(await this.request(PROJECT, 0, 3, joined([origin, readX, readY]))));
  }

  pictures(buffer) {
    return split(new Uint8Array(buffer), this.pictureBytes);
  }

  async labels(name) {
    return new Float32Array(await (await asked(`labels/${encodeURIComponent(name)}`)).arrayBuffer());
  }

  async meanColours() {
    return new Uint8Array(await (await asked("colours")).arrayBuffer());
  }

  async encode(blob) {
    if (blob.size > this.description.maxUploadBytes) throw new Error(`The image is too large: over ${this.description.maxUploadBytes / 2 ** 20} MB are not read.`);
    const content = await (await asked("encode", { method: "POST", body: blob })).arrayBuffer();
    const bytes = 4 * this.description.latentDim;
    return { latent: new Float32Array(content.slice(0, bytes)), picture: new Uint8Array(content.slice(bytes)) };
  }

  async sampleAt(address) {
    return (await this.encode(new Blob([address]))).latent;
  }

  async restore(picture, anew) {
    const content = await (await asked("restore", { method: "POST", body: new Blob([picture, anew]) })).arrayBuffer();
    const bytes = 4 * this.description.latentDim;
    return split(new Uint8Array(content), bytes + this.pictureBytes).map((answer) => ({
      latent: new Float32Array(answer.slice(0, bytes).buffer),
      picture: answer.slice(bytes),
    }));
  }

  async startTsne() {
    await asked("tsne", { method: "POST" });
  }

  async tsne() {
    const content = await (await asked("tsne")).arrayBuffer();
    const count = content.byteLength / 12;
    return { indices: new Uint32Array(content, 0, count), places: new Float32Array(content, 4 * count) };
  }
}

/** A description whose vectors are Float32Arrays. */
export function unpacked(description) {
  const vector = (text) => (text === null ? null : fromBase64(text, description.latentDim));
  description.origin = vector(description.origin);
  for (const name in description.mixture ?? {}) description.mixture[name] = fromBase64(description.mixture[name]);
  for (const direction of description.directions) {
    for (const name of ["move", "read", "residual"]) direction[name] = vector(direction[name]);
  }
  return description;
}

async function asked(path, options) {
  const response = await fetch(path, options);
  if (response.ok) return response;
  let reason = `The explorer answered ${response.status}.`;
  try {
    reason = (await response.json()).error;
  } catch {
    // not one of our own answers: the number must do
  }
  throw new Error(reason);
}

function joined(arrays) {
  const all = new Float32Array(arrays.length * arrays[0].length);
  arrays.forEach((array, i) => all.set(array, i * array.length));
  return all;
}

function split(array, length) {
  return Array.from({ length: array.length / length }, (_, i) => array.subarray(i * length, (i + 1) * length));
}
