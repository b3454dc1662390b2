"""The paper's model pairs, the domains of its studies and its published figures, as tables with one loader.

Source: "Post-training makes large language models less human-like" (the Psych-201 paper). ``paper_nll.csv`` holds
Figs. 2, 3a and S1 (nats per response), ``paper_accuracy.csv`` Fig. S2 and ``paper_effects_by_domain.csv`` Fig. 4,
read from the vector figures: errors below 0.001 nats (Fig. S1: 0.01), 0.0005 and 0.005. A pair's family and size
are those of its base model; its generation is the number that ends the family's name. ``devices.csv`` holds what
makers state of accelerators, each with its source.
"""
