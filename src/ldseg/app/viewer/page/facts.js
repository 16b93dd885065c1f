// What is known of a case: its name, its grid, its structures with their sizes, the samples so far.

import { byId, counted, element, short } from "./elements.js";

// The case that is shown among all of them; `onCase` is told which one is wanted.
export function showCases(names, number, onCase) {
  const several = names.length > 1;
  const options = names.map((name, n) => `${n + 1} of ${names.length}: ${name}`);
  const select = byId("case");
  if (several && select.length !== names.length) {
    select.replaceChildren(...options.map((text, value) => element("option", { value, textContent: text })));
  }
  select.value = number;
  select.onchange = () => onCase(Number(select.value));
  byId("previous").disabled = number === 0;
  byId("next").disabled = number === names.length - 1;
  byId("previous").onclick = () => onCase(number - 1);
  byId("next").onclick = () => onCase(number + 1);
  for (const id of ["previous", "next", "case", "keys"]) byId(id).hidden = !several;
  byId("name").textContent = names[number];
  document.title = `${names[number]} – ldseg`;
}

export function showFacts(state) {
  const steps = state.spacing.map(short).join(" × ");
  const word = state.axes === "zyx" ? "voxels" : "pixels";
  const downsampled = state.downsampled > 1 ? `downsampled: one voxel in ${state.downsampled} along each axis` : "";
  const unlike = state.unlike.length
    ? `compared with the training images: ${state.unlike.join(", ")}${
        state.harmonized ? "; segmented brought nearer to them, shown as it is" : ""
      }`
    : "";
  const drawn = state.sampler === null ? "" : `, ${counted(state.steps, "step")} of ${state.sampler}`;
  byId("facts").replaceChildren(
    ...[
      `${state.shape.join(" × ")} ${word} (${[...state.axes].join(", ")})`,
      state.physical
        ? `spacing ${steps} ${state.axes === "tyx" ? "(s, mm, mm)" : "mm"}`
        : `no physical spacing: sizes are in ${word}`,
      `${counted(state.samples, "sample")}${drawn}${state.seed === null ? "" : `, seed ${state.seed}`}`,
      state.confidence === null ? "" : `expected Dice ${state.confidence.toFixed(2)}`,
      downsampled,
      unlike,
      ...state.notes,
    ].filter(Boolean).map((line) => element("span", {}, line)),
  );
}

export function showStructures(state) {
  const compared = state.raters > 0;
  const [unit, over] = state.unit.split(/(?= summed)/);
  const heads = [["", ""], ["size", state.samples > 1 ? "5–95 %" : ""], ...(compared ? [["Dice", "reference size"]] : [])];
  const rows = state.structures.map((one) => {
    const name = element("th", { scope: "row", textContent: one.name });
    name.style.setProperty("--color", one.color);
    const interval = state.samples > 1 && one.low !== null ? `${short(one.low)}–${short(one.high)} ${unit}` : "";
    const size = twoLines("td", `${short(one.volume)} ${unit}`, interval);
    return element("tr", {}, name, size, ...(compared ? [agreement(one, unit)] : []));
  });
  document.querySelector("#structures thead tr").replaceChildren(
    ...heads.map((lines) => twoLines("th", ...lines)),
  );
  document.querySelector("#structures tbody").replaceChildren(...rows);
  const raters = state.raters > 1 ? `Dice: the mean over ${state.raters} raters.` : "";
  byId("remark").textContent = [over ? `Sizes are${over}.` : "", raters].filter(Boolean).join(" ");
}

function agreement(one, unit) {
  const sizes = one.reference.map(short);
  const range = sizes.length > 2 ? `${sizes.length} raters` : `${sizes.join(" and ")} ${unit}`;
  return twoLines("td", one.reference_dice === null ? "in neither" : one.reference_dice.toFixed(3), range);
}

const twoLines = (name, first, second) => element(name, {}, first, element("small", { textContent: second }));

export function showDrawing(state, onMore) {
  const button = byId("more");
  button.hidden = state.more === 0 && !state.busy;
  button.disabled = state.busy;
  button.textContent = state.busy ? "Drawing samples …" : `Draw ${state.more} more samples`;
  button.onclick = onMore;
  showProblem(state.problem);
}

export function showProblem(text) {
  byId("problem").hidden = text === "";
  byId("problem").textContent = text;
}

// A sentence over the image, as long as it takes.
export function showWaiting(text) {
  byId("waiting").hidden = text === "";
  byId("waiting").textContent = text;
}

export function showReadout(place, values) {
  const title = (one) => (one.group === "disagreement" ? "disagreement" : one.title);
  const entries = [["voxel", place.join(", ")], ...values.map((one) => [title(one), textOf(one)])];
  byId("readout").replaceChildren(
    ...entries.map(([title, text]) =>
      element("div", {}, element("dt", { textContent: title }), element("dd", { textContent: text })),
    ),
  );
}

const textOf = ({ text, values, unit }) => text ?? `${values.map(short).join(", ")} ${unit}`.trim();
