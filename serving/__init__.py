"""The service: a bundle in, an HTTP API and a page out.

An island: needs bentoml, onnxruntime, tokenizers and numpy, and imports neither `evenodd` nor `pipelines`. What it
knows of the model it reads from the bundle's folder.
"""
