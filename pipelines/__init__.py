"""The entry points of MLproject, one module each: `python -m pipelines.ENTRY --name value …`."""
