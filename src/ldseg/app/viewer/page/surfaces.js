// Surfaces of structures in space; while there are any, the image itself is not drawn there.

import { askSurface } from "./server.js";

const FORMAT = "mz3";

export class Surfaces {
  constructor(nv) {
    this.nv = nv;
    this.drawImage = nv.drawImage3D;
    this.loaded = new Map(); // key -> mesh, null for a class that a layer has not
  }

  // Shows one surface for each of `wanted`, {key, number, layer, k, color, opacity}; others are hidden.
  async show(wanted) {
    for (const one of wanted) if (!this.loaded.has(one.key)) await this.load(one);
    const keys = new Map(wanted.map((one) => [one.key, one.opacity]));
    for (const [key, mesh] of this.loaded) {
      if (!mesh) continue;
      mesh.visible = keys.has(key);
      mesh.opacity = keys.get(key) ?? 1;
    }
    const some = [...this.loaded].some(([key, mesh]) => mesh && keys.has(key));
    this.nv.drawImage3D = some ? () => {} : this.drawImage;
    this.nv.drawScene();
  }

  async load({ key, number, layer, k, color }) {
    const buffer = await askSurface(number, layer, k);
    const name = `${key}.${FORMAT}`;
    const rgba255 = [...color.slice(0, 3), 255];
    this.loaded.set(key, buffer.byteLength ? await this.nv.addMeshFromUrl({ url: name, name, buffer, rgba255 }) : null);
  }

  // Takes away those whose key is not to be kept.
  forget(keep = () => false) {
    for (const [key, mesh] of this.loaded) {
      if (keep(key)) continue;
      this.loaded.delete(key);
      if (mesh) this.nv.removeMesh(mesh);
    }
  }
}
