// Brings the state of the server, the controls and the scene together.

import { wait } from "./elements.js";
import {
  showCases, showDrawing, showFacts, showProblem, showReadout, showStructures, showWaiting,
} from "./facts.js";
import { choice, showLayers, showPlace, showScaleBar, tick } from "./panel.js";
import { GROUPS, Scene, viewNames } from "./scene.js";
import { askCases, askSamples, askState, askToOpen, askValues } from "./server.js";

const ASK_AGAIN = 400; // milliseconds, while something is computed
const SHORTEST = 80; // milliseconds between two frames
const AT_FIRST = {
  image: 100, probability: 70, uncertainty: 100, disagreement: 100, labels: 45, sample: 60, variation: 60, reference: 25,
};
const SEEN_AT_FIRST = ["image", "labels", "reference"];
const IN_SPACE = { labels: 1, sample: 1, variation: 1, reference: 0.4 }; // opacity of surfaces
const MANY = ["sample", "variation"];
const DIRECTIONS = ["sagittal slice", "coronal slice", "transverse slice"]; // across x, y, z
const NEXT = { n: 1, PageDown: 1, p: -1, PageUp: -1 };

class Viewer {
  constructor(names, canvas) {
    this.names = names;
    this.canvas = canvas;
    this.wishes = new Map(GROUPS.map((group) => [group, { seen: SEEN_AT_FIRST.includes(group), opacity: AT_FIRST[group] }]));
    this.changed = new Set(); // groups that are not yet seen as wished
    this.working = false;
    this.inSpace = true; // surfaces are wished
    canvas.addEventListener("pointermove", (event) => this.read(this.scene?.voxelAt(event) ?? this.crosshair));
    canvas.addEventListener("pointerleave", () => this.read(this.crosshair));
    window.addEventListener("keydown", (event) => this.press(event), { capture: true });
  }

  // Opens a case; another wish in the meantime counts instead.
  async open(number) {
    this.wanted = number;
    clearInterval(this.playing);
    showCases(this.names, number, (wished) => this.open(wished).catch(fail));
    showWaiting(`segmenting ${this.names[number]} …`);
    showProblem("");
    await askToOpen(number);
    let state = await askState(number);
    while (state.opening && this.wanted === number) {
      await wait(ASK_AGAIN);
      state = await askState(number);
    }
    if (this.wanted !== number) return;
    showWaiting(state.layers ? "" : `${this.names[number]} cannot be shown`);
    if (state.layers) await this.show(number, state);
    else showProblem(state.problem);
  }

  press(event) {
    const wished = this.wanted + (NEXT[event.key] ?? 0);
    const typing = event.target.tagName === "SELECT";
    if (wished === this.wanted || event.ctrlKey || event.metaKey || event.altKey || typing) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    if (this.names[wished] !== undefined) this.open(wished).catch(fail);
  }

  async show(number, state) {
    this.number = number;
    this.state = state;
    this.wishNames();
    if (this.scene) {
      this.scene.surfaces.forget();
      this.scene.reset(number, state);
    } else {
      this.scene = new Scene(state);
      await this.scene.start(this.canvas);
      this.scene.number = number;
      this.scene.onDraw = () => this.showScale();
    }
    this.showControls();
    await this.refresh(GROUPS);
    this.place();
    if (state.busy) this.follow().catch(fail);
  }

  // Which layer of each group is seen: the one that is, where the case has it.
  wishNames() {
    for (const [group, wish] of this.wishes) {
      const layers = this.state.layers.filter((layer) => layer.group === group);
      const first = layers[group === "variation" ? layers.length >> 1 : 0]; // a variation begins in its middle
      if (!layers.some((layer) => layer.name === wish.name)) wish.name = first?.name;
    }
  }

  // A pixel of the page is a length only where one slice is seen.
  showScale() {
    const measured = this.scene && this.state.physical;
    showScaleBar(measured ? this.scene.pixelsPerMm : null, this.canvas.clientWidth);
  }

  showControls() {
    showFacts(this.state);
    showStructures(this.state);
    showDrawing(this.state, () => this.drawMore().catch(fail));
    showLayers(this.state, GROUPS, this.wishes, (group) => this.change(group));
  }

  // A slider says more than can be drawn: what is wished when there is time is what counts.
  async change(...groups) {
    groups.forEach((group) => this.changed.add(group));
    this.read(this.crosshair);
    if (this.working) return;
    this.working = true;
    try {
      while (this.changed.size) {
        const due = [...this.changed];
        this.changed.clear();
        await this.refresh(due);
      }
    } catch (error) {
      fail(error);
    } finally {
      this.working = false;
    }
  }

  async refresh(groups) {
    for (const group of groups) {
      const wish = this.wishes.get(group);
      const layer = this.state.layers.find((one) => one.name === wish.name) ?? null;
      const opacity = wish.seen ? wish.opacity / 100 : 0;
      const wanted = layer && (wish.seen || group === "image"); // the image holds the place, seen or not
      await this.scene.show(group, wanted ? layer : null, opacity, this.state.palette);
    }
    this.scene.draw();
    await this.showSurfaces();
  }

  async showSurfaces() {
    const wanted = this.inSpace && !this.scene.flat
      ? this.state.layers.filter(({ group, name }) => {
          const wish = this.wishes.get(group);
          return group in IN_SPACE && wish.seen && wish.opacity > 0 && wish.name === name;
        })
      : [];
    await this.scene.surfaces.show(wanted.flatMap((layer) => this.state.structures.map((_, n) => ({
      key: `${layer.name}-${n + 1}-${layer.group === "reference" ? "all" : this.state.samples}`,
      number: this.number,
      layer: layer.name,
      k: n + 1,
      color: this.state.palette[layer.colors][n + 1],
      opacity: IN_SPACE[layer.group],
    }))));
  }

  place() {
    const { scene, state } = this;
    const film = state.axes === "tyx";
    const steps = state.axes === "zyx" ? scene.size.map((count, n) => ({ name: DIRECTIONS[n], count })) : [];
    if (film) steps.push({ name: "frame", count: state.shape[0] });
    const choices = this.choices ??= this.makeChoices(film);
    const set = showPlace(steps, choices, (n, to) => {
      if (film) scene.setFrame(to);
      else scene.voxel = scene.voxel.with(n, to);
    });
    scene.onPlace = () => {
      this.crosshair = scene.voxel;
      set(film ? [scene.frame] : scene.voxel);
      this.read(this.crosshair);
    };
    if (film) scene.setFrame(state.start[0]);
    scene.voxel = state.axes === "zyx" ? state.start.toReversed() : [...state.start.slice(-2).toReversed(), 0];
  }

  makeChoices(film) {
    const choices = [
      tick("crosshair", "crosshair", true, (on) => this.scene.setCrosshair(on)),
      tick("smooth", "smooth pixels", true, (on) => this.scene.setSmooth(on)),
    ];
    if (film) choices.unshift(tick("play", "play", false, (on) => this.play(on)));
    if (this.scene.flat) return choices;
    const view = choice("view", "views", viewNames, (name) => this.scene.setView(name));
    const surfaces = tick("surfaces", "surfaces in space", true, (on) => {
      this.inSpace = on;
      this.showSurfaces().catch(fail);
    });
    return [view, surfaces, ...choices];
  }

  // Asks for the values at a voxel; while an answer is awaited, the latest place is what counts.
  async read(voxel) {
    this.reading = voxel;
    if (this.asking || !voxel) return;
    this.asking = true;
    try {
      while (this.reading) {
        const [place, number] = [this.scene.canonical(this.reading), this.number];
        this.reading = null;
        const values = await askValues(number, place);
        if (number === this.number) showReadout(place.map((n) => n + 1).toReversed(), values.filter((one) => this.told(one)));
      }
    } catch (error) {
      fail(error);
    } finally {
      this.asking = false;
    }
  }

  // One of many layers is told only while it is seen.
  told({ group, layer }) {
    const wish = this.wishes.get(group);
    return !MANY.includes(group) || (wish.seen && wish.name === layer);
  }

  play(on) {
    clearInterval(this.playing);
    const next = () => this.scene.setFrame((this.scene.frame + 1) % this.state.shape[0]);
    if (on) this.playing = setInterval(next, Math.max(SHORTEST, 1000 * this.state.spacing[0]));
  }

  async drawMore() {
    await askSamples(this.number);
    await this.follow();
  }

  // Waits for the samples that are being drawn, and shows the prediction with them.
  async follow() {
    const number = this.number;
    let state = await askState(number);
    while (state.busy && this.wanted === number) {
      showDrawing(state);
      await wait(ASK_AGAIN);
      state = await askState(number);
    }
    if (this.wanted !== number || !state.layers) return;
    this.state = state;
    this.scene.forget(state.samples);
    this.wishNames();
    this.showControls();
    this.change(...GROUPS);
  }
}

function fail(error) {
  showProblem(error.message);
}

async function begin() {
  const viewer = new Viewer(await askCases(), document.getElementById("scene"));
  await viewer.open(0);
  document.documentElement.dataset.ready = "true";
}

begin().catch(fail);
