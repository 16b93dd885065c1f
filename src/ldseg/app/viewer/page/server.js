// What is asked of the server that this page came from; nothing else is.

const address = (name) => new URL(name, document.baseURI).href;

async function get(name, method = "GET") {
  const answer = await fetch(address(name), { method }).catch(() => {
    throw new Error("The viewer has ended: start ldseg view again.");
  });
  if (!answer.ok) throw new Error(`${name}: ${answer.status} ${answer.statusText}`);
  return answer;
}

export const askState = async () => (await get("state")).json();

export const askSamples = () => get("samples", "POST");

// The bytes of a NIfTI file.
export const askVoxels = async (layer) => (await get(`layers/${layer}.nii`)).arrayBuffer();
