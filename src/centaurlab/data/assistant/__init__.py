"""A seed into questions with one right answer, to post-train on and to judge an assistant by."""
