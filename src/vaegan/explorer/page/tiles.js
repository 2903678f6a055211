// A plane as pictures: decoded on a lattice that refines with the zoom, nearest to the middle first, kept as long as there is room.

const MOST_KEPT = 3000;
const AT_A_TIME = 8;

export class Tiles {
  /** @param decode (latents) -> pictures or null; @param paint (picture) -> canvas; @param latentAt (x, y) -> latent */
  constructor(decode, paint, latentAt, repaint) {
    Object.assign(this, { decode, paint, latentAt, repaint });
    this.kept = new Map();
    this.loading = false;
    this.version = 0;
  }

  /** Forgets everything: the plane or the stage is another. */
  clear() {
    this.kept.clear();
    this.version++;
  }

  level(view, side) {
    return Math.round(Math.log2(side / view.scale));
  }

  /** @param aspect width over height of a picture */
  draw(view, context, side = 64, aspect = 1) {
    const level = this.level(view, side);
    const [across, down] = [2 ** level * Math.sqrt(aspect), 2 ** level / Math.sqrt(aspect)];
    const [left, top] = view.toPlane(0, 0);
    const [right, bottom] = view.toPlane(view.width, view.height);
    const [wide, high] = [across * view.scale * view.ratio, down * view.scale * view.ratio];
    this.wanted = [];
    context.imageSmoothingEnabled = true;
    context.imageSmoothingQuality = "high";
    for (let row = Math.floor(bottom / down - 0.5); row <= Math.ceil(top / down + 0.5); row++) {
      for (let column = Math.floor(left / across - 0.5); column <= Math.ceil(right / across + 0.5); column++) {
        const key = `${level},${column},${row}`;
        const tile = this.kept.get(key);
        const [x, y] = view.toScreen((column - 0.5) * across, (row + 0.5) * down);
        if (tile) {
          this.kept.delete(key); // the order of a Map is the order of last use
          this.kept.set(key, tile);
          context.drawImage(tile, Math.round(x * view.ratio), Math.round(y * view.ratio), Math.ceil(wide), Math.ceil(high));
        } else {
          const away = Math.hypot(x + wide / 2 / view.ratio - view.width / 2, y + high / 2 / view.ratio - view.height / 2);
          this.wanted.push({ key, away, x: column * across, y: row * down });
        }
      }
    }
    this.wanted.sort((a, b) => a.away - b.away);
    this.load();
  }

  async load() {
    if (this.loading || !this.wanted.length) return;
    this.loading = true;
    const version = this.version;
    const batch = this.wanted.splice(0, AT_A_TIME);
    try {
      const pictures = await this.decode(batch.map((tile) => this.latentAt(tile.x, tile.y)));
      if (pictures && version === this.version) {
        pictures.forEach((picture, i) => this.kept.set(batch[i].key, this.paint(picture)));
        while (this.kept.size > MOST_KEPT) this.kept.delete(this.kept.keys().next().value);
      }
    } catch {
      this.wanted = []; // the page says elsewhere that the model is gone
    }
    this.loading = false;
    this.repaint();
  }
}
