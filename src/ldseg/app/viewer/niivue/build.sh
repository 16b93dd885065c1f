#!/usr/bin/env bash
# Makes niivue.js anew, in this folder, from the packages of the npm registry. Needs Node.js.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init --yes > /dev/null
npm install --ignore-scripts --save-exact @niivue/niivue@0.69.0 esbuild@0.28.2 gl-matrix@3.4.4 \
  nifti-reader-js@0.8.0 fflate@0.8.3 array-equal@1.0.2 @lukeed/uuid@2.0.1 @ungap/structured-clone@1.4.0
echo 'export { Niivue, NVImage, SLICE_TYPE } from "@niivue/niivue";' > entry.js
npx esbuild entry.js --bundle --minify --format=esm "--alias:zarrita=$here/no_zarr.js" \
  "--banner:js=/* NiiVue 0.69.0 and what it is made of, bundled by build.sh; licences in LICENSES.txt */" \
  "--outfile=$here/niivue.js"
