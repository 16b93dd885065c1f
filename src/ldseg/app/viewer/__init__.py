"""A local web page that shows an image, its prediction and the posterior samples.

nifti.py    arrays on the image's grid as the browser reads them
layers.py   the maps of a prediction as layers
session.py  an image, its prediction, and the sampling of more
server.py   the HTTP server and its access checks
page/       HTML, style and scripts; niivue/ is the library that draws, with its licences
"""
