"""A bundle in, answers out: the only code that turns text into an answer.

It needs NumPy, ONNX Runtime and tokenizers, and travels in the Bento and in the registered model.
"""

from evenodd.classifier.classifier import Answer, Classifier

__all__ = ["Answer", "Classifier"]
