"""The classifier: the only code that turns a text into an answer, with a bundle.

It needs only NumPy, ONNX Runtime and tokenizers, and is part of the Bento and of the registered model.
"""

from evenodd.classifier.classifier import Answer, Classifier

__all__ = ["Answer", "Classifier"]
