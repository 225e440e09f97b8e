"""The pyfunc of a registered version: texts in, answers out. It is shipped with every version.

Beside `evenodd.task` and `evenodd.classifier` it needs pandas; `fitted` needs torch and transformers as well.
"""
