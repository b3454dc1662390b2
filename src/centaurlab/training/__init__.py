"""Training on human responses: transcripts and a base model in, a PEFT adapter and its held-out NLLs out."""

from centaurlab.runtime.quiet import import_bitsandbytes

import_bitsandbytes()  # before PEFT does
