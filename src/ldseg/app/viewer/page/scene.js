// The scene: layers in their order, at their opacity, drawn by NiiVue.
// A voxel here is [x, y, z] counted as in the report: towards the patient's left, back and head.

import { Niivue, NVImage, SLICE_TYPE } from "./niivue.js";
import { askVoxels } from "./server.js";
import { Surfaces } from "./surfaces.js";

export const GROUPS = [
  "image", "probability", "uncertainty", "disagreement", "labels", "sample", "variation", "reference",
]; // from below

const CROSSHAIR = 0.25; // percent of the image

const OPTIONS = {
  isRadiologicalConvention: true,
  backColor: [0, 0, 0, 1],
  crosshairColor: [1, 0.85, 0.29, 0.8],
  crosshairWidth: CROSSHAIR,
  crosshairWidthUnit: "percent",
  fontColor: [1, 0.85, 0.29, 1],
  dragAndDropEnabled: false,
  isColorbar: false,
  show3Dcrosshair: true,
  atlasOutline: 1, // of a reference, the only layer that is declared as labels
  meshThicknessOn2D: 0,
  multiplanarShowRender: 1,
  clipPlaneHotKey: "",
  logLevel: "error",
};

const VIEWS = {
  "all": SLICE_TYPE.MULTIPLANAR,
  "transverse": SLICE_TYPE.AXIAL,
  "coronal": SLICE_TYPE.CORONAL,
  "sagittal": SLICE_TYPE.SAGITTAL,
  "in space": SLICE_TYPE.RENDER,
};

const FIXED = ["image", "reference"]; // groups that are the same whatever is predicted
const LABELLED = { classes: true, reference: true };

export const viewNames = Object.keys(VIEWS);

export class Scene {
  constructor(state) {
    this.flat = state.axes !== "zyx";
    this.reset(0, state);
    this.nv = new Niivue({ ...OPTIONS, show3Dcrosshair: !this.flat, isOrientationTextVisible: !this.flat });
    this.surfaces = new Surfaces(this.nv);
    this.onPlace = () => {};
    this.onDraw = () => {};
    const draw = this.nv.drawScene.bind(this.nv);
    this.nv.drawScene = () => {
      const told = draw();
      this.onDraw();
      return told;
    };
    this.nv.onLocationChange = () => this.onPlace();
  }

  // Forgets what was shown: the layers are those of another case from now on.
  reset(number, state) {
    this.number = number;
    this.frames = state.axes === "tyx" ? state.shape[0] : 1;
    this.shown = new Map(); // group -> {layer, image}
    this.loaded = new Map(); // layer of a prediction -> {group, image}
    this.samples = state.samples;
    this.frame = 0;
  }

  async start(canvas) {
    if (!document.createElement("canvas").getContext("webgl2")) {
      throw new Error("This browser cannot draw the layers, for it has no WebGL 2: choose another, or allow it.");
    }
    await this.nv.attachToCanvas(canvas);
    canvas.addEventListener("wheel", (event) => this.turn(event), { capture: true });
    this.setView(this.flat ? "transverse" : "all");
  }

  setView(name) {
    this.nv.setSliceType(VIEWS[name]);
  }

  // Pixels of the page to a mm of the slice; null where there are several, or none.
  get pixelsPerMm() {
    const [slice, other] = this.nv.screenSlices ?? [];
    return slice && !other && slice.axCorSag <= SLICE_TYPE.SAGITTAL ? slice.leftTopWidthHeight[2] / Math.abs(slice.fovMM[0]) / window.devicePixelRatio : null;
  }

  // Puts `layer` into its group's place, or leaves the place empty (null).
  async show(group, layer, opacity, palette) {
    if (layer === null) {
      this.shown.delete(group);
    } else {
      const image = await this.load(layer, palette);
      image.opacity = opacity;
      image.frame4D = this.frame;
      this.shown.set(group, { layer, image });
    }
  }

  draw() {
    const nv = this.nv;
    nv.volumes = GROUPS.filter((group) => this.shown.has(group)).map((group) => this.shown.get(group).image);
    nv.back = nv.volumes[0];
    nv.overlays = nv.volumes.slice(1);
    GROUPS.filter((group) => this.shown.has(group)).forEach((group, place) => {
      const { layer, image } = this.shown.get(group);
      const fades = layer.colors === "share" || layer.colors === "heat"; // what is near zero is not seen
      image.modulationImage = fades ? place : null;
      image.modulateAlpha = fades ? 1 : 0;
    });
    nv.updateGLVolume();
    this.onPlace();
  }

  // Another prediction replaces the maps; the image stays.
  forget(samples) {
    this.samples = samples;
    for (const [key, { group }] of this.loaded) if (!FIXED.includes(group)) this.loaded.delete(key);
    this.surfaces.forget((key) => key.startsWith("reference"));
  }

  async load(layer, palette) {
    const key = FIXED.includes(layer.group) ? layer.name : `${layer.name} of ${this.samples}`;
    const known = this.loaded.get(key);
    if (known) return known.image;
    const image = await NVImage.loadFromUrl({
      url: `${layer.name}.nii`,
      name: `${layer.name}.nii`,
      buffer: await askVoxels(this.number, layer.name),
      colormap: this.colormap(layer, palette),
      cal_min: layer.low,
      cal_max: layer.high,
    });
    if (layer.colors in LABELLED) image.colormapLabel = labelColors(palette[layer.colors]);
    this.loaded.set(key, { group: layer.group, image });
    return image;
  }

  colormap(layer, palette) {
    if (layer.colors === "share") return this.define(`share-${layer.index}`, palette[`share-${layer.index}`]);
    return layer.colors === "heat" ? this.define("heat", palette.heat) : "gray";
  }

  define(name, colors) {
    const [R, G, B, A] = [0, 1, 2, 3].map((n) => colors.map((color) => color[n]));
    const I = colors.map((_, n) => Math.round((255 * n) / (colors.length - 1)));
    this.nv.addColormap(name, { R, G, B, A, I });
    return name;
  }

  setFrame(frame) {
    this.frame = frame;
    for (const { image } of this.shown.values()) image.frame4D = frame;
    this.draw();
  }

  // The wheel goes through frames where there are no slices.
  turn(event) {
    if (this.frames === 1) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    this.setFrame(Math.min(this.frames - 1, Math.max(0, this.frame + Math.sign(event.deltaY))));
  }

  setSmooth(on) {
    this.nv.setInterpolation(!on);
  }

  setCrosshair(on) {
    this.nv.setCrosshairWidth(on ? CROSSHAIR : 0);
  }

  // Numbers of voxels along x, y, z.
  get size() {
    return this.nv.back.dimsRAS.slice(1, 4);
  }

  get voxel() {
    return this.mirrored(this.nv.frac2vox(this.nv.scene.crosshairPos));
  }

  set voxel(place) {
    this.nv.scene.crosshairPos = this.nv.vox2frac(this.mirrored(place));
    this.nv.drawScene();
    this.onPlace();
  }

  // NiiVue counts towards the right and the front.
  mirrored([x, y, z]) {
    const [width, depth] = this.size;
    return [width - 1 - x, depth - 1 - y, z];
  }

  // The voxel under a point of the page; null where no slice is.
  voxelAt({ offsetX, offsetY }) {
    const ratio = window.devicePixelRatio;
    const place = this.nv.canvasPos2frac([offsetX * ratio, offsetY * ratio]);
    return place[0] < 0 ? null : this.mirrored(this.nv.frac2vox(place));
  }

  // A voxel as the server counts it: slowest axis first.
  canonical([x, y, z]) {
    if (!this.flat) return [z, y, x];
    return this.frames > 1 ? [this.frame, y, x] : [y, x];
  }
}

function labelColors(colors) {
  return { lut: new Uint8ClampedArray(colors.flat()), min: 0, max: colors.length - 1 };
}
