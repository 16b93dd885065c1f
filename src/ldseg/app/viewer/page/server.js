// What is asked of the server that this page came from; nothing else is.

const address = (name) => new URL(name, document.baseURI).href;

async function get(name, method = "GET") {
  const answer = await fetch(address(name), { method }).catch(() => {
    throw new Error("The viewer has ended: start ldseg view again.");
  });
  if (!answer.ok) throw new Error(`${name}: ${answer.status} ${answer.statusText}`);
  return answer;
}

// Names of all cases; below, `number` is a place among them.
export const askCases = async () => (await get("cases")).json();

export const askToOpen = (number) => get(`${number}/open`, "POST");

export const askState = async (number) => (await get(`${number}/state`)).json();

export const askSamples = (number) => get(`${number}/samples`, "POST");

// The bytes of a NIfTI file.
export const askVoxels = async (number, layer) => (await get(`${number}/layers/${layer}.nii`)).arrayBuffer();

// The bytes of a MZ3 file; none where the layer has no voxel of the class.
export const askSurface = async (number, layer, k) =>
  (await get(`${number}/surfaces/${layer}/${k}.mz3`)).arrayBuffer();

// The values of all layers at a voxel, slowest axis first.
export const askValues = async (number, place) => (await get(`${number}/values/${place.join("/")}`)).json();
