"""evenodd: halve a fine-tuned text encoder, or adapt it with LoRA, and let evidence choose."""

__version__ = "0.2.0"
