// Pictures as arrays of pixels: decoding, contours, colours, brush strokes, and masks back to PNG.

const RAMP = [[0, 34, 78], [67, 78, 108], [125, 124, 120], [188, 175, 111], [254, 232, 56]]; // cividis, in five steps

export async function decode(blob) {
  const bitmap = await createImageBitmap(blob, { colorSpaceConversion: "none" });
  const { width, height } = bitmap;
  const context = surface(width, height).getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  return context.getImageData(0, 0, width, height);
}

export function surface(width, height) {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  return canvas;
}

// 1 where the picture is bright.
export function toMask(data) {
  const mask = new Uint8Array(data.width * data.height);
  for (let i = 0; i < mask.length; i += 1) mask[i] = data.data[4 * i] > 127 ? 1 : 0;
  return mask;
}

// The picture with level and window applied: level - window / 2 becomes black, level + window / 2 white; in a deep
// picture, of the values that its file holds.
export function windowed(data, deep, level, window) {
  const made = new ImageData(data.width, data.height);
  const [slope, intercept, inverted] = deep ? [deep.slope, deep.intercept, deep.inverted] : [1, 0, false];
  const table = new Uint8ClampedArray(deep ? 65536 : 256);
  for (let stored = 0; stored < table.length; stored += 1) {
    const share = (slope * stored + intercept - level) / window + 0.5;
    table[stored] = 255 * (inverted ? 1 - share : share);
  }
  const [source, across] = deep ? [deep.stored, deep.channels] : [data.data, 4];
  const others = across === 1 ? [0, 0, 0] : [0, 1, 2];
  for (let i = 0, from = 0; i < made.data.length; i += 4, from += across) {
    for (let k = 0; k < 3; k += 1) made.data[i + k] = table[source[from + others[k]]];
    made.data[i + 3] = 255;
  }
  return onSurface(made);
}

// The uncertainty map in colours from blue (sure) to yellow (unsure), whose lightness rises as well.
export function coloured(data) {
  const made = new ImageData(data.width, data.height);
  for (let i = 0; i < data.data.length; i += 4) {
    const place = (data.data[i] / 255) * (RAMP.length - 1);
    const low = Math.min(Math.floor(place), RAMP.length - 2);
    for (let k = 0; k < 3; k += 1) made.data[i + k] = RAMP[low][k] + (place - low) * (RAMP[low + 1][k] - RAMP[low][k]);
    made.data[i + 3] = 255;
  }
  return onSurface(made);
}

// The picture on a canvas.
export function onSurface(data) {
  const canvas = surface(data.width, data.height);
  canvas.getContext("2d").putImageData(data, 0, 0);
  return canvas;
}

// The outlines of a mask, in pixels of the image; drawn with a width that does not depend on the zoom.
export function contour(mask, width, height) {
  const wide = width + 1;
  const edges = new Map(); // corner -> the corners that an edge leads to, with the mask at its right hand
  const add = (from, to) => (edges.has(from) ? edges.get(from).push(to) : edges.set(from, [to]));
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      const i = y * width + x;
      if (!mask[i]) continue;
      const corner = y * wide + x;
      if (y === 0 || !mask[i - width]) add(corner, corner + 1);
      if (x === width - 1 || !mask[i + 1]) add(corner + 1, corner + 1 + wide);
      if (y === height - 1 || !mask[i + width]) add(corner + 1 + wide, corner + wide);
      if (x === 0 || !mask[i - 1]) add(corner + wide, corner);
    }
  }
  const path = new Path2D();
  for (const start of edges.keys()) {
    // As many edges lead to each corner as leave it, so that every walk ends where it began.
    while (edges.get(start).length) {
      let corner = start;
      path.moveTo(corner % wide, Math.floor(corner / wide));
      do {
        corner = edges.get(corner).pop();
        if (corner !== start) path.lineTo(corner % wide, Math.floor(corner / wide));
      } while (corner !== start);
      path.closePath();
    }
  }
  return path;
}

// Sets all pixels whose centre is within the radius of the line between two points.
export function stroke(mask, width, height, from, to, radius, on) {
  const left = Math.max(Math.floor(Math.min(from.x, to.x) - radius), 0);
  const right = Math.min(Math.ceil(Math.max(from.x, to.x) + radius), width - 1);
  const top = Math.max(Math.floor(Math.min(from.y, to.y) - radius), 0);
  const bottom = Math.min(Math.ceil(Math.max(from.y, to.y) + radius), height - 1);
  const [dx, dy] = [to.x - from.x, to.y - from.y];
  const length = dx * dx + dy * dy;
  for (let y = top; y <= bottom; y += 1) {
    for (let x = left; x <= right; x += 1) {
      const [px, py] = [x + 0.5 - from.x, y + 0.5 - from.y];
      const along = length ? Math.min(Math.max((px * dx + py * dy) / length, 0), 1) : 0;
      if ((px - along * dx) ** 2 + (py - along * dy) ** 2 <= radius * radius) mask[y * width + x] = on ? 1 : 0;
    }
  }
}

export async function maskAsBase64(mask, width, height) {
  const data = new ImageData(width, height);
  for (let i = 0; i < mask.length; i += 1) {
    data.data.fill(mask[i] ? 255 : 0, 4 * i, 4 * i + 3);
    data.data[4 * i + 3] = 255;
  }
  const blob = await new Promise((resolve) => onSurface(data).toBlob(resolve, "image/png"));
  const bytes = new Uint8Array(await blob.arrayBuffer());
  let text = "";
  for (let i = 0; i < bytes.length; i += 32768) text += String.fromCharCode(...bytes.subarray(i, i + 32768));
  return btoa(text);
}
