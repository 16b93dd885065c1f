// Brings the state of the server, the controls and the scene together.

import {
  choice, showDrawing, showFacts, showLayers, showPlace, showReadout, showScaleBar, showStructures, tick,
} from "./panel.js";
import { GROUPS, Scene, viewNames } from "./scene.js";
import { askSamples, askState } from "./server.js";

const ASK_AGAIN = 700; // milliseconds, while samples are being drawn
const SHORTEST = 80; // milliseconds between two frames
const AT_FIRST = { image: 100, probability: 70, uncertainty: 100, disagreement: 100, labels: 45, sample: 60, variation: 60 };
const SEEN_AT_FIRST = ["image", "labels"];
const DIRECTIONS = ["sagittal slice", "coronal slice", "transverse slice"]; // across x, y, z

class Viewer {
  constructor(state) {
    this.state = state;
    this.scene = new Scene(state);
    this.wishes = new Map(GROUPS.map((group) => [group, this.firstWish(group)]));
    this.changed = new Set(); // groups that are not yet seen as wished
    this.working = false;
  }

  firstWish(group) {
    const layers = this.state.layers.filter((layer) => layer.group === group);
    const first = layers[group === "variation" ? layers.length >> 1 : 0]; // a variation begins in its middle
    return { seen: SEEN_AT_FIRST.includes(group), name: first?.name, opacity: AT_FIRST[group] };
  }

  async start(canvas) {
    this.showControls();
    await this.scene.start(canvas);
    await this.refresh(GROUPS);
    this.place();
    this.showScale(canvas);
    new ResizeObserver(() => this.showScale(canvas)).observe(canvas);
    if (this.state.busy) this.follow().catch(fail);
  }

  // A pixel of the page is a length only in 2D; the slices of a volume have scales of their own.
  showScale(canvas) {
    const measured = this.state.physical && this.state.axes !== "zyx";
    requestAnimationFrame(() => showScaleBar(measured ? this.scene.pixelsPerMm : null, canvas.clientWidth));
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
  }

  place() {
    const { scene, state } = this;
    const film = state.axes === "tyx";
    const steps = state.axes === "zyx" ? scene.size.map((count, n) => ({ name: DIRECTIONS[n], count })) : [];
    if (film) steps.push({ name: "frame", count: state.shape[0] });
    const choices = [
      tick("crosshair", "crosshair", true, (on) => scene.setCrosshair(on)),
      tick("smooth", "smooth pixels", true, (on) => scene.setSmooth(on)),
    ];
    if (state.axes === "zyx") choices.unshift(choice("view", "views", viewNames, (name) => scene.setView(name)));
    if (film) choices.unshift(tick("play", "play", false, (on) => this.play(on)));
    const set = showPlace(steps, choices, (n, to) => {
      if (film) scene.setFrame(to);
      else scene.voxel = scene.voxel.with(n, to);
    });
    scene.onPlace = () => {
      set(film ? [scene.frame] : scene.voxel);
      showReadout(scene.values(), this.state.structures);
    };
    if (film) scene.setFrame(state.start[0]);
    scene.voxel = state.axes === "zyx" ? state.start.toReversed() : [...state.start.slice(-2).toReversed(), 0];
  }

  play(on) {
    clearInterval(this.playing);
    const next = () => this.scene.setFrame((this.scene.frame + 1) % this.state.shape[0]);
    if (on) this.playing = setInterval(next, Math.max(SHORTEST, 1000 * this.state.spacing[0]));
  }

  async drawMore() {
    await askSamples();
    await this.follow();
  }

  // Waits for the samples that are being drawn, and shows the prediction with them.
  async follow() {
    let state = await askState();
    while (state.busy) {
      showDrawing(state);
      await new Promise((done) => setTimeout(done, ASK_AGAIN));
      state = await askState();
    }
    this.state = state;
    this.scene.forget(state.samples);
    for (const group of GROUPS) this.wishes.get(group).name ??= this.firstWish(group).name;
    this.showControls();
    this.change(...GROUPS);
  }
}

function fail(error) {
  const problem = document.getElementById("problem");
  problem.textContent = error.message;
  problem.hidden = false;
}

async function begin() {
  const viewer = new Viewer(await askState());
  await viewer.start(document.getElementById("scene"));
  document.documentElement.dataset.ready = "true";
}

begin().catch(fail);
