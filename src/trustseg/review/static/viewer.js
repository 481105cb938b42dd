// The canvas: an image with layers that can be moved, zoomed and drawn on.

import { coloured, contour, onSurface, stroke, windowed } from "./pixels.js";

const DEEP = 30; // strokes that can be undone
const STEP = 40; // pixels of the screen that an arrow key moves the image
const SHALLOW = { least: 0, most: 255, step: 1, level: 127.5, window: 255 }; // windows of an image of 8 bits
const MODEL = "#ffb000"; // the model's contour, drawn through
const DRAWN = "#5ac8ff"; // the reader's, dashed

export class Viewer {
  constructor(canvas) {
    this.canvas = canvas;
    this.options = { contour: true, uncertainty: false, opacity: 0.5 };
    this.brush = { on: true, size: 8 };
    this.drawing = false;
    this.pointers = new Map();
    this.clear();
    new ResizeObserver(() => this.resize()).observe(canvas);
    canvas.addEventListener("pointerdown", (event) => this.down(event));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, (event) => this.up(event));
    canvas.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    canvas.addEventListener("keydown", (event) => this.key(event));
  }

  clear() {
    Object.assign(this, { image: null, deep: null, scale: SHALLOW, shown: null, mask: null, path: null, heat: null, attacked: null, picture: "image", drawn: null, drawnPath: null, undone: [] });
    this.drawing = false;
    this.redraw();
  }

  setImage(data) {
    this.clear();
    this.image = data;
    this.resetWindow();
    this.fit();
  }

  // Gives a deep image its values, from when on windows act on them.
  setDeep(deep) {
    let [least, most] = [Math.min(deep.black, deep.white), Math.max(deep.black, deep.white)];
    for (const stored of deep.stored) {
      const value = deep.slope * stored + deep.intercept;
      if (value < least) least = value;
      else if (value > most) most = value;
    }
    const step = Math.abs(deep.slope);
    this.deep = deep;
    this.scale = { least, most, step, level: (deep.black + deep.white) / 2, window: Math.max(deep.white - deep.black, step) };
    this.resetWindow();
  }

  // Shows the image as the model was given it.
  resetWindow() {
    [this.level, this.window] = [this.scale.level, this.scale.window];
    this.shown = onSurface(this.image);
    this.redraw();
  }

  setWindow(level, window) {
    [this.level, this.window] = [level, window];
    this.shown = windowed(this.image, this.deep, level, window);
    this.redraw();
  }

  setModel(mask, heat) {
    this.mask = mask;
    this.path = contour(mask, this.image.width, this.image.height);
    this.heat = coloured(heat);
    this.redraw();
  }

  // Gives what an evaluation recorded: the image as the model saw it before and under attack, and the mask of the latter.
  setAttacked({ before, after, mask }) {
    const path = contour(mask, this.image.width, this.image.height);
    this.attacked = { before: { shown: onSurface(before), path: this.path }, after: { shown: onSurface(after), path } };
  }

  setDrawn(mask) {
    this.drawn = mask;
    this.drawnPath = mask && contour(mask, this.image.width, this.image.height);
    this.redraw();
  }

  set(name, value) {
    this.options[name] = value;
    this.redraw();
  }

  // The map is of the image itself, not of the one under attack.
  showsHeat() {
    return this.heat && this.options.uncertainty && this.picture !== "after";
  }

  layers() {
    const found = [];
    if (this.path && this.options.contour) found.push("mask", "contour");
    if (this.showsHeat()) found.push("uncertainty");
    if (this.picture === "after") found.push("attacked");
    return found;
  }

  // Shows the image, or the recorded picture "before" or "after" an attack.
  choose(picture) {
    this.picture = picture;
    this.redraw();
  }

  startDrawing() {
    if (!this.drawn) this.setDrawn(this.mask.slice());
    this.drawing = true;
    this.undone = [];
    this.cursor = { x: this.image.width / 2, y: this.image.height / 2 };
    this.redraw();
  }

  stopDrawing() {
    this.drawing = false;
    this.redraw();
  }

  undo() {
    const before = this.undone.pop();
    if (before) this.setDrawn(before);
  }

  wipe() {
    this.keep();
    this.setDrawn(new Uint8Array(this.drawn.length));
  }

  keep() {
    this.undone.push(this.drawn.slice());
    if (this.undone.length > DEEP) this.undone.shift();
  }

  paint(from, to) {
    stroke(this.drawn, this.image.width, this.image.height, from, to, this.brush.size / 2, this.brush.on);
    this.setDrawn(this.drawn);
  }

  // --- where things are -----------------------------------------------------------------------------------------------

  resize() {
    const ratio = devicePixelRatio || 1;
    this.canvas.width = Math.max(Math.round(this.canvas.clientWidth * ratio), 1);
    this.canvas.height = Math.max(Math.round(this.canvas.clientHeight * ratio), 1);
    this.fit();
  }

  fit() {
    if (!this.image) return;
    this.zoom = Math.min(this.canvas.width / this.image.width, this.canvas.height / this.image.height) || 1;
    this.left = (this.canvas.width - this.zoom * this.image.width) / 2;
    this.top = (this.canvas.height - this.zoom * this.image.height) / 2;
    this.redraw();
  }

  zoomBy(factor, at = { x: this.canvas.width / 2, y: this.canvas.height / 2 }) {
    if (!this.image) return;
    const zoom = Math.min(Math.max(this.zoom * factor, 0.05), 80);
    this.left = at.x - ((at.x - this.left) * zoom) / this.zoom;
    this.top = at.y - ((at.y - this.top) * zoom) / this.zoom;
    this.zoom = zoom;
    this.redraw();
  }

  onCanvas(event) {
    const box = this.canvas.getBoundingClientRect();
    const ratio = this.canvas.width / box.width;
    return { x: (event.clientX - box.left) * ratio, y: (event.clientY - box.top) * ratio };
  }

  onImage(at) {
    return { x: (at.x - this.left) / this.zoom, y: (at.y - this.top) / this.zoom };
  }

  // --- what people do -------------------------------------------------------------------------------------------------

  down(event) {
    if (!this.image) return;
    this.canvas.setPointerCapture(event.pointerId);
    const at = this.onCanvas(event);
    this.pointers.set(event.pointerId, at);
    if (this.drawing && this.pointers.size === 1 && event.button === 0) {
      this.keep();
      this.paint(this.onImage(at), this.onImage(at));
    }
  }

  move(event) {
    const before = this.pointers.get(event.pointerId);
    if (!before || !this.image) return;
    const at = this.onCanvas(event);
    this.pointers.set(event.pointerId, at);
    if (this.pointers.size === 2) this.pinch(event.pointerId, before, at);
    else if (this.drawing && event.buttons === 1) this.paint(this.onImage(before), this.onImage(at));
    else this.pan(at.x - before.x, at.y - before.y);
  }

  pinch(moved, before, at) {
    const [id] = [...this.pointers.keys()].filter((each) => each !== moved);
    const other = this.pointers.get(id);
    const apart = (point) => Math.hypot(point.x - other.x, point.y - other.y) || 1;
    this.zoomBy(apart(at) / apart(before), other);
  }

  up(event) {
    this.pointers.delete(event.pointerId);
  }

  wheel(event) {
    event.preventDefault();
    this.zoomBy(Math.exp(-event.deltaY / 400), this.onCanvas(event));
  }

  pan(x, y) {
    this.left += x;
    this.top += y;
    this.redraw();
  }

  key(event) {
    const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!this.image || event.ctrlKey || event.metaKey) return;
    if (way && this.drawing) {
      const far = event.shiftKey ? 1 : Math.max(this.brush.size / 2, 1);
      const clamp = (place, most) => Math.min(Math.max(place, 0), most);
      this.cursor = { x: clamp(this.cursor.x + way[0] * far, this.image.width), y: clamp(this.cursor.y + way[1] * far, this.image.height) };
      this.redraw();
    } else if (way) {
      this.pan(-way[0] * STEP, -way[1] * STEP);
    } else if (event.key === " " && this.drawing) {
      this.keep();
      this.paint(this.cursor, this.cursor);
    } else {
      return;
    }
    event.preventDefault();
  }

  // --- drawing the layers ---------------------------------------------------------------------------------------------

  redraw() {
    if (this.asked) return;
    this.asked = true;
    requestAnimationFrame(() => {
      this.asked = false;
      this.render();
    });
  }

  render() {
    const context = this.canvas.getContext("2d");
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    if (!this.image) return;
    context.setTransform(this.zoom, 0, 0, this.zoom, this.left, this.top);
    context.imageSmoothingEnabled = this.zoom < 4;
    const { shown, path } = this.picture === "image" ? this : this.attacked[this.picture];
    context.drawImage(shown, 0, 0);
    if (this.showsHeat()) {
      context.globalAlpha = this.options.opacity;
      context.drawImage(this.heat, 0, 0);
      context.globalAlpha = 1;
    }
    if (path && this.options.contour) this.line(context, path, MODEL, []);
    if (this.drawnPath) this.line(context, this.drawnPath, DRAWN, [6, 4]);
    if (this.drawing) this.crosshair(context);
  }

  line(context, path, colour, dashes) {
    const unit = (devicePixelRatio || 1) / this.zoom;
    context.lineCap = "square";
    context.setLineDash([]);
    context.lineWidth = 4 * unit;
    context.strokeStyle = "rgb(0 0 0 / 70%)";
    context.stroke(path);
    context.setLineDash(dashes.map((length) => length * unit));
    context.lineWidth = 2 * unit;
    context.strokeStyle = colour;
    context.stroke(path);
  }

  crosshair(context) {
    const path = new Path2D();
    path.arc(this.cursor.x, this.cursor.y, this.brush.size / 2, 0, 2 * Math.PI);
    this.line(context, path, "#fff", [2, 2]);
  }
}
