// The encoded images as dots: drawn into one ImageData, however many, and found again by their place.

import { HIDDEN } from "./colours.js";

export class Points {
  /** @param places Float32Array, two numbers a point; @param indices which image each point is (all of them, in order, when null) */
  constructor(places, indices = null) {
    this.places = places;
    this.indices = indices;
    this.count = places.length / 2;
    this.buildIndex();
  }

  box(share = 0.998) {
    const xs = new Float32Array(this.count);
    const ys = new Float32Array(this.count);
    for (let i = 0; i < this.count; i++) {
      xs[i] = this.places[2 * i];
      ys[i] = this.places[2 * i + 1];
    }
    xs.sort();
    ys.sort();
    const cut = Math.floor(((1 - share) / 2) * this.count);
    const last = this.count - 1 - cut;
    return [xs[cut], ys[cut], xs[last], ys[last]];
  }

  imageOf(point) {
    return this.indices ? this.indices[point] : point;
  }

  /** Points sorted into square cells, so that the nearest is found among few. */
  buildIndex() {
    const box = this.count ? this.box(0.98) : [0, 0, 1, 1];
    this.side = Math.max(1, Math.min(256, Math.round(Math.sqrt(this.count / 4))));
    this.origin = [box[0], box[1]];
    this.cell = [(box[2] - box[0]) / this.side || 1, (box[3] - box[1]) / this.side || 1];
    const starts = new Uint32Array(this.side ** 2 + 1);
    const cellOf = new Uint32Array(this.count);
    for (let i = 0; i < this.count; i++) {
      const [column, row] = this.cellAt(this.places[2 * i], this.places[2 * i + 1]);
      cellOf[i] = row * this.side + column;
      starts[cellOf[i] + 1]++;
    }
    for (let k = 0; k < this.side ** 2; k++) starts[k + 1] += starts[k];
    const filled = starts.slice();
    this.sorted = new Uint32Array(this.count);
    for (let i = 0; i < this.count; i++) this.sorted[filled[cellOf[i]]++] = i;
    this.starts = starts;
  }

  cellAt(x, y) {
    const column = Math.floor((x - this.origin[0]) / this.cell[0]);
    const row = Math.floor((y - this.origin[1]) / this.cell[1]);
    const last = this.side - 1;
    return [Math.min(last, Math.max(0, column)), Math.min(last, Math.max(0, row))];
  }

  /** The `wanted` points nearest to a place, nearest first, as [point, distance] pairs. */
  nearest(x, y, wanted = 1) {
    const [column, row] = this.cellAt(x, y);
    const best = [];
    for (let ring = 0; ring <= this.side; ring++) {
      for (let r = row - ring; r <= row + ring; r++) {
        if (r < 0 || r >= this.side) continue;
        const edge = r === row - ring || r === row + ring;
        for (let c = column - ring; c <= column + ring; c += edge ? 1 : Math.max(1, 2 * ring)) {
          if (c >= 0 && c < this.side) this.collect(r * this.side + c, x, y, wanted, best);
        }
      }
      // A ring further out lies at least this far away, as long as the place itself is inside the cells.
      const safe = ring * Math.min(this.cell[0], this.cell[1]);
      if (best.length >= Math.min(wanted, this.count) && (best.at(-1)[1] <= safe || ring > 2 * 8)) break;
    }
    return best;
  }

  collect(cell, x, y, wanted, best) {
    for (let k = this.starts[cell]; k < this.starts[cell + 1]; k++) {
      const point = this.sorted[k];
      const distance = Math.hypot(this.places[2 * point] - x, this.places[2 * point + 1] - y);
      if (best.length < wanted || distance < best.at(-1)[1]) {
        best.push([point, distance]);
        best.sort((a, b) => a[1] - b[1]);
        if (best.length > wanted) best.pop();
      }
    }
  }

  /** Draws all points; `codes` chooses each point's colour of `colours` ([r, g, b]), HIDDEN leaves it out. */
  draw(view, context, codes, colours) {
    const { width, height } = context.canvas;
    const image = context.createImageData(width, height);
    const scale = view.scale * view.ratio;
    const left = width / 2 - view.centre[0] * scale;
    const top = height / 2 + view.centre[1] * scale;
    const disc = discMask(this.radius(view));
    const words = new Uint32Array(image.data.buffer);
    const packed = Uint32Array.from(colours, ([r, g, b]) => 0xff000000 | (b << 16) | (g << 8) | r);
    const places = this.places;
    for (let i = 0; i < this.count; i++) {
      const code = codes ? codes[i] : 0;
      if (code === HIDDEN) continue;
      const x = Math.round(left + places[2 * i] * scale);
      const y = Math.round(top - places[2 * i + 1] * scale);
      if (x < 4 || y < 4 || x >= width - 4 || y >= height - 4) continue;
      const at = y * width + x;
      if (disc === null) {
        words[at] = words[at + 1] = words[at + width] = words[at + width + 1] = packed[code];
        continue;
      }
      splat(image.data, at, width, disc, colours[code]);
    }
    context.putImageData(image, 0, 0);
  }

  radius(view) {
    const crowd = this.count > 25000 ? 0 : this.count > 3000 ? 1.9 : 2.6;
    return crowd && Math.min(3.5, crowd * view.ratio);
  }
}

const masks = new Map();

/** Opacities around a dot's centre, soft at the edge; null where dots are so many that squares must do. */
function discMask(radius) {
  if (!radius) return null;
  if (!masks.has(radius)) {
    const reach = Math.min(4, Math.ceil(radius));
    const mask = [];
    for (let dy = -reach; dy <= reach; dy++) {
      for (let dx = -reach; dx <= reach; dx++) {
        const opacity = Math.min(1, Math.max(0, radius + 0.5 - Math.hypot(dx, dy)));
        if (opacity > 0) mask.push([dx, dy, 0.8 * opacity]);
      }
    }
    masks.set(radius, mask);
  }
  return masks.get(radius);
}

function splat(data, at, width, disc, colour) {
  for (const [dx, dy, opacity] of disc) {
    const o = 4 * (at + dy * width + dx);
    const under = data[o + 3] / 255;
    const total = opacity + under * (1 - opacity);
    for (let k = 0; k < 3; k++) data[o + k] = (colour[k] * opacity + data[o + k] * under * (1 - opacity)) / total;
    data[o + 3] = 255 * total;
  }
}
