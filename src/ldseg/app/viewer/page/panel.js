// The controls beside the image. They tell what is wanted; they know nothing of how it is drawn.

import { byId, element, short } from "./elements.js";

const TITLES = {
  image: "image",
  probability: "probability",
  uncertainty: "uncertainty",
  disagreement: "disagreement of the samples",
  labels: "segmentation",
  sample: "sample",
  variation: "principal variation of the samples",
  reference: "reference",
};

// A row per group of layers: whether it is seen, which of the group, how opaque.
export function showLayers(state, groups, wishes, onChange) {
  const rows = groups.map((group) => {
    const layers = state.layers.filter((layer) => layer.group === group);
    return layers.length ? layerRow(group, layers, wishes.get(group), state.palette, () => onChange(group)) : "";
  });
  byId("layers").replaceChildren(...rows.reverse());
}

function layerRow(group, layers, wish, palette, onChange) {
  const seen = element("input", { type: "checkbox", checked: wish.seen, id: `see-${group}` });
  seen.onchange = () => { wish.seen = seen.checked; onChange(); };
  const percent = element("output", { textContent: `${wish.opacity} %` });
  const opacity = element("input", { type: "range", min: 0, max: 100, value: wish.opacity, id: `opacity-${group}` });
  opacity.setAttribute("aria-label", `opacity of ${TITLES[group]}`);
  opacity.oninput = () => {
    wish.opacity = opacity.valueAsNumber;
    percent.textContent = `${wish.opacity} %`;
    onChange();
  };
  const row = element("div", { className: "row" }, element("label", {}, seen, TITLES[group]), opacity, percent);
  const choose = ["sample", "variation"].includes(group) ? sliderChoice : nameChoice;
  const pick = (name) => { wish.name = name; wish.seen = seen.checked = true; onChange(); };
  if (layers.length > 1) row.append(choose(layers, wish.name, pick));
  if (layers[0].colors === "heat") row.append(scale(layers[0], palette.heat));
  return row;
}

function nameChoice(layers, chosen, pick) {
  const options = layers.map((layer) => element("option", { value: layer.name, textContent: layer.title }));
  const select = element("select", {}, ...options);
  select.value = chosen;
  select.setAttribute("aria-label", `which ${TITLES[layers[0].group]}`);
  select.onchange = () => pick(select.value);
  return element("div", { className: "choice" }, select);
}

function sliderChoice(layers, chosen, pick) {
  const group = layers[0].group;
  const at = Math.max(0, layers.findIndex((layer) => layer.name === chosen));
  const shown = (n) => group === "sample" ? `${n + 1} of ${layers.length}` : layers[n].title;
  const label = element("output", { textContent: shown(at) });
  const slider = element("input", { type: "range", min: 0, max: layers.length - 1, value: at, id: `which-${group}` });
  slider.setAttribute("aria-label", `which ${TITLES[group]}`);
  slider.oninput = () => {
    label.textContent = shown(slider.valueAsNumber);
    pick(layers[slider.valueAsNumber].name);
  };
  return element("div", { className: "choice" }, slider, label);
}

function scale(layer, colors) {
  const bar = element("canvas", { width: colors.length, height: 1 });
  const context = bar.getContext("2d");
  colors.forEach(([red, green, blue], n) => {
    context.fillStyle = `rgb(${red} ${green} ${blue})`;
    context.fillRect(n, 0, 1, 1);
  });
  return element("div", { className: "scale" }, short(layer.low), bar, `${short(layer.high)} nats`);
}

// A bar of a round length over a 2D image, at most a quarter of `width` pixels long; none without a scale.
export function showScaleBar(pixelsPerMm, width) {
  const bar = byId("scale-bar");
  bar.hidden = !pixelsPerMm;
  if (!pixelsPerMm) return;
  const most = width / 4 / pixelsPerMm;
  const power = 10 ** Math.floor(Math.log10(most));
  const length = [5, 2, 1].map((factor) => factor * power).find((one) => one <= most);
  bar.style.width = `${length * pixelsPerMm}px`;
  bar.textContent = `${short(length)} mm`;
}

// Sliders for slices or the frame, and `choices` (elements) below; returns what sets the sliders to a place.
export function showPlace(steps, choices, onStep) {
  const rows = steps.map(({ name, count }, n) => {
    const told = element("output");
    const slider = element("input", { type: "range", min: 1, max: count, id: `place-${n}` });
    slider.setAttribute("aria-label", name);
    slider.oninput = () => onStep(n, slider.valueAsNumber - 1);
    return { slider, told, row: element("div", { className: "row" }, name, slider, told) };
  });
  byId("place").replaceChildren(...rows.map(({ row }) => row), ...choices);
  return (place) => rows.forEach(({ slider, told }, n) => {
    slider.value = place[n] + 1;
    told.textContent = `${place[n] + 1} of ${slider.max}`;
  });
}

export function choice(id, title, options, onChange) {
  const select = element("select", { id }, ...options.map((name) => element("option", { textContent: name })));
  select.onchange = () => onChange(select.value);
  return element("label", { className: "row" }, title, select);
}

export function tick(id, title, checked, onChange) {
  const box = element("input", { type: "checkbox", id, checked });
  box.onchange = () => onChange(box.checked);
  return element("label", { className: "tick" }, box, title);
}
