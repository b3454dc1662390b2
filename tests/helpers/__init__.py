"""What tests share: tiny real models, transcripts, scores, and the running of commands."""
