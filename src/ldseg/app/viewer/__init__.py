"""A local web page that shows an image, its prediction and the posterior samples.

nifti.py           arrays on the image's grid as the browser reads them
surfaces.py        structures in space, the same
layers.py          the maps of a prediction and the masks of a reference as layers
reading.py         images with their reference masks
model_source.py    predictions of a model
stored_source.py   predictions that are read from files
session.py         an image, its prediction, and the sampling of more
case_list.py       cases that are opened one at a time
state.py           a case as JSON; readout.py one voxel of it
server.py          the HTTP server and its access checks
page/              HTML, style and scripts; niivue/ is the library that draws, with its licences
"""
