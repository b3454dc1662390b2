# Everything runs in .venv, which the first target that needs it creates; the second time that is instant.
# PYTHON=python3.12 make demo    uses another interpreter (3.11 or newer).
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/installed

.PHONY: install demo test lint clean

install: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv --upgrade-deps .venv
	$(BIN)/pip install -q -c constraints.txt -e ".[starter,dev]"
	touch $@

# The ten-minute experiment on a real base model and real people; see README.md.
demo: $(INSTALLED)
	$(BIN)/centaurlab demo

test: $(INSTALLED)
	$(BIN)/pytest

lint: $(INSTALLED)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

clean:
	rm -rf .venv runs/demo runs/demo-quick .pytest_cache .mypy_cache .ruff_cache .hypothesis
