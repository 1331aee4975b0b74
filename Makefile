# demo: a small model at work, then from raw text to a served model, in about eight minutes.  test: all tests.  lint: style, imports and links.
# docs: the site, build/site.  architecture: draws docs/architecture.svg.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/

.PHONY: demo test lint docs architecture clean

demo: $(VENV)/installed
	$(RUN)python -m examples.demo

test: $(VENV)/installed
	$(RUN)python -m pytest --numprocesses=2 --dist=loadfile

lint: $(VENV)/installed
	$(RUN)ruff check .
	$(RUN)ruff format --check .
	$(RUN)lint-imports
	$(RUN)mypy
	$(RUN)python docs/draw_architecture.py --check
	NO_MKDOCS_2_WARNING=1 $(RUN)mkdocs build

docs: $(VENV)/installed
	NO_MKDOCS_2_WARNING=1 $(RUN)mkdocs build

architecture: $(VENV)/installed
	$(RUN)python docs/draw_architecture.py

clean:
	rm -rf $(VENV) demo build *.egg-info .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -prune -exec rm -rf {} +

# Made anew when the requirements are newer. The marker comes last, so that a broken installation is repeated.
$(VENV)/installed: requirements.txt requirements-dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14) and "Python 3.11 to 3.13 is needed: make PYTHON=python3.11")'
	rm -rf $(VENV)
	$(PYTHON) -m venv $(VENV)
	@echo "Installing TensorFlow and the other requirements; this takes a few minutes."
	$(RUN)python -m pip install --quiet --requirement requirements-dev.txt --editable .
	touch $@
