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

  draw(view, context, side = 64) {
    const level = this.level(view, side);
    const spacing = 2 ** level;
    const [left, top] = view.toPlane(0, 0);
    const [right, bottom] = view.toPlane(view.width, view.height);
    const pixels = spacing * view.scale * view.ratio;
    this.wanted = [];
    context.imageSmoothingEnabled = true;
    context.imageSmoothingQuality = "high";
    for (let row = Math.floor(bottom / spacing - 0.5); row <= Math.ceil(top / spacing + 0.5); row++) {
      for (let column = Math.floor(left / spacing - 0.5); column <= Math.ceil(right / spacing + 0.5); column++) {
        const key = `${level},${column},${row}`;
        const tile = this.kept.get(key);
        const [x, y] = view.toScreen((column - 0.5) * spacing, (row + 0.5) * spacing);
        if (tile) {
          this.kept.delete(key); // the order of a Map is the order of last use
          this.kept.set(key, tile);
          context.drawImage(tile, Math.round(x * view.ratio), Math.round(y * view.ratio), Math.ceil(pixels), Math.ceil(pixels));
        } else {
          const away = Math.hypot(x + pixels / 2 / view.ratio - view.width / 2, y + pixels / 2 / view.ratio - view.height / 2);
          this.wanted.push({ key, away, x: column * spacing, y: row * spacing });
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
