"""A local page that shows an image, the model's answer and its samples.

nifti.py    arrays on the image's grid as the browser reads them
layers.py   the answer's maps as layers
session.py  an image, its answer, and the drawing of more samples
server.py   who may ask for what
page/       HTML, style and scripts; niivue/ is the library that draws, with its licences
"""
