"""From a folder to a segmentation and how sure it is, in a few lines.

    python examples/train_and_predict.py WORK

The images are synthetic, and a training of a few steps shows the way and nothing else.
"""

import sys
from pathlib import Path

import ldseg
from ldseg.data.formats import read_volume
from ldseg.data.phantom import write_phantom_dataset

work = Path(sys.argv[1])
data, run = work / "data", work / "run"
write_phantom_dataset(data, "yx", cases=8, seed=0, shape=(64, 64))

ldseg.train(data, run, changes={"training": {"steps": 20}})
predictor = ldseg.load(run)
image = read_volume(data / "images" / "phantom000.png", "image")
prediction = predictor(image, "phantom000", samples=4)

print("class ids found:", sorted(set(prediction.labels.array.ravel().tolist())))
print("expected Dice of this answer:", round(prediction.confidence, 2))
for name, volume in prediction.volumes.items():
    print(f"{name}: {volume.mean:.0f} mm2, 5 to 95 % {volume.low:.0f} to {volume.high:.0f}")
