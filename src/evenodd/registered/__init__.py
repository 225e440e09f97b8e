"""A registered version as MLflow's pyfunc loads it: texts in, answers out. Shipped with every version.

Beside `evenodd.task` and `evenodd.classifier` it needs pandas; `fitted` needs torch and transformers as well.
"""
