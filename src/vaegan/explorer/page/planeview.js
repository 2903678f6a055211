// A canvas that shows a plane: drag, wheel, pinch, keys; layers draw on it, and it tells where the pointer hovers and what is picked.

const DRAG_PIXELS = 5;

export class PlaneView {
  /** @param hooks { draw(view), hover(x, y, event), leave(), pick(x, y) } */
  constructor(canvas, hooks) {
    this.canvas = canvas;
    this.hooks = hooks;
    this.centre = [0, 0];
    this.scale = 100; // CSS pixels for one unit of the plane
    this.limits = [1e-3, 1e6];
    this.pointers = new Map();
    this.cross = null; // the keyboard's pointer, in CSS pixels
    this.dirty = false;
    this.stopped = 0;
    new ResizeObserver(() => this.resize()).observe(canvas);
    canvas.addEventListener("pointerdown", (event) => this.down(event));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, (event) => this.up(event));
    // A finger leaves by being lifted: what it has found stays to be looked at.
    canvas.addEventListener("pointerleave", (event) => event.pointerType !== "touch" && this.hooks.leave());
    canvas.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    canvas.addEventListener("keydown", (event) => this.key(event));
    canvas.addEventListener("blur", () => {
      this.cross = null;
      this.hooks.leave();
      this.redraw();
    });
  }

  resize() {
    this.width = this.canvas.clientWidth;
    this.height = this.canvas.clientHeight;
    this.ratio = Math.min(2, window.devicePixelRatio || 1);
    this.canvas.width = Math.max(1, Math.round(this.width * this.ratio));
    this.canvas.height = Math.max(1, Math.round(this.height * this.ratio));
    if (this.pendingFit && this.width) this.fit(this.pendingFit);
    this.redraw(true);
  }

  redraw(now = false) {
    if (now) {
      this.dirty = false;
      if (this.width) this.hooks.draw(this);
    } else if (!this.dirty) {
      this.dirty = true;
      requestAnimationFrame(() => this.dirty && this.redraw(true));
    }
  }

  toPlane(left, top) {
    return [this.centre[0] + (left - this.width / 2) / this.scale, this.centre[1] - (top - this.height / 2) / this.scale];
  }

  toScreen(x, y) {
    return [this.width / 2 + (x - this.centre[0]) * this.scale, this.height / 2 - (y - this.centre[1]) * this.scale];
  }

  /** Shows the box [left, bottom, right, top] of the plane. */
  fit(box) {
    this.pendingFit = box;
    if (!this.width) return;
    const margin = Math.min(60, this.width / 10);
    this.centre = [(box[0] + box[2]) / 2, (box[1] + box[3]) / 2];
    this.scale = Math.min((this.width - 2 * margin) / (box[2] - box[0] || 1), (this.height - 2 * margin) / (box[3] - box[1] || 1));
    this.limits = [this.scale / 8, this.scale * 200];
    this.redraw();
  }

  zoom(factor, left = this.width / 2, top = this.height / 2) {
    const [x, y] = this.toPlane(left, top);
    this.scale = Math.min(this.limits[1], Math.max(this.limits[0], this.scale * factor));
    const [nowX, nowY] = this.toPlane(left, top);
    this.centre = [this.centre[0] + x - nowX, this.centre[1] + y - nowY];
    this.pendingFit = null;
    this.redraw();
  }

  place(event) {
    const box = this.canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  down(event) {
    this.canvas.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, { start: this.place(event), last: this.place(event) });
    this.dragged = this.pointers.size > 1;
    this.cross = null;
    if (event.pointerType === "touch") this.hooks.hover(...this.toPlane(...this.place(event)), event);
  }

  move(event) {
    const place = this.place(event);
    const pointer = this.pointers.get(event.pointerId);
    if (!pointer) {
      this.hooks.hover(...this.toPlane(...place), event);
      return;
    }
    if (Math.hypot(place[0] - pointer.start[0], place[1] - pointer.start[1]) > DRAG_PIXELS) this.dragged = true;
    if (this.pointers.size === 2) {
      const [first, second] = [...this.pointers.values()];
      const before = Math.hypot(first.last[0] - second.last[0], first.last[1] - second.last[1]);
      pointer.last = place;
      const after = Math.hypot(first.last[0] - second.last[0], first.last[1] - second.last[1]);
      if (before > 0) this.zoom(after / before, (first.last[0] + second.last[0]) / 2, (first.last[1] + second.last[1]) / 2);
    } else if (this.dragged) {
      this.centre = [this.centre[0] - (place[0] - pointer.last[0]) / this.scale, this.centre[1] + (place[1] - pointer.last[1]) / this.scale];
      pointer.last = place;
      this.pendingFit = null;
      this.hooks.hover(...this.toPlane(...place), event);
      this.redraw();
    }
  }

  up(event) {
    const pointer = this.pointers.get(event.pointerId);
    this.pointers.delete(event.pointerId);
    if (!pointer || event.type === "pointercancel") return;
    if (!this.dragged && !this.pointers.size) this.hooks.pick(...this.toPlane(...this.place(event)));
  }

  wheel(event) {
    event.preventDefault();
    const lines = event.deltaMode === 1 ? 16 : 1;
    this.zoom(Math.exp(-event.deltaY * lines * 0.0015), ...this.place(event));
  }

  key(event) {
    const step = event.shiftKey ? 60 : 12;
    const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key in moves) {
      const [left, top] = this.cross ?? [this.width / 2, this.height / 2];
      this.cross = [left + moves[event.key][0], top + moves[event.key][1]];
      this.keepInside();
      this.hooks.hover(...this.toPlane(...this.cross), null);
      this.redraw();
    } else if (event.key === "Enter" || event.key === " ") {
      this.hooks.pick(...this.toPlane(...(this.cross ?? [this.width / 2, this.height / 2])));
    } else if (event.key === "+" || event.key === "=") this.zoom(1.25);
    else if (event.key === "-") this.zoom(0.8);
    else if (event.key === "0") this.hooks.fit();
    else return;
    event.preventDefault();
  }

  keepInside() {
    const edge = 24;
    const inside = [Math.min(this.width - edge, Math.max(edge, this.cross[0])), Math.min(this.height - edge, Math.max(edge, this.cross[1]))];
    this.centre = [this.centre[0] + (this.cross[0] - inside[0]) / this.scale, this.centre[1] - (this.cross[1] - inside[1]) / this.scale];
    this.cross = inside;
  }
}
