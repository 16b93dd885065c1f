// Brings the state of the server, the controls and the picture together.

import {
  choice, showDrawing, showFacts, showLayers, showPlace, showReadout, showStructures, tick,
} from "./panel.js";
import { GROUPS, Scene, viewNames } from "./scene.js";

const ASK_AGAIN = 700; // milliseconds, while samples are being drawn
const SHORTEST = 80; // milliseconds between two frames
const AT_FIRST = { image: 100, probability: 70, uncertainty: 100, disagreement: 100, labels: 45, sample: 60 };
const SEEN_AT_FIRST = ["image", "labels"];
const DIRECTIONS = ["sagittal slice", "coronal slice", "transverse slice"]; // across x, y, z

const address = (name) => new URL(name, document.baseURI).href;

async function ask(name, method = "GET") {
  const answer = await fetch(address(name), { method });
  if (!answer.ok && answer.status !== 409) throw new Error(`${name}: ${answer.status} ${answer.statusText}`);
  return answer.ok ? answer.json() : {};
}

class Viewer {
  constructor(state) {
    this.state = state;
    this.scene = new Scene(state);
    this.wishes = new Map(GROUPS.map((group) => [group, this.firstWish(group)]));
    this.work = Promise.resolve(); // layers are put in one after the other
  }

  firstWish(group) {
    const first = this.state.layers.find((layer) => layer.group === group);
    return { seen: SEEN_AT_FIRST.includes(group), name: first?.name, opacity: AT_FIRST[group] };
  }

  async start(canvas) {
    await this.scene.start(canvas);
    await this.refresh(GROUPS);
    this.showControls();
    this.place();
  }

  showControls() {
    showFacts(this.state);
    showStructures(this.state);
    showDrawing(this.state, () => this.drawMore());
    showLayers(this.state, GROUPS, this.wishes, (group) => this.change(group));
  }

  change(group) {
    this.work = this.work.then(() => this.refresh([group])).catch(fail);
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
    await ask("samples", "POST");
    let state = await ask("state");
    while (state.busy) {
      showDrawing(state);
      await new Promise((done) => setTimeout(done, ASK_AGAIN));
      state = await ask("state");
    }
    const grown = state.samples !== this.state.samples;
    this.state = state;
    if (grown) this.scene.forget(state.samples);
    for (const group of GROUPS) this.wishes.get(group).name ??= this.firstWish(group).name;
    this.showControls();
    if (grown) GROUPS.forEach((group) => this.change(group));
  }
}

function fail(error) {
  const problem = document.getElementById("problem");
  problem.textContent = error instanceof TypeError ? "The viewer has ended: start ldseg view again." : `${error}`;
  problem.hidden = false;
}

async function begin() {
  const viewer = new Viewer(await ask("state"));
  await viewer.start(document.getElementById("picture"));
  document.documentElement.dataset.ready = "true";
}

begin().catch(fail);
