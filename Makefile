# Everything runs in .venv, which the first target that needs it creates; the second time that is instant.
# PYTHON=python3.12 make demo    uses another interpreter (3.11 or newer).
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/installed

.PHONY: install demo test lint clean

install: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -q -c constraints.txt -e ".[starter,dev]"
	touch $@

# Scores a real base model on real people: eight of each study of the starter data.
demo: $(INSTALLED)
	$(BIN)/python eval/score.py --model_name_or_path gemma-3-270m \
		--data starter --max_participants 8 --output_dir runs/demo/gemma-3-270m

test: $(INSTALLED)
	$(BIN)/pytest

lint: $(INSTALLED)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

clean:
	rm -rf .venv runs/demo .pytest_cache .mypy_cache .ruff_cache .hypothesis
