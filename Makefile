# Everything runs in .venv, which the first target that needs it creates; the second time that is instant.
# PYTHON=python3.12 make demo    uses another interpreter (3.11 or newer).
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/installed

.PHONY: install demo test lint docs clean

install: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv --upgrade-deps .venv
	$(BIN)/pip install -q -c constraints.txt -e ".[starter,dev]"
	touch $@

# The experiment of ten minutes on a real base model and real people; see README.md.
demo: $(INSTALLED)
	$(BIN)/centaurlab demo

test: $(INSTALLED)
	$(BIN)/pytest -n auto --dist worksteal

lint: $(INSTALLED)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

# The site in site/; a link that leads nowhere ends it. README is its first page.
docs: .venv/docs-installed
	rm -rf .docs site .cache
	cp -r docs .docs
	sed 's|](docs/|](|g' README.md > .docs/index.md
	sed 's|](docs/|](|g' CONTRIBUTING.md > .docs/CONTRIBUTING.md
	cp CHANGELOG.md .docs/
	$(BIN)/zensical build --strict

.venv/docs-installed: $(INSTALLED)
	$(BIN)/pip install -q -c constraints.txt -e ".[docs]"
	touch $@

clean:
	rm -rf .venv .docs site .cache runs/demo runs/demo-quick .pytest_cache .mypy_cache .ruff_cache .hypothesis
