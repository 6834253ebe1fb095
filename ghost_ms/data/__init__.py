"""Data sets, preprocessing and the pipelines that feed the network, all on `mindspore.dataset`."""
