// Stands in for the package zarrita, which brings 1.4 MB of decoders: the viewer reads no Zarr.
