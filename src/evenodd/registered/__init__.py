"""The pyfunc of a registered version: texts in, answers out. It is shipped with every version.

In addition to `evenodd.task` and `evenodd.classifier` it needs pandas; `fitted` also needs torch and transformers.
"""
