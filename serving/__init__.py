"""The service: a bundle in, an HTTP API and a page out.

It needs only bentoml, onnxruntime, tokenizers and numpy, and imports nothing of this project but `evenodd.task` and
`evenodd.classifier`. Everything about the model is read from the bundle's folder.
"""
