// Pictures (Uint8Array height * width * channels) onto canvases, and small pieces of page that hold them.

export class Painter {
  constructor({ height, width, channels }) {
    Object.assign(this, { height, width, channels, aspect: width / height, side: Math.max(height, width) });
  }

  imageData(picture) {
    const image = new ImageData(this.width, this.height);
    const out = image.data;
    if (this.channels === 1) {
      for (let i = 0, o = 0; i < picture.length; i++, o += 4) {
        out[o] = out[o + 1] = out[o + 2] = picture[i];
        out[o + 3] = 255;
      }
    } else {
      for (let i = 0, o = 0; o < out.length; i += this.channels, o += 4) {
        const opacity = this.channels === 4 ? picture[i + 3] : 255; // colours are multiplied by it
        for (let k = 0; k < 3; k++) out[o + k] = (255 * picture[i + k]) / (opacity || 1);
        out[o + 3] = opacity;
      }
    }
    return image;
  }

  canvas(className = "picture") {
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [this.width, this.height];
    canvas.className = `${className}${this.side < 48 ? " coarse" : ""}`;
    return canvas;
  }

  paint(canvas, picture) {
    canvas.getContext("2d").putImageData(this.imageData(picture), 0, 0);
  }

  painted(picture, className) {
    const canvas = this.canvas(className);
    this.paint(canvas, picture);
    return canvas;
  }
}

/** An element with attributes, listeners (on...) and children. */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name === "text") made.textContent = value;
    else if (name in made && name !== "list" && name !== "role") made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

export function button(text, onclick, attributes = {}) {
  return element("button", { type: "button", text, onclick, ...attributes });
}

/** Offers a blob under a name in the browser's downloads. */
export function download(blob, name) {
  const link = element("a", { href: URL.createObjectURL(blob), download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}
