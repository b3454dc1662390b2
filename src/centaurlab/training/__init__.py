"""Training on human responses: transcripts and a base model in, a PEFT adapter and its held-out NLLs out."""

from centaurlab.runtime.quiet import quiet_bitsandbytes

quiet_bitsandbytes()
